"""The rules of the town once more, for one world, one agent at a time: the twin that the arrays are compared with.

Written from the documented rules, with dictionaries and loops, and without any code of the town but its config.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from townlet_runtime.town.config import AffordanceSpec, JobSpec, ObjectSpec, TownConfig

TYPES = ("fridge", "stove", "shower", "bed")


@dataclass
class NaiveObject:
    spec: ObjectSpec
    stock: int


@dataclass
class NaiveAgent:
    x: int
    y: int
    needs: list[float]
    wallet: float
    job: JobSpec | None
    at: int | None = None
    phase: str = "free"
    since: int = 0
    remaining: int = 0
    cooldowns: dict[int, int] = field(default_factory=dict)
    late: int = 0
    option_done: bool = False


class NaiveTown:
    """`agents` by slot; whoever is missing is away."""

    def __init__(self, config: TownConfig, objects: tuple[ObjectSpec, ...], agents: dict[int, NaiveAgent]) -> None:
        self.config = config
        self.tick = 0
        self.agents = agents
        stocks = {"fridge": config.fridge_stock, "stove": config.stove_stock}
        self.objects = [NaiveObject(spec=spec, stock=stocks.get(spec.type, 0)) for spec in objects]
        self.events: dict[str, float] = {}

    def rule(self, index: int) -> AffordanceSpec:
        return self.config.affordances[self.objects[index].spec.type]

    def load(self, index: int) -> int:
        return sum(agent.at == index for agent in self.agents.values())

    def steps(self, agent: NaiveAgent, index: int) -> int:
        x, y = self.objects[index].spec.position
        return abs(agent.x - x) + abs(agent.y - y)

    def choice(self, agent: NaiveAgent, kind: str, way: str) -> int | None:
        """The object that `request:KIND:WAY` means."""
        if agent.at is not None and self.objects[agent.at].spec.type == kind:
            return agent.at
        rule = self.config.affordances[kind]
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

    def legal(self, agent: NaiveAgent, key: str) -> bool:
        width, height = self.config.grid_size
        verb, *rest = key.split(":")
        using = agent.phase == "using"
        if verb == "wait":
            return True
        if verb == "move":
            dx, dy = {"east": (1, 0), "west": (-1, 0), "south": (0, 1), "north": (0, -1)}[rest[0]]
            return not using and 0 <= agent.x + dx < width and 0 <= agent.y + dy < height
        if verb == "request":
            own = agent.at is not None and self.objects[agent.at].spec.type == rest[0]
            return self.choice(agent, rest[0], rest[1]) is not None and (not using or own)
        if verb == "start":
            return agent.phase in ("turn", "using")
        if verb == "release":
            return agent.at is not None
        return not using and agent.job is not None

    def leave(self, agent: NaiveAgent) -> None:
        if agent.phase in ("turn", "using"):
            agent.cooldowns[agent.at] = self.tick + self.config.queue.cooldown_ticks
        agent.at, agent.phase, agent.remaining = None, "free", 0

    def count(self, event: str, amount: float = 1.0) -> None:
        self.events[event] = self.events.get(event, 0.0) + amount

    def step(self, actions: dict[int, str]) -> tuple[dict[int, float], set[int]]:
        """Rewards by slot, and the slots that fainted."""
        self.events = {}
        for agent in self.agents.values():
            agent.option_done = False
        goals = {s: self.goal(self.agents[s], key) for s, key in actions.items()}
        takers = [s for s in sorted(actions) if self.turn_away(self.agents[s], actions[s], goals[s])]
        for slot in sorted(actions):
            self.walk(self.agents[slot], actions[slot], goals[slot])
        self.join(goals)
        self.begin(takers)
        self.use()
        self.pass_stale_turns()
        self.grant()
        if self.tick % self.config.delivery_ticks == 0:
            for item in self.objects:
                if item.spec.type == "stove":
                    item.stock = min(item.stock + self.config.stove_stock_replenish, self.config.stove_stock)
        rewards = {slot: self.live(agent) for slot, agent in self.agents.items()}
        fainted = {s for s, agent in self.agents.items() if min(agent.needs[0], agent.needs[2]) <= 0.0}
        self.tick += 1
        return rewards, fainted

    def goal(self, agent: NaiveAgent, key: str) -> int | None:
        verb, *rest = key.split(":")
        return self.choice(agent, rest[0], rest[1]) if verb == "request" else None

    def turn_away(self, agent: NaiveAgent, key: str, goal: int | None) -> bool:
        """Leave where the action says so; whether the agent takes the turn it holds."""
        same = agent.at is not None and goal == agent.at
        if agent.phase == "using":
            if key == "release":
                self.leave(agent)
                agent.option_done = True
        elif agent.phase != "free":
            if key in ("wait", "start") or same:
                return agent.phase == "turn" and key != "wait"
            self.leave(agent)
        return False

    def walk(self, agent: NaiveAgent, key: str, goal: int | None) -> None:
        if agent.phase != "free":
            return
        to = (agent.x, agent.y)
        if goal is not None:
            to = self.objects[goal].spec.position
        elif key == "go_to:workplace" and agent.job is not None:
            to = agent.job.location
        elif key.startswith("move:"):
            dx, dy = {"east": (1, 0), "west": (-1, 0), "south": (0, 1), "north": (0, -1)}[key[5:]]
            to = (agent.x + dx, agent.y + dy)
        if to[0] != agent.x:
            agent.x += 1 if to[0] > agent.x else -1
        elif to[1] != agent.y:
            agent.y += 1 if to[1] > agent.y else -1

    def join(self, goals: dict[int, int | None]) -> None:
        for slot in sorted(goals):
            agent, goal = self.agents[slot], goals[slot]
            if goal is None or agent.phase != "free" or self.steps(agent, goal) > 0:
                continue
            if agent.cooldowns.get(goal, 0) > self.tick:
                continue
            ahead = self.load(goal) - self.objects[goal].spec.places + 1
            if ahead > 0:
                self.count("queue_conflict_events")
                self.count("queue_conflict_intensity_sum", 1.0 + self.config.queue.length_boost * (ahead - 1))
            agent.at, agent.phase, agent.since = goal, "line", self.tick

    def begin(self, takers: list[int]) -> None:
        before = [item.stock for item in self.objects]
        begun = [0] * len(self.objects)
        for slot in takers:
            agent = self.agents[slot]
            index = agent.at
            rule = self.rule(index)
            stocked = not rule.uses_stock or before[index] > begun[index]
            begun[index] += 1
            if agent.wallet < rule.cost or not stocked:
                self.leave(agent)
                agent.option_done = True
                continue
            self.objects[index].stock -= rule.uses_stock
            agent.wallet -= rule.cost
            agent.phase, agent.remaining, agent.since = "using", rule.duration, self.tick

    def use(self) -> None:
        names = ("meal_events", "cook_events", "shower_complete_events", "sleep_complete_events")
        made = 0
        for slot in sorted(self.agents):
            agent = self.agents[slot]
            if agent.phase != "using":
                continue
            agent.remaining -= 1
            if agent.remaining:
                continue
            rule, kind = self.rule(agent.at), self.objects[agent.at].spec.type
            agent.needs = [min(max(n + e, 0.0), 1.0) for n, e in zip(agent.needs, rule.effects, strict=True)]
            self.count(names[TYPES.index(kind)])
            self.leave(agent)
            agent.option_done = True
            made += rule.meals_made
        fridges = [item for item in self.objects if item.spec.type == "fridge"]
        if made and fridges:
            min(fridges, key=lambda item: item.stock).stock += made

    def pass_stale_turns(self) -> None:
        after = self.config.queue.ghost_step_after
        waiting = {agent.at for agent in self.agents.values() if agent.phase == "line"}
        for agent in self.agents.values():
            if agent.phase == "turn" and self.tick - agent.since >= after and agent.at in waiting:
                self.count("ghost_step_events")
                self.leave(agent)
                agent.option_done = True

    def grant(self) -> None:
        for index, item in enumerate(self.objects):
            taken = sum(a.at == index and a.phase in ("turn", "using") for a in self.agents.values())
            line = [s for s, a in self.agents.items() if a.at == index and a.phase == "line"]
            if line and taken < item.spec.places:
                first = self.agents[min(line, key=lambda s: (self.agents[s].since, s))]
                first.phase, first.since = "turn", self.tick

    def live(self, agent: NaiveAgent) -> float:
        """Needs decay, work, reward; without the penalty for fainting."""
        rules = self.config.rewards
        agent.needs = [max(n - d, 0.0) for n, d in zip(agent.needs, self.config.needs_decay, strict=True)]
        lack = sum(w * (1.0 - n) for w, n in zip(rules.needs_weights, agent.needs, strict=True))
        reward = rules.survival_tick - rules.needs_penalty * lack / sum(rules.needs_weights)
        job, day_tick = agent.job, self.tick % self.config.ticks_per_day
        if job is not None and job.start_tick <= day_tick < job.end_tick:
            there = (agent.x, agent.y) == job.location
            if day_tick == job.start_tick:
                agent.late = 0
                reward += rules.punctuality_bonus if there else -job.lateness_penalty
            if not there:
                agent.late += 1
                self.count("late_ticks")
                reward -= rules.late_tick_penalty
            elif agent.phase == "free":
                agent.wallet += job.wage_rate
                self.count("worked_ticks")
                reward += rules.wage_rate
        return min(max(reward, -rules.clip_per_tick), rules.clip_per_tick)
