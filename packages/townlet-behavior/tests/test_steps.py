from dataclasses import replace

import numpy as np
import pytest
from strategies import BOX, COOK, EAT, NORTH, VOCABULARY, WAIT, WORK, bools, ints, mask_of, proposals_of

from townlet_behavior import Held, Kind, MultiDiscrete, Proposals, Source
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


def test_with_a_switch_the_policys_choices_alone_are_decisions() -> None:
    # β = 0.05 is below β_min, which is about weights that a switch does not need.
    choices = blend_proposals(
        ints(EAT, EAT, EAT),
        proposals_of(WORK, EAT, WORK, opinion=(True, True, False)),
        np.array([0.01, 0.04, 0.01]),
        ratio=0.05,
        min_ratio=0.1,
        switch=True,
    )
    assert columns(choices) == [
        (WORK, Kind.DECISION, Source.LEARNED),
        (EAT, Kind.DECISION, Source.LEARNED),
        (EAT, Kind.FOREIGN, Source.SCRIPTED),
    ]
    scripted = blend_proposals(ints(EAT), proposals_of(EAT), np.array([0.5]), ratio=0.5, min_ratio=0.1, switch=True)
    assert columns(scripted) == [(EAT, Kind.FOREIGN, Source.SCRIPTED)]


@pytest.mark.parametrize("ratio", [0.5, np.array([0.5, 0.5])])
def test_with_a_switch_greedy_choices_are_foreign(ratio: float | np.ndarray) -> None:
    greedy = proposals_of(WORK, WORK, greedy=True)
    choices = blend_proposals(ints(EAT, EAT), greedy, np.array([0.1, 0.9]), ratio=ratio, min_ratio=0.1, switch=True)
    assert columns(choices) == [(WORK, Kind.FOREIGN, Source.LEARNED), (EAT, Kind.FOREIGN, Source.SCRIPTED)]


def test_log_probs_with_a_switch_are_the_policys() -> None:
    # π = (0.4, 0.3, 0.1, 0.1, 0.1), and at τ = 1/2 it is (16, 9, 1, 1, 1)/28. The script's share is in no probability.
    choices = Choices(ints(WORK, EAT, WAIT), np.array([0, 0, 2], np.int8), np.array([1, 1, 0], np.int8))
    probs = [[0.4, 0.3, 0.1, 0.1, 0.1]] * 3
    proposals = replace(proposals_of(WORK, EAT, 0, probs=probs), temperatures=np.array([1.0, 0.5, 0.5], np.float32))
    policy, behavior = log_probs(choices, ints(EAT, EAT, WAIT), proposals, 0.5, FORM, switch=True)
    assert np.exp(policy) == pytest.approx([0.1, 0.1, 1.0])
    assert np.exp(behavior) == pytest.approx([0.1, 1 / 28, 1.0])
    assert (policy[2], behavior[2]) == (0.0, 0.0)


HANDS = MultiDiscrete(parts={"move": ("stay", "north", "south"), "hand": ("open", "closed")})
STAY, NORTHWARDS, OPEN, CLOSED = 0, 1, 0, 1


def rows(*actions: tuple[float, float], dtype: type[np.generic] = np.int64) -> np.ndarray:
    return np.array(actions, dtype)


def hand_proposals(*actions: tuple[int, int]) -> Proposals:
    """π(move) = (0.5, 0.25, 0.25) and π(hand) = (0.25, 0.75)."""
    log_probs = np.log(np.array([[0.5, 0.25, 0.25, 0.25, 0.75]] * len(actions), np.float32))
    return Proposals(actions=rows(*actions), log_probs=log_probs, values=None)


def test_the_blend_draws_all_parts_from_one_side() -> None:
    script = rows((STAY, OPEN), (STAY, OPEN))
    proposed = hand_proposals((NORTHWARDS, CLOSED), (NORTHWARDS, CLOSED))
    choices = blend_proposals(script, proposed, np.array([0.2, 0.7]), ratio=0.5, min_ratio=0.1)
    assert choices.action.tolist() == [[NORTHWARDS, CLOSED], [STAY, OPEN]]
    assert choices.source.tolist() == [Source.LEARNED, Source.SCRIPTED]
    assert choices.kind.tolist() == [Kind.DECISION] * 2


def test_log_probs_of_several_parts_are_of_the_joint_action() -> None:
    # The script stays with an open hand, β = 0.4. Row 0 does so: π = 0.5·0.25 = 0.125, μ = 0.4·0.125 + 0.6 = 0.65.
    # Row 1 stays too, with a closed hand: that is another action. π = 0.375, μ = 0.15. Row 2 is forced.
    choices = Choices(
        rows((STAY, OPEN), (STAY, CLOSED), (STAY, OPEN)), np.array([0, 0, 1], np.int8), np.zeros(3, np.int8)
    )
    script, proposed = rows(*[(STAY, OPEN)] * 3), hand_proposals(*[(STAY, OPEN)] * 3)
    policy, behavior = log_probs(choices, script, proposed, 0.4, form_of(HANDS))
    assert np.exp(policy) == pytest.approx([0.125, 0.375, 1.0])
    assert np.exp(behavior) == pytest.approx([0.65, 0.15, 1.0])


def test_log_probs_of_several_parts_with_temperatures() -> None:
    # τ = 1/2: (4, 1, 1)/6 and (1, 9)/10. π_τ(stay, closed) = 0.6, μ = 0.5·0.6 = 0.3 where the script does otherwise.
    choices = Choices(rows((STAY, CLOSED)), np.zeros(1, np.int8), np.zeros(1, np.int8))
    proposed = replace(hand_proposals((STAY, CLOSED)), temperatures=np.array([0.5], np.float32))
    policy, behavior = log_probs(choices, rows((STAY, OPEN)), proposed, 0.5, form_of(HANDS))
    assert (np.exp(policy[0]), np.exp(behavior[0])) == (pytest.approx(0.375), pytest.approx(0.3))


def test_a_single_action_in_every_part_is_taken() -> None:
    choices = Choices(rows((1, 1), (1, 1)), np.zeros(2, np.int8), np.ones(2, np.int8))
    mask = np.array([[False, False, True, True, False], [False, True, False, True, True]])
    taken = take_only_actions(choices, mask, form_of(HANDS))
    assert taken.action.tolist() == [[2, OPEN], [1, 1]]
    assert taken.kind.tolist() == [Kind.FORCED, Kind.DECISION]


def test_a_possessor_feeds_several_parts_or_waits() -> None:
    drawn = Choices(rows((2, 1), (2, 1), (2, 1)), np.zeros(3, np.int8), np.zeros(3, np.int8))
    obeyed = obey_possessors(drawn, bools(True, True, False), rows((1, 0), (-1, -1), (1, 0)), form_of(HANDS))
    assert obeyed.action.tolist() == [[1, 0], [0, 0], [2, 1]]
    assert obeyed.kind.tolist() == [Kind.FOREIGN, Kind.FOREIGN, Kind.DECISION]


def test_the_density_of_numbers_is_the_policys_own() -> None:
    choices = Choices(
        rows((0.5, 1.0), (0.0, 2.0), (0.5, 1.0), dtype=np.float32), np.array([0, 2, 0], np.int8), np.zeros(3, np.int8)
    )
    drawn = np.array([1.5, -2.0, 0.25], np.float32)
    proposed = Proposals(actions=choices.action, log_probs=None, values=None, drawn_log_probs=drawn)
    for ratio, switch in (1.0, False), (0.5, True), (np.array([1.0, 0.0, 1.0]), False):
        policy, behavior = log_probs(choices, choices.action, proposed, ratio, form_of(BOX), switch=switch)
        assert policy.tolist() == behavior.tolist() == [1.5, 0.0, 0.25]
