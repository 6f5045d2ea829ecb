"""The rules of the town once more, for one world, one agent at a time: the twin that the arrays are compared with.

Written from the documented rules, with dictionaries and loops, and without any code of the town but its config.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from naive_minds import NaiveMinds

from townlet_behavior.personality import PROFILES
from townlet_runtime.town.config import AffordanceSpec, JobSpec, ObjectSpec, TownConfig

TYPES = ("fridge", "stove", "shower", "bed")
PLAIN = AffordanceSpec(id="plain", duration=10, effects=(0.0, 0.0, 0.0))
"""What a use of any other type is."""
SIDES = {"east": (1, 0), "west": (-1, 0), "south": (0, 1), "north": (0, -1)}


@dataclass
class NaiveObject:
    spec: ObjectSpec
    stock: int
    given_up: tuple[int, int, bool] | None = None
    """Tick, slot, whether the turn had gone stale: of whoever had the last turn that ended."""


@dataclass
class NaiveAgent:
    x: int
    y: int
    needs: list[float]
    wallet: float
    job: JobSpec | None
    extroversion: float
    profile: int
    leaves_at: int
    at: int | None = None
    phase: str = "free"
    since: int = 0
    remaining: int = 0
    cooldowns: dict[int, int] = field(default_factory=dict)
    late: int = 0
    chat_ready_at: int = 0
    option_done: bool = False

    @property
    def cell(self) -> tuple[int, int]:
        return self.x, self.y


@dataclass
class NaiveTalk:
    speaker: int
    partner: int
    blocked: bool


class NaiveTown:
    """`agents` by slot; whoever is missing is away, until the tick that `away` says."""

    def __init__(
        self, config: TownConfig, objects: tuple[ObjectSpec, ...], agents: dict[int, NaiveAgent], minds: NaiveMinds
    ) -> None:
        self.config = config
        self.tick = 0
        self.agents = agents
        self.away: dict[int, int] = {}
        self.minds = minds
        stocks = {"fridge": config.fridge_stock, "stove": config.stove_stock}
        self.objects = [NaiveObject(spec=spec, stock=stocks.get(spec.type, 0)) for spec in objects]
        self.events: dict[str, float] = {}
        self.blocked: set[int] = set()

    @property
    def kinds(self) -> list[str]:
        return [*TYPES, *sorted({item.spec.type for item in self.objects if item.spec.type not in TYPES})]

    def rule(self, kind: str) -> AffordanceSpec:
        return self.config.affordances[kind] if kind in TYPES else PLAIN

    def load(self, index: int) -> int:
        return sum(agent.at == index for agent in self.agents.values())

    def steps(self, agent: NaiveAgent, index: int) -> int:
        x, y = self.objects[index].spec.position
        return abs(agent.x - x) + abs(agent.y - y)

    def choice(self, agent: NaiveAgent, kind: str, way: str) -> int | None:
        """The object that `request:KIND:WAY` means."""
        if agent.at is not None and self.objects[agent.at].spec.type == kind:
            return agent.at
        rule = self.rule(kind)
        usable = [
            i
            for i, item in enumerate(self.objects)
            if item.spec.type == kind and (item.stock > 0 or not rule.uses_stock) and agent.wallet >= rule.cost
        ]
        if not usable:
            return None
        if way == "first":
            return usable[0]
        if way == "nearest":
            return min(usable, key=lambda i: (self.steps(agent, i), i))
        return min(usable, key=lambda i: (self.load(i), self.steps(agent, i), i))

    def others_here(self, slot: int) -> list[int]:
        cell = self.agents[slot].cell
        return [other for other, agent in self.agents.items() if agent.cell == cell and other != slot]

    def legal(self, slot: int, key: str) -> bool:
        agent = self.agents[slot]
        width, height = self.config.grid_size
        verb, *rest = key.split(":")
        using = agent.phase == "using"
        if verb == "wait":
            return True
        if verb == "move":
            dx, dy = SIDES[rest[0]]
            return not using and 0 <= agent.x + dx < width and 0 <= agent.y + dy < height
        if verb == "request":
            own = agent.at is not None and self.objects[agent.at].spec.type == rest[0]
            return self.choice(agent, rest[0], rest[1]) is not None and (not using or own)
        if verb == "start":
            return agent.phase in ("turn", "using")
        if verb == "release":
            return agent.at is not None
        if verb == "chat":
            ready = self.config.social.relationships and self.tick >= agent.chat_ready_at
            return ready and not using and bool(self.others_here(slot))
        return not using and agent.job is not None

    def partner(self, slot: int) -> int:
        """Whom a chat would be with."""
        here = sorted(self.others_here(slot))
        known = [other for other in here if self.minds.knows(slot, other)]
        strangers = [other for other in here if other not in known]
        best = min(known, key=lambda other: (-self.minds.liking(slot, other), other), default=None)
        if best is not None and (self.minds.liking(slot, best) > 0.0 or not strangers):
            return best
        return strangers[0]

    def chat_score(self, slot: int) -> float:
        """Of the partner; 0 where no chat is possible."""
        if not self.legal(slot, "chat"):
            return 0.0
        partner = self.partner(slot)
        return self.minds.liking(slot, partner) + 0.1 * self.agents[slot].extroversion

    def rival_here(self, slot: int) -> bool:
        return any(self.minds.avoids(slot, other) for other in self.others_here(slot))

    def vetoed(self, slot: int, key: str) -> str | None:
        """Why the guardrail forbids an action."""
        agent = self.agents[slot]
        if key == "chat":
            return "chat_rival" if self.minds.avoids(slot, self.partner(slot)) else None
        wanted = agent.at if key == "start" else self.goal(agent, key)
        if wanted is None or agent.phase == "using":
            return None
        there = [other for other, one in self.agents.items() if one.at == wanted]
        return "queue_rival" if any(self.minds.avoids(slot, other) for other in there) else None

    def leave(self, slot: int, *, stale: bool = False) -> None:
        agent = self.agents[slot]
        if agent.phase in ("turn", "using"):
            agent.cooldowns[agent.at] = self.tick + self.config.queue.cooldown_ticks
            self.objects[agent.at].given_up = (self.tick, slot, stale)
        agent.at, agent.phase, agent.remaining = None, "free", 0

    def count(self, event: str, amount: float = 1.0) -> None:
        self.events[event] = self.events.get(event, 0.0) + amount

    def step(self, actions: dict[int, str]) -> tuple[dict[int, float], set[int], set[int]]:
        """Rewards by slot without the penalty for fainting, the slots that fainted, the slots that left."""
        self.events = {}
        for agent in self.agents.values():
            agent.option_done = False
        talkers = {s for s, key in actions.items() if key == "chat" and self.legal(s, key)} | self.blocked
        talks = [NaiveTalk(s, self.partner(s), s in self.blocked) for s in sorted(talkers)]
        near_rivals = {s: self.agents[s].cell for s in self.agents if self.rival_here(s)}
        avoided = {s: {o for o in self.agents if self.minds.avoids(s, o)} for s in near_rivals}
        goals = {s: self.goal(self.agents[s], key) for s, key in actions.items()}
        takers = [s for s in sorted(actions) if self.turn_away(s, actions[s], goals[s])]
        for slot in sorted(actions):
            self.walk(self.agents[slot], actions[slot], goals[slot])
        self.join(goals)
        self.begin(takers)
        earned = dict.fromkeys(self.agents, 0.0)
        self.talk(talks, earned)
        if self.config.social.social_rewards in ("C2", "C3"):
            for slot, cell in near_rivals.items():
                if self.agents[slot].cell != cell and not avoided[slot] & set(self.others_here(slot)):
                    earned[slot] += self.config.social.avoid_conflict
        self.use()
        self.pass_stale_turns()
        self.grant()
        if self.tick % self.config.delivery_ticks == 0:
            for item in self.objects:
                if item.spec.type == "stove":
                    item.stock = min(item.stock + self.config.stove_stock_replenish, self.config.stove_stock)
        if self.tick % 50 == 49:
            self.minds.fade()
        rewards = self.live(earned)
        fainted = {s for s, agent in self.agents.items() if min(agent.needs[0], agent.needs[2]) <= 0.0}
        self.tick += 1
        self.minds.at(self.tick)
        self.minds.forget_faded_rivals()
        self.blocked = set()
        left = {s for s, agent in self.agents.items() if self.tick >= agent.leaves_at and s not in fainted}
        return rewards, fainted, left

    def depart(self, fainted: set[int], left: set[int]) -> list[int]:
        """Take them out; return the slots of those who are back."""
        for slots, event, ticks in (
            (fainted, "faint_events", self.config.lifecycle.respawn_delay_ticks),
            (left, "departure_events", self.config.lifecycle.away_ticks),
        ):
            for slot in slots:
                self.count(event)
                del self.agents[slot]
                self.away[slot] = self.tick + ticks
        back = [slot for slot, tick in self.away.items() if tick <= self.tick]
        for slot in back:
            self.count("arrival_events")
            del self.away[slot]
        return back

    def goal(self, agent: NaiveAgent, key: str) -> int | None:
        verb, *rest = key.split(":")
        return self.choice(agent, rest[0], rest[1]) if verb == "request" else None

    def turn_away(self, slot: int, key: str, goal: int | None) -> bool:
        """Leave where the action says so; whether the agent takes the turn it holds."""
        agent = self.agents[slot]
        same = agent.at is not None and goal == agent.at
        if agent.phase == "using":
            if key == "release":
                self.leave(slot)
                agent.option_done = True
        elif agent.phase != "free":
            if key in ("wait", "start", "chat") or same:
                return agent.phase == "turn" and key not in ("wait", "chat")
            self.leave(slot)
        return False

    def walk(self, agent: NaiveAgent, key: str, goal: int | None) -> None:
        if agent.phase != "free":
            return
        to = agent.cell
        if goal is not None:
            to = self.objects[goal].spec.position
        elif key == "go_to:workplace" and agent.job is not None:
            to = agent.job.location
        elif key.startswith("move:"):
            dx, dy = SIDES[key[5:]]
            to = (agent.x + dx, agent.y + dy)
        if to[0] != agent.x:
            agent.x += 1 if to[0] > agent.x else -1
        elif to[1] != agent.y:
            agent.y += 1 if to[1] > agent.y else -1

    def line(self, index: int) -> list[int]:
        """Everybody at an object: those with a turn, then those in line, the longest there first."""
        there = [s for s, agent in self.agents.items() if agent.at == index]
        return sorted(there, key=lambda s: (self.agents[s].phase == "line", self.agents[s].since, s))

    def fall_out(self, conflicts: list[tuple[int, int, float]]) -> None:
        for a, b, intensity in conflicts:
            self.count("queue_conflict_events")
            self.count("queue_conflict_intensity_sum", intensity)
            self.minds.change(a, b, 0.0, 0.0, self.config.rivalry.increment_per_conflict * intensity)
        for a, b, intensity in conflicts:
            self.minds.change(b, a, 0.0, 0.0, self.config.rivalry.increment_per_conflict * intensity)

    def join(self, goals: dict[int, int | None]) -> None:
        conflicts = []
        for slot in sorted(goals):
            agent, goal = self.agents[slot], goals[slot]
            if goal is None or agent.phase != "free" or self.steps(agent, goal) > 0:
                continue
            if agent.cooldowns.get(goal, 0) > self.tick:
                continue
            ahead = self.load(goal) - self.objects[goal].spec.places + 1
            agent.at, agent.phase, agent.since = goal, "line", self.tick
            if ahead > 0:
                line = self.line(goal)
                intensity = 1.0 + self.config.rivalry.queue_length_boost * (ahead - 1)
                conflicts.append((slot, line[line.index(slot) - 1], intensity))
        self.fall_out(conflicts)

    def begin(self, takers: list[int]) -> None:
        before = [item.stock for item in self.objects]
        begun = [0] * len(self.objects)
        for slot in takers:
            agent = self.agents[slot]
            index = agent.at
            rule = self.rule(self.objects[index].spec.type)
            stocked = not rule.uses_stock or before[index] > begun[index]
            begun[index] += 1
            if agent.wallet < rule.cost or not stocked:
                self.leave(slot)
                agent.option_done = True
                continue
            self.objects[index].stock -= rule.uses_stock
            agent.wallet -= rule.cost
            agent.phase, agent.remaining, agent.since = "using", rule.duration, self.tick

    def talk(self, talks: list[NaiveTalk], earned: dict[int, float]) -> None:
        social, minds = self.config.social, self.minds
        changes = []
        for talk in talks:
            a, b = talk.speaker, talk.partner
            quality = self.quality(a, b)
            self.agents[a].chat_ready_at = self.tick + social.chat_cooldown_ticks
            if talk.blocked or minds.avoids(b, a) or self.agents[a].cell != self.agents[b].cell:
                self.count("chat_failure_events")
                changes.append((a, b, -0.005, 0.0, 0.0))
                continue
            self.count("chat_success_events")
            self.count("chat_quality_sum", quality)
            changes.append((a, b, quality * 0.005, quality * 0.01, 0.0))
            if social.social_rewards != "OFF":
                earned[a] += quality * self.worth(a, b)
            if social.social_rewards == "C3":
                earned[b] += quality * self.worth(b, a)
        for change in changes:
            minds.change(*change)
        for a, b, trust, familiarity, rivalry in changes:
            if trust > 0.0:
                minds.change(b, a, trust, familiarity, rivalry)

    def quality(self, a: int, b: int) -> float:
        agent, (trust, familiarity) = self.agents[a], self.minds.tie(a, b)
        quality = 0.5 + 0.3 * agent.extroversion + 0.2 * trust + 0.1 * familiarity - 0.2 * self.minds.rivalry(a, b)
        likes = PROFILES[agent.profile].chat_preference if self.config.personality.profiles else 1.0
        return min(max(quality * min(max(likes, 0.5), 1.5), 0.1), 1.0)

    def worth(self, a: int, b: int) -> float:
        social, (trust, familiarity) = self.config.social, self.minds.tie(a, b)
        return max(social.chat_base + social.coeff_trust * trust + social.coeff_familiarity * familiarity, 0.0)

    def use(self) -> None:
        names = ("meal_events", "cook_events", "shower_complete_events", "sleep_complete_events")
        users = [s for s in sorted(self.agents) if self.agents[s].phase == "using"]
        eating = [s for s in users if self.objects[self.agents[s].at].spec.type == "fridge"]
        done, made, meals = [], 0, []
        for slot in users:
            agent = self.agents[slot]
            agent.remaining -= 1
            if agent.remaining:
                continue
            kind = self.objects[agent.at].spec.type
            rule = self.rule(kind)
            agent.needs = [min(max(n + e, 0.0), 1.0) for n, e in zip(agent.needs, rule.effects, strict=True)]
            if kind in TYPES:
                self.count(names[TYPES.index(kind)])
            made += rule.meals_made
            done.append(slot)
            company = [s for s in eating if s != slot]
            if kind == "fridge" and company and self.config.social.relationships:
                self.count("shared_meal_events")
                meals.append((slot, min(company, key=lambda s: (self.apart(agent, self.agents[s]), s))))
        self.minds.bond(meals, 0.01, 0.025, 0.0)
        for slot in done:
            self.leave(slot)
            self.agents[slot].option_done = True
        fridges = [item for item in self.objects if item.spec.type == "fridge"]
        if made and fridges:
            min(fridges, key=lambda item: item.stock).stock += made

    @staticmethod
    def apart(one: NaiveAgent, other: NaiveAgent) -> int:
        return abs(one.x - other.x) + abs(one.y - other.y)

    def pass_stale_turns(self) -> None:
        after = self.config.queue.ghost_step_after
        waiting = {agent.at for agent in self.agents.values() if agent.phase == "line"}
        for slot, agent in sorted(self.agents.items()):
            if agent.phase == "turn" and self.tick - agent.since >= after and agent.at in waiting:
                self.count("ghost_step_events")
                self.leave(slot, stale=True)
                agent.option_done = True

    def grant(self) -> None:
        conflicts = []
        for index, item in enumerate(self.objects):
            taken = sum(a.at == index and a.phase in ("turn", "using") for a in self.agents.values())
            line = [s for s in self.line(index) if self.agents[s].phase == "line"]
            if not line or taken >= item.spec.places:
                continue
            first = self.agents[line[0]]
            first.phase, first.since = "turn", self.tick
            if item.given_up is not None and item.given_up[0] == self.tick and item.given_up[1] != line[0]:
                rules, (_, slot, stale) = self.config.rivalry, item.given_up
                boost = rules.ghost_step_boost if stale else rules.handover_boost
                conflicts.append((line[0], slot, boost + rules.queue_length_boost * (len(line) - 1)))
        self.fall_out(conflicts)

    def live(self, earned: dict[int, float]) -> dict[int, float]:
        """Needs decay, work, reward; without the penalty for fainting."""
        rules, day_tick = self.config.rewards, self.tick % self.config.ticks_per_day
        on_shift = {s for s, a in self.agents.items() if a.job and a.job.start_tick <= day_tick < a.job.end_tick}
        at_work = {s for s in on_shift if self.agents[s].cell == self.agents[s].job.location}
        working = {s for s in at_work if self.agents[s].phase == "free"}
        if self.config.social.relationships:
            self.help(day_tick, at_work, working)
        rewards = {}
        for slot, agent in self.agents.items():
            agent.needs = [max(n - d, 0.0) for n, d in zip(agent.needs, self.config.needs_decay, strict=True)]
            lack = sum(w * (1.0 - n) for w, n in zip(rules.needs_weights, agent.needs, strict=True))
            reward = rules.survival_tick - rules.needs_penalty * lack / sum(rules.needs_weights) + earned[slot]
            if slot in on_shift:
                reward += self.work(agent, day_tick, there=slot in at_work, works=slot in working)
            rewards[slot] = min(max(reward, -rules.clip_per_tick), rules.clip_per_tick)
        if self.config.social.relationships:
            self.take_over(day_tick, on_shift - at_work, working)
        return rewards

    def work(self, agent: NaiveAgent, day_tick: int, *, there: bool, works: bool) -> float:
        rules, reward = self.config.rewards, 0.0
        if day_tick == agent.job.start_tick:
            agent.late = 0
            reward += rules.punctuality_bonus if there else -agent.job.lateness_penalty
        if not there:
            agent.late += 1
            self.count("late_ticks")
            reward -= rules.late_tick_penalty
        elif works:
            agent.wallet += agent.job.wage_rate
            self.count("worked_ticks")
            reward += rules.wage_rate
        return reward

    def help(self, day_tick: int, at_work: set[int], working: set[int]) -> None:
        """Who comes to a shift that it has missed so far is helped by a colleague who works already."""

        def missed_so_far(slot: int) -> bool:
            agent = self.agents[slot]
            return 0 < agent.late == day_tick - agent.job.start_tick

        arrives = sorted(s for s in at_work if missed_so_far(s))
        helpers = sorted(working - set(arrives))
        pairs = [(s, h) for s in arrives for h in self.colleagues(s, helpers)[:1]]
        for _ in pairs:
            self.count("late_help_events")
        self.minds.bond(pairs, 0.02, 0.01, -0.2)

    def take_over(self, day_tick: int, late: set[int], working: set[int]) -> None:
        """A colleague who works takes over from who has missed the whole shift for `takeover_ticks`."""
        ticks = self.config.social.takeover_ticks
        due = sorted(s for s in late if day_tick - self.agents[s].job.start_tick + 1 == ticks == self.agents[s].late)
        pairs = [(s, h) for s in due for h in self.colleagues(s, sorted(working))[:1]]
        for _ in pairs:
            self.count("shift_takeover_events")
        self.minds.bond(pairs, -0.03, 0.0, 0.3)

    def colleagues(self, slot: int, among: list[int]) -> list[int]:
        return [s for s in among if self.agents[s].job == self.agents[slot].job]
