"""The rules of a slow mind, agent by agent: what `DeferredController` does with arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from townlet_behavior import DeferredConfig
from townlet_behavior.deferred.records import Failure, Reply, nano_of


@dataclass
class NaiveAnswer:
    action: str
    seen_at: int
    uses: float


@dataclass(eq=False)
class NaiveAgent:
    answer: NaiveAnswer | None = None
    waits_for: int | None = None
    """Number of the call."""
    asked_at: int | None = None
    shown: str | None = None
    charged: list[int] = field(default_factory=lambda: [0, 0, 0])


@dataclass
class NaiveCall:
    tick: int
    agents: list[NaiveAgent]
    shown: list[str]
    overdue: bool = False


class NaiveMinds:
    """Every agent is an object; one that has left is another object than the next one in its slot."""

    def __init__(self, config: DeferredConfig, slots: Sequence[int]) -> None:
        self.config = config
        self.agents = {slot: NaiveAgent() for slot in slots}
        self.calls: dict[int, NaiveCall] = {}
        self.num_calls = 0
        self.tick = 0
        self.counts: Counter[str] = Counter()
        self.charged = [0, 0, 0]
        self.failures, self.closed_until = 0, 0
        self.trial: int | None = None
        self.cache: dict[str, str] = {}
        self.worst = (1, config.tokens_per_question, nano_of(config.cost_per_question))

    def take(self, number: int, replies: Sequence[Reply]) -> None:
        call = self.calls.pop(number)
        late = call.overdue or self.tick - call.tick > self.config.deadline_ticks
        for agent, shown, reply in zip(call.agents, call.shown, replies, strict=True):
            self.settle(agent, reply)
            if agent.waits_for == number:
                agent.waits_for = None
            if reply.action is not None:
                self.remember(shown, reply.action)
            end = self.end_of(agent, reply, late=late)
            self.counts[end] += 1
            if end == "answered" and reply.action is not None:
                agent.answer = NaiveAnswer(reply.action, call.tick, self.config.max_uses or float("inf"))
        if self.trial == number:
            self.trial = None
        if not call.overdue and any(reply.failure is None for reply in replies):
            self.failures = 0
        elif not call.overdue and any(reply.failure is not Failure.LOST for reply in replies):
            self.fail()

    def end_of(self, agent: NaiveAgent, reply: Reply, *, late: bool) -> str:
        if reply.failure is not None:
            return reply.failure
        if agent not in self.agents.values():
            return "gone"
        if late:
            return "late"
        return "declined" if reply.action is None else "answered"

    def settle(self, agent: NaiveAgent, reply: Reply) -> None:
        if reply.tokens is None or reply.nano is None:
            return
        _, tokens, nano = self.worst
        self.counts["overruns"] += (0 < tokens < reply.tokens) or (0 < nano < reply.nano)
        for charged in (self.charged, agent.charged):
            charged[1] += reply.tokens - tokens
            charged[2] += reply.nano - nano

    def remember(self, shown: str, action: str) -> None:
        self.cache.pop(shown, None)
        self.cache[shown] = action
        if len(self.cache) > self.config.cache_entries:
            del self.cache[next(iter(self.cache))]

    def fail(self) -> None:
        self.failures += 1
        if self.failures >= self.config.breaker_failures:
            self.closed_until = self.tick + self.config.breaker_ticks
            self.counts["opened"] += 1

    def proposal(self, slot: int, legal: Sequence[str]) -> tuple[str, int] | None:
        """Action and age of the answer that is proposed now; None: the fallback's turn."""
        answer = self.agents[slot].answer
        if answer is None or answer.action not in legal or self.tick - answer.seen_at > self.config.max_age_ticks:
            return None
        return answer.action, self.tick - answer.seen_at

    def use_up(self, slot: int, legal: Sequence[str], *, free: bool) -> None:
        agent, proposed = self.agents[slot], self.proposal(slot, legal)
        if agent.answer is None:
            return
        age = self.tick - agent.answer.seen_at
        if proposed is not None and free:
            self.counts["used"] += 1
            agent.answer.uses -= 1
            if agent.answer.uses <= 0:
                agent.answer = None
        elif (
            free and agent.answer.action not in legal and self.tick - agent.answer.seen_at <= self.config.max_age_ticks
        ):
            self.counts["illegal"] += 1
            agent.answer = None
        if agent.answer is not None and age >= self.config.max_age_ticks:
            self.counts["stale"] += 1
            agent.answer = None

    def give_up(self) -> None:
        for number, call in self.calls.items():
            if not call.overdue and self.tick - call.tick >= self.config.deadline_ticks:
                call.overdue = True
                self.counts["overdue"] += len(call.agents)
                for agent in call.agents:
                    if agent.waits_for == number:
                        agent.waits_for = None
                if self.trial == number:
                    self.trial = None
                self.fail()

    def affordable(self, charged: Sequence[int], limits: Sequence[int]) -> bool:
        return all(now + more <= most for now, more, most in zip(charged, self.worst, limits, strict=True))

    def ask(self, wanting: Mapping[int, str]) -> list[list[int]]:
        """Slots of the calls that are begun now.

        Args:
            wanting: digest of the question by slot, of the agents that are free soon and have a choice.
        """
        config = self.config
        room = (config.in_flight - len(self.calls)) * config.batch_size
        if self.failures >= config.breaker_failures:
            room = min(room, 0 if self.tick < self.closed_until or self.trial is not None else 1)
        looked: list[int] = []
        run_limits, charged = config.run_budget.limits(), list(self.charged)
        for slot in sorted(wanting, key=lambda slot: (-1 if (at := self.agents[slot].asked_at) is None else at, slot)):
            agent = self.agents[slot]
            if agent.waits_for is not None or (agent.answer is not None and config.max_uses is not None):
                continue
            if agent.asked_at is not None and agent.asked_at > self.tick - config.every_ticks:
                continue
            if not self.affordable(agent.charged, config.agent_budget.limits()):
                continue
            if len(looked) < room and self.affordable(charged, run_limits):
                looked.append(slot)
                charged = [now + more for now, more in zip(charged, self.worst, strict=True)]
        asked = [slot for slot in looked if self.look(self.agents[slot], wanting[slot])]
        batches = [asked[start : start + config.batch_size] for start in range(0, len(asked), config.batch_size)]
        for batch in batches:
            self.begin(batch, wanting)
        return batches

    def look(self, agent: NaiveAgent, shown: str) -> bool:
        known = self.config.only_changed and agent.shown == shown
        agent.shown, agent.asked_at = shown, self.tick
        if known:
            self.counts["unchanged"] += 1
            return False
        if shown in self.cache:
            self.counts["cached"] += 1
            self.cache[shown] = self.cache.pop(shown)
            agent.answer = NaiveAnswer(self.cache[shown], self.tick, self.config.max_uses or float("inf"))
            return False
        return True

    def begin(self, batch: Sequence[int], wanting: Mapping[int, str]) -> None:
        if self.failures >= self.config.breaker_failures:
            self.trial = self.num_calls
        agents = [self.agents[slot] for slot in batch]
        for agent in agents:
            agent.waits_for = self.num_calls
            for charged in (self.charged, agent.charged):
                charged[:] = [now + more for now, more in zip(charged, self.worst, strict=True)]
        self.calls[self.num_calls] = NaiveCall(self.tick, agents, [wanting[slot] for slot in batch])
        self.num_calls += 1
        self.counts["calls"] += 1
        self.counts["asked"] += len(batch)
