"""How fast a PPO update is, beside Stable-Baselines3 where it is installed: transitions per second of CPU time.

8,192 transitions, 4 epochs, minibatches of 1,024, one thread; observations (4, 11, 11) and 64; two tanh trunks of 256
and 256 units, 12 actions. The checks, values, log-probabilities and advantages before the first step are part of our
update and timed, and timed on their own as well; Stable-Baselines3 computes its own while it acts, outside of what is
timed. The limit is the matrix products of all passes. Medians of `ROUNDS` updates, taken in turns.
"""

# /// script
# dependencies = ["stable-baselines3>=2.7"]
# ///

from __future__ import annotations

import argparse
import importlib.util
import math
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from turns import dense_products, in_turns, report

from townlet_training.learning.batch import prepare
from townlet_training.learning.ppo import PPOConfig, PPOLearner
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.config import NetworkConfig
from townlet_trajectory import ArraySpec, TrajectoryBatch, TrajectorySchema, default_decision_columns

NUM_ACTIONS, NUM_AGENTS, NUM_TICKS = 12, 32, 256
NUM_ROWS = NUM_AGENTS * NUM_TICKS
SHAPES = {"features": (64,), "map": (4, 11, 11)}
HIDDEN = (256, 256)
NUM_EPOCHS, MINIBATCH_SIZE = 4, 1024
ROUNDS = 5


def acted(network: ActorCritic) -> TrajectoryBatch:
    """Random observations and rewards, and the actions that the network samples."""
    rng = np.random.default_rng(0)
    observations = {name: rng.random((NUM_ROWS, *shape), np.float32) for name, shape in SHAPES.items()}
    log_probs, values = network.act(observations, None)
    actions = (log_probs + rng.gumbel(size=log_probs.shape)).argmax(axis=1)
    chosen = log_probs[np.arange(NUM_ROWS), actions]
    specs = default_decision_columns()
    columns = {name: np.zeros(NUM_ROWS, spec.numpy_dtype) for name, spec in specs.items()}
    columns |= {"action": actions, "chosen_action": actions, "expert_action": actions, "value": values}
    columns |= {"policy_log_prob": chosen, "behavior_log_prob": chosen}
    schema = TrajectorySchema(
        observations={name: ArraySpec("float32", shape) for name, shape in SHAPES.items()},
        decisions=specs,
        vocabulary=tuple(f"action_{index}" for index in range(NUM_ACTIONS)),
    )
    return TrajectoryBatch(
        schema=schema,
        offsets=np.arange(0, NUM_ROWS + 1, NUM_TICKS, dtype=np.int64),
        observations=observations,
        final_observations={name: array[:NUM_AGENTS] for name, array in observations.items()},
        columns=columns,
        rewards=rng.normal(size=NUM_ROWS).astype(np.float32),
        ticks=np.tile(np.arange(NUM_TICKS), NUM_AGENTS),
        terminated=np.zeros(NUM_AGENTS, np.bool_),
        truncated=np.ones(NUM_AGENTS, np.bool_),
        agent_ids=np.array([f"agent_{index}" for index in range(NUM_AGENTS)], object),
        worlds=np.zeros(NUM_AGENTS, np.int64),
        episodes=np.zeros(NUM_AGENTS, np.int64),
    )


def townlet(*, prepare_only: bool = False) -> Callable[[], float]:
    """Transitions per CPU second of one update, or of what comes before its first step, by the network that acted."""

    def run() -> float:
        network = ActorCritic(
            SHAPES, NUM_ACTIONS, NetworkConfig(hidden_sizes=HIDDEN), generator=torch.Generator().manual_seed(0)
        )
        config = PPOConfig(num_epochs=NUM_EPOCHS, minibatch_size=MINIBATCH_SIZE)
        learner = PPOLearner(network, config=config, generator=torch.Generator().manual_seed(1))
        batch = acted(network)
        start = time.process_time()
        if prepare_only:
            prepare(network, batch, discount=config.discount, gae_lambda=config.gae_lambda, min_ratio=config.min_ratio)
        else:
            learner.update(batch)
        return NUM_ROWS / (time.process_time() - start)

    return run


def stable_baselines3() -> Callable[[], float]:
    """Transitions per CPU second of `PPO.train` on a full rollout buffer."""
    from gymnasium import Env
    from gymnasium.spaces import Box, Dict, Discrete
    from stable_baselines3 import PPO
    from stable_baselines3.common.logger import configure
    from stable_baselines3.common.vec_env import DummyVecEnv

    class Still(Env):
        observation_space = Dict({name: Box(0, 1, shape, np.float32) for name, shape in SHAPES.items()})
        action_space = Discrete(NUM_ACTIONS)

    model = PPO(
        "MultiInputPolicy",
        DummyVecEnv([Still] * NUM_AGENTS),
        n_steps=NUM_TICKS,
        batch_size=MINIBATCH_SIZE,
        n_epochs=NUM_EPOCHS,
        policy_kwargs={"net_arch": {"pi": list(HIDDEN), "vf": list(HIDDEN)}},
        device="cpu",
    )
    model.set_logger(configure(None, []))
    rng = np.random.default_rng(0)
    model.rollout_buffer.reset()
    for _ in range(NUM_TICKS):
        observations = {name: rng.random((NUM_AGENTS, *shape), np.float32) for name, shape in SHAPES.items()}
        with torch.no_grad():
            actions, values, log_probs = model.policy(model.policy.obs_to_tensor(observations)[0])
        rewards, starts = rng.normal(size=NUM_AGENTS).astype(np.float32), np.zeros(NUM_AGENTS, np.bool_)
        model.rollout_buffer.add(observations, actions.numpy(), rewards, starts, values, log_probs)
    model.rollout_buffer.compute_returns_and_advantage(values.flatten(), starts)

    def run() -> float:
        start = time.process_time()
        model.train()
        return NUM_ROWS / (time.process_time() - start)

    return run


def products() -> float:
    """Transitions per CPU second of the matrix products alone."""
    inputs = sum(math.prod(shape) for shape in SHAPES.values())
    start = time.process_time()
    for outputs in (NUM_ACTIONS, 1):
        layers = tuple(pairwise((inputs, *HIDDEN, outputs)))
        dense_products(layers, MINIBATCH_SIZE, NUM_EPOCHS * NUM_ROWS // MINIBATCH_SIZE)
    return NUM_ROWS / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    timed = {
        "townlet": townlet(),
        "townlet, before the first step": townlet(prepare_only=True),
        "products": products,
    }
    if importlib.util.find_spec("stable_baselines3") is not None:
        timed["stable-baselines3"] = stable_baselines3()
    rates = in_turns(timed, rounds=rounds)
    report("ppo", rates, unit="transitions_per_s", peer="stable-baselines3", limit="products")


if __name__ == "__main__":
    main()
