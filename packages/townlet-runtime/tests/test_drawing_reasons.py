"""Why actions are not legal: the town's rules by hand, and what others say through every wrapper."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from beginnings import begun
from garden import Garden

from townlet_runtime import OneGroup
from townlet_runtime.adapters.equipped import Equipment, EquippedSimulation, WithScript
from townlet_runtime.adapters.own_worlds import own_worlds
from townlet_runtime.drawing.reasons import MAX_REASON, reasons_of
from townlet_runtime.drawing.scene import Drawing, Scene, drawable_of, looks_of
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.interface import AGENTS, Observed
from townlet_runtime.simulation.one_group import CheckedGroups
from townlet_runtime.simulation.split_groups import SplitGroups
from townlet_runtime.town import AgentSpec, JobSpec, ObjectSpec, SocialConfig, Town, TownConfig
from townlet_runtime.town.actions import TABLE

ANN = "ann"


def town_of(*agents: AgentSpec, objects: tuple[ObjectSpec, ...] = (), **settings: Any) -> Town:
    jobs = (JobSpec(name="clerk", location=(9, 9), start_tick=50, end_tick=90),)
    town = Town(TownConfig(agents=agents, objects=objects, jobs=jobs, **settings), num_worlds=1)
    begun(town, 0)
    return town


def ann(**given: Any) -> AgentSpec:
    return AgentSpec(**{"id": ANN, "position": (4, 4), "wallet": 5.0, **given})


def shower(**given: Any) -> ObjectSpec:
    return ObjectSpec(**{"id": "shower", "type": "shower", "position": (4, 4), **given})


def why(town: Town, agent: str = ANN) -> dict[str, str]:
    return dict(town.illegal_reasons(agent, world=0))


def do(town: Town, *keys: str) -> None:
    town.step(np.array([TABLE.index(key) for key in keys]))


def test_a_free_agent_in_a_corner_of_a_town_with_a_shower_alone() -> None:
    found = why(town_of(ann(position=(0, 0)), objects=(shower(),)))
    assert found["move:west"] == found["move:north"] == "the town ends there"
    assert "move:east" not in found
    assert found["request:fridge:nearest"] == "there is no fridge"
    assert "request:shower:first" not in found
    assert found["start"] == "it has no turn anywhere"
    assert found["release"] == "it has no object to leave"
    assert found["chat"] == "nobody else is here"
    alone = town_of(ann(), social=SocialConfig(relationships=False))
    assert why(alone)["chat"] == "nobody chats in this town"


def test_a_line_a_turn_and_a_use() -> None:
    bob = ann(id="bob")
    town = town_of(ann(), bob, objects=(shower(),))
    do(town, "request:shower:first", "request:shower:first")  # ann has the turn, bob waits
    assert "start" not in why(town)
    assert why(town, "bob")["start"] == "its turn at the shower has not come"
    assert "release" not in why(town, "bob")
    do(town, "start", "request:shower:first")  # ann is under the shower
    found = why(town)
    assert found["move:east"] == found["chat"] == "it is using the shower: release it first"
    assert set(TABLE.vocabulary.keys) - found.keys() == {
        "wait",
        "start",
        "release",
        *(f"request:shower:{way}" for way in ("first", "nearest", "least_busy")),
    }


def test_money_and_stock() -> None:
    fridge = ObjectSpec(id="fridge", type="fridge", position=(5, 4))
    poor = town_of(ann(wallet=0.359), objects=(fridge,))  # a meal costs 0.4
    assert why(poor)["request:fridge:first"] == "it costs 0.4, and the agent has 0.35"
    empty = town_of(ann(), objects=(fridge,), fridge_stock=0)
    assert why(empty)["request:fridge:first"] == "no fridge has anything left"


def test_jobs_and_chats() -> None:
    social = SocialConfig(relationships=True, chat_cooldown_ticks=5)
    town = town_of(ann(job="clerk"), ann(id="bob", position=(5, 4)), objects=(shower(),), social=social)
    assert "go_to:workplace" not in why(town)
    assert why(town)["chat"] == "nobody else is here"
    do(town, "wait", "move:west")
    assert "chat" not in why(town)
    do(town, "chat", "wait")  # in tick 1: the next may begin at tick 1 + 5, and it is tick 2
    assert why(town)["chat"] == "it has just chatted: 4 more ticks"


@pytest.mark.parametrize("relationships", [False, True])
def test_every_action_that_is_forbidden_has_a_reason_and_no_other(relationships: bool) -> None:
    config = TownConfig(num_agents=12, fridge_stock=1, stove_stock=0, social=SocialConfig(relationships=relationships))
    town, rng, phases = Town(config, num_worlds=2), np.random.default_rng(1), set()
    observed = town.reset(seeds=np.array([3, 4]))
    keys = np.array(town.spec.vocabulary.keys)
    for _ in range(150):
        for row in range(len(observed.slots)):
            found = town.illegal_reasons(observed.agent_ids[row], world=int(observed.worlds[row]))
            assert [*found] == keys[~observed.action_mask[row]].tolist()
            phases |= set(found.values())
        draws = rng.random(observed.action_mask.shape) * observed.action_mask
        observed = town.step(draws.argmax(axis=1)).observed  # type: ignore[assignment]  # a town's
    assert len(phases) > 8


def test_nobody_and_nothing_has_reasons() -> None:
    town = Town(TownConfig(num_agents=2), num_worlds=1)
    assert town.illegal_reasons("agent_01", world=0) == {}
    town.reset(seeds=np.array([1]))
    assert town.illegal_reasons("nobody", world=0) == {}
    all_legal = np.ones(2, np.bool_)
    assert reasons_of(town, "agent_01", world=0, choices=("a", "b"), legal=all_legal) == {}
    assert reasons_of(Garden(1), "ann", world=0, choices=("a", "b"), legal=~all_legal) == {}


class Telling(Garden):
    """A garden that says how it looks, and why nobody digs."""

    behaviors = ("scripted", "other")
    said: object = "the ground is frozen"

    def scene(self, *, world: int) -> Scene:
        return Scene(width=2.0, height=1.0)

    def drawing(self, *, world: int) -> Drawing:
        ids = np.array(["ann", "bob"], object)
        return Drawing(agent_ids=ids, positions=np.array([[0.5, 0.5], [1.5, 0.5]], np.float32))

    def illegal_reasons(self, agent_id: str, *, world: int) -> dict[str, Any]:
        return {"dig": self.said, "rest": "never asked"}


WRAPPERS = {
    "one group": OneGroup,
    "checked groups": lambda world: CheckedGroups(OneGroup(world)),
    "equipped": lambda world: EquippedSimulation(OneGroup(world), Equipment()),
    "with a script": lambda world: WithScript(OneGroup(world), "other"),
    "split": lambda world: SplitGroups(OneGroup(world), {"first": ["ann"]}),
    "split twice": lambda world: SplitGroups(SplitGroups(OneGroup(world), {"first": ["ann"]}), {"second": ["bob"]}),
    "own": lambda world: own_worlds("garden", lambda num_worlds: world, num_worlds=1, settings={}),
    "own groups": lambda world: own_worlds("garden", lambda num_worlds: OneGroup(world), num_worlds=1, settings={}),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_world_is_seen_through_every_wrapper(name: str) -> None:
    world = Telling(1)
    wrapped = WRAPPERS[name](world)  # type: ignore[no-untyped-call, operator]  # functions of one world
    assert drawable_of(wrapped) is world
    legal = np.array([True, False])
    told = reasons_of(wrapped, "ann", world=0, choices=world.spec.vocabulary.keys, legal=legal)
    assert told == {"dig": "the ground is frozen"}
    assert drawable_of(WRAPPERS[name](Garden(1))) is None  # type: ignore[no-untyped-call, operator]  # likewise


def test_a_wrapper_of_a_user_s_own_may_look_different() -> None:
    class Painted(OneGroup):
        def scene(self, *, world: int) -> Scene:
            return Scene(width=9.0, height=9.0)

        def drawing(self, *, world: int) -> Drawing:
            return Drawing(agent_ids=np.empty(0, object), positions=np.empty((0, 2), np.float32))

    painted = Painted(Telling(1))
    assert drawable_of(SplitGroups(painted, {"first": ["ann"]})) is painted


def test_what_a_user_s_world_says_wrongly_is_an_error_that_names_it() -> None:
    world = Telling(1)
    asked: dict[str, Any] = {"world": 0, "choices": ("rest", "dig"), "legal": np.array([True, False])}
    world.said = "x" * 1000
    assert len(reasons_of(world, "ann", **asked)["dig"]) == MAX_REASON
    world.said = 7
    with pytest.raises(SimulationError, match="expected texts of `illegal_reasons`"):
        reasons_of(world, "ann", **asked)
    with pytest.raises(SimulationError, match="`illegal_reasons` failed with TypeError"):
        reasons_of(Nameless(1), "ann", **asked)
    with pytest.raises(SimulationError, match="`scene` or `drawing` failed with ZeroDivisionError"):
        looks_of(Nameless(1), world=0)


class Nameless(Telling):
    def illegal_reasons(self) -> dict[str, Any]:  # type: ignore[override]  # which is the point
        return {}

    def drawing(self, *, world: int) -> Drawing:
        raise ZeroDivisionError


def test_the_page_is_told_why() -> None:
    pytest.importorskip("websockets")
    pytest.importorskip("uvicorn")
    from test_live_serve import Page, open_world

    with open_world(paused=True) as (address, stage):
        page = Page(address)
        page.until(lambda: "roster" in page.last)
        agent = page.last["roster"]["ids"][0]
        page.ask("step", ticks=1)
        page.until(lambda: stage.history.latest().agent_ids.size)
        page.ask("inspect", agent=agent)
        page.until(lambda: page.last.get("agent", {}).get("id") == agent and "legal" in page.last["agent"])
        told = page.last["agent"]
        observed = stage.runtimes[AGENTS].observed
        assert isinstance(observed, Observed)
        keys = stage.runtimes[AGENTS].names.choices
        forbidden = {key for key, legal in zip(keys, told["legal"], strict=True) if not legal}
        assert told["why_illegal"].keys() == forbidden
        assert told["why_illegal"]["start"] == "it has no turn anywhere"
        assert page.ask("moment", agent=agent, tick=0)["moment"]["why_illegal"] == {}
        page.close()


def test_a_world_that_says_its_reasons_wrongly_is_watched_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    import asyncio

    from test_live_stage import running, stage_of

    from townlet_runtime.live.desk import Desk

    class Somebody:
        name, inspects = "p1", None

    class Masked(Nameless):
        def drawing(self, *, world: int) -> Drawing:
            return Telling.drawing(self, world=world)

    def mask(answer: dict[str, Any]) -> dict[str, Any]:
        return {**answer, "action_mask": [[True, False]] * 2}

    with running(stage_of(Masked(1, bend_view=mask))) as stage:
        stage.call(stage.advance).result(10.0)
        desk = Desk(stage, has_policy=False)
        for _ in range(2):
            told = asyncio.run(desk.agent("ann", Somebody()))
            assert (told["legal"], told["why_illegal"]) == ([True, False], {})
    said = [record.getMessage() for record in caplog.records if "illegal_reasons" in record.getMessage()]
    assert len(said) == 1
