"""Agreement of student and teacher in held-out episodes, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from corridor import CorridorCollector, agents, network
from teaching import ClockTeacher, CorridorPlay

from townlet_training.config import ONE_GROUP
from townlet_training.distil.agreement import JudgedStates, agreements, balanced, decision_rows
from townlet_training.errors import EmptyBatchError
from townlet_trajectory import Kind
from townlet_trajectory.evaluation.results import Agreement
from townlet_trajectory.evaluation.teaching import Played


def test_every_action_counts_alike_in_the_balanced_share() -> None:
    # 8 of 10 states with answer 0, 1 of 5 with answer 2: (0.8 + 0.2) / 2; answer 3 has too few states to count.
    first = np.array([0] * 10 + [2] * 5 + [3] * 4)
    agrees = np.array([True] * 8 + [False] * 2 + [True] + [False] * 4 + [True] * 4)
    assert balanced(first, agrees) == pytest.approx(0.5)
    assert balanced(first[15:], agrees[15:]) == 1.0


def test_forced_steps_are_no_decisions() -> None:
    batch = CorridorCollector(2, seed=1).collect(agents(network()), num_ticks=3, ratio=1.0).batches[ONE_GROUP]
    kind = batch.columns["kind"].copy()
    kind[[1, 4]] = Kind.FORCED, Kind.FOREIGN
    changed = type(batch)(**{**vars(batch), "columns": {**batch.columns, "kind": kind}})
    assert decision_rows(changed).tolist() == [0, 2, 3, 4, 5]


def judged(teacher: ClockTeacher, *, num_taught: int, per_episode: int = 6) -> JudgedStates:
    played = CorridorPlay(teacher).play(network(), seeds=np.arange(4), sample=True, num_taught=num_taught)
    return JudgedStates.asked(teacher, played, per_episode=per_episode, seed=3)


def test_states_are_asked_about_twice_and_the_teachers_own_play_is_the_first_time() -> None:
    teacher = ClockTeacher()
    alone = judged(teacher, num_taught=0)
    assert len(alone.rows) == 4 * 6 and alone.num_asked == teacher.num_asked == 2 * 4 * 6
    assert (alone.tokens, alone.cost) == (2 * 48, 0.5 * 48)
    assert np.bincount(alone.episodes).tolist() == [6] * 4
    assert alone.first.tolist() == alone.second.tolist()
    teacher = ClockTeacher()
    played = judged(teacher, num_taught=10)
    # 10 decisions of play in each of 4 worlds, 6 of which are asked about again.
    assert played.num_asked == teacher.num_asked == 4 * 10 + 4 * 6
    inside = played.rows - played.batch.offsets[played.batch.trajectory_of_row[played.rows]]
    assert inside.max() < 10


def test_a_teacher_that_turns_agrees_with_itself_as_often_as_that() -> None:
    # Two answers are equal where both or none were turned: 0.8² + 0.2² = 0.68, of 96 states ± 4 · √(0.68 · 0.32 / 96).
    found = judged(ClockTeacher(wrong=0.2), num_taught=0, per_episode=24)
    share = float((found.first == found.second).mean())
    assert abs(share - 0.68) < 4 * (0.68 * 0.32 / 96) ** 0.5


def test_declined_states_are_left_out_and_none_at_all_is_an_error() -> None:
    found = judged(ClockTeacher(declines=True), num_taught=0, per_episode=24)
    cells = found.batch.observations["cell"][found.rows].argmax(axis=1)
    assert not (cells == 2).any() and len(found.rows) < 96 and found.num_asked == 2 * 96
    empty = Played(found.batch, np.empty(0, np.int64), None)
    with pytest.raises(EmptyBatchError, match="no decision to ask the teacher about"):
        JudgedStates.asked(ClockTeacher(), empty, per_episode=1, seed=0)


def by_hand(student: list[int], first: list[int], second: list[int], episodes: list[int]) -> Agreement:
    """The agreement of a student whose most likely actions are `student`."""
    batch = CorridorCollector(1, seed=0).collect(None, num_ticks=len(student), ratio=0.0).batches[ONE_GROUP]
    mask = np.zeros((len(student), 3), np.bool_)
    mask[np.arange(len(student)), student] = True
    seen = {**batch.observations, "action_mask": mask}
    states = JudgedStates(
        batch=type(batch)(**{**vars(batch), "observations": seen}),
        rows=np.arange(len(student)),
        episodes=np.array(episodes),
        first=np.array(first),
        second=np.array(second),
        num_asked=0,
        tokens=0,
        cost=0.0,
    )
    return agreements(network(), {"student": states}, seed=0, num_resamples=200)[0]


def test_the_episode_is_the_unit_by_hand() -> None:
    # Episode 5: the student has 1 of 3 right, the teacher repeats 2 of 3; episode 9: 1 of 1, and 0 of 1.
    found = by_hand([0, 2, 2, 1], [0, 0, 0, 1], [0, 0, 1, 2], [5, 5, 5, 9])
    assert found.student == pytest.approx((1 / 3, 1.0)) and found.repeat == pytest.approx((2 / 3, 0.0))
    assert (found.student_mean, found.repeat_mean) == pytest.approx((2 / 3, 1 / 3))
    assert found.share == pytest.approx(2.0) and found.num_states == 4
    assert found.student_ci[0] <= found.student_mean <= found.student_ci[1]


def test_one_episode_is_not_enough() -> None:
    with pytest.raises(EmptyBatchError, match="of 1 episodes with an answer, not 2"):
        by_hand([0, 2], [0, 0], [0, 0], [1, 1])


def test_an_episode_without_answers_in_one_kind_of_play_counts_by_the_other() -> None:
    teacher, net = ClockTeacher(), network()
    one, two = judged(teacher, num_taught=0), judged(teacher, num_taught=10)
    kept = two.episodes != 3
    fewer = type(two)(
        **{
            **vars(two),
            "rows": two.rows[kept],
            "episodes": two.episodes[kept],
            "first": two.first[kept],
            "second": two.second[kept],
        }
    )
    whole, parts = agreements(net, {"student": one, "teacher": fewer}, seed=0, num_resamples=200)
    assert len(whole.student) == 4 and len(parts["teacher"].student) == 3
    assert whole.student[3] == pytest.approx(parts["student"].student[3])
    assert whole.student[0] == pytest.approx((parts["student"].student[0] + parts["teacher"].student[0]) / 2)
