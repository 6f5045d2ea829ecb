"""A conversation about a policy: every answer is that of acting in this process, and memory is that of its agents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from served_policies import ELMAN, KEYS, NUMBERS, PARTS, SHAPES, Conversation, Name, names, policy_of, seen

from townlet_behavior import Box, MultiDiscrete, Purpose, draw_keys, uniforms
from townlet_runtime.errors import SimulationError
from townlet_runtime.policy.drawing import (
    greedy_actions,
    log_prob_of_numbers,
    sample_actions,
    sample_numbers,
    sample_parts,
    uniforms_of_numbers,
    uniforms_of_parts,
)
from townlet_runtime.policy.onnx import RecurrentOnnxPolicy
from townlet_runtime.serving.served import REMEMBERED, ServedGroup

SEED, TICK, ROWS = 11, 3, 6
FEATURES = {"features": (8,)}


def keys() -> NDArray[np.uint64]:
    return np.array([draw_keys(SEED, agent) for agent in names(ROWS)], np.uint64)


def mask() -> NDArray[np.bool_]:
    found = np.random.default_rng(1).random((ROWS, 4)) < 0.6
    found[:, 2] = True
    return found


def arrays_of(content: dict[str, Any], rows: bytes, dtype: str) -> tuple[NDArray[Any], NDArray[Any]]:
    size = int(np.prod(content["shape"]))
    actions = np.frombuffer(rows, dtype, size).reshape(content["shape"])
    return actions, np.frombuffer(rows, "<f4", content["shape"][0], 4 * size)


def test_hello_says_what_the_policy_is_for(tmp_path: Path) -> None:
    policy = policy_of("plain", tmp_path)
    hello = Conversation({"agents": policy}, seed=SEED, max_agents=9).hello
    assert (hello["seed"], hello["greedy"], hello["limits"]["agents"]) == (SEED, False, 9)
    (group,) = hello["groups"].values()
    assert (group["policy"], group["world"], group["vocabulary"]) == (policy.digest, "corridor", [*KEYS])
    assert group["observations"] == {"features": [8], "map": [1, 1, 6]}
    assert (group["actions"], group["state_size"], group["commitment"]) == (None, 0, None)


@pytest.mark.parametrize("greedy", [False, True])
def test_indices_are_those_of_acting_here(greedy: bool, tmp_path: Path) -> None:
    policy, observations = policy_of("plain", tmp_path), seen(ROWS)
    talk = Conversation({"agents": policy}, seed=SEED, greedy=greedy)
    content, rows = talk.act_binary(observations, names(ROWS), action_mask=mask(), log_probs=True)
    log_probs, _ = policy.act(observations, mask())
    expected = (
        greedy_actions(log_probs) if greedy else sample_actions(log_probs, uniforms(SEED, Purpose.POLICY, keys(), TICK))
    )
    actions, likely = arrays_of(content, rows, "<i4")
    assert (content["id"], content["tick"], content["policy"], content["shape"]) == (5, TICK, policy.digest, [ROWS])
    np.testing.assert_array_equal(actions, expected)
    np.testing.assert_array_equal(likely, log_probs[np.arange(ROWS), expected])
    said = talk.act(observations, names(ROWS), action_mask=mask(), log_probs=True)
    assert said["actions"] == [KEYS[index] for index in expected]
    np.testing.assert_array_equal(np.array(said["log_probs"], np.float32), likely)
    assert talk.act(observations, names(ROWS), action_mask=mask(), names=False)["actions"] == expected.tolist()


def test_parts_are_those_of_acting_here(tmp_path: Path) -> None:
    policy, observations = policy_of("parts", tmp_path), seen(ROWS, shapes=FEATURES)
    talk = Conversation({"agents": policy}, seed=SEED)
    content, rows = talk.act_binary(observations, names(ROWS), log_probs=True)
    params, _ = policy.act(observations, None)
    sizes = MultiDiscrete(parts=PARTS.parts).sizes
    expected = sample_parts(params, uniforms_of_parts(2, seed=SEED, keys=keys(), tick=TICK), sizes=sizes)
    actions, likely = arrays_of(content, rows, "<i4")
    np.testing.assert_array_equal(actions, expected)
    row = np.arange(ROWS)
    joint = params[row, expected[:, 0]].astype(np.float64) + params[row, 3 + expected[:, 1]]
    np.testing.assert_allclose(likely, joint, rtol=1e-6)
    move, hand = PARTS.parts.values()
    assert talk.act(observations, names(ROWS))["actions"] == [[move[one], hand[two]] for one, two in expected]


@pytest.mark.parametrize("name", ["clipped", "squashed"])
def test_numbers_are_those_of_acting_here(name: Name, tmp_path: Path) -> None:
    policy, observations = policy_of(name, tmp_path), seen(ROWS, shapes=FEATURES)
    talk = Conversation({"agents": policy}, seed=SEED)
    content, rows = talk.act_binary(observations, names(ROWS), log_probs=True)
    params, _ = policy.act(observations, None)
    box = Box(names=NUMBERS.names, low=NUMBERS.low, high=NUMBERS.high)
    drawn = sample_numbers(
        params, uniforms_of_numbers(2, seed=SEED, keys=keys(), tick=TICK), box=box, distribution=name
    )
    actions, likely = arrays_of(content, rows, "<f4")
    np.testing.assert_array_equal(actions, np.clip(drawn, *box.bounds))
    np.testing.assert_array_equal(likely, log_prob_of_numbers(params, drawn, box=box, distribution=name))
    np.testing.assert_array_equal(np.frombuffer(rows, "<f4", 2 * ROWS, 12 * ROWS).reshape(ROWS, 2), drawn)
    assert (actions == drawn).all() == (name == "squashed")  # some of the clipped ones lie beyond
    said = talk.act(observations, names(ROWS), log_probs=True)
    np.testing.assert_array_equal(np.array(said["actions"], np.float32), actions)
    np.testing.assert_array_equal(np.array(said["drawn"], np.float32), drawn)


def test_a_draw_follows_from_seed_agent_and_tick_alone(tmp_path: Path) -> None:
    policies, observations = {"agents": policy_of("plain", tmp_path)}, seen(ROWS)
    one, other = Conversation(policies, seed=SEED), Conversation(policies, seed=SEED)
    all_of_them = one.act(observations, names(ROWS))["actions"]
    backwards = {name: array[::-1] for name, array in observations.items()}
    assert other.act(backwards, names(ROWS)[::-1])["actions"] == all_of_them[::-1]
    alone = {name: array[2:3] for name, array in observations.items()}
    assert other.act(alone, ["agent_2"])["actions"] == all_of_them[2:3]
    ticks = [one.act(observations, names(ROWS), tick=tick)["actions"] for tick in range(20)]
    assert ticks[3] == all_of_them and len({tuple(each) for each in ticks}) > 10
    others = [Conversation(policies, seed=seed).act(observations, names(ROWS))["actions"] for seed in range(20)]
    assert len({tuple(each) for each in others}) > 10


def test_memory_moves_on_with_each_answer_and_is_that_of_the_agent(tmp_path: Path) -> None:
    policy = policy_of("recurrent", tmp_path)
    assert isinstance(policy, RecurrentOnnxPolicy)
    talk = Conversation({"agents": policy}, greedy=True)
    state = np.zeros((2, 3), np.float32)
    for tick in range(4):
        observations = seen(2, seed=tick)
        log_probs, _, state = policy.act(observations, None, state)
        order = [0, 1] if tick % 2 else [1, 0]
        rows = {name: array[order] for name, array in observations.items()}
        said = talk.act(rows, [names(2)[row] for row in order], names=False, log_probs=True)
        assert said["actions"] == log_probs[order].argmax(axis=1).tolist()
        np.testing.assert_allclose(said["log_probs"], log_probs[order].max(axis=1), rtol=1e-5, atol=1e-6)


def test_who_ends_or_begins_is_remembered_no_more(tmp_path: Path) -> None:
    talk = Conversation({"agents": policy_of("recurrent", tmp_path)}, greedy=True)

    def likely(tick: int, **more: Any) -> list[float]:
        return list(talk.act(seen(2, seed=tick), names(2), log_probs=True, **more)["log_probs"])

    fresh = likely(0)
    used = likely(0)
    assert all(abs(one - two) > 1e-4 for one, two in zip(fresh, used, strict=True))
    begun = likely(0, begin=["agent_1"])
    assert begun[1] == fresh[1] and abs(begun[0] - fresh[0]) > 1e-4
    likely(1, end=["agent_0"])
    ended = likely(0)
    assert ended[0] == fresh[0] and abs(ended[1] - fresh[1]) > 1e-4
    # Nobody is asked about: only who has left is told.
    empty = {name: np.zeros((0, *shape), np.float32) for name, shape in SHAPES.items()}
    assert talk.act(empty, [], end=names(2), log_probs=True)["actions"] == []
    assert likely(0) == fresh


def test_a_refused_question_changes_no_memory(tmp_path: Path) -> None:
    policy = policy_of("recurrent", tmp_path)
    talk, twin = (Conversation({"agents": policy}, greedy=True) for _ in range(2))
    for one in (talk, twin):
        one.act(seen(2, seed=1), names(2))
    broken = seen(2, seed=2)
    broken["features"][1, 3] = np.inf
    assert talk.act_binary(broken, names(2))[0]["kind"] == "finite"
    illegal = np.ones((2, 4), np.bool_)
    illegal[1] = False
    refused = talk.act(seen(2, seed=2), names(2), action_mask=illegal, begin=names(2))
    assert (refused["kind"], refused["error"]) == ("mask", "expected a legal action for 'agent_1', got none")
    found, expected = (one.act(seen(2, seed=3), names(2), log_probs=True) for one in (talk, twin))
    assert found == expected


def test_memory_is_bounded_and_the_place_of_who_left_is_used_again(tmp_path: Path) -> None:
    talk = Conversation({"agents": policy_of("recurrent", tmp_path)}, max_agents=2)
    for number in range(0, 2 * REMEMBERED, 2):
        assert "actions" in talk.act(seen(2), [f"a{number}", f"a{number + 1}"])
    refused = talk.act(seen(2), ["a0", "new"])
    assert refused["kind"] == "memory" and "at most 8 agents to remember, got 9" in refused["error"]
    assert "actions" in talk.act(seen(1), ["a0"], end=["a7", "a6"])
    for number in range(20):
        assert "actions" in talk.act(seen(2), ["a0", f"later_{number}"], end=[f"later_{number}"])


def test_the_memory_of_a_connection_is_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("townlet_runtime.serving.served.MAX_MEMORY_BYTES", 3 * 4 * ELMAN.state_size)
    assert ServedGroup.of(policy_of("recurrent", tmp_path), max_agents=1000).spec.capacity == 3


def test_each_group_has_its_policy(tmp_path: Path) -> None:
    talk = Conversation({"walkers": policy_of("plain", tmp_path), "hands": policy_of("parts", tmp_path)})
    assert set(talk.hello["groups"]) == {"walkers", "hands"}
    assert talk.act(seen(1), ["a"], group="walkers")["actions"][0] in KEYS
    (action,) = talk.act(seen(1, shapes=FEATURES), ["a"], group="hands")["actions"]
    assert all(key in keys for key, keys in zip(action, PARTS.parts.values(), strict=True))


def test_a_policy_that_cannot_act_is_told_and_is_not_the_client_s_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = Conversation({"agents": policy_of("recurrent", tmp_path)})

    def fails(*given: object) -> None:
        raise SimulationError("no memory is left")

    monkeypatch.setattr(RecurrentOnnxPolicy, "act", fails)
    refused = talk.act(seen(1), ["a"])
    assert (refused["id"], refused["kind"]) == (5, "policy") and "no memory is left" in refused["error"]
    assert not talk.reply.refused
    monkeypatch.undo()
    monkeypatch.setattr(
        "townlet_runtime.policy.acting.sample_actions", lambda log_probs, *_: np.full(len(log_probs), 4)
    )
    assert talk.act(seen(1), ["a"])["error"] == "the policy gives no action for 'a'"
