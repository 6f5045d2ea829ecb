"""Teachers of a distillation: how they are asked, in a running world as about recorded states."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.errors import SimulationError
from townlet_runtime.policy.onnx import FilePolicy
from townlet_runtime.policy.policy import greedy_actions, sample_actions
from townlet_runtime.simulation.interface import Observed, SimulationSpec
from townlet_trajectory import ACTION_MASK, TrajectoryBatch
from townlet_trajectory.evaluation.interfaces import Actor, RecurrentActor, Taught, derive_seed


@runtime_checkable
class BatchTeacher(Protocol):
    """A teacher of a user's own that answers from arrays."""

    def teach(
        self, observations: Mapping[str, NDArray[np.float32]], action_mask: NDArray[np.bool_] | None, /
    ) -> NDArray[np.int64]:
        """Return the index of the action of each agent, [N], -1 for none.

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
    """

    def __init__(self, spec: SimulationSpec, *, label: str) -> None:
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
        """See `townlet_trajectory.evaluation.interfaces.Teacher`."""
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
        if isinstance(policy, RecurrentActor):
            raise SimulationError(f"{label}: a policy with a memory cannot be asked about single states")
        self._policy: Actor = policy
        self._seed = seed
        self._times = Counter[str]()

    def answer(self, asked: AskedAgents) -> Taught:
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
    """A teacher of a user's own that answers from arrays, for nothing."""

    def __init__(self, spec: SimulationSpec, teacher: BatchTeacher, *, label: str) -> None:
        super().__init__(spec, label=label)
        self._teacher = teacher

    def answer(self, asked: AskedAgents) -> Taught:
        return Taught(actions=self._teacher.teach(asked.view.observations, asked.view.action_mask))
