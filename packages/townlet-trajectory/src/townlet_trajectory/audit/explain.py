"""One recorded step explained: what the agent saw, what was proposed, who decided and why, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.audit.explanation import (
    LikelyAction,
    PolicyAnswer,
    SeenArray,
    SeenNumber,
    StepExplanation,
    StepNames,
)
from townlet_trajectory.audit.reasons import reasons_of
from townlet_trajectory.audit.step_row import StepRow, key_of
from townlet_trajectory.data.actions import Box, MultiDiscrete
from townlet_trajectory.data.schema import ACTION_MASK, FEATURES, Array, Kind, Source
from townlet_trajectory.data.statistics import Moments
from townlet_trajectory.errors import ShapeError

MAX_LISTED = 128
"""Numbers of an observation of one axis that are listed one by one; those of longer ones are counted."""
TOP_ACTIONS = 5
AGREEMENT = 1e-3
"""Two log-probabilities of one policy, one of them recorded as float32, differ by less than this."""

_HELD = "held_"
"""Beginning of the names of features that show the option in force, before an action's key."""
_SAME = 1e-9
"""Deviations of this share of the numbers' size are taken for rounding."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedStep:
    """One row of a record, or a decision that has just been made."""

    agent_id: str
    tick: int
    observations: Mapping[str, Array]
    """Each [...]; what the decision was made from."""
    columns: Mapping[str, Array]
    """Decision columns, each of one row; any may be missing."""
    world: int = 0
    episode: int | None = None
    reward: float | None = None
    """None: not known yet."""
    end: str | None = None
    """See `StepExplanation.end`."""
    episode_label: str | None = None
    """See `StepExplanation.episode_label`."""
    option_since: int | None = None
    """See `OptionInForce.since`."""
    option_proposer: int | None = None
    """Code of who proposed the choice that began the option in force; None: not known."""
    first_tick: int | None = None
    """Of the agent's trajectory; None: not known."""
    moments: Mapping[str, Moments] = field(default_factory=dict)
    """Of each observation over all steps of the agent; empty: not known."""
    log_probs: NDArray[np.float32] | None = None
    """[P]; of a policy that was asked again: of the actions, or of the values of all parts side by side."""
    chosen_log_prob: float | None = None
    """Of the chosen numbers under a policy that was asked again, where actions are numbers."""

    def row(self, names: StepNames) -> StepRow:
        """Its decision columns as what they mean."""
        return StepRow(
            names=names,
            columns=self.columns,
            tick=self.tick,
            option_since=self.option_since,
            option_proposer=self.option_proposer,
            first_tick=self.first_tick,
        )


def explain_step(names: StepNames, step: RecordedStep) -> StepExplanation:
    """Explain one step.

    Args:
        names: that the record knows.
        step: the row.

    Returns:
        Everything that the row says, and `why` in sentences.

    Raises:
        ShapeError: if the policy's answer is for another number of actions, or of the other kind.
    """
    row = step.row(names)
    mask = step.observations.get(ACTION_MASK)
    expert = row.action("expert_action")
    return StepExplanation(
        agent_id=step.agent_id,
        world=step.world,
        episode=step.episode,
        tick=step.tick,
        numbers=numbers_of(names, step.observations, step.moments),
        arrays=arrays_of(step.observations),
        legal_actions=None if mask is None else _keys(names, mask.astype(np.bool_)),
        illegal_actions=None if mask is None else _keys(names, ~mask.astype(np.bool_)),
        num_actions=len(names.choices),
        option=row.option,
        expert_action=expert,
        proposer=row.proposer,
        proposal_age=None if expert is None else row.number("proposal_age"),
        drawn_action=row.action("drawn_action"),
        policy_probability=row.probability("policy_log_prob") if row.is_drawn else None,
        behavior_probability=row.probability("behavior_log_prob") if row.is_drawn else None,
        value=row.real("value"),
        answer=_answer(row, step),
        ratio=row.real("ratio"),
        temperature=row.real("temperature"),
        observation_age=row.number("observation_age"),
        decider=row.decider,
        chosen_action=row.action("chosen_action"),
        kind=row.code("kind", Kind),
        source=row.code("source", Source),
        possessed=row.flag("possessed"),
        demonstrated=row.flag("demonstrated"),
        veto_reason=row.veto_reason,
        why=reasons_of(row),
        action=row.executed,
        reward=step.reward,
        reward_terms=row.reward_terms,
        end=step.end,
        episode_label=step.episode_label,
        actions_are="keys" if names.actions is None else "parts" if _has_parts(names) else "numbers",
    )


def _has_parts(names: StepNames) -> bool:
    return isinstance(names.actions, MultiDiscrete)


def _keys(names: StepNames, where: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(key_of(names, at) for at in np.flatnonzero(where).tolist())


def _answer(row: StepRow, step: RecordedStep) -> PolicyAnswer | None:
    log_probs, actions = step.log_probs, row.names.actions
    if log_probs is None and step.chosen_log_prob is None:
        return None
    if isinstance(actions, Box):
        if log_probs is not None or step.chosen_log_prob is None:
            raise ShapeError("numbers have no `log_probs` one by one: `chosen_log_prob` is expected")
        return PolicyAnswer(
            top_actions=(), chosen_log_prob=step.chosen_log_prob, agrees=_agrees(row, step.chosen_log_prob)
        )
    size = len(row.names.choices)
    if log_probs is None or log_probs.shape != (size,):
        raise ShapeError(f"`log_probs` must be [{size}], got {None if log_probs is None else log_probs.shape}")
    top = [
        LikelyAction(action=", ".join(key_of(row.names, at) for at in columns), probability=math.exp(log_prob))
        for columns, log_prob in _most_probable(log_probs, actions)
    ]
    named = [row.columns[name] for name in ("chosen_action", "action") if name in row.columns]
    chosen = named[0] if named else np.zeros(1 if actions is None else len(actions.sizes), np.int64)
    of_chosen = float(log_probs[_columns_of(chosen, actions)].sum())
    return PolicyAnswer(top_actions=tuple(top), chosen_log_prob=of_chosen, agrees=_agrees(row, of_chosen))


def _agrees(row: StepRow, log_prob: float) -> bool | None:
    recorded = row.real("policy_log_prob")
    return None if recorded is None or not row.is_drawn else abs(log_prob - recorded) <= AGREEMENT


def _columns_of(action: Array, actions: MultiDiscrete | None) -> NDArray[np.int64]:
    """The columns of log-probabilities that an action is made of."""
    starts = np.zeros(1) if actions is None else np.cumsum((0, *actions.sizes[:-1]))
    return (starts + np.atleast_1d(action)).astype(np.int64)


def _most_probable(
    log_probs: NDArray[np.float32], actions: MultiDiscrete | None
) -> list[tuple[tuple[int, ...], float]]:
    """The most probable actions: their columns, and their log-probability.

    Those of k + 1 parts are among the most probable ones of the first k parts, each with every value of the next.
    """
    sizes = (len(log_probs),) if actions is None else actions.sizes
    best: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    start = 0
    for size in sizes:
        together = [
            ((*columns, at), so_far + float(log_probs[at]))
            for columns, so_far in best
            for at in range(start, start + size)
        ]
        best = sorted(together, key=lambda pair: -pair[1])[:TOP_ACTIONS]
        start += size
    return best


def numbers_of(
    names: StepNames, observations: Mapping[str, Array], moments: Mapping[str, Moments]
) -> tuple[SeenNumber, ...]:
    """Name every number that an agent saw, the most telling first: by the distance from its mean, then by column.

    Larger observations, the mask, and features that show the option in force are left out.

    Args:
        names: of the features.
        observations: of one step, each [...].
        moments: of the same observations over all steps of the agent; of none where they are not known.
    """
    shown_elsewhere = {_HELD + key for key in (*names.vocabulary, "ticks_left")}
    numbers = []
    for name, array in observations.items():
        if name == ACTION_MASK or not _is_listed(array):
            continue
        for place, value in enumerate(np.atleast_1d(array).astype(np.float64).tolist()):
            label = _label(names, name, array, place)
            if label not in shown_elsewhere:
                numbers.append(_number(label, value, moments.get(name), place))
    return tuple(sorted(numbers, key=lambda one: -abs(one.deviations or 0.0)))


def _label(names: StepNames, name: str, array: Array, place: int) -> str:
    if name == FEATURES and names.feature_names:
        return names.feature_names[place]
    return f"{name}[{place}]" if array.shape else name


def _number(label: str, value: float, moments: Moments | None, place: int) -> SeenNumber:
    if moments is None or moments.count < 2:
        return SeenNumber(name=label, value=value)
    mean, std = float(np.atleast_1d(moments.mean)[place]), float(np.atleast_1d(moments.std)[place])
    # What differs by rounding alone does not differ.
    deviations = (value - mean) / std if std > _SAME * max(1.0, abs(mean)) else 0.0
    return SeenNumber(name=label, value=value, mean=mean, deviations=deviations)


def _is_listed(array: Array) -> bool:
    return array.ndim == 0 or (array.ndim == 1 and len(array) <= MAX_LISTED)


def arrays_of(observations: Mapping[str, Array]) -> tuple[SeenArray, ...]:
    """Count the numbers of the observations [...] of one step that are too large to list."""
    return tuple(
        SeenArray(name=name, shape=array.shape, nonzero=int(np.count_nonzero(array)))
        for name, array in observations.items()
        if name != ACTION_MASK and not _is_listed(array)
    )


def moments_of(observations: Sequence[Mapping[str, Array]]) -> dict[str, Moments]:
    """Return the moments of the observations that `explain_step` lists one by one.

    Args:
        observations: of each of K trajectories of one agent, each array [T, ...]; at least one.
    """
    found = {}
    for name, first in observations[0].items():
        if name != ACTION_MASK and _is_listed(first[0]):
            found[name] = Moments.of(np.concatenate([seen[name] for seen in observations]))
    return found
