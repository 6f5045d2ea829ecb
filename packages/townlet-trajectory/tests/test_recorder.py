"""The service behaves as a naive list of dictionaries, with agents coming, going and returning."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from strategies import SCHEMA, rows_of

from townlet_trajectory import (
    ArraySpec,
    BufferFullError,
    ContinuityError,
    NonFiniteError,
    OrderError,
    SchemaError,
    ShapeError,
    TrajectorySchema,
    TrajectoryService,
)

TINY = TrajectorySchema(
    observations={"x": ArraySpec("float32")}, decisions={"action": ArraySpec("int64")}, vocabulary=("wait", "go")
)
NO_ROWS = np.empty(0, np.int64)


def names(ids: str) -> np.ndarray:
    array = np.empty(len(ids), object)
    array[:] = list(ids)
    return array


class Driver:
    """Drives a service over `TINY` with lists; every agent sees 10 · tick + slot."""

    def __init__(self, *, max_rows: int = 100, on_full: str = "raise") -> None:
        self.service = TrajectoryService(TINY, chunk_rows=2, max_rows=max_rows, on_full=on_full)

    def begin(self, tick: int, slots: list[int], ids: str, *, episode: int = 0) -> None:
        size = len(slots)
        self.service.begin_tick(
            tick,
            np.array(slots, np.int64),
            {"x": np.array([10 * tick + slot for slot in slots], np.float32)},
            agent_ids=names(ids),
            worlds=np.zeros(size, np.int64),
            episodes=np.full(size, episode),
        )

    def decide(self, actions: list[int]) -> None:
        self.service.record_decisions({"action": np.array(actions, np.int64)})

    def close(self, rewards: list[float], *, died: tuple[int, ...] = (), cut: tuple[int, ...] = ()) -> None:
        size, ended = len(rewards), sorted({*died, *cut})
        terminated, truncated = np.zeros(size, bool), np.zeros(size, bool)
        terminated[list(died)] = True
        truncated[list(cut)] = True
        self.service.record_outcome(
            np.array(rewards, np.float32),
            terminated,
            truncated,
            final_rows=np.array(ended, np.int64),
            final_observations={"x": np.array([-1.0 - row for row in ended], np.float32)},
        )


def test_by_hand() -> None:
    """`a` in slot 0 lives on, `b` in slot 1 dies at tick 1 and returns at tick 3; another reward comes at tick 0."""
    driver = Driver()
    driver.begin(0, [0, 1], "ab")
    driver.decide([1, 0])
    driver.service.add_rewards(np.array([0.5, 0.25], np.float32))
    driver.service.add_rewards(np.array([0.5, 0.0], np.float32))
    driver.close([1, 1])
    driver.begin(1, [0, 1], "ab")
    driver.decide([0, 1])
    driver.close([2, 3], died=(1,))
    driver.begin(2, [0], "a")
    driver.decide([1])
    driver.close([4])
    driver.begin(3, [0, 1], "ab")
    driver.decide([1, 1])
    driver.close([5, 6], cut=(1,))
    driver.begin(4, [0], "a")
    batch = driver.service.collect()
    assert batch.offsets.tolist() == [0, 4, 6, 7]
    assert batch.agent_ids.tolist() == ["a", "b", "b"]
    assert batch.ticks.tolist() == [0, 1, 2, 3, 0, 1, 3]
    assert batch.observations["x"].tolist() == [0, 10, 20, 30, 1, 11, 31]  # those before the decision
    assert batch.final_observations["x"].tolist() == [40, -2, -2]  # of tick 4, and as reported at the end
    assert batch.columns["action"].tolist() == [1, 0, 1, 1, 0, 1, 1]
    assert batch.rewards.tolist() == [2.0, 2.0, 4.0, 5.0, 1.25, 3.0, 6.0]
    assert batch.terminated.tolist() == [False, True, False]
    assert batch.truncated.tolist() == [False, False, True]
    driver.decide([0])  # tick 4 is still in progress
    driver.close([7], died=(0,))
    again = driver.service.collect()
    assert (again.ticks.tolist(), again.observations["x"].tolist()) == ([4], [40])
    assert driver.service.num_rows == 0


def test_trajectories_are_sorted_by_world_then_slot() -> None:
    service = TrajectoryService(TINY, max_rows=10)
    slots = np.array([0, 1, 2])
    service.begin_tick(
        0, slots, {"x": np.zeros(3, np.float32)}, agent_ids=names("abc"), worlds=np.array([1, 0, 1]), episodes=slots
    )
    service.record_decisions({"action": np.zeros(3, np.int64)})
    everyone = np.ones(3, bool)
    service.record_outcome(
        np.zeros(3, np.float32),
        everyone,
        ~everyone,
        final_rows=slots,
        final_observations={"x": np.zeros(3, np.float32)},
    )
    batch = service.collect()
    assert batch.agent_ids.tolist() == ["b", "a", "c"]
    assert (batch.worlds.tolist(), batch.episodes.tolist()) == ([0, 1, 1], [1, 0, 2])


def test_drop_oldest_leaves_a_right_remainder() -> None:
    driver = Driver(max_rows=3, on_full="drop_oldest")
    for tick in range(4):
        driver.begin(tick, [0], "a")
        driver.decide([tick % 2])
        driver.close([tick])
    driver.begin(4, [0], "a")
    batch = driver.service.collect(clear=False)
    assert batch.ticks.tolist() == [1, 2, 3]
    assert batch.rewards.tolist() == [1, 2, 3]
    assert driver.service.dropped_rows == 1


def test_an_ended_trajectory_is_forgotten_with_its_last_row() -> None:
    driver = Driver(max_rows=2, on_full="drop_oldest")
    driver.begin(0, [0], "a")
    driver.decide([0])
    driver.close([0], died=(0,))
    for tick in (1, 2):
        driver.begin(tick, [0], "b")
        driver.decide([0])
        driver.close([0], died=(0,) if tick == 2 else ())
    assert driver.service.collect().agent_ids.tolist() == ["b"]


def test_a_full_service_makes_room_by_collecting() -> None:
    driver = Driver(max_rows=2)
    for tick in range(2):
        driver.begin(tick, [0], "a")
        driver.decide([0])
        driver.close([0])
    driver.begin(2, [0], "a")
    with pytest.raises(BufferFullError, match="`max_rows` is 2"):
        driver.decide([0])
    assert driver.service.collect().ticks.tolist() == [0, 1]
    driver.decide([0])
    driver.close([0], died=(0,))
    assert driver.service.collect().ticks.tolist() == [2]


def test_transitions_are_tick_by_tick() -> None:
    driver = Driver()
    for tick in range(2):
        driver.begin(tick, [0, 1], "ab")
        driver.decide([tick, 1])
        driver.close([tick, 2], died=(0, 1) if tick else ())
    transitions = driver.service.transitions
    assert {name: column.tolist() for name, column in transitions.items()} == {
        "x": [0, 1, 10, 11],
        "action": [0, 1, 1, 1],
        "rewards": [0, 2, 1, 2],
        "ticks": [0, 0, 1, 1],
    }
    assert driver.service.trajectory.rewards.tolist() == [0, 1, 2, 2]
    assert driver.service.num_rows == 4


def test_reset_forgets_everything_but_the_tick() -> None:
    driver = Driver()
    driver.begin(5, [0, 1], "ab")
    driver.decide([0, 0])
    driver.service.reset()
    assert len(driver.service.collect()) == 0
    with pytest.raises(ContinuityError, match="tick 5 cannot follow tick 5"):
        driver.begin(5, [0], "c")
    driver.begin(9, [0], "c")


def test_a_tick_without_agents() -> None:
    driver = Driver(max_rows=1, on_full="drop_oldest")
    for tick, ids in enumerate(["", "a", "", "b", ""]):
        driver.begin(tick, list(range(len(ids))), ids)
        driver.decide([0] * len(ids))
        driver.close([0] * len(ids), died=tuple(range(len(ids))))
    assert driver.service.collect().agent_ids.tolist() == ["b"]
    driver.begin(7, [], "")
    driver.decide([])
    driver.close([])
    assert len(driver.service.collect()) == 0


def test_calls_out_of_order() -> None:
    driver = Driver()
    with pytest.raises(OrderError, match="after tick -1 comes `begin_tick`, got `record_decisions`"):
        driver.decide([])
    driver.begin(0, [0], "a")
    with pytest.raises(OrderError, match="comes `record_decisions`, got `record_outcome`"):
        driver.close([0])
    with pytest.raises(OrderError, match="comes `record_decisions`, got `record_outcome`"):
        driver.service.add_rewards(np.zeros(1, np.float32))
    with pytest.raises(OrderError, match="comes `record_decisions`, got `begin_tick`"):
        driver.begin(1, [0], "a")
    driver.decide([0])
    with pytest.raises(OrderError, match="tick 0 has decisions without an outcome"):
        driver.service.collect()
    driver.close([0])
    with pytest.raises(OrderError, match="1 trajectories go on after tick 0"):
        driver.service.collect()


def test_an_agent_cannot_be_absent_without_an_end() -> None:
    driver = Driver()
    driver.begin(0, [0, 1], "ab")
    driver.decide([0, 0])
    driver.close([0, 0])
    with pytest.raises(ContinuityError, match="tick 2 cannot follow tick 0 while 2 trajectories go on"):
        driver.begin(2, [0, 1], "ab")
    with pytest.raises(ContinuityError, match=r"\['b'\] vanished"):
        driver.begin(1, [0], "a")
    driver.begin(1, [0, 1], "ab")  # a refused call changes nothing


@pytest.mark.filterwarnings("ignore:invalid value encountered in dot")
def test_numbers_that_are_not() -> None:
    driver = Driver()
    with pytest.raises(NonFiniteError, match="`x` must be finite, got nan at tick 3, row 1"):
        driver.service.begin_tick(
            3,
            np.array([0, 1]),
            {"x": np.array([0, np.nan], np.float32)},
            agent_ids=names("ab"),
            worlds=np.zeros(2, np.int64),
            episodes=np.zeros(2, np.int64),
        )
    driver.begin(3, [0, 1], "ab")
    driver.decide([0, 0])
    with pytest.raises(NonFiniteError, match="`rewards` must be finite, got inf at tick 3, row 0"):
        driver.close([np.inf, 0])
    driver.service.add_rewards(np.array([3e38, 0], np.float32))
    with np.errstate(over="ignore"), pytest.raises(NonFiniteError, match="got inf at tick 3, row 0"):
        driver.close([3e38, 0])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"rewards": np.zeros(1, np.float32)}, ShapeError, r"`rewards` must have shape \(2,\), got \(1,\)"),
        ({"rewards": np.zeros(2)}, SchemaError, "`rewards` must have dtype float32, got float64"),
        ({"terminated": np.zeros(2, np.int64)}, ShapeError, r"`terminated` must be bool of shape \(2,\), got int64"),
        ({"truncated": np.zeros(3, bool)}, ShapeError, r"`truncated` must be bool of shape \(2,\)"),
        ({"final_rows": np.array([1])}, ShapeError, r"`final_rows` must be the rows that ended, \[0\], got \[1\]"),
        ({"terminated": np.zeros(2, bool)}, ShapeError, r"the rows that ended, \[\], got \[0\]"),
        ({"final_observations": {}}, SchemaError, r"missing \['x'\]"),
    ],
)
def test_bad_outcomes_change_nothing(changes: dict[str, np.ndarray], error: type[Exception], message: str) -> None:
    outcome = {
        "rewards": np.zeros(2, np.float32),
        "terminated": np.array([True, False]),
        "truncated": np.zeros(2, bool),
        "final_rows": np.array([0]),
        "final_observations": {"x": np.zeros(1, np.float32)},
    }
    driver = Driver()
    driver.begin(0, [0, 1], "ab")
    driver.decide([0, 0])
    with pytest.raises(error, match=message):
        driver.service.record_outcome(**{**outcome, **changes})
    driver.service.record_outcome(**outcome)
    driver.begin(1, [1], "b")
    assert driver.service.collect().terminated.tolist() == [True, False]


def test_extra_rewards_are_checked() -> None:
    driver = Driver()
    driver.begin(0, [0, 1], "ab")
    driver.decide([0, 0])
    with pytest.raises(ShapeError, match=r"`rewards` must be float32 of shape \(2,\), got float32 of shape \(1,\)"):
        driver.service.add_rewards(np.zeros(1, np.float32))


def test_memory_does_not_grow_with_the_agents_that_ever_lived() -> None:
    driver = Driver(max_rows=6, on_full="drop_oldest")

    def live(first_tick: int, num_ticks: int) -> None:
        """Slot 0 has a new agent at every tick, slot 1 has `z` for ever."""
        for tick in range(first_tick, first_tick + num_ticks):
            driver.begin(tick, [0, 1], f"{chr(0x4E00 + tick % 20_000)}z")
            driver.decide([0, 0])
            driver.close([tick, tick], died=(0,))

    live(0, 3000)
    tracemalloc.start()
    live(3000, 1500)
    before = tracemalloc.get_traced_memory()[0]
    live(4500, 6000)
    growth = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert growth < 100_000  # 6000 agents, if they were remembered, take more than 1 MB
    driver.begin(10_500, [1], "z")
    batch = driver.service.collect()
    assert batch.agent_ids.tolist() == [*(chr(0x4E00 + tick) for tick in (10_497, 10_498, 10_499)), "z"]
    assert batch.ticks.tolist() == [10_497, 10_498, 10_499] * 2
    assert batch.terminated.tolist() == [True, True, True, False]


@dataclass
class Piece:
    """One trajectory of the model."""

    world: int
    slot: int
    agent_id: str
    episode: int
    rows: list[dict[str, object]] = field(default_factory=list)
    final: dict[str, np.ndarray] | None = None
    terminated: bool = False
    truncated: bool = False


class ServiceMachine(RuleBasedStateMachine):
    """Ticks of at most 6 agents in 6 slots, two worlds; everything is also kept in lists of dictionaries."""

    @initialize(max_rows=st.integers(6, 40), chunk_rows=st.integers(1, 40))
    def make(self, max_rows: int, chunk_rows: int) -> None:
        self.service = TrajectoryService(SCHEMA, chunk_rows=chunk_rows, max_rows=max_rows, on_full="drop_oldest")
        self.max_rows = max_rows
        self.tick = -1
        self.episode = 0
        self.pending = False
        self.alive: dict[int, Piece] = {}
        self.pieces: list[Piece] = []
        self.ticks: list[list[tuple[Piece, dict[str, object]]]] = []
        self.dropped = 0

    @precondition(lambda self: not self.pending)
    @rule(
        arrivals=st.dictionaries(st.integers(0, 5), st.sampled_from("abc"), max_size=4),
        seed=st.integers(0, 2**32),
        new_episode=st.booleans(),
    )
    def begin(self, arrivals: dict[int, str], seed: int, new_episode: bool) -> None:
        self.tick += 1
        self.episode += new_episode
        for slot, agent_id in arrivals.items():
            if slot not in self.alive:
                self.alive[slot] = Piece(slot // 3, slot, agent_id, self.episode)
                self.pieces.append(self.alive[slot])
        self.present = [self.alive[slot] for slot in sorted(self.alive)]
        self.observations = rows_of(SCHEMA.observations, len(self.present), np.random.default_rng(seed))
        self.service.begin_tick(
            self.tick,
            np.array([piece.slot for piece in self.present], np.int64),
            {name: array.copy() for name, array in self.observations.items()},
            agent_ids=names("".join(piece.agent_id for piece in self.present)),
            worlds=np.array([piece.world for piece in self.present], np.int64),
            episodes=np.array([piece.episode for piece in self.present], np.int64),
        )
        self.pending = True

    @precondition(lambda self: self.pending)
    @rule(seed=st.integers(0, 2**32), ends=st.integers(0, 2**12 - 1), num_extra=st.integers(0, 2))
    def act(self, seed: int, ends: int, num_extra: int) -> None:
        rng = np.random.default_rng(seed)
        size = len(self.present)
        columns = rows_of(SCHEMA.decisions, size, rng)
        self.service.record_decisions(columns)
        total = np.zeros(size, np.float32)
        for _ in range(num_extra):
            extra = rng.integers(-3, 3, size).astype(np.float32)
            self.service.add_rewards(extra)
            total += extra
        rewards = rng.integers(-3, 3, size).astype(np.float32)
        # Two of the twelve bits for each row; an end needs both neighbours to be set, so that agents live a while.
        terminated = np.array([(ends >> row) & 3 == 3 for row in range(size)], bool)
        truncated = np.array([(ends >> (row + 3)) & 7 == 5 for row in range(size)], bool)
        final_rows = np.flatnonzero(terminated | truncated)
        final = rows_of(SCHEMA.observations, len(final_rows), rng)
        if seed % 2:
            final["action_mask"] = np.ones((len(final_rows), 3), bool)
        self.service.record_outcome(
            rewards,
            terminated,
            truncated,
            final_rows=final_rows,
            final_observations=final if seed % 2 == 0 else {n: a for n, a in final.items() if n != "action_mask"},
        )
        rows = []
        for row, piece in enumerate(self.present):
            kept = {name: array[row] for name, array in self.observations.items()}
            kept |= {name: array[row] for name, array in columns.items()}
            kept |= {"rewards": rewards[row] + total[row], "tick": self.tick}
            piece.rows.append(kept)
            rows.append((piece, kept))
        for position, row in enumerate(final_rows):
            piece = self.alive.pop(self.present[row].slot)
            piece.final = {name: array[position] for name, array in final.items()}
            piece.terminated, piece.truncated = bool(terminated[row]), bool(truncated[row])
        self.ticks.append(rows)
        while sum(map(len, self.ticks)) > self.max_rows:
            for piece, kept in self.ticks.pop(0):
                assert piece.rows.pop(0) is kept
                self.dropped += 1
        self.pending = False

    @precondition(lambda self: self.pending or not self.alive)
    @rule(clear=st.booleans())
    def collect(self, clear: bool) -> None:
        batch = self.service.collect(clear=clear)
        expected = sorted(
            (piece for piece in self.pieces if piece.rows),
            key=lambda piece: (piece.world, piece.slot, piece.rows[0]["tick"]),
        )
        assert len(batch) == len(expected)
        for index, piece in enumerate(expected):
            self.compare(batch.trajectory(index), piece)
        if clear:
            self.ticks.clear()
            self.pieces = list(self.alive.values())
            for piece in self.pieces:
                piece.rows.clear()

    def compare(self, actual, piece: Piece) -> None:
        assert (actual.agent_id, actual.world, actual.episode) == (piece.agent_id, piece.world, piece.episode)
        assert (actual.terminated, actual.truncated) == (piece.terminated, piece.truncated)
        assert actual.ticks.tolist() == [row["tick"] for row in piece.rows]
        assert actual.rewards.tolist() == [row["rewards"] for row in piece.rows]
        for name, array in actual.columns.items():
            assert array.tolist() == [row[name] for row in piece.rows]
        final = piece.final
        if final is None:
            row = self.present.index(piece)
            final = {name: array[row] for name, array in self.observations.items()}
        for name, array in actual.observations.items():
            np.testing.assert_array_equal(array, np.stack([*(row[name] for row in piece.rows), final[name]]))

    @invariant()
    def counts(self) -> None:
        if self.tick >= 0:
            assert self.service.num_rows == sum(map(len, self.ticks))
            assert self.service.dropped_rows == self.dropped


TestService = pytest.mark.property(ServiceMachine.TestCase)
