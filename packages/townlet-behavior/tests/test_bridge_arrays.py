"""The bridge with actions of several parts, with numbers, and with a switch between script and policy."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import (
    BOX,
    EAT,
    PARTS,
    VOCABULARY,
    WORK,
    Script,
    bools,
    bridge_of,
    ints,
    proposals_of,
    random_numbers,
    random_parts,
    random_proposals,
    sizes_of,
    through_a_file,
    view_of,
)

from townlet_behavior import (
    ActionSpec,
    ArgumentsView,
    BehaviorBridge,
    BridgeConfig,
    CommitmentConfig,
    ConfigError,
    DecisionBatch,
    GuardrailError,
    Kind,
    MultiDiscrete,
    PolicyError,
    Proposals,
    Purpose,
    SavedState,
    ShapeError,
    Source,
    StateError,
    StatelessGuardrail,
    UnknownActionError,
    Verdicts,
    View,
    uniforms,
)
from townlet_behavior.blend import Choices
from townlet_behavior.config import Blend
from townlet_behavior.testing import PlainView

NAN = float("nan")
HANDS = MultiDiscrete(parts={"move": ("stay", "north", "south"), "hand": ("open", "closed")})
STAY, NORTH, SOUTH = range(3)
OPEN, CLOSED = range(2)


def bridge(
    actions: ActionSpec, script: Script, *guardrails: StatelessGuardrail, ratio: float = 1.0, blend: Blend = "mixture"
) -> BehaviorBridge:
    config = BridgeConfig(ratio=ratio, blend=blend)
    return BehaviorBridge(actions, script, capacity=16, config=config, seed=1, guardrails=guardrails)


def script_of(*rows: tuple[float, float]) -> Script:
    return Script(*rows, dtype=np.float32)


def hands_of(*actions: tuple[int, int], opinion: tuple[bool, ...] | None = None) -> Proposals:
    """π(move) = (0.5, 0.25, 0.25) and π(hand) = (0.25, 0.75)."""
    return Proposals(
        actions=np.array(actions, np.int64),
        log_probs=np.log(np.array([[0.5, 0.25, 0.25, 0.25, 0.75]] * len(actions), np.float32)),
        values=np.zeros(len(actions), np.float32),
        opinion=None if opinion is None else bools(*opinion),
    )


def numbers_of(*actions: tuple[float, float], greedy: bool = False) -> Proposals:
    """Row i has the log-density i - 0.5."""
    return Proposals(
        actions=np.array(actions, np.float32),
        log_probs=None,
        values=None,
        greedy=greedy,
        drawn_log_probs=np.arange(len(actions), dtype=np.float32) - np.float32(0.5),
    )


def learned(slot: int, *, tick: int, ratio: float) -> bool:
    """The blend's coin of the agent in `slot`."""
    return bool(uniforms(1, Purpose.BLEND, view_of(slot).keys, tick)[0] < ratio)


# Several parts


def test_a_decision_of_several_parts_by_hand() -> None:
    # β = 0.4. The script goes north with a closed hand, π = 0.25·0.75 = 0.1875, μ = 0.4·0.1875 + 0.6 = 0.675.
    # The policy stays with a closed hand, π = 0.5·0.75 = 0.375, μ = 0.4·0.375 = 0.15.
    deciding = bridge(HANDS, Script((NORTH, CLOSED)), ratio=0.4)
    seen = set()
    for tick in range(30):
        decisions = deciding.decide(view_of(3), tick=tick, proposals=hands_of((STAY, CLOSED)))
        action, pi, mu = ((STAY, 1), 0.375, 0.15) if learned(3, tick=tick, ratio=0.4) else ((NORTH, 1), 0.1875, 0.675)
        assert (decisions.action.tolist(), decisions.action.dtype) == ([list(action)], np.int64)
        assert np.exp(decisions.policy_log_prob) == pytest.approx([pi])
        assert np.exp(decisions.behavior_log_prob) == pytest.approx([mu])
        assert decisions.expert_action.tolist() == [[NORTH, CLOSED]]
        assert (decisions.held_action.tolist(), decisions.ticks_left.tolist()) == ([-1], [0])
        seen.add(int(decisions.source[0]))
    assert seen == {Source.SCRIPTED, Source.LEARNED}


def test_a_script_that_proposes_nothing_waits_in_every_part() -> None:
    # The policy stays with an open hand too: μ = 0.5·0.125 + 0.5.
    decisions = bridge(HANDS, Script((-1, -1)), ratio=0.5).decide(view_of(0), tick=0, proposals=hands_of((STAY, OPEN)))
    assert np.exp(decisions.behavior_log_prob) == pytest.approx([0.5625])
    assert (decisions.expert_action.tolist(), decisions.proposer.tolist()) == ([[-1, -1]], [-1])


def test_the_mask_replaces_the_parts_that_it_forbids() -> None:
    deciding = bridge(HANDS, Script((STAY, OPEN), (STAY, OPEN)))
    mask = np.array([[False, True, True, True, True], [True, True, True, False, True]])
    view = view_of(0, 1, mask=mask)
    decisions = deciding.decide(view, tick=0, proposals=hands_of((STAY, CLOSED), (SOUTH, OPEN)))
    assert decisions.action.tolist() == [[NORTH, CLOSED], [SOUTH, CLOSED]]
    assert decisions.chosen_action.tolist() == [[STAY, CLOSED], [SOUTH, OPEN]]
    assert decisions.veto_reason.tolist() == [1, 1]
    assert deciding.counts().vetoes == {"action_mask": 2}


def test_a_part_with_nothing_legal_is_an_error() -> None:
    mask = np.array([[True, True, True, True, False], [True, True, True, False, False]])
    with pytest.raises(GuardrailError, match="slot 4: every agent must have a legal action"):
        bridge(HANDS, Script((STAY, OPEN), (STAY, OPEN))).decide(view_of(2, 4, mask=mask), tick=0)


def test_a_single_value_in_every_part_is_forced() -> None:
    mask = np.array([[False, True, False, False, True], [False, True, False, True, True]])
    decisions = bridge(HANDS, Script((NORTH, CLOSED), (NORTH, CLOSED))).decide(
        view_of(0, 1, mask=mask), tick=0, proposals=hands_of((NORTH, CLOSED), (NORTH, CLOSED))
    )
    assert decisions.kind.tolist() == [Kind.FORCED, Kind.DECISION]
    assert decisions.policy_log_prob[0] == 0.0


def test_parts_are_possessed_together() -> None:
    deciding, view = bridge(HANDS, Script((NORTH, OPEN), (NORTH, OPEN))), view_of(0, 1)
    deciding.held(view, tick=0)
    assert deciding.possession.acquire(0, tick=0) and deciding.possession.acquire(1, tick=0)
    ticket = deciding.possession.feed(1, (SOUTH, CLOSED))
    decisions = deciding.decide(view, tick=0)
    assert decisions.action.tolist() == [[STAY, OPEN], [SOUTH, CLOSED]]
    assert (decisions.demonstrated.tolist(), decisions.source.tolist()) == ([False, True], [Source.EXTERNAL] * 2)
    assert ticket.end is not None and ticket.end.reason == "executed"
    assert deciding.decide(view, tick=1).action.tolist() == [[STAY, OPEN]] * 2


def test_an_agent_is_handed_over_by_degrees_in_a_mixture_of_parts() -> None:
    config = BridgeConfig(ratio=1.0, handover_ticks=1)
    deciding = BehaviorBridge(HANDS, Script((NORTH, OPEN)), capacity=4, config=config, seed=1)
    deciding.held(view_of(0), tick=0)
    deciding.possession.acquire(0, tick=0)
    deciding.decide(view_of(0), tick=0)
    deciding.possession.release(0)
    ratios = [deciding.decide(view_of(0), tick=tick, proposals=hands_of((STAY, OPEN))).ratio[0] for tick in (1, 2)]
    assert ratios == [0.5, 1.0]


# Numbers


def test_a_draw_beyond_the_bounds_is_executed_as_the_bound_and_is_no_veto() -> None:
    deciding = bridge(BOX, script_of((0.0, 1.0), (0.0, 1.0)))
    decisions = deciding.decide(view_of(0, 1), tick=0, proposals=numbers_of((-1.5, 2.5), (0.25, 1.0)))
    assert decisions.action.tolist() == [[-1.0, 2.0], [0.25, 1.0]]
    assert decisions.chosen_action.tolist() == decisions.drawn_action.tolist() == [[-1.5, 2.5], [0.25, 1.0]]
    assert decisions.action.dtype == decisions.chosen_action.dtype == decisions.expert_action.dtype == np.float32
    assert decisions.vetoed.tolist() == [False, False]
    assert decisions.policy_log_prob.tolist() == decisions.behavior_log_prob.tolist() == [-0.5, 0.5]
    assert decisions.kind.tolist() == [Kind.DECISION] * 2


def test_numbers_that_are_not_proposed_are_recorded_as_zeros_of_nobody() -> None:
    decisions = bridge(BOX, script_of((NAN, NAN), (0.5, 1.0)), ratio=0.0).decide(view_of(0, 1), tick=0)
    assert decisions.action.tolist() == [[0.0, 0.5], [0.5, 1.0]]
    assert decisions.expert_action.tolist() == [[0.0, 0.0], [0.5, 1.0]]
    assert decisions.proposer.tolist() == [-1, 0]


def test_greedy_numbers_are_foreign() -> None:
    greedy = numbers_of((0.5, 1.0), greedy=True)
    decisions = bridge(BOX, script_of((0.0, 1.0))).decide(view_of(0), tick=0, proposals=greedy)
    assert (decisions.kind.tolist(), decisions.policy_log_prob.tolist()) == ([Kind.FOREIGN], [0.0])
    unknown = replace(numbers_of((0.5, 1.0)), drawn_log_probs=None)
    decisions = bridge(BOX, script_of((0.0, 1.0))).decide(view_of(0), tick=0, proposals=unknown)
    assert (decisions.kind.tolist(), decisions.action.tolist()) == ([Kind.FOREIGN], [[0.5, 1.0]])


class Slowly(StatelessGuardrail):
    """Judges the second number, and remembers what it was shown."""

    reasons = ("fast",)

    def __init__(self, replacement: float = 1.0) -> None:
        self.shown: list[list[list[float]]] = []
        self._replacement = replacement

    def review(self, view: View, actions: NDArray[np.float32]) -> Verdicts:
        self.shown.append(actions.tolist())
        slower = actions.copy()
        slower[:, 1] = self._replacement
        return Verdicts(vetoed=actions[:, 1] > 1.0, replacement=slower, reason=np.zeros(len(actions), np.int8))


def test_guardrails_judge_what_the_world_would_get() -> None:
    slowly = Slowly()
    deciding = bridge(BOX, script_of((0.0, 1.0), (0.0, 1.0)), slowly)
    decisions = deciding.decide(view_of(0, 1), tick=0, proposals=numbers_of((-1.5, 2.5), (0.25, 0.75)))
    assert slowly.shown == [[[-1.0, 2.0], [0.25, 0.75]]]
    assert decisions.action.tolist() == [[-1.0, 1.0], [0.25, 0.75]]
    assert (decisions.vetoed.tolist(), decisions.veto_reason.tolist()) == ([True, False], [2, 0])
    assert decisions.policy_log_prob.tolist() == [-0.5, 0.5]


def test_a_guardrail_must_replace_by_numbers_within_their_bounds() -> None:
    deciding = bridge(BOX, script_of((0.0, 2.0)), Slowly(replacement=0.25))
    with pytest.raises(GuardrailError, match=r"Slowly must replace by actions in \[-1.0, 1.0\] × \[0.5, 2.0\], got"):
        deciding.decide(view_of(0), tick=0)


def test_a_guardrail_must_replace_by_actions_of_the_same_form() -> None:
    class Confused(StatelessGuardrail):
        reasons = ("confused",)

        def review(self, view: View, actions: NDArray[Any]) -> Verdicts:
            vetoed = np.ones(len(actions), np.bool_)
            return Verdicts(vetoed=vetoed, replacement=ints(0), reason=np.zeros(1, np.int8))

    with pytest.raises(GuardrailError, match=r"must replace by actions of int64 \(2,\), got int64 \(\)"):
        bridge(HANDS, Script((NORTH, OPEN)), Confused()).decide(view_of(0), tick=0)


def test_numbers_have_no_mask() -> None:
    with pytest.raises(ShapeError, match="`action_mask` must be None, because every number may be drawn, got bool"):
        bridge(BOX, script_of((0.0, 1.0))).decide(view_of(0, mask=np.ones((1, 0), np.bool_)), tick=0)


@pytest.mark.parametrize("ratio", [0.001, 0.5, 0.999])
def test_numbers_are_not_mixed(ratio: float) -> None:
    with pytest.raises(ConfigError, match="the mixture .* has no density: .*blend='switch'"):
        bridge(BOX, script_of((0.0, 1.0)), ratio=ratio)
    deciding = bridge(BOX, script_of((0.0, 1.0)), ratio=1.0)
    with pytest.raises(ConfigError, match="has no density"):
        deciding.ratio = ratio
    assert deciding.ratio == 1.0
    with pytest.raises(ConfigError, match="has no density"):
        deciding.difficulty.set(ints(0), ratio=ratio)
    state = dict(deciding.save_state()) | {"bridge/ratio": np.array(ratio)}
    with pytest.raises(StateError, match="saved `ratio` must be 0 or 1"):
        deciding.restore(state)
    bridge(BOX, script_of((0.0, 1.0)), ratio=ratio, blend="switch").restore(state)


def test_agents_of_their_own_ratio_are_decided_for_by_one_side() -> None:
    deciding = bridge(BOX, script_of((0.0, 1.0), (0.0, 1.0)), ratio=1.0)
    deciding.difficulty.set(ints(1), ratio=0.0)
    decisions = deciding.decide(view_of(0, 1), tick=0, proposals=numbers_of((0.5, 1.5), (0.5, 1.5)))
    assert decisions.action.tolist() == [[0.5, 1.5], [0.0, 1.0]]
    assert decisions.kind.tolist() == [Kind.DECISION, Kind.FOREIGN]
    assert decisions.behavior_log_prob.tolist() == [-0.5, 0.0]


def test_unusable_numbers_are_an_error_or_the_scripts() -> None:
    proposals = numbers_of((0.5, NAN), (0.5, 1.5))
    with pytest.raises(PolicyError, match="tick 0, slot 0: row 0: `actions` must be finite"):
        bridge(BOX, script_of((0.0, 1.0), (0.0, 1.0))).decide(view_of(0, 1), tick=0, proposals=proposals)
    config = BridgeConfig(ratio=1.0, on_policy_error="script")
    lenient = BehaviorBridge(BOX, script_of((0.0, 1.0), (0.0, 1.0)), capacity=2, config=config, seed=1)
    decisions = lenient.decide(view_of(0, 1), tick=0, proposals=proposals)
    assert decisions.action.tolist() == [[0.0, 1.0], [0.5, 1.5]]
    assert (decisions.kind.tolist(), lenient.counts().policy_errors) == ([Kind.FOREIGN, Kind.DECISION], 1)


def test_a_script_beyond_the_bounds_stops_the_tick() -> None:
    with pytest.raises(UnknownActionError, match=r"slot 7: the script must propose actions in .*, got \[0. 3.\]"):
        bridge(BOX, script_of((0.0, 3.0))).decide(view_of(7), tick=0)


# The switch


@pytest.mark.parametrize("ratio", [0.05, 0.5])
def test_a_switch_marks_the_policys_rows_at_every_ratio(ratio: float) -> None:
    # π(work) = 0.15; where the script decided, the step is foreign, whatever the policy would have done.
    probs = [[0.1, 0.2, 0.3, 0.25, 0.15]]
    config, seen = BridgeConfig(ratio=ratio, blend="switch"), set()
    deciding = BehaviorBridge(VOCABULARY, Script(WORK), capacity=16, config=config, seed=1)
    for tick in range(100):
        decisions = deciding.decide(view_of(3), tick=tick, proposals=proposals_of(WORK, probs=probs))
        mine = learned(3, tick=tick, ratio=ratio)
        assert decisions.kind.tolist() == [Kind.DECISION if mine else Kind.FOREIGN]
        assert decisions.source.tolist() == [Source.LEARNED if mine else Source.SCRIPTED]
        assert np.exp(decisions.policy_log_prob) == pytest.approx([0.15 if mine else 1.0])
        assert decisions.behavior_log_prob.tolist() == decisions.policy_log_prob.tolist()
        seen.add(mine)
    assert seen == {True, False}
    assert deciding.counts().decisions["scripted"] == 0


def test_a_switch_of_numbers() -> None:
    deciding = bridge(BOX, script_of((0.0, 1.0)), ratio=0.5, blend="switch")
    for tick in range(20):
        decisions = deciding.decide(view_of(3), tick=tick, proposals=numbers_of((0.5, 1.5)))
        mine = learned(3, tick=tick, ratio=0.5)
        assert decisions.action.tolist() == ([[0.5, 1.5]] if mine else [[0.0, 1.0]])
        assert decisions.kind.tolist() == [Kind.DECISION if mine else Kind.FOREIGN]
        assert decisions.behavior_log_prob.tolist() == ([-0.5] if mine else [0.0])


def test_options_go_on_under_a_switch() -> None:
    config = BridgeConfig(ratio=0.0, blend="switch", commitment=CommitmentConfig(ticks=3))
    deciding = BehaviorBridge(VOCABULARY, Script(EAT), capacity=4, config=config, seed=1)
    kinds = [deciding.decide(view_of(0), tick=t, proposals=proposals_of(WORK)).kind[0] for t in range(4)]
    assert kinds == [Kind.FOREIGN, Kind.FORCED, Kind.FORCED, Kind.FOREIGN]


def test_frequencies_of_a_switch_are_the_policys() -> None:
    # Where the policy decided, its actions are drawn with π: of about 10,000 rows half do WORK (the standard deviation
    # of the share is 0.005), though the script, which decides as often, always does.
    many = 20_000
    draws = np.random.default_rng(3).choice([EAT, WORK], size=many)
    probs = np.array([0.0, 0.0, 0.5, 0.0, 0.5])
    with np.errstate(divide="ignore"):
        log_probs = np.log(np.tile(probs, (many, 1))).astype(np.float32)
    log_probs = np.maximum(log_probs, np.finfo(np.float32).min)
    config = BridgeConfig(ratio=0.5, blend="switch")
    deciding = BehaviorBridge(VOCABULARY, Script(*[WORK] * many), capacity=many, config=config, seed=1)
    proposals = Proposals(actions=draws, log_probs=log_probs, values=None)
    decisions = deciding.decide(view_of(*range(many)), tick=0, proposals=proposals)
    rows = decisions.kind == Kind.DECISION
    assert abs(rows.mean() - 0.5) < 0.015
    assert abs((decisions.action[rows] == WORK).mean() - 0.5) < 0.02
    assert np.exp(decisions.behavior_log_prob[rows]) == pytest.approx(np.full(rows.sum(), 0.5))


# Laws

KINDS = [(VOCABULARY, "mixture"), (VOCABULARY, "switch"), (PARTS, "mixture"), (PARTS, "switch"), (BOX, "switch")]


def random_script(rng: np.random.Generator, actions: ActionSpec, size: int) -> NDArray[Any]:
    if actions is VOCABULARY:
        return rng.integers(-1, len(VOCABULARY), size)
    if actions is PARTS:
        rows = rng.integers(0, PARTS.sizes, (size, 3))
        rows[rng.random(size) < 0.2] = -1
        return rows
    low, high = BOX.bounds
    numbers = (low + (high - low) * rng.random((size, 2), np.float32)).astype(np.float32)
    numbers[rng.random(size) < 0.2] = NAN
    return numbers


def random_policy(rng: np.random.Generator, actions: ActionSpec, size: int) -> Proposals:
    seed, of = int(rng.integers(2**32)), {"greedy": False, "known": True, "opinion": bool(rng.random() < 0.5)}
    every = np.ones((size, sum(sizes_of(actions))), np.bool_)
    if actions is VOCABULARY:
        return random_proposals(seed, every, **of)
    return random_parts(seed, every, **of) if actions is PARTS else random_numbers(seed, size, **of)


def rows_of(proposals: Proposals, order: NDArray[np.int64]) -> Proposals:
    arrays = {name: value[order] for name, value in vars(proposals).items() if isinstance(value, np.ndarray)}
    return replace(proposals, **arrays)


@given(st.sampled_from(KINDS), st.integers(0, 2**32), strategies.ratios)
def test_agents_may_change_places(kind: tuple[ActionSpec, Blend], seed: int, ratio: float) -> None:
    actions, blend = kind
    rng, size = np.random.default_rng(seed), 6
    order = rng.permutation(size)
    script, policy = random_script(rng, actions, size), random_policy(rng, actions, size)
    keys = rng.integers(0, 2**63, size).astype(np.uint64)

    def decide(places: NDArray[np.int64]) -> DecisionBatch:
        proposing = Script()
        proposing.actions = script[places]
        view = PlainView(
            slots=np.arange(size), keys=keys[places], action_mask=None, option_done=np.zeros(size, np.bool_)
        )
        return bridge(actions, proposing, ratio=ratio, blend=blend).decide(
            view, tick=5, proposals=rows_of(policy, places)
        )

    here, there = decide(np.arange(size)), decide(order)
    for name, column in here.columns().items():
        np.testing.assert_array_equal(column[order], there.columns()[name], err_msg=name)


@given(st.sampled_from(KINDS), st.integers(0, 2**32), strategies.ratios)
def test_a_switch_is_where_the_policy_decided_and_where_nothing_bound(
    kind: tuple[ActionSpec, Blend], seed: int, ratio: float
) -> None:
    actions, blend = kind
    rng, script = np.random.default_rng(seed), Script()
    script.actions, policy = random_script(rng, actions, 6), random_policy(rng, actions, 6)
    decisions = bridge(actions, script, ratio=ratio, blend=blend).decide(
        view_of(*range(6)), tick=int(rng.integers(2**32)), proposals=policy
    )
    mine = decisions.source == Source.LEARNED
    opinion = np.ones(6, np.bool_) if policy.opinion is None else policy.opinion
    expected = mine if blend == "switch" else opinion & (ratio >= 0.1)
    assert ((decisions.kind == Kind.DECISION) == expected).all()
    assert decisions.chosen_action[mine].tolist() == policy.actions[mine].tolist()
    assert not np.isnan(decisions.action).any()
    # Weights are bounded: π/μ is at most 1/β in a mixture, and 1 under a switch.
    weight = np.exp(decisions.policy_log_prob.astype(np.float64) - decisions.behavior_log_prob)
    assert (weight <= (1.0 if blend == "switch" else 1.0 / max(ratio, 0.1)) * (1.0 + 1e-5)).all()


class Life:
    """A bridge of array actions and all that happens to it, from a seed."""

    def __init__(self, actions: ActionSpec, blend: Blend, ratio: float) -> None:
        self.actions, self.script = actions, Script()
        self.bridge = bridge(actions, self.script, ratio=ratio, blend=blend)

    def tick(self, rng: np.random.Generator, tick: int) -> DecisionBatch:
        view = view_of(*np.flatnonzero(rng.random(5) < 0.8).tolist())
        self.bridge.held(view, tick=tick)
        possession = self.bridge.possession
        for slot in view.slots[rng.random(len(view.slots)) < 0.2].tolist():
            possession.acquire(slot, tick=tick, lease_ticks=int(rng.integers(1, 4)))
        for slot in sorted(set(possession.slots().tolist()) & set(view.slots.tolist())):
            fed = random_script(rng, self.actions, 1)[0]
            if not np.isnan(fed).any() and np.all(fed > -1):
                possession.feed(slot, fed, queue=bool(rng.random() < 0.5))
        if rng.random() < 0.2:
            self.bridge.forget(ints(int(rng.integers(5))))
        self.script.actions = random_script(rng, self.actions, len(view.slots))
        return self.bridge.decide(view, tick=tick, proposals=random_policy(rng, self.actions, len(view.slots)))


@given(st.sampled_from(KINDS), st.integers(0, 2**32), strategies.ratios, st.integers(0, 8))
def test_saved_and_restored_both_go_on_alike(
    kind: tuple[ActionSpec, Blend], seed: int, ratio: float, before: int
) -> None:
    life, other = Life(*kind, ratio), Life(*kind, 0.0)
    rng, again = np.random.default_rng(seed), np.random.default_rng()
    for tick in range(before):
        life.tick(rng, tick)
    other.bridge.restore(through_a_file(life.bridge.save_state()))
    again.bit_generator.state = rng.bit_generator.state
    for tick in range(before, before + 8):
        ours, theirs = life.tick(rng, tick).columns(), other.tick(again, tick).columns()
        for name in ours:
            assert ours[name].tobytes() == theirs[name].tobytes(), name
    assert same(life.bridge.save_state(), other.bridge.save_state())


def same(one: SavedState, other: SavedState) -> bool:
    return one.keys() == other.keys() and all(one[name].tobytes() == other[name].tobytes() for name in one)


def test_the_state_of_other_actions_is_refused() -> None:
    state = bridge(HANDS, Script((STAY, OPEN))).save_state()
    for actions in PARTS, BOX, VOCABULARY:
        with pytest.raises(StateError, match=f"saved `vocabulary` must be {actions.digest}, got {HANDS.digest}"):
            bridge(actions, Script()).restore(state)


def test_saved_inputs_must_exist() -> None:
    deciding = bridge(HANDS, Script((STAY, OPEN)))
    deciding.held(view_of(0), tick=0)
    deciding.possession.acquire(0, tick=0)
    deciding.possession.feed(0, (SOUTH, CLOSED))
    state = dict(deciding.save_state())
    assert state["possession/inputs/action"].tolist() == [[SOUTH, CLOSED]]
    state["possession/inputs/action"] = np.array([[SOUTH, 2]])
    with pytest.raises(StateError, match=r"saved `action` must be in \[\[0 0\], \[2 1\]\], got 2"):
        bridge(HANDS, Script((STAY, OPEN))).restore(state)


def test_a_view_with_arguments_is_told_whole_actions() -> None:
    class Told(PlainView, ArgumentsView):
        def choices_made(self, drawn: Choices, chosen: Choices) -> None:
            told.append((drawn.action.tolist(), chosen.action.tolist()))

    told: list[tuple[object, object]] = []
    view = Told(**vars(view_of(0)))
    bridge(HANDS, Script((NORTH, OPEN))).decide(view, tick=0, proposals=hands_of((SOUTH, CLOSED)))
    assert told == [([[SOUTH, CLOSED]], [[SOUTH, CLOSED]])]


def test_the_discrete_bridge_refuses_actions_with_an_axis() -> None:
    with pytest.raises(ShapeError, match=r"`actions` must be int64 \(1,\), got int64 \(1, 2\)"):
        bridge_of(Script(EAT), ratio=1.0).decide(view_of(0), tick=0, proposals=hands_of((NORTH, OPEN)))


def test_options_and_delays_are_of_a_vocabulary() -> None:
    for setting in ({"commitment": CommitmentConfig(ticks=2)}, {"delay_ticks": 1}):
        with pytest.raises(ConfigError, match="MultiDiscrete action"):
            BehaviorBridge(HANDS, Script(), capacity=2, config=BridgeConfig(**setting), seed=1)
    deciding = bridge(HANDS, Script((NORTH, OPEN)))
    held, left = deciding.held_at_end(ints(0), bools(False), tick=0)
    assert (held.tolist(), left.tolist()) == ([-1], [0])
    assert math.isclose(deciding.ratio, 1.0)
