"""The whole loop in the town: step, observe, decide, record, log; prints JSON lines. Run with OMP_NUM_THREADS=1.

Claim: at least 30k / 74k / 221k agent-decisions per second with the script at 10 / 50 / 1,000 agents, and 24k / 52k /
88k with a learned policy. `matmul_per_s` is the calibration line: figures drift with the machine.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from townlet_behavior import BridgeConfig, CommitmentConfig
from townlet_runtime.core.loop import BatchLoop
from townlet_runtime.core.runtime import BatchRuntime
from townlet_runtime.policy.onnx import OnnxPolicy
from townlet_runtime.simulation.recorded import schema_of
from townlet_runtime.town import Town, TownConfig
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.config import NetworkConfig
from townlet_training.network.export.onnx_export import export_policy
from townlet_training.network.spec import PolicySpec
from townlet_trajectory import TrajectoryService

TARGETS = {"scripted": {10: 30_000, 50: 74_000, 1000: 221_000}, "learned": {10: 24_000, 50: 52_000, 1000: 88_000}}
RECORDED_TICKS = 256
"""Ticks kept; older ones are dropped, so that memory stays flat."""


def matmul_per_s() -> float:
    square = np.ones((256, 256), np.float32)
    begun, count = time.perf_counter(), 1000
    for _ in range(count):
        square @ square
    return count / (time.perf_counter() - begun)


def random_policy(path: Path) -> OnnxPolicy:
    """A policy of the default size; how long it takes to act does not depend on its weights."""
    spec = Town(TownConfig(), num_worlds=1).spec
    generator = torch.Generator().manual_seed(0)
    network = ActorCritic(spec.observation_shapes, len(spec.vocabulary), NetworkConfig(), generator=generator)
    policy = PolicySpec(world=spec.name, vocabulary=spec.vocabulary.keys, observation_shapes=spec.observation_shapes)
    export_policy(network, path, spec=policy, seed=0)
    return OnnxPolicy.load(path)


def loop_of(num_agents: int, policy: OnnxPolicy | None) -> BatchLoop:
    config = TownConfig(num_agents=num_agents)
    town = Town(config, num_worlds=1)
    runtime = BatchRuntime(
        town.spec,
        town.scripted("scripted"),
        config=BridgeConfig(
            ratio=0.0 if policy is None else 1.0, commitment=CommitmentConfig(ticks=dict(config.option_ticks))
        ),
        policy=policy,
        service=TrajectoryService(
            schema_of(town.spec, masked=True), max_rows=num_agents * RECORDED_TICKS, on_full="drop_oldest"
        ),
        seed=0,
        guardrails=town.guardrails(),
    )
    loop = BatchLoop(town, runtime)
    loop.reset(seed=2**31)
    return loop


def measure(num_agents: int, policy: OnnxPolicy | None, *, rounds: int, ticks: int) -> float:
    """Agent-decisions per second of CPU time, the best of `rounds`."""
    loop = loop_of(num_agents, policy)
    loop.run_for(2 * RECORDED_TICKS)
    best = 0.0
    for _ in range(rounds):
        begun = time.process_time()
        report = loop.run_for(ticks)
        best = max(best, report.agent_ticks / (time.process_time() - begun))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ticks", type=int, default=400, help="ticks of a round (at 1,000 agents a tenth)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        learned = random_policy(Path(folder) / "policy.onnx")
    for acting, policy in (("scripted", None), ("learned", learned)):
        for num_agents, target in TARGETS[acting].items():
            ticks = arguments.ticks if num_agents < 1000 else max(1, arguments.ticks // 10)
            rate = measure(num_agents, policy, rounds=arguments.rounds, ticks=ticks)
            row = {
                "benchmark": "loop",
                "acting": acting,
                "agents": num_agents,
                "agent_decisions_per_s": round(rate),
                "target": target,
                "share_of_target": round(rate / target, 2),
                "matmul_per_s": round(matmul_per_s()),
            }
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
