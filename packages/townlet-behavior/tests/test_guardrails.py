import numpy as np
import pytest
from numpy.typing import NDArray
from strategies import (
    COOK,
    EAT,
    NORTH,
    NUM_ACTIONS,
    WAIT,
    WORK,
    Forbid,
    Script,
    bools,
    bridge_of,
    ints,
    mask_of,
    view_of,
)

from townlet_behavior import ActionMaskGuardrail, DecisionBatch, GuardrailError, StatelessGuardrail, Verdicts, View
from townlet_behavior.guardrails import GuardrailChain


class Fixed(StatelessGuardrail):
    """Gives the verdicts of the test."""

    reasons = ("first", "second")

    def __init__(self, vetoed: NDArray[np.bool_], replacement: NDArray[np.int64], reason: list[int]) -> None:
        self._verdicts = Verdicts(vetoed=vetoed, replacement=replacement, reason=np.array(reason, np.int8))
        self.asked: list[list[int]] = []

    def review(self, view: View, actions: NDArray[np.int64]) -> Verdicts:
        self.asked.append(actions.tolist())
        return self._verdicts


def chain_of(*guardrails: Fixed | Forbid) -> GuardrailChain:
    return GuardrailChain(guardrails, wait=WAIT, num_actions=NUM_ACTIONS)


def test_the_mask_vetoes_what_it_forbids_and_lets_the_agent_wait() -> None:
    view = view_of(0, 1, mask=mask_of((WAIT, EAT), (WAIT, COOK)))
    verdicts = ActionMaskGuardrail(wait=WAIT).review(view, ints(EAT, EAT))
    assert verdicts.vetoed.tolist() == [False, True]
    assert verdicts.replacement[1] == WAIT


def test_where_waiting_is_forbidden_too_the_first_legal_action_is_taken() -> None:
    view = view_of(0, mask=mask_of((COOK, WORK)))
    assert ActionMaskGuardrail(wait=WAIT).review(view, ints(EAT)).replacement.tolist() == [COOK]


def test_without_a_mask_everything_is_legal() -> None:
    assert ActionMaskGuardrail(wait=WAIT).review(view_of(0, 1), ints(EAT, COOK)).vetoed.tolist() == [False, False]


def test_an_agent_without_a_legal_action_is_an_error() -> None:
    view = view_of(2, 7, mask=mask_of((WAIT,), ()))
    with pytest.raises(GuardrailError, match="must have a legal action, the mask of slot 7 has none"):
        ActionMaskGuardrail(wait=WAIT).review(view, ints(WAIT, EAT))


def test_a_chain_without_guardrails_lets_everything_through() -> None:
    reviewed = chain_of().review(view_of(0, 1), ints(EAT, WORK))
    assert (reviewed.action.tolist(), reviewed.vetoed.tolist(), reviewed.reason.tolist()) == (
        [EAT, WORK],
        [False, False],
        [0, 0],
    )


def test_reasons_are_numbered_through_and_the_first_objection_counts() -> None:
    # Row 0: the mask forbids EAT, then `Fixed` forbids waiting too. Row 1: `Fixed` alone. Row 2: nobody objects.
    fixed = Fixed(bools(True, True, False), ints(NORTH, COOK, -5), [1, 1, 99])
    chain = chain_of(fixed, Forbid(WORK, reason="last"))
    mask = mask_of((WAIT, NORTH), (EAT, COOK), (EAT,))
    reviewed = chain.review(view_of(0, 1, 2, mask=mask), ints(EAT, EAT, EAT))
    assert chain.reasons == ("action_mask", "first", "second", "last")
    assert fixed.asked == [[WAIT, EAT, EAT]]
    assert reviewed.action.tolist() == [NORTH, COOK, EAT]
    assert reviewed.vetoed.tolist() == [True, True, False]
    assert reviewed.reason.tolist() == [1, 3, 0]
    assert reviewed.reason.dtype == np.int8


def test_each_guardrail_judges_what_the_one_before_let_through() -> None:
    reviewed = chain_of(Forbid(EAT, replacement=WORK, reason="a"), Forbid(WORK, reason="b")).review(
        view_of(0, 1), ints(EAT, WORK)
    )
    assert (reviewed.action.tolist(), reviewed.reason.tolist()) == ([WAIT, WAIT], [2, 3])


def test_reasons_of_the_same_name_are_refused() -> None:
    with pytest.raises(GuardrailError, match="names of veto reasons must be unique"):
        chain_of(Forbid(EAT, reason="same"), Forbid(COOK, reason="same"))
    with pytest.raises(GuardrailError, match="names of veto reasons must be unique"):
        chain_of(Forbid(EAT, reason="action_mask"))


@pytest.mark.parametrize(
    ("replacement", "reason", "message"),
    [
        (-1, 0, r"Fixed must replace by actions in \[0, 5\), got \[-1\]"),
        (5, 0, r"Fixed must replace by actions in \[0, 5\), got \[5\]"),
        (WAIT, -1, r"Fixed must give reasons in \[0, 2\), got \[-1\]"),
        (WAIT, 2, r"Fixed must give reasons in \[0, 2\), got \[2\]"),
        (COOK, 0, "Fixed must replace by legal actions, got 3 for slot 6, which the mask forbids"),
    ],
)
def test_a_veto_that_cannot_be_carried_out_is_an_error(replacement: int, reason: int, message: str) -> None:
    fixed = Fixed(bools(False, True), ints(WAIT, replacement), [0, reason])
    view = view_of(2, 6, mask=mask_of((WAIT, EAT), (WAIT, EAT)))
    with pytest.raises(GuardrailError, match=message):
        chain_of(fixed).review(view, ints(EAT, EAT))


def test_verdicts_for_another_view_are_an_error() -> None:
    with pytest.raises(GuardrailError, match="Fixed must judge the 2 agents of the view, got 1 verdicts"):
        chain_of(Fixed(bools(True), ints(0), [0])).review(view_of(2, 6), ints(EAT, EAT))


@pytest.mark.parametrize(
    ("vetoed", "replacement", "reason", "message"),
    [
        (ints(1, 0), ints(0, 0), np.zeros(2, np.int8), r"`vetoed` must be bool \[N\], got int64 \(2,\)"),
        (bools(True, False), ints(0), np.zeros(2, np.int8), r"`replacement` must be int64 \(2,\), got int64 \(1,\)"),
        (bools(True, False), ints(0, 0), np.zeros(2), r"`reason` must be int8 \(2,\), got float64 \(2,\)"),
    ],
)
def test_verdicts_of_the_wrong_form_are_refused(
    vetoed: np.ndarray, replacement: np.ndarray, reason: np.ndarray, message: str
) -> None:
    with pytest.raises(GuardrailError, match=message):
        Verdicts(vetoed=vetoed, replacement=replacement, reason=reason)


class Remembering(Forbid):
    """Remembers what it was told."""

    def __init__(self, action: int, *, reason: str) -> None:
        super().__init__(action, reason=reason)
        self.told: list[DecisionBatch] = []

    def settled(self, view: View, decisions: DecisionBatch) -> None:
        self.told.append(decisions)


def test_every_guardrail_hears_of_ticks_with_a_veto_and_of_no_other() -> None:
    one, other = Remembering(EAT, reason="a"), Remembering(COOK, reason="b")
    script = Script(EAT, WORK)
    bridge = bridge_of(script, one, other)
    decisions = bridge.decide(view_of(0, 1), tick=0)
    script.actions = ints(WORK, NORTH)
    bridge.decide(view_of(0, 1), tick=1)
    assert len(one.told) == len(other.told) == 1
    assert one.told[0] is other.told[0] is decisions
    assert decisions.action.tolist() == [WAIT, WORK]


def test_a_veto_of_the_mask_is_told_too() -> None:
    guardrail = Remembering(EAT, reason="a")
    bridge_of(Script(COOK), guardrail).decide(view_of(0, mask=mask_of((WAIT, EAT))), tick=0)
    assert [decisions.veto_reason.tolist() for decisions in guardrail.told] == [[1]]
