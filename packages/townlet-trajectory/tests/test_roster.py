"""Slots become trajectories."""

import numpy as np
import pytest

from townlet_trajectory import ContinuityError, ShapeError
from townlet_trajectory.recording.roster import Roster


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
