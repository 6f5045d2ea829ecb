"""Settings of single agents: the policy's share, temperature, reaction delay."""

import io
import math
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn
from strategies import (
    BOX,
    EAT,
    NORTH,
    NUM_ACTIONS,
    VOCABULARY,
    WAIT,
    WORK,
    Script,
    bridge_of,
    ints,
    mask_of,
    proposals_of,
    view_of,
)

from townlet_behavior import (
    BehaviorBridge,
    BridgeConfig,
    ConfigError,
    Difficulty,
    Kind,
    ShapeError,
    Source,
    StateError,
    tempered_log_probs,
)
from townlet_behavior.blend import Choices
from townlet_behavior.config import Limits


def drawn_of(*actions: int) -> Choices:
    size = len(actions)
    return Choices(ints(*actions), np.zeros(size, np.int8), np.full(size, Source.LEARNED, np.int8))


def test_an_agent_s_own_ratio_stands_in_its_row_and_decides() -> None:
    # Of 4,000 agents half have β = 0.9, the others the bridge's 0.2; the policy works, the script eats.
    size = 4000
    bridge = bridge_of(Script(*[EAT] * size), ratio=0.2, capacity=size)
    bridge.difficulty.set(np.arange(0, size, 2), ratio=0.9)
    decisions = bridge.decide(view_of(*range(size)), tick=0, proposals=proposals_of(*[WORK] * size))
    learned = decisions.source == Source.LEARNED
    assert decisions.ratio[:2].tolist() == [np.float32(0.9), np.float32(0.2)]
    assert abs(learned[::2].mean() - 0.9) < 4 * math.sqrt(0.09 / (size / 2))
    assert abs(learned[1::2].mean() - 0.2) < 4 * math.sqrt(0.16 / (size / 2))
    # μ(work) = β · 1/5 where the script eats.
    worked = np.exp(decisions.behavior_log_prob[learned])
    assert np.allclose(worked, decisions.ratio[learned] / 5)


def test_rows_of_agents_without_their_own_ratio_keep_their_bits() -> None:
    plain = bridge_of(Script(EAT, EAT, EAT), ratio=0.37)
    other = bridge_of(Script(EAT, EAT, EAT), ratio=0.37)
    other.difficulty.set(ints(1), ratio=0.8, temperature=2.0)
    probs = [[0.1, 0.2, 0.3, 0.15, 0.25]] * 3
    for tick in range(50):
        proposals = proposals_of(WORK, WORK, NORTH, probs=probs)
        alone = plain.decide(view_of(0, 1, 2), tick=tick, proposals=proposals).columns()
        temperatures = other.difficulty.temperatures(ints(0, 1, 2))
        beside = other.decide(
            view_of(0, 1, 2), tick=tick, proposals=replace(proposals, temperatures=temperatures)
        ).columns()
        for name, column in alone.items():
            assert column[[0, 2]].tobytes() == beside[name][[0, 2]].tobytes(), name


def test_below_the_least_ratio_a_step_is_foreign_for_that_agent_alone() -> None:
    bridge = bridge_of(Script(EAT, EAT), ratio=0.5)
    bridge.difficulty.set(ints(0), ratio=0.05)
    decisions = bridge.decide(view_of(0, 1), tick=0, proposals=proposals_of(WORK, WORK))
    assert decisions.kind.tolist() == [Kind.FOREIGN, Kind.DECISION]


def test_a_temperature_by_hand() -> None:
    # π = (1/9, 4/9, 4/9), τ = 2: √π = (1/3, 2/3, 2/3), so π_τ = (1/5, 2/5, 2/5). τ = 1/2: π² = (1, 16, 16)/81.
    log_probs = np.log(np.array([[1, 4, 4]] * 3, np.float32) / np.float32(9))
    tempered = np.exp(tempered_log_probs(log_probs, np.array([2.0, 0.5, 1.0], np.float32)))
    assert np.allclose(tempered, [[1 / 5, 2 / 5, 2 / 5], [1 / 33, 16 / 33, 16 / 33], [1 / 9, 4 / 9, 4 / 9]])


def test_what_is_impossible_stays_impossible_at_any_temperature() -> None:
    floor = np.finfo(np.float32).min
    log_probs = np.array([[np.log(0.5), floor, np.log(0.5)]], np.float32)
    for temperature in (1e-30, 0.1, 10.0, 1e30):
        tempered = tempered_log_probs(log_probs, np.array([temperature], np.float32))
        assert np.allclose(np.exp(tempered), [[0.5, 0.0, 0.5]])


@given(
    stn.arrays(np.float64, (3, 5), elements=st.floats(-20.0, 0.0)),
    stn.arrays(np.float32, 3, elements=st.floats(0.125, 8.0, width=32)),
)
def test_laws_of_temperature(logits: np.ndarray, temperatures: np.ndarray) -> None:
    log_probs = (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).astype(np.float32)
    tempered = tempered_log_probs(log_probs, temperatures)
    for row in range(3):  # brute force: powers of probabilities
        powers = [math.exp(float(value)) ** (1.0 / float(temperatures[row])) for value in log_probs[row]]
        assert np.allclose(np.exp(tempered[row]), np.array(powers) / sum(powers), rtol=1e-5, atol=1e-12)
    assert np.allclose(np.logaddexp.reduce(tempered, axis=1), 0.0, atol=1e-12)
    # The order of the actions is kept, and heat only evens out.
    gaps, before = np.ptp(tempered, axis=1), np.ptp(log_probs.astype(np.float64), axis=1)
    assert np.allclose(gaps * temperatures, before, rtol=1e-5, atol=1e-6)


def test_the_mixture_is_of_the_tempered_policy_and_the_policy_s_own_stays() -> None:
    # π = (1, 4, 4, 0, 0)/9 is (1, 2, 2, 0, 0)/5 at τ = 2; β = 0.5, the script eats (2), the policy goes north (1).
    bridge = bridge_of(Script(EAT), ratio=0.5)
    bridge.difficulty.set(ints(0), temperature=2.0)
    probs = [[1 / 9, 4 / 9, 4 / 9, 0.0, 0.0]]
    proposals = replace(proposals_of(NORTH, probs=probs), temperatures=bridge.difficulty.temperatures(ints(0)))
    proposals = replace(proposals, log_probs=np.maximum(proposals.log_probs, np.finfo(np.float32).min))
    seen = {}
    for tick in range(20):
        decisions = bridge.decide(view_of(0), tick=tick, proposals=proposals)
        pair = decisions.policy_log_prob[0], decisions.behavior_log_prob[0]
        seen[int(decisions.action[0])] = tuple(np.exp(np.array(pair, np.float64)).round(5).tolist())
        assert decisions.temperature.tolist() == [2.0]
    # μ(north) = 0.5 · 2/5; μ(eat) = 0.5 · 2/5 + 0.5.
    assert seen == {NORTH: (0.44444, 0.2), EAT: (0.44444, 0.7)}


def test_a_late_agent_does_what_was_drawn_so_many_ticks_ago() -> None:
    script = Script(EAT, EAT)
    bridge = bridge_of(script)
    bridge.difficulty.set(ints(1), delay_ticks=2)
    executed = []
    for tick, action in enumerate([EAT, WORK, NORTH, EAT, EAT]):
        script.actions = ints(action, action)
        decisions = bridge.decide(view_of(0, 1), tick=tick)
        executed.append(decisions.action.tolist())
        assert decisions.observation_age.tolist() == [0, 2]
        assert decisions.drawn_action.tolist() == decisions.expert_action.tolist() == [action, action]
    # Of two ticks before the first nothing was drawn: it waits.
    assert executed == [[EAT, WAIT], [WORK, WAIT], [NORTH, EAT], [EAT, WORK], [EAT, NORTH]]


def test_late_steps_are_foreign_and_have_no_probability() -> None:
    bridge = bridge_of(Script(EAT, EAT), ratio=0.5)
    bridge.difficulty.set(ints(1), delay_ticks=1)
    for tick in range(3):
        decisions = bridge.decide(view_of(0, 1), tick=tick, proposals=proposals_of(WORK, WORK))
        assert decisions.kind.tolist() == [Kind.DECISION, Kind.FOREIGN]
        assert decisions.behavior_log_prob[1] == decisions.policy_log_prob[1] == 0.0


def test_a_late_choice_that_is_no_longer_legal_is_vetoed() -> None:
    bridge = bridge_of(Script(EAT))
    bridge.difficulty.set(ints(0), delay_ticks=1)
    bridge.decide(view_of(0), tick=0)
    decisions = bridge.decide(view_of(0, mask=mask_of((WAIT, WORK))), tick=1)
    assert (decisions.chosen_action[0], decisions.action[0], decisions.vetoed[0]) == (EAT, WAIT, True)


def test_who_comes_after_an_agent_has_neither_its_settings_nor_its_choices() -> None:
    bridge = bridge_of(Script(EAT))
    bridge.difficulty.set(ints(0), ratio=0.5, temperature=3.0, delay_ticks=1)
    bridge.decide(view_of(0), tick=0)
    bridge.forget(ints(0))
    assert bridge.difficulty.of(0) == (None, 1.0, 0)
    bridge.difficulty.set(ints(0), delay_ticks=1)
    assert bridge.decide(view_of(0), tick=1).action.tolist() == [WAIT]


def test_settings_of_all_agents_come_from_the_config() -> None:
    difficulty = Difficulty(capacity=3, wait=WAIT, temperature=2.0, delay_ticks=3)
    assert difficulty.of(2) == (None, 2.0, 3)
    difficulty.set(ints(2), temperature=1.0, delay_ticks=0)
    assert difficulty.of(2) == (None, 1.0, 0)
    difficulty.forget(ints(2))
    assert difficulty.of(2) == (None, 2.0, 3)
    difficulty.set(ints(0), ratio=2.0)
    assert difficulty.of(0)[0] == 1.0
    difficulty.set(ints(0), ratio=math.nan)
    assert difficulty.of(0)[0] is None


@pytest.mark.parametrize("slots", [ints(3), ints(-1), ints(1, 0)])
def test_a_slot_that_is_none_is_refused(slots: np.ndarray) -> None:
    with pytest.raises(ShapeError, match="`slots` must be"):
        Difficulty(capacity=3, wait=WAIT).set(slots, ratio=0.5)
    with pytest.raises(ShapeError, match=r"`slot` must be in \[0, 3\), got 3"):
        Difficulty(capacity=3, wait=WAIT).of(3)


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ({"temperature": 0.0}, "`temperature` must be a number above 0, got 0.0"),
        ({"temperature": math.nan}, "`temperature` must be a number above 0, got nan"),
        ({"temperature": math.inf}, "`temperature` must be a number above 0, got inf"),
        ({"delay_ticks": -1}, "`delay_ticks` must be in [0, 64], got -1"),
        ({"delay_ticks": 65}, "`delay_ticks` must be in [0, 64], got 65"),
        ({"handover_ticks": -1}, "`handover_ticks` must be at least 0, got -1"),
    ],
)
def test_settings_out_of_range_are_refused(setting: dict[str, float], problem: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(problem)):
        BridgeConfig(**setting)
    if "handover_ticks" not in setting:
        difficulty = Difficulty(capacity=2, wait=WAIT)
        with pytest.raises(ConfigError, match=re.escape(problem)):
            difficulty.set(ints(0), **setting)
        assert difficulty.save_state() == {}


def test_temperatures_of_proposals_are_checked() -> None:
    proposals = proposals_of(EAT, EAT)
    with pytest.raises(ShapeError, match=r"`temperatures` must be float32 \(2,\), got float64 \(2,\)"):
        replace(proposals, temperatures=np.ones(2))
    with pytest.raises(ShapeError, match="`temperatures` must be finite and above 0"):
        replace(proposals, temperatures=np.array([1.0, 0.0], np.float32))


def test_longer_delays_keep_what_is_remembered() -> None:
    # Slot 0 is 1 tick late and remembers tick 1 and 2; a delay of 3 for slot 1 makes room without losing them.
    difficulty = Difficulty(capacity=2, wait=WAIT)
    difficulty.set(ints(0), delay_ticks=1)
    for tick, action in ((1, EAT), (2, WORK)):
        difficulty.late(ints(0, 1), tick, drawn_of(action, action))
    difficulty.set(ints(1), delay_ticks=3)
    choices, ages = difficulty.late(ints(0, 1), 3, drawn_of(NORTH, NORTH))
    assert choices.action.tolist() == [WORK, WAIT]
    assert ages.tolist() == [1, 3]
    choices, _ = difficulty.late(ints(0, 1), 4, drawn_of(NORTH, NORTH))
    assert choices.action.tolist() == [NORTH, EAT]


def test_an_agent_is_handed_over_by_degrees() -> None:
    # k = 3: a quarter, a half, three quarters of β = 0.8, then all of it; the other agent has 0.8 throughout.
    config = BridgeConfig(ratio=0.8, handover_ticks=3)
    bridge = BehaviorBridge(VOCABULARY, Script(EAT, EAT), capacity=2, config=config, seed=1)
    bridge.decide(view_of(0, 1), tick=0, proposals=proposals_of(WORK, WORK))
    bridge.possession.acquire(0, tick=1, lease_ticks=1)
    ratios = [
        bridge.decide(view_of(0, 1), tick=tick, proposals=proposals_of(WORK, WORK)).ratio.tolist()
        for tick in range(1, 7)
    ]
    assert np.allclose([first for first, _ in ratios], [0.8, 0.2, 0.4, 0.6, 0.8, 0.8])
    assert np.allclose([second for _, second in ratios], 0.8)


_ANOTHER_PROCESS = """
import io, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from strategies import EAT, NORTH, WORK, Script, bridge_of, proposals_of, view_of
bridge = bridge_of(Script(EAT, NORTH, EAT), ratio=0.4, ticks=2)
with np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False) as state:
    bridge.restore(dict(state))
for tick in range(7, 17):
    decisions = bridge.decide(view_of(0, 1, 2), tick=tick, proposals=proposals_of(WORK, WORK, WORK))
    sys.stdout.buffer.write(b"".join(column.tobytes() for column in decisions.columns().values()))
"""


def test_a_state_goes_on_bit_for_bit_in_another_process(request: pytest.FixtureRequest) -> None:
    bridge = bridge_of(Script(EAT, NORTH, EAT), ratio=0.4, ticks=2)
    view, proposals = view_of(0, 1, 2), proposals_of(WORK, WORK, WORK)
    bridge.decide(view, tick=0, proposals=proposals)
    bridge.difficulty.set(ints(0), ratio=0.9, temperature=0.5)
    bridge.difficulty.set(ints(1), delay_ticks=3)
    for tick in range(1, 7):
        bridge.decide(view, tick=tick, proposals=proposals)
    file = io.BytesIO()
    np.savez(file, **bridge.save_state())
    there = subprocess.run(
        [sys.executable, "-c", _ANOTHER_PROCESS, str(request.path.parent)],
        input=file.getvalue(),
        capture_output=True,
        check=True,
    ).stdout
    here = b""
    for tick in range(7, 17):
        columns = bridge.decide(view, tick=tick, proposals=proposals).columns()
        here += b"".join(column.tobytes() for column in columns.values())
    assert here == there


@given(st.permutations(range(5)), st.integers(0, 2**32))
def test_a_permutation_of_agents_permutes_decisions(order: list[int], seed: int) -> None:
    """Agents keep key, settings, proposals and mask, and change slots: each decides as before."""
    rng = np.random.default_rng(seed)
    ratios, delays = rng.random(5), rng.integers(0, 3, 5)
    temperatures = rng.choice([0.5, 1.0, 2.0], 5)
    logits = rng.normal(size=(6, 5, NUM_ACTIONS))
    log_probs = (logits - np.logaddexp.reduce(logits, axis=2, keepdims=True)).astype(np.float32)
    learned, script_actions = rng.integers(0, NUM_ACTIONS, (6, 5)), rng.integers(-1, NUM_ACTIONS, (6, 5))

    def decided(agents: list[int]) -> list[dict[str, np.ndarray]]:
        script = Script()
        bridge = bridge_of(script, ratio=0.5, ticks=2)
        for slot, agent in enumerate(agents):
            bridge.difficulty.set(
                ints(slot), ratio=ratios[agent], temperature=temperatures[agent], delay_ticks=int(delays[agent])
            )
        found = []
        for tick in range(6):
            script.actions = script_actions[tick, agents]
            view = replace(view_of(*range(5)), keys=np.array(agents, np.uint64) * np.uint64(977))
            proposals = replace(
                proposals_of(*learned[tick, agents].tolist()),
                log_probs=log_probs[tick, agents],
                temperatures=bridge.difficulty.temperatures(view.slots),
            )
            found.append(bridge.decide(view, tick=tick, proposals=proposals).columns())
        return found

    for before, after in zip(decided(list(range(5))), decided(order), strict=True):
        for name, column in before.items():
            assert np.array_equal(column[order], after[name]), name


def test_what_the_actions_do_not_allow_changes_nothing() -> None:
    difficulty = Difficulty(capacity=2, wait=BOX.wait, limits=Limits(actions=BOX, blend="mixture"))
    difficulty.set(ints(1), ratio=1.0)
    before = difficulty.save_state()
    for setting in ({"ratio": 0.5}, {"ratio": 0.0, "temperature": 2.0}, {"ratio": 0.0, "delay_ticks": 1}):
        with pytest.raises(ConfigError, match="must be"):
            difficulty.set(ints(0, 1), **setting)
    for name, array in difficulty.save_state().items():
        np.testing.assert_array_equal(array, before[name])
    assert difficulty.of(1) == (1.0, 1.0, 0)
    mixed = {**before, "ratio": np.array([math.nan, 0.5])}
    with pytest.raises(StateError, match="saved `ratio` must be 0 or 1"):
        difficulty.check_state(mixed)
    Difficulty(capacity=2, wait=BOX.wait, limits=Limits(actions=BOX, blend="switch")).restore(mixed)


def test_an_agent_waits_for_what_was_drawn_before_its_delay_was_so_long() -> None:
    # With a delay of 1 the ticks 2 and 3 are remembered when it grows to 3: at tick 4 the choice of tick 1 is gone.
    difficulty = Difficulty(capacity=1, wait=WAIT)
    difficulty.set(ints(0), delay_ticks=1)
    for tick in range(4):
        difficulty.late(ints(0), tick, drawn_of(EAT))
    difficulty.set(ints(0), delay_ticks=3)
    assert [difficulty.late(ints(0), tick, drawn_of(WORK))[0].action.tolist() for tick in (4, 5, 6)] == [
        [WAIT],
        [EAT],
        [EAT],
    ]
