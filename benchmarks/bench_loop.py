"""The whole loop in the town: step, observe, decide, record, log; prints JSON lines. Run with OMP_NUM_THREADS=1.

Claim: at least 30k / 74k / 280k agent-decisions per second with the script at 10 / 50 / 1,000 agents, and 24k / 60k /
110k with a learned policy; at 10,000 agents no decision costs more than at 1,000.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch
from turns import calibrate

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

TARGETS: dict[str, dict[int, int | None]] = {
    "scripted": {10: 30_000, 50: 74_000, 1_000: 280_000, 10_000: None},
    "learned": {10: 24_000, 50: 60_000, 1_000: 110_000, 10_000: None},
}
"""Agent-decisions a second; None: the rate measured at 1,000."""
RECORDED_ROWS, RECORDED_TICKS = 256_000, 256
"""Rows and ticks kept at most; older ones are dropped, so that memory stays flat."""


def random_policy(path: Path) -> OnnxPolicy:
    """A policy of the default size; how long it takes to act does not depend on its weights."""
    spec = Town(TownConfig(), num_worlds=1).spec
    generator = torch.Generator().manual_seed(0)
    network = ActorCritic(spec.observation_shapes, len(spec.vocabulary), NetworkConfig(), generator=generator)
    policy = PolicySpec(world=spec.name, vocabulary=spec.vocabulary.keys, observation_shapes=spec.observation_shapes)
    export_policy(network, path, spec=policy, seed=0)
    return OnnxPolicy.load(path)


def recorded_ticks(num_agents: int) -> int:
    return min(RECORDED_TICKS, RECORDED_ROWS // num_agents)


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
            schema_of(town.spec, masked=True), max_rows=num_agents * recorded_ticks(num_agents), on_full="drop_oldest"
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
    loop.run_for(2 * recorded_ticks(num_agents))
    best = 0.0
    for _ in range(rounds):
        begun = time.process_time()
        report = loop.run_for(ticks)
        best = max(best, report.agent_ticks / (time.process_time() - begun))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ticks", type=int, default=400, help="ticks of a round; fewer of more than 100 agents")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        learned = random_policy(Path(folder) / "policy.onnx")
    for acting, policy in (("scripted", None), ("learned", learned)):
        rate = 0.0
        for num_agents, target in TARGETS[acting].items():
            ticks = max(5, min(arguments.ticks, arguments.ticks * 100 // num_agents))
            before, rate = rate, measure(num_agents, policy, rounds=arguments.rounds, ticks=ticks)
            target = before if target is None else target
            row = {
                "benchmark": "loop",
                "acting": acting,
                "agents": num_agents,
                "agent_decisions_per_s": round(rate),
                "target": round(target),
                "share_of_target": round(rate / target, 2),
            }
            print(json.dumps(row), flush=True)
    calibrate("loop")


if __name__ == "__main__":
    main()
