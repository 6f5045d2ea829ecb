"""A bridge that is saved and restored goes on as if nothing had happened."""

from collections.abc import Callable

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    EAT,
    NUM_ACTIONS,
    VOCABULARY,
    WORK,
    Forbid,
    Script,
    bridge_of,
    ints,
    proposals_of,
    random_proposals,
    through_a_file,
    view_of,
)

from townlet_behavior import (
    ActionVocabulary,
    BehaviorBridge,
    BridgeConfig,
    CommitmentConfig,
    DecisionBatch,
    PossessionError,
    SavedState,
    ScheduleController,
    Source,
    StateError,
)

CAPACITY = 5
TICKS = {"wait": 2, "move": 1, "start": 4, "work": 7}


class Life:
    """A bridge and everything that happens to it, from a seed."""

    def __init__(self, seed: int, ratio: float) -> None:
        self.bridge = self.fresh(seed, ratio)
        self.bridge.ratio = ratio
        self.bridge.possession.present(ints(*range(CAPACITY)))

    @staticmethod
    def fresh(seed: int, ratio: float) -> BehaviorBridge:
        """Scheduled agents among others, options that last, and a guardrail."""
        schedule = ScheduleController(capacity=CAPACITY, num_actions=NUM_ACTIONS, otherwise=Script(*[EAT] * CAPACITY))
        schedule.assign(1, [EAT, WORK, EAT])
        schedule.assign(4, [WORK])
        return BehaviorBridge(
            VOCABULARY,
            schedule,
            capacity=CAPACITY,
            config=BridgeConfig(commitment=CommitmentConfig(ticks=TICKS)),
            seed=seed,
            guardrails=[Forbid(WORK, replacement=EAT)],
        )

    def tick(self, rng: np.random.Generator, tick: int) -> DecisionBatch:
        """One tick of coming and going, possession and deciding."""
        possession, slot = self.bridge.possession, int(rng.integers(CAPACITY))
        match rng.integers(6):
            case 0:
                owner = [None, "ann", "", "Zoë\0"][rng.integers(4)]
                possession.acquire(slot, tick=tick, owner=owner, lease_ticks=int(rng.integers(1, 9)))
            case 1:
                possession.acquire(slot, tick=tick)
            case 2:
                self.bridge.forget(ints(slot))
            case _:
                pass
        if possession.is_possessed(slot):
            self.feed(slot, int(rng.integers(NUM_ACTIONS)))
        view = view_of(*range(CAPACITY), done=tuple((rng.random(CAPACITY) < 0.1).tolist()))
        mask = np.ones((CAPACITY, NUM_ACTIONS), np.bool_)
        proposals = random_proposals(int(rng.integers(2**32)), mask, greedy=False, known=True, opinion=False)
        return self.bridge.decide(view, tick=tick, proposals=proposals)

    def feed(self, slot: int, action: int) -> None:
        """Feed as whoever is the owner."""
        for owner in (None, "ann", "", "Zoë\0"):
            try:
                self.bridge.possession.feed(slot, action, owner=owner)
            except PossessionError:
                continue


@given(seed=st.integers(0, 2**32), ratio=strategies.ratios, before=st.integers(0, 12))
def test_saved_and_restored_both_go_on_alike(seed: int, ratio: float, before: int) -> None:
    life, rng = Life(seed, ratio), np.random.default_rng(seed)
    for tick in range(before):
        life.tick(rng, tick)
    other = Life(seed, 1.0 - ratio)
    other.bridge.restore(through_a_file(life.bridge.save_state()))
    again = np.random.default_rng()
    again.bit_generator.state = rng.bit_generator.state
    for tick in range(before, before + 12):
        ours, theirs = life.tick(rng, tick).columns(), other.tick(again, tick).columns()
        for name in ours:
            assert ours[name].tobytes() == theirs[name].tobytes(), name
        assert life.bridge.counts() == other.bridge.counts()
    assert equal(life.bridge.save_state(), other.bridge.save_state())


def equal(one: SavedState, other: SavedState) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def busy_bridge() -> BehaviorBridge:
    """Slot 2 works for 7 ticks, slot 3: possessed by Ann; one veto is counted."""
    bridge = bridge_of(Script(EAT, EAT), Forbid(EAT), ratio=0.25, ticks=TICKS)
    bridge.possession.present(ints(2, 3))
    bridge.possession.acquire(3, tick=0, owner="ann", lease_ticks=4)
    bridge.possession.feed(3, EAT, owner="ann")
    bridge.ratio = 1.0
    bridge.decide(view_of(2, 3), tick=0, proposals=proposals_of(WORK, WORK))
    bridge.ratio = 0.5
    bridge.possession.feed(3, WORK, owner="ann")
    bridge.possession.feed(3, EAT, owner="ann", queue=True)
    return bridge


def test_what_is_restored_by_hand() -> None:
    bridge = bridge_of(Script(EAT, EAT), Forbid(EAT), ticks=TICKS)
    bridge.restore(busy_bridge().save_state())
    assert bridge.ratio == 0.5
    held, left = bridge.held(view_of(2, 3), tick=1)
    assert (held.tolist(), left.tolist()) == ([WORK, -1], [6, 0])
    assert bridge.counts().vetoes == {"action_mask": 0, "forbidden": 1}
    assert bridge.possession.slots().tolist() == [3]
    assert not bridge.possession.acquire(3, tick=1)
    with pytest.raises(PossessionError, match="slot 3: possessed by 'ann', got owner None"):
        bridge.possession.release(3)
    decisions = bridge.decide(view_of(2, 3), tick=1)
    assert decisions.action.tolist() == [WORK, WORK]
    assert decisions.source.tolist() == [Source.LEARNED, Source.EXTERNAL]
    bridge.decide(view_of(2, 3), tick=3)
    assert bridge.possession.slots().tolist() == []


def test_a_saved_state_does_not_change_any_more() -> None:
    bridge = busy_bridge()
    state = bridge.save_state()
    bridge.decide(view_of(2, 3), tick=1)
    bridge.reset()
    bridge.ratio = 0.0
    assert not equal(state, bridge.save_state())
    restored = bridge_of(Script(EAT, EAT), Forbid(EAT), ticks=TICKS)
    restored.restore(state)
    restored.decide(view_of(2, 3), tick=1)
    restored.reset()
    assert equal(state, busy_bridge().save_state())


@pytest.mark.parametrize("owner", [None, "", "ann", "Zoë\0", "\ud800"])
def test_owners_keep_their_names(owner: str | None) -> None:
    bridge, restored = bridge_of(Script(EAT)), bridge_of(Script(EAT))
    bridge.possession.present(ints(5, 7))
    bridge.possession.acquire(5, tick=0, owner=owner)
    bridge.possession.acquire(7, tick=0, owner="bob")
    restored.restore(through_a_file(bridge.save_state()))
    for other in {None, "", "ann", "Zoë"} - {owner}:
        with pytest.raises(PossessionError):
            restored.possession.release(5, owner=other)
    assert restored.possession.release(5, owner=owner)
    assert restored.possession.release(7, owner="bob")
    assert restored.possession.acquire(5, tick=1)


def test_what_was_looked_at_before_is_not_remembered() -> None:
    bridge, view = bridge_of(Script(EAT, EAT), Forbid(EAT), ticks=TICKS), view_of(2, 3)
    assert bridge.held(view, tick=1)[0].tolist() == [-1, -1]
    bridge.restore(busy_bridge().save_state())
    assert bridge.held(view, tick=1)[0].tolist() == [WORK, -1]


def test_an_exchanged_vocabulary_is_refused() -> None:
    vocabulary = ActionVocabulary(keys=("wait", "n", "eat", "cook", "work"), kinds=VOCABULARY.kinds)
    bridge = BehaviorBridge(vocabulary, Script(), capacity=16, config=BridgeConfig(), seed=1, guardrails=[Forbid(EAT)])
    with pytest.raises(StateError, match=f"saved `vocabulary` must be {vocabulary.digest}, got {VOCABULARY.digest}"):
        bridge.restore(busy_bridge().save_state())


def test_another_capacity_is_refused() -> None:
    with pytest.raises(StateError, match=r"saved `action` must be int64 \(4,\), got int64 \(16,\)"):
        bridge_of(Script(), Forbid(EAT), capacity=4).restore(busy_bridge().save_state())


def test_other_guardrails_are_refused() -> None:
    with pytest.raises(StateError, match=r"saved `vetoes` must be int64 \(2,\), got int64 \(3,\)"):
        bridge_of(Script()).restore(busy_bridge().save_state())


def test_another_controller_is_refused() -> None:
    state = dict(bridge_of(Script(), Forbid(EAT)).save_state()) | {"controller/plans": np.zeros(3)}
    with pytest.raises(StateError, match=r"the saved state of Script must have the arrays \[\], got \['plans'\]"):
        bridge_of(Script(), Forbid(EAT)).restore(state)


def test_other_proposers_are_refused() -> None:
    schedule = ScheduleController(capacity=16, num_actions=NUM_ACTIONS, otherwise=Script())
    state = bridge_of(schedule, Forbid(EAT)).save_state()
    with pytest.raises(StateError, match=r"saved `proposals` must be int64 \(2,\), got int64 \(3,\)"):
        bridge_of(Script(), Forbid(EAT)).restore(state)


def first(value: float) -> Callable[[np.ndarray], np.ndarray]:
    """The array with another first value."""

    def change(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array.flat[0] = value
        return array

    return change


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("bridge/vocabulary", lambda _: ints(1, 2), "saved `vocabulary` must be"),
        ("bridge/seed", first(2), "saved `seed` must be 1, got 2"),
        ("bridge/seed", np.int64, "saved `seed` must be"),
        ("bridge/ratio", first(1.5), r"saved `ratio` must be in \[0.0, 1.0\], got 1.5"),
        ("bridge/ratio", first(np.nan), r"saved `ratio` must be in \[0.0, 1.0\], got nan"),
        ("bridge/ratio", np.float32, r"saved `ratio` must be float64 \(\), got float32 \(\)"),
        ("commitments/action", first(NUM_ACTIONS), r"saved `action` must be in \[0, 4\], got 5"),
        ("commitments/action", first(-1), r"saved `action` must be in \[0, 4\], got -1"),
        ("commitments/until", first(2**62 + 1), "saved `until` must be in"),
        ("commitments/source", first(3), r"saved `source` must be in \[0, 2\], got 3"),
        ("commitments/source", lambda a: a.astype(np.int64), r"saved `source` must be int8 \(16,\), got int64"),
        ("possession/leases/until", lambda a: a[:-1], r"saved `until` must be int64 \(16,\), got int64 \(15,\)"),
        ("possession/leases/until", first(-(2**62) - 1), "saved `until` must be in"),
        ("possession/leases/until", lambda a: np.full_like(a, -(2**62)), "owners and inputs of possessed slots only"),
        ("possession/leases/present", lambda a: a[:-1], r"saved `present` must be bool \(16,\), got bool \(15,\)"),
        ("possession/leases/next_tick", first(-1), "saved `next_tick` must be in"),
        ("possession/owners/name_length", first(0), "owners and inputs of possessed slots only"),
        ("possession/owners/name_length", first(1), "must add up to 3 bytes, got 4"),
        ("possession/inputs/action", first(NUM_ACTIONS), r"saved `action` must be in \[0, 4\], got 5"),
        ("possession/inputs/slot", first(2), "owners and inputs of possessed slots only"),
        ("possession/inputs/slot", lambda a: a[:1], r"saved `action` must be int64 \(1,\), got int64 \(2,\)"),
        ("possession/handover/since", lambda a: a[:-1], r"saved `since` must be int64 \(16,\), got int64 \(15,\)"),
        ("counts/steps", first(-1), "saved `steps` must be in"),
        ("counts/vetoes", lambda a: a[1:], "saved `vetoes` must be int64"),
        ("counts/policy_errors", first(-1), "saved `policy_errors` must be in"),
    ],
)
def test_a_damaged_state_is_refused_and_changes_nothing(
    name: str, change: Callable[[np.ndarray], np.ndarray], message: str
) -> None:
    state = dict(busy_bridge().save_state())
    state[name] = np.asarray(change(state[name]))
    bridge = bridge_of(Script(EAT, EAT), Forbid(EAT), ticks=TICKS)
    before = bridge.save_state()
    with pytest.raises(StateError, match=message):
        bridge.restore(state)
    assert equal(before, bridge.save_state())


@pytest.mark.parametrize("name", sorted(busy_bridge().save_state()))
def test_every_array_is_needed(name: str) -> None:
    state = {key: array for key, array in busy_bridge().save_state().items() if key != name}
    with pytest.raises(StateError, match=f"must have the arrays .*'{name.rpartition('/')[2]}'"):
        bridge_of(Script(EAT, EAT), Forbid(EAT), ticks=TICKS).restore(state)


def test_a_surplus_array_is_refused() -> None:
    state = {**busy_bridge().save_state(), "moods/anger": ints(1)}
    with pytest.raises(StateError, match="saved arrays must be named GROUP/NAME .* got 'moods/anger'"):
        bridge_of(Script(EAT, EAT), Forbid(EAT)).restore(state)
