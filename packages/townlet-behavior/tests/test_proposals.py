import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from strategies import (
    BOX,
    COOK,
    EAT,
    NUM_ACTIONS,
    PARTS,
    WAIT,
    WORK,
    bools,
    ints,
    mask_of,
    proposals_of,
    random_proposals,
    view_of,
)

from townlet_behavior import MultiDiscrete, Proposals, ShapeError
from townlet_behavior.forms import ActionForm, IndexForm, form_of
from townlet_behavior.proposals import find_faults, is_sound, without_rows

NAN, INF = float("nan"), float("inf")
FLOOR = float(np.finfo(np.float32).min)


def sound(proposals: Proposals, *, num_actions: int) -> bool:
    return is_sound(proposals, view_of(*range(len(proposals.actions))), IndexForm(num_actions))


def with_log_probs(*rows: list[float], values: list[float] | None = None) -> Proposals:
    return Proposals(
        actions=np.zeros(len(rows), np.int64),
        log_probs=np.array(rows, np.float32),
        values=np.array([0.0] * len(rows) if values is None else values, np.float32),
    )


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("actions", np.zeros(2, np.int32), r"`actions` must be int64 \[N\], .*, got int32 \(2,\)"),
        ("actions", np.zeros((2, 1), np.int32), r"`actions` must be int64 \[N\], .*, got int32 \(2, 1\)"),
        ("actions", np.zeros((2, 1, 1), np.int64), r"`actions` must be int64 \[N\], .*, got int64 \(2, 1, 1\)"),
        ("values", np.zeros(3, np.float32), r"`values` must be float32 \(2,\), got float32 \(3,\)"),
        ("values", np.zeros(2), r"`values` must be float32 \(2,\), got float64 \(2,\)"),
        ("log_probs", np.zeros((3, 5), np.float32), r"`log_probs` must be float32 \(2, A\), got float32 \(3, 5\)"),
        ("log_probs", np.zeros(2, np.float32), r"`log_probs` must be float32 \(2, A\), got float32 \(2,\)"),
        ("log_probs", np.zeros((2, 5)), r"`log_probs` must be float32 \(2, A\), got float64 \(2, 5\)"),
        ("opinion", bools(True), r"`opinion` must be bool \(2,\), got bool \(1,\)"),
        ("opinion", ints(1, 1), r"`opinion` must be bool \(2,\), got int64 \(2,\)"),
    ],
)
def test_fields_of_the_wrong_form_are_refused(field: str, value: np.ndarray, message: str) -> None:
    fields = vars(proposals_of(WAIT, EAT)) | {field: value}
    with pytest.raises(ShapeError, match=message):
        Proposals(**fields)


def test_proposals_must_be_for_the_view_and_the_vocabulary() -> None:
    proposals = proposals_of(WAIT, EAT)
    is_sound(proposals, view_of(0, 1), IndexForm(NUM_ACTIONS))
    with pytest.raises(ShapeError, match="for the 3 agents of the view, got 2"):
        is_sound(proposals, view_of(0, 1, 2), IndexForm(NUM_ACTIONS))
    with pytest.raises(ShapeError, match="a column for each of 4 actions, got 5"):
        is_sound(proposals, view_of(0, 1), IndexForm(4))


def test_what_is_finite_and_in_range_is_sound() -> None:
    assert sound(proposals_of(WAIT, WORK), num_actions=NUM_ACTIONS)


@pytest.mark.parametrize("action", [-1, NUM_ACTIONS])
def test_an_unknown_action_is_a_fault(action: int) -> None:
    proposals = proposals_of(WAIT, action)
    assert not sound(proposals, num_actions=NUM_ACTIONS)
    assert find_faults(proposals, view_of(0, 1), IndexForm(NUM_ACTIONS))[0].tolist() == [False, True]


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_value_that_is_not_finite_is_a_fault_even_without_an_opinion(value: float) -> None:
    proposals = proposals_of(WAIT, WAIT, values=[value, 0.0], opinion=(False, True))
    assert not sound(proposals, num_actions=NUM_ACTIONS)
    assert find_faults(proposals, view_of(0, 1), IndexForm(NUM_ACTIONS))[0].tolist() == [True, False]


@pytest.mark.parametrize("log_prob", [NAN, INF, -INF])
def test_log_probs_matter_at_legal_places_only(log_prob: float) -> None:
    proposals = with_log_probs([0.0, log_prob], [0.0, log_prob])
    view = view_of(0, 1, mask=np.array([[True, False], [True, True]]))
    assert not sound(proposals, num_actions=2)
    assert find_faults(proposals, view, IndexForm(2))[0].tolist() == [False, True]
    assert find_faults(proposals, view_of(0, 1), IndexForm(2))[0].tolist() == [True, True]


@pytest.mark.parametrize(
    ("row", "total"),
    [
        ([0.0, 0.0], "0.693"),  # log 2
        ([3.0, -1.0], "3.018"),  # log(e^3 + e^-1)
        ([300.0, 0.0], "300.0"),  # beyond what exp can say in float32
        ([-2.0, -2.0], "-1.306"),  # log 2 - 2
        ([FLOOR, FLOOR], "-3.4"),
        ([math.log(0.6) + 2e-4, math.log(0.4) + 2e-4], "0.0002"),
    ],
)
def test_logits_are_a_fault(row: list[float], total: str) -> None:
    # A logsumexp of 0.5 too much multiplies every probability by 1.65: μ and the weights π/μ are then wrong.
    proposals = with_log_probs([math.log(0.6), math.log(0.4)], row)
    assert not sound(proposals, num_actions=2)
    faulty, problem = find_faults(proposals, view_of(0, 1), IndexForm(2))
    assert faulty.tolist() == [False, True]
    assert problem.startswith(
        "row 1: normalise `log_probs`: logsumexp of a row must be within 0.0001 of 0, got " + total
    )


def test_rounding_is_no_fault() -> None:
    assert sound(with_log_probs([math.log(0.6) + 5e-5, math.log(0.4) + 5e-5]), num_actions=2)
    assert sound(with_log_probs([0.0, FLOOR]), num_actions=2)


@given(
    npst.arrays(np.float32, (3, 6), elements=st.floats(-1e4, 1e4, width=32)),
    npst.arrays(np.bool_, (3, 6)),
    st.floats(-5.0, 5.0),
)
def test_a_softmax_is_sound_and_its_shift_is_not(logits: np.ndarray, mask: np.ndarray, shift: float) -> None:
    mask[:, 0] = True
    masked = np.where(mask, logits, FLOOR).astype(np.float64)
    log_probs = np.maximum(masked - np.logaddexp.reduce(masked, axis=1)[:, None], FLOOR).astype(np.float32)
    proposals = with_log_probs(*log_probs.tolist())
    assert sound(proposals, num_actions=6)
    assert find_faults(proposals, view_of(0, 1, 2, mask=mask), IndexForm(6))[1] == ""
    shifted = with_log_probs(*np.where(mask, log_probs + np.float32(shift), FLOOR).tolist())
    if not 5e-5 <= abs(shift) <= 2e-4:  # in between rounding decides
        wrong = abs(shift) > 2e-4
        assert sound(shifted, num_actions=6) != wrong
        assert find_faults(shifted, view_of(0, 1, 2, mask=mask), IndexForm(6))[0].tolist() == [wrong] * 3


def test_actions_and_log_probs_without_an_opinion_are_not_read() -> None:
    proposals = proposals_of(-1, WAIT, probs=[[0.0] * 5, [0.2] * 5], opinion=(False, True))
    assert find_faults(proposals, view_of(0, 1), IndexForm(NUM_ACTIONS))[0].tolist() == [False, False]


def test_unknown_probabilities_are_no_fault() -> None:
    proposals = Proposals(actions=ints(EAT), log_probs=None, values=np.zeros(1, np.float32))
    assert sound(proposals, num_actions=NUM_ACTIONS)
    assert find_faults(proposals, view_of(0), IndexForm(NUM_ACTIONS))[0].tolist() == [False]
    assert without_rows(proposals, bools(True)).log_probs is None


def test_dropped_rows_have_no_opinion_and_nothing_that_could_do_harm() -> None:
    proposals = with_log_probs([NAN, -1.0], [-INF, -1.0], [-2.0, -1.0], values=[NAN, 1.0, 2.0])
    safe = without_rows(proposals, bools(True, False, False))
    assert safe.opinion is not None
    assert safe.log_probs is not None
    assert safe.opinion.tolist() == [False, True, True]
    assert safe.values.tolist() == [0.0, 1.0, 2.0]
    assert safe.values.dtype == np.float32
    assert safe.log_probs.tolist() == [[FLOOR, -1.0], [FLOOR, -1.0], [-2.0, -1.0]]
    assert safe.log_probs.dtype == np.float32


def test_dropping_keeps_the_opinions_there_were() -> None:
    proposals = proposals_of(99, COOK, EAT, opinion=(False, True, True))
    safe = without_rows(proposals, bools(False, False, True))
    assert safe.opinion is not None
    assert (safe.opinion.tolist(), safe.actions.tolist()) == ([False, True, False], [0, COOK, 0])


def test_a_masked_view_of_a_sound_policy_has_no_faults() -> None:
    view = view_of(0, mask=mask_of((WAIT, EAT)))
    proposals = proposals_of(EAT, probs=[[0.5, 0.0, 0.5, 0.0, 0.0]])
    assert find_faults(proposals, view, IndexForm(NUM_ACTIONS))[0].tolist() == [False]


@pytest.mark.parametrize("faulty", [NAN, INF, -INF])
@pytest.mark.parametrize("column", ["values", "log_probs"])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_one_number_that_is_not_finite_is_found_among_many_without_a_warning(column: str, faulty: float) -> None:
    arrays = {"values": np.zeros(9, np.float32), "log_probs": np.log(np.full((9, 4), 0.25, np.float32))}
    arrays[column].reshape(-1)[5] = faulty
    assert not sound(Proposals(actions=np.zeros(9, np.int64), **arrays), num_actions=4)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_infinities_of_both_signs_do_not_cancel_out() -> None:
    values = np.array([INF, -INF], np.float32)
    assert not sound(Proposals(actions=np.zeros(2, np.int64), log_probs=None, values=values), num_actions=4)


def test_without_values_everything_else_is_held_to_the_same_rules() -> None:
    proposals = Proposals(actions=ints(WAIT, EAT), log_probs=None, values=None)
    assert sound(proposals, num_actions=NUM_ACTIONS)
    faulty, _ = find_faults(proposals, view_of(0, 1), IndexForm(NUM_ACTIONS))
    assert not faulty.any()
    dropped = without_rows(proposals, bools(True, False))
    assert dropped.values is None and dropped.opinion is not None and dropped.opinion.tolist() == [False, True]
    raving = Proposals(actions=ints(0, 0), log_probs=np.full((2, NUM_ACTIONS), NAN, np.float32), values=None)
    assert not sound(raving, num_actions=NUM_ACTIONS)
    faulty, what = find_faults(raving, view_of(0, 1), IndexForm(NUM_ACTIONS))
    assert faulty.all() and "`log_probs` of legal actions must be finite" in what


HANDS = MultiDiscrete(parts={"move": ("stay", "north", "south"), "hand": ("open", "closed")})
TWO, NUMBERS = form_of(HANDS), form_of(BOX)
EVEN = [1 / 3, 1 / 3, 1 / 3, 0.5, 0.5]


def of_parts(*actions: tuple[int, int], probs: list[list[float]] | None = None) -> Proposals:
    with np.errstate(divide="ignore"):
        log_probs = np.log([EVEN] * len(actions) if probs is None else probs).astype(np.float32)
    return Proposals(
        actions=np.array(actions, np.int64), log_probs=log_probs, values=np.zeros(len(actions), np.float32)
    )


def of_numbers(*actions: tuple[float, float], drawn: list[float], opinion: tuple[bool, ...] | None = None) -> Proposals:
    return Proposals(
        actions=np.array(actions, np.float32),
        log_probs=None,
        values=None,
        drawn_log_probs=np.array(drawn, np.float32),
        opinion=None if opinion is None else bools(*opinion),
    )


def test_indices_of_parts_must_exist() -> None:
    proposals = of_parts((2, 1), (3, 1), (0, -1))
    assert is_sound(of_parts((2, 1)), view_of(0), TWO)
    assert not is_sound(proposals, view_of(0, 1, 2), TWO)
    faulty, problem = find_faults(proposals, view_of(0, 1, 2), TWO)
    assert faulty.tolist() == [False, True, True]
    assert problem == "row 1: `actions` must be in [0, 3) × [0, 2), got [3 1]"


def test_every_part_must_be_normalised_by_itself() -> None:
    # The columns of row 1 add up to 2 as those of row 0 do, but those of neither part to 1.
    proposals = of_parts((0, 0), (0, 0), probs=[EVEN, [0.5, 0.5, 0.5, 0.25, 0.25]])
    assert not is_sound(proposals, view_of(0, 1), TWO)
    faulty, problem = find_faults(proposals, view_of(0, 1), TWO)
    assert faulty.tolist() == [False, True]
    assert "normalise `log_probs`" in problem


def test_what_a_part_forbids_is_not_read() -> None:
    proposals = of_parts((0, 0), probs=[[0.5, 0.5, 0.0, 0.0, 1.0]])
    mask = np.array([[True, True, False, False, True]])
    assert find_faults(proposals, view_of(0, mask=mask), TWO)[0].tolist() == [False]
    assert find_faults(proposals, view_of(0), TWO)[0].tolist() == [True]


def test_numbers_must_be_finite_with_a_finite_density() -> None:
    proposals = of_numbers((-9.0, 9.0), (NAN, 1.0), (0.0, 1.0), (INF, 1.0), drawn=[2.0, 0.0, -INF, 0.0])
    assert is_sound(of_numbers((-9.0, 9.0), drawn=[2.0]), view_of(0), NUMBERS)
    assert not is_sound(of_numbers((0.0, 9.0), drawn=[NAN]), view_of(0), NUMBERS)
    assert not is_sound(proposals, view_of(0, 1, 2, 3), NUMBERS)
    faulty, problem = find_faults(proposals, view_of(0, 1, 2, 3), NUMBERS)
    assert faulty.tolist() == [False, True, True, True]
    assert problem == "row 1: `actions` must be finite, got [nan  1.]"
    safe = without_rows(proposals, faulty)
    assert safe.opinion is not None and safe.drawn_log_probs is not None
    assert (safe.opinion.tolist(), safe.drawn_log_probs.tolist()) == ([True, False, False, False], [2.0, 0.0, 0.0, 0.0])
    assert safe.actions.tolist() == [[-9.0, 9.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    assert safe.actions.dtype == safe.drawn_log_probs.dtype == np.float32


def test_numbers_without_an_opinion_are_not_read() -> None:
    proposals = of_numbers((NAN, NAN), (0.0, 1.0), drawn=[NAN, 1.0], opinion=(False, True))
    assert find_faults(proposals, view_of(0, 1), NUMBERS)[0].tolist() == [False, False]


@pytest.mark.parametrize(
    ("proposals", "form", "message"),
    [
        (proposals_of(WAIT), TWO, r"`actions` must be int64 \(1, 2\), got int64 \(1,\)"),
        (of_parts((0, 0)), IndexForm(5), r"`actions` must be int64 \(1,\), got int64 \(1, 2\)"),
        (of_parts((0, 0)), NUMBERS, r"`actions` must be float32 \(1, 2\), got int64 \(1, 2\)"),
        (of_parts((0, 0)), form_of(PARTS), r"`actions` must be int64 \(1, 3\), got int64 \(1, 2\)"),
        (of_parts((0, 0), probs=[[0.5, 0.5, 0.5, 0.5]]), TWO, "a column for each of 5 actions, got 4"),
    ],
)
def test_proposals_must_be_of_the_form_of_the_actions(proposals: Proposals, form: ActionForm, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        is_sound(proposals, view_of(0), form)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (
            "log_probs",
            np.zeros((1, 2), np.float32),
            "`log_probs` and `temperatures` must be None where",
        ),
        ("temperatures", np.ones(1, np.float32), "`log_probs` and `temperatures` must be None where"),
        ("drawn_log_probs", np.zeros(1), r"`drawn_log_probs` must be float32 \(1,\), got float64 \(1,\)"),
        ("drawn_log_probs", np.zeros((1, 2), np.float32), r"must be float32 \(1,\), got float32 \(1, 2\)"),
        ("actions", np.zeros((1, 2), np.int64), "`drawn_log_probs` must be None where `actions` are indices"),
    ],
)
def test_fields_of_numbers_of_the_wrong_form_are_refused(field: str, value: np.ndarray, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        Proposals(**(vars(of_numbers((0.0, 1.0), drawn=[0.0])) | {field: value}))


def test_proposals_say_whether_they_have_probabilities() -> None:
    assert proposals_of(WAIT).has_probabilities
    assert of_numbers((0.0, 1.0), drawn=[0.0]).has_probabilities
    assert not Proposals(actions=ints(WAIT), log_probs=None, values=None).has_probabilities


@given(st.integers(0, 2**32 - 1), st.floats(-4e-4, 4e-4), st.sampled_from([0.0, 2.0, 100.0, -np.inf, np.inf, np.nan]))
def test_the_quick_question_has_the_answer_of_the_slow_one(seed: int, shift: float, odd: float) -> None:
    proposals = random_proposals(seed, np.ones((4, NUM_ACTIONS), np.bool_), greedy=False, known=True, opinion=False)
    assert proposals.log_probs is not None
    log_probs = proposals.log_probs.copy()
    log_probs[1] += np.float32(shift)
    log_probs[2, 3] = odd if odd else log_probs[2, 3]
    changed, view, form = replace(proposals, log_probs=log_probs), view_of(*range(4)), IndexForm(NUM_ACTIONS)
    with np.errstate(over="ignore", invalid="ignore"):
        totals = np.log(np.exp(log_probs.astype(np.float64)).sum(axis=1))
    edge = np.abs(np.abs(totals) - 1e-4) < 1e-6  # where float32 and 1 + x for e^x decide
    if not edge.any():
        assert is_sound(changed, view, form) == (not find_faults(changed, view, form)[0].any())
