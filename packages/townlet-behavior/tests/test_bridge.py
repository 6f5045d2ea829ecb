import logging
import math
from typing import Any

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import (
    BOX,
    COOK,
    EAT,
    NORTH,
    PARTS,
    VOCABULARY,
    WAIT,
    WORK,
    Forbid,
    Script,
    bools,
    bridge_of,
    ints,
    mask_of,
    proposals_of,
    random_numbers,
    random_parts,
    random_proposals,
    sizes_of,
    view_of,
)

from townlet_behavior import (
    ActionSpec,
    ArgumentsView,
    BehaviorBridge,
    BridgeConfig,
    CommitmentConfig,
    ConfigError,
    GuardrailError,
    IdleController,
    Kind,
    NoProposals,
    PolicyError,
    Proposals,
    Purpose,
    ShapeError,
    Source,
    StatelessController,
    StatelessGuardrail,
    UnknownActionError,
    Verdicts,
    View,
    uniforms,
)
from townlet_behavior.blend import Choices
from townlet_behavior.forms import form_of
from townlet_behavior.testing import PlainView, plain_view

NAN = float("nan")


def draw(slot: int, *, tick: int, seed: int = 1) -> float:
    """The blend's coin of the agent in `slot`."""
    return float(uniforms(seed, Purpose.BLEND, view_of(slot).keys, tick)[0])


def test_without_a_policy_the_script_decides() -> None:
    decisions = bridge_of(Script(EAT, -1), ratio=0.7).decide(view_of(0, 4), tick=0)
    assert decisions.action.tolist() == [EAT, WAIT]
    assert decisions.expert_action.tolist() == [EAT, -1]
    assert decisions.kind.tolist() == [Kind.FOREIGN] * 2
    assert decisions.source.tolist() == [Source.SCRIPTED] * 2
    assert decisions.behavior_log_prob.tolist() == decisions.policy_log_prob.tolist() == [0.0, 0.0]
    assert decisions.value.tolist() == [0.0, 0.0]
    assert decisions.ratio.tolist() == [np.float32(0.7)] * 2


def test_ratio_0_is_the_script_and_ratio_1_the_policy() -> None:
    for ratio, action, source, kind in [
        (0.0, EAT, Source.SCRIPTED, Kind.FOREIGN),
        (1.0, WORK, Source.LEARNED, Kind.DECISION),
    ]:
        bridge = bridge_of(Script(EAT), ratio=ratio)
        decisions = bridge.decide(view_of(3), tick=0, proposals=proposals_of(WORK, values=[2.5]))
        assert (decisions.action[0], decisions.source[0], decisions.kind[0]) == (action, source, kind)
        assert decisions.value.tolist() == [2.5]


def test_in_between_the_coin_decides() -> None:
    bridge = bridge_of(Script(EAT), ratio=0.5)
    for tick in range(20):
        decisions = bridge.decide(view_of(3), tick=tick, proposals=proposals_of(WORK))
        assert decisions.action.tolist() == [WORK if draw(3, tick=tick) < 0.5 else EAT]


def test_no_coins_repeat_after_any_power_of_2_of_ticks() -> None:
    # 64 coins are those of another tick by chance with probability 2^-64.
    slots = range(64)
    bridge = bridge_of(Script(*[EAT] * 64), ratio=0.5, capacity=64)
    policy = proposals_of(*[WORK] * 64)
    coins = {
        tuple(bridge.decide(view_of(*slots), tick=tick, proposals=policy).source.tolist())
        for tick in (1000, *(1000 + 2**k for k in range(53)))
    }
    assert len(coins) == 54


def test_a_script_without_a_proposal_waits_in_the_mixture_too() -> None:
    # The policy waits with π = 0.2; the silent script waits as well: μ = 0.5·0.2 + 0.5 = 0.6.
    bridge = bridge_of(Script(-1), ratio=0.5)
    decisions = bridge.decide(view_of(0), tick=0, proposals=proposals_of(WAIT))
    assert np.exp(decisions.behavior_log_prob) == pytest.approx([0.6])
    assert decisions.expert_action.tolist() == [-1]


def test_both_probabilities_are_of_the_chosen_action() -> None:
    probs = [[0.1, 0.2, 0.3, 0.25, 0.15]]
    bridge = bridge_of(Script(EAT), ratio=0.4)
    seen = set()
    for tick in range(30):
        decisions = bridge.decide(view_of(0), tick=tick, proposals=proposals_of(WORK, probs=probs))
        pi, mu = {WORK: (0.15, 0.4 * 0.15), EAT: (0.3, 0.4 * 0.3 + 0.6)}[int(decisions.action[0])]
        assert np.exp(decisions.policy_log_prob) == pytest.approx([pi])
        assert np.exp(decisions.behavior_log_prob) == pytest.approx([mu])
        seen.add(int(decisions.source[0]))
    assert seen == {Source.SCRIPTED, Source.LEARNED}


def test_at_ratio_1_the_blend_is_the_policy() -> None:
    proposals = random_proposals(0, np.ones((6, 5), np.bool_), greedy=False, known=True, opinion=False)
    decisions = bridge_of(Script(*[EAT] * 6), ratio=1.0).decide(view_of(*range(6)), tick=0, proposals=proposals)
    assert decisions.behavior_log_prob.tolist() == decisions.policy_log_prob.tolist()


@pytest.mark.parametrize(
    ("ratio", "proposals"),
    [
        (0.09, proposals_of(WORK, values=[1.5])),
        (1.0, proposals_of(WORK, values=[1.5], greedy=True)),
        (1.0, proposals_of(WORK, values=[1.5], opinion=(False,))),
        (1.0, Proposals(actions=ints(WORK), log_probs=None, values=np.array([1.5], np.float32))),
    ],
)
def test_what_no_probability_describes_is_foreign_but_has_a_value(ratio: float, proposals: Proposals) -> None:
    decisions = bridge_of(Script(EAT), ratio=ratio).decide(view_of(0), tick=0, proposals=proposals)
    assert decisions.kind.tolist() == [Kind.FOREIGN]
    assert (decisions.behavior_log_prob[0], decisions.policy_log_prob[0], decisions.value[0]) == (0.0, 0.0, 1.5)


def test_values_that_are_not_known_are_recorded_as_zero() -> None:
    proposals = Proposals(actions=ints(WORK), log_probs=None, values=None)
    decisions = bridge_of(Script(EAT), ratio=1.0).decide(view_of(0), tick=0, proposals=proposals)
    assert (decisions.action[0], decisions.value[0], decisions.value.dtype) == (WORK, 0.0, np.float32)


def test_greedy_proposals_and_those_without_probabilities_are_executed() -> None:
    bridge = bridge_of(Script(EAT), ratio=1.0)
    unknown = Proposals(actions=ints(COOK), log_probs=None, values=np.zeros(1, np.float32))
    assert bridge.decide(view_of(0), tick=0, proposals=proposals_of(WORK, greedy=True)).action.tolist() == [WORK]
    assert bridge.decide(view_of(0), tick=1, proposals=unknown).action.tolist() == [COOK]


def test_greedy_proposals_are_blended_with_the_ratio() -> None:
    bridge = bridge_of(Script(EAT), ratio=0.5)
    actions = [
        int(bridge.decide(view_of(3), tick=tick, proposals=proposals_of(WORK, greedy=True)).action[0])
        for tick in range(20)
    ]
    assert actions == [WORK if draw(3, tick=tick) < 0.5 else EAT for tick in range(20)]


def test_the_ratio_can_be_changed_and_is_clamped() -> None:
    bridge = bridge_of(Script(EAT), ratio=0.2)
    assert bridge.ratio == 0.2
    bridge.ratio = 7.0
    assert bridge.ratio == 1.0
    assert bridge.decide(view_of(0), tick=0, proposals=proposals_of(WORK)).action.tolist() == [WORK]
    with pytest.raises(ConfigError, match="got nan"):
        bridge.ratio = math.nan
    assert bridge.ratio == 1.0


def test_a_choice_is_carried_on_by_whoever_made_it() -> None:
    bridge = bridge_of(Script(EAT), ratio=1.0, ticks=3)
    view = view_of(5)
    rows = []
    for tick in range(4):
        d = bridge.decide(view, tick=tick, proposals=proposals_of(WORK if tick == 0 else COOK))
        rows.append((d.action[0], d.chosen_action[0], d.kind[0], d.source[0], d.held_action[0], d.ticks_left[0]))
    assert rows == [
        (WORK, WORK, Kind.DECISION, Source.LEARNED, -1, 0),
        (WORK, WORK, Kind.FORCED, Source.LEARNED, WORK, 2),
        (WORK, WORK, Kind.FORCED, Source.LEARNED, WORK, 1),
        (COOK, COOK, Kind.DECISION, Source.LEARNED, -1, 0),
    ]


def test_forced_steps_have_no_probabilities_but_a_value_and_the_scripts_proposal() -> None:
    bridge = bridge_of(Script(EAT), ratio=1.0, ticks=3)
    for tick in range(2):
        decisions = bridge.decide(view_of(0), tick=tick, proposals=proposals_of(WORK, values=[4.0]))
    assert decisions.kind.tolist() == [Kind.FORCED]
    assert (decisions.behavior_log_prob[0], decisions.policy_log_prob[0]) == (0.0, 0.0)
    assert (decisions.value[0], decisions.expert_action[0]) == (4.0, EAT)


def test_a_forced_step_stays_forced_when_the_draw_agrees() -> None:
    bridge = bridge_of(Script(WORK), ratio=1.0, ticks=3)
    kinds = [bridge.decide(view_of(0), tick=t, proposals=proposals_of(WORK)).kind[0] for t in range(4)]
    assert kinds == [Kind.DECISION, Kind.FORCED, Kind.FORCED, Kind.DECISION]


def test_the_scripts_choices_bind_without_a_policy_too() -> None:
    script = Script(EAT)
    bridge = bridge_of(script, ticks=2)
    bridge.decide(view_of(0), tick=0)
    script.actions = ints(WORK)
    decisions = bridge.decide(view_of(0), tick=1)
    assert (decisions.action[0], decisions.kind[0], decisions.source[0]) == (EAT, Kind.FORCED, Source.SCRIPTED)
    assert bridge.decide(view_of(0), tick=2).action.tolist() == [WORK]


def test_held_says_what_the_decision_will_record() -> None:
    bridge = bridge_of(Script(EAT, WAIT), ticks=3)
    bridge.decide(view_of(0, 1), tick=0)
    for _ in range(2):
        held_action, ticks_left = bridge.held(view_of(0, 1), tick=1)
        assert (held_action.tolist(), ticks_left.tolist()) == ([EAT, -1], [2, 0])
    decisions = bridge.decide(view_of(0, 1), tick=1)
    assert (decisions.held_action.tolist(), decisions.ticks_left.tolist()) == ([EAT, -1], [2, 0])


def test_done_options_end_before_the_draw() -> None:
    script = Script(EAT)
    bridge = bridge_of(script, ticks=9)
    bridge.decide(view_of(0), tick=0)
    script.actions = ints(WORK)
    decisions = bridge.decide(view_of(0, done=(True,)), tick=1)
    assert (decisions.action[0], decisions.kind[0], decisions.held_action[0]) == (WORK, Kind.FOREIGN, -1)
    assert bridge.decide(view_of(0), tick=2).held_action.tolist() == [WORK]


def test_a_forbidden_held_action_ends_before_the_draw() -> None:
    bridge = bridge_of(Script(EAT), ratio=1.0, ticks=9)
    bridge.decide(view_of(0), tick=0, proposals=proposals_of(EAT))
    mask = mask_of((WAIT, WORK))
    decisions = bridge.decide(view_of(0, mask=mask), tick=1, proposals=proposals_of(WORK))
    assert (decisions.action[0], decisions.kind[0], decisions.vetoed[0]) == (WORK, Kind.DECISION, False)
    assert (decisions.held_action[0], decisions.ticks_left[0]) == (-1, 0)


def test_held_at_end_is_for_agents_that_are_gone() -> None:
    bridge = bridge_of(Script(EAT, EAT, EAT), ticks=3)
    bridge.decide(view_of(0, 1, 2), tick=0)
    held_action, ticks_left = bridge.held_at_end(ints(0, 2), bools(True, False), tick=1)
    assert (held_action.tolist(), ticks_left.tolist()) == ([-1, EAT], [0, 2])
    with pytest.raises(ShapeError, match=r"`option_done` must be \(2,\), got \(1,\)"):
        bridge.held_at_end(ints(0, 2), bools(True), tick=1)
    with pytest.raises(ShapeError, match="`slots` must be strictly ascending"):
        bridge.held_at_end(ints(2, 0), bools(True, False), tick=1)


def test_a_veto_replaces_the_action_and_leaves_the_choice_and_its_probabilities() -> None:
    bridge = bridge_of(Script(EAT), Forbid(WORK), ratio=1.0)
    decisions = bridge.decide(view_of(0), tick=0, proposals=proposals_of(WORK))
    assert (decisions.action[0], decisions.chosen_action[0], decisions.kind[0]) == (WAIT, WORK, Kind.DECISION)
    assert (decisions.vetoed[0], decisions.source[0]) == (True, Source.LEARNED)
    assert bridge.veto_reasons[decisions.veto_reason[0] - 1] == "forbidden"
    assert np.exp(decisions.policy_log_prob) == pytest.approx([0.2])


def test_a_vetoed_choice_binds_nobody() -> None:
    bridge = bridge_of(Script(EAT), Forbid(WORK), ratio=1.0, ticks=9)
    bridge.decide(view_of(0), tick=0, proposals=proposals_of(WORK))
    assert bridge.decide(view_of(0), tick=1, proposals=proposals_of(WORK)).kind.tolist() == [Kind.DECISION]


def test_a_veto_of_a_held_action_ends_the_commitment() -> None:
    class ForbidAtTick2(StatelessGuardrail):
        reasons = ("late",)
        tick = 0

        def review(self, view: View, actions: np.ndarray) -> Verdicts:
            vetoed = np.full(len(actions), self.tick == 2)
            return Verdicts(vetoed=vetoed, replacement=np.zeros_like(actions), reason=vetoed.astype(np.int8) * 0)

    guardrail = ForbidAtTick2()
    bridge = bridge_of(Script(EAT), guardrail, ratio=1.0, ticks=9)
    rows = []
    for guardrail.tick in range(4):
        d = bridge.decide(view_of(0), tick=guardrail.tick, proposals=proposals_of(WORK))
        rows.append((d.action[0], d.chosen_action[0], d.kind[0], d.vetoed[0]))
    assert rows == [
        (WORK, WORK, Kind.DECISION, False),
        (WORK, WORK, Kind.FORCED, False),
        (WAIT, WORK, Kind.FORCED, True),
        (WORK, WORK, Kind.DECISION, False),
    ]


def test_the_mask_is_the_first_guardrail_for_everybody() -> None:
    bridge = bridge_of(Script(WORK, EAT), Forbid(EAT))
    bridge.possession.present(ints(0, 1))
    bridge.possession.acquire(0, tick=0)
    ticket = bridge.possession.feed(0, WORK)
    decisions = bridge.decide(view_of(0, 1, mask=mask_of((WAIT, EAT), (WAIT, EAT))), tick=0)
    assert decisions.action.tolist() == [WAIT, WAIT]
    assert decisions.veto_reason.tolist() == [1, 2]
    assert bridge.veto_reasons == ("action_mask", "forbidden")
    assert decisions.demonstrated.tolist() == [False, False]
    assert ticket.end == ("vetoed", 0)


def test_a_possessed_agent_does_what_it_is_fed_once_and_else_waits() -> None:
    bridge = bridge_of(Script(EAT, EAT), ratio=1.0)
    bridge.possession.present(ints(0, 1))
    bridge.possession.acquire(1, tick=0)
    bridge.possession.feed(1, COOK)
    first, second = (
        bridge.decide(view_of(0, 1), tick=tick, proposals=proposals_of(WORK, WORK, values=[1.0, 2.0]))
        for tick in range(2)
    )
    assert (first.action.tolist(), second.action.tolist()) == ([WORK, COOK], [WORK, WAIT])
    assert (first.chosen_action[1], first.kind[1], first.source[1]) == (COOK, Kind.FOREIGN, Source.EXTERNAL)
    assert (first.possessed.tolist(), second.possessed.tolist()) == ([False, True], [False, True])
    assert (first.demonstrated.tolist(), second.demonstrated.tolist()) == ([False, True], [False, False])
    assert (first.expert_action[1], first.value[1]) == (EAT, 2.0)
    assert (first.behavior_log_prob[1], first.policy_log_prob[1]) == (0.0, 0.0)


def test_possession_clears_the_commitment_even_if_it_is_over_at_once() -> None:
    script = Script(EAT)
    bridge = bridge_of(script, ticks=9)
    bridge.decide(view_of(0), tick=0)
    bridge.possession.acquire(0, tick=1)
    bridge.possession.release(0)
    script.actions = ints(WORK)
    decisions = bridge.decide(view_of(0), tick=1)
    assert (decisions.action[0], decisions.held_action[0]) == (WORK, -1)


def test_a_possessors_action_does_not_bind() -> None:
    bridge = bridge_of(Script(EAT), ticks=9)
    bridge.possession.present(ints(0))
    bridge.possession.acquire(0, tick=0)
    bridge.possession.feed(0, WORK)
    bridge.decide(view_of(0), tick=0)
    bridge.possession.release(0)
    assert bridge.decide(view_of(0), tick=1).action.tolist() == [EAT]


def test_who_is_given_back_or_whose_lease_lapses_chooses_freely() -> None:
    # The option that was in force when each was taken over would still bind at the end.
    script = Script(EAT, EAT)
    bridge = bridge_of(script, ticks=9)
    bridge.decide(view_of(0, 1), tick=0)
    bridge.possession.acquire(0, tick=1)
    bridge.possession.acquire(1, tick=1, lease_ticks=1)
    bridge.decide(view_of(0, 1), tick=1)
    bridge.possession.release(0)
    script.actions = ints(WORK, WORK)
    assert bridge.held(view_of(0, 1), tick=2)[0].tolist() == [-1, -1]
    decisions = bridge.decide(view_of(0, 1), tick=2)
    assert (decisions.action.tolist(), decisions.kind.tolist()) == ([WORK, WORK], [Kind.FOREIGN, Kind.FOREIGN])
    assert bridge.held(view_of(0, 1), tick=3)[0].tolist() == [WORK, WORK]


def test_a_tick_that_fails_uses_no_fed_action_up() -> None:
    script = Script(EAT)
    bridge = bridge_of(script)
    bridge.possession.present(ints(0))
    bridge.possession.acquire(0, tick=0, lease_ticks=1)
    bridge.possession.feed(0, COOK)
    script.actions = ints(99)
    with pytest.raises(UnknownActionError):
        bridge.decide(view_of(0), tick=0)
    script.actions = ints(EAT)
    assert bridge.decide(view_of(0), tick=0).action.tolist() == [COOK]


def test_what_a_guardrail_feeds_while_a_decision_is_made_is_for_the_next_one() -> None:
    tickets = []

    class Feeding(Forbid):
        def review(self, view: View, actions: np.ndarray) -> Verdicts:
            if not tickets:
                bridge.possession.acquire(0, tick=0)
                tickets.append(bridge.possession.feed(0, COOK))
            return super().review(view, actions)

    bridge = bridge_of(Script(EAT), Feeding(WORK))
    assert bridge.decide(view_of(0), tick=0).action.tolist() == [EAT]
    assert tickets[0].end is None
    assert bridge.decide(view_of(0), tick=1).action.tolist() == [COOK]
    assert tickets[0].end == ("executed", 1)


def test_the_script_hears_what_was_executed_after_everything_else() -> None:
    events: list[str] = []

    class Telling(Script):
        def propose(self, view: View) -> np.ndarray:
            events.append("propose")
            return super().propose(view)

        def settled(self, view: View, decisions: strategies.DecisionBatch) -> None:
            events.append(f"settled {decisions.action.tolist()}")
            assert sum(bridge.counts().ticks.values()) == 1
            super().settled(view, decisions)

    class Watching(Forbid):
        def review(self, view: View, actions: np.ndarray) -> Verdicts:
            events.append("review")
            return super().review(view, actions)

    script = Telling(EAT)
    bridge = bridge_of(script, Watching(EAT, replacement=NORTH))
    decisions = bridge.decide(view_of(0), tick=0)
    assert events == ["propose", "review", f"settled [{NORTH}]"]
    assert script.told == [decisions]


def test_a_record_does_not_change_when_script_and_policy_reuse_their_arrays() -> None:
    script, values = Script(EAT), np.array([1.0], np.float32)
    bridge = bridge_of(script, ratio=1.0)
    proposals = Proposals(actions=ints(WORK), log_probs=np.full((1, 5), np.log(0.2), np.float32), values=values)
    decisions = bridge.decide(view_of(0), tick=0, proposals=proposals)
    script.actions[:], values[:], proposals.actions[:] = COOK, 9.0, COOK
    assert (decisions.expert_action[0], decisions.value[0], decisions.action[0]) == (EAT, 1.0, WORK)


def test_forgotten_agents_leave_nothing_behind() -> None:
    script = Script(EAT, EAT)
    bridge = bridge_of(script, ticks=9)
    bridge.decide(view_of(0, 1), tick=0)
    bridge.possession.acquire(1, tick=1)
    bridge.forget(ints(1))
    script.actions = ints(WORK, WORK)
    decisions = bridge.decide(view_of(0, 1), tick=1)
    assert decisions.action.tolist() == [EAT, WORK]
    assert decisions.possessed.tolist() == [False, False]
    assert script.forgotten == [[1]]
    with pytest.raises(ShapeError, match=r"in \[0, 16\), got 3 to 16"):
        bridge.forget(ints(3, 16))


def test_reset_is_a_new_beginning_with_the_same_ratio() -> None:
    script = Script(EAT, EAT)
    bridge = bridge_of(script, ratio=0.5, ticks=9, capacity=2)
    bridge.decide(view_of(0, 1), tick=0)
    bridge.possession.acquire(1, tick=1, owner="ann")
    bridge.reset()
    assert bridge.ratio == 0.5
    assert bridge.held(view_of(0, 1), tick=1)[0].tolist() == [-1, -1]
    assert bridge.possession.slots().tolist() == []
    assert sum(bridge.counts().ticks.values()) == 0
    assert script.forgotten == [[0, 1]]


def test_a_bridge_without_room_is_refused() -> None:
    with pytest.raises(ShapeError, match="`capacity` must be at least 1, got 0"):
        BehaviorBridge(VOCABULARY, Script(), capacity=0, config=BridgeConfig(), seed=1)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_of_more_than_64_bits_is_refused(seed: int) -> None:
    with pytest.raises(ConfigError, match=rf"`seed` must be in \[0, 2\^64\), got {seed}"):
        BehaviorBridge(VOCABULARY, Script(), capacity=1, config=BridgeConfig(), seed=seed)


def test_the_coins_of_different_seeds_differ_from_the_first_tick_on() -> None:
    # 16 coins are equal for two seeds with probability 2^-16.
    learned = proposals_of(*[WORK] * 16)
    sources = {
        tuple(
            bridge_of(Script(*[EAT] * 16), ratio=0.5, seed=seed)
            .decide(view_of(*range(16)), tick=0, proposals=learned)
            .source
        )
        for seed in (0, 1, 12345)
    }
    assert len(sources) == 3


@pytest.mark.parametrize("action", [-2, 5])
def test_an_unknown_action_of_the_script_is_named(action: int) -> None:
    with pytest.raises(UnknownActionError, match=rf"slot 7: .* in \[0, 5\) or -1, got {action}"):
        bridge_of(Script(EAT, action)).decide(view_of(2, 7), tick=0)


@pytest.mark.parametrize("actions", [np.zeros(1, np.int64), np.zeros(2, np.int32)])
def test_proposals_of_the_script_in_the_wrong_form_are_refused(actions: np.ndarray) -> None:
    script = Script()
    script.actions = actions
    with pytest.raises(ShapeError, match=r"proposals of the script must be int64 \(2,\), got"):
        bridge_of(script).decide(view_of(2, 7), tick=0)


def test_a_view_or_proposals_that_do_not_fit_are_refused() -> None:
    bridge = bridge_of(Script(EAT))
    with pytest.raises(ShapeError, match="`slots` must be in"):
        bridge.decide(view_of(16), tick=0)
    with pytest.raises(ShapeError, match="`slots` must be in"):
        bridge.held(view_of(16), tick=0)
    with pytest.raises(ShapeError, match="for the 1 agents of the view, got 2"):
        bridge.decide(view_of(0), tick=0, proposals=proposals_of(EAT, EAT))


def test_a_row_without_a_legal_action_is_an_error() -> None:
    with pytest.raises(GuardrailError, match="slot 7: every agent must have a legal action, its mask has none"):
        bridge_of(Script(EAT, EAT)).decide(view_of(2, 7, mask=mask_of((EAT,), ())), tick=0)


def faulty(*rows: int) -> Proposals:
    """Three agents that work; the given rows have a NaN."""
    values = [NAN if row in rows else 1.0 for row in range(3)]
    return proposals_of(WORK, WORK, WORK, values=values)


def test_a_policy_that_fails_stops_the_tick() -> None:
    bridge = bridge_of(Script(EAT, EAT, EAT), ratio=1.0)
    with pytest.raises(
        PolicyError, match=r"tick 9, slot 5: row 1: `values` must be finite, got nan; 1 of 3 agents"
    ) as caught:
        bridge.decide(view_of(2, 5, 8), tick=9, proposals=faulty(1))
    assert (caught.value.tick, caught.value.slot) == (9, 5)


def test_logits_in_place_of_log_probabilities_stop_the_tick() -> None:
    logits = Proposals(actions=ints(WORK, WORK), log_probs=np.ones((2, 5), np.float32), values=np.zeros(2, np.float32))
    # log(5 e) = 1 + log 5 = 2.609
    with pytest.raises(PolicyError, match=r"tick 0, slot 2: row 0: normalise `log_probs`: .* of 0, got 2\.609"):
        bridge_of(Script(EAT, EAT), ratio=1.0).decide(view_of(2, 5), tick=0, proposals=logits)


def test_a_nan_at_a_legal_place_is_a_failure_at_an_illegal_one_not() -> None:
    bridge = bridge_of(Script(EAT), ratio=1.0)
    proposals = proposals_of(EAT, probs=[[0.5, 0.0, 0.5, 0.0, 0.0]])
    decisions = bridge.decide(view_of(0, mask=mask_of((WAIT, EAT))), tick=0, proposals=proposals)
    assert np.exp(decisions.policy_log_prob) == pytest.approx([0.5])
    with pytest.raises(PolicyError, match="tick 1, slot 0"):
        bridge.decide(view_of(0), tick=1, proposals=proposals)


def test_the_scripts_illegal_proposal_has_a_finite_probability_of_nothing() -> None:
    # The script's WORK is illegal, the policy gives it no probability at all: log π is the floor, μ = 1 - β.
    bridge = bridge_of(Script(WORK), ratio=0.5)
    tick = next(tick for tick in range(99) if draw(0, tick=tick) >= 0.5)
    proposals = proposals_of(EAT, probs=[[0.5, 0.0, 0.5, 0.0, 0.0]])
    decisions = bridge.decide(view_of(0, mask=mask_of((WAIT, EAT))), tick=tick, proposals=proposals)
    assert (decisions.chosen_action[0], decisions.action[0], decisions.vetoed[0]) == (WORK, WAIT, True)
    assert decisions.policy_log_prob.tolist() == [np.finfo(np.float32).min]
    assert np.exp(decisions.behavior_log_prob) == pytest.approx([0.5])


def test_the_script_can_stand_in_for_a_policy_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    config = BridgeConfig(ratio=1.0, on_policy_error="script")
    bridge = BehaviorBridge(VOCABULARY, Script(EAT, EAT, EAT), capacity=9, config=config, seed=1)
    with caplog.at_level(logging.WARNING, logger="townlet_behavior"):
        decisions = bridge.decide(view_of(2, 5, 8), tick=9, proposals=faulty(1, 2))
    assert decisions.action.tolist() == [WORK, EAT, EAT]
    assert decisions.kind.tolist() == [Kind.DECISION, Kind.FOREIGN, Kind.FOREIGN]
    assert decisions.value.tolist() == [1.0, 0.0, 0.0]
    assert bridge.counts().policy_errors == 2
    (message,) = caplog.messages
    assert "tick 9, slot 5" in message
    assert "2 of 3 agents" in message


@given(
    st.integers(0, 2**32), st.sets(st.integers(0, 15), min_size=1), st.integers(0, 15), strategies.ratios, st.booleans()
)
def test_what_an_agent_does_is_independent_of_who_else_is_there(
    seed: int, others: set[int], slot: int, ratio: float, masked: bool
) -> None:
    slots = sorted(others | {slot})
    row = slots.index(slot)
    rng = np.random.default_rng(seed)
    mask = rng.random((len(slots), 5)) < 0.6
    mask[:, WAIT] = True
    proposals = random_proposals(seed, mask, greedy=False, known=True, opinion=False)
    alone = Proposals(
        actions=proposals.actions[[row]],
        log_probs=None if proposals.log_probs is None else proposals.log_probs[[row]],
        values=proposals.values[[row]],
    )
    script = rng.integers(-1, 5, len(slots))
    crowd, single = (bridge_of(Script(*actions), ratio=ratio, ticks=3) for actions in (script, script[[row]]))
    for tick in range(4):
        together = crowd.decide(view_of(*slots, mask=mask), tick=tick, proposals=proposals).columns()
        by_itself = single.decide(view_of(slot, mask=mask[[row]]), tick=tick, proposals=alone).columns()
        assert {name: column[row] for name, column in together.items()} == {
            name: column[0] for name, column in by_itself.items()
        }


@given(strategies.seeds, strategies.ratios, strategies.ratios, st.integers(0, 1000))
def test_raising_the_ratio_never_turns_learned_into_scripted(seed: int, one: float, two: float, tick: int) -> None:
    low, high = (
        bridge_of(Script(*[EAT] * 9), ratio=ratio, seed=seed).decide(
            view_of(*range(9)), tick=tick, proposals=proposals_of(*[WORK] * 9)
        )
        for ratio in sorted((one, two))
    )
    assert np.all(low.source <= high.source)


def test_actions_are_as_frequent_as_the_record_says() -> None:
    # 100,000 decisions of agents in one and the same state; 18.467 is the 99.9 % point of chi-square with 4 degrees of
    # freedom. The frequencies expected are exp(behavior_log_prob), as recorded with each action.
    size, ticks, pi = 1000, 100, np.array([0.1, 0.2, 0.3, 0.25, 0.15])
    bridge = bridge_of(Script(*[EAT] * size), ratio=0.4, capacity=size, seed=5)
    view = view_of(*range(size))
    log_probs = np.tile(np.log(pi).astype(np.float32), (size, 1))
    counts, probabilities = np.zeros(5), np.full(5, np.nan)
    for tick in range(ticks):
        sampled = np.searchsorted(np.cumsum(pi), uniforms(5, Purpose.POLICY, view.keys, tick), side="right")
        proposals = Proposals(actions=sampled, log_probs=log_probs, values=np.zeros(size, np.float32))
        decisions = bridge.decide(view, tick=tick, proposals=proposals)
        counts += np.bincount(decisions.chosen_action, minlength=5)
        probabilities[decisions.chosen_action] = np.exp(decisions.behavior_log_prob)
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-6)
    expected = probabilities * size * ticks
    assert np.sum((counts - expected) ** 2 / expected) < 18.467


class Recalling(PlainView, ArgumentsView):
    """A view that remembers what it was told of the choices."""

    def choices_made(self, drawn: Choices, chosen: Choices) -> None:
        self.told.append((drawn.action.tolist(), chosen.action.tolist(), chosen.source.tolist(), chosen.kind.tolist()))


def test_a_view_with_arguments_hears_what_was_drawn_and_chosen_before_guardrails_judge() -> None:
    told: list[tuple[list[int], ...]] = []

    class Last(Forbid):
        def review(self, view: View, actions: NDArray[np.int64]) -> Verdicts:
            told.append(("reviewed",))
            return super().review(view, actions)

    view = Recalling(**vars(view_of(0, 1, 2)))
    object.__setattr__(view, "told", told)
    script = Script(EAT, EAT, EAT)
    bridge = bridge_of(script, Last(COOK), ticks=5)
    bridge.decide(view, tick=0)
    script.actions = ints(NORTH, NORTH, NORTH)
    bridge.possession.acquire(1, tick=1)
    bridge.possession.feed(1, COOK)
    bridge.forget(ints(2))
    told.clear()
    bridge.decide(view, tick=1)
    scripted, external = int(Source.SCRIPTED), int(Source.EXTERNAL)
    forced, foreign = int(Kind.FORCED), int(Kind.FOREIGN)
    drawn, chosen = [NORTH, NORTH, NORTH], [EAT, COOK, NORTH]
    sources, kinds = [scripted, external, scripted], [forced, foreign, foreign]
    assert told == [(drawn, chosen, sources, kinds), ("reviewed",)]


def test_another_seed_draws_other_coins_from_the_next_decision_on() -> None:
    one, other = bridge_of(Script(*[EAT] * 16), ratio=0.5, seed=1), bridge_of(Script(*[EAT] * 16), ratio=0.5, seed=2)

    def coins(bridge: BehaviorBridge, tick: int) -> list[int]:
        return bridge.decide(view_of(*range(16)), tick=tick, proposals=proposals_of(*[WORK] * 16)).source.tolist()

    assert coins(one, 0) != coins(other, 0)
    one.seed = 2
    assert one.seed == 2
    assert coins(one, 1) == coins(other, 1)
    with pytest.raises(ConfigError, match="`seed` must be in"):
        one.seed = -1


def test_ticks_do_not_go_back() -> None:
    bridge = BehaviorBridge(VOCABULARY, IdleController(wait=WAIT), capacity=2, config=BridgeConfig(), seed=1)
    view = plain_view(["ann"])
    bridge.decide(view, tick=5)
    state = bridge.save_state()
    with pytest.raises(ConfigError, match="ticks must not go back, because draws depend on them, got 4 after 5"):
        bridge.decide(view, tick=4)
    bridge.reset()
    with pytest.raises(ConfigError, match="got 4 after 5"):
        bridge.held(view, tick=4)
    bridge.restore(state)  # a bridge that is brought back may be at any tick
    bridge.decide(view, tick=3)


class Silent(StatelessController):
    """Says what `NoProposals` says, but is asked at every tick."""

    def __init__(self, actions: ActionSpec) -> None:
        self._form = form_of(actions)

    def propose(self, view: View) -> Any:
        return self._form.empty(len(view.slots))


@given(
    st.sampled_from(["index", "parts", "numbers"]),
    st.integers(0, 2**31),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0, 3]),
)
def test_a_policy_alone_is_decided_for_as_in_a_blend(
    kind: str, seed: int, greedy: bool, known: bool, masked: bool, ticks: int
) -> None:
    # One bridge knows that there is no script and that the ratio is 1. The other asks, and has a ratio for each agent.
    actions: ActionSpec = {"index": VOCABULARY, "parts": PARTS, "numbers": BOX}[kind]
    config = BridgeConfig(ratio=1.0, commitment=CommitmentConfig(ticks=ticks if kind == "index" else 0))
    short, long = (
        BehaviorBridge(actions, script, capacity=8, config=config, seed=seed)
        for script in (NoProposals(actions), Silent(actions))
    )
    long.difficulty.set(np.arange(8), ratio=1.0)
    rng = np.random.default_rng(seed)
    for tick in range(12):
        slots = np.flatnonzero(rng.random(8) < 0.8)
        legal = np.ones((len(slots), sum(sizes_of(actions)) if kind != "numbers" else 0), np.bool_)
        if masked and kind == "index":
            legal = rng.random(legal.shape) < 0.5
            legal[:, WAIT] = True
        view = PlainView(
            slots=slots,
            keys=slots.astype(np.uint64),
            action_mask=legal if masked and kind == "index" else None,
            option_done=rng.random(len(slots)) < 0.1,
        )
        drawn, given_by = int(rng.integers(2**32)), {"greedy": greedy, "known": known, "opinion": False}
        if kind == "numbers":
            proposals = random_numbers(drawn, len(slots), **given_by)
        else:
            proposals = (random_proposals if kind == "index" else random_parts)(drawn, legal, **given_by)
        ours, theirs = (bridge.decide(view, tick=tick, proposals=proposals).columns() for bridge in (short, long))
        for name, column in ours.items():
            assert (column.dtype, column.tobytes()) == (theirs[name].dtype, theirs[name].tobytes()), name
        kept = ours["action"].copy()
        proposals.actions[:] = 0  # the policy may use its arrays again
        assert ours["action"].tobytes() == kept.tobytes()
    assert short.counts() == long.counts()
