"""Acting: whole-tick inference through `BatchRuntime` against bare onnxruntime on the same file; prints JSON lines.

The network is the original's: map (4, 11, 11) and 64 features, two hidden layers of 256, 12 actions, with masks.
`share` is the claim: decisions per second of `act` (forward pass, one draw per agent) over those of the bare session.
Ratios are of CPU time taken in one interleaved run; absolute figures drift with the machine, see the calibration line.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from turns import calibrate

from townlet_behavior import ActionVocabulary, BridgeConfig, IdleController, Purpose, draw_keys, uniforms
from townlet_runtime.core.runtime import BatchRuntime
from townlet_runtime.policy.drawing import sample_actions
from townlet_runtime.policy.onnx import OnnxPolicy
from townlet_runtime.simulation.interface import Observed, SimulationSpec, Stepped
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.config import NetworkConfig
from townlet_training.network.export.onnx_export import export_policy
from townlet_training.network.spec import PolicySpec

SHAPES = {"map": (4, 11, 11), "features": (64,)}
NUM_ACTIONS = 12


def specification(num_agents: int) -> SimulationSpec:
    return SimulationSpec(
        name="bench",
        vocabulary=ActionVocabulary(
            keys=("wait", *(f"move:{index}" for index in range(1, NUM_ACTIONS))),
            kinds=("wait", *["move"] * (NUM_ACTIONS - 1)),
        ),
        observation_shapes=SHAPES,
        feature_names=tuple(f"feature_{index}" for index in range(64)),
        num_worlds=1,
        capacity=num_agents,
        episode_ticks=1_000_000,
        event_names=(),
        commitment_columns=None,
        option_ticks={"wait": 0, "move": 1},
    )


def observed(num_agents: int, generator: np.random.Generator) -> Observed:
    mask = generator.random((num_agents, NUM_ACTIONS)) < 0.7
    mask[:, 0] = True
    ids = [f"agent_{index}" for index in range(num_agents)]
    return Observed(
        slots=np.arange(num_agents),
        keys=np.array([draw_keys(0, agent_id) for agent_id in ids]),
        agent_ids=np.array(ids, np.object_),
        worlds=np.zeros(num_agents, np.int64),
        episodes=np.zeros(num_agents, np.int64),
        observations={
            name: generator.normal(size=(num_agents, *shape)).astype(np.float32) for name, shape in SHAPES.items()
        },
        action_mask=mask,
        option_done=np.zeros(num_agents, np.bool_),
    )


def stepped(seen: Observed) -> Stepped:
    size = len(seen.slots)
    nobody = np.zeros(0, np.int64)
    return Stepped(
        rewards=np.zeros(size, np.float32),
        terminated=np.zeros(size, np.bool_),
        truncated=np.zeros(size, np.bool_),
        final_rows=nobody,
        final_option_done=np.zeros(0, np.bool_),
        final_observations={name: array[:0] for name, array in seen.observations.items()},
        events=np.zeros((1, 0), np.int64),
        observed=seen,
    )


def interleaved(calls: dict[str, Callable[[], object]], *, rounds: int, seconds: float) -> dict[str, float]:
    """CPU seconds per call of each, the best of `rounds` rounds that take turns."""
    best = dict.fromkeys(calls, float("inf"))
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            count, begun = 0, time.process_time()
            while (spent := time.process_time() - begun) < seconds:
                call()
                count += 1
            best[name] = min(best[name], spent / count)
    return best


def measure(path: Path, num_agents: int, *, rounds: int, seconds: float) -> dict[str, float]:
    spec, seen = specification(num_agents), observed(num_agents, np.random.default_rng(num_agents))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {**seen.observations, "action_mask": seen.action_mask}
    policy = OnnxPolicy.load(path)
    config = BridgeConfig(ratio=1.0)
    runtime = BatchRuntime(spec, IdleController(wait=0), config=config, policy=policy, service=None, seed=1)
    runtime.begin(seen, tick=0)
    outcome = stepped(seen)

    def act() -> object:
        log_probs, _ = policy.act(seen.observations, seen.action_mask)
        return sample_actions(log_probs, uniforms(1, Purpose.POLICY, seen.keys, 7))

    def tick() -> None:
        runtime.decide_batch()
        runtime.post_step(outcome)

    calls: dict[str, Callable[[], object]] = {
        "bare": lambda: session.run(None, feed),
        "forward": lambda: policy.act(seen.observations, seen.action_mask),
        "act": act,
        "tick": tick,
    }
    return interleaved(calls, rounds=rounds, seconds=seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.2, help="per round and contender")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    spec = specification(1)
    network = ActorCritic(
        SHAPES, NUM_ACTIONS, NetworkConfig(hidden_sizes=(256, 256)), generator=torch.Generator().manual_seed(1)
    )
    made_for = PolicySpec(world=spec.name, vocabulary=spec.vocabulary.keys, observation_shapes=SHAPES)
    calibrate("act")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.onnx"
        export_policy(network, path, spec=made_for, seed=1)
        for num_agents in arguments.agents:
            seconds = measure(path, num_agents, rounds=arguments.rounds, seconds=arguments.seconds)
            per_s = {f"{name}_per_s": round(num_agents / value) for name, value in seconds.items()}
            share = round(seconds["bare"] / seconds["act"], 3)
            whole = round(seconds["bare"] / seconds["tick"], 3)
            line = {"benchmark": "act", "agents": num_agents, **per_s, "share": share, "share_of_whole_tick": whole}
            print(json.dumps(line))


if __name__ == "__main__":
    main()
