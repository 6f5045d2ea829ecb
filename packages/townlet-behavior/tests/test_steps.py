import numpy as np
import pytest
from strategies import COOK, EAT, NORTH, VOCABULARY, WAIT, WORK, bools, ints, mask_of, proposals_of

from townlet_behavior import Held, Kind, Source
from townlet_behavior.blend import Choices
from townlet_behavior.forms import form_of
from townlet_behavior.steps import (
    blend_proposals,
    keep_commitments,
    log_probs,
    obey_possessors,
    script_alone,
    take_only_actions,
)

FORM = form_of(VOCABULARY)


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
    taken = take_only_actions(choices, mask_of((WAIT,), (EAT,), (WAIT, WORK)), FORM)
    assert taken.action.tolist() == [WAIT, EAT, WORK]
    assert taken.kind.tolist() == [Kind.FORCED, Kind.FORCED, Kind.DECISION]
    assert taken.source.tolist() == [Source.SCRIPTED, Source.LEARNED, Source.LEARNED]
    assert take_only_actions(choices, None, FORM) is choices
    assert take_only_actions(choices, mask_of((WAIT, EAT), (EAT, WORK), (WAIT, WORK)), FORM) is choices


def test_a_possessor_overrides_everything() -> None:
    drawn = Choices(ints(EAT, EAT, EAT), np.array([0, 1, 0], np.int8), np.zeros(3, np.int8))
    assert columns(obey_possessors(drawn, bools(True, True, False), ints(NORTH, -1, NORTH), FORM)) == [
        (NORTH, Kind.FOREIGN, Source.EXTERNAL),
        (WAIT, Kind.FOREIGN, Source.EXTERNAL),
        (EAT, Kind.DECISION, Source.SCRIPTED),
    ]


def test_log_probs_by_hand() -> None:
    # β = 0.5, π = (0.4, 0.3, 0.1, 0.1, 0.1); the script eats.
    # Row 0 works: π = 0.1, μ = 0.05. Row 1 eats: π = 0.1, μ = 0.05 + 0.5. Row 2 is forced.
    choices = Choices(ints(WORK, EAT, EAT), np.array([0, 0, 1], np.int8), np.zeros(3, np.int8))
    probs = [[0.4, 0.3, 0.1, 0.1, 0.1]] * 3
    policy, behavior = log_probs(choices, ints(EAT, EAT, EAT), proposals_of(0, 0, 0, probs=probs), 0.5, FORM)
    assert np.exp(policy) == pytest.approx([0.1, 0.1, 1.0])
    assert np.exp(behavior) == pytest.approx([0.05, 0.55, 1.0])
    assert (policy[2], behavior[2]) == (0.0, 0.0)


def test_no_log_probs_where_there_is_no_decision() -> None:
    choices = script_alone(ints(EAT))
    for proposals in (None, proposals_of(WORK, greedy=True)):
        policy, behavior = log_probs(choices, ints(EAT), proposals, 0.5, FORM)
        assert (policy.tolist(), behavior.tolist()) == ([0.0], [0.0])
