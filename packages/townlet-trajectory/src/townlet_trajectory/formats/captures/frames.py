"""Steps as the dictionaries that readers of the original's frames know, made on demand from columns."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

import numpy as np

from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.trajectory import Array
from townlet_trajectory.errors import SchemaError
from townlet_trajectory.formats.captures.sample import CaptureLayout
from townlet_trajectory.storage.json import JsonValue, parse_object

_OBSERVATIONS = ("map", "features")
_DECISIONS = ("action", "behavior_log_prob", "value")
_LOGITS = "logits"


class Frame(TypedDict):
    """One step of one agent."""

    tick: int
    agent_id: str
    map: Array
    """[C, H, W]; read-only."""
    features: Array
    """[F]; read-only."""
    metadata: dict[str, JsonValue]
    """`feature_names`, `map_channels`, `map_shape`; one object for all frames."""
    action: dict[str, JsonValue]
    """The executed action."""
    action_id: int
    rewards: list[float]
    """One number: what the step earned in all."""
    dones: list[bool]
    """One flag: whether the trajectory ended with the step, terminated or truncated."""
    log_prob: float
    """Of the chosen action under what chose it."""
    value_pred: float
    logits: NotRequired[Array]
    """[A]; where there is a decision column of this name."""


def frames_of(
    batch: TrajectoryBatch, *, layout: CaptureLayout, observed: Literal["after", "before"] = "after"
) -> list[Frame]:
    """Make the steps of `batch` by ascending tick, those of a tick in the order of their trajectories.

    Args:
        batch: with the observations `map` and `features`, and the decision columns `action`, `behavior_log_prob` and
            `value`.
        layout: what the numbers mean.
        observed: which observation a frame shows: the one made `after` the step, as the original did, or the one
            `before`, from which its action was decided.

    Raises:
        SchemaError: if a column is missing, or actions, features or channels are not as many as the layout says.
    """
    _check_layout(batch, layout)
    metadata: dict[str, JsonValue] = {
        "feature_names": [*layout.feature_names],
        "map_channels": [*layout.map_channels],
        "map_shape": [*batch.schema.observations["map"].shape],
    }
    actions = [parse_object(text.encode(), "action_texts") for text in layout.action_texts]
    maps, features = (_seen(batch, name, observed) for name in _OBSERVATIONS)
    action_ids, log_probs, values = (batch.columns[name].tolist() for name in _DECISIONS)
    agent_ids = batch.agent_ids[batch.trajectory_of_row].tolist()
    ticks, rewards = batch.ticks.tolist(), batch.rewards.tolist()
    ended = np.zeros(batch.num_steps, np.bool_)
    ended[batch.row_of_last] = batch.terminated | batch.truncated
    dones = ended.tolist()
    frames: list[Frame] = []
    for row in np.argsort(batch.ticks, kind="stable").tolist():
        frame: Frame = {
            "tick": ticks[row],
            "agent_id": agent_ids[row],
            "map": maps[row],
            "features": features[row],
            "metadata": metadata,
            "action": dict(actions[action_ids[row]]),
            "action_id": action_ids[row],
            "rewards": [rewards[row]],
            "dones": [dones[row]],
            "log_prob": log_probs[row],
            "value_pred": values[row],
        }
        if _LOGITS in batch.columns:
            frame["logits"] = batch.columns[_LOGITS][row]
        frames.append(frame)
    return frames


def _seen(batch: TrajectoryBatch, name: str, observed: Literal["after", "before"]) -> Array:
    before = batch.observations[name]
    if observed == "before":
        return before
    after = np.empty_like(before)
    after[:-1] = before[1:]
    after[batch.row_of_last] = batch.final_observations[name]
    after.flags.writeable = False
    return after


def _check_layout(batch: TrajectoryBatch, layout: CaptureLayout) -> None:
    schema = batch.schema
    if schema.actions is not None:
        raise SchemaError(f"a frame has one action id, got actions of {list(schema.actions.names)!r:.80}")
    missing = [name for name in _OBSERVATIONS if name not in schema.observations]
    missing += [name for name in _DECISIONS if name not in schema.decisions]
    if missing:
        raise SchemaError(f"a frame needs the columns {missing}, there are none")
    features, map_ = schema.observations["features"].shape, schema.observations["map"].shape
    size = len(schema.vocabulary)
    for name, named, recorded in (
        ("action_texts", (len(layout.action_texts),), (size,)),
        ("feature_names", (len(layout.feature_names),), features),
        ("map_channels", (len(layout.map_channels), *map_[1:3]), map_),
    ):
        if named != recorded:
            raise SchemaError(f"`{name}` must fit a shape {recorded}, got names for {named}")
    action = batch.columns["action"]
    if action.size and not 0 <= action.min() <= action.max() < size:
        raise SchemaError(f"`action` must be in [0, {size}), got {action.min()} to {action.max()}")
