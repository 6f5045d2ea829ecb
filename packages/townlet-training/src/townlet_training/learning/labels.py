"""The actions that a batch gives to imitate: the script's proposals and demonstrations, or every executed action."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_training.errors import ConfigError
from townlet_training.learning.config import BCConfig, LabelFilter, LabelKind
from townlet_training.learning.rows import (
    Actions,
    action_rows,
    is_given,
    is_proposed,
    legal_at,
    require_actions,
    require_columns,
    side_by_side,
)
from townlet_trajectory import ACTION_MASK, Box, Kind, Source, StepBatch, TrajectoryBatch, TrajectorySchema
from townlet_trajectory.data.labels import labels_named


class Labels(NamedTuple):
    """The labelled rows of a batch, and their labels."""

    rows: NDArray[np.int64]
    """[L], ascending."""
    actions: Actions
    """[L], or [L, K] of array actions; the script's proposal, or the executed action."""
    num_forbidden: int
    """Labels that were dropped because the action mask forbids them."""


EVERY_LABEL = LabelFilter()
"""All labels but those of discarded episodes."""


def labels(
    batch: TrajectoryBatch | StepBatch,
    *,
    which: LabelKind = "proposed",
    use_masks: bool = True,
    only: LabelFilter = EVERY_LABEL,
) -> Labels:
    """Find the actions to imitate: the script's proposals and demonstrations, or every executed action.

    `proposed`: on demonstrated rows the label is the executed action (HG-DAgger, Kelly et al. 2019, arXiv:1810.02890).
    On the other decision and foreign rows it is the script's proposal, independent of who acted and of vetoes (DAgger,
    Ross et al. 2011, arXiv:1011.0686). On forced rows nothing was decided, and -1 is no proposal. In a batch without
    the column `expert_action`, such as a classic capture, every row is a demonstration.

    `executed`: the executed action of every row, whoever decided, forced ones too.

    `docs/mathematics.md` has a table of what is given for each kind of row.

    Args:
        batch: R rows.
        which: `proposed` or `executed`.
        use_masks: whether an action that the mask of its row forbids is dropped.
        only: which of these labels are given.

    Returns:
        The labelled rows in their order.

    Raises:
        ShapeError: if the batch lacks a column, or a label is not in its vocabulary.
        ConfigError: if nobody of `only.proposers` is among the proposers of the batch.
    """
    columns, spec = batch.columns, batch.schema.actions
    require_columns(batch, "action")
    actions = action_rows(batch, columns["action"], slice(None))
    # Numbers have no value that means none.
    given = np.full(len(actions), True) if isinstance(spec, Box) else is_given(actions)
    if which == "proposed" and "expert_action" in columns:
        require_columns(batch, "kind", "demonstrated")
        demonstrated = np.asarray(columns["demonstrated"], np.bool_)
        given = np.where(demonstrated, given, is_proposed(batch) & (columns["kind"] != Kind.FORCED))
        own = demonstrated if spec is None else demonstrated[:, None]
        actions = np.where(own, actions, action_rows(batch, columns["expert_action"], slice(None)))
    rows = np.flatnonzero(given & _passes(batch, only, which))
    require_actions("label", batch, actions[rows], rows)
    mask = batch.observations.get(ACTION_MASK) if use_masks else None
    legal = np.full(len(rows), True) if mask is None else legal_at(batch.schema, mask[rows], actions[rows])
    kept = rows[legal]
    return Labels(kept, actions[kept], len(rows) - len(kept))


def labels_of(config: BCConfig, batch: TrajectoryBatch | StepBatch) -> Labels:
    """Find the labels of `batch` that `config` asks for; see `labels`."""
    return labels(batch, which=config.labels, use_masks=config.use_masks, only=config.label_filter)


def _passes(batch: TrajectoryBatch | StepBatch, only: LabelFilter, which: LabelKind) -> NDArray[np.bool_]:
    """Return which rows [R] pass every filter of `only`."""
    columns = batch.columns
    passes = np.full(len(columns["action"]), True)
    if isinstance(batch, TrajectoryBatch):
        said = np.isin(batch.episode_labels, [*map(int, labels_named(only.episode_labels))])
        passes &= np.repeat(said, batch.lengths)
    if only.sources is not None:
        require_columns(batch, "source")
        passes &= np.isin(columns["source"], [Source[name.upper()] for name in only.sources])
    if only.demonstrated is not None:
        passes &= _demonstrated(batch) == only.demonstrated
    if only.proposers is not None:
        passes &= ~_is_proposal(batch, which) | _is_proposed_by(batch, only.proposers)
    return passes


def _demonstrated(batch: TrajectoryBatch | StepBatch) -> NDArray[np.bool_]:
    """[R]; of a record without proposals, every row."""
    if "expert_action" not in batch.columns:
        return np.full(len(batch.columns["action"]), True)
    require_columns(batch, "demonstrated")
    return np.asarray(batch.columns["demonstrated"], np.bool_)


def _is_proposal(batch: TrajectoryBatch | StepBatch, which: LabelKind) -> NDArray[np.bool_]:
    """Return whether the label of each row [R] is what somebody proposed, not what a policy or a possessor did."""
    if which == "proposed":
        return ~_demonstrated(batch)
    require_columns(batch, "source")
    is_scripted: NDArray[np.bool_] = batch.columns["source"] == Source.SCRIPTED
    return is_scripted


def _is_proposed_by(batch: TrajectoryBatch | StepBatch, names: Sequence[str]) -> NDArray[np.bool_]:
    """Return whether the proposal of each row [R] is of one of the proposers `names`."""
    known = batch.schema.proposers
    if not set(names) & set(known):
        raise ConfigError(f"`proposers` must be among those of the record, {', '.join(known) or 'none'}, got {names}")
    require_columns(batch, "proposer")
    return np.isin(batch.columns["proposer"], [code for code, name in enumerate(known) if name in names])


def class_sizes(schema: TrajectorySchema) -> tuple[int, ...]:
    """Return the number of classes of each part, (A,) of one choice among A actions; of numbers, ()."""
    if isinstance(schema.actions, Box):
        return ()
    return (len(schema.vocabulary),) if schema.actions is None else schema.actions.sizes


def class_counts(schema: TrajectorySchema, actions: Actions) -> NDArray[np.int64]:
    """Count the labels `actions` [L] or [L, K] of each class, [Σ A_k] of all parts; of numbers, [0]."""
    sizes = class_sizes(schema)
    if not sizes:
        return np.zeros(0, np.int64)
    columns = side_by_side(actions.astype(np.int64)) + np.cumsum((0, *sizes[:-1]))
    return np.bincount(columns.ravel(), minlength=sum(sizes))
