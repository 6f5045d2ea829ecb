"""What several learners come to: seconds of a PPO update with one, and with more processes of one thread each.

Four networks and their batches, from a small one to one that large minibatches are worth; everything of an update is
timed, telling the other processes included, but not their beginning. Wall times, medians of `ROUNDS` updates, taken in
turns; JSON lines. Needs an idle core for each learner.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from turns import calibrate

from townlet_training import ActorCritic, NetworkConfig, PolicySpec, PPOConfig, PPOLearner, Ranks
from townlet_trajectory import ArraySpec, TrajectoryBatch, TrajectorySchema, default_decision_columns

NUM_ACTIONS, NUM_FEATURES, NUM_TICKS, ROUNDS = 12, 128, 128, 5
SPEC = PolicySpec(
    world="learners",
    vocabulary=tuple(f"action_{index}" for index in range(NUM_ACTIONS)),
    observation_shapes={"features": (NUM_FEATURES,)},
)


@dataclass(frozen=True)
class Work:
    """An update."""

    name: str
    network: NetworkConfig
    num_agents: int
    minibatch_size: int


WORK = (
    Work("64 + 64 units, 4,096 rows, minibatches of 256", NetworkConfig(hidden_sizes=(64, 64)), 32, 256),
    Work("256 + 256 units, 16,384 rows, minibatches of 1,024", NetworkConfig(hidden_sizes=(256, 256)), 128, 1024),
    Work("512 + 512 units, 32,768 rows, minibatches of 8,192", NetworkConfig(hidden_sizes=(512, 512)), 256, 8192),
    Work("GRU of 128, 16,384 rows, minibatches of 4,096", NetworkConfig(hidden_sizes=(64,), memory="gru"), 128, 4096),
)


def acted(network: ActorCritic, num_agents: int) -> TrajectoryBatch:
    """Random observations and rewards, and the actions that the network samples from its first state."""
    rng, num_rows = np.random.default_rng(0), num_agents * NUM_TICKS
    seen = rng.random((num_rows, NUM_FEATURES), np.float32)
    specs = default_decision_columns()
    columns = {name: np.zeros(num_rows, spec.numpy_dtype) for name, spec in specs.items()}
    if network.state_size:
        specs = {**specs, "policy_state": ArraySpec("float32", (network.state_size,))}
        columns["policy_state"] = np.zeros((num_rows, network.state_size), np.float32)
    log_probs = np.empty((num_rows, NUM_ACTIONS), np.float32)
    state = np.zeros((num_agents, network.state_size), np.float32)
    for tick in range(NUM_TICKS):
        rows = np.arange(num_agents) * NUM_TICKS + tick
        if network.state_size:
            columns["policy_state"][rows] = state
            log_probs[rows], _, state = network.act({"features": seen[rows]}, None, state)
        else:
            log_probs[rows], _ = network.act({"features": seen[rows]}, None)
    actions = (log_probs + rng.gumbel(size=log_probs.shape)).argmax(axis=1)
    chosen = log_probs[np.arange(num_rows), actions]
    columns |= {"action": actions, "chosen_action": actions, "expert_action": actions}
    columns |= {"policy_log_prob": chosen, "behavior_log_prob": chosen}
    return TrajectoryBatch(
        schema=TrajectorySchema(
            observations={"features": ArraySpec("float32", (NUM_FEATURES,))},
            decisions=specs,
            vocabulary=SPEC.vocabulary,
        ),
        offsets=np.arange(0, num_rows + 1, NUM_TICKS, dtype=np.int64),
        observations={"features": seen},
        final_observations={"features": seen[:num_agents]},
        columns=columns,
        rewards=rng.normal(size=num_rows).astype(np.float32),
        ticks=np.tile(np.arange(NUM_TICKS), num_agents),
        terminated=np.zeros(num_agents, np.bool_),
        truncated=np.ones(num_agents, np.bool_),
        agent_ids=np.array([f"agent_{index}" for index in range(num_agents)], object),
        worlds=np.zeros(num_agents, np.int64),
        episodes=np.zeros(num_agents, np.int64),
    )


def seconds(work: Work, ranks: Ranks | None) -> float:
    """Of one update of a fresh network."""
    network = ActorCritic.of(SPEC, work.network, generator=torch.Generator().manual_seed(0))
    batch = acted(network, work.num_agents)
    config = PPOConfig(minibatch_size=work.minibatch_size, sequence_length=32)
    generator = torch.Generator().manual_seed(1)
    learner = PPOLearner(network, config=config, generator=generator, ranks=ranks, group="agents")
    began = time.perf_counter()
    learner.update(batch)
    return time.perf_counter() - began


def main() -> None:
    """Print a line for each work, and the calibration line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--learners", type=int, default=2)
    count = parser.parse_args().learners
    torch.set_num_threads(1)
    for work in WORK:
        config = PPOConfig(minibatch_size=work.minibatch_size, sequence_length=32)
        with closing(Ranks(count, {"agents": SPEC}, work.network, config)) as ranks:
            seconds(work, ranks)  # begins the processes
            pairs = [(seconds(work, None), seconds(work, ranks)) for _ in range(ROUNDS)]
        one, several = (statistics.median(column) for column in zip(*pairs, strict=True))
        line = {"benchmark": "learners", "name": work.name, "seconds": round(one, 2), "learners": count}
        line |= {"seconds_together": round(several, 2), "times": round(one / several, 2)}
        print(json.dumps(line), flush=True)
    calibrate("learners")


if __name__ == "__main__":
    main()
