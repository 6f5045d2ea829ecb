"""Objects of types that the town gives no meaning: they have lines and rivalries, and using them satisfies nothing."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from beginnings import begun
from config_content import config_of
from test_town_saving import assert_same_view
from test_town_twin import PLAIN, Wanderers

from townlet_runtime.config import load_config, town_config
from townlet_runtime.errors import ConfigError, SimulationError, TownConfigError
from townlet_runtime.plain import SimulationLoop
from townlet_runtime.town import (
    AffordanceSpec,
    AgentSpec,
    Effects,
    NeedsDecay,
    ObjectSpec,
    ScheduledIntent,
    Town,
    TownConfig,
)
from townlet_runtime.town.actions import TABLE
from townlet_runtime.town.observations import FEATURES
from townlet_runtime.town.place import PLAIN_USE, use_ticks
from townlet_runtime.town.render import render_lines, town_picture
from townlet_runtime.town.state import EVENTS, FREE, HOLDS_TURN, IN_LINE, USING

SCENARIOS = sorted((Path(__file__).parent / "data" / "scenarios").glob("*.yaml"))
WAIT, START, RELEASE = TABLE.index("wait"), TABLE.index("start"), TABLE.index("release")
WAITS = tuple(ScheduledIntent(kind="wait") for _ in range(40))


def of(kind: Any, object_id: str | None = "it", *, blocked: bool = False) -> ScheduledIntent:
    return ScheduledIntent(kind=kind, object_id=object_id, blocked=blocked)


def lonely(*objects: ObjectSpec, agents: tuple[AgentSpec, ...] | None = None) -> Town:
    """One agent, if no others are named, on (4, 4); nobody travels."""
    still = AgentSpec(id="anna", position=(4, 4))
    config = TownConfig(objects=objects, agents=(still,) if agents is None else agents)
    town = Town(replace(config, lifecycle=replace(config.lifecycle, departure_rate=0.0)), num_worlds=1)
    begun(town, 0)
    return town


def key(town: Town, name: str) -> int:
    return town.spec.vocabulary.index(name)


@pytest.mark.parametrize("kind", ["bench", "shower"])
def test_two_at_a_bench_wait_take_over_and_fall_out_as_at_a_shower(kind: str) -> None:
    # anna is one step from it and ben two. anna holds it for two waits; ben, once it is his, gives it up at once.
    anna = (of("request"), of("start"), of("wait", None), of("wait", None), of("release"), *WAITS)
    ben = (of("request"), of("start"), of("release"), *WAITS)
    config = TownConfig(
        objects=(ObjectSpec(id="it", type=kind, position=(4, 4)),),
        agents=(
            AgentSpec(id="anna", position=(3, 4), schedule=anna),
            AgentSpec(id="ben", position=(2, 4), schedule=ben),
        ),
    )
    free_shower = AffordanceSpec(id="use", duration=10, effects=Effects())
    town = Town(replace(config, affordances={**config.affordances, "shower": free_shower}), num_worlds=1)
    observed, script = begun(town, 0), town.scripted("scripted")
    happened = []
    for _ in range(7):
        stepped = town.step(script.propose(observed))
        observed, state = stepped.observed, town.state
        events = dict(zip(EVENTS, stepped.events[0].tolist(), strict=True))
        tie = state.relations.towards(np.array([0, 1]), np.array([1, 0]))
        assert tie.rivalry[0] == tie.rivalry[1]
        conflict = events["queue_conflict_intensity_sum"]
        happened.append((*state.phase.tolist(), *state.remaining.tolist(), conflict, round(tie.rivalry[0], 12)))
    # Seen a tick after it: 0.15 · 1 for joining behind one, 0.15 · 0.4 for the take-over, 0.005 less each tick.
    assert happened == [
        (HOLDS_TURN, FREE, 0, 0, 0.0, 0.0),
        (USING, IN_LINE, 9, 0, 1.0, 0.145),
        (USING, IN_LINE, 8, 0, 0.0, 0.14),
        (USING, IN_LINE, 7, 0, 0.0, 0.135),
        (FREE, HOLDS_TURN, 0, 0, 0.4, 0.19),
        (FREE, USING, 0, 9, 0.0, 0.185),
        (FREE, FREE, 0, 0, 0.0, 0.18),
    ]
    assert town.state.cooldown_until[:, 0].tolist() == [4 + 5, 6 + 5]


def test_a_use_lasts_ten_ticks_and_satisfies_nothing() -> None:
    town = lonely(ObjectSpec(id="it", type="bench", position=(4, 4)))
    ask, total = key(town, "request:bench:first"), np.zeros(len(EVENTS))
    for tick in range(11):
        assert town.state.phase[0] == (FREE if tick == 0 else HOLDS_TURN if tick == 1 else USING)
        stepped = town.step(np.array([ask]))
        total += stepped.events[0]
    assert (town.state.phase[0], town.state.cooldown_until[0, 0]) == (FREE, 10 + 5)
    assert stepped.observed.option_done.tolist() == [True]
    assert total.sum() == 0.0
    assert town.state.needs[0] == pytest.approx(0.7 - 11 * np.array(NeedsDecay()))
    assert town.state.wallet[0] == 1.0


@pytest.mark.parametrize(
    ("schedule", "ticks"),
    [
        ((), 10),
        ((of("start"), of("wait"), of("release")), 10),
        ((of("start"), *WAITS[:20], of("release")), 22),
        ((of("start"), *WAITS[:20], of("release", None)), 22),
        ((of("start"), *WAITS[:20], of("release", "other")), 10),
        ((of("start", "other"), *WAITS[:20], of("release")), 10),
        ((of("start"), *WAITS[:9], of("release", "other"), *WAITS[:9], of("release")), 21),
        ((of("release"), of("start"), *WAITS[:15]), 17),
        ((of("start"), of("chat", None), *WAITS[:20], of("release")), 10),
        ((of("start"), of("wait", blocked=True), *WAITS[:20], of("release")), 10),
        ((of("start", blocked=True), *WAITS[:20], of("release")), 10),
        ((of("start"), *WAITS[:20], of("release", blocked=True)), 10),
    ],
)
def test_a_use_lasts_until_the_release_of_a_schedule(schedule: tuple[ScheduledIntent, ...], ticks: int) -> None:
    bench = ObjectSpec(id="it", type="bench")
    agents = (AgentSpec(id="anna", schedule=schedule), AgentSpec(id="ben"))
    assert use_ticks(bench, TownConfig(objects=(bench,), agents=agents)) == ticks
    shower = replace(bench, type="shower")
    assert use_ticks(shower, TownConfig(objects=(shower,), agents=agents)) == 8


def test_a_schedule_holds_a_bench_until_its_release_and_no_longer() -> None:
    schedule = (of("start"), *WAITS[:20], of("release"), *WAITS)
    anna = AgentSpec(id="anna", position=(4, 4), schedule=schedule)
    town = lonely(ObjectSpec(id="it", type="bench", position=(4, 4)), agents=(anna,))
    script, observed = town.scripted("scripted"), town._observe()
    phases = []
    for _ in range(24):
        observed = town.step(script.propose(observed)).observed
        phases.append(int(town.state.phase[0]))
    # In line and granted in the first tick, begun in the second, 20 ticks of waiting, released in the next.
    assert phases == [HOLDS_TURN, *[USING] * 21, FREE, FREE]


def test_the_actions_and_features_of_a_town_without_plain_objects_are_as_ever() -> None:
    town = Town(TownConfig(), num_worlds=1)
    assert town.spec.vocabulary.keys == TABLE.vocabulary.keys
    assert TABLE.vocabulary.digest == "a60855cf3acb8fcd054e1d3f97fb2cea66c289a50e89027bc761e9ad1be7db7f"
    assert town.spec.feature_names == FEATURES
    assert (
        hashlib.sha256(json.dumps(FEATURES).encode()).hexdigest()
        == "e7039504f3850f16dd029fb646433e78fd2635ccdd2f02133f1fe4ec2f7afe23"
    )


def test_plain_types_come_behind_all_known_actions_and_before_the_held_one() -> None:
    town = lonely(
        ObjectSpec(id="s", type="stall", position=(1, 1)),
        ObjectSpec(id="b", type="bed", position=(2, 2)),
        ObjectSpec(id="c2", type="checkout", position=(3, 1)),
        ObjectSpec(id="c1", type="checkout", position=(9, 9)),
    )
    assert [item.id for item in town.place.objects] == ["b", "c2", "c1", "s"]
    known, ways = len(TABLE.vocabulary), ("first", "nearest", "least_busy")
    keys = town.spec.vocabulary.keys
    assert keys[:known] == TABLE.vocabulary.keys
    assert keys[known:] == tuple(f"request:{kind}:{way}" for kind in ("checkout", "stall") for way in ways)
    names, start = town.spec.feature_names, town.spec.commitment_columns.start
    first_held = FEATURES.index("held_wait")
    assert names[:first_held] == FEATURES[:first_held]
    assert names[first_held : first_held + 2] == ("usable_checkout_first", "distance_checkout_first")
    assert (names[start], len(names)) == ("held_wait", len(FEATURES) + 2 * 3 * (4 + 1))
    seen = dict(zip(names, town._observe().observations["features"][0].tolist(), strict=True))
    # From (4, 4) on a grid of 16 by 16: four steps to (3, 1), six to (1, 1).
    assert seen["distance_checkout_nearest"] == pytest.approx(4 / 32)
    assert seen["distance_stall_least_busy"] == pytest.approx(6 / 32)
    assert (seen["usable_stall_first"], seen["usable_fridge_first"]) == (1.0, 0.0)


def test_the_nearest_and_the_least_busy_are_walked_to() -> None:
    benches = (ObjectSpec(id="b1", type="bench", position=(4, 4)), ObjectSpec(id="b2", type="bench", position=(4, 7)))
    anna, ben = AgentSpec(id="anna", position=(4, 4)), AgentSpec(id="ben", position=(4, 5))
    town = lonely(*benches, agents=(anna, ben))
    nearest, least = key(town, "request:bench:nearest"), key(town, "request:bench:least_busy")
    town.step(np.array([nearest, WAIT]))
    assert town.state.object.tolist() == [0, -1]
    # To ben, one is one step away and taken, the other two and free.
    for _ in range(2):
        town.step(np.array([WAIT, least]))
    assert town.state.object.tolist() == [0, 1]
    assert (town.state.x[1], town.state.y[1]) == (4, 7)


def test_who_uses_one_may_go_on_or_release() -> None:
    town = lonely(ObjectSpec(id="it", type="bench", position=(4, 4)), ObjectSpec(id="s", type="stall", position=(5, 4)))
    keys = town.spec.vocabulary.keys
    for action in (key(town, "request:bench:first"), START):
        observed = town.step(np.array([action])).observed
    legal = [keys[action] for action in observed.action_mask[0].nonzero()[0]]
    asks = [f"request:bench:{way}" for way in ("first", "nearest", "least_busy")]
    assert legal == ["wait", "start", "release", *asks]
    # What is not legal does nothing; releasing leaves.
    town.step(np.array([key(town, "request:stall:first")]))
    assert town.state.phase[0] == USING
    town.step(np.array([RELEASE]))
    assert (town.state.phase[0], town.state.cooldown_until[0, 0]) == (FREE, 3 + 5)


def test_the_map_tells_their_types_apart() -> None:
    town = lonely(
        ObjectSpec(id="n", type="bench", position=(4, 3)),
        ObjectSpec(id="t", type="stall", position=(5, 4)),
        ObjectSpec(id="b", type="bed", position=(3, 4)),
    )
    seen = town._observe().observations["map"][0, 2]
    assert (seen[2, 3], seen[3, 4], seen[3, 2]) == (1.25, 1.5, 1.0)
    assert np.count_nonzero(seen) == 3


def test_one_who_cannot_pay_for_a_known_object_still_finds_a_plain_one() -> None:
    town = lonely(
        ObjectSpec(id="f", type="fridge", position=(1, 1)),
        ObjectSpec(id="n", type="bench", position=(4, 6)),
        agents=(AgentSpec(id="anna", position=(4, 4), wallet=0.0),),
    )
    mask = town._observe().action_mask[0]
    assert not mask[key(town, "request:fridge:first")]
    assert mask[key(town, "request:bench:first")]


@pytest.mark.parametrize("ticks", [7, 61])
def test_a_town_with_plain_objects_is_saved_and_goes_on_bit_for_bit(ticks: int) -> None:
    town, other = (Town(PLAIN, num_worlds=2) for _ in range(2))
    observed, wanderers = begun(town, 3), Wanderers(town, sticky=0.9, seed=3)
    used = 0
    for _ in range(ticks):
        observed = town.step(wanderers.actions(observed)).observed
        used += np.count_nonzero((town.state.phase == USING) & (town.place.object_type[town.state.object] > 3))
    assert used > 0, "nobody has used a plain object"
    begun(other, 4)
    assert_same_view(observed, other.restore(town.save_state()))
    for _ in range(60):
        actions = wanderers.actions(observed)
        one, two = town.step(actions), other.step(actions)
        np.testing.assert_array_equal(one.rewards, two.rewards)
        np.testing.assert_array_equal(one.events, two.events)
        assert_same_view(one.observed, two.observed)
        observed = one.observed
    fewer = Town(replace(PLAIN, objects=PLAIN.objects[1:]), num_worlds=2)
    with pytest.raises(SimulationError, match="in the saved state|of the saved state"):
        fewer.restore(town.save_state())


MARKET: dict[str, Any] = {
    "config_id": "market",
    "seed": 7,
    "features": {"stages": {"relationships": "B", "social_rewards": "OFF"}},
    "queue_fairness": {"cooldown_ticks": 2, "ghost_step_after": 3},
    "scenario": {
        "ticks": 80,
        "objects": [
            {"id": "checkout_1", "type": "checkout", "position": [6, 6]},
            {"id": "shower_1", "type": "shower", "position": [1, 1]},
            {"id": "bench_1", "type": "bench", "position": [4, 6]},
            {"id": "stall_1", "type": "stall", "position": [6, 4]},
        ],
        "agents": [
            {
                "id": name,
                "position": [5, y],
                "needs": {"hunger": 0.9, "hygiene": 0.9, "energy": 0.9},
                "schedule": [
                    {"kind": "request", "object": target, "affordance": "pay"},
                    {"kind": "start", "object": target, "affordance": "pay"},
                    {"kind": "wait", "object": None, "affordance": None},
                    {"kind": "release", "object": target},
                    {"kind": "start", "object": "bench_1"},
                ],
            }
            for name, y, target in (("ann", 5, "checkout_1"), ("bob", 6, "checkout_1"), ("cid", 4, "stall_1"))
        ],
    },
}


def test_a_scenario_of_the_original_keeps_its_objects_and_lives() -> None:
    town = Town(town_config(config_of(MARKET)), num_worlds=1)
    assert {item.id for item in town.place.objects} == {item["id"] for item in MARKET["scenario"]["objects"]}
    observed, script = begun(town, 0), town.scripted("scripted")
    used, total, rivalry = set(), np.zeros(len(EVENTS)), 0.0
    for _ in range(80):
        stepped = town.step(script.propose(observed))
        observed, total = stepped.observed, total + stepped.events[0]
        used |= {town.place.objects[o].id for o in town.state.object[town.state.phase == USING].tolist()}
        rivalry = max(rivalry, town.state.relations.rivalry_max().max())
    assert used == {"checkout_1", "bench_1", "stall_1"}
    assert total[EVENTS.index("queue_conflict_events")] >= 5
    assert rivalry > 0.3


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_the_scenarios_of_the_original_have_as_many_objects_as_their_files(path: Path) -> None:
    loaded = load_config(path).config.scenario.objects
    if loaded:
        assert len(Town(town_config(load_config(path).config), num_worlds=1).place.objects) == len(loaded)
        assert len(loaded) == path.read_text().count("      type: ")


def test_the_loop_of_a_config_runs_a_town_with_plain_objects() -> None:
    loop = SimulationLoop(MARKET)
    assert loop.run_for(40).agent_ticks == 3 * 40
    assert len(loop.world.place.objects) == 4


def test_they_are_drawn_by_a_neutral_sign_and_named() -> None:
    town = lonely(ObjectSpec(id="n", type="bench", position=(2, 1)), ObjectSpec(id="c", type="check out"))
    lines = render_lines(town)
    assert lines[1].split()[0] == "o"
    assert lines[2].split()[2] == "o"
    assert lines[-1] == "o bench, check out"
    assert render_lines(lonely(ObjectSpec(id="f", type="bed")))[-1].startswith("F fridge")
    many = lonely(*(ObjectSpec(id=f"n{i}", type=f"a_long_name_of_a_type_{i}") for i in range(9)))
    assert max(len(line) for line in render_lines(many)) <= 79
    assert {thing.type for thing in town_picture(town, title="t").objects} >= {"bench", "check out"}


def test_types_are_words_and_not_too_many() -> None:
    for name in ("", "a:b", " a", "a\nb", "\x1b[2J", "x" * 65):
        with pytest.raises(TownConfigError, match=r"must be String should match pattern"):
            ObjectSpec(id="it", type=name)
    with pytest.raises(ConfigError, match=r"`scenario\.objects\.0\.type`: must be String should match pattern"):
        config_of({"scenario": {"objects": [{"id": "it", "type": "a:b"}]}})
    objects = [{"id": f"n{number}", "type": f"kind {number}"} for number in range(65)]
    with pytest.raises(ConfigError, match=r"`scenario\.objects`: expected at most 64 types beside fridge, .* got 65"):
        config_of({"scenario": {"objects": objects}})
    town = Town(town_config(config_of({"scenario": {"objects": objects[1:]}})), num_worlds=1)
    assert len(town.spec.vocabulary) == len(TABLE.vocabulary) + 3 * 64
    assert PLAIN_USE.effects == (0.0, 0.0, 0.0)
