"""A slow mind never holds a tick up, and what it answers is carried out while it holds."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from minds import CAPACITY, OPTIONS, Hand, Life, Seen, controller_of, describe, never
from strategies import (
    BOX,
    EAT,
    NORTH,
    NUM_ACTIONS,
    VOCABULARY,
    WAIT,
    WORK,
    Script,
    ints,
    mask_of,
    through_a_file,
    view_of,
)

from townlet_behavior import (
    ActionVocabulary,
    Answer,
    AnswerLog,
    BehaviorError,
    Budget,
    CommitmentConfig,
    ConfigError,
    DeferredConfig,
    DeferredController,
    IdleController,
    Question,
    ScheduleController,
    View,
)
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
        life, actions, until = Life(controller), [], time.monotonic() + 30.0
        while controller.counts.used < 20:
            assert time.monotonic() < until, controller.counts
            actions += life.actions(1)
            time.sleep(0.0005)
        counts = controller.counts
    assert any(action != WAIT for row in actions for action in row)
    with controller_of(None, config, log=AnswerLog.read(tmp_path / "log")) as again:
        assert Life(again).actions(len(actions)) == actions
        assert again.counts == counts
    with controller_of(never, config, log=AnswerLog(tmp_path / "log")) as going_on:
        assert Life(going_on).actions(len(actions)) == actions


def questions_of(hand: Hand, number: int) -> list[int]:
    return [int(question.agent_id.removeprefix("agent ")) for question in hand.sent[number]]


def life_of(hand: Any, config: DeferredConfig, *, options: Mapping[str, int] | int = 0) -> Life:
    return Life(controller_of(hand, config, fallback=Script(*[NORTH] * CAPACITY)), options=options)


def test_an_answer_is_proposed_for_as_many_free_decisions_as_are_set() -> None:
    for uses, expected in ((1, [2, 1, 1, 1]), (3, [2, 2, 2, 1]), (None, [2, 2, 2, 2])):
        hand = Hand()
        life = life_of(hand, DeferredConfig(cache_entries=0, max_uses=uses, max_age_ticks=50))
        life.step()
        hand.answer_all("eat")
        assert [row[0] for row in life.actions(4)] == expected


def test_an_answer_is_carried_out_until_it_is_too_old_and_then_dropped() -> None:
    hand = Hand()
    life = life_of(hand, DeferredConfig(cache_entries=0, max_uses=None, deadline_ticks=2, max_age_ticks=3, in_flight=1))
    life.step()
    hand.answer_all("eat")  # made of what was seen at tick 0
    assert [row[0] for row in life.actions(5)] == [EAT, EAT, EAT, NORTH, NORTH]
    assert life.controller.counts.stale == 4


def test_an_agent_that_is_bound_is_not_asked_until_its_option_is_nearly_over() -> None:
    for lead, asked_at in ((0, 3), (2, 1)):
        hand = Hand()
        fallback = Script(EAT, EAT, EAT, EAT)  # binds for 4 ticks
        config = DeferredConfig(lead_ticks=lead, options=CommitmentConfig(ticks=dict(OPTIONS)))
        life = Life(controller_of(hand, config, fallback=fallback), options=OPTIONS)
        for _ in range(4):
            life.step()
        assert [question.tick for question in hand.sent[0]] == [asked_at] * 4


def test_an_answer_waits_for_the_end_of_an_option() -> None:
    hand = Hand()
    life = life_of(hand, DeferredConfig(cache_entries=0), options={**OPTIONS, "move": 3})
    life.step()  # to the north, until tick 3; the controller was not told how long that binds, and asks
    hand.answer_all("eat")
    assert [row[0] for row in life.actions(3)] == [NORTH, NORTH, EAT]
    assert life.controller.counts.used == 4


def test_a_possessed_agent_is_not_asked_and_its_answer_waits() -> None:
    hand = Hand()
    life = life_of(hand, DeferredConfig(cache_entries=0))
    life.step()
    life.bridge.possession.acquire(1, tick=1)
    life.bridge.possession.acquire(2, tick=1)
    hand.answer_all("eat")
    assert life.step().action.tolist() == [EAT, WAIT, WAIT, EAT]
    assert questions_of(hand, 1) == [0, 3]
    life.bridge.possession.release(2)
    hand.answer(1, [Answer(action=None)] * 2)
    life.bridge.possession.acquire(3, tick=2)
    assert life.step().action.tolist() == [NORTH, WAIT, EAT, WAIT]
    assert questions_of(hand, 2) == [2, 0]  # 1 has an answer, and 3 is possessed


def test_an_answer_that_is_no_longer_legal_is_dropped_and_the_agent_asked_again() -> None:
    hand = Hand()
    life = life_of(hand, DeferredConfig(cache_entries=0))
    life.step()
    hand.answer_all("eat")
    forbidden = mask_of(*[(WAIT, NORTH)] * CAPACITY)
    decisions = life.step(view_of(*range(CAPACITY), mask=forbidden))
    assert decisions.action.tolist() == [NORTH] * 4 and decisions.proposer.tolist() == [0] * 4
    counts = life.controller.counts
    assert (counts.answered, counts.illegal, counts.used) == (4, 4, 0)
    assert {question.actions for question in hand.sent[1]} == {("wait", "north")}
    assert life.step().action.tolist() == [NORTH] * 4


def test_an_agent_without_a_choice_is_not_asked() -> None:
    hand = Hand()
    life = life_of(hand, DeferredConfig())
    life.step(view_of(*range(CAPACITY), mask=mask_of((WAIT,), (WAIT, EAT), (NORTH,), (NORTH, EAT))))
    assert questions_of(hand, 0) == [1, 3]


def test_who_waited_longest_is_asked_first() -> None:
    hand = Hand()
    life = life_of(hand, DeferredConfig(batch_size=1, in_flight=1, cache_entries=0))
    for _ in range(8):
        life.step()
        hand.answer_all("eat")
    assert [questions_of(hand, number)[0] for number in range(8)] == [0, 1, 2, 3] * 2


def test_an_agent_is_asked_at_most_every_so_many_ticks() -> None:
    hand = Hand()
    life = life_of(hand, DeferredConfig(every_ticks=5, cache_entries=0))
    for _ in range(11):
        life.step()
        hand.answer_all("eat")
    assert [hand.sent[number][0].tick for number in sorted(hand.sent)] == [0, 5, 10]


def test_only_news_are_asked_about_where_that_is_set() -> None:
    hand, seen = Hand(), Seen()
    config = DeferredConfig(only_changed=True, cache_entries=0)
    life = Life(controller_of(hand, config, describe=seen))
    for shown in ("rain", "rain", "sun", "rain"):
        seen.shown = shown
        life.step()
        hand.answer_all("eat")
        life.step()
    assert [question.shown for call in hand.sent.values() for question in call] == [
        *(["rain"] * 4),
        *(["sun"] * 4),
        *(["rain"] * 4),
    ]
    assert life.controller.counts.unchanged > 0


def test_a_question_that_was_answered_before_is_answered_from_the_cache() -> None:
    hand = Hand()
    life = Life(controller_of(hand, DeferredConfig(), describe=Seen()))
    life.step()  # all four are shown the same: asked in one call
    hand.answer_all("eat")
    life.actions(3)
    counts = life.controller.counts
    assert (sorted(hand.sent), counts.asked, counts.used) == ([0], 4, 12)
    assert counts.cached == 12  # asked at ticks 1, 2 and 3; the last are not used yet


def test_a_mind_that_fails_is_left_alone_and_then_tried_with_one_question() -> None:
    hand = Hand()
    life = life_of(hand, DeferredConfig(breaker_failures=2, breaker_ticks=4, in_flight=1, cache_entries=0))
    for _ in range(11):
        life.step()
        for number in hand.under_way():
            hand.answer(number, [])  # too few
    life.step()
    ticks = [(hand.sent[number][0].tick, len(hand.sent[number])) for number in sorted(hand.sent)]
    # fails at 1 and 2; then nothing before 6; the trial fails at 7, and the next is at 11
    assert ticks == [(0, 4), (1, 4), (6, 1), (11, 1)]
    counts = life.controller.counts
    assert (counts.opened, counts.miscounted) == (2, 9)  # after calls 0 and 1, and after the first trial
    hand.answer_all("eat")
    life.actions(2)
    assert len(hand.sent[max(hand.sent)]) > 1


def test_a_call_that_hangs_is_given_up_at_its_deadline_and_keeps_its_place() -> None:
    hand = Hand()
    life = life_of(hand, DeferredConfig(deadline_ticks=3, in_flight=1, cache_entries=0))
    life.actions(10)
    counts = life.controller.counts
    assert (counts.calls, counts.overdue, hand.cancelled) == (1, 4, [0])
    hand.answer_all("eat")
    assert life.step().action.tolist() == [NORTH] * 4
    assert life.controller.counts.late == 4
    assert sorted(hand.sent) == [0, 1]  # there is room again


def test_a_late_answer_leaves_the_question_alone_that_came_after_it() -> None:
    hand = Hand()
    config = DeferredConfig(deadline_ticks=1, max_age_ticks=9, in_flight=3, batch_size=4, cache_entries=0)
    life = life_of(hand, config)
    life.actions(2)  # call 0 is overdue at tick 1, and everybody is asked again
    hand.answer(0, [Answer(action="eat")] * 4)
    life.step()  # late; the second question is overdue now, and there is room for a third
    assert [hand.sent[number][0].tick for number in sorted(hand.sent)] == [0, 1, 2]
    hand.answer(1, [Answer(action="eat")] * 4)
    life.step()
    assert [hand.sent[number][0].tick for number in sorted(hand.sent)] == [0, 1, 2, 3]
    assert life.controller.counts.late == 8


def test_a_late_answer_does_not_let_an_agent_be_asked_twice_at_one_time() -> None:
    hand = Hand()
    config = DeferredConfig(deadline_ticks=3, max_age_ticks=9, in_flight=3, cache_entries=0)
    life = life_of(hand, config)
    life.actions(4)  # call 0 is overdue at tick 3, and call 1 begins
    hand.answer(0, [Answer(action="eat")] * 4)
    life.actions(2)
    assert sorted(hand.sent) == [0, 1]  # call 1 is still waited for


def test_an_agent_that_has_left_gets_no_answer_and_neither_does_the_next_one() -> None:
    hand = Hand()
    life = life_of(hand, DeferredConfig(cache_entries=0))
    life.step()
    life.bridge.forget(ints(2))
    hand.answer_all("eat")
    assert life.step().action.tolist() == [EAT, EAT, NORTH, EAT]
    assert (life.controller.counts.gone, life.controller.counts.answered) == (1, 3)
    assert questions_of(hand, 1) == [2, 0, 1, 3]  # the new one was never asked


def test_a_budget_of_calls_is_never_exceeded_and_the_fallback_goes_on() -> None:
    hand = Hand()
    life = life_of(hand, DeferredConfig(run_budget=Budget(calls=6), cache_entries=0))
    for _ in range(6):
        life.step()
        hand.answer_all("eat")
    assert [len(call) for call in hand.sent.values()] == [4, 2]
    assert life.step().action.tolist() == [NORTH] * 4


def test_a_mind_and_a_log_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    controller_of(Hand(), log=AnswerLog(tmp_path / "log")).close()
    for mind, log in (
        (None, None),
        (None, AnswerLog(tmp_path / "log")),
        (Hand(), AnswerLog.read(tmp_path / "log")),
    ):
        with pytest.raises(ConfigError, match="a mind, or a log that was opened by `AnswerLog.read`, and not both"):
            controller_of(mind, log=log)


@pytest.mark.parametrize("name", ["", "fallback"])
def test_a_mind_has_a_name_of_its_own(name: str) -> None:
    with pytest.raises(ConfigError, match="`name` must be a name"):
        DeferredController(
            Hand(),
            Script(WAIT),
            vocabulary=VOCABULARY,
            describe=describe,
            capacity=1,
            name=name,
            config=DeferredConfig(),
        )


def saying(*described: Any) -> Any:
    return lambda view, rows: described


def failing(view: View, rows: Any) -> Any:
    raise KeyError("lost")


@pytest.mark.parametrize(
    ("describer", "problem"),
    [
        (failing, "tick 0, slot 0: `describe` raised KeyError: 'lost'"),
        (saying(), "tick 0, slot 0: `describe` must describe 4 agents, got 0"),
        (saying(*[("ann", 0, "")] * 5), "tick 0, slot 0: `describe` must describe 4 agents, got 5"),
        (saying(("ann", 0, ""), ("bob", 0)), r"tick 0, slot 1: `describe` must give an agent's id.*, got \('bob', 0\)"),
        (saying(("ann", 0, b"")), "slot 0: `describe` must give an agent's id, a world and a text, got "),
        (saying("ann"), "slot 0: `describe` must give an agent's id, a world and a text, got 'ann'"),
    ],
)
def test_what_a_describer_does_wrong_is_named(describer: Any, problem: str) -> None:
    with pytest.raises(BehaviorError, match=problem):
        Life(controller_of(Hand(), describe=describer)).step()


def test_the_fallback_is_asked_told_saved_and_restored() -> None:
    schedule = ScheduleController(capacity=CAPACITY, num_actions=NUM_ACTIONS, otherwise=Script(*[NORTH] * CAPACITY))
    schedule.assign(1, [EAT, WORK, EAT])
    life = Life(controller_of(Hand(), fallback=schedule))
    assert life.step().action.tolist() == [NORTH, EAT, NORTH, NORTH]
    state = through_a_file(life.bridge.save_state())
    assert life.step().action.tolist() == [NORTH, WORK, NORTH, NORTH]
    life.bridge.restore(state)
    assert life.step().action.tolist() == [NORTH, WORK, NORTH, NORTH]
    life.bridge.forget(ints(1))
    assert life.step().action.tolist() == [NORTH] * 4


def test_no_agents_are_asked_about_where_there_are_none() -> None:
    life = Life(controller_of(Hand(), fallback=IdleController(wait=WAIT)))
    assert life.step(view_of()).action.tolist() == []
    life.step()
    assert life.controller.counts.asked == CAPACITY


def test_an_error_between_proposal_and_decision_loses_no_answer() -> None:
    hand = Hand()
    life = life_of(hand, DeferredConfig(cache_entries=0))
    life.step()
    hand.answer_all("eat")
    life.controller.propose(view_of(*range(CAPACITY)))  # and nobody settles it
    assert life.step().action.tolist() == [EAT] * 4


def test_a_mind_that_hangs_blocks_no_tick_and_no_end() -> None:
    let_go = threading.Event()

    def mind(questions: Sequence[Question]) -> list[Answer]:
        let_go.wait()
        return []

    with controller_of(mind, DeferredConfig(deadline_ticks=2, max_age_ticks=2, in_flight=1)) as controller:
        Life(controller).actions(200)
        counts = controller.counts
        assert (counts.calls, counts.overdue, counts.answered) == (1, 4, 0)
        controller.close(0.01)
    let_go.set()


def test_idle_threads_end_with_the_controller() -> None:
    # The threads themselves: the number of one of a test before, which ends meanwhile, may be given again.
    before = set(threading.enumerate())
    # A tick here takes microseconds: with the usual deadline the answer might be late, and no other one be needed.
    patient = DeferredConfig(deadline_ticks=2**30, max_age_ticks=2**30)
    life = Life(controller_of(lambda questions: [Answer(action="eat")] * len(questions), patient))
    until = time.monotonic() + 30.0
    while not life.controller.counts.answered and time.monotonic() < until:
        life.step()
        time.sleep(0.001)
    assert life.controller.counts.answered
    started = set(threading.enumerate()) - before
    assert started
    del life
    gc.collect()
    until = time.monotonic() + 30.0
    while started & set(threading.enumerate()) and time.monotonic() < until:
        time.sleep(0.01)
    assert not started & set(threading.enumerate())


def test_the_next_agent_in_a_slot_has_a_budget_of_its_own() -> None:
    hand = Hand()
    life = life_of(hand, DeferredConfig(agent_budget=Budget(calls=1), cache_entries=0))
    for tick in range(6):
        life.step()
        hand.answer_all("eat")
        if tick == 3:
            life.bridge.forget(ints(2))
    assert [questions_of(hand, number) for number in sorted(hand.sent)] == [[0, 1, 2, 3], [2]]


def test_a_trial_that_hangs_is_followed_by_another_one() -> None:
    hand = Hand()
    config = DeferredConfig(
        deadline_ticks=1, max_age_ticks=1, in_flight=4, breaker_failures=1, breaker_ticks=3, cache_entries=0
    )
    life = life_of(hand, config)
    life.actions(10)
    # overdue at 1, so nothing before 4; overdue again at 5, so nothing before 8
    ticks = [(hand.sent[number][0].tick, len(hand.sent[number])) for number in sorted(hand.sent)]
    assert ticks == [(0, 4), (4, 1), (8, 1)]


def test_an_answer_grows_too_old_while_its_agent_is_away() -> None:
    hand = Hand()
    config = DeferredConfig(deadline_ticks=2, max_age_ticks=2, cache_entries=0)
    life = Life(controller_of(hand, config, fallback=IdleController(wait=WAIT)))
    life.step()
    hand.answer_all("eat")
    for _ in range(3):
        life.step(view_of(0, 1))  # the answers of 2 and 3 are there, and nobody to follow them
    assert life.step().action.tolist()[2:] == [WAIT, WAIT]


def test_an_agent_without_an_answer_has_no_illegal_one() -> None:
    hand = Hand()
    life = life_of(hand, DeferredConfig(batch_size=1, in_flight=1, cache_entries=0))
    life.step()
    hand.answer_all("eat")  # of agent 0 alone
    life.step(view_of(*range(CAPACITY), mask=mask_of(*[(NORTH, EAT)] * CAPACITY)))  # nobody may wait
    counts = life.controller.counts
    assert (counts.used, counts.illegal) == (1, 0)


def test_a_coroutine_that_hangs_is_cancelled_at_its_deadline_and_frees_its_place(tmp_path: Path) -> None:
    async def mind(questions: Sequence[Question]) -> list[Answer]:
        await asyncio.sleep(3600.0)
        return []

    config = DeferredConfig(deadline_ticks=2, max_age_ticks=2, in_flight=1, breaker_failures=100)
    with controller_of(mind, config, log=AnswerLog(tmp_path / "log")) as controller:
        life, until, actions = Life(controller), time.monotonic() + 30.0, []
        while controller.counts.raised < 8:
            assert time.monotonic() < until, controller.counts
            actions += life.actions(1)
            time.sleep(0.001)
        counts = controller.counts
    assert counts.calls >= 2 and counts.overdue >= 8 and counts.answered == 0
    again = Life(controller_of(None, config, log=AnswerLog.read(tmp_path / "log")))
    assert again.actions(len(actions)) == actions
    assert again.controller.counts == counts


def test_a_mind_answers_with_actions_of_a_vocabulary() -> None:
    with pytest.raises(ConfigError, match="`vocabulary` must have actions, because a mind answers with the key of one"):
        DeferredController(
            never,
            IdleController(wait=BOX.wait),
            vocabulary=ActionVocabulary.none(),
            describe=describe,
            capacity=2,
            config=DeferredConfig(),
        )
