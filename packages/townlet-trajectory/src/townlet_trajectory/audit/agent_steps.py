"""All recorded steps of one agent: which are worth a look, one of them explained, and the agent's life in spans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.audit.explain import RecordedStep, explain_step, moments_of
from townlet_trajectory.audit.explanation import Decider, Span, StepExplanation, StepNames, TickMark
from townlet_trajectory.audit.reasons import FALLBACK, SCRIPT
from townlet_trajectory.audit.step_row import text_of_numbers
from townlet_trajectory.data.actions import Box
from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.pieces import joined
from townlet_trajectory.data.schema import FEATURES, Array, Source
from townlet_trajectory.data.statistics import Moments
from townlet_trajectory.data.trajectory import Trajectory
from townlet_trajectory.dataset.source import blocks_of
from townlet_trajectory.errors import DatasetError
from townlet_trajectory.formats.open import OpenDataset

_MOST_NAMED = 5
"""Worlds that an error lists."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AgentSteps:
    """The trajectories of one agent of one world, in the order of their ticks.

    Raises:
        DatasetError: if there is none.
    """

    names: StepNames
    """That the record knows."""
    trajectories: tuple[Trajectory, ...]
    """At least one; pieces are joined."""

    def __post_init__(self) -> None:
        if not self.trajectories:
            raise DatasetError("expected at least one trajectory of the agent, got none")

    @property
    def agent_id(self) -> str:
        """Id of the agent, the same in all trajectories."""
        return self.trajectories[0].agent_id

    @cached_property
    def moments(self) -> Mapping[str, Moments]:
        """Of what the agent saw at all its steps."""
        return moments_of([{name: seen[:-1] for name, seen in one.observations.items()} for one in self.trajectories])

    def find(self, tick: int) -> list[tuple[Trajectory, int]]:
        """Find the steps at a tick: trajectory and row; several where every episode counts its ticks from 0."""
        found = [(one, tick - int(one.ticks[0])) for one in self.trajectories]
        return [(one, row) for one, row in found if 0 <= row < len(one)]

    def nearest(self, tick: int) -> int:
        """Return the recorded tick that is nearest to `tick`."""
        ticks = np.concatenate([one.ticks for one in self.trajectories])
        return int(ticks[np.abs(ticks - tick).argmin()])

    def explain(
        self,
        trajectory: Trajectory,
        row: int,
        *,
        log_probs: NDArray[np.float32] | None = None,
        chosen_log_prob: float | None = None,
    ) -> StepExplanation:
        """Explain a step, compared with all steps of the agent.

        Args:
            trajectory: one of these.
            row: in it.
            log_probs: [A], of several parts those of all side by side; the answer of a policy that was asked again;
                None: none was.
            chosen_log_prob: in the place of `log_probs` where actions are numbers: of the chosen ones.

        Raises:
            ShapeError: if the answer is for another number of actions, or of the other kind.
        """
        step = replace(
            _decision_at(trajectory, row),
            observations={name: np.asarray(seen[row]) for name, seen in trajectory.observations.items()},
            moments=self.moments,
            log_probs=log_probs,
            chosen_log_prob=chosen_log_prob,
        )
        return explain_step(self.names, step)


def steps_of_agent(
    opened: OpenDataset, agent_id: str, *, world: int | None = None, episode: int | None = None
) -> AgentSteps:
    """Read all steps of one agent from a record.

    Args:
        opened: the record.
        agent_id: of the agent.
        world: that it lives in; None: the only one with such an agent.
        episode: of the world; None: all.

    Raises:
        DatasetError: if there is no such agent, world or episode, or the agent lives in several worlds; names those
            that there are.
        ArtifactError: if a file is missing or damaged.
    """
    source = opened.source
    table = source.table
    chosen = table.agent_ids == agent_id
    if not chosen.any():
        raise DatasetError(f"no agent {agent_id!r} in the record; {_nearest_agents(agent_id, table.agent_ids)}")
    for name, column, wanted in (("world", table.worlds, world), ("episode", table.episodes, episode)):
        there = column[chosen]
        if wanted is not None and wanted not in there:
            nearest = there[np.abs(there - wanted).argmin()]
            raise DatasetError(f"agent {agent_id!r} has no {name} {wanted}; the nearest is {name} {nearest}")
        if wanted is not None:
            chosen &= column == wanted
    if len(worlds := np.unique(table.worlds[chosen])) > 1:
        some = ", ".join(map(str, worlds[:_MOST_NAMED])) + (", ..." if len(worlds) > _MOST_NAMED else "")
        raise DatasetError(f"agent {agent_id!r} lives in {len(worlds)} worlds ({some}): name one")
    parts = []
    for block, first, stop in blocks_of(source):
        here = np.flatnonzero(chosen[first:stop])
        if len(here):
            parts.append(source.load_block(block).select(here))
    whole = joined(TrajectoryBatch.concatenate(parts))
    in_order = sorted(whole, key=lambda one: (one.episode, int(one.ticks[0])))
    return AgentSteps(names=names_of_record(opened), trajectories=tuple(in_order))


def marks_of(trajectory: Trajectory) -> dict[TickMark, NDArray[np.bool_]]:
    """Find the steps that are worth a look: [T] for each mark."""
    columns, size = trajectory.columns, len(trajectory)
    nowhere = np.zeros(size, np.bool_)
    possessed = columns.get("possessed", nowhere).astype(np.bool_)
    held = columns.get("held_action", np.full(size, -1)).astype(np.int64) >= 0
    source = columns.get("source", nowhere.astype(np.int8))
    others = [code for code, name in enumerate(trajectory.schema.proposers) if name not in (SCRIPT, FALLBACK)]
    return {
        TickMark.VETO: columns.get("vetoed", nowhere).astype(np.bool_),
        TickMark.TAKEOVER: np.diff(possessed, prepend=False),
        TickMark.POSSESSED: possessed,
        TickMark.PROPOSER: np.isin(columns.get("proposer", np.full(size, -1, np.int8)), others) & ~held & ~possessed,
        TickMark.SOURCE: np.diff(source, prepend=source[:1]) != 0,
        TickMark.HELD: held,
    }


def spans_of(trajectory: Trajectory, first: int = 0, stop: int | None = None) -> list[Span]:
    """Put consecutive steps together at which the same was done for the same reason; numbers, which are hardly ever the
    same, where they were chosen for the same reason, with their means.

    Args:
        trajectory: of the agent.
        first: row to begin with.
        stop: row behind the last; None: all.
    """
    marks, names = marks_of(trajectory), StepNames.of(trajectory.schema)
    rows = range(first, len(trajectory) if stop is None else stop)
    spans = []
    for reason, group in groupby(rows, key=lambda row: _reason_at(trajectory, names, row)):
        same = list(group)
        begin, end = same[0], same[-1] + 1
        spans.append(
            Span(
                first_tick=int(trajectory.ticks[begin]),
                last_tick=int(trajectory.ticks[end - 1]),
                **(reason._asdict() | _mean_numbers(trajectory, begin, end)),
                reward=float(trajectory.rewards[begin:end].sum(dtype=np.float64)),
                marks=tuple(mark for mark, where in marks.items() if where[begin:end].any()),
            )
        )
    return spans


def row_of_choice(columns: Mapping[str, Array], row: int) -> int | None:
    """Find the row of the choice that began the option in force at `row`.

    Args:
        columns: of a trajectory.
        row: in it.

    Returns:
        An earlier row; None where no option is in force, or the trajectory does not reach back to its choice.
    """
    if not {"held_action", "ticks_left", "chosen_action"} <= columns.keys():
        return None
    held, left, chosen = (columns[name].astype(np.int64) for name in ("held_action", "ticks_left", "chosen_action"))
    if held[row] < 0:
        return None
    first = row
    while first > 0 and held[first - 1] == held[row] and left[first - 1] == left[first] + 1:
        first -= 1
    return first - 1 if first > 0 and chosen[first - 1] == held[row] else None


def _mean_numbers(trajectory: Trajectory, begin: int, end: int) -> dict[str, str]:
    """The actions of a span in words, where they are numbers."""
    actions, columns = trajectory.schema.actions, trajectory.columns
    if not isinstance(actions, Box):
        return {}
    means = {
        name: text_of_numbers(actions, columns[name][begin:end].mean(axis=0, dtype=np.float64))
        for name in ("action", "chosen_action")
        if name in columns
    }
    return {name: text if end - begin == 1 else f"{text} (means)" for name, text in means.items()}


class _Reason(NamedTuple):
    """Of the steps of a span."""

    action: str
    chosen_action: str | None
    decider: Decider
    source: str | None
    proposer: str | None
    veto_reason: str | None
    demonstrated: bool


def _reason_at(trajectory: Trajectory, names: StepNames, row: int) -> _Reason:
    decided = _decision_at(trajectory, row).row(names)
    option, decider = decided.option, decided.decider
    by_script = decided.proposer if decider is Decider.SCRIPT else None
    has_numbers = isinstance(trajectory.schema.actions, Box)
    return _Reason(
        action="" if has_numbers else decided.executed,
        chosen_action=None if has_numbers else decided.action("chosen_action"),
        decider=decider,
        source=decided.code("source", Source),
        proposer=by_script if option is None else option.proposer,
        veto_reason=decided.veto_reason,
        demonstrated=decided.flag("demonstrated"),
    )


def _decision_at(trajectory: Trajectory, row: int) -> RecordedStep:
    """A step without what was seen."""
    begun, proposers = row_of_choice(trajectory.columns, row), trajectory.columns.get("proposer")
    return RecordedStep(
        agent_id=trajectory.agent_id,
        world=trajectory.world,
        episode=trajectory.episode,
        tick=int(trajectory.ticks[row]),
        observations={},
        columns={name: np.asarray(column[row]) for name, column in trajectory.columns.items()},
        reward=float(trajectory.rewards[row]),
        end=_end_at(trajectory, row),
        episode_label=trajectory.episode_label.name.lower() if trajectory.episode_label else None,
        option_since=None if begun is None else int(trajectory.ticks[begun]),
        option_proposer=None if begun is None or proposers is None else int(proposers[begun]),
        first_tick=int(trajectory.ticks[0]),
    )


def _end_at(trajectory: Trajectory, row: int) -> str | None:
    if row < len(trajectory) - 1:
        return None
    return "terminated" if trajectory.terminated else "truncated" if trajectory.truncated else "cut"


def names_of_record(opened: OpenDataset) -> StepNames:
    """Return the names of the record, of features too where an earlier version kept them beside the schema."""
    schema, features = opened.source.schema, opened.feature_names
    fit = FEATURES in schema.observations and schema.observations[FEATURES].shape == (len(features),)
    return replace(StepNames.of(schema), feature_names=features if fit else ())


def _nearest_agents(agent_id: str, ids: NDArray[np.object_]) -> str:
    """Words about the agents that there are."""
    there = sorted({str(one) for one in ids.tolist()})
    if close := get_close_matches(agent_id, there, n=1, cutoff=0.0):
        return f"the nearest of its {len(there):,} is {close[0]!r}"
    return "it has none"
