"""Teachers of a distillation: how they are asked, in a running world as about recorded states."""

from __future__ import annotations

import hashlib
import inspect
import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import Mind, Question
from townlet_behavior.deferred.event_loop import awaited
from townlet_behavior.deferred.records import NANO, Failure, Reply, failed, judge_all
from townlet_runtime.errors import SimulationError
from townlet_runtime.policy.drawing import greedy_actions, sample_actions
from townlet_runtime.policy.onnx import FilePolicy
from townlet_runtime.policy.policy import is_recurrent
from townlet_runtime.simulation.described import DescribedObservations
from townlet_runtime.simulation.interface import Observed, SimulationSpec
from townlet_trajectory import ACTION_MASK, TrajectoryBatch
from townlet_trajectory.evaluation.interfaces import Actor, derive_seed
from townlet_trajectory.evaluation.teaching import Taught

log = logging.getLogger(__name__)

QUESTIONS_AT_ONCE = 64
"""Questions that a mind is given in one call."""


@runtime_checkable
class BatchTeacher(Protocol):
    """A teacher of a user's own that answers from arrays."""

    def teach(
        self, observations: Mapping[str, NDArray[np.float32]], action_mask: NDArray[np.bool_] | None, /
    ) -> NDArray[np.int64] | Taught:
        """Return the index of the action of each agent, [N], -1 for none; as `Taught` where they cost something.

        Args:
            observations: each [N, ...].
            action_mask: [N, A], true where an action is legal; None if all are.
        """
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class AskedAgents:
    """Agents that a teacher is asked about, in one view of them."""

    view: Observed
    """Of these agents alone, [L] rows."""
    ticks: NDArray[np.int64]
    """[L]."""
    proposed: NDArray[np.int64]
    """[L]; of the script, -1 for none."""


class AskedTeacher(ABC):
    """A teacher of one group of agents, in a running world as in recorded states. A `Teacher`.

    Args:
        spec: of the group.
        label: names the teacher in errors.

    Raises:
        SimulationError: if the actions of the group have no index, which is what a teacher answers.
    """

    def __init__(self, spec: SimulationSpec, *, label: str) -> None:
        if spec.actions is not None:
            raise SimulationError(
                f"{label}: expected a world of a vocabulary, as a teacher answers by the index of an action, got array "
                f"actions ({', '.join(spec.actions.names)}) of `{spec.name}`"
            )
        self._spec = spec
        self._label = label

    @abstractmethod
    def answer(self, asked: AskedAgents) -> Taught:
        """Answer for the agents of `asked`; an answer may be no legal action."""

    def ask(self, asked: AskedAgents) -> Taught:
        """Return the answers of which those that are no legal action are -1.

        Raises:
            SimulationError: if they are not int64 [L].
        """
        taught, count = self.answer(asked), len(asked.ticks)
        actions = taught.actions
        if not isinstance(actions, np.ndarray) or actions.dtype != np.int64 or actions.shape != (count,):
            raise SimulationError(f"{self._label}: expected int64 [{count}] answers, got {actions!r:.120}")
        known = (actions >= 0) & (actions < len(self._spec.vocabulary))
        mask = asked.view.action_mask
        if mask is not None:
            known &= mask[np.arange(count), np.where(known, actions, 0)]
        return replace(taught, actions=np.where(known, actions, -1))

    def label(self, batch: TrajectoryBatch, rows: NDArray[np.int64]) -> Taught:
        """See `townlet_trajectory.evaluation.teaching.Teacher`."""
        return self.ask(asked_of(batch, rows))


def asked_of(batch: TrajectoryBatch, rows: NDArray[np.int64]) -> AskedAgents:
    """Return the agents and states of `rows` [L] of a batch as a view of a world shows them.

    The slots of the view are its rows, for the agents of many ticks have none in common.
    """
    trajectories = batch.trajectory_of_row[rows]
    seen = {name: array[rows] for name, array in batch.observations.items() if name != ACTION_MASK}
    mask = batch.observations.get(ACTION_MASK)
    view = Observed(
        slots=np.arange(len(rows)),
        agent_ids=batch.agent_ids[trajectories],
        observations={name: np.asarray(array, np.float32) for name, array in seen.items()},
        worlds=batch.worlds[trajectories],
        episodes=batch.episodes[trajectories],
        action_mask=None if mask is None else np.asarray(mask[rows], np.bool_),
    )
    proposed = np.asarray(batch.columns["expert_action"][rows], np.int64)
    return AskedAgents(view=view, ticks=batch.ticks[rows], proposed=proposed)


class ScriptTeacher(AskedTeacher):
    """The script of the world, whose proposals are recorded anyway."""

    def answer(self, asked: AskedAgents) -> Taught:
        """Return the proposals."""
        return Taught(actions=asked.proposed)


class PolicyTeacher(AskedTeacher):
    """A policy file: its most probable actions, or draws from its distribution.

    Args:
        spec: of the group.
        policy: without memory.
        seed: of the draws; None: the most probable actions.
        label: names the teacher in errors.

    Raises:
        SimulationError: if the policy has a memory, or was made for other actions or observations.
    """

    def __init__(self, spec: SimulationSpec, policy: FilePolicy | Actor, *, seed: int | None, label: str) -> None:
        super().__init__(spec, label=label)
        if is_recurrent(policy):
            raise SimulationError(f"{label}: a policy with a memory cannot be asked about single states")
        self._policy = cast("Actor", policy)
        self._seed = seed
        self._times = Counter[str]()

    def answer(self, asked: AskedAgents) -> Taught:
        """Ask the policy about all agents at once."""
        log_probs, _ = self._policy.act(asked.view.observations, asked.view.action_mask)
        if self._seed is None:
            return Taught(actions=greedy_actions(log_probs))
        # Of the questions and of how often they were asked: a run that is resumed gets the same answers.
        question = hashlib.blake2b(
            asked.ticks.tobytes() + asked.view.worlds.tobytes() + log_probs.tobytes()
        ).hexdigest()
        rng = np.random.default_rng(derive_seed(self._seed, question, self._times[question]))
        self._times[question] += 1
        return Taught(actions=sample_actions(log_probs, rng.random(len(log_probs))))


class ArrayTeacher(AskedTeacher):
    """A teacher of a user's own that answers from arrays."""

    def __init__(self, spec: SimulationSpec, teacher: BatchTeacher, *, label: str) -> None:
        super().__init__(spec, label=label)
        self._teacher = teacher

    def answer(self, asked: AskedAgents) -> Taught:
        """Ask the user's code about all agents at once.

        Raises:
            SimulationError: if it raises.
        """
        try:
            answers = self._teacher.teach(asked.view.observations, asked.view.action_mask)
        except Exception as error:  # a user's own code
            raise SimulationError(f"{self._label} raised {type(error).__name__}: {error}") from error
        return answers if isinstance(answers, Taught) else Taught(actions=answers)


class MindTeacher(AskedTeacher):
    """A mind that answers questions in words, as behind a `DeferredController`; here it is waited for.

    An answer that is no legal action, and a batch of questions in which the mind raises, count as declined.

    Args:
        spec: of the group.
        mind: function or coroutine function of a batch of questions.
        label: names the teacher in errors.
    """

    def __init__(self, spec: SimulationSpec, mind: Mind, *, label: str) -> None:
        super().__init__(spec, label=label)
        self._mind = mind
        self._describe = DescribedObservations(spec)

    def answer(self, asked: AskedAgents) -> Taught:
        """Ask in batches.

        Raises:
            SimulationError: if the mind raised at every batch.
        """
        questions = self._questions(asked)
        replies: list[Reply] = []
        for begin in range(0, len(questions), QUESTIONS_AT_ONCE):
            replies += self._replies(questions[begin : begin + QUESTIONS_AT_ONCE])
        if replies and all(reply.failure is Failure.RAISED for reply in replies):
            raise SimulationError(f"{self._label} raised at every question: {replies[0].note}")
        known = {key: index for index, key in enumerate(self._spec.vocabulary.keys)}
        return Taught(
            actions=np.array([-1 if each.action is None else known[each.action] for each in replies], np.int64),
            tokens=sum(each.tokens or 0 for each in replies),
            cost=sum(each.nano or 0 for each in replies) / NANO,
        )

    def _questions(self, asked: AskedAgents) -> list[Question]:
        keys, view = self._spec.vocabulary.keys, asked.view
        mask = np.ones((len(asked.ticks), len(keys)), np.bool_) if view.action_mask is None else view.action_mask
        shown = self._describe(view, np.arange(len(asked.ticks)))
        return [
            Question(
                agent_id=agent_id,
                world=world,
                tick=tick,
                shown=text,
                actions=tuple(key for key, is_legal in zip(keys, legal, strict=True) if is_legal),
            )
            for (agent_id, world, text), tick, legal in zip(shown, asked.ticks.tolist(), mask.tolist(), strict=True)
        ]

    def _replies(self, questions: Sequence[Question]) -> list[Reply]:
        try:
            answers = self._mind(questions)
            return judge_all(questions, awaited(answers) if inspect.isawaitable(answers) else answers)
        except Exception as error:  # a user's own code
            log.warning("%s raised %s at %d questions: %s", self._label, type(error).__name__, len(questions), error)
            return [failed(Failure.RAISED, f"{type(error).__name__}: {error}")] * len(questions)
