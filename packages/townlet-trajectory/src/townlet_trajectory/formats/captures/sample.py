"""One trajectory as the two files of a classic replay sample, and back.

The seven classic arrays are what every reader of such files knows. Ours hold more arrays beside them, and a section
`townlet` in the description, from which the trajectory is restored without loss: `ticks`, `final.NAME` (final
observations, one row), `observations.NAME` (those other than `map` and `features`), `decisions.NAME` (decision columns
without a classic array, `kind` and `source` among them, so that steps that no policy decided can be told apart). The
section says the label of the episode where it has one (`episode_label`: success, failure or discard).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.schema import (
    ArraySpec,
    EpisodeLabel,
    TrajectorySchema,
    label_named,
    parse_schema,
    schema_document,
)
from townlet_trajectory.data.trajectory import Array, Trajectory
from townlet_trajectory.errors import CONTENT_ERRORS, CaptureError
from townlet_trajectory.formats.captures.metrics import CONFLICT_FEATURES, sample_metrics
from townlet_trajectory.storage.json import (
    SCHEMA_VERSION,
    Fields,
    JsonValue,
    canonical_json,
    parse_object,
    readable_json,
)
from townlet_trajectory.storage.npz import decode_npz, encode_npz

SECTION = "townlet"
"""Key of our own section in the description."""

MAX_ACTIONS = 1 << 20

NO_ACTION = "{}"
"""What the original calls a step of an agent that did nothing yet: a text that names no action."""

TRAINING_ARRAYS = ("actions", "old_log_probs", "rewards", "dones", "value_preds")
CLASSIC_ARRAYS = ("map", "features", *TRAINING_ARRAYS)

_DTYPES = {name: np.dtype(np.float32) for name in CLASSIC_ARRAYS} | {
    "actions": np.dtype(np.int64),
    "dones": np.dtype(np.bool_),
}
_LABEL = "episode_label"
_CLASSIC_OBSERVATIONS = ("map", "features")
_CLASSIC_DECISIONS = {
    "action": ArraySpec("int64"),
    "behavior_log_prob": ArraySpec("float32"),
    "value": ArraySpec("float32"),
}


@dataclass(frozen=True, kw_only=True)
class CaptureLayout:
    """What the numbers of a capture mean to its readers."""

    feature_names: tuple[str, ...]
    """Of the columns of the observation `features`."""
    map_channels: tuple[str, ...]
    """Of the channels of the observation `map`."""
    action_texts: tuple[str, ...]
    """Each action of the vocabulary as canonical JSON, the keys of `action_lookup`; all different."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReplaySample:
    """T >= 1 steps of one agent in the classic form."""

    path: Path
    """The npz file, for messages."""
    map: NDArray[np.float32]
    """[T, C, H, W]. In files of the original, what was seen *after* the action of the row; ours: before it."""
    features: NDArray[np.float32]
    """[T, F], as `map`."""
    actions: NDArray[np.int64]
    """[T]; indices into `vocabulary`."""
    old_log_probs: NDArray[np.float32]
    """[T]; of the action under what chose it (ours), or under an untrained network (the original)."""
    value_preds: NDArray[np.float32]
    """[T + 1], the value of the state after the last step at the end; [T] where a file has none."""
    rewards: NDArray[np.float32]
    """[T]."""
    dones: NDArray[np.bool_]
    """[T]; terminated or truncated."""
    metadata: Mapping[str, JsonValue]
    """The description as it is in the file."""
    feature_names: tuple[str, ...]
    """F names."""
    vocabulary: tuple[str, ...]
    """Text of each action id: its JSON, or `action_ID` where the file does not say."""
    trajectory: Trajectory | None
    """Everything that was recorded, where the file holds it (ours do)."""

    def __post_init__(self) -> None:
        num_steps = len(self)
        if num_steps == 0:
            raise CaptureError(self.path, "check", "a sample has at least one step")
        flat = ((num_steps,),)
        shapes: dict[str, tuple[tuple[int, ...], ...]] = {
            **dict.fromkeys(TRAINING_ARRAYS, flat),
            "features": ((num_steps, len(self.feature_names)),),
            "value_preds": (*flat, (num_steps + 1,)),
        }
        for name, array in self.arrays().items():
            if array.dtype != _DTYPES[name]:
                raise CaptureError(self.path, "check", f"`{name}` must be {_DTYPES[name]}, got {array.dtype}")
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise CaptureError(self.path, "check", f"`{name}` must be finite")
            if name in shapes and array.shape not in shapes[name]:
                raise CaptureError(self.path, "check", f"`{name}` must be {shapes[name]}, got {array.shape}")
        if self.map.ndim != 4 or len(self.map) != num_steps:
            raise CaptureError(self.path, "check", f"`map` must be [{num_steps}, C, H, W], got {self.map.shape}")
        if self.actions.min() < 0 or self.actions.max() >= len(self.vocabulary):
            raise CaptureError(self.path, "check", f"`actions` must be in [0, {len(self.vocabulary)})")
        if missing := [name for name in CONFLICT_FEATURES if name not in self.feature_names]:
            raise CaptureError(self.path, "check", f"`feature_names` must hold {missing}")

    def __len__(self) -> int:
        """Steps (T)."""
        return len(self.rewards)

    @property
    def names_all_actions(self) -> bool:
        """Whether the file says of every action id what it means."""
        lookup = self.metadata.get("action_lookup")
        return isinstance(lookup, dict) and len(lookup.keys() - {NO_ACTION}) == len(self.vocabulary)

    def metrics(self) -> dict[str, float]:
        """The figures of the sample as it was recorded, as `sample_metrics` computes them."""
        return sample_metrics(
            rewards=self.rewards,
            log_probs=self.old_log_probs,
            value_preds=self.value_preds,
            actions=self.actions,
            action_texts=self.vocabulary,
            features=self.features,
            feature_names=self.feature_names,
            vetoed=None if self.trajectory is None else _vetoed(self.trajectory),
        )

    def arrays(self) -> dict[str, Array]:
        """The seven arrays by their names in the file."""
        return {name: vars(self)[name] for name in CLASSIC_ARRAYS}


def encode_sample(
    trajectory: Trajectory,
    *,
    final_value: float,
    layout: CaptureLayout,
    info: Mapping[str, JsonValue],
    own: Mapping[str, JsonValue],
    npz_path: Path,
    tags: Sequence[str] = (),
) -> tuple[bytes, bytes, dict[str, float]]:
    """Encode one trajectory as the bytes of its npz file and of its description, and compute its metrics.

    Args:
        trajectory: its schema has the observations `map` [C, H, W] and `features` [F], float32, and the decision
            columns `action`, `behavior_log_prob` and `value`.
        final_value: V of the final observation; written as 0 after a true end.
        layout: names.
        info: the capture's own metadata, repeated in each sample.
        own: keys of the world's own for the description.
        npz_path: where the arrays will be, for names and messages.
        tags: words that data sets are chosen by.

    Returns:
        Content of the npz file, content of the description, metrics by name.

    Raises:
        CaptureError: if the schema has no classic form, or names do not fit it.
    """
    _check_layout(trajectory.schema, layout, npz_path)
    arrays = _arrays(trajectory, final_value)
    npz = encode_npz(arrays)
    metrics = sample_metrics(
        rewards=trajectory.rewards,
        log_probs=arrays["old_log_probs"],
        value_preds=arrays["value_preds"],
        actions=arrays["actions"],
        action_texts=layout.action_texts,
        features=arrays["features"],
        feature_names=layout.feature_names,
        vetoed=_vetoed(trajectory),
    )
    if not all(map(np.isfinite, metrics.values())):
        raise CaptureError(npz_path, "encode", f"metrics must be finite, got {metrics}")
    document = {**_description(trajectory, layout, info, metrics, npz_path.stem), "tags": list[JsonValue](tags)}
    if taken := sorted({*document, SECTION} & own.keys()):
        raise CaptureError(npz_path, "encode", f"a description says {taken} itself")
    document = {**own, **document}
    section: dict[str, JsonValue] = {
        "schema_version": SCHEMA_VERSION,
        **schema_document(trajectory.schema),
        **{name: vars(trajectory)[name] for name in ("terminated", "truncated", "world", "episode")},
        **({_LABEL: trajectory.episode_label.name.lower()} if trajectory.episode_label else {}),
        "arrays": [*sorted(arrays)],
    }
    section["sha256"] = _digest(npz, {**document, SECTION: section})
    return npz, readable_json({**document, SECTION: section}), metrics


def _vetoed(trajectory: Trajectory) -> NDArray[np.bool_] | None:
    found = trajectory.columns.get("vetoed")
    return None if found is None else found.astype(np.bool_, copy=False)


def _arrays(trajectory: Trajectory, final_value: float) -> dict[str, Any]:
    """The members of the npz file."""
    columns, observations = trajectory.columns, trajectory.observations
    final = np.array([0.0 if trajectory.terminated else final_value], np.float32)
    value_preds = np.concatenate((columns["value"].astype(np.float32, copy=False), final))
    dones = np.zeros(len(trajectory), np.bool_)
    dones[-1] = trajectory.terminated or trajectory.truncated
    return {
        "map": observations["map"][:-1],
        "features": observations["features"][:-1],
        "actions": columns["action"],
        "old_log_probs": columns["behavior_log_prob"],
        "rewards": trajectory.rewards,
        "dones": dones,
        "value_preds": value_preds,
        "ticks": trajectory.ticks,
        **{f"final.{name}": array[-1:] for name, array in observations.items()},
        **{
            f"observations.{name}": array[:-1]
            for name, array in observations.items()
            if name not in _CLASSIC_OBSERVATIONS
        },
        **{f"decisions.{name}": array for name, array in columns.items() if name not in _CLASSIC_DECISIONS},
    }


def decode_sample(npz: bytes, description: bytes, *, npz_path: Path, description_path: Path) -> ReplaySample:
    """Decode the sample of two files, ours or the original's.

    Args:
        npz: content of the arrays' file.
        description: content of the JSON file.
        npz_path: of `npz`, for errors.
        description_path: of `description`, for errors.

    Returns:
        The sample; with its `trajectory`, if the files are ours.

    Raises:
        ArtifactError: if a file is damaged; `CaptureError` if something is missing or contradicts.
    """
    metadata = parse_object(description, description_path)
    fields = Fields(metadata, description_path)
    names = frozenset(CLASSIC_ARRAYS)
    if SECTION in metadata:
        names = frozenset(fields.inside(SECTION).texts("arrays"))
        if not names >= frozenset(CLASSIC_ARRAYS):
            raise CaptureError(description_path, "parse", f"`arrays` must name {CLASSIC_ARRAYS}")
        _verify(npz, metadata, description_path)
    arrays: dict[str, Any] = {**decode_npz(npz, npz_path, names=names)}
    if numbers := sorted(name for name, array in arrays.items() if array.ndim == 0):
        raise CaptureError(npz_path, "check", f"{numbers} must have an axis of steps")
    feature_names = fields.texts("feature_names")
    for name, dimensions in (("map", 3), ("features", 1)):
        if arrays[name].ndim == dimensions:  # one step, without its axis
            arrays[name] = arrays[name][None]
    for name in ("timesteps", "frame_count"):
        if name in metadata and fields.integer(name) != len(arrays["rewards"]):
            raise CaptureError(description_path, "check", f"`{name}` is not the length of the arrays")
    return ReplaySample(
        path=npz_path,
        **{name: arrays[name] for name in CLASSIC_ARRAYS},
        metadata=metadata,
        feature_names=feature_names,
        vocabulary=_vocabulary(metadata, arrays["actions"], description_path),
        trajectory=_restore(arrays, fields.inside(SECTION), fields.text("agent_id"), description_path)
        if SECTION in metadata
        else None,
    )


def _check_layout(schema: TrajectorySchema, layout: CaptureLayout, path: Path) -> None:
    if schema.actions is not None:
        raise CaptureError(path, "encode", f"a capture has one action id a step, got {schema.actions!r:.60}")
    features, map_ = schema.observations.get("features"), schema.observations.get("map")
    if map_ is None or map_.dtype != "float32" or len(map_.shape) != 3:
        raise CaptureError(path, "encode", f"the observation `map` must be float32 [C, H, W], got {map_}")
    if features != ArraySpec("float32", (len(layout.feature_names),)):
        raise CaptureError(
            path, "encode", f"the observation `features` must be float32 [{len(layout.feature_names)}], got {features}"
        )
    for name, spec in _CLASSIC_DECISIONS.items():
        if schema.decisions.get(name) != spec:
            raise CaptureError(path, "encode", f"the column `{name}` must be {spec}, got {schema.decisions.get(name)}")
    if len(layout.action_texts) != len(schema.vocabulary) or len(set(layout.action_texts)) != len(schema.vocabulary):
        raise CaptureError(path, "encode", f"`action_texts` must be {len(schema.vocabulary)} different texts")


def _description(
    trajectory: Trajectory,
    layout: CaptureLayout,
    info: Mapping[str, JsonValue],
    metrics: Mapping[str, float],
    stem: str,
) -> dict[str, JsonValue]:
    return {
        "map_shape": list(trajectory.schema.observations["map"].shape),
        "map_channels": list(layout.map_channels),
        "feature_names": list(layout.feature_names),
        "training_arrays": list(TRAINING_ARRAYS),
        "timesteps": len(trajectory),
        "value_pred_steps": len(trajectory) + 1,
        "action_lookup": {text: action for action, text in enumerate(layout.action_texts)},
        "action_dim": len(layout.action_texts),
        "agent_id": trajectory.agent_id,
        "trajectory_id": stem,
        "frame_count": len(trajectory),
        "metrics": dict(metrics),
        "scenario": info.get("scenario_name"),
        "quality_metrics": {"reward_sum": metrics["reward_sum"], "timesteps": len(trajectory)},
        "capture_metadata": dict(info),
    }


def _digest(npz: bytes, metadata: Mapping[str, JsonValue]) -> str:
    """SHA-256 of the arrays' file followed by the description without this digest."""
    return hashlib.sha256(npz + canonical_json(dict(metadata))).hexdigest()


def _verify(npz: bytes, metadata: Mapping[str, JsonValue], path: Path) -> None:
    fields = Fields(metadata, path)
    section = dict(fields.object(SECTION))
    if section.get("schema_version") != SCHEMA_VERSION:
        raise CaptureError(path, "parse", f"schema_version {section.get('schema_version')!r} is not {SCHEMA_VERSION}")
    recorded = fields.inside(SECTION).text("sha256")
    del section["sha256"]
    if recorded != (actual := _digest(npz, {**metadata, SECTION: section})):
        raise CaptureError(path, "verify", f"expected SHA-256 {recorded} of both files, got {actual}")


def _restore(arrays: Mapping[str, Any], section: Fields, agent_id: str, path: Path) -> Trajectory:
    try:
        schema = parse_schema(section)
        seen = {name: name if name in _CLASSIC_OBSERVATIONS else f"observations.{name}" for name in schema.observations}
        classic = {
            "action": arrays["actions"],
            "behavior_log_prob": arrays["old_log_probs"],
            "value": arrays["value_preds"][:-1],
        }
        return Trajectory(
            schema=schema,
            observations={
                name: np.concatenate((arrays[member], arrays[f"final.{name}"])) for name, member in seen.items()
            },
            columns={
                name: classic[name] if name in classic else arrays[f"decisions.{name}"] for name in schema.decisions
            },
            rewards=arrays["rewards"],
            ticks=arrays["ticks"],
            terminated=section.flag("terminated"),
            truncated=section.flag("truncated"),
            agent_id=agent_id,
            world=section.integer("world"),
            episode=section.integer("episode"),
            episode_label=label_named(section.text(_LABEL)) if _LABEL in section.values else EpisodeLabel.NONE,
        )
    except (KeyError, ValueError, *CONTENT_ERRORS) as error:
        raise CaptureError(path, "parse", f"`{SECTION}` and the arrays contradict each other: {error}") from error


def _vocabulary(metadata: Mapping[str, JsonValue], actions: Array, path: Path) -> tuple[str, ...]:
    """The text of each action id; `action_ID` for ids without one."""
    fields = Fields(metadata, path)
    lookup = fields.object("action_lookup") if "action_lookup" in metadata else {}
    text_of = {Fields(lookup, path).integer(text): text for text in lookup}
    if len(text_of) != len(lookup):
        raise CaptureError(path, "parse", "`action_lookup` gives an id twice")
    used = int(actions.max(initial=-1)) if actions.dtype.kind == "i" else -1  # other dtypes are refused later
    highest = max([-1, *text_of, used])
    size = max(highest + 1, fields.integer("action_dim") if "action_dim" in metadata else 0)
    if size > MAX_ACTIONS or min([0, *text_of]) < 0:
        raise CaptureError(path, "parse", f"action ids must be in [0, {MAX_ACTIONS}), got {size} actions")
    named = {action: text for action, text in text_of.items() if text != NO_ACTION}
    vocabulary = tuple(named.get(action, f"action_{action}") for action in range(size))
    if not all(vocabulary) or len(set(vocabulary)) != size:
        raise CaptureError(
            path, "parse", "`action_lookup` calls an action by an empty text, or as another one is called"
        )
    return vocabulary
