"""Slots become trajectories."""

from collections.abc import Mapping

import numpy as np
import pytest
from strategies import SCHEMA, rows_of

from townlet_trajectory import ContinuityError, NonFiniteError, SchemaError, ShapeError
from townlet_trajectory.recording.roster import Ended, Endings, Roster


def enter(roster: Roster, slots: list[int], ids: str, *, world: int = 0, episode: int = 0) -> list[int]:
    size = len(slots)
    names = np.empty(size, object)
    names[:] = list(ids)
    presence = roster.enter(np.array(slots, np.int64), names, np.full(size, world), np.full(size, episode))
    assert (presence.slots.tolist(), presence.agent_ids.tolist()) == (slots, list(ids))
    assert (presence.worlds.tolist(), presence.episodes.tolist()) == ([world] * size, [episode] * size)
    return presence.numbers.tolist()


def test_numbers_follow_the_order_of_beginning() -> None:
    roster = Roster()
    assert enter(roster, [2, 5], "ab") == [0, 1]
    assert enter(roster, [0, 2, 5], "cab") == [2, 0, 1]
    roster.leave(np.array([1]))
    assert roster.num_open == 2
    assert enter(roster, [0, 5], "cb") == [2, 1]
    assert enter(roster, [0, 2, 5], "cab") == [2, 3, 1]  # `a` is back in its slot: a new trajectory
    assert roster.num_open == 3


def test_a_slot_that_is_taken_again_at_once_begins_a_new_trajectory() -> None:
    roster = Roster()
    assert enter(roster, [1, 3, 4], "abc") == [0, 1, 2]
    roster.leave(np.array([0, 2]))
    assert enter(roster, [1, 3, 4], "abc") == [3, 1, 4]


def test_ticks_without_a_change_share_one_presence() -> None:
    roster = Roster()
    slots, names, zeros = np.array([0, 1]), np.array(["a", "b"], object), np.zeros(2, np.int64)
    first = roster.enter(slots, names, zeros, zeros)
    assert roster.enter(slots.copy(), names.copy(), zeros.copy(), zeros.copy()) is first
    slots[1] = 2  # what is given is not kept
    assert first.slots.tolist() == [0, 1]


def test_after_a_reset_everyone_begins() -> None:
    roster = Roster()
    enter(roster, [0, 1], "ab")
    roster.reset()
    assert roster.num_open == 0
    assert enter(roster, [1], "b") == [2]


@pytest.mark.parametrize(
    ("slots", "ids", "episode", "message"),
    [
        ([1], "b", 0, r"agents \['a'\] vanished without `terminated` or `truncated`"),
        ([0], "a", 0, r"agents \['b'\] vanished"),
        ([], "", 0, r"agents \['a', 'b'\] vanished"),
        ([0, 2], "ac", 0, r"agents \['b'\] vanished"),
        ([0, 1], "xb", 0, r"slot 0: .* changed from \('a', 0, 0\) to \('x', 0, 0\)"),
        ([0, 1], "ab", 1, r"slot 0: .* changed from \('a', 0, 0\) to \('a', 0, 1\)"),
    ],
)
def test_an_open_trajectory_cannot_change_or_vanish(slots: list[int], ids: str, episode: int, message: str) -> None:
    roster = Roster()
    enter(roster, [0, 1], "ab")
    with pytest.raises(ContinuityError, match=message):
        enter(roster, slots, ids, episode=episode)
    assert enter(roster, [0, 1], "ab") == [0, 1]


def test_equal_ids_in_other_objects_are_equal() -> None:
    roster = Roster()
    zero = np.array([0])
    for parts in (["agent", "_1"], ["agent", "_", "1"]):
        presence = roster.enter(zero, np.array(["".join(parts)], object), zero, zero)
        assert presence.numbers.tolist() == [0]


@pytest.mark.parametrize("slots", [[1, 0], [0, 0], [-1, 0]])
def test_bad_slots(slots: list[int]) -> None:
    with pytest.raises(ShapeError, match="`slots` must be at least 0 and ascend strictly"):
        enter(Roster(), slots, "ab")


def test_bad_columns() -> None:
    with pytest.raises(ShapeError, match=r"`worlds` must be int64 of shape \(1,\), got float64 of shape \(2,\)"):
        Roster().enter(np.array([0]), np.array(["a"], object), np.zeros(2), np.array([0]))


def flags(*rows: int) -> np.ndarray:
    marked = np.zeros(4, bool)
    marked[list(rows)] = True
    return marked


def checked(endings: Endings, tick: int, finals: Mapping[str, np.ndarray], rows: tuple[int, ...] = (1, 3)) -> Ended:
    return endings.checked(tick, np.arange(10, 14), flags(*rows[:1]), flags(*rows[1:]), np.array(rows), finals)


def test_all_in_the_order_they_came() -> None:
    endings = Endings(SCHEMA)
    assert endings.all().numbers.tolist() == []
    assert endings.all().final_observations["map"].shape == (0, 2, 3, 3)
    for tick in (1, 2):
        endings.add(checked(endings, tick, rows_of(SCHEMA.observations, 2, np.random.default_rng(tick))))
    ended = endings.all()
    assert (ended.tick, ended.numbers.tolist()) == (2, [11, 13, 11, 13])
    assert ended.terminated.tolist() == [True, False] * 2
    assert ended.truncated.tolist() == [False, True] * 2
    first = rows_of(SCHEMA.observations, 2, np.random.default_rng(1))
    for name, column in first.items():
        np.testing.assert_array_equal(ended.final_observations[name][:2], column, strict=True)
    endings.drop_before(2)
    assert endings.all().numbers.tolist() == [11, 13]
    endings.clear()
    assert endings.all().numbers.tolist() == []


def test_finals_are_copied_and_the_mask_may_be_left_out() -> None:
    endings = Endings(SCHEMA)
    finals = rows_of(SCHEMA.observations, 2, np.random.default_rng(0))
    before = finals["map"].copy()
    del finals["action_mask"]
    ended = checked(endings, 1, finals)
    finals["map"][:] = 0
    np.testing.assert_array_equal(ended.final_observations["map"], before)
    assert ended.final_observations["action_mask"].all()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"rumor": np.zeros(2)}, SchemaError, r"final_observations: missing \[\], unknown \['rumor'\]"),
        ({"features": np.zeros((2, 3))}, SchemaError, "`features` must have dtype float32, got float64"),
        ({"features": np.zeros((3, 3), np.float32)}, ShapeError, r"`features` must have shape \(2, 3\), got \(3, 3\)"),
        ({"features": np.full((2, 3), np.nan, np.float32)}, NonFiniteError, "`features` .* got nan at tick 5, row 0"),
    ],
)
def test_bad_finals(changes: dict[str, np.ndarray], error: type[Exception], message: str) -> None:
    finals = rows_of(SCHEMA.observations, 2, np.random.default_rng(0))
    with pytest.raises(error, match=message):
        checked(Endings(SCHEMA), 5, {**finals, **changes})


def test_final_rows_are_those_that_ended() -> None:
    with pytest.raises(ShapeError, match=r"`final_rows` must be the rows that ended, \[1 3\], got \[1 2\]"):
        Endings(SCHEMA).checked(0, np.arange(4), flags(1), flags(3), np.array([1, 2]), {})
