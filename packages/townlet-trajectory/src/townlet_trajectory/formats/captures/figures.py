"""The figures of classic samples, of the trajectories of any source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.schema import Array, ArraySpec
from townlet_trajectory.data.trajectory import Trajectory
from townlet_trajectory.dataset.canonical import CanonicalOrder
from townlet_trajectory.dataset.source import TrajectorySource, blocks_of
from townlet_trajectory.errors import SchemaError
from townlet_trajectory.formats.captures.metrics import sample_metrics


def source_metrics(
    source: TrajectorySource, *, feature_names: Sequence[str] = (), action_texts: Sequence[str] | None = None
) -> Iterator[dict[str, float]]:
    """Compute the figures of each trajectory of a source, in canonical order; pieces of one are joined.

    `sample_metrics` says which there are, as far as the source has the columns: log-probabilities are those of
    `behavior_log_prob`, or of `old_log_probs`, where they are finite; the last value is that of the last observation
    that was decided from (columns `value` or `value_preds`). One block is in memory at a time.

    Args:
        source: with the decision column `action`, indices into the vocabulary.
        feature_names: of the columns of the observation `features`. Empty: they are not known.
        action_texts: each action of the vocabulary as JSON. None: the vocabulary itself.

    Raises:
        SchemaError: if there is no column `action` of indices, or names or texts are not as many as there are.
        ArtifactError: if a block cannot be read.
    """
    schema = source.schema
    texts = schema.vocabulary if action_texts is None else tuple(action_texts)
    features = schema.observations.get("features")
    if len(texts) != len(schema.vocabulary):
        raise SchemaError(f"`action_texts` must be {len(schema.vocabulary)}, one for each action, got {len(texts)}")
    if feature_names and (features is None or features.shape != (len(feature_names),)):
        raise SchemaError(f"{len(feature_names)} `feature_names` do not fit the observation `features` {features}")
    if schema.decisions.get("action") != ArraySpec("int64"):
        raise SchemaError(f"`action` must be {ArraySpec('int64')}, got {schema.decisions.get('action')}")
    view = CanonicalOrder(source)
    for block, _, _ in blocks_of(view):
        for trajectory in view.load_block(block):
            yield _trajectory_metrics(trajectory, texts, tuple(feature_names))


def _trajectory_metrics(
    trajectory: Trajectory, texts: tuple[str, ...], feature_names: tuple[str, ...]
) -> dict[str, float]:
    columns, size = trajectory.columns, len(trajectory)
    log_probs = _first_of(columns, "behavior_log_prob", "old_log_probs")
    return sample_metrics(
        rewards=trajectory.rewards,
        log_probs=None if log_probs is None else log_probs[np.isfinite(log_probs)],
        value_preds=_first_of(columns, "value", "value_preds"),
        actions=columns["action"].astype(np.int64, copy=False),
        action_texts=texts,
        features=trajectory.observations["features"][:-1].astype(np.float32, copy=False)
        if feature_names
        else np.zeros((size, 0), np.float32),
        feature_names=feature_names,
        vetoed=columns["vetoed"].astype(np.bool_, copy=False) if "vetoed" in columns else None,
    )


def _first_of(columns: Mapping[str, Array], *names: str) -> NDArray[np.float32] | None:
    """The first of the columns that is there, as float32."""
    found = next((columns[name] for name in names if name in columns), None)
    return None if found is None else found.astype(np.float32, copy=False)
