"""Observations of a plain world's agents, checked, and the recorder that is told of them tick by tick."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.errors import SimulationError
from townlet_trajectory import (
    ArraySpec,
    EpisodeLabel,
    TrajectoryBatch,
    TrajectorySchema,
    TrajectoryService,
    default_decision_columns,
)
from townlet_trajectory.audit.explanation import StepNames
from townlet_trajectory.data.schema import FEATURES

METADATA = "metadata"
"""Of an agent's observation; it is no array, and goes into frames as it is."""

Arrays = Mapping[str, NDArray[np.float32]]
"""What one agent sees, by name."""


class AgentObservations:
    """Takes observations as plain worlds make them, and holds those that the next decision is made from."""

    def __init__(self) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        """Of each observation of an agent, from the first that was given; empty before."""
        self.current: dict[str, Arrays] = {}
        """By agent."""
        self.metadata: dict[str, Mapping[str, Any]] = {}
        """By agent, of the same observations."""
        self.feature_names: tuple[str, ...] = ()
        """Of the columns of `features`, from the first metadata that name them; empty before."""

    def take(self, observations: Mapping[str, Mapping[str, Any]], *, tick: int | None) -> None:
        """Hold these observations in place of the last ones.

        Args:
            observations: by agent id: arrays by name, and perhaps `metadata`.
            tick: after which they were made, for messages; None: before the first.

        Raises:
            SimulationError: names the agent and the array that is missing, of another shape, or not finite.
        """
        current = {agent_id: self.checked(agent_id, seen, tick) for agent_id, seen in observations.items()}
        self.metadata = {agent_id: seen.get(METADATA, {}) for agent_id, seen in observations.items()}
        self.current = current
        if not self.feature_names:
            self.feature_names = self._named_features()

    def _named_features(self) -> tuple[str, ...]:
        """The `feature_names` of any metadata, if there is one for each column."""
        given = (each.get("feature_names") for each in self.metadata.values() if isinstance(each, Mapping))
        named = (tuple(map(str, names)) for names in given if isinstance(names, list | tuple))
        return next((names for names in named if self.shapes.get(FEATURES) == (len(names),)), ())

    def stacked(self, agent_ids: Iterable[str]) -> dict[str, NDArray[np.float32]]:
        """Return the current observations of these agents, each [N, ...]."""
        return stack([self.current[agent_id] for agent_id in agent_ids], self.shapes)

    def checked(self, agent_id: str, seen: Mapping[str, Any], tick: int | None) -> Arrays:
        """Return one agent's observations as arrays; see `take`."""
        where = f"agent {agent_id!r}{'' if tick is None else f', tick {tick}'}: "
        arrays = {}
        for name, value in seen.items():
            if name == METADATA:
                continue
            try:
                arrays[name] = np.array(value, np.float32)
            except (TypeError, ValueError) as error:
                raise SimulationError(f"{where}the observation {name!r} is no array of numbers: {error}") from error
            if not np.isfinite(arrays[name]).all():
                raise SimulationError(f"{where}the observation {name!r} must be finite")
        if not self.shapes and arrays:
            self.shapes = {name: array.shape for name, array in arrays.items()}
        shapes = {name: array.shape for name, array in arrays.items()}
        if shapes != self.shapes or not shapes:
            raise SimulationError(f"{where}expected observations of the shapes {self.shapes}, got {shapes}")
        return arrays


def stack(rows: Sequence[Arrays], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    """Return the arrays of N agents as one [N, ...] of each name; `shapes` are those of one agent."""
    stacked: dict[str, NDArray[np.float32]] = {}
    for name, shape in shapes.items():
        stacked[name] = np.array([row[name] for row in rows], np.float32).reshape(len(rows), *shape)
    return stacked


def id_array(ids: Sequence[str]) -> NDArray[np.object_]:
    """Return ids [N] as the array that the batch interfaces take."""
    array = np.empty(len(ids), np.object_)
    array[:] = ids
    return array


class PlainRecorder:
    """Records the agents that are observed; a step without an observation before it is not recorded.

    Args:
        names: of actions, veto reasons and features.
        shapes: of the observations.
        max_rows: bound of the steps kept between collections; the oldest ticks are dropped.
    """

    def __init__(self, names: StepNames, shapes: Mapping[str, tuple[int, ...]], *, max_rows: int) -> None:
        schema = TrajectorySchema(
            observations={name: ArraySpec("float32", shape) for name, shape in shapes.items()},
            decisions=default_decision_columns(),
            vocabulary=names.vocabulary,
            proposers=names.proposers,
            veto_reasons=names.veto_reasons,
            feature_names=names.feature_names,
        )
        self._shapes = dict(shapes)
        self._service = TrajectoryService(schema, max_rows=max_rows, on_full="drop_oldest")
        self._ids: list[str] = []
        self._seen: list[Arrays] = []
        self._rows: NDArray[np.int64] = np.zeros(0, np.int64)
        self._slots: NDArray[np.int64] = np.zeros(0, np.int64)
        self._tick = -1
        self._is_open = False
        self._carried: dict[str, EpisodeLabel] = {}
        """By agent, the label of what it had not ended when it was collected."""

    @property
    def num_rows(self) -> int:
        """Steps that `collect` would return."""
        return self._service.num_rows

    @property
    def dropped_rows(self) -> int:
        """Steps that were dropped so far."""
        return self._service.dropped_rows

    def record(
        self,
        tick: int,
        ids: Sequence[str],
        slots: NDArray[np.int64],
        columns: Mapping[str, NDArray[Any]],
        seen: Mapping[str, Arrays],
    ) -> None:
        """Record the decisions of a tick.

        Args:
            tick: of the decisions.
            ids: [N].
            slots: [N].
            columns: of decisions, each [N].
            seen: by agent, what its decision was made from; agents without an observation are left out.
        """
        self._rows = np.array([row for row, agent_id in enumerate(ids) if agent_id in seen], np.int64)
        self._ids = [ids[row] for row in self._rows.tolist()]
        self._seen = [seen[agent_id] for agent_id in self._ids]
        self._slots, self._tick = slots[self._rows], tick
        self._begin(tick, self._slots, self._ids, self._seen)
        self._service.record_decisions({name: column[self._rows] for name, column in columns.items()})
        for agent_id in self._carried.keys() & set(self._ids):
            self._service.label_episode(self._carried[agent_id], world=0, agent_id=agent_id)
        self._carried.clear()
        self._is_open = True

    def close(
        self, rewards: Mapping[str, float], terminated: set[str], *, going_on: set[str], after: Mapping[str, Arrays]
    ) -> None:
        """Record what came of the decisions; agents that end without an observation are last seen before them.

        Args:
            rewards: by agent.
            terminated: ids of agents that came to a true end.
            going_on: ids of agents that are decided for, and observed, in the next tick. The others are truncated.
            after: by agent, observations after the decisions.
        """
        if not self._is_open:
            return
        died = np.array([agent_id in terminated for agent_id in self._ids], np.bool_)
        ended = np.array([agent_id not in going_on for agent_id in self._ids], np.bool_) | died
        final_rows = np.flatnonzero(ended)
        final = [after.get(self._ids[row], self._seen[row]) for row in final_rows.tolist()]
        self._service.record_outcome(
            np.array([rewards.get(agent_id, 0.0) for agent_id in self._ids], np.float32),
            died,
            ended & ~died,
            final_rows=final_rows,
            final_observations=stack(final, self._shapes),
        )
        self._is_open = False

    def collect(self, after: Mapping[str, Arrays]) -> TrajectoryBatch:
        """Return all closed steps and forget them; `after` are the observations that follow the last of them."""
        going_on = [row for row, agent_id in enumerate(self._ids) if agent_id in after]
        ids = [self._ids[row] for row in going_on]
        self._begin(self._tick + 1, self._slots[going_on], ids, [after[agent_id] for agent_id in ids])
        batch = self._service.collect()
        # What goes on begins another trajectory, with the observation that was the last of this one, and its label.
        self._service.reset()
        said = (~(batch.terminated | batch.truncated) & (batch.episode_labels != EpisodeLabel.NONE)).nonzero()[0]
        self._carried |= {batch.agent_ids[one]: EpisodeLabel(batch.episode_labels[one]) for one in said.tolist()}
        return batch

    def label_episode(self, label: EpisodeLabel, agent_id: str | None, *, ended: bool) -> None:
        """Label an agent's latest trajectory, or those of all agents; see `TrajectoryService.label_episode`."""
        self._service.label_episode(label, world=0, agent_id=agent_id, ended=ended)

    def _begin(self, tick: int, slots: NDArray[np.int64], ids: Sequence[str], seen: Sequence[Arrays]) -> None:
        zeros = np.zeros(len(ids), np.int64)
        self._service.begin_tick(
            tick,
            slots,
            stack(seen, self._shapes),
            agent_ids=id_array(ids),
            worlds=zeros,
            episodes=zeros,
        )
