"""The service behaves as a naive list of dictionaries, whatever its bound does and however agents come and go."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from strategies import SCHEMA, Columns, rows_of

from townlet_trajectory import ArtifactError, BufferFullError, Trajectory, TrajectoryBatch, TrajectoryService
from townlet_trajectory.recording.recorder import OnFull

Step = dict[str, object]


@dataclass
class Piece:
    """One trajectory of the model."""

    world: int
    slot: int
    agent_id: str
    episode: int
    steps: list[Step] = field(default_factory=list)
    final: Columns | None = None
    """None while it goes on."""
    terminated: bool = False
    truncated: bool = False


class Shelf:
    """A sink that keeps the batches that were not looked at yet, and can be full."""

    def __init__(self) -> None:
        self.batches: list[TrajectoryBatch] = []
        self.full = False

    def write(self, batch: TrajectoryBatch) -> None:
        if self.full:
            raise ArtifactError("shelf", "write", "no space left")
        self.batches.append(batch)


class ServiceMachine(RuleBasedStateMachine):
    """Ticks of at most 6 agents in 6 slots, two worlds; everything is also kept in lists of dictionaries."""

    @initialize(
        max_rows=st.integers(6, 40),
        chunk_rows=st.integers(1, 40),
        on_full=st.sampled_from(["raise", "drop_oldest", "spill"]),
    )
    def make(self, max_rows: int, chunk_rows: int, on_full: OnFull) -> None:
        self.shelf = Shelf()
        self.service = TrajectoryService(
            SCHEMA,
            chunk_rows=chunk_rows,
            max_rows=max_rows,
            on_full=on_full,
            spill=self.shelf if on_full == "spill" else None,
        )
        self.max_rows = max_rows
        self.on_full = on_full
        self.tick = -1
        self.episode = 0
        self.begun = False
        self.alive: dict[int, Piece] = {}
        self.present: list[Piece] = []
        self.pieces: list[Piece] = []
        self.ticks: list[list[tuple[Piece, Step]]] = []
        self.dropped = 0
        self.spilled = 0

    @precondition(lambda self: not self.begun)
    @rule(
        arrivals=st.dictionaries(st.integers(0, 5), st.sampled_from("abc"), max_size=4),
        seed=st.integers(0, 2**32),
        new_episode=st.booleans(),
        pause=st.integers(1, 3),
        lent=st.integers(0, 3),
    )
    def begin(self, arrivals: dict[int, str], seed: int, new_episode: bool, pause: int, lent: int) -> None:
        self.tick += 1 if self.alive else pause
        self.episode += new_episode
        for slot, agent_id in arrivals.items():
            if slot not in self.alive:
                self.alive[slot] = Piece(slot // 3, slot, agent_id, self.episode)
                self.pieces.append(self.alive[slot])
        self.present = [self.alive[slot] for slot in sorted(self.alive)]
        self.observations = rows_of(SCHEMA.observations, len(self.present), np.random.default_rng(seed))
        given = {name: array.copy() for name, array in self.observations.items()}
        if lent:
            room = self.service.lend(len(self.present))
            for name in list(given)[:lent]:
                room[name][...] = given[name]
                given[name] = room[name]
        self.service.begin_tick(
            self.tick,
            np.array([piece.slot for piece in self.present], np.int64),
            given,
            agent_ids=np.array([piece.agent_id for piece in self.present], object),
            worlds=np.array([piece.world for piece in self.present], np.int64),
            episodes=np.array([piece.episode for piece in self.present], np.int64),
        )
        self.begun = True

    @precondition(lambda self: self.begun)
    @rule(
        seed=st.integers(0, 2**32),
        ends=st.integers(0, 2**12 - 1),
        num_extra=st.integers(0, 2),
        sink_fails=st.booleans(),
    )
    def act(self, seed: int, ends: int, num_extra: int, sink_fails: bool) -> None:
        rng = np.random.default_rng(seed)
        size = len(self.present)
        columns = rows_of(SCHEMA.decisions, size, rng)
        self.decide(columns, sink_fails)
        for array in self.service.lend(seed % 7).values():
            array.view(np.uint8)[...] = 255  # what is lent is not what is kept
        rewards = rng.integers(-3, 3, (num_extra + 1, size)).astype(np.float32)
        for extra in rewards[1:]:
            self.service.add_rewards(extra)
        # Two of the twelve bits for each row; an end needs both neighbours to be set, so that agents live a while.
        terminated = np.array([(ends >> row) & 3 == 3 for row in range(size)], bool)
        truncated = np.array([(ends >> (row + 3)) & 7 == 5 for row in range(size)], bool)
        final_rows = np.flatnonzero(terminated | truncated)
        final = rows_of(SCHEMA.observations, len(final_rows), rng)
        if seed % 2:
            final["action_mask"] = np.ones((len(final_rows), 3), bool)
        self.service.record_outcome(
            rewards[0],
            terminated,
            truncated,
            final_rows=final_rows,
            final_observations=final if seed % 2 == 0 else {n: a for n, a in final.items() if n != "action_mask"},
        )
        self.ticks.append([])
        for row, piece in enumerate(self.present):
            step: Step = {name: array[row] for name, array in {**self.observations, **columns}.items()}
            step |= {"reward": sum(rewards[:, row].tolist()), "tick": self.tick}
            piece.steps.append(step)
            self.ticks[-1].append((piece, step))
        for position, row in enumerate(final_rows):
            piece = self.alive.pop(self.present[row].slot)
            piece.final = {name: array[position] for name, array in final.items()}
            piece.terminated, piece.truncated = bool(terminated[row]), bool(truncated[row])
        self.begun = False

    def decide(self, columns: Columns, sink_fails: bool) -> None:
        """Record the decisions, and do in the lists what the bound asks for."""
        if self.num_rows + len(self.present) > self.max_rows:
            if self.on_full == "drop_oldest":
                self.drop_oldest()
            elif self.on_full == "raise":
                with pytest.raises(BufferFullError):
                    self.service.record_decisions(columns)
                self.collect(clear=True)
            elif sink_fails:
                self.shelf.full = True
                with pytest.raises(ArtifactError):
                    self.service.record_decisions(columns)
                self.shelf.full = False
                self.counts()
        self.service.record_decisions(columns)
        if self.shelf.batches:
            self.take_from_shelf()

    def drop_oldest(self) -> None:
        while self.num_rows + len(self.present) > self.max_rows:
            for piece, step in self.ticks.pop(0):
                assert piece.steps.pop(0) is step
                self.dropped += 1

    @precondition(lambda self: self.begun or not self.alive)
    @rule(clear=st.booleans())
    def collect(self, clear: bool) -> None:
        self.compare(self.service.collect(clear=clear))
        if clear:
            self.forget()

    @precondition(lambda self: self.on_full == "spill" and (self.begun or not self.alive))
    @rule()
    def spill(self) -> None:
        assert self.service.spill() == self.num_rows
        if self.num_rows:
            self.take_from_shelf()
        assert self.shelf.batches == []

    @precondition(lambda self: self.tick % 4 == 3)  # seldom, so that agents live a while
    @rule()
    def reset(self) -> None:
        self.service.reset()
        self.alive.clear()
        self.begun = False
        self.forget()

    @rule()
    def transitions(self) -> None:
        transitions = self.service.transitions
        steps = [step for tick in self.ticks for _, step in tick]
        assert transitions["ticks"].tolist() == [step["tick"] for step in steps]
        assert transitions["rewards"].tolist() == [step["reward"] for step in steps]
        for name in (*SCHEMA.observations, *SCHEMA.decisions):
            assert transitions[name].tolist() == [step[name].tolist() for step in steps]

    def take_from_shelf(self) -> None:
        [batch] = self.shelf.batches
        self.compare(batch)
        self.spilled += self.num_rows
        self.shelf.batches.clear()
        self.forget()

    def forget(self) -> None:
        self.ticks.clear()
        self.pieces = list(self.alive.values())
        for piece in self.pieces:
            piece.steps.clear()

    def compare(self, batch: TrajectoryBatch) -> None:
        expected = sorted(
            (piece for piece in self.pieces if piece.steps),
            key=lambda piece: (piece.world, piece.slot, piece.steps[0]["tick"]),
        )
        assert len(batch) == len(expected)
        for actual, piece in zip(batch, expected, strict=True):
            self.compare_one(actual, piece)

    def compare_one(self, actual: Trajectory, piece: Piece) -> None:
        assert (actual.agent_id, actual.world, actual.episode) == (piece.agent_id, piece.world, piece.episode)
        assert (actual.terminated, actual.truncated) == (piece.terminated, piece.truncated)
        assert actual.ticks.tolist() == [step["tick"] for step in piece.steps]
        assert actual.rewards.tolist() == [step["reward"] for step in piece.steps]
        for name, array in actual.columns.items():
            assert array.tolist() == [step[name] for step in piece.steps]
        final = piece.final
        if final is None:
            row = self.present.index(piece)
            final = {name: array[row] for name, array in self.observations.items()}
        for name, array in actual.observations.items():
            np.testing.assert_array_equal(array, np.stack([*(step[name] for step in piece.steps), final[name]]))

    @property
    def num_rows(self) -> int:
        return sum(map(len, self.ticks))

    @invariant()
    def counts(self) -> None:
        if self.tick >= 0:
            assert self.service.num_rows == self.num_rows
            assert self.service.dropped_rows == self.dropped
            assert self.service.spilled_rows == self.spilled


TestService = ServiceMachine.TestCase
