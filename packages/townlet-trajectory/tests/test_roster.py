"""Slots become trajectories."""

import numpy as np
import pytest

from townlet_trajectory import ContinuityError, ShapeError
from townlet_trajectory.roster import MAX_SLOTS, Roster


def enter(roster: Roster, slots: list[int], ids: str, *, world: int = 0, episode: int = 0) -> list[int]:
    size = len(slots)
    names = np.empty(size, object)
    names[:] = list(ids)
    roster.enter(np.array(slots, np.int64), names, np.full(size, world), np.full(size, episode))
    return roster.present.tolist()


def test_numbers_follow_the_order_of_beginning() -> None:
    roster = Roster()
    assert enter(roster, [2, 5], "ab") == [0, 1]
    assert enter(roster, [0, 2, 5], "cab") == [2, 0, 1]
    assert roster.leave(np.array([1])).tolist() == [0]
    assert enter(roster, [0, 5], "cb") == [2, 1]
    assert enter(roster, [0, 2, 5], "cab") == [2, 3, 1]  # `a` is back in its slot: a new trajectory
    assert roster.agent_ids().tolist() == ["a", "b", "c", "a"]
    assert roster.slots().tolist() == [2, 5, 0, 2]
    assert (len(roster), roster.num_open) == (4, 3)


def test_restart_numbers_open_trajectories_from_zero() -> None:
    roster = Roster()
    enter(roster, [1, 3, 4], "abc", world=1, episode=2)
    roster.leave(np.array([1]))
    roster.restart()
    assert roster.present.tolist() == [0, 1]
    assert roster.agent_ids().tolist() == ["a", "c"]
    assert (roster.worlds().tolist(), roster.episodes().tolist()) == ([1, 1], [2, 2])
    assert enter(roster, [1, 4], "ac", world=1, episode=2) == [0, 1]


def test_compact_forgets_unused_numbers() -> None:
    roster = Roster()
    enter(roster, [0, 1], "ab")
    roster.leave(np.array([0]))
    enter(roster, [0, 1], "cb")
    assert roster.compact(np.array([False, True, True])).tolist() == [-1, 0, 1]
    assert roster.present.tolist() == [1, 0]
    assert roster.agent_ids().tolist() == ["b", "c"]
    assert enter(roster, [0, 1, 2], "cbd") == [1, 0, 2]


@pytest.mark.parametrize(
    ("slots", "ids", "episode", "message"),
    [
        ([1], "b", 0, r"agents \['a'\] vanished without `terminated` or `truncated`"),
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
    enter(roster, [0], "a")
    names = np.array(["".join(["agent", "_1"])], object)
    roster.leave(np.array([0]))
    roster.enter(np.array([0]), names, np.array([0]), np.array([0]))
    again = np.array(["".join(["agent", "_", "1"])], object)
    roster.enter(np.array([0]), again, np.array([0]), np.array([0]))
    assert len(roster) == 2


@pytest.mark.parametrize("slots", [[1, 0], [0, 0], [-1, 0], [0, MAX_SLOTS]])
def test_bad_slots(slots: list[int]) -> None:
    with pytest.raises(ShapeError, match="`slots` must ascend strictly"):
        enter(Roster(), slots, "ab")


def test_bad_columns() -> None:
    with pytest.raises(ShapeError, match=r"`worlds` must be int64 of shape \(1,\), got float64 of shape \(2,\)"):
        Roster().enter(np.array([0]), np.array(["a"], object), np.zeros(2), np.array([0]))
