"""A slow mind never holds a tick up, and what it answers is carried out while it holds."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from minds import CAPACITY, Hand, Life, controller_of, never
from strategies import EAT, NORTH, VOCABULARY, WAIT, Script, view_of

from townlet_behavior import Answer, AnswerLog, DeferredConfig, Question
from townlet_behavior.testing import check_controller


def test_all_agents_are_asked_after_the_first_tick_and_follow_the_answer_at_the_next() -> None:
    hand = Hand()
    life = Life(controller_of(hand, DeferredConfig(cache_entries=0), fallback=Script(*[NORTH] * CAPACITY)))
    assert life.step().action.tolist() == [NORTH] * 4
    assert [question.agent_id for question in hand.sent[0]] == ["agent 0", "agent 1", "agent 2", "agent 3"]
    assert {(question.tick, question.actions) for question in hand.sent[0]} == {(0, VOCABULARY.keys)}
    life.step()
    hand.answer_all("eat")
    assert life.step().action.tolist() == [EAT] * 4  # one decision
    assert life.step().action.tolist() == [NORTH] * 4
    assert sorted(hand.sent) == [0, 1]  # asked again when the answer was used up
    counts = life.controller.counts
    assert (counts.calls, counts.asked, counts.answered, counts.used) == (2, 8, 4, 4)


def test_it_keeps_the_rules_of_a_controller_while_an_answer_is_there() -> None:
    hand = Hand()
    life = Life(controller_of(hand))
    life.step()
    hand.answer_all("eat")
    check_controller(life.controller, view_of(*range(CAPACITY)), VOCABULARY)
    assert life.controller.propose(view_of(*range(CAPACITY))).tolist() == [EAT] * 4
    proposers, ages = life.controller.proposed_by(view_of(*range(CAPACITY)))
    assert (proposers.dtype, ages.dtype) == (np.int8, np.int32)
    assert (proposers.tolist(), ages.tolist()) == ([1] * 4, [1] * 4)


def test_a_mind_in_threads_is_repeated_from_its_log_alone(tmp_path: Path) -> None:
    def mind(questions: Sequence[Question]) -> list[Answer]:
        time.sleep(0.002)
        return [Answer(action="eat" if question.tick % 2 else "north", tokens=7) for question in questions]

    config = DeferredConfig(cache_entries=0)
    with controller_of(mind, config, log=AnswerLog(tmp_path / "log")) as controller:
        life, actions = Life(controller), []
        while controller.counts.used < 20:
            actions += life.actions(1)
            time.sleep(0.0005)
        counts = controller.counts
    assert any(action != WAIT for row in actions for action in row)
    with controller_of(None, config, log=AnswerLog.read(tmp_path / "log")) as again:
        assert Life(again).actions(len(actions)) == actions
        assert again.counts == counts
    with controller_of(never, config, log=AnswerLog(tmp_path / "log")) as going_on:
        assert Life(going_on).actions(len(actions)) == actions
