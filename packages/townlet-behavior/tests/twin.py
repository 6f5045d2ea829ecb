"""The bridge again, as one would write it first: one agent at a time, dictionaries, no arrays.

An action is a tuple: of one index, of an index for each part, or of numbers.
"""

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


Action = tuple[float, ...]


@dataclass
class Learned:
    """What the policy says about one agent."""

    action: Action
    log_probs: list[list[float]] | None
    """Of the values of each part."""
    density: float | None
    """Of numbers: its logarithm, of `action`."""
    value: float
    greedy: bool
    opinion: bool


@dataclass
class Row:
    """One agent at one tick."""

    slot: int
    key: int
    expert: Action | None
    legal: list[list[bool]] | None
    """The values of each part."""
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
    inputs: list[tuple[int, Action | int]] = field(default_factory=list)
    """Number and action of each that waits."""


@dataclass
class Twin:
    """A bridge whose only guardrail forbids `forbidden` in odd slots.

    As the value of the first part it is replaced by the first other legal one, where there is one. Of numbers the first
    must not be above it, and is replaced by 0.
    """

    wait: Action
    sizes: tuple[int, ...]
    """Number of values of each part; none of numbers."""
    lengths: list[int]
    """Of commitments, by action; none where actions are no options."""
    seed: int
    min_ratio: float
    forbidden: float
    ratio: float = 0.0
    switch: bool = False
    bounds: tuple[Action, Action] | None = None
    """Of numbers."""
    commitments: dict[int, tuple[Action, int, str]] = field(default_factory=dict)
    takeovers: dict[int, Takeover] = field(default_factory=dict)
    present: set[int] = field(default_factory=set)
    ends: dict[int, tuple[str, int | None]] = field(default_factory=dict)
    """By number of the input, reason and tick."""
    told: list[tuple[int, str | None, str]] = field(default_factory=list)
    """Slot, owner and reason of the possessions that were not released."""
    num_inputs: int = 0
    own: dict[int, Own] = field(default_factory=dict)
    drawn: dict[tuple[int, int], tuple[Action, str]] = field(default_factory=dict)
    """By slot and tick, while an agent has a delay; of ticks that are equal modulo `remembered` the newest alone."""
    remembered: int = 0
    """The longest delay since an agent has one, and this tick."""
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

    def feed(self, slot: int, action: Action | int, *, queue: bool) -> None:
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
        self.drawn = {key: choice for key, choice in self.drawn.items() if key[0] != slot}
        self.forget_delays()

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
        self.forget_delays()
        if self.has_delays():
            self.remembered = max(self.remembered, 1 + max(own.delay for own in self.own.values()))
            for tick in sorted({tick for _, tick in self.drawn}):
                self.forget_before(tick)

    def forget_delays(self) -> None:
        """Remember nothing where no agent has a delay."""
        if not self.has_delays():
            self.drawn.clear()
            self.remembered = 0

    def forget_before(self, tick: int) -> None:
        """Forget the older ticks in whose place this one is."""
        place = tick % self.remembered
        older = {then for _, then in self.drawn if then < tick and then % self.remembered == place}
        self.drawn = {key: choice for key, choice in self.drawn.items() if key[1] not in older}

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
        if until <= tick or row.done or (row.legal is not None and not is_legal(row, action)):
            del self.commitments[row.slot]
            return -1, 0
        return int(action[0]), until - tick

    def expire(self, tick: int) -> None:
        for slot in sorted(slot for slot, takeover in self.takeovers.items() if takeover.until <= tick):
            self.end(slot, "lapsed")

    def decide(self, rows: list[Row], tick: int) -> list[dict[str, object]]:
        self.since |= {slot: tick for slot, since in self.since.items() if since is None}
        if self.has_delays():
            self.forget_before(tick)
        decided = [self.decide_one(row, tick) for row in rows]
        self.expire(tick + 1)
        return decided

    def decide_one(self, row: Row, tick: int) -> dict[str, object]:
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
        elif held_action < 0 and takeover is None and self.lengths and self.lengths[int(chosen[0])] > 1:
            self.commitments[row.slot] = (chosen, tick + self.lengths[int(chosen[0])], source)
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
            "expert_action": row.expert or ((-1,) * len(self.wait) if self.bounds is None else (0.0,) * len(self.wait)),
            "behavior_log_prob": behavior_log_prob,
            "policy_log_prob": policy_log_prob,
            "value": row.learned.value if row.learned is not None else 0.0,
            "ratio": self.ratio_of(row.slot, tick),
            "held_action": held_action,
            "ticks_left": ticks_left,
            "drawn_action": drawn[0],
            "proposer": -1 if row.expert is None else row.proposer,
            "proposal_age": row.age,
            "observation_age": self.of(row.slot).delay,
            "temperature": 1.0 if row.learned is None else self.of(row.slot).temperature,
        }

    def choose(
        self, row: Row, tick: int, held: int, takeover: Takeover | None, drawn: tuple[Action, str, str]
    ) -> tuple[Action, str, str]:
        if takeover is not None:
            return (takeover.inputs[0][1] if takeover.inputs else self.wait), "foreign", "external"
        if held >= 0:
            return (held,), "forced", self.commitments[row.slot][2]
        chosen, kind, source = drawn
        if delay := self.of(row.slot).delay:
            chosen, source = self.drawn.get((row.slot, tick - delay), (self.wait, source))
            kind = "foreign"
        if row.legal is not None and all(sum(part) == 1 for part in row.legal):
            return tuple(part.index(True) for part in row.legal), "forced", source
        return chosen, kind, source

    def choose_freely(self, row: Row, tick: int) -> tuple[Action, str, str]:
        learned = row.learned
        if learned is None or not learned.opinion:
            return self.script(row), "foreign", "scripted"
        ratio = self.ratio_of(row.slot, tick)
        described = (learned.log_probs is not None or learned.density is not None) and not learned.greedy
        known = described and (self.switch or ratio >= self.min_ratio)
        if coin(self.seed, row.key, tick) < ratio:
            return learned.action, "decision" if known else "foreign", "learned"
        return self.script(row), "decision" if known and not self.switch else "foreign", "scripted"

    def script(self, row: Row) -> Action:
        return self.wait if row.expert is None else row.expert

    def log_probs(self, row: Row, tick: int, chosen: Action) -> tuple[float, float]:
        assert row.learned is not None
        if row.learned.density is not None:
            return row.learned.density, row.learned.density
        assert row.learned.log_probs is not None
        log_pi, pi = 0.0, 1.0
        ratio, temperature = self.ratio_of(row.slot, tick), self.of(row.slot).temperature
        for index, part in zip(chosen, row.learned.log_probs, strict=True):
            powers = [math.exp(max(log_p, FLOOR) / temperature) for log_p in part]
            log_pi, pi = log_pi + part[int(index)], pi * powers[int(index)] / sum(powers)
        mu = pi if self.switch else ratio * pi + (1.0 - ratio) * (chosen == self.script(row))
        return max(log_pi, FLOOR), math.log(mu)

    def guard(self, row: Row, chosen: Action) -> tuple[Action, int]:
        if self.bounds is not None:
            action = tuple(min(max(number, low), high) for number, low, high in zip(chosen, *self.bounds, strict=True))
            return ((0.0, *action[1:]), 2) if row.slot % 2 and action[0] > self.forbidden else (action, 0)
        action, reason = chosen, 0
        if row.legal is not None and not is_legal(row, action):
            reason = 1
            action = tuple(
                index if part[int(index)] else (wait if part[int(wait)] else part.index(True))
                for index, wait, part in zip(action, self.wait, row.legal, strict=True)
            )
        if row.slot % 2 and action[0] == self.forbidden:
            others = [a for a in range(self.sizes[0]) if a != action[0] and (row.legal is None or row.legal[0][a])]
            if others:
                action, reason = (others[0], *action[1:]), reason or 2
        return action, reason


def is_legal(row: Row, action: Action) -> bool:
    assert row.legal is not None
    return all(part[int(index)] for index, part in zip(action, row.legal, strict=True))
