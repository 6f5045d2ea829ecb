"""One connection, without its socket: takes messages one after the other, and remembers its agents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import Box
from townlet_runtime.errors import SimulationError
from townlet_runtime.policy.acting import ActingPolicy
from townlet_runtime.serving.messages import QuestionError, binary_message, text_message
from townlet_runtime.serving.questions import Question, read_message
from townlet_runtime.serving.served import Served, ServedGroup
from townlet_runtime.simulation.interface import Observed
from townlet_trajectory import MultiDiscrete


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a message is answered with."""

    message: str | bytes
    agents: int = 0
    """That were answered for."""
    refused: bool = False
    """Whether the client has sent what it should not have."""
    closes: bool = False
    """Whether the connection is of no use any more."""


class Session:
    """The conversation with one client; its messages are answered in one thread at a time.

    Args:
        served: the policies, which all sessions share.
        idle_s: after which a silent connection is closed, as `hello` says.
    """

    def __init__(self, served: Served, *, idle_s: float) -> None:
        self._served, self._idle_s = served, idle_s
        self._greeted = False
        self._minds: dict[str, _Mind] = {}

    def answer(self, sent: str | bytes) -> Reply:
        """Answer one message."""
        try:
            message = read_message(sent, self._served.cards, max_agents=self._served.max_agents)
            if isinstance(message, Question):
                if not self._greeted:
                    raise _of(QuestionError("message", "expected `hello` before anything else"), message.id)
                return self._act(message)
            if self._greeted:
                raise _of(QuestionError("message", "expected one `hello`, got another"), message.id)
            self._greeted = True
            content = {"type": "hello", "id": message.id, **self._served.document(self._idle_s)}
            return Reply(message=text_message(content))
        except QuestionError as error:
            refusal = {"type": "error", "id": error.id, "kind": error.kind, "error": str(error)}
            return Reply(message=text_message(refusal), refused=error.kind != "policy", closes=error.kind == "version")

    def _act(self, question: Question) -> Reply:
        group = self._served.groups[question.group]
        if question.group not in self._minds:
            self._minds[question.group] = _Mind(group)
        try:
            content, arrays = self._minds[question.group].act(question, self._served)
        except QuestionError as error:
            raise _of(error, question.id) from error
        answer = {
            "type": "actions",
            "id": question.id,
            "group": question.group,
            "tick": question.tick,
            "policy": group.policy.digest,
            **content,
        }
        message = binary_message(answer, arrays) if question.binary else text_message(answer)
        return Reply(message=message, agents=len(question.agents))


class _Mind:
    """The policy of a group, as a connection uses it: with the memory of the agents that it was asked about."""

    def __init__(self, group: ServedGroup) -> None:
        self._group = group
        self._acting = ActingPolicy(group.spec, asks_values=False)
        self._acting.set_policy(group.policy, keep_state=False)
        self._remembers = group.policy.card.state_size > 0
        self._slots: dict[str, int] = {}
        self._free = range(group.spec.capacity)
        """Slots that were never used."""
        self._left: list[int] = []
        """Slots of agents that are forgotten."""

    def act(self, question: Question, served: Served) -> tuple[dict[str, Any], list[NDArray[Any]]]:
        """Answer a question: the fields of the answer, and in the binary form the arrays behind them."""
        form, agents, mask = self._group.form, question.agents, question.action_mask
        if mask is not None and len(agents) and (stuck := form.stuck(mask)).any():
            raise QuestionError("mask", f"expected a legal action for {agents[int(stuck.argmax())]!r}, got none")
        new = self._enter(question)
        observed = Observed(
            slots=self._slots_of(agents),
            agent_ids=np.array(agents, np.object_),
            observations=question.observations,
            keys=served.keys(agents),
            worlds=np.zeros(len(agents), np.int64),
            action_mask=mask,
        )
        try:
            proposed = self._acting.propose(observed, seed=served.seed, tick=question.tick, greedy=served.greedy)
        except SimulationError as error:
            self._forget(new)
            raise QuestionError("policy", f"the policy cannot act: {error}") from error
        self._forget(question.end)
        if proposed is None:
            empty = form.empty(0)
            return _answered(self._group, question, empty, empty, np.empty(0, np.float32))
        actions = proposed.actions
        if not (usable := form.usable(actions)).all():
            raise QuestionError("policy", f"the policy gives no action for {agents[int(usable.argmin())]!r}")
        likely = proposed.drawn_log_probs
        if likely is None and proposed.log_probs is not None and question.log_probs:
            likely = form.log_prob(proposed.log_probs, actions)
        return _answered(self._group, question, form.executed(actions), actions, likely)

    def _enter(self, question: Question) -> list[str]:
        """Give the agents that are new a slot, and those that begin an empty memory; returns who is new."""
        if not self._remembers:
            return []
        self._acting.forget(self._slots_of([each for each in question.begin if each in self._slots]))
        new = [each for each in question.agents if each not in self._slots]
        capacity, there = self._group.spec.capacity, len(self._slots) + len(new)
        if there > capacity:
            raise QuestionError(
                "memory", f"expected at most {capacity} agents to remember, got {there}: say in `end` who has left"
            )
        for agent in new:
            if self._left:
                self._slots[agent] = self._left.pop()
            else:
                self._slots[agent], self._free = self._free[0], self._free[1:]
        return new

    def _slots_of(self, agents: Sequence[str]) -> NDArray[np.int64]:
        if not self._remembers:
            return np.arange(len(agents))
        return np.array([self._slots[each] for each in agents], np.int64)

    def _forget(self, agents: Iterable[str]) -> None:
        known = [each for each in agents if each in self._slots]
        if known:
            self._acting.forget(self._slots_of(known))
            self._left += [self._slots.pop(each) for each in known]


def _of(error: QuestionError, own: int) -> QuestionError:
    error.id = own
    return error


def _answered(
    group: ServedGroup,
    question: Question,
    executed: NDArray[Any],
    drawn: NDArray[Any],
    log_probs: NDArray[np.float32] | None,
) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """Fields and arrays of an answer."""
    named: dict[str, NDArray[Any]] = {}
    if question.log_probs and log_probs is not None:
        if np.count_nonzero(np.isfinite(log_probs)) < len(log_probs):
            raise QuestionError("policy", "the policy gives a log-probability that is not finite")
        named["log_probs"] = log_probs
        if isinstance(group.spec.actions, Box):
            named["drawn"] = drawn
    if question.binary:
        numbers = executed if executed.dtype == np.float32 else executed.astype(np.int32)
        return {"shape": [*executed.shape], **dict.fromkeys(named, True)}, [numbers, *named.values()]
    keyed = question.names and not isinstance(group.spec.actions, Box)
    actions = keys_of(executed, group.policy.card.vocabulary, group.policy.card.actions) if keyed else executed.tolist()
    return {"actions": actions, **{name: array.tolist() for name, array in named.items()}}, []


def keys_of(actions: NDArray[Any], vocabulary: Sequence[str], parts: object) -> list[Any]:
    """Return the keys of actions.

    Args:
        actions: [N] indices into `vocabulary`, or [N, K] of parts.
        vocabulary: keys of the actions.
        parts: a `MultiDiscrete` where actions have parts.

    Returns:
        N keys, or lists of K.
    """
    if not isinstance(parts, MultiDiscrete):
        return [vocabulary[index] for index in actions.tolist()]
    named = [*parts.parts.values()]
    return [[keys[index] for keys, index in zip(named, row, strict=True)] for row in actions.tolist()]
