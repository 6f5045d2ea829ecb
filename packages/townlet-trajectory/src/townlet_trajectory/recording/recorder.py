"""What was seen, decided and earned, tick by tick, for all agents at once."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from threading import RLock
from typing import Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.batch import BatchSink, LabelSink, TrajectoryBatch
from townlet_trajectory.data.checks import refuse_column
from townlet_trajectory.data.labels import WhichEpisode
from townlet_trajectory.data.schema import EpisodeLabel, TrajectorySchema
from townlet_trajectory.data.trajectory import Array
from townlet_trajectory.errors import BufferFullError, ContinuityError, OrderError, SchemaError, ShapeError
from townlet_trajectory.recording.buffer import NO_TERMS, RolloutBuffer
from townlet_trajectory.recording.grouping import grouped, ranked
from townlet_trajectory.recording.labels import EpisodeLabels, meant_by
from townlet_trajectory.recording.roster import NOBODY, Endings, Roster

OnFull = Literal["raise", "drop_oldest", "spill"]
"""What a full recorder does with one more tick: refuse it, forget whole oldest ticks, or hand its rows over."""

_BOOL, _FLOAT32 = np.dtype(np.bool_), np.dtype(np.float32)


class _Stage(Enum):
    """The call that the recorder waits for."""

    TICK = "begin_tick"
    DECISIONS = "record_decisions"
    OUTCOME = "record_outcome"


# Members of an enumeration are looked up slowly in Python 3.11, and a stage is compared at every call.
_TICK, _DECISIONS, _OUTCOME = _Stage


class TrajectoryService:
    """Records every agent at every tick in flat columns, and hands them out as trajectories.

    One tick is `begin_tick`, `record_decisions`, any number of `add_rewards`, `record_outcome`. Its rows are the agents
    present, by ascending slot; all arrays have these rows, and are copied, but for those that `lend` gave. The number
    of Python operations of a tick does not depend on the number of agents.

    Examples:
        >>> import numpy as np
        >>> from townlet_trajectory import ArraySpec, TrajectorySchema, TrajectoryService
        >>> schema = TrajectorySchema(
        ...     observations={"x": ArraySpec("float32")}, decisions={"action": ArraySpec("int64")}, vocabulary=()
        ... )
        >>> service, ids, zero = TrajectoryService(schema, max_rows=100), np.array(["ann"], object), np.array([0])
        >>> for tick in range(3):
        ...     service.begin_tick(tick, zero, {"x": np.float32([tick])}, agent_ids=ids, worlds=zero, episodes=zero)
        ...     service.record_decisions({"action": np.array([tick % 2])})
        ...     over, last = np.array([tick == 2]), {"x": np.float32([9] if tick == 2 else [])}
        ...     service.record_outcome(
        ...         np.float32([1]), over, np.array([False]), final_rows=zero[over], final_observations=last
        ...     )
        >>> service.collect()[0].observations["x"].tolist()
        [0.0, 1.0, 2.0, 9.0]
    """

    def __init__(
        self,
        schema: TrajectorySchema,
        *,
        chunk_rows: int = 4096,
        max_rows: int,
        on_full: OnFull = "raise",
        spill: BatchSink | None = None,
    ) -> None:
        """Begin empty.

        Args:
            schema: the columns; floating-point observations and rewards must be finite.
            chunk_rows: rows to allocate at first, at most `max_rows`, and again whenever they do not suffice.
            max_rows: complete rows (agent-steps) kept at most; the tick in progress does not count.
            on_full: `raise` refuses the decisions of a tick that does not fit, `drop_oldest` forgets oldest ticks,
                `spill` hands all complete rows to the sink.
            spill: the sink, where `on_full` is `spill`.
        """
        if on_full not in ("raise", "drop_oldest", "spill"):
            raise SchemaError(f"`on_full` must be 'raise', 'drop_oldest' or 'spill', got {on_full!r}")
        if (spill is not None) != (on_full == "spill"):
            raise SchemaError(f"`spill` must be given where `on_full` is 'spill', and only there, got {spill!r}")
        if not 1 <= chunk_rows or not 1 <= max_rows:
            raise ShapeError(f"`chunk_rows` and `max_rows` must be at least 1, got {chunk_rows} and {max_rows}")
        # Room is freed by the segment: where rows are dropped little by little, segments are small parts of all rows.
        most = -(-max_rows // 8) if on_full == "drop_oldest" else max_rows
        self._schema, self._max_rows = schema, max_rows
        self._on_full, self._sink = on_full, spill
        self._buffer = RolloutBuffer(schema, chunk_rows=min(chunk_rows, most))
        self._endings, self._labels = Endings(schema), EpisodeLabels()
        self._roster, self._present = Roster(), NOBODY
        self._num_decided = self._num_recorded = 0
        """Trajectories of smaller numbers have had a decision, and a complete row."""
        self._lock = RLock()
        self._stage = _TICK
        self._tick = -1
        self._num_agents, self._shape, self._nobody = 0, (0,), b""
        self._extra_rewards: NDArray[np.float32] | None = None
        self._dropped_rows = self._spilled_rows = 0

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
        return self._dropped_rows

    @property
    def spilled_rows(self) -> int:
        """Complete rows handed to the sink so far."""
        return self._spilled_rows

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
            slots: [N], at least 0, strictly ascending.
            observations: each [N, ...], as the schema says.
            agent_ids: [N] str. An agent that is in no open trajectory begins one.
            worlds: [N], of each agent.
            episodes: [N], of each agent's world.

        Raises:
            OrderError: if the last tick is not closed.
            ContinuityError: if the tick does not follow, or an agent is missing or another without having been ended.
            SchemaError, ShapeError, NonFiniteError: if an array is not what the schema says.
        """
        if self._stage is not _TICK:
            self._refuse(_TICK)
        if tick != self._tick + 1 and (tick <= self._tick or self._roster.num_open):
            raise ContinuityError(
                f"tick {tick} cannot follow tick {self._tick} while {self._roster.num_open} trajectories go on"
            )
        num_agents = len(slots)
        with self._lock:
            self._buffer.begin(tick, num_agents, observations)
            self._present = self._roster.enter(slots, agent_ids, worlds, episodes)
        if num_agents != self._num_agents:
            self._num_agents, self._shape, self._nobody = num_agents, (num_agents,), bytes(num_agents)
        self._tick = tick
        self._extra_rewards = None
        self._stage = _DECISIONS

    def lend(self, num_rows: int) -> Mapping[str, Array]:
        """Lend memory for the next tick's observations, an array [num_rows, ...] for each, until the next call.

        Arrays that `begin_tick` is given back are kept without a copy, as they are until their rows are handed out.
        """
        with self._lock:
            return self._buffer.lend(num_rows)

    def record_decisions(self, columns: Mapping[str, Array]) -> None:
        """Record what was decided; `columns` are the decision columns of the schema, each [N, ...].

        Raises:
            OrderError: if no tick is begun, or its decisions are recorded already.
            BufferFullError: if the tick does not fit; it stays begun: `collect` makes room, and a retry succeeds.
            SchemaError, ShapeError: if an array is not what the schema says.

        What the sink raises is passed on; then nothing is lost, and a retry offers it the same rows again.
        """
        if self._stage is not _DECISIONS:
            self._refuse(_DECISIONS)
        self._buffer.decide(columns)
        if self._buffer.num_rows + self._num_agents > self._max_rows:
            self._make_room()
        self._num_decided = self._roster.next_number
        self._stage = _OUTCOME

    def add_rewards(self, rewards: NDArray[np.float32]) -> None:
        """Add `rewards` [N] to those of this tick."""
        if self._stage is not _OUTCOME:
            self._refuse(_OUTCOME)
        self._check_rewards(rewards)
        self._extra_rewards = rewards.copy() if self._extra_rewards is None else self._extra_rewards + rewards

    def record_outcome(
        self,
        rewards: NDArray[np.float32],
        terminated: NDArray[np.bool_],
        truncated: NDArray[np.bool_],
        *,
        final_rows: NDArray[np.int64],
        final_observations: Mapping[str, Array],
        reward_terms: Mapping[str, NDArray[np.float32]] = NO_TERMS,
    ) -> None:
        """Record what the actions led to, and close the tick.

        Args:
            rewards: [N]; added to those of `add_rewards`.
            terminated: [N]; true ends.
            truncated: [N]; cut off from outside.
            final_rows: [E]; the rows of this tick where `terminated` or `truncated`, ascending.
            final_observations: each [E, ...]; what the last actions of `final_rows` led to; `action_mask` may be
                left out.
            reward_terms: each [N]; parts of the reward, by the names of `schema.reward_terms`. They are columns of the
                record, and need not add up to the rewards.

        Raises:
            OrderError: if the decisions of a tick are not recorded.
            SchemaError, ShapeError, NonFiniteError: if an array is not what it must be.
        """
        if self._stage is not _OUTCOME:
            self._refuse(_OUTCOME)
        shape = self._shape
        if terminated.dtype != _BOOL or terminated.shape != shape:
            refuse_column("terminated", terminated, _BOOL, shape)
        if truncated.dtype != _BOOL or truncated.shape != shape:
            refuse_column("truncated", truncated, _BOOL, shape)
        if self._extra_rewards is not None:
            self._check_rewards(rewards)
            rewards = self._extra_rewards + rewards
        if final_rows.size or terminated.tobytes() != self._nobody or truncated.tobytes() != self._nobody:
            present = self._present.numbers
            ended = self._endings.checked(self._tick, present, terminated, truncated, final_rows, final_observations)
            with self._lock:
                self._buffer.finish(rewards, self._present, reward_terms)
                self._endings.add(ended)
                self._roster.leave(final_rows)
        else:
            with self._lock:
                self._buffer.finish(rewards, self._present, reward_terms)
        self._num_recorded = self._num_decided
        self._stage = _TICK

    def finish(self, final_observations: Mapping[str, Array]) -> None:
        """End the trajectories that go on after the last tick of a run, as truncated: no later tick is needed.

        Args:
            final_observations: each [M, ...]; what the last actions of the M agents that did not end led to, by
                ascending slot: a learner bootstraps with their value. `action_mask` may be left out.

        Raises:
            OrderError: unless `record_outcome` came last.
            SchemaError, ShapeError, NonFiniteError: if an array is not what it must be.
        """
        if self._stage is not _TICK:
            self._refuse(_TICK)
        numbers = self._roster.open.numbers
        nobody, everybody = np.zeros(len(numbers), np.bool_), np.ones(len(numbers), np.bool_)
        rows = np.arange(len(numbers))
        self._endings.add(self._endings.checked(self._tick, numbers, nobody, everybody, rows, final_observations))
        self._roster.reset()

    def collect(self, *, clear: bool = True) -> TrajectoryBatch:
        """All complete rows as trajectories, sorted by world, slot and beginning.

        Trajectories that go on need the tick in progress: its observations are their final ones, and stay the first of
        the next collection. Where no next tick will come, `finish` ends them first. `clear` forgets the rows that are
        returned. Raises `OrderError` if decisions wait for their outcome, or trajectories go on and the next tick is
        not begun.
        """
        if self._stage is _OUTCOME:
            raise OrderError(f"tick {self._tick} has decisions without an outcome: call `record_outcome` first")
        if self._stage is _TICK and self._roster.num_open:
            raise OrderError(
                f"{self._roster.num_open} trajectories go on after tick {self._tick}: begin the next tick first, "
                "its observations are their final ones, or `finish` them with those"
            )
        in_progress = self._present if self._stage is _DECISIONS else NOBODY
        with self._lock:
            batch = grouped(self._schema, self._buffer, self._endings.all(), in_progress, self._labels)
            if clear:
                self._clear()
        return batch

    def spill(self) -> int:
        """Hand all complete rows to the sink, as after the last tick of a run, and return how many there were.

        Trajectories that go on are cut: the next piece begins with the final observation of this one.

        Raises:
            SchemaError: if there is no sink.
            OrderError: as in `collect`.

        What the sink raises is passed on; then nothing is lost.
        """
        if self._sink is None:
            raise SchemaError(f"nowhere to spill to: `on_full` is {self._on_full!r}, and no `spill` is given")
        with self._lock:
            batch = self.collect(clear=False)
            if len(batch):
                self._sink.write(batch)
            self._clear()
        self._spilled_rows += batch.num_steps
        return batch.num_steps

    def reset(self, *, next_tick: int | None = None) -> None:
        """Forget all rows and all trajectories; the next tick may be any later one, or that which is begun.

        Where a world went back to an earlier tick, `next_tick` is the first that may come: who holds what was handed
        out since then is to drop it.
        """
        self._tick = self._tick - (self._stage is _DECISIONS) if next_tick is None else next_tick - 1
        with self._lock:
            self._roster.reset()
            self._clear()
        self._stage = _TICK

    def label_episode(
        self, label: EpisodeLabel, *, world: int, agent_id: str | None = None, ended: bool = False
    ) -> None:
        """Say what an episode was worth. It may be called from any thread, at any time.

        Of an agent its latest trajectory with a decision is labelled: the one that goes on, or that which has just
        ended, until the next has a decision. Of a world those of all agents in its latest episode are. What begins
        later has no label. The label goes with all rows that have not been handed out; a trajectory that goes on
        keeps it until it gets another, also where it is handed out in pieces. What was spilled is labelled in the
        sink, if that is a `LabelSink`. What was collected keeps the label that it had: the next piece of a
        trajectory says what is true of all of it, and where none will come the label came too late.

        Args:
            label: what is said, in place of what was said before. `NONE` takes it back.
            world: where.
            agent_id: of an agent; None: of all agents in the world's episode.
            ended: the latest trajectory of the agent that has ended, however long the next one has lasted; of a world
                the latest episode but the one that goes on.

        Raises:
            OrderError: if there is no such trajectory, or nothing of it is left to label.

        What the sink raises is passed on; then nothing is labelled.
        """
        with self._lock:
            kept, _ = ranked([block[3] for block in self._buffer.blocks()])
            going = self._roster.open
            going = going.take((going.numbers < self._num_decided).nonzero()[0])
            which = WhichEpisode(world=world, agent_id=agent_id, ended=ended)
            meant, told = meant_by(which, kept, going, self._num_recorded), False
            if isinstance(self._sink, LabelSink) and meant.elsewhere is not None:
                told = self._sink.label(label, meant.elsewhere)
            if not meant.numbers.size and not told:
                whose = "" if agent_id is None else f" of agent {agent_id!r}"
                raise OrderError(
                    f"world {world} has no {'ended ' if ended else ''}trajectory{whose} that can still be labelled: "
                    "it has had no decision yet, or was handed out"
                )
            self._labels.keep(np.append(kept.numbers, going.numbers))
            self._labels.give(label, meant.numbers)

    def _clear(self) -> None:
        self._buffer.clear()
        self._endings.clear()
        self._labels.keep(self._roster.open.numbers)

    @property
    def trajectory(self) -> TrajectoryBatch:
        """What `collect` would return, without clearing."""
        return self.collect(clear=False)

    @property
    def transitions(self) -> dict[str, Array]:
        """Copies of the complete rows in the order recorded, tick by tick, by column; also `rewards` and `ticks`."""
        rows = self._buffer.rows()
        return {**rows.observations, **rows.decisions, "rewards": rows.rewards, "ticks": rows.ticks}

    def _make_room(self) -> None:
        """Let the tick in progress fit."""
        kept, size = self._buffer.num_rows, self._num_agents
        if size > self._max_rows or self._on_full == "raise":
            rows = f"{size} rows and {kept} are kept, `max_rows` is {self._max_rows}"
            raise BufferFullError(f"tick {self._tick} has {rows}")
        if self._on_full == "spill":
            self.spill()
            return
        with self._lock:
            self._dropped_rows += self._buffer.drop(kept + size - self._max_rows)
            first_tick = self._buffer.first_tick
            self._endings.drop_before(self._tick if first_tick is None else first_tick)

    def _refuse(self, stage: _Stage) -> NoReturn:
        raise OrderError(f"after tick {self._tick} comes `{self._stage.value}`, got `{stage.value}`")

    def _check_rewards(self, rewards: Array) -> None:
        if rewards.dtype != _FLOAT32 or rewards.shape != self._shape:
            refuse_column("rewards", rewards, _FLOAT32, self._shape)
