"""The record of a plain world: its last decisions, the frames that are made of them, and the steps for training."""

from __future__ import annotations

import math
from abc import ABC
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import CallbackLock, DecisionBatch, Kind
from townlet_runtime.errors import SimulationError
from townlet_runtime.plain.codec import Intent, OptionCodec, World
from townlet_runtime.plain.recording import AgentObservations, Arrays, PlainRecorder
from townlet_runtime.plain.view import PlainObserved
from townlet_trajectory import EpisodeLabel, TrajectoryBatch

_FORCED = int(Kind.FORCED)


class Frame(TypedDict):
    """One step of one agent, as readers of the original's frames know it."""

    tick: int
    agent_id: str
    map: NDArray[np.float32] | None
    """Made after the step; None where there is no such observation."""
    features: NDArray[np.float32] | None
    observations: Mapping[str, NDArray[np.float32]]
    """All of them by name, `map` and `features` too."""
    metadata: Mapping[str, Any]
    """That came with the observation."""
    action: dict[str, Any]
    """Executed."""
    action_id: int
    """Index of the action in the vocabulary; of a held option, that of the action that began it."""
    drawn_action: int
    """Index of what the blend drew, also where an option is held."""
    rewards: list[float]
    """One number: all rewards of the step."""
    dones: list[bool]
    log_prob: float | None
    """Of the choice under the policy; None where a provider without probabilities decides, 0.0 without a policy."""
    value_pred: float | None
    logits: NotRequired[NDArray[np.float32]]
    """[A]; log-probabilities of all actions, where a policy is loaded."""
    option_commit_remaining: NotRequired[int]
    """Ticks for which the option is held from this one on; the three keys are there only where one is."""
    option_commit_kind: NotRequired[str]
    option_commit_enforced: NotRequired[bool]
    """Whether another option was drawn than the one that is held."""


class Transition(TypedDict):
    """The step of one agent whose observation is not given yet."""

    tick: int
    action: dict[str, Any]
    action_id: int
    rewards: list[float]
    """All of them, in the order they came."""
    dones: list[bool]


@dataclass(kw_only=True, eq=False)
class DecidedTick(Generic[World, Intent]):
    """A decided tick and what came of it so far."""

    view: PlainObserved[World, Intent]
    decisions: DecisionBatch
    executed: list[Intent]
    """[N]."""
    actions: dict[str, dict[str, Any]]
    """By agent, as the world was given them."""
    logits: NDArray[np.float32] | None
    """[N, A]; None without a policy."""
    has_provider: bool
    seen: Mapping[str, Arrays]
    """By agent, what the decisions were made from."""
    options: list[tuple[int, str, bool] | None]
    """[N]; ticks remaining, kind, and whether it was enforced; None where no option is held."""
    rewards: dict[str, list[float]] = field(default_factory=dict)
    terminated: set[str] = field(default_factory=set)
    is_flushed: bool = False
    is_closed: bool = False

    def frames(self, after: Mapping[str, Arrays], metadata: Mapping[str, Mapping[str, Any]]) -> list[Frame]:
        """Make a frame for every agent, from the observations after the tick; who has none shows the one before."""
        return [
            self._frame(row, agent_id, after.get(agent_id, self.seen.get(agent_id, {})), metadata.get(agent_id, {}))
            for row, agent_id in enumerate(self.view.ids)
        ]

    def transitions(self) -> dict[str, Transition]:
        """The steps so far, by agent."""
        action_ids = self.decisions.action.tolist()
        return {
            agent_id: Transition(
                tick=self.view.tick,
                action=dict(self.actions[agent_id]),
                action_id=action_ids[row],
                rewards=list(self.rewards.get(agent_id, [])),
                dones=[agent_id in self.terminated],
            )
            for row, agent_id in enumerate(self.view.ids)
        }

    def _frame(self, row: int, agent_id: str, seen: Arrays, metadata: Mapping[str, Any]) -> Frame:
        decisions = self.decisions
        is_unknown = self.has_provider and decisions.kind[row] != _FORCED
        frame: Frame = {
            "tick": self.view.tick,
            "agent_id": agent_id,
            "map": seen.get("map"),
            "features": seen.get("features"),
            "observations": seen,
            "metadata": metadata,
            "action": dict(self.actions[agent_id]),
            "action_id": int(decisions.action[row]),
            "drawn_action": int(self.view.intents.drawn_actions[row]),
            "rewards": [sum(self.rewards.get(agent_id, []))],
            "dones": [agent_id in self.terminated],
            "log_prob": None if is_unknown else float(decisions.policy_log_prob[row]),
            "value_pred": None if is_unknown else float(decisions.value[row]),
        }
        if self.logits is not None:
            frame["logits"] = self.logits[row]
        option = self.options[row]
        if option is not None:
            frame["option_commit_remaining"], frame["option_commit_kind"], frame["option_commit_enforced"] = option
        return frame


class RecordCalls(ABC, Generic[World, Intent]):
    """The part of a `PolicyRuntime` that keeps what was decided, as frames and for training, and hands it out."""

    _lock: CallbackLock

    def _clear_record(self, max_rows: int) -> None:
        """Forget everything that was recorded; `max_rows` bounds the frames."""
        self._observations = AgentObservations()
        self._recorder: PlainRecorder | None = None
        self._decided: DecidedTick[World, Intent] | None = None
        self._frames: deque[Frame] = deque(maxlen=max_rows)
        self._max_frames = max_rows
        self._dropped_frames = 0

    @property
    def transitions(self) -> dict[str, Transition]:
        """Steps of the last tick, by agent; empty once they are flushed."""
        decided = self._decided
        return {} if decided is None or decided.is_flushed else decided.transitions()

    @property
    def trajectory(self) -> tuple[Frame, ...]:
        """The frames that `collect_trajectory` would return."""
        return tuple(self._frames)

    def collect_trajectory(self, clear: bool = True) -> list[Frame]:
        """Return the frames since the last clear, at most `PlainOptions.max_rows` of them."""
        with self._lock:
            frames = list(self._frames)
            if clear:
                self._frames.clear()
            return frames

    @property
    def dropped(self) -> dict[str, int]:
        """How many `frames` and `steps` exceeded `PlainOptions.max_rows` and were dropped, since `reset_state`."""
        return {"frames": self._dropped_frames, "steps": 0 if self._recorder is None else self._recorder.dropped_rows}

    def collect(self) -> TrajectoryBatch:
        """Return every recorded step that was not collected yet, as trajectories for a learner, and forget them.

        Trajectories that go on end with the observations that were flushed last, and the next collection begins with
        them. An agent's step is recorded if there was an observation before it.

        Raises:
            SimulationError: before the first observations.
        """
        with self._lock:
            recorder, after = self._require_recorder(), self._observations.current
            self._close(set(after))
            return recorder.collect(after)

    def label_episode(self, label: EpisodeLabel, agent_id: str | None = None) -> None:
        """Say what an episode was worth.

        Of an agent its latest trajectory with a decision is labelled: the one that goes on, or that which has just
        ended. Without an agent all trajectories are that were not collected: a plain world has one episode, until
        `reset_state`. What goes on through a collection keeps its label.

        Args:
            label: success, failure, discard, or `NONE` to take it back.
            agent_id: of the agent; None: of all agents.

        Raises:
            SimulationError: before the first observations.
            OrderError: if there is no such trajectory, or it was collected.
        """
        with self._lock:
            self._require_recorder().label_episode(label, agent_id, ended=False)

    def discard_last_episode(self, agent_id: str) -> None:
        """Label an agent's last trajectory that ended as `DISCARD`, however long the next one has lasted; errors as of
        `label_episode`."""
        with self._lock:
            # The end of a tick is recorded when the next one begins.
            ended = not self._has_died(agent_id)
            self._require_recorder().label_episode(EpisodeLabel.DISCARD, agent_id, ended=ended)

    def _require_recorder(self) -> PlainRecorder:
        if self._recorder is None:
            raise SimulationError("nothing is recorded: `observe` or `flush_transitions` must come before `decide`")
        return self._recorder

    def _has_died(self, agent_id: str) -> bool:
        """Whether an agent came to its end at the last tick."""
        return self._decided is not None and agent_id in self._decided.terminated

    def _uncollected(self) -> tuple[int, int]:
        """Count the steps that wait, and those that were dropped: of frames and steps for training, the fewer.

        The same steps are kept in both forms, and who collects one of them needs not collect the other.
        """
        if self._recorder is None:
            return len(self._frames), self._dropped_frames
        waiting, dropped = self._recorder.num_rows, self._recorder.dropped_rows
        return min(len(self._frames), waiting), min(self._dropped_frames, dropped)

    def _last_tick(self, call: str) -> DecidedTick[World, Intent]:
        if self._decided is None:
            raise SimulationError(f"`{call}` must follow `decide`")
        return self._decided

    def _keep_frames(self, decided: DecidedTick[World, Intent]) -> list[Frame]:
        frames = decided.frames(self._observations.current, self._observations.metadata)
        self._dropped_frames += max(0, len(self._frames) + len(frames) - self._max_frames)
        self._frames.extend(frames)
        return frames

    def _close(self, living: set[str]) -> None:
        """Record what came of the last decisions; agents that do not live, or are not observed, end there."""
        decided = self._decided
        if decided is None or decided.is_closed:
            return
        decided.is_closed = True
        if self._recorder is not None:
            rewards = {agent_id: math.fsum(parts) for agent_id, parts in decided.rewards.items()}
            after = self._observations.current
            self._recorder.close(rewards, decided.terminated, going_on=living & after.keys(), after=after)


def options_of(
    view: PlainObserved[World, Intent], decisions: DecisionBatch, lengths: NDArray[np.int64]
) -> list[tuple[int, str, bool] | None]:
    """Say of every agent which option is held from this tick on: ticks remaining, kind, whether it was enforced.

    Args:
        view: of the tick, N rows.
        decisions: made of it.
        lengths: [A]; ticks for which an action is held.

    Returns:
        [N]; None where none is held: the choice binds nothing, was vetoed, or is a possessor's.
    """
    kinds = view.codec.vocabulary.kinds
    options: list[tuple[int, str, bool] | None] = []
    columns = (decisions.held_action, decisions.ticks_left, decisions.chosen_action)
    free = (decisions.vetoed | decisions.possessed).tolist()
    for row, (held, left, chosen) in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        if free[row] or (held < 0 and lengths[chosen] < 1):
            options.append(None)
        elif held < 0:
            options.append((int(lengths[chosen]), kinds[chosen], False))
        else:
            options.append((left, kinds[held], _differs(view, row, held)))
    return options


def _differs(view: PlainObserved[World, Intent], row: int, held: int) -> bool:
    """Whether what the blend drew is another option than the one that is held."""
    codec, mine = view.codec, view.intents
    if not isinstance(codec, OptionCodec):
        return bool(mine.drawn_actions[row] != held)
    begun, world, agent_id = mine.held[int(view.slots[row])], view.world, view.ids[row]
    return bool(codec.option_of(mine.drawn[row], world, agent_id) != codec.option_of(begun, world, agent_id))
