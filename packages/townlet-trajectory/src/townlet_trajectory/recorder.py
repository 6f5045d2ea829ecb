"""What was seen, decided and earned, tick by tick, for all agents at once."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.batch import TrajectoryBatch
from townlet_trajectory.errors import ContinuityError, OrderError, ShapeError
from townlet_trajectory.grouping import grouped
from townlet_trajectory.rollout import OnFull, RolloutBuffer
from townlet_trajectory.roster import Roster
from townlet_trajectory.schema import ACTION_MASK, ArraySpec, TrajectorySchema
from townlet_trajectory.trajectory import Array

_COMPACT_FROM = 1024
"""Trajectories that are remembered before those without rows are looked for."""


_BOOL = np.dtype(np.bool_)
_FLOAT32 = np.dtype(np.float32)


class _Stage(Enum):
    """What the recorder waits for."""

    TICK = "begin_tick"
    DECISIONS = "record_decisions"
    OUTCOME = "record_outcome"


class TrajectoryService:
    """Records every agent at every tick in flat columns, and hands them out as trajectories.

    One tick is `begin_tick`, `record_decisions`, any number of `add_rewards`, `record_outcome`. The rows of a tick are
    the agents present at it, by ascending slot; all arrays of a tick have these rows. The number of Python operations
    of a tick does not depend on the number of agents.
    """

    def __init__(
        self, schema: TrajectorySchema, *, chunk_rows: int = 4096, max_rows: int, on_full: OnFull = "raise"
    ) -> None:
        """Begin empty.

        Args:
            schema: the columns; floating-point observations and rewards must be finite.
            chunk_rows: rows to allocate at first (at most `max_rows`); doubled when they do not suffice.
            max_rows: complete rows (agent-steps) kept at most; the tick in progress does not count.
            on_full: `raise` refuses the decisions of a tick that does not fit, `drop_oldest` forgets oldest ticks.
        """
        self._schema = schema
        chunk_rows = min(chunk_rows, max_rows)
        self._buffer = RolloutBuffer(
            {
                "observations": schema.observations,
                "decisions": schema.decisions,
                "outcome": {"rewards": ArraySpec("float32"), "trajectory": ArraySpec("int64")},
            },
            finite=frozenset({"observations", "outcome"}),
            chunk_rows=chunk_rows,
            max_rows=max_rows,
            on_full=on_full,
        )
        self._endings = RolloutBuffer(
            {
                "observations": schema.observations,
                "ends": {
                    "number": ArraySpec("int64"),
                    "terminated": ArraySpec("bool"),
                    "truncated": ArraySpec("bool"),
                },
            },
            finite=frozenset({"observations"}),
            chunk_rows=min(64, max_rows),
            max_rows=max_rows,
            on_full="raise",
        )
        self._roster = Roster()
        self._compact_from = _COMPACT_FROM
        self._stage = _Stage.TICK
        self._tick = -1
        self._num_agents = 0
        self._extra_rewards: NDArray[np.float32] | None = None

    @property
    def schema(self) -> TrajectorySchema:
        return self._schema

    @property
    def num_rows(self) -> int:
        """Complete rows (agent-steps) that `collect` would return."""
        return self._buffer.num_rows

    @property
    def dropped_rows(self) -> int:
        """Complete rows forgotten so far to keep within `max_rows`."""
        return self._buffer.dropped_rows

    def begin_tick(
        self,
        tick: int,
        slots: NDArray[np.int64],
        observations: Mapping[str, Array],
        *,
        agent_ids: NDArray[np.object_],
        worlds: NDArray[np.int64],
        episodes: NDArray[np.int64],
    ) -> None:
        """Record what the decisions of `tick` are made from.

        Args:
            tick: one more than the last while a trajectory goes on, else any later one.
            slots: [N], strictly ascending.
            observations: each [N, ...], as the schema says.
            agent_ids: [N] str. An agent that is in no open trajectory begins one.
            worlds: [N].
            episodes: [N].

        Raises:
            OrderError: if the last tick is not closed.
            ContinuityError: if the tick does not follow, or an agent is missing or another without having been ended.
            SchemaError, ShapeError, NonFiniteError: if an array is not what the schema says.
        """
        self._require(_Stage.TICK)
        if tick <= self._tick or (tick != self._tick + 1 and self._roster.num_open):
            raise ContinuityError(
                f"tick {tick} cannot follow tick {self._tick} while {self._roster.num_open} trajectories go on"
            )
        num_agents = len(slots)
        self._buffer.reserve(tick, num_agents)
        self._buffer.write("observations", observations)
        self._roster.enter(slots, agent_ids, worlds, episodes)
        self._tick = tick
        self._num_agents = num_agents
        self._extra_rewards = None
        self._stage = _Stage.DECISIONS

    def record_decisions(self, columns: Mapping[str, Array]) -> None:
        """Record what was decided; `columns` are the decision columns of the schema, each [N, ...].

        Raises:
            OrderError: if no tick is begun, or its decisions are recorded already.
            BufferFullError: if the tick does not fit; it stays begun: `collect` makes room, and a retry succeeds.
            SchemaError, ShapeError: if an array is not what the schema says.
        """
        self._require(_Stage.DECISIONS)
        self._buffer.write("decisions", columns)
        self._buffer.admit()
        self._stage = _Stage.OUTCOME

    def add_rewards(self, rewards: NDArray[np.float32]) -> None:
        """Add `rewards` [N] to those of this tick."""
        self._require(_Stage.OUTCOME)
        self._check_rows("rewards", rewards, _FLOAT32)
        self._extra_rewards = rewards.copy() if self._extra_rewards is None else self._extra_rewards + rewards

    def record_outcome(
        self,
        rewards: NDArray[np.float32],
        terminated: NDArray[np.bool_],
        truncated: NDArray[np.bool_],
        *,
        final_rows: NDArray[np.int64],
        final_observations: Mapping[str, Array],
    ) -> None:
        """Record what the actions led to, and close the tick.

        Args:
            rewards: [N]; added to those of `add_rewards`.
            terminated: [N]; true ends.
            truncated: [N]; cut off from outside.
            final_rows: [E]; the rows of this tick where `terminated` or `truncated`, ascending.
            final_observations: each [E, ...]; what the last actions of `final_rows` led to; `action_mask` may be
                left out.

        Raises:
            OrderError: if the decisions of a tick are not recorded.
            SchemaError, ShapeError, NonFiniteError: if an array is not what it must be.
        """
        self._require(_Stage.OUTCOME)
        self._check_rows("terminated", terminated, _BOOL)
        self._check_rows("truncated", truncated, _BOOL)
        if self._extra_rewards is not None:
            self._check_rows("rewards", rewards, _FLOAT32)
            rewards = self._extra_rewards + rewards
        self._buffer.write("outcome", {"rewards": rewards, "trajectory": self._roster.present})
        ended = np.count_nonzero(terminated) or np.count_nonzero(truncated) or final_rows.size
        if ended:
            self._end(terminated, truncated, final_rows, final_observations)
        self._buffer.commit()
        self._stage = _Stage.TICK
        if self._buffer.dropped_rows:
            self._forget_dropped()

    def collect(self, *, clear: bool = True) -> TrajectoryBatch:
        """All complete rows as trajectories, sorted by world, slot and beginning.

        Trajectories that go on need the tick in progress: its observations are their final ones, and stay the first of
        the next collection.

        Args:
            clear: forget the rows that are returned.

        Raises:
            OrderError: if decisions wait for their outcome, or trajectories go on and the next tick is not begun.
        """
        if self._stage is _Stage.OUTCOME:
            raise OrderError(f"tick {self._tick} has decisions without an outcome: call `record_outcome` first")
        if self._stage is _Stage.TICK and self._roster.num_open:
            raise OrderError(
                f"{self._roster.num_open} trajectories go on after tick {self._tick}: begin the next tick first, "
                "its observations are their final ones"
            )
        batch = grouped(
            self._schema, self._buffer, self._endings, self._roster, pending=self._stage is _Stage.DECISIONS
        )
        if clear:
            self._buffer.clear()
            self._endings.clear()
            self._roster.restart()
            self._compact_from = _COMPACT_FROM
        return batch

    def reset(self) -> None:
        """Forget all rows and all trajectories; the next tick may be any later one."""
        self._buffer.clear()
        self._endings.clear()
        self._roster.reset()
        self._stage = _Stage.TICK

    @property
    def trajectory(self) -> TrajectoryBatch:
        """What `collect` would return, without clearing."""
        return self.collect(clear=False)

    @property
    def transitions(self) -> dict[str, Array]:
        """Copies of the complete rows in the order recorded, tick by tick, by column; also `rewards` and `ticks`."""
        columns = {name: self._buffer.take("observations", name) for name in self._schema.observations}
        columns |= {name: self._buffer.take("decisions", name) for name in self._schema.decisions}
        return columns | {"rewards": self._buffer.take("outcome", "rewards"), "ticks": self._buffer.ticks()}

    def _require(self, stage: _Stage) -> None:
        if self._stage is not stage:
            raise OrderError(f"after tick {self._tick} comes `{self._stage.value}`, got `{stage.value}`")

    def _check_rows(self, name: str, column: Array, dtype: np.dtype[np.generic]) -> None:
        if column.shape != (self._num_agents,) or column.dtype != dtype:
            raise ShapeError(
                f"`{name}` must be {dtype} of shape {(self._num_agents,)}, got {column.dtype} of shape {column.shape}"
            )

    def _end(
        self,
        terminated: NDArray[np.bool_],
        truncated: NDArray[np.bool_],
        final_rows: NDArray[np.int64],
        final_observations: Mapping[str, Array],
    ) -> None:
        ended = (terminated | truncated).nonzero()[0]
        if ended.tobytes() != final_rows.tobytes():
            raise ShapeError(f"`final_rows` must be the rows that ended, {ended}, got {final_rows}")
        if ACTION_MASK in self._schema.observations and ACTION_MASK not in final_observations:
            shape = (len(ended), *self._schema.observations[ACTION_MASK].shape)
            final_observations = {**final_observations, ACTION_MASK: np.ones(shape, np.bool_)}
        self._endings.reserve(self._tick, len(ended))
        self._endings.write("observations", final_observations)
        ends = {
            "number": self._roster.present[ended],
            "terminated": terminated[ended],
            "truncated": truncated[ended],
        }
        self._endings.write("ends", ends)
        self._endings.commit()
        self._roster.leave(ended)

    def _forget_dropped(self) -> None:
        """Keep nothing of trajectories whose rows are all dropped, so that memory does not grow with time."""
        first_tick = self._buffer.first_tick
        if first_tick is None:
            return
        self._endings.drop_before(first_tick)
        if len(self._roster) < self._compact_from:
            return
        used = np.zeros(len(self._roster), np.bool_)
        used[self._buffer.take("outcome", "trajectory")] = True
        labels = self._roster.compact(used)
        self._buffer.relabel("outcome", "trajectory", labels)
        self._endings.relabel("ends", "number", labels)
        self._compact_from = max(_COMPACT_FROM, 2 * len(self._roster), self._buffer.num_rows // 4)
