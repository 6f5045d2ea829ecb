"""Codes of a row become names, and what a record lacks is None."""

import math

import numpy as np
import pytest
from steps_by_hand import EAT, NAMES, NUMBERS, PARTS, WORK, array_row, row_of

from townlet_trajectory.audit.explanation import Decider, OptionInForce, StepNames
from townlet_trajectory.audit.step_row import StepRow, key_of
from townlet_trajectory.data.schema import Kind, Source


def test_names_in_the_place_of_codes() -> None:
    row = StepRow(names=NAMES, columns=row_of(vetoed=True, veto_reason=2, held_action=WORK, ticks_left=3), tick=4)
    assert row.action("chosen_action") == "eat"
    assert row.executed == "eat"
    assert row.proposer == "script"
    assert row.veto_reason == "rivalry"
    assert row.option == OptionInForce(action="work", ticks_left=3, since=None, proposer=None)
    assert row.code("kind", Kind) == "decision"
    assert row.code("source", Source) == "scripted"
    assert row.probability("behavior_log_prob") == pytest.approx(0.8)
    assert row.reward_terms == {"food": 0.5}
    assert row.is_drawn


def test_unknown_codes_keep_their_numbers() -> None:
    row = StepRow(
        names=StepNames(vocabulary=("wait",)),
        columns=row_of(chosen_action=EAT, proposer=3, kind=7, source=9, vetoed=True, veto_reason=1),
        tick=0,
    )
    assert (row.action("chosen_action"), row.proposer, row.veto_reason) == ("action 1", "proposer 3", "reason 1")
    assert (row.code("kind", Kind), row.code("source", Source)) == ("code 7", "code 9")
    assert row.decider is Decider.UNKNOWN
    assert key_of(NAMES, 2) == "work"


def test_what_a_record_lacks_is_none() -> None:
    row = StepRow(names=NAMES, columns={}, tick=0)
    texts = (row.proposer, row.option, row.veto_reason, row.action("action"), row.code("kind", Kind))
    numbers = (row.number("kind"), row.real("value"), row.probability("policy_log_prob"))
    assert {*texts, *numbers} == {None}
    assert not row.flag("possessed")
    assert not row.is_drawn
    assert row.reward_terms == {}
    assert row.executed == "an action that the record lacks"


def test_numbers_that_are_not_finite_are_none() -> None:
    row = StepRow(names=NAMES, columns=row_of(behavior_log_prob=-math.inf, value=math.nan), tick=0)
    assert row.real("value") is None
    assert row.probability("behavior_log_prob") is None


def test_an_action_of_several_numbers() -> None:
    row = StepRow(names=StepNames(vocabulary=()), columns={"action": np.array([0.5, -1.25], np.float32)}, tick=0)
    assert row.action("action") is None
    assert row.executed == "[ 0.5 , -1.25]"


def test_a_possessed_row_is_its_possessors_whatever_else_it_says() -> None:
    columns = row_of(possessed=True, held_action=WORK, ticks_left=2, kind=Kind.FORCED)
    assert StepRow(names=NAMES, columns=columns, tick=0).decider is Decider.POSSESSOR


def test_an_action_of_parts_has_their_names() -> None:
    row = StepRow(names=PARTS, columns=array_row(PARTS, [1, 0], expert_action=[-1, -1], drawn_action=[7, 1]), tick=0)
    assert row.executed == "move=north, hand=open"
    assert (row.action("expert_action"), row.proposed_nothing) == (None, True)
    assert row.action("drawn_action") == "move=value 7, hand=closed"
    assert (row.option, row.decider) == (None, Decider.SCRIPT)
    assert row.probability("policy_log_prob") == pytest.approx(0.2)
    assert [key_of(PARTS, index) for index in (0, 3, 9)] == ["move=stay", "hand=open", "action 9"]


def test_an_action_of_numbers_has_their_names_and_no_probability() -> None:
    row = StepRow(names=NUMBERS, columns=array_row(NUMBERS, [0.5, 1.23456]), tick=0)
    assert row.executed == "steer=0.5, throttle=1.235"
    assert (row.action("expert_action"), row.proposed_nothing) == ("steer=0.5, throttle=1.235", False)
    assert (row.option, row.probability("policy_log_prob")) == (None, None)
    unproposed = StepRow(names=NUMBERS, columns=array_row(NUMBERS, [0.5, 1.0], proposer=-1), tick=0)
    assert (unproposed.action("expert_action"), unproposed.proposed_nothing) == (None, True)
    assert unproposed.action("drawn_action") == "steer=0.5, throttle=1"


def test_a_column_of_another_width_is_no_action() -> None:
    columns = {"action": np.array([1, 0, 0])}
    assert StepRow(names=PARTS, columns=columns, tick=0).action("action") is None
