"""The bridge again, as one would write it first: one agent at a time, dictionaries, no arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

FLOOR = -3.4028234663852886e38  # the lowest float32
GOLDEN_GAMMA = 0x9E3779B97F4A7C15


def mix(z: int) -> int:
    z = (z + GOLDEN_GAMMA) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def coin(seed: int, key: int, tick: int) -> float:
    """The blend's draw; its purpose is 1."""
    return (mix(mix(mix(mix(seed) + 1) + key) + tick) >> 11) / 2**53


@dataclass
class Learned:
    """What the policy says about one agent."""

    action: int
    log_probs: list[float] | None
    value: float
    greedy: bool
    opinion: bool


@dataclass
class Row:
    """One agent at one tick."""

    slot: int
    key: int
    expert: int
    legal: list[bool] | None
    done: bool
    learned: Learned | None
    proposer: int = 0
    age: int = 0


@dataclass
class Own:
    """The difficulty of one agent."""

    ratio: float | None = None
    temperature: float = 1.0
    delay: int = 0


@dataclass
class Takeover:
    owner: str | None
    until: float
    inputs: list[tuple[int, int]] = field(default_factory=list)
    """Number and action of each that waits."""


@dataclass
class Twin:
    """A bridge whose only guardrail forbids action `forbidden` in odd slots: there the first other legal action, where
    there is one, is put in its place."""

    wait: int
    lengths: list[int]
    seed: int
    min_ratio: float
    forbidden: int
    ratio: float = 0.0
    commitments: dict[int, tuple[int, int, str]] = field(default_factory=dict)
    takeovers: dict[int, Takeover] = field(default_factory=dict)
    present: set[int] = field(default_factory=set)
    ends: dict[int, tuple[str, int | None]] = field(default_factory=dict)
    """By number of the input, reason and tick."""
    told: list[tuple[int, str | None, str]] = field(default_factory=list)
    """Slot, owner and reason of the possessions that were not released."""
    num_inputs: int = 0
    own: dict[int, Own] = field(default_factory=dict)
    drawn: dict[tuple[int, int], tuple[int, str]] = field(default_factory=dict)
    """By slot and tick, while an agent has a delay."""
    handover: int = 0
    since: dict[int, int | None] = field(default_factory=dict)
    """By slot, the first decision after a possession; None: the next one."""

    def acquire(self, slot: int, tick: int, owner: str | None, lease: int | None) -> bool:
        if slot in self.takeovers and self.takeovers[slot].until <= tick:
            self.end(slot, "lapsed")
        if slot in self.takeovers:
            return False
        self.takeovers[slot] = Takeover(owner, math.inf if lease is None else tick + lease)
        self.commitments.pop(slot, None)
        self.since.pop(slot, None)
        return True

    def feed(self, slot: int, action: int, *, queue: bool) -> None:
        takeover = self.takeovers[slot]
        if not queue:
            self.end_inputs(takeover, "superseded")
        takeover.inputs.append((self.num_inputs, action))
        self.num_inputs += 1

    def renew(self, slot: int, tick: int, lease: int | None) -> None:
        takeover = self.takeovers[slot]
        takeover.until = max(takeover.until, math.inf if lease is None else tick + lease)

    def release(self, slot: int) -> None:
        self.end_inputs(self.takeovers.pop(slot), "released")
        self.since[slot] = None

    def end_inputs(self, takeover: Takeover, reason: str) -> None:
        self.ends |= {number: (reason, None) for number, _ in takeover.inputs}
        takeover.inputs.clear()

    def end(self, slot: int, reason: str) -> None:
        takeover = self.takeovers.pop(slot)
        self.end_inputs(takeover, reason)
        self.told.append((slot, takeover.owner, reason))
        self.since[slot] = None

    def forget(self, slot: int) -> None:
        self.commitments.pop(slot, None)
        self.present.discard(slot)
        if slot in self.takeovers:
            self.end(slot, "ended")
        self.since.pop(slot, None)
        self.own.pop(slot, None)
        self.drawn = {key: choice for key, choice in self.drawn.items() if key[0] != slot and self.has_delays()}

    def look(self, slots: list[int]) -> None:
        self.present = set(slots)

    def has_delays(self) -> bool:
        return any(own.delay for own in self.own.values())

    def set_difficulty(self, slot: int, ratio: float | None, temperature: float | None, delay: int | None) -> None:
        own = self.own.setdefault(slot, Own())
        if ratio is not None:
            own.ratio = None if math.isnan(ratio) else ratio
        own.temperature = own.temperature if temperature is None else temperature
        own.delay = own.delay if delay is None else delay
        if not self.has_delays():
            self.drawn.clear()

    def of(self, slot: int) -> Own:
        return self.own.get(slot, Own())

    def ratio_of(self, slot: int, tick: int) -> float:
        ratio = self.of(slot).ratio
        since = self.since.get(slot, -math.inf)
        assert since is not None
        share = 1.0 if slot in self.takeovers else min((tick - since + 1) / (self.handover + 1), 1.0)
        return (self.ratio if ratio is None else ratio) * share

    def held(self, row: Row, tick: int) -> tuple[int, int]:
        if row.slot not in self.commitments:
            return -1, 0
        action, until, _ = self.commitments[row.slot]
        if until <= tick or row.done or (row.legal is not None and not row.legal[action]):
            del self.commitments[row.slot]
            return -1, 0
        return action, until - tick

    def expire(self, tick: int) -> None:
        for slot in sorted(slot for slot, takeover in self.takeovers.items() if takeover.until <= tick):
            self.end(slot, "lapsed")

    def decide(self, rows: list[Row], tick: int) -> list[dict[str, int | float | bool | str]]:
        self.since |= {slot: tick for slot, since in self.since.items() if since is None}
        decided = [self.decide_one(row, tick) for row in rows]
        self.expire(tick + 1)
        return decided

    def decide_one(self, row: Row, tick: int) -> dict[str, int | float | bool | str]:
        held_action, ticks_left = self.held(row, tick)
        takeover = self.takeovers.get(row.slot)
        fed = takeover.inputs[0] if takeover is not None and takeover.inputs else None
        drawn = self.choose_freely(row, tick)
        if self.has_delays():
            self.drawn[row.slot, tick] = drawn[0], drawn[2]
        chosen, kind, source = self.choose(row, tick, held_action, takeover, drawn)
        action, reason = self.guard(row, chosen)
        policy_log_prob, behavior_log_prob = self.log_probs(row, tick, chosen) if kind == "decision" else (0.0, 0.0)
        if reason:
            self.commitments.pop(row.slot, None)
        elif held_action < 0 and takeover is None and self.lengths[chosen] > 1:
            self.commitments[row.slot] = (chosen, tick + self.lengths[chosen], source)
        if takeover is not None and fed is not None:
            del takeover.inputs[0]
            self.ends[fed[0]] = "vetoed" if reason else "executed", tick
        return {
            "action": action,
            "chosen_action": chosen,
            "kind": kind,
            "source": source,
            "vetoed": bool(reason),
            "veto_reason": reason,
            "possessed": takeover is not None,
            "demonstrated": fed is not None and not reason,
            "expert_action": row.expert,
            "behavior_log_prob": behavior_log_prob,
            "policy_log_prob": policy_log_prob,
            "value": row.learned.value if row.learned is not None else 0.0,
            "ratio": self.ratio_of(row.slot, tick),
            "held_action": held_action,
            "ticks_left": ticks_left,
            "drawn_action": drawn[0],
            "proposer": -1 if row.expert < 0 else row.proposer,
            "proposal_age": row.age,
            "observation_age": self.of(row.slot).delay,
            "temperature": 1.0 if row.learned is None else self.of(row.slot).temperature,
        }

    def choose(
        self, row: Row, tick: int, held: int, takeover: Takeover | None, drawn: tuple[int, str, str]
    ) -> tuple[int, str, str]:
        if takeover is not None:
            return (takeover.inputs[0][1] if takeover.inputs else self.wait), "foreign", "external"
        if held >= 0:
            return held, "forced", self.commitments[row.slot][2]
        chosen, kind, source = drawn
        if delay := self.of(row.slot).delay:
            chosen, source = self.drawn.get((row.slot, tick - delay), (self.wait, source))
            kind = "foreign"
        if row.legal is not None and sum(row.legal) == 1:
            return row.legal.index(True), "forced", source
        return chosen, kind, source

    def choose_freely(self, row: Row, tick: int) -> tuple[int, str, str]:
        learned = row.learned
        if learned is None or not learned.opinion:
            return self.script(row), "foreign", "scripted"
        ratio = self.ratio_of(row.slot, tick)
        known = learned.log_probs is not None and not learned.greedy and ratio >= self.min_ratio
        kind = "decision" if known else "foreign"
        if coin(self.seed, row.key, tick) < ratio:
            return learned.action, kind, "learned"
        return self.script(row), kind, "scripted"

    def script(self, row: Row) -> int:
        return self.wait if row.expert < 0 else row.expert

    def log_probs(self, row: Row, tick: int, chosen: int) -> tuple[float, float]:
        assert row.learned is not None
        assert row.learned.log_probs is not None
        log_pi = max(row.learned.log_probs[chosen], FLOOR)
        ratio, temperature = self.ratio_of(row.slot, tick), self.of(row.slot).temperature
        powers = [math.exp(max(log_p, FLOOR) / temperature) for log_p in row.learned.log_probs]
        mu = ratio * powers[chosen] / sum(powers) + (1.0 - ratio) * (chosen == self.script(row))
        return log_pi, math.log(mu)

    def guard(self, row: Row, chosen: int) -> tuple[int, int]:
        action, reason = chosen, 0
        if row.legal is not None and not row.legal[action]:
            action, reason = (self.wait if row.legal[self.wait] else row.legal.index(True)), 1
        if row.slot % 2 and action == self.forbidden:
            others = [a for a in range(len(self.lengths)) if a != action and (row.legal is None or row.legal[a])]
            if others:
                action, reason = others[0], reason or 2
        return action, reason
