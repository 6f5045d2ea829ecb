import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_behavior import ActionSpec, ActionVocabulary, Box, MultiDiscrete
from townlet_runtime.adapters.history import ActionRows, History, episode_seed, joint_seed
from townlet_runtime.errors import SimulationError

WORLDS, PLACES = 2, 3
presences = st.lists(st.booleans(), min_size=WORLDS * PLACES, max_size=WORLDS * PLACES)
ticks = st.lists(st.tuples(presences, st.lists(st.integers(0, WORLDS - 1), max_size=2)), max_size=200)


ABSENT = -1
"""In the saved state, for the slot of an agent that was not there."""


def vocabulary(num_actions: int) -> ActionVocabulary:
    return ActionVocabulary(keys=tuple(map(str, range(num_actions))), kinds=("wait",) * num_actions)


def history(num_actions: int = 5, *others: ActionSpec) -> History:
    return History(num_worlds=WORLDS, capacity=WORLDS * PLACES, specs=[vocabulary(num_actions), *others])


def test_the_first_episode_has_the_seed_of_its_world_and_later_ones_their_own() -> None:
    assert episode_seed(17, 0) == 17
    derived = [episode_seed(seed, episode) for seed in range(50) for episode in range(1, 50)]
    assert len(set(derived)) == len(derived) and 0 <= min(derived) and max(derived) < 2**31
    # seed 1, episode 23 is not seed 12, episode 3
    assert episode_seed(1, 23) != episode_seed(12, 3)


@given(ticks, st.integers(0, 1000))
def test_lists_remember_the_same(steps: list[tuple[list[bool], list[int]]], seed: int) -> None:
    kept = history()
    kept.restart(seed + np.arange(2))
    since: list[list[list[int]]] = [[] for _ in range(WORLDS)]
    numbers = [0] * WORLDS
    for tick, (present, over) in enumerate(steps):
        slots = np.flatnonzero(present)
        actions = (slots + tick) % 5
        kept.add(slots, actions)
        row = np.full(WORLDS * PLACES, ABSENT)
        row[slots] = actions
        for world in range(WORLDS):
            since[world].append(row[world * PLACES : (world + 1) * PLACES].tolist())
        for world in set(over):
            numbers[world] += 1
            since[world] = []
            assert kept.begin_next(world) == episode_seed(seed + world, numbers[world])
    restored = history()
    restored.restore(kept.save_state())
    for one in (kept, restored):
        assert one.tick == len(steps)
        assert one.episodes.tolist() == [world + WORLDS * numbers[world] for world in range(WORLDS)]
        for world in range(WORLDS):
            for (places, actions), expected in zip(one.replay(world), since[world], strict=True):
                assert [(p, expected[p]) for p in range(PLACES) if expected[p] != ABSENT] == [
                    (place, action) for place, action in zip(places.tolist(), actions.tolist(), strict=True)
                ]
            assert one.seed_of(world) == episode_seed(seed + world, numbers[world])


def test_what_happened_before_the_oldest_episode_is_forgotten() -> None:
    kept = history()
    kept.restart(0 + np.arange(2))
    for tick in range(1000):
        kept.add(np.arange(6), np.zeros(6, np.int64))
        if tick % 10 == 9:
            kept.begin_next(tick // 10 % 2)
    assert kept.save_state()["actions"].shape == (10, 6)
    # the room too: a long life needs no more of it than a long episode
    assert sum(array.nbytes for array in vars(kept).values() if isinstance(array, np.ndarray)) < 5000


def test_episodes_are_overdue_from_their_limit_on() -> None:
    kept = history()
    kept.restart(0 + np.arange(2))
    for _ in range(3):
        kept.add(np.arange(6), np.zeros(6, np.int64))
        kept.overdue(3)
    assert kept.overdue(4) is None
    assert kept.overdue(3) is not None and kept.overdue(3).tolist() == [True, True]
    kept.begin_next(0)
    assert kept.overdue(3).tolist() == [False, True]


def test_worlds_that_begin_together_keep_nothing_from_before() -> None:
    kept = history()
    kept.restart(4 + np.arange(2))
    first = kept.joint_seed
    assert first == joint_seed(np.array([4, 5]), 0)
    for tick in range(1000):
        kept.add(np.arange(6), np.full(6, tick % 5))
        if tick % 100 == 99:
            kept.begin_all()
    assert kept.replayed_ticks == 0 and list(kept.replay_all()) == []
    assert kept.joint_seed == joint_seed(np.array([4, 5]), 1000) != first
    kept.add(np.arange(6), np.full(6, 3))
    assert [actions.tolist() for _, actions in kept.replay_all()] == [[3] * 6]
    assert kept.episodes.tolist() == [20, 21]
    assert kept.save_state()["actions"].shape == (1, 6)
    assert sum(array.nbytes for array in vars(kept).values() if isinstance(array, np.ndarray)) < 5000
    again = history()
    again.restore(kept.save_state())
    assert again.joint_seed == kept.joint_seed and len(list(again.replay_all())) == 1


def test_worlds_that_begin_by_themselves_keep_everything_since_they_began_together() -> None:
    kept = history()
    kept.restart(4 + np.arange(2))
    for tick in range(100):
        kept.add(np.array([1]), np.array([tick % 5]))
        kept.number_next(np.array([0]))
    assert [(slots.tolist(), actions.tolist()) for slots, actions in kept.replay_all()] == [
        ([1], [tick % 5]) for tick in range(100)
    ]
    assert kept.episodes.tolist() == [200, 1] and kept.seeds.tolist() == [4, 5]


def test_many_actions_need_wider_numbers() -> None:
    wide = history(num_actions=40_000)
    wide.restart(0 + np.arange(2))
    wide.add(np.array([0]), np.array([39_999]))
    ((places, actions),) = wide.replay(0)
    assert (places.tolist(), actions.tolist()) == ([0], [39_999])
    assert wide.save_state()["actions"].tolist() == [[39_999] + [ABSENT] * 5]


MOVES = MultiDiscrete(parts={"move": ("stay", "go", "run"), "hand": ("open", "closed")})
PEDALS = Box(names=("steer", "brake", "gas"), low=(-1.0, 0.0, 0.0), high=(1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("specs", "shape", "dtype"),
    [
        ([vocabulary(5)], (), np.int16),
        ([vocabulary(5), vocabulary(40_000)], (), np.int32),
        ([MOVES], (2,), np.int16),
        ([PEDALS], (3,), np.float32),
        ([vocabulary(5), MOVES], (2,), np.int16),
        ([vocabulary(5), PEDALS, MOVES], (3,), np.float32),
    ],
)
def test_actions_of_all_groups_are_kept_in_the_widest_form(
    specs: list[ActionSpec], shape: tuple[int, ...], dtype: type[np.generic]
) -> None:
    rows = ActionRows(specs)
    assert (rows.shape, rows.dtype) == (shape, dtype)
    assert rows.present(rows.empty(4)).tolist() == []


def test_groups_of_all_forms_come_back_as_they_were() -> None:
    specs: list[ActionSpec] = [vocabulary(5), PEDALS, MOVES]
    rows = ActionRows(specs)
    given = [
        np.array([4, 0]),
        np.array([[-1.0, 0.25, 0.1]], np.float32),
        np.zeros((0, 2), np.int64),
    ]
    kept = rows.empty(5)
    kept[[0, 2, 3]] = rows.joined(given)
    assert rows.present(kept).tolist() == [0, 2, 3]
    parts = (kept[[0, 2]], kept[[3]], kept[:0])
    for one, other, spec in zip(given, parts, specs, strict=True):
        again = rows.read(other, spec)
        assert again.dtype == one.dtype
        np.testing.assert_array_equal(again, one)


@pytest.mark.parametrize("spec", [MOVES, PEDALS])
def test_array_actions_are_saved_and_restored(spec: MultiDiscrete | Box) -> None:
    kept, again = (History(num_worlds=WORLDS, capacity=WORLDS * PLACES, specs=[spec]) for _ in range(2))
    kept.restart(np.arange(2))
    actions = np.ones((2, *spec.shape), spec.dtype)
    for slots in ([0, 4], [3, 5]):
        kept.add(np.array(slots), actions)
    again.restore(kept.save_state())
    assert [slots.tolist() for slots, _ in again.replay_all()] == [[0, 4], [3, 5]]
    assert [slots.tolist() for slots, _ in again.replay(1)] == [[1], [0, 2]]
    for _, acted in again.replay(0):
        np.testing.assert_array_equal(again.rows.read(acted, spec), actions[: len(acted)])
    with pytest.raises(SimulationError, match="actions"):
        history().restore(kept.save_state())


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(SimulationError, match=r"`seeds` that are not negative, got \[-1 +0\]"):
        history().restart(np.array([-1, 0]))


def test_a_state_that_contradicts_itself_is_refused() -> None:
    kept = history()
    kept.restart(0 + np.arange(2))
    for _ in range(3):
        kept.add(np.arange(6), np.zeros(6, np.int64))
    state = kept.save_state()
    for bent in (
        {"actions": state["actions"][:2]},
        {"tick": np.array(4)},
        {"begun": np.array([4, 4])},
        {"seeds": np.array([-1, 0])},
        {"actions": state["actions"][:, :5]},
        {"actions": state["actions"].astype(np.int64)},
    ):
        with pytest.raises(SimulationError, match="saved state|not negative"):
            history().restore({**state, **bent})
