from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from plain_world import Bond, Mind, Person, PlainWorld, Thing, Use
from strategies import bools, ints

from townlet_behavior import (
    AgentIntent,
    ConfigError,
    ScriptedActions,
    ScriptedBehavior,
    ScriptedConfig,
    ScriptedController,
    Shift,
    StateError,
)
from townlet_behavior.testing import PlainView, plain_view

JOBS = {"baker": Shift(start_tick=40, location=(2, 2)), "smith": Shift(start_tick=12, location=(0, 0))}
KEYS = ("wait", "start", "work", "eat", "cook", "wash", "sleep", "chat", "+x", "-x", "+y", "-y")
ACTIONS = ScriptedActions(wait=0, start=1, go_to_work=2, eat=3, cook=4, wash=5, sleep=6, chat=7)
SIDES = {"+x": (1, 0), "-x": (-1, 0), "+y": (0, 1), "-y": (0, -1)}
TYPES = {"eat": "fridge", "cook": "stove", "wash": "shower", "sleep": "bed"}
STOCK = {"fridge": "meals", "stove": "ingredients"}
PROFILES = ("balanced", "industrious", "socialite", "stoic")
SIZE = 3
COOLDOWN = 30


@dataclass
class Seen:
    """A world, and what a script may ask of it about one agent, worked out the long way."""

    world: PlainWorld
    agent_id: str
    config: ScriptedConfig
    chatted: dict[str, int]

    @property
    def agent(self) -> Person:
        return self.world.agents[self.agent_id]

    def avoids(self, other: str) -> bool:
        return other != self.agent_id and self.world.rivalry_should_avoid(self.agent_id, other)

    def using(self) -> bool:
        return self.agent_id in [use.agent_id for use in self.world.running_affordances.values()]

    def first(self, kind: str) -> str | None:
        for name, thing in self.world.objects.items():
            if thing.object_type == kind and (kind not in STOCK or thing.stock.get(STOCK[kind], 0) > 0):
                return name
        return None

    def rival_at(self, kind: str) -> bool:
        name = self.first(kind)
        if name is None:
            return False
        there = list(self.world.lines.get(name, []))
        if name in self.world.turns:
            there.append(self.world.turns[name])
        if name in self.world.running_affordances:
            there.append(self.world.running_affordances[name].agent_id)
        return any(map(self.avoids, there))

    def company(self) -> list[str]:
        return [
            name
            for name, other in self.world.agents.items()
            if name != self.agent_id and other.position == self.agent.position
        ]

    def preference(self) -> float:
        return 1.3 if self.config.personality_profiles and self.agent.personality_profile == "socialite" else 1.0

    def partner(self) -> str | None:
        last = self.chatted.get(self.agent_id)
        if last is not None and self.world.tick - last < COOLDOWN / self.preference():
            return None
        best, most = None, 0.0
        for other in self.company():
            bond = self.world.bonds.get((self.agent_id, other), Bond(0.0, 0.0))
            liking = bond.trust + bond.familiarity - self.world.rivalry_value(self.agent_id, other)
            score = liking + 0.1 * self.agent.personality.extroversion
            if not self.avoids(other) and score > most:
                best, most = other, score
        return best

    def step_away(self) -> int:
        x, y = self.agent.position
        for key, (dx, dy) in SIDES.items():
            cell = (x + dx, y + dy)
            on_grid = 0 <= cell[0] < SIZE and 0 <= cell[1] < SIZE
            if on_grid and cell not in [other.position for other in self.world.agents.values()]:
                return KEYS.index(key)
        return -1


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayView(PlainView):
    """The `ScriptedView` of a plain world: one row for each agent, from `Seen`."""

    seen: tuple[Seen, ...]

    def __getattr__(self, name: str) -> np.ndarray:
        rows = {
            "using": lambda one: one.using(),
            "holds_turn": lambda one: one.agent_id in one.world.turns.values(),
            "needs": lambda one: np.array(
                [one.agent.needs[need] for need in ("hunger", "hygiene", "energy")], np.float32
            ),
            "tick_of_day": lambda one: one.world.tick,
            "shift_start": lambda one: JOBS[one.agent.job_id].start_tick if one.agent.job_id in JOBS else -1,
            "at_workplace": lambda one: (
                one.agent.job_id in JOBS and one.agent.position == JOBS[one.agent.job_id].location
            ),
            "can_eat": lambda one: one.first("fridge") is not None,
            "can_cook": lambda one: one.first("stove") is not None,
            "can_wash": lambda one: one.first("shower") is not None,
            "can_sleep": lambda one: one.first("bed") is not None,
            "can_chat": lambda one: one.partner() is not None,
            "extroversion": lambda one: float(one.agent.personality.extroversion),
            "rival_here": lambda one: any(map(one.avoids, one.company())),
            "step_away": lambda one: one.step_away(),
            "profile": lambda one: PROFILES.index(one.agent.personality_profile),
        }
        return np.array([rows[name](one) for one in self.seen])

    def lines_up_with_rival(self, actions: NDArray[np.int64]) -> NDArray[np.bool_]:
        rows = zip(self.seen, (KEYS[action] for action in actions), strict=True)
        return bools(*[key in TYPES and one.rival_at(TYPES[key]) and not one.using() for one, key in rows])


def expected(seen: Seen, key: str) -> AgentIntent:
    """The intent that an action of the vectorized script means."""
    x, y = seen.agent.position
    if key in SIDES:
        return AgentIntent(kind="move", position=(x + SIDES[key][0], y + SIDES[key][1]))
    if key == "work":
        return AgentIntent(kind="move", position=JOBS[seen.agent.job_id].location)
    if key == "wait":
        return AgentIntent(kind="wait")
    if key == "chat":
        other = seen.partner()
        bond = seen.world.bonds.get((seen.agent_id, other), Bond(0.0, 0.0))
        mood = 0.5 + 0.3 * seen.agent.personality.extroversion + 0.2 * bond.trust + 0.1 * bond.familiarity
        mood -= 0.2 * seen.world.rivalry_value(seen.agent_id, other)
        quality = min(max(mood * seen.preference(), 0.1), 1.0)
        return AgentIntent(kind="chat", target_agent=other, quality=quality)
    if key == "start":
        name = next(name for name in seen.world.objects if seen.world.turns.get(name) == seen.agent_id)
        return AgentIntent(kind="start", object_id=name, affordance_id=WHAT[seen.world.objects[name].object_type])
    return AgentIntent(kind="request", object_id=seen.first(TYPES[key]), affordance_id=WHAT[TYPES[key]])


WHAT = {"fridge": "eat_meal", "stove": "cook_meal", "shower": "use_shower", "bed": "rest_sleep", "bench": None}

NAMES = ("ann", "bob", "eve", "joe")
levels = st.sampled_from([0.0, 0.1, 0.38, 0.4, 0.42, 1.0])
cells = st.tuples(st.integers(0, SIZE - 1), st.integers(0, SIZE - 1)) | st.just((1, 1))
persons = st.builds(
    Person,
    position=cells,
    needs=st.fixed_dictionaries({"hunger": levels, "hygiene": levels, "energy": levels}),
    personality=st.builds(Mind, st.sampled_from([0.0, 0.15, 0.16, 0.2, 0.9])),
    personality_profile=st.sampled_from(PROFILES),
    job_id=st.sampled_from([None, "baker", "smith", "poet"]),
)
things = st.builds(
    Thing,
    object_type=st.sampled_from(["fridge", "stove", "shower", "bed", "bench"]),
    stock=st.fixed_dictionaries({"meals": st.integers(0, 1), "ingredients": st.integers(0, 1)}),
)
configs = st.builds(
    ScriptedConfig,
    job_arrival_buffer=st.integers(0, 25),
    personality_profiles=st.booleans(),
    reward_multipliers=st.booleans(),
)


@st.composite
def worlds(draw: st.DrawFn) -> PlainWorld:
    agents = {name: draw(persons) for name in NAMES[: draw(st.integers(1, 4))]}
    objects = {f"thing_{index}": thing for index, thing in enumerate(draw(st.lists(things, max_size=5)))}
    pairs = [(one, other) for one in agents for other in agents if one != other]
    world = PlainWorld(agents, objects, tick=draw(st.integers(0, 60)))
    # Every agent uses, holds the turn at, or waits for one object at most.
    for name in agents:
        if objects and draw(st.booleans()):
            thing = draw(st.sampled_from(list(objects)))
            way = draw(st.sampled_from(["use", "turn", "line"]))
            if way == "use" and thing not in world.running_affordances:
                world.running_affordances[thing] = Use(name)
            elif way == "turn" and thing not in world.turns:
                world.turns[thing] = name
            elif way == "line":
                world.lines.setdefault(thing, []).append(name)
    feelings = st.sampled_from([-0.5, 0.0, 0.2, 0.7])
    world.bonds = {pair: Bond(draw(feelings), draw(feelings)) for pair in pairs if draw(st.booleans())}
    world.rivalries = {pair: draw(st.sampled_from([0.0, 0.1, 0.5, 1.0])) for pair in pairs if draw(st.booleans())}
    return world


def script_of(config: ScriptedConfig) -> ScriptedBehavior:
    return ScriptedBehavior(config, jobs=JOBS, chat_cooldown_ticks=COOLDOWN, grid_size=(SIZE, SIZE))


@given(world=worlds(), config=configs, chatted=st.dictionaries(st.sampled_from(NAMES), st.integers(0, 35)))
@example(world=PlainWorld({"ann": Person()}), config=ScriptedConfig(), chatted={})
def test_it_decides_like_the_vectorized_script(
    world: PlainWorld, config: ScriptedConfig, chatted: dict[str, int]
) -> None:
    script, now = script_of(config), world.tick
    for name, ago in chatted.items():
        world.tick = now - ago
        script.settled(world, name, AgentIntent(kind="chat", target_agent="max", quality=1.0))
        chatted[name] = now - ago
    world.tick = now
    seen = tuple(Seen(world, name, config, chatted) for name in world.agents)
    view = ArrayView(**vars(plain_view(list(world.agents))), seen=seen)
    proposals = ScriptedController(ACTIONS, config).propose(view)
    for one, action in zip(seen, proposals.tolist(), strict=True):
        intent, wanted = script.decide(world, one.agent_id), expected(one, KEYS[action])
        if wanted.quality is not None:
            assert intent.quality == pytest.approx(wanted.quality)
            wanted = replace(wanted, quality=intent.quality)
        assert intent == wanted, (one.agent_id, KEYS[action])


HUNGRY = {"hunger": 0.1, "hygiene": 1.0, "energy": 1.0}


def town(**people: Person) -> PlainWorld:
    return PlainWorld(people, {"cold": Thing("fridge", {"meals": 0}), "warm": Thing("fridge", {"meals": 1})})


def test_the_first_object_that_is_not_empty_is_asked_for() -> None:
    intent = script_of(ScriptedConfig()).decide(town(ann=Person(needs=HUNGRY)), "ann")
    assert intent == AgentIntent(kind="request", object_id="warm", affordance_id="eat_meal")


@pytest.mark.parametrize("place", ["lines", "turns", "running_affordances"])
def test_an_object_at_which_a_rival_is_is_not_asked_for(place: str) -> None:
    world = town(ann=Person(needs=HUNGRY), bob=Person(position=(2, 0)))
    world.objects["stove"] = Thing("stove", {"ingredients": 1})
    vars(world)[place]["warm"] = {"lines": ["bob"], "turns": "bob", "running_affordances": Use("bob")}[place]
    assert script_of(ScriptedConfig()).decide(world, "ann").object_id == "warm"
    world.rivalries = {("ann", "bob"): 1.0}
    assert script_of(ScriptedConfig()).decide(world, "ann").object_id == "stove"


def test_of_equal_partners_the_first_is_chatted_with_and_with_a_score_of_0_nobody() -> None:
    world = town(bob=Person(), ann=Person(), eve=Person())
    assert script_of(ScriptedConfig()).decide(world, "ann").target_agent == "bob"
    # -0.05 + 0.1 · 0.5 = 0
    world.bonds = {("ann", "bob"): Bond(-0.05, 0.0), ("ann", "eve"): Bond(0.0, -0.05)}
    assert script_of(ScriptedConfig()).decide(world, "ann") == AgentIntent(kind="wait")


def test_while_only_in_line_a_job_wins() -> None:
    world = town(ann=Person(needs=HUNGRY, job_id="baker"))
    world.lines["warm"], world.tick = ["ann"], 25
    assert script_of(ScriptedConfig()).decide(world, "ann") == AgentIntent(kind="move", position=(2, 2))
    world.turns["warm"] = "ann"
    assert script_of(ScriptedConfig()).decide(world, "ann").kind == "start"


@pytest.mark.parametrize(("tick", "kind"), [(19, "wait"), (20, "move"), (39, "move"), (40, "wait"), (139, "move")])
def test_shifts_begin_every_day(tick: int, kind: str) -> None:
    world = town(ann=Person(job_id="baker"))
    world.tick = tick
    script = ScriptedBehavior(ScriptedConfig(job_arrival_buffer=20), jobs=JOBS, ticks_per_day=100)
    assert script.decide(world, "ann").kind == kind


@pytest.mark.parametrize(("profile", "ready_at"), [("balanced", 30), ("socialite", 24)])
def test_the_cooldown_is_shorter_for_those_who_like_to_chat(profile: str, ready_at: int) -> None:
    # 30 / 1.3 = 23.08
    world = town(ann=Person(personality_profile=profile), bob=Person())
    script = script_of(ScriptedConfig(personality_profiles=True))
    chat = script.decide(world, "ann")
    assert (chat.kind, chat.target_agent) == ("chat", "bob")
    script.settled(world, "ann", chat)
    kinds = []
    for world.tick in range(1, 40):
        kinds.append(script.decide(world, "ann").kind)
    assert kinds.index("chat") + 1 == ready_at
    assert script.decide(replace(world, tick=1), "bob").kind == "chat"  # who was spoken to may speak


def test_without_relationships_nobody_chats() -> None:
    world = town(ann=Person(), bob=Person())
    assert ScriptedBehavior(ScriptedConfig(), relationships=False).decide(world, "ann").kind == "wait"


def test_without_a_grid_every_side_is_free() -> None:
    world = town(ann=Person(), bob=Person())
    world.rivalries = {("ann", "bob"): 1.0}
    at_the_edge = ScriptedBehavior(ScriptedConfig(), grid_size=(1, 2)).decide(world, "ann")
    assert at_the_edge == AgentIntent(kind="move", position=(0, 1))
    assert ScriptedBehavior(ScriptedConfig()).decide(world, "ann") == AgentIntent(kind="move", position=(1, 0))


def test_the_stock_of_a_stove_has_two_names() -> None:
    world = PlainWorld({"ann": Person(needs=HUNGRY)}, {"stove": Thing("stove", {"raw_ingredients": 2})})
    assert script_of(ScriptedConfig()).decide(world, "ann").object_id == "stove"


def test_chats_are_remembered_no_longer_than_they_matter() -> None:
    script, world = script_of(ScriptedConfig()), town(ann=Person())
    for world.tick in range(200):
        script.settled(world, f"passer-by {world.tick}", AgentIntent(kind="chat", target_agent="ann", quality=1.0))
    assert len(script.save_state()["ticks"]) == COOLDOWN


def test_it_goes_on_as_the_one_that_was_saved() -> None:
    world = town(ann=Person(), bob=Person())
    script, other = script_of(ScriptedConfig()), script_of(ScriptedConfig())
    script.settled(world, "ann", AgentIntent(kind="chat", target_agent="bob", quality=1.0))
    other.restore(script.save_state())
    assert (other.decide(world, "ann").kind, other.decide(world, "bob").kind) == ("wait", "chat")
    with pytest.raises(StateError, match="`ticks` must be int64"):
        other.restore({"agents": np.array(["ann"]), "ticks": ints(1, 2)})
    with pytest.raises(StateError, match="must have the arrays"):
        other.restore({})


@pytest.mark.parametrize("setting", [{"chat_cooldown_ticks": -1}, {"ticks_per_day": 0}])
def test_numbers_out_of_range_are_refused(setting: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(setting))):
        ScriptedBehavior(ScriptedConfig(), **setting)
