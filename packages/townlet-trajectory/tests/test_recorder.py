"""Ticks become trajectories, with agents coming, going and returning, and a bound on the rows."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import NUMBERS, PARTS, SCHEMA, array_schema, assert_same_batch, decided_rows, record_lives, rows_of

from townlet_trajectory import (
    ArraySpec,
    ArtifactError,
    BufferFullError,
    ContinuityError,
    NonFiniteError,
    OrderError,
    SchemaError,
    ShapeError,
    TrajectoryBatch,
    TrajectorySchema,
    TrajectoryService,
)
from townlet_trajectory.data.actions import ArrayActions
from townlet_trajectory.data.batch import BatchSink
from townlet_trajectory.data.pieces import joined
from townlet_trajectory.recording.recorder import OnFull

TINY = TrajectorySchema(
    observations={"x": ArraySpec("float32")}, decisions={"action": ArraySpec("int64")}, vocabulary=("wait", "go")
)


class Shelf:
    """A sink that keeps batches, and can be full."""

    def __init__(self) -> None:
        self.batches: list[TrajectoryBatch] = []
        self.full = False

    def write(self, batch: TrajectoryBatch) -> None:
        if self.full:
            raise ArtifactError("shelf", "write", "no space left")
        self.batches.append(batch)


def names(ids: str) -> np.ndarray:
    array = np.empty(len(ids), object)
    array[:] = list(ids)
    return array


class Driver:
    """Drives a service over `TINY` with lists; every agent sees 10 · tick + slot."""

    def __init__(self, *, max_rows: int = 100, on_full: OnFull = "raise", spill: BatchSink | None = None) -> None:
        self.service = TrajectoryService(TINY, chunk_rows=2, max_rows=max_rows, on_full=on_full, spill=spill)

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


def test_after_the_last_tick_open_trajectories_are_finished() -> None:
    """`a` lives on after tick 1, the last; `b` dies in it. No tick 2 will come."""
    driver = Driver()
    driver.begin(0, [0, 1], "ab")
    driver.decide([1, 0])
    driver.close([1, 2])
    driver.begin(1, [0, 1], "ab")
    driver.decide([0, 1])
    with pytest.raises(OrderError, match="after tick 1 comes `record_outcome`, got `begin_tick`"):
        driver.service.finish({"x": np.array([20.0], np.float32)})
    driver.close([3, 4], died=(1,))
    with pytest.raises(OrderError, match="1 trajectories go on after tick 1: .* or `finish` them with those"):
        driver.service.collect()
    with pytest.raises(ShapeError, match=r"`x` must have shape \(1,\), got \(2,\)"):
        driver.service.finish({"x": np.array([20.0, 21.0], np.float32)})
    driver.service.finish({"x": np.array([20.0], np.float32)})
    batch = driver.service.collect()
    assert batch.agent_ids.tolist() == ["a", "b"] and batch.offsets.tolist() == [0, 2, 4]
    assert batch.final_observations["x"].tolist() == [20, -2]  # what was given, and as reported at the end
    assert batch.terminated.tolist() == [False, True] and batch.truncated.tolist() == [True, False]
    # the agents of a later run begin trajectories of their own
    driver.begin(7, [0], "a", episode=1)
    driver.decide([1])
    driver.close([5])
    driver.service.finish({"x": np.array([80.0], np.float32)})
    again = driver.service.collect()
    assert (again.ticks.tolist(), again.final_observations["x"].tolist()) == ([7], [80])


def test_finished_trajectories_are_spilled_too() -> None:
    shelf = Shelf()
    driver = Driver(on_full="spill", spill=shelf)
    driver.begin(0, [0], "a")
    driver.decide([1])
    driver.close([1])
    driver.service.finish({"x": np.array([10.0], np.float32)})
    assert driver.service.spill() == 1
    assert shelf.batches[0].truncated.tolist() == [True]


@pytest.mark.parametrize("actions", [PARTS, NUMBERS])
def test_array_actions_and_a_memory_are_recorded_as_they_come(actions: ArrayActions) -> None:
    schema, rng = array_schema(actions, state_size=3), np.random.default_rng(1)
    service = TrajectoryService(schema, chunk_rows=2, max_rows=100)
    decided = [decided_rows(schema, 2, rng) for _ in range(5)]
    nobody = np.zeros(2, np.bool_)
    for tick, columns in enumerate(decided):
        service.begin_tick(
            tick,
            np.arange(2),
            rows_of(schema.observations, 2, rng),
            agent_ids=names("ab"),
            worlds=np.zeros(2, np.int64),
            episodes=np.zeros(2, np.int64),
        )
        if tick == 0:
            wide = np.zeros((2, 3), schema.decisions["action"].dtype)
            with pytest.raises(ShapeError, match=r"`action` must have shape \(2, 2\), got \(2, 3\)"):
                service.record_decisions({**columns, "action": wide})
        service.record_decisions(columns)
        last = np.full(2, tick == 4)
        ended = np.flatnonzero(last)
        service.record_outcome(
            np.zeros(2, np.float32),
            nobody,
            last,
            final_rows=ended,
            final_observations=rows_of(schema.observations, len(ended), rng),
        )
    batch = service.collect()
    assert batch.schema == schema and batch.lengths.tolist() == [5, 5]
    for name in ("action", "chosen_action", "expert_action", "drawn_action", "policy_state"):
        expected = np.concatenate([np.stack([columns[name][slot] for columns in decided]) for slot in range(2)])
        np.testing.assert_array_equal(batch.columns[name], expected, strict=True)


def test_parts_of_the_reward_are_columns() -> None:
    schema = TrajectorySchema(
        observations={"x": ArraySpec("float32")},
        decisions={
            "reward_food": ArraySpec("float32"),
            "action": ArraySpec("int64"),
            "reward_time": ArraySpec("float32"),
        },
        vocabulary=(),
    )
    assert schema.reward_terms == ("food", "time")
    service = TrajectoryService(schema, chunk_rows=2, max_rows=10)
    slots, nothing = np.arange(2), {"x": np.zeros(0, np.float32)}
    for tick in range(3):
        x = {"x": np.float32([tick, tick])}
        service.begin_tick(tick, slots, x, agent_ids=names("ab"), worlds=slots * 0, episodes=slots * 0)
        service.record_decisions({"action": slots})
        outcome = {"final_rows": slots[:0], "final_observations": nothing}
        nobody, rewards = np.zeros(2, bool), np.float32([tick, 1])
        terms = {"time": np.float32([-1, -2]), "food": rewards + 1}
        with pytest.raises(SchemaError, match=r"reward_terms: missing \['food', 'time'\]"):
            service.record_outcome(rewards, nobody, nobody, **outcome)
        wrong = {**terms, "time": np.float32([0, np.nan])}
        with pytest.raises(NonFiniteError, match=f"`reward_time` must be finite, got nan at tick {tick}, row 1"):
            service.record_outcome(rewards, nobody, nobody, reward_terms=wrong, **outcome)
        service.record_outcome(rewards, nobody, nobody, reward_terms=terms, **outcome)
    service.finish({"x": np.float32([3, 3])})
    batch = service.collect()
    assert batch.columns["reward_food"].tolist() == [1, 2, 3, 2, 2, 2]
    assert batch.columns["reward_time"].tolist() == [-1, -1, -1, -2, -2, -2]
    assert batch.rewards.tolist() == [0, 1, 2, 1, 1, 1] and batch.columns["action"].tolist() == [0, 0, 0, 1, 1, 1]
    driver = Driver()
    driver.begin(0, [0], "a")
    driver.decide([0])
    one = np.float32([1])
    with pytest.raises(SchemaError, match=r"reward_terms: missing \[\], unknown \['food'\]"):
        driver.service.record_outcome(one, one > 2, one > 2, reward_terms={"food": one}, **outcome)


def test_parts_of_the_reward_are_numbers() -> None:
    with pytest.raises(SchemaError, match="`reward_food`, a part of the reward, must be float32, got"):
        TrajectorySchema(
            observations={"x": ArraySpec("float32")},
            decisions={"action": ArraySpec("int64"), "reward_food": ArraySpec("float64")},
            vocabulary=(),
        )


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


def live(driver: Driver, ticks: range, *, died_at: int = -1) -> None:
    """`a` in slot 0 and `b` in slot 1, of whom `b` dies at a tick."""
    for tick in ticks:
        slots = [0, 1] if died_at < 0 or tick <= died_at else [0]
        driver.begin(tick, slots, "ab"[: len(slots)])
        driver.decide([tick % 2] * len(slots))
        driver.close([tick] * len(slots), died=(1,) if tick == died_at else ())


def test_a_full_service_spills_and_goes_on() -> None:
    shelf = Shelf()
    driver = Driver(max_rows=4, on_full="spill", spill=shelf)
    live(driver, range(5), died_at=2)
    # The rows of ticks 0 and 1 are handed over at tick 2, which shows what their last actions led to.
    [batch] = shelf.batches
    assert batch.agent_ids.tolist() == ["a", "b"]
    assert batch.ticks.tolist() == [0, 1, 0, 1]
    assert batch.final_observations["x"].tolist() == [20, 21]
    assert not batch.terminated.any()
    assert (driver.service.num_rows, driver.service.spilled_rows, driver.service.dropped_rows) == (4, 4, 0)
    driver.begin(5, [0], "a")
    assert driver.service.spill() == 4
    assert [one.ticks.tolist() for one in shelf.batches] == [[0, 1, 0, 1], [2, 3, 4, 2]]
    assert shelf.batches[1].terminated.tolist() == [False, True]
    assert driver.service.spilled_rows == 8
    assert driver.service.spill() == 0  # and no empty batch
    assert len(shelf.batches) == 2
    driver.decide([0])
    driver.close([5], died=(0,))
    assert driver.service.collect().ticks.tolist() == [5]


def test_nothing_is_lost_when_the_sink_fails() -> None:
    shelf = Shelf()
    shelf.full = True
    driver = Driver(max_rows=4, on_full="spill", spill=shelf)
    live(driver, range(2))
    driver.begin(2, [0, 1], "ab")
    for _ in range(2):
        with pytest.raises(ArtifactError, match="no space left"):
            driver.decide([0, 0])
    with pytest.raises(ArtifactError):
        driver.service.spill()
    assert (driver.service.num_rows, driver.service.spilled_rows) == (4, 0)
    shelf.full = False
    driver.decide([0, 0])
    driver.close([2, 2], died=(0, 1))
    driver.service.spill()
    assert [batch.ticks.tolist() for batch in shelf.batches] == [[0, 1, 0, 1], [2, 2]]


def test_a_tick_that_never_fits() -> None:
    for on_full, spill in (("drop_oldest", None), ("spill", Shelf())):
        driver = Driver(max_rows=2, on_full=on_full, spill=spill)
        driver.begin(0, [0], "a")
        driver.decide([0])
        driver.close([0])
        driver.begin(1, [0, 1, 2], "abc")
        with pytest.raises(BufferFullError, match="tick 1 has 3 rows and 1 are kept, `max_rows` is 2"):
            driver.decide([0, 0, 0])
        assert (driver.service.num_rows, driver.service.dropped_rows, driver.service.spilled_rows) == (1, 0, 0)


def test_bad_bounds() -> None:
    with pytest.raises(SchemaError, match="`on_full` must be 'raise', 'drop_oldest' or 'spill', got 'forget'"):
        Driver(on_full="forget")
    with pytest.raises(SchemaError, match="`spill` must be given where `on_full` is 'spill', and only there"):
        Driver(on_full="spill")
    with pytest.raises(SchemaError, match="`spill` must be given where `on_full` is 'spill', and only there"):
        Driver(spill=Shelf())
    with pytest.raises(ShapeError, match="`chunk_rows` and `max_rows` must be at least 1, got 2 and 0"):
        Driver(max_rows=0)
    with pytest.raises(SchemaError, match="nowhere to spill to: `on_full` is 'raise'"):
        Driver().service.spill()


def test_a_collection_needs_no_sink() -> None:
    shelf = Shelf()
    driver = Driver(max_rows=4, on_full="spill", spill=shelf)
    live(driver, range(2))
    driver.begin(2, [0, 1], "ab")
    assert driver.service.collect().num_steps == 4
    driver.decide([0, 0])
    assert shelf.batches == []


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


def test_a_tick_that_is_begun_and_not_decided_can_be_begun_again_after_a_reset() -> None:
    driver = Driver()
    driver.begin(5, [0, 1], "ab")
    driver.decide([0, 0])
    driver.close([1, 1])
    driver.begin(6, [0, 1], "ab")
    assert driver.service.collect().num_steps == 2
    driver.service.reset()
    driver.begin(6, [0, 1], "ac")
    driver.decide([0, 0])
    driver.close([2, 2])
    driver.begin(7, [0, 1], "ac")
    assert driver.service.collect().agent_ids.tolist() == ["a", "c"]


def test_a_reset_may_let_ticks_come_again() -> None:
    driver = Driver()
    for tick in (5, 6, 7):
        driver.begin(tick, [0], "a")
        driver.decide([0])
        driver.close([tick])
    driver.service.reset(next_tick=6)
    with pytest.raises(ContinuityError, match="tick 5 cannot follow tick 5"):
        driver.begin(5, [0], "a")
    driver.begin(6, [0], "a")
    driver.decide([1])
    driver.close([8])
    driver.begin(7, [0], "a")
    found = driver.service.collect()
    assert (found.ticks.tolist(), found.rewards.tolist()) == ([6], [8])


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
        ({"terminated": np.zeros(2, np.int64)}, SchemaError, "`terminated` must have dtype bool, got int64"),
        ({"truncated": np.zeros(3, bool)}, ShapeError, r"`truncated` must have shape \(2,\), got \(3,\)"),
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
    with pytest.raises(ShapeError, match=r"`rewards` must have shape \(2,\), got \(1,\)"):
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


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(5, 30), st.integers(1, 30))
def test_spilled_pieces_joined_are_what_was_recorded(seed: int, num_ticks: int, max_rows: int, chunk_rows: int) -> None:
    whole = TrajectoryService(SCHEMA, max_rows=1000)
    record_lives(whole, num_ticks, seed)
    shelf = Shelf()
    spilling = TrajectoryService(SCHEMA, chunk_rows=chunk_rows, max_rows=max_rows, on_full="spill", spill=shelf)
    record_lives(spilling, num_ticks, seed)
    spilling.spill()
    expected = whole.collect()
    actual = joined(TrajectoryBatch.concatenate(shelf.batches))
    assert spilling.spilled_rows == expected.num_steps
    assert all(batch.num_steps <= max_rows for batch in shelf.batches)
    by_beginning = (actual.ticks[actual.offsets[:-1]], actual.agent_ids.astype(str), actual.worlds)
    assert_same_batch(actual.select(np.lexsort(by_beginning)), expected)


PLAIN = TrajectorySchema(
    observations={"x": ArraySpec("float32")}, decisions={"action": ArraySpec("int64")}, vocabulary=()
)


@pytest.mark.parametrize("num_agents", [7, (1 << 16) + 3])
def test_rows_of_every_agent_in_order(num_agents: int) -> None:
    service = TrajectoryService(PLAIN, max_rows=2 * num_agents)
    slots = np.arange(num_agents)
    ids = np.full(num_agents, "agent", object)
    nobody = np.zeros(num_agents, bool)
    for tick in range(2):
        service.begin_tick(
            tick,
            slots,
            {"x": (slots + tick / 2).astype(np.float32)},
            agent_ids=ids,
            worlds=np.zeros(num_agents, np.int64),
            episodes=np.zeros(num_agents, np.int64),
        )
        service.record_decisions({"action": 2 * slots + tick})
        ended = ~nobody if tick else nobody
        service.record_outcome(
            np.zeros(num_agents, np.float32),
            ended,
            nobody,
            final_rows=np.flatnonzero(ended),
            final_observations={"x": -slots[ended].astype(np.float32)},
        )
    batch = service.collect()
    np.testing.assert_array_equal(batch.columns["action"], np.arange(2 * num_agents))
    np.testing.assert_array_equal(batch.final_observations["x"], -slots)
    np.testing.assert_array_equal(batch.ticks, np.tile([0, 1], num_agents))
