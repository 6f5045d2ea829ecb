"""How teachers are asked: whose answers count, in recorded states as in a view of a world."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import minds
import numpy as np
import pytest
from boats import Boats
from boats import Kind as Kinds
from numpy.typing import NDArray
from strategies import LinearPolicy

from townlet_behavior import Answer, BridgeConfig, Question
from townlet_runtime.core.rollouts import Collector
from townlet_runtime.core.teachers import (
    QUESTIONS_AT_ONCE,
    ArrayTeacher,
    AskedTeacher,
    MindTeacher,
    PolicyTeacher,
    ScriptTeacher,
    asked_of,
)
from townlet_runtime.errors import SimulationError
from townlet_runtime.policy.policy import UniformPolicy
from townlet_runtime.simulation.corridor import LEFT, WAIT
from townlet_runtime.simulation.interface import AGENTS, SimulationSpec
from townlet_runtime.simulation.one_group import OneGroup
from townlet_runtime.testing import Corridor
from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.evaluation.teaching import Taught

SPEC = Corridor().spec


@pytest.fixture(scope="module")
def batch() -> TrajectoryBatch:
    corridors = OneGroup(Corridor(num_worlds=2))
    collector = Collector(corridors, config=BridgeConfig(), seed=1, max_rows=1000)
    return collector.collect(None, num_ticks=20, ratio=0.0).batches[AGENTS]


class Fixed:
    """Always the same answers."""

    def __init__(self, answers: object) -> None:
        self.answers = answers

    def teach(
        self, observations: Mapping[str, NDArray[np.float32]], action_mask: NDArray[np.bool_] | None, /
    ) -> NDArray[np.int64]:
        return self.answers  # type: ignore[return-value]  # on purpose


def fixed(answers: object, spec: SimulationSpec = SPEC) -> AskedTeacher:
    return ArrayTeacher(spec, Fixed(answers), label="the teacher 'a:b'")


def test_recorded_states_are_shown_as_a_world_shows_them(batch: TrajectoryBatch) -> None:
    rows = np.array([3, 17, batch.num_steps - 1])
    asked = asked_of(batch, rows)
    assert asked.view.slots.tolist() == [0, 1, 2] and asked.ticks.tolist() == batch.ticks[rows].tolist()
    whose = batch.trajectory_of_row[rows]
    assert asked.view.agent_ids.tolist() == batch.agent_ids[whose].tolist()
    assert asked.view.worlds.tolist() == batch.worlds[whose].tolist()
    assert np.array_equal(asked.view.observations["features"], batch.observations["features"][rows])
    assert asked.view.observations.keys() == {"features", "map"}
    assert asked.view.action_mask is not None
    assert np.array_equal(asked.view.action_mask, batch.observations["action_mask"][rows])


def test_only_legal_answers_count(batch: TrajectoryBatch) -> None:
    mask = batch.observations["action_mask"]
    rows = np.array([np.flatnonzero(~mask[:, LEFT])[0], np.flatnonzero(mask[:, LEFT])[0], 0, 1, 2])
    # Left at the wall, left elsewhere, one beyond the vocabulary, one that declines, one that waits.
    taught = fixed(np.array([LEFT, LEFT, 4, -1, WAIT])).label(batch, rows)
    assert taught.actions.tolist() == [-1, LEFT, -1, -1, WAIT]


@pytest.mark.parametrize("answers", [np.zeros(2), np.zeros(3, np.int64), [0, 0]])
def test_an_answer_of_another_shape_is_an_error_that_names_the_teacher(batch: TrajectoryBatch, answers: object) -> None:
    with pytest.raises(SimulationError, match=r"the teacher 'a:b': expected int64 \[2\] answers"):
        fixed(answers).label(batch, np.array([0, 1]))


def test_the_script_answers_what_it_proposed(batch: TrajectoryBatch) -> None:
    rows = np.arange(10)
    taught = ScriptTeacher(SPEC, label="the script").label(batch, rows)
    assert taught.actions.tolist() == batch.columns["expert_action"][:10].tolist()
    assert taught.cost == taught.tokens == 0


def test_a_policy_file_answers_with_what_is_most_likely(batch: TrajectoryBatch) -> None:
    policy = LinearPolicy(SPEC, seed=3)
    rows = np.arange(30)
    teacher = PolicyTeacher(SPEC, policy, seed=None, label="the policy")
    mask = batch.observations["action_mask"][rows]
    seen = {name: batch.observations[name][rows] for name in ("features", "map")}
    expected = policy.act(seen, mask)[0].argmax(axis=1)
    assert teacher.label(batch, rows).actions.tolist() == expected.tolist()


def test_draws_of_a_policy_differ_by_the_time_and_are_those_of_another_process_that_asks_alike(
    batch: TrajectoryBatch,
) -> None:
    uniform, rows = UniformPolicy.of(SPEC), np.arange(60)

    def teacher(seed: int = 5) -> PolicyTeacher:
        return PolicyTeacher(SPEC, uniform, seed=seed, label="the policy")

    one, two = teacher(), teacher()
    first, second = one.label(batch, rows).actions, one.label(batch, rows).actions
    assert first.tolist() != second.tolist()
    # A process that goes on later asks about other rows before, or not.
    two.label(batch, rows[:30])
    assert two.label(batch, rows).actions.tolist() == first.tolist()
    assert two.label(batch, rows).actions.tolist() == second.tolist()
    assert teacher(seed=6).label(batch, rows).actions.tolist() != first.tolist()


class Librarian:
    """A mind that keeps every question, and answers as it was told, batch by batch."""

    def __init__(self, *answers: object) -> None:
        self.asked: list[Sequence[Question]] = []
        self._answers = list(answers)

    def __call__(self, questions: Sequence[Question]) -> Sequence[Answer]:
        self.asked.append(questions)
        answer = self._answers.pop(0) if self._answers else [Answer(action="wait", tokens=2, cost=0.5)] * len(questions)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[return-value]  # on purpose


def test_a_mind_is_asked_in_words_and_batches_and_its_cost_is_counted(batch: TrajectoryBatch) -> None:
    mind = Librarian()
    rows = np.arange(QUESTIONS_AT_ONCE + 5)
    taught = MindTeacher(SPEC, mind, label="the mind").label(batch, rows)
    assert [len(each) for each in mind.asked] == [QUESTIONS_AT_ONCE, 5]
    assert (taught.actions == WAIT).all() and (taught.tokens, taught.cost) == (2 * 69, pytest.approx(0.5 * 69))
    question, row = mind.asked[1][3], QUESTIONS_AT_ONCE + 3
    whose = batch.trajectory_of_row[row]
    assert (question.agent_id, question.world, question.tick) == (
        batch.agent_ids[whose],
        batch.worlds[whose],
        batch.ticks[row],
    )
    assert json.loads(question.shown)["position"] == pytest.approx(batch.observations["features"][row, 0], abs=0.005)
    legal = batch.observations["action_mask"][row]
    assert question.actions == tuple(key for key, is_legal in zip(SPEC.vocabulary.keys, legal, strict=True) if is_legal)


def test_what_a_mind_says_that_cannot_be_done_is_declined(batch: TrajectoryBatch) -> None:
    row = int(np.flatnonzero(~batch.observations["action_mask"][:, LEFT])[0])
    said = [Answer(action=each) for each in ("left", "fly", None, "wait")] + ["wait", Answer(action="wait", cost=-1.0)]
    taught = MindTeacher(SPEC, Librarian(said), label="the mind").label(batch, np.full(6, row))
    assert taught.actions.tolist() == [-1, -1, -1, WAIT, -1, -1]
    few = MindTeacher(SPEC, Librarian([Answer(action="wait")]), label="the mind").label(batch, np.array([0, 1]))
    assert few.actions.tolist() == [-1, -1]


def test_a_mind_that_is_awaited(batch: TrajectoryBatch) -> None:
    taught = MindTeacher(SPEC, minds.late, label="the mind").label(batch, np.arange(4))
    assert taught.actions.tolist() == [WAIT, -1, WAIT, -1]


def test_one_batch_that_fails_is_declined_and_all_of_them_are_an_error(
    batch: TrajectoryBatch, caplog: pytest.LogCaptureFixture
) -> None:
    rows = np.arange(QUESTIONS_AT_ONCE + 2)
    taught = MindTeacher(SPEC, Librarian(OSError("no line")), label="the mind").label(batch, rows)
    assert (taught.actions[:QUESTIONS_AT_ONCE] == -1).all() and (taught.actions[QUESTIONS_AT_ONCE:] == WAIT).all()
    assert "the mind raised OSError at 64 questions: no line" in caplog.text
    with pytest.raises(SimulationError, match="the mind raised at every question: OSError: no connection for 3"):
        MindTeacher(SPEC, minds.broken, label="the mind").label(batch, np.arange(3))


def test_a_teacher_of_arrays_may_cost_something_and_its_exceptions_name_it(batch: TrajectoryBatch) -> None:
    taught = fixed(Taught(actions=np.array([WAIT, 9]), tokens=4, cost=1.5)).label(batch, np.array([0, 1]))
    assert (taught.actions.tolist(), taught.tokens, taught.cost) == ([WAIT, -1], 4, 1.5)

    class Raising(Fixed):
        def teach(
            self, observations: Mapping[str, NDArray[np.float32]], action_mask: NDArray[np.bool_] | None, /
        ) -> NDArray[np.int64]:
            raise KeyError("x")

    with pytest.raises(SimulationError, match="the teacher 'a:b' raised KeyError: 'x'"):
        ArrayTeacher(SPEC, Raising(None), label="the teacher 'a:b'").label(batch, np.array([0]))


class Remembering:
    """A policy with a memory."""

    state_size = 2

    def act(self, observations: object, action_mask: object, state: object) -> object:
        raise AssertionError


def test_a_policy_with_a_memory_cannot_be_asked_about_single_states() -> None:
    with pytest.raises(SimulationError, match="the file: a policy with a memory cannot be asked about single states"):
        PolicyTeacher(SPEC, Remembering(), seed=None, label="the file")  # type: ignore[arg-type]  # it does not act


@pytest.mark.parametrize("kind", ["numbers", "parts"])
def test_array_actions_cannot_be_asked_for_by_index(kind: Kinds) -> None:
    expected = r"the file: expected a world of a vocabulary, .*, got array actions \(east, north\) of `boats`"
    with pytest.raises(SimulationError, match=expected):
        ScriptTeacher(Boats(kind).spec, label="the file")
