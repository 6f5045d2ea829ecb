"""The members of `PolicyRuntime(config)`, one by one, over a plain world."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from onnx_files import ElmanNetwork
from plain_world import Person, PlainWorld, Use, seen, world_of

from townlet_behavior import (
    ActionVocabulary,
    AgentIntent,
    ConfigError,
    ControllerError,
    PolicyError,
    PossessionError,
    UnknownActionError,
)
from townlet_behavior.config import OnPolicyError
from townlet_runtime import UniformPolicy
from townlet_runtime.errors import ConfigError as RuntimeConfigError
from townlet_runtime.errors import SimulationError
from townlet_runtime.plain import KeyCodec, PlainOptions, PolicyRuntime, plain_vocabulary

WAIT = AgentIntent(kind="wait")
TO_THE_EDGE = AgentIntent(kind="move", position=(9, 9))
SHAPES = {"features": (2,), "map": (1, 2, 2)}


@dataclass
class Says:
    """A script that says what the test wants, by agent; others wait."""

    wants: dict[str, AgentIntent] = field(default_factory=dict)
    done: list[tuple[int, str, AgentIntent]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    def decide(self, world: PlainWorld, agent_id: str) -> AgentIntent:
        return self.wants.get(agent_id, WAIT)

    def settled(self, world: PlainWorld, agent_id: str, intent: AgentIntent) -> None:
        self.done.append((world.tick, agent_id, intent))

    def cancel_pending(self, agent_id: str) -> None:
        self.cancelled.append(agent_id)


def ticks(number: int) -> dict[str, Any]:
    """A config in which choices bind for so many ticks."""
    return {"policy_runtime": {"option_commit_ticks": number}}


def runtime_of(script: Any = None, config: Mapping[str, Any] | None = None, **more: Any) -> PolicyRuntime[Any, Any]:
    return PolicyRuntime(ticks(0) if config is None else config, behavior=Says() if script is None else script, **more)


def live(
    runtime: PolicyRuntime[Any, Any],
    world: PlainWorld,
    *,
    rewards: Mapping[str, float] | None = None,
    died: tuple[str, ...] = (),
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """One tick: actions, and frames by agent."""
    actions = runtime.decide(world, world.tick)
    runtime.post_step(rewards or {}, dict.fromkeys(died, True))
    for name in died:
        del world.agents[name]
    frames = runtime.flush_transitions(seen(*world.agents, value=world.tick + 1))
    world.tick += 1
    return actions, {frame["agent_id"]: frame for frame in frames}


# decide


def test_decide_gives_an_action_for_each_agent_in_the_order_of_the_world() -> None:
    runtime, world = runtime_of(), world_of("eve", "ann", "bob")
    assert list(runtime.decide(world, 0)) == ["eve", "ann", "bob"]
    del world.agents["eve"]
    world.agents["eve"] = Person()
    assert list(runtime.decide(world, 1)) == ["ann", "bob", "eve"]


def test_an_action_is_a_plain_dict_with_the_fields_that_are_set() -> None:
    wants = {
        "ann": AgentIntent(kind="request", object_id="fridge", affordance_id="eat_meal"),
        "bob": TO_THE_EDGE,
        "eve": AgentIntent(kind="chat", target_agent="ann", quality=0.5),
    }
    actions = runtime_of(Says(wants)).decide(world_of("ann", "bob", "eve", "joe"), 0)
    nothing = {"object": None, "affordance": None, "blocked": False}
    assert actions == {
        "ann": {"kind": "request", "object": "fridge", "affordance": "eat_meal", "blocked": False},
        "bob": {"kind": "move", **nothing, "position": (9, 9)},
        "eve": {"kind": "chat", **nothing, "target": "ann", "quality": 0.5},
        "joe": {"kind": "wait"},
    }


def test_without_a_behavior_the_scripted_one_of_the_config_decides() -> None:
    world = world_of("ann", "bob")
    world.agents["ann"].needs["hunger"] = 0.1
    world.agents["bob"].job_id = "baker"
    config = {"jobs": {"baker": {"start_tick": 10, "end_tick": 90, "location": [2, 3]}}}
    actions = PolicyRuntime({**config, "behavior": {"job_arrival_buffer": 10}}).decide(world, 0)
    assert actions["ann"]["object"] == "fridge"
    assert actions["bob"]["position"] == (2, 3)


def test_ticks_go_forward() -> None:
    runtime, world = runtime_of(), world_of("ann")
    runtime.decide(world, 5)
    runtime.decide(world, 9)
    for tick in (9, 2):
        with pytest.raises(SimulationError, match=f"`tick` must be later than 9, got {tick}"):
            runtime.decide(world, tick)


def test_an_intent_that_the_vocabulary_does_not_know_is_named_with_its_agent() -> None:
    script = Says({"bob": AgentIntent(kind="start", object_id="sauna")})
    with pytest.raises(UnknownActionError, match=r"agent 'bob': no action for AgentIntent\(kind='start', .*'sauna'"):
        runtime_of(script).decide(world_of("ann", "bob"), 0)


def test_a_script_that_raises_stops_the_tick_by_agent_and_tick_and_can_be_asked_again() -> None:
    class Failing(Says):
        def decide(self, world: PlainWorld, agent_id: str) -> AgentIntent:
            return {"ann": WAIT}[agent_id]

    runtime, world = runtime_of(Failing()), world_of("ann", "bob")
    world.tick = 4
    runtime.observe(seen("ann", "bob"))
    with pytest.raises(ControllerError, match="tick 4, agent 'bob': the script raised KeyError"):
        runtime.decide(world, 4)
    runtime.behavior = Says()
    assert runtime.decide(world, 4) == {"ann": {"kind": "wait"}, "bob": {"kind": "wait"}}
    runtime.post_step({}, {})
    runtime.flush_transitions(seen("ann", "bob"))
    assert runtime.collect().num_steps == 2


def test_more_agents_than_slots_are_refused_and_slots_are_used_again() -> None:
    runtime = runtime_of(options=PlainOptions(capacity=2))
    for tick in range(50):
        runtime.decide(world_of(f"guest {tick}", f"guest {tick + 1}"), tick)
    with pytest.raises(SimulationError, match="one agent more than the `capacity` of 2"):
        runtime.decide(world_of("ann", "bob", "eve"), 50)


# post_step, flush_transitions, observe


def test_rewards_of_a_tick_add_up_and_an_end_is_an_end() -> None:
    runtime, world = runtime_of(), world_of("ann", "bob")
    runtime.decide(world, 0)
    runtime.post_step({"ann": 1.0, "bob": 2.0}, {})
    runtime.post_step({"ann": 0.5}, {"bob": True})
    frames = {frame["agent_id"]: frame for frame in runtime.flush_transitions(seen("ann"))}
    assert (frames["ann"]["rewards"], frames["ann"]["dones"]) == ([1.5], [False])
    assert (frames["bob"]["rewards"], frames["bob"]["dones"]) == ([2.0], [True])


@pytest.mark.parametrize("reward", [math.nan, math.inf])
def test_a_reward_that_is_no_number_stops_where_it_appears(reward: float) -> None:
    runtime = runtime_of()
    runtime.decide(world_of("ann"), 3)
    with pytest.raises(SimulationError, match="agent 'ann', tick 3: a reward must be finite"):
        runtime.post_step({"ann": reward}, {})


def test_a_reward_cannot_get_lost() -> None:
    runtime = runtime_of()
    with pytest.raises(SimulationError, match="`post_step` must follow `decide`"):
        runtime.post_step({}, {})
    runtime.decide(world_of("ann"), 0)
    runtime.post_step({"new": 0.0}, {"new": False})
    with pytest.raises(SimulationError, match="agent 'new', tick 0: a reward for an agent that made no decision"):
        runtime.post_step({"new": 1.0}, {})


def test_an_end_clears_commitment_option_history_and_possession_at_once() -> None:
    script = Says({"ann": TO_THE_EDGE})
    runtime, world = runtime_of(script, ticks(15)), world_of("ann")
    live(runtime, world)
    assert live(runtime, world)[1]["ann"]["option_commit_remaining"] == 14
    runtime.decide(world, world.tick)
    runtime.post_step({}, {"ann": True})
    assert script.cancelled == ["ann"]
    with pytest.raises(PossessionError, match="expected an agent that is present, got 'ann'"):
        runtime.acquire_possession("ann")
    runtime.flush_transitions(seen("ann"))
    world.tick += 1
    # who is back under the same name begins anew
    script.wants["ann"] = AgentIntent(kind="request", object_id="bed")
    assert live(runtime, world)[1]["ann"]["option_commit_remaining"] == 15
    assert runtime.consume_option_switch_counts() == {}


def test_possession_does_not_outlive_death() -> None:
    runtime, world = runtime_of(), world_of("ann", "bob")
    live(runtime, world)
    runtime.acquire_possession("ann")
    live(runtime, world, died=("ann",))
    assert runtime.possessed_agents() == []
    world.agents["ann"] = Person()
    live(runtime, world)
    assert not runtime.is_possessed("ann")


def test_flush_needs_a_tick_and_takes_it_once() -> None:
    runtime = runtime_of()
    with pytest.raises(SimulationError, match="`flush_transitions` must follow `decide`"):
        runtime.flush_transitions({})
    runtime.decide(world_of("ann"), 0)
    runtime.flush_transitions(seen("ann"))
    with pytest.raises(SimulationError, match="the transitions of tick 0 are flushed already"):
        runtime.flush_transitions(seen("ann"))


def test_a_frame_has_the_names_of_the_original_and_shows_the_given_observation() -> None:
    runtime, world = runtime_of(Says({"ann": TO_THE_EDGE})), world_of("ann")
    runtime.observe(seen("ann", value=7.0))
    runtime.decide(world, 0)
    runtime.post_step({"ann": 1.0}, {})
    given = seen("ann", value=8.0)
    given["ann"]["metadata"] = {"feature_names": ["value", "index"]}
    (frame,) = runtime.flush_transitions(given)
    assert set(frame) >= {"tick", "agent_id", "map", "features", "metadata", "action", "action_id", "rewards", "dones"}
    assert (frame["features"].tolist(), frame["map"].shape) == ([8.0, 0.0], (1, 2, 2))
    assert frame["metadata"] == {"feature_names": ["value", "index"]}
    assert frame["action"] == {
        "kind": "move", "object": None, "affordance": None, "blocked": False, "position": (9, 9)
    }  # fmt: skip
    assert frame["action_id"] == plain_vocabulary(world.objects).index("move") == frame["drawn_action"]


def test_without_a_policy_a_frame_has_probability_and_value_0_and_no_logits() -> None:
    frame = live(runtime_of(), world_of("ann"))[1]["ann"]
    assert (frame["log_prob"], frame["value_pred"], "logits" in frame) == (0.0, 0.0, False)


def test_training_gets_the_observation_before_the_decision() -> None:
    runtime, world = runtime_of(), world_of("ann", "bob")
    runtime.observe(seen("ann", "bob", value=0.0))
    for tick in range(3):
        live(runtime, world, rewards={"ann": tick, "bob": 10.0})
    batch = runtime.collect()
    assert batch.agent_ids.tolist() == ["ann", "bob"]
    first = batch[0]
    assert first.observations["features"][:, 0].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert (first.rewards.tolist(), first.ticks.tolist()) == ([0.0, 1.0, 2.0], [0, 1, 2])
    assert not (first.terminated or first.truncated)


def test_a_step_without_an_observation_before_it_is_not_recorded() -> None:
    runtime, world = runtime_of(), world_of("ann")
    live(runtime, world)  # nobody has observed before
    live(runtime, world)
    runtime.decide(world, world.tick)  # and nobody flushes after this one
    world.tick += 1
    live(runtime, world)
    live(runtime, world)
    batch = runtime.collect()
    assert batch.ticks.tolist() == [1, 2, 4]
    assert batch.truncated.tolist() == [True, False]


def test_agents_come_and_go_between_calls() -> None:
    runtime, world = runtime_of(), world_of("ann", "bob")
    runtime.observe(seen("ann", "bob"))
    live(runtime, world, rewards={"bob": 1.0}, died=("bob",))
    world.agents["eve"] = Person()  # has no observation yet, and gets the slot of bob
    live(runtime, world)
    live(runtime, world)
    del world.agents["ann"]  # without a word
    live(runtime, world)
    batch = runtime.collect()
    ends = {
        agent: (ticks, died, cut)
        for agent, ticks, died, cut in zip(
            batch.agent_ids,
            [trajectory.ticks.tolist() for trajectory in map(batch.trajectory, range(len(batch)))],
            batch.terminated.tolist(),
            batch.truncated.tolist(),
            strict=True,
        )
    }
    assert ends == {
        "ann": ([0, 1, 2], False, True),
        "bob": ([0], True, False),
        "eve": ([2, 3], False, False),
    }


def test_collect_after_the_last_tick_needs_no_tick_that_never_comes_and_goes_on() -> None:
    runtime, world = runtime_of(), world_of("ann")
    runtime.observe(seen("ann"))
    with pytest.raises(SimulationError, match="nothing is recorded"):
        runtime.collect()
    live(runtime, world)
    assert runtime.collect().num_steps == 1
    assert runtime.collect().num_steps == 0
    world.agents["bob"] = Person()
    live(runtime, world)
    live(runtime, world)
    batch = runtime.collect()
    assert [len(batch.trajectory(row)) for row in range(len(batch))] == [2, 1]
    assert batch.trajectory(0).observations["features"][:, 0].tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("observation", "problem"),
    [
        ({"features": [1.0, math.nan]}, "agent 'bob', tick 0: the observation 'features' must be finite"),
        ({"features": [1.0]}, r"expected observations of the shapes \{'features': \(2,\)\}, got"),
        ({"features": "much"}, "the observation 'features' is no array of numbers"),
        ({}, "expected observations of the shapes"),
    ],
)
def test_a_wrong_observation_is_named_by_agent_and_tick(observation: dict[str, Any], problem: str) -> None:
    runtime = runtime_of()
    runtime.observe({"ann": {"features": [0.0, 0.0]}})
    runtime.decide(world_of("ann", "bob"), 0)
    with pytest.raises(SimulationError, match=problem):
        runtime.flush_transitions({"bob": observation})


# collect_trajectory, transitions, trajectory


def test_frames_are_kept_until_they_are_cleared() -> None:
    runtime, world = runtime_of(), world_of("ann", "bob")
    for _ in range(2):
        live(runtime, world)
    assert [frame["tick"] for frame in runtime.trajectory] == [0, 0, 1, 1]
    assert len(runtime.collect_trajectory(clear=False)) == 4
    assert len(runtime.collect_trajectory()) == 4
    assert runtime.collect_trajectory() == []


def test_frames_and_steps_are_bounded() -> None:
    runtime, world = runtime_of(options=PlainOptions(max_rows=3)), world_of("ann")
    runtime.observe(seen("ann"))
    for _ in range(9):
        live(runtime, world)
    assert [frame["tick"] for frame in runtime.trajectory] == [6, 7, 8]
    assert runtime.collect().ticks.tolist() == [6, 7, 8]
    assert runtime.dropped == {"frames": 6, "steps": 6}


def test_transitions_show_the_tick_that_is_not_flushed_yet() -> None:
    runtime, world = runtime_of(), world_of("ann")
    assert runtime.transitions == {}
    runtime.decide(world, 0)
    runtime.post_step({"ann": 1.0}, {})
    runtime.post_step({"ann": 2.0}, {})
    step = {"tick": 0, "action": {"kind": "wait"}, "action_id": 0, "rewards": [1.0, 2.0], "dones": [False]}
    assert runtime.transitions == {"ann": step}
    runtime.flush_transitions({})
    assert runtime.transitions == {}


# possession


def test_a_possessed_agent_waits_or_does_what_it_is_fed_once() -> None:
    runtime, world = runtime_of(Says({"ann": TO_THE_EDGE})), world_of("ann", "bob")
    live(runtime, world)
    assert runtime.acquire_possession("ann") is True
    assert runtime.acquire_possession("ann") is False
    assert (runtime.is_possessed("ann"), runtime.possessed_agents()) == (True, ["ann"])
    assert live(runtime, world)[0]["ann"] == {"kind": "wait"}
    runtime.feed_action("ann", {"kind": "move", "position": (1, 1)})
    assert live(runtime, world)[0]["ann"]["position"] == (1, 1)
    assert live(runtime, world)[0]["ann"] == {"kind": "wait"}
    runtime.feed_action("ann", AgentIntent(kind="chat", target_agent="bob", quality=0.25))
    assert live(runtime, world)[0]["ann"]["target"] == "bob"
    assert runtime.release_possession("ann") is True
    assert runtime.release_possession("ann") is False
    assert live(runtime, world)[0]["ann"]["position"] == (9, 9)


def test_what_was_fed_before_a_release_is_forgotten() -> None:
    runtime, world = runtime_of(), world_of("ann")
    live(runtime, world)
    runtime.acquire_possession("ann")
    runtime.feed_action("ann", {"kind": "move", "position": (1, 1)})
    runtime.release_possession("ann")
    runtime.acquire_possession("ann")
    assert live(runtime, world)[0]["ann"] == {"kind": "wait"}


def test_a_demonstration_is_recorded_as_one() -> None:
    runtime, world = runtime_of(), world_of("ann")
    runtime.observe(seen("ann"))
    live(runtime, world)
    runtime.acquire_possession("ann")
    runtime.feed_action("ann", {"kind": "request", "object": "bed"})
    live(runtime, world)
    batch = runtime.collect()
    assert batch.columns["demonstrated"].tolist() == [False, True]
    assert batch.schema.vocabulary[batch.columns["action"][1]] == "request:bed"


def test_acquiring_ends_the_commitment_and_tells_the_callbacks_once() -> None:
    runtime, world = runtime_of(Says({"ann": TO_THE_EDGE}), ticks(15)), world_of("ann", "bob")
    told: list[str] = []
    runtime.register_ctx_reset_callback(told.append)
    live(runtime, world)
    runtime.acquire_possession("ann")
    runtime.acquire_possession("ann")
    assert told == ["ann"]
    assert "option_commit_remaining" not in live(runtime, world)[1]["ann"]
    runtime.release_possession("ann")
    assert live(runtime, world)[1]["ann"]["option_commit_remaining"] == 15


def test_possession_has_owners_and_leases() -> None:
    runtime, world = runtime_of(), world_of("ann")
    live(runtime, world)
    runtime.acquire_possession("ann", owner="console", lease_ticks=2)
    with pytest.raises(PossessionError, match="possessed by 'console'"):
        runtime.feed_action("ann", {"kind": "wait"})
    with pytest.raises(PossessionError, match="possessed by 'console'"):
        runtime.release_possession("ann", owner="somebody")
    for _ in range(2):
        assert runtime.is_possessed("ann")
        live(runtime, world)
    assert not runtime.is_possessed("ann")


def test_nobody_unknown_is_possessed() -> None:
    runtime = runtime_of()
    for call in (runtime.acquire_possession, runtime.release_possession, runtime.is_possessed):
        with pytest.raises(PossessionError, match="expected an agent that is present, got 'ann'"):
            call("ann")
    runtime.decide(world_of("bob"), 0)
    with pytest.raises(PossessionError, match="'ann'"):
        runtime.acquire_possession("ann")
    with pytest.raises(PossessionError, match="'ann'"):
        runtime.feed_action("ann", {"kind": "wait"})


def test_with_a_world_agents_can_be_possessed_before_the_first_tick() -> None:
    world = world_of("ann")
    runtime = runtime_of(Says({"ann": TO_THE_EDGE}), world=world)
    runtime.acquire_possession("ann")
    assert runtime.decide(world, 0)["ann"] == {"kind": "wait"}


def test_what_is_fed_must_be_an_action() -> None:
    runtime, world = runtime_of(), world_of("ann")
    live(runtime, world)
    runtime.acquire_possession("ann")
    for action in (
        {"object": "bed"},
        {"kind": "wait", "speed": 3},
        {"kind": "arrest"},
        {"kind": "start", "object": "x"},
    ):
        with pytest.raises(UnknownActionError):
            runtime.feed_action("ann", action)


# the learned side


def edge(world: PlainWorld, agent_id: str, scripted: AgentIntent) -> AgentIntent | None:
    return TO_THE_EDGE


def blended(provider: Any, ratio: float | None, **more: Any) -> PolicyRuntime[Any, Any]:
    runtime = runtime_of(**more)
    runtime.set_policy_action_provider(provider)
    runtime.enable_anneal_blend(True)
    runtime.set_anneal_ratio(ratio)
    return runtime


def test_a_provider_hears_the_scripts_intent_and_none_is_no_opinion() -> None:
    heard = []

    def provider(world: PlainWorld, agent_id: str, scripted: AgentIntent) -> AgentIntent | None:
        heard.append((agent_id, scripted.kind))
        return None if agent_id == "bob" else TO_THE_EDGE

    runtime = blended(provider, 1.0, script=Says({"bob": AgentIntent(kind="request", object_id="bed")}))
    actions = runtime.decide(world_of("ann", "bob"), 0)
    assert heard == [("ann", "wait"), ("bob", "request")]
    assert (actions["ann"]["position"], actions["bob"]["object"]) == ((9, 9), "bed")


@pytest.mark.parametrize("ratio", [None, 0.0, -1.0])
def test_without_a_share_the_script_decides(ratio: float | None) -> None:
    assert blended(edge, ratio).decide(world_of("ann"), 0)["ann"] == {"kind": "wait"}


def test_while_the_blend_is_off_the_script_decides() -> None:
    runtime, world = blended(edge, 1.0), world_of("ann")
    runtime.enable_anneal_blend(False)
    assert runtime.decide(world, 0)["ann"] == {"kind": "wait"}
    runtime.enable_anneal_blend(True)
    assert runtime.decide(world, 1)["ann"]["kind"] == "move"


def test_the_ratio_is_clamped_and_must_be_a_number() -> None:
    runtime = runtime_of()
    assert runtime.current_anneal_ratio() is None
    for given, kept in ((0.25, 0.25), (7.0, 1.0), (-1.0, 0.0), (None, None)):
        runtime.set_anneal_ratio(given)
        assert runtime.current_anneal_ratio() == kept
    with pytest.raises(ConfigError, match="must be a number"):
        runtime.set_anneal_ratio(math.nan)


def moves(runtime: PolicyRuntime[Any, Any], number: int = 400) -> list[bool]:
    world = world_of("ann", "bob")
    return [action["kind"] == "move" for tick in range(number) for action in runtime.decide(world, tick).values()]


def test_between_the_learned_side_decides_with_that_probability() -> None:
    share = sum(moves(blended(edge, 0.3))) / 800
    # five standard deviations: 5 sqrt(0.3·0.7/800) = 0.081
    assert abs(share - 0.3) < 0.081


def test_equal_kinds_keep_the_arguments_of_who_decided() -> None:
    here = AgentIntent(kind="move", position=(0, 0))
    runtime, world = blended(edge, 0.5, script=Says({"ann": here})), world_of("ann")
    positions = [runtime.decide(world, tick)["ann"]["position"] for tick in range(400)]
    assert 140 < positions.count((9, 9)) < 260
    assert positions.count((9, 9)) + positions.count((0, 0)) == 400


def test_coins_follow_the_configs_seed_or_another() -> None:
    first = moves(blended(edge, 0.5, config={**ticks(0), "seed": 1}))
    assert first == moves(blended(edge, 0.5, config={**ticks(0), "seed": 1}))
    assert first != moves(blended(edge, 0.5, config={**ticks(0), "seed": 2}))
    other = blended(edge, 0.5, config={**ticks(0), "seed": 2})
    other.seed_anneal_rng(5)
    again = blended(edge, 0.5, config={**ticks(0), "seed": 2})
    again.decide(world_of(), 0)
    again.seed_anneal_rng(5)
    assert moves(other)[2:] == moves_after(again)
    with pytest.raises(RuntimeConfigError, match=r"the seed must be in \[0, 2\^64\)"):
        other.seed_anneal_rng(-1)


def moves_after(runtime: PolicyRuntime[Any, Any]) -> list[bool]:
    world = world_of("ann", "bob")
    return [action["kind"] == "move" for tick in range(1, 400) for action in runtime.decide(world, tick).values()]


def test_one_agents_draws_do_not_depend_on_the_others() -> None:
    def alone(names: tuple[str, ...]) -> list[bool]:
        runtime = blended(edge, 0.5)
        return [runtime.decide(world_of(*names), tick)["ann"]["kind"] == "move" for tick in range(100)]

    assert alone(("ann",)) == alone(("bob", "eve", "ann"))


def test_the_ratio_is_a_share_of_decisions_and_both_shares_are_counted() -> None:
    # A move is held for 10 ticks and rest for none, so ticks come to more than a tenth.
    runtime, world = blended(edge, 0.1, config=ticks(10)), world_of("ann")
    for tick in range(2000):
        runtime.decide(world, tick)
    counts = runtime.counts()
    begun = 2000 - counts.forced
    assert abs((counts.ticks["learned"] - counts.forced) / begun - 0.1) < 0.05
    # of 10 + 9 · 1/… ticks: each of 0.1 begun moves is followed by 9 forced ticks: 0.1 · 10 / (0.1 · 10 + 0.9) = 0.53
    assert abs(counts.ticks["learned"] / 2000 - 0.53) < 0.12


def test_intents_without_probabilities_are_recorded_as_foreign_with_null_probabilities() -> None:
    runtime, world = blended(edge, 1.0), world_of("ann")
    runtime.observe(seen("ann"))
    frame = live(runtime, world)[1]["ann"]
    assert (frame["log_prob"], frame["value_pred"]) == (None, None)
    batch = runtime.collect()
    assert (batch.columns["kind"].tolist(), batch.columns["source"].tolist()) == ([2], [1])


def test_an_exception_of_the_provider_stops_the_tick_by_agent_and_tick() -> None:
    def failing(world: PlainWorld, agent_id: str, scripted: AgentIntent) -> AgentIntent | None:
        raise RuntimeError("no model")

    with pytest.raises(
        PolicyError, match=r"tick 0.*agent 'ann': the policy action provider raised RuntimeError"
    ) as one:
        blended(failing, 1.0).decide(world_of("ann"), 0)
    assert isinstance(one.value.__cause__, RuntimeError)


def test_or_the_script_stands_in_and_it_is_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    def failing(world: PlainWorld, agent_id: str, scripted: AgentIntent) -> AgentIntent | None:
        if agent_id == "bob":
            raise RuntimeError("no model")
        return TO_THE_EDGE

    runtime = blended(failing, 1.0, options=PlainOptions(on_policy_error="script"))
    actions = runtime.decide(world_of("ann", "bob"), 0)
    assert (actions["ann"]["kind"], actions["bob"]["kind"]) == ("move", "wait")
    assert runtime.counts().policy_errors == 1
    assert "agent 'bob': the policy action provider raised RuntimeError: no model" in caplog.text


@pytest.mark.parametrize(("option", "stops"), [(None, False), ("script", False), ("raise", True)])
def test_the_config_says_what_an_error_of_the_learned_side_does_unless_an_option_does(
    option: OnPolicyError | None, stops: bool
) -> None:
    def failing(world: PlainWorld, agent_id: str, scripted: AgentIntent) -> AgentIntent | None:
        raise RuntimeError("no model")

    config = {**ticks(0), "policy": {"on_policy_error": "script"}}
    runtime = blended(failing, 1.0, config=config, options=PlainOptions(on_policy_error=option))
    if stops:
        with pytest.raises(PolicyError, match="no model"):
            runtime.decide(world_of("ann"), 0)
    else:
        assert runtime.decide(world_of("ann"), 0)["ann"]["kind"] == "wait"
        assert runtime.counts().policy_errors == 1


def test_a_late_agent_carries_out_earlier_intents_with_the_codec_s_arguments() -> None:
    script = Says({"ann": AgentIntent(kind="request", object_id="bed")})
    runtime = runtime_of(script=script)
    runtime.decide(world_of("ann", "bob"), 0)
    runtime.set_difficulty("ann", delay_ticks=1)
    kinds = []
    for tick in range(1, 4):
        actions = runtime.decide(world_of("ann", "bob"), tick)
        kinds.append(actions["ann"]["kind"])
        script.wants["ann"] = AgentIntent(kind="wait")
    assert kinds == ["wait", "request", "wait"]
    with pytest.raises(PossessionError, match="'eve'"):
        runtime.set_difficulty("eve", ratio=0.5)


def test_an_unknown_intent_of_the_provider_is_named() -> None:
    runtime = blended(lambda *_: AgentIntent(kind="start", object_id="sauna"), 1.0)
    with pytest.raises(UnknownActionError, match="agent 'ann': no action for .*sauna"):
        runtime.decide(world_of("ann"), 0)


class Mover:
    """A policy that moves with probability 0.75 and waits with 0.25; a state is worth its first feature."""

    def __init__(self, vocabulary: ActionVocabulary) -> None:
        self.vocabulary, self.observation_shapes, self.digest = vocabulary.keys, SHAPES, "ab" * 32
        with np.errstate(divide="ignore"):
            log_probs = np.log(np.array([0.25, 0.75, *[0.0] * (len(vocabulary) - 2)], np.float32))
        self.log_probs = np.maximum(log_probs, np.finfo(np.float32).min)

    def act(self, observations: Any, action_mask: Any) -> tuple[np.ndarray, np.ndarray]:
        values = observations["features"][:, 0]
        return np.tile(self.log_probs, (len(values), 1)), values.copy()


WORDS = plain_vocabulary(["bed", "fridge"])


def test_a_policy_acts_on_the_observations_that_are_given() -> None:
    runtime, world = runtime_of(policy=Mover(WORDS)), world_of("ann", "bob")
    world.agents["bob"].job_id = "baker"
    runtime.enable_anneal_blend(True)
    runtime.set_anneal_ratio(1.0)
    runtime.observe(seen("ann", value=3.0))  # bob is not observed: the script decides for him
    kinds = {"ann": [], "bob": []}
    for tick in range(200):
        actions = runtime.decide(world, tick)
        for name, action in actions.items():
            kinds[name].append(action["kind"])
        frames = {frame["agent_id"]: frame for frame in runtime.flush_transitions(seen("ann", value=3.0))}
    assert abs(kinds["ann"].count("move") / 200 - 0.75) < 0.16
    assert set(kinds["bob"]) == {"wait"}
    assert frames["ann"]["value_pred"] == 3.0
    assert np.exp(frames["ann"]["logits"][:2]).round(2).tolist() == [0.25, 0.75]
    assert math.isclose(math.exp(frames["ann"]["log_prob"]), 0.75 if kinds["ann"][-1] == "move" else 0.25, rel_tol=1e-5)
    assert set(runtime.collect().columns["kind"].tolist()) == {0}  # decisions with known probabilities


def test_the_snapshot_names_the_most_probable_actions() -> None:
    runtime = runtime_of(policy=Mover(WORDS))
    assert runtime.latest_policy_snapshot() == {}
    runtime.observe(seen("ann", value=2.0))
    runtime.decide(world_of("ann"), 0)
    snapshot = runtime.latest_policy_snapshot()["ann"]
    assert (snapshot["tick"], snapshot["selected_action"], snapshot["value_pred"]) == (0, "wait", 2.0)
    assert [(one["action"], round(one["probability"], 2)) for one in snapshot["top_actions"][:2]] == [
        ("move", 0.75),
        ("wait", 0.25),
    ]
    assert len(snapshot["top_actions"]) == 5


def test_the_last_decisions_are_explained_with_what_was_seen() -> None:
    runtime = runtime_of(policy=Mover(WORDS))
    assert runtime.latest_decisions() == {}
    given = seen("ann", value=2.0)
    given["ann"]["metadata"] = {"feature_names": ["value", "index"]}
    runtime.observe(given)
    runtime.decide(world_of("ann", "bob"), 0)
    ann, bob = runtime.latest_decisions()["ann"], runtime.latest_decisions()["bob"]
    assert [(one.name, one.value) for one in ann.numbers] == [("value", 2.0), ("index", 0.0)]
    assert [(one.name, one.shape) for one in ann.arrays] == [("map", (1, 2, 2))]
    assert (ann.tick, ann.action, ann.reward, bob.numbers) == (0, "wait", None, ())
    assert ann.answer is not None
    assert [one.action for one in ann.answer.top_actions[:2]] == ["move", "wait"]
    assert ann.why == ("The choice is that of the script: the policy has no share of the decisions (ratio 0).",)
    runtime.post_step({}, {})
    runtime.flush_transitions(seen("ann", value=3.0))
    schema = runtime.collect().schema
    assert (schema.feature_names, schema.veto_reasons[0]) == (("value", "index"), "action_mask")
    assert len(schema.veto_reasons) > 1


@pytest.mark.parametrize("metadata", [{}, {"feature_names": "ab"}, {"feature_names": ["a"]}, {"feature_names": None}])
def test_names_that_do_not_fit_the_features_are_not_taken(metadata: dict[str, object]) -> None:
    runtime = runtime_of()
    given = seen("ann", value=2.0)
    given["ann"]["metadata"] = metadata
    runtime.observe(given)
    runtime.decide(world_of("ann"), 0)
    assert [one.name for one in runtime.latest_decisions()["ann"].numbers] == ["features[0]", "features[1]"]


def test_a_policy_for_other_actions_is_refused_by_name() -> None:
    runtime = runtime_of(policy=UniformPolicy(vocabulary=("wait", "dance"), observation_shapes=SHAPES))
    runtime.observe(seen("ann"))
    with pytest.raises(SimulationError, match=r"does not fit `plain world`.*\['dance'\]"):
        runtime.decide(world_of("ann"), 0)


def test_a_policy_with_recurrent_state_is_refused() -> None:
    with pytest.raises(SimulationError, match="without recurrent state in a plain world, got one of 3 numbers"):
        runtime_of().set_policy(ElmanNetwork(2, 3))


def test_a_policy_may_know_no_values() -> None:
    class Silent(Mover):
        def act(self, observations: Any, action_mask: Any) -> Any:
            return super().act(observations, action_mask)[0], None

    runtime, world = runtime_of(policy=Silent(WORDS)), world_of("ann")
    runtime.enable_anneal_blend(True)
    runtime.set_anneal_ratio(1.0)
    runtime.observe(seen("ann", value=3.0))
    runtime.decide(world, 0)
    (frame,) = runtime.flush_transitions(seen("ann", value=3.0))
    assert frame["value_pred"] == 0.0 and frame["log_prob"] < 0.0


def test_the_policy_has_a_hash_or_is_given_one() -> None:
    runtime = runtime_of(policy=Mover(WORDS))
    assert runtime.active_policy_hash() == "ab" * 32
    runtime.set_policy(None)
    assert runtime.active_policy_hash() is None
    runtime.set_policy_hash("candidate 7")
    assert runtime.active_policy_hash() == "candidate 7"


# behavior


def test_the_behavior_can_be_read_and_replaced() -> None:
    first, second = Says(), Says({"ann": TO_THE_EDGE})
    runtime, world = runtime_of(first), world_of("ann")
    live(runtime, world)
    assert runtime.behavior is first
    runtime.behavior = second
    assert runtime.behavior is second
    assert live(runtime, world)[0]["ann"]["kind"] == "move"
    assert [tick for tick, _, _ in first.done] == [0]


def test_the_script_learns_what_was_executed_with_its_arguments() -> None:
    script = Says({"ann": AgentIntent(kind="move", position=(0, 0))})
    runtime, world = blended(edge, 1.0, script=script), world_of("ann", "bob")
    live(runtime, world)
    runtime.acquire_possession("bob")
    runtime.feed_action("bob", {"kind": "move", "position": (3, 3)})
    live(runtime, world)
    assert script.done[0] == (0, "ann", TO_THE_EDGE)
    assert script.done[3] == (1, "bob", AgentIntent(kind="move", position=(3, 3)))


def test_agents_with_a_schedule_play_it_and_guardrails_hold_for_them_too() -> None:
    entries = [{"kind": "request", "object": "bed"}, {"kind": "chat", "target_agent": "bob"}]
    scenario = {"agents": [{"id": "ann", "schedule": entries}, {"id": "bob"}]}
    runtime, world = PolicyRuntime({**ticks(0), "scenario": scenario}), world_of("ann", "bob")
    assert [live(runtime, world)[0]["ann"]["kind"] for _ in range(3)] == ["request", "chat", "request"]
    world.rivalries = {("ann", "bob"): 1.0}
    assert live(runtime, world)[0]["ann"] == {"kind": "wait", "blocked": True}
    # what was not carried out is played again
    world.rivalries = {}
    assert live(runtime, world)[0]["ann"]["kind"] == "chat"


# reset_state


def test_reset_forgets_everything_but_the_settings() -> None:
    runtime, world = blended(edge, 1.0, config=ticks(15)), world_of("ann", "bob")
    runtime.observe(seen("ann"))
    for _ in range(3):
        live(runtime, world)
    runtime.acquire_possession("bob")
    runtime.reset_state()
    assert (runtime.trajectory, runtime.transitions, runtime.possessed_agents()) == ((), {}, [])
    assert runtime.latest_policy_snapshot() == {}
    assert runtime.current_anneal_ratio() == 1.0
    world.tick = 0
    frame = live(runtime, world)[1]["ann"]
    assert frame["option_commit_remaining"] == 15


def test_after_a_reset_guardrails_and_checks_are_as_before() -> None:
    runtime = runtime_of(Says({"ann": CHAT}))
    runtime.decide(world_of("ann", "bob"), 0)
    runtime.reset_state()
    assert runtime.decide(enemies(), 0)["ann"] == {"kind": "wait", "blocked": True}
    world = enemies()
    world.agents["eve"] = object()  # type: ignore[assignment]
    with pytest.raises(SimulationError, match="agent 'eve' must have `position`"):
        runtime.decide(world, 1)


# option commitment


def test_a_choice_is_held_and_other_choices_are_enforced_and_recorded() -> None:
    script = Says({"ann": TO_THE_EDGE})
    runtime, world = runtime_of(script, ticks(3)), world_of("ann")
    runtime.observe(seen("ann"))
    frames = [live(runtime, world)[1]["ann"]]
    script.wants["ann"] = AgentIntent(kind="request", object_id="bed")
    frames += [live(runtime, world)[1]["ann"] for _ in range(3)]
    assert [frame["option_commit_remaining"] for frame in frames] == [3, 2, 1, 3]
    assert [frame["option_commit_kind"] for frame in frames] == ["move", "move", "move", "request"]
    assert [frame["option_commit_enforced"] for frame in frames] == [False, True, True, False]
    assert [frame["action"]["kind"] for frame in frames] == ["move", "move", "move", "request"]
    assert frames[1]["action"]["position"] == (9, 9)
    keys = [WORDS.keys[frame["drawn_action"]] for frame in frames]
    assert keys == ["move", "request:bed", "request:bed", "request:bed"]
    assert [WORDS.keys[index] for index in runtime.collect().columns["drawn_action"]] == keys


def test_without_a_commitment_the_three_keys_are_absent() -> None:
    frame = live(runtime_of(), world_of("ann"))[1]["ann"]
    assert not [key for key in frame if key.startswith("option_commit")]


def test_a_config_that_is_silent_holds_for_fifteen_ticks_and_a_matching_choice_does_not_renew_it() -> None:
    runtime, world = runtime_of(Says({"ann": TO_THE_EDGE}), {}), world_of("ann")
    remaining = [live(runtime, world)[1]["ann"]["option_commit_remaining"] for _ in range(17)]
    assert remaining == [*range(15, 0, -1), 15, 14]


def test_blocked_and_quality_are_no_part_of_the_comparison_but_other_arguments_are() -> None:
    script = Says({"ann": AgentIntent(kind="chat", target_agent="bob", quality=0.5)})
    runtime, world = runtime_of(script, ticks(9)), world_of("ann", "bob", "eve")
    live(runtime, world)
    script.wants["ann"] = AgentIntent(kind="chat", target_agent="bob", quality=0.9, blocked=True)
    assert live(runtime, world)[1]["ann"]["option_commit_enforced"] is False
    script.wants["ann"] = AgentIntent(kind="chat", target_agent="eve", quality=0.9)
    frame = live(runtime, world)[1]["ann"]
    assert (frame["option_commit_enforced"], frame["action"]["target"]) == (True, "bob")


def test_asking_starting_and_using_are_one_option_that_ends_with_the_use() -> None:
    script = Says({"ann": AgentIntent(kind="request", object_id="bed", affordance_id="rest_sleep")})
    runtime, world = runtime_of(script, ticks(15)), world_of("ann")
    done = [live(runtime, world)[1]["ann"]]
    world.turns["bed"] = "ann"
    script.wants["ann"] = AgentIntent(kind="start", object_id="bed", affordance_id="rest_sleep")
    done.append(live(runtime, world)[1]["ann"])
    del world.turns["bed"]
    world.running_affordances["bed"] = Use("ann")
    script.wants["ann"] = WAIT
    done += [live(runtime, world)[1]["ann"] for _ in range(2)]
    del world.running_affordances["bed"]
    done.append(live(runtime, world)[1]["ann"])
    assert [frame["action"]["kind"] for frame in done] == ["request", "start", "wait", "wait", "wait"]
    assert [frame.get("option_commit_remaining") for frame in done] == [15, 14, 13, 12, None]
    assert not any(frame.get("option_commit_enforced") for frame in done)


def test_the_option_goes_on_where_the_script_would_do_something_else() -> None:
    script = Says({"ann": AgentIntent(kind="request", object_id="bed", affordance_id="rest_sleep")})
    runtime, world = runtime_of(script, ticks(15)), world_of("ann")
    live(runtime, world)
    script.wants["ann"], world.turns["bed"] = TO_THE_EDGE, "ann"
    frame = live(runtime, world)[1]["ann"]
    assert frame["action"] == {"kind": "start", "object": "bed", "affordance": "rest_sleep", "blocked": False}
    assert frame["option_commit_enforced"] is True


@pytest.mark.parametrize(
    ("intent", "change"),
    [
        (TO_THE_EDGE, lambda world: setattr(world.agents["ann"], "position", (9, 9))),
        (AgentIntent(kind="chat", target_agent="bob", quality=0.5), lambda world: world.agents.pop("bob")),
        (AgentIntent(kind="request", object_id="bed"), lambda world: world.objects.pop("bed")),
        (AgentIntent(kind="release", object_id="bed"), lambda world: None),
    ],
)
def test_an_option_ends_when_the_world_shows_it_done(intent: AgentIntent, change: Any) -> None:
    script = Says({"ann": intent})
    runtime, world = runtime_of(script, ticks(15)), world_of("ann", "bob")
    live(runtime, world)
    change(world)
    script.wants["ann"] = WAIT
    assert live(runtime, world)[0]["ann"] == {"kind": "wait"}


def test_a_condition_of_ones_own_ends_an_option() -> None:
    script = Says({"ann": TO_THE_EDGE})
    runtime = runtime_of(script, ticks(15), option_done=lambda world, agent_id, intent: world.tick >= 3)
    world = world_of("ann")
    live(runtime, world)
    script.wants["ann"] = WAIT
    assert [live(runtime, world)[0]["ann"]["kind"] for _ in range(3)] == ["move", "move", "wait"]


def test_a_commitment_belongs_to_who_made_it() -> None:
    runtime, world = blended(edge, 1.0, config=ticks(5)), world_of("ann")
    runtime.observe(seen("ann"))
    live(runtime, world)
    runtime.set_anneal_ratio(0.0)
    live(runtime, world)
    assert runtime.collect().columns["source"].tolist() == [1, 1]


# guardrails


def enemies() -> PlainWorld:
    world = world_of("ann", "bob")
    world.rivalries = {("ann", "bob"): 1.0}
    return world


CHAT = AgentIntent(kind="chat", target_agent="bob", quality=0.5)


def test_a_chat_with_an_agent_to_avoid_becomes_a_blocked_wait_and_the_world_is_told() -> None:
    script, world = Says({"ann": CHAT}), enemies()
    runtime = runtime_of(script)
    runtime.observe(seen("ann", "bob"))
    actions, frames = live(runtime, world)
    assert actions["ann"] == {"kind": "wait", "blocked": True} == frames["ann"]["action"]
    assert world.told == [("chat_failure", "ann", "bob"), ("chat_rival", "ann", "bob", None)]
    assert script.cancelled == ["ann"]
    assert script.done[0] == (0, "ann", WAIT)
    assert runtime.collect().columns["vetoed"].tolist() == [True, False]


@pytest.mark.parametrize("kind", ["request", "start"])
@pytest.mark.parametrize("place", ["lines", "turns", "running_affordances"])
def test_a_line_with_an_agent_to_avoid_is_not_joined(kind: Any, place: str) -> None:
    world = enemies()
    there: Any = {"lines": ["eve", "bob"], "turns": "bob", "running_affordances": Use("bob")}[place]
    vars(world)[place]["bed"] = there
    runtime = runtime_of(Says({"ann": AgentIntent(kind=kind, object_id="bed")}))
    assert runtime.decide(world, 0)["ann"] == {"kind": "wait", "blocked": True}
    assert world.told == [("queue_rival", "ann", None, "bed")]


def test_a_controllers_own_judgement_comes_first() -> None:
    class Meek(Says):
        def should_avoid(self, world: PlainWorld, agent_id: str, other_id: str) -> bool:
            return (agent_id, other_id) == ("bob", "ann")

    wants = {"ann": CHAT, "bob": AgentIntent(kind="chat", target_agent="ann", quality=0.5)}
    actions = runtime_of(Meek(wants)).decide(enemies(), 0)
    assert (actions["ann"]["kind"], actions["bob"]) == ("chat", {"kind": "wait", "blocked": True})


def test_the_guardrail_holds_for_every_source() -> None:
    runtime, world = blended(lambda *_: CHAT, 1.0), enemies()
    assert live(runtime, world)[0]["ann"] == {"kind": "wait", "blocked": True}
    runtime.set_anneal_ratio(0.0)
    runtime.acquire_possession("ann")
    runtime.feed_action("ann", CHAT)
    assert live(runtime, world)[0]["ann"] == {"kind": "wait", "blocked": True}


def test_a_veto_ends_the_commitment_and_has_the_last_word() -> None:
    script, world = Says({"ann": CHAT}), world_of("ann", "bob")
    runtime = runtime_of(script, ticks(15))
    live(runtime, world)
    world.rivalries = {("ann", "bob"): 1.0}
    actions, frames = live(runtime, world)
    assert actions["ann"] == {"kind": "wait", "blocked": True}
    assert "option_commit_remaining" not in frames["ann"]
    script.wants["ann"] = WAIT
    assert live(runtime, world)[0]["ann"] == {"kind": "wait"}
    assert len(world.told) == 2  # of the tick with the veto alone


def test_who_uses_something_lines_up_nowhere() -> None:
    world = enemies()
    world.running_affordances["bed"] = Use("ann")
    world.lines["bed"] = ["bob"]
    script = Says({"ann": AgentIntent(kind="request", object_id="bed")})
    runtime = runtime_of(script, ticks(15))
    del world.lines["bed"]
    live(runtime, world)
    world.lines["bed"] = ["bob"]
    assert live(runtime, world)[0]["ann"] == {"kind": "wait"}


# switches


def test_switches_are_changes_from_one_kind_directly_to_another() -> None:
    script = Says()
    runtime, world = runtime_of(script), world_of("ann", "bob")
    bed = AgentIntent(kind="request", object_id="bed")
    for intent in (bed, TO_THE_EDGE, TO_THE_EDGE, WAIT, bed, TO_THE_EDGE):
        script.wants["ann"] = intent
        live(runtime, world)
    assert runtime.consume_option_switch_counts() == {"ann": 2}
    assert runtime.consume_option_switch_counts() == {}


# worlds


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda world: world.agents["ann"].__dict__.pop("job_id"), "agent 'ann' must have `job_id`"),
        (
            lambda world: setattr(world.agents["ann"], "personality", 3),
            "agent 'ann' must have `personality.extroversion`",
        ),
        (lambda world: world.objects["bed"].__dict__.pop("stock"), "object 'bed' must have `stock`"),
    ],
)
def test_what_an_agent_or_object_lacks_is_named_at_first_sight(change: Any, problem: str) -> None:
    world = world_of("ann")
    del Person.job_id  # a default of the class would hide that the agent has none
    try:
        change(world)
        with pytest.raises(SimulationError, match=problem):
            runtime_of().decide(world, 0)
    finally:
        Person.job_id = None


def test_what_a_world_lacks_is_an_error_at_construction_that_names_it() -> None:
    class Flat:
        tick, agents, objects = 0, {}, {}

    with pytest.raises(SimulationError, match="the world must have `queue_manager.active_agent`"):
        runtime_of(world=Flat())
    with pytest.raises(SimulationError, match="the world must have `queue_manager.active_agent`"):
        runtime_of().decide(Flat(), 0)


def test_a_newcomer_is_looked_at_too() -> None:
    runtime, world = runtime_of(), world_of("ann")
    live(runtime, world)
    world.agents["bob"] = object()  # type: ignore[assignment]
    with pytest.raises(SimulationError, match="agent 'bob' must have `position`"):
        runtime.decide(world, world.tick)


# worlds with intents of their own


class Meadow:
    def __init__(self, *names: str) -> None:
        self.agents = dict.fromkeys(names, 0)


class Graze:
    def decide(self, meadow: Meadow, name: str) -> str:
        return "eat" if meadow.agents[name] < 2 else "rest"


GRAZE = KeyCodec(ActionVocabulary(keys=("rest", "eat", "roam"), kinds=("wait", "eat", "walk")))


def test_a_world_of_ones_own_needs_agents_a_codec_and_a_script() -> None:
    runtime = PolicyRuntime({}, codec=GRAZE, behavior=Graze())
    meadow = Meadow("doe")
    runtime.observe({"doe": {"hunger": [1.0]}})
    assert runtime.decide(meadow, 0) == {"doe": {"kind": "eat", "action": "eat"}}
    runtime.set_policy_action_provider(lambda meadow, name, scripted: "roam")
    runtime.enable_anneal_blend()
    runtime.set_anneal_ratio(1.0)
    frames = runtime.flush_transitions({"doe": {"hunger": [0.5]}})
    assert (frames[0]["features"], frames[0]["observations"]["hunger"].tolist()) == (None, [0.5])
    assert frames[0]["option_commit_remaining"] == 15
    runtime.acquire_possession("doe")
    runtime.feed_action("doe", "rest")
    assert runtime.decide(meadow, 1)["doe"]["action"] == "rest"
    runtime.feed_action("doe", {"action": "roam"})
    assert runtime.decide(meadow, 2)["doe"] == {"kind": "walk", "action": "roam"}
    with pytest.raises(UnknownActionError, match="agent 'doe': no action for 'fly'"):
        runtime.feed_action("doe", "fly")


def test_held_options_of_ones_own_are_actions() -> None:
    runtime, meadow = PolicyRuntime(ticks(3), codec=GRAZE, behavior=Graze()), Meadow("doe")
    runtime.decide(meadow, 0)
    meadow.agents["doe"] = 5
    assert runtime.decide(meadow, 1)["doe"]["action"] == "eat"
    (frame,) = runtime.flush_transitions({})
    assert (frame["option_commit_remaining"], frame["option_commit_enforced"]) == (2, True)


def test_a_codec_comes_with_a_behavior() -> None:
    with pytest.raises(RuntimeConfigError, match="expected a `behavior` for the intents of your own `codec`"):
        PolicyRuntime({}, codec=GRAZE)  # type: ignore[call-overload]
    with pytest.raises(SimulationError, match="the world must have `agents`"):
        PolicyRuntime({}, codec=GRAZE, behavior=Graze()).decide(object(), 0)  # type: ignore[arg-type]
