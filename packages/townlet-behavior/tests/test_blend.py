import math

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from strategies import COOK, EAT, NORTH, WAIT, WORK, bools, ints, proposals_of

from townlet_behavior import Held, Kind, Source, blend, mixture_log_prob
from townlet_behavior.blend import (
    Choices,
    blend_proposals,
    keep_commitments,
    log_probs,
    obey_possessors,
    script_alone,
    take_only_actions,
)

unit = st.floats(0.0, 1.0, exclude_max=True)


def test_blend_by_hand() -> None:
    # β = 0.5: the draws 0.2 and 0.49 are the policy's, 0.5 is not; row 1 has no opinion.
    chosen, learned = blend(
        ints(1, 1, 1, 1), ints(2, 3, 4, 1), bools(True, False, True, True), np.array([0.2, 0.2, 0.5, 0.49]), 0.5
    )
    assert chosen.tolist() == [2, 1, 1, 1]
    assert learned.tolist() == [True, False, False, True]


def test_no_opinion_array_means_an_opinion_everywhere() -> None:
    chosen, learned = blend(ints(1, 1), ints(2, 2), None, np.array([0.0, 0.9]), 0.5)
    assert (chosen.tolist(), learned.tolist()) == ([2, 1], [True, False])


@pytest.mark.property
@given(unit)
def test_ratio_0_never_and_1_always(draw: float) -> None:
    draws = np.array([draw])
    assert blend(ints(1), ints(2), None, draws, 0.0)[0].tolist() == [1]
    assert blend(ints(1), ints(2), None, draws, 1.0)[0].tolist() == [2]


@pytest.mark.property
@given(st.lists(unit, min_size=1, max_size=8), strategies.ratios, strategies.ratios)
def test_raising_the_ratio_never_turns_learned_into_scripted(draws: list[float], one: float, two: float) -> None:
    low, high = sorted((one, two))
    zeros = np.zeros(len(draws), np.int64)
    _, below = blend(zeros, zeros, None, np.array(draws), low)
    _, above = blend(zeros, zeros, None, np.array(draws), high)
    assert np.all(below <= above)


def test_mixture_by_hand() -> None:
    # β = 0.3, π = 0.2: 0.3·0.2 + 0.7 = 0.76 where the script does the same, 0.06 where it does not.
    actual = mixture_log_prob(np.log([0.2, 0.2]), bools(True, False), 0.3)
    assert np.exp(actual) == pytest.approx([0.76, 0.06], rel=1e-14)


def test_mixture_at_the_ends() -> None:
    log_pi = np.log([0.2, 0.2])
    agrees = bools(True, False)
    assert mixture_log_prob(log_pi, agrees, 1.0).tolist() == log_pi.tolist()
    assert mixture_log_prob(log_pi, agrees, 0.0).tolist() == [0.0, -math.inf]


@pytest.mark.filterwarnings("error")
def test_a_probability_that_underflows_is_still_right() -> None:
    # π = e^-2000 is 0 as a float; log μ = log 0.5 - 2000, or log 0.5 where the script agrees.
    actual = mixture_log_prob(np.array([-2000.0, -2000.0, -np.inf]), bools(False, True, False), 0.5)
    assert actual.tolist() == [math.log(0.5) - 2000.0, math.log(0.5), -math.inf]


@pytest.mark.property
@given(strategies.ratios, st.lists(st.floats(0.001, 1.0), min_size=2, max_size=6), st.data())
def test_the_mixture_sums_to_one(ratio: float, weights: list[float], data: st.DataObject) -> None:
    expert = data.draw(st.integers(0, len(weights) - 1))
    pi = np.array(weights) / np.sum(weights)
    agrees = np.arange(len(pi)) == expert
    assert np.exp(mixture_log_prob(np.log(pi), agrees, ratio)).sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.property
@given(st.floats(0.01, 1.0), st.floats(-30.0, 0.0))
def test_the_weight_is_one_over_beta_or_at_most_one(ratio: float, log_pi: float) -> None:
    differs, agrees = np.exp(log_pi - mixture_log_prob(np.array([log_pi] * 2), bools(False, True), ratio))
    assert differs == pytest.approx(1.0 / ratio)
    assert agrees <= 1.0 + 1e-12


def columns(choices: Choices) -> list[tuple[int, Kind, Source]]:
    return [
        (action, Kind(kind), Source(source))
        for action, kind, source in zip(*(column.tolist() for column in choices), strict=True)
    ]


def test_the_script_alone_is_foreign() -> None:
    assert columns(script_alone(ints(EAT, WAIT))) == [
        (EAT, Kind.FOREIGN, Source.SCRIPTED),
        (WAIT, Kind.FOREIGN, Source.SCRIPTED),
    ]


def test_a_blend_with_an_opinion_missing() -> None:
    choices = blend_proposals(
        ints(EAT, EAT, EAT),
        proposals_of(WORK, WORK, WORK, opinion=(True, False, True)),
        np.array([0.2, 0.2, 0.7]),
        ratio=0.5,
        min_ratio=0.1,
    )
    assert columns(choices) == [
        (WORK, Kind.DECISION, Source.LEARNED),
        (EAT, Kind.FOREIGN, Source.SCRIPTED),
        (EAT, Kind.DECISION, Source.SCRIPTED),
    ]


@pytest.mark.parametrize(
    ("ratio", "greedy", "kind"),
    [
        (0.0999, False, Kind.FOREIGN),
        (0.1, False, Kind.DECISION),
        (1.0, False, Kind.DECISION),
        (1.0, True, Kind.FOREIGN),
    ],
)
def test_what_can_be_learned_from(ratio: float, greedy: bool, kind: Kind) -> None:
    choices = blend_proposals(
        ints(EAT), proposals_of(WORK, greedy=greedy, opinion=(True,)), np.zeros(1), ratio=ratio, min_ratio=0.1
    )
    assert columns(choices) == [(WORK, kind, Source.LEARNED)]


def test_a_commitment_goes_on_in_the_name_of_who_began_it() -> None:
    drawn = Choices(ints(EAT, EAT), np.zeros(2, np.int8), np.array([Source.LEARNED] * 2, np.int8))
    held = Held(
        ints(COOK, -1), np.array([2, 0], np.int32), bools(True, False), np.array([Source.SCRIPTED] * 2, np.int8)
    )
    assert columns(keep_commitments(drawn, held)) == [
        (COOK, Kind.FORCED, Source.SCRIPTED),
        (EAT, Kind.DECISION, Source.LEARNED),
    ]


def test_a_single_legal_action_is_taken_and_nothing_is_decided() -> None:
    choices = Choices(ints(EAT, EAT, WORK), np.zeros(3, np.int8), np.array([0, 1, 1], np.int8))
    taken = take_only_actions(choices, strategies.mask_of((WAIT,), (EAT,), (WAIT, WORK)))
    assert taken.action.tolist() == [WAIT, EAT, WORK]
    assert taken.kind.tolist() == [Kind.FORCED, Kind.FORCED, Kind.DECISION]
    assert taken.source.tolist() == [Source.SCRIPTED, Source.LEARNED, Source.LEARNED]
    assert take_only_actions(choices, None) is choices
    assert take_only_actions(choices, strategies.mask_of((WAIT, EAT), (EAT, WORK), (WAIT, WORK))) is choices


def test_a_possessor_overrides_everything() -> None:
    drawn = Choices(ints(EAT, EAT, EAT), np.array([0, 1, 0], np.int8), np.zeros(3, np.int8))
    assert columns(obey_possessors(drawn, bools(True, True, False), ints(NORTH, -1, NORTH), wait=WAIT)) == [
        (NORTH, Kind.FOREIGN, Source.EXTERNAL),
        (WAIT, Kind.FOREIGN, Source.EXTERNAL),
        (EAT, Kind.DECISION, Source.SCRIPTED),
    ]


def test_log_probs_by_hand() -> None:
    # β = 0.5, π = (0.4, 0.3, 0.1, 0.1, 0.1); the script eats.
    # Row 0 works: π = 0.1, μ = 0.05. Row 1 eats: π = 0.1, μ = 0.05 + 0.5. Row 2 is forced.
    choices = Choices(ints(WORK, EAT, EAT), np.array([0, 0, 1], np.int8), np.zeros(3, np.int8))
    probs = [[0.4, 0.3, 0.1, 0.1, 0.1]] * 3
    policy, behavior = log_probs(choices, ints(EAT, EAT, EAT), proposals_of(0, 0, 0, probs=probs), 0.5)
    assert np.exp(policy) == pytest.approx([0.1, 0.1, 1.0])
    assert np.exp(behavior) == pytest.approx([0.05, 0.55, 1.0])
    assert (policy[2], behavior[2]) == (0.0, 0.0)


def test_no_log_probs_where_there_is_no_decision() -> None:
    choices = script_alone(ints(EAT))
    for proposals in (None, proposals_of(WORK, greedy=True)):
        policy, behavior = log_probs(choices, ints(EAT), proposals, 0.5)
        assert (policy.tolist(), behavior.tolist()) == ([0.0], [0.0])
