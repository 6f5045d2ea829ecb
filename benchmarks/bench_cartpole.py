"""How fast PPO trains in CartPole-v1: env steps per second of CPU time, beside Stable-Baselines3 and two yardsticks.

8 worlds x 128 ticks, 4 epochs of 4 minibatches, two tanh trunks of 64 and 64 units, one thread, no evaluations. Ours
and the lean loop twice: the worlds stepped one by one, as the peer's are, and by Gymnasium's own vector form. The limit
is stepping alone. pufferlib-core needs another torch: where `uv` is there, it runs in an environment and a process of
its own. Medians of `ROUNDS` runs of `NUM_UPDATES` updates, taken in turns; the first update is not timed.
"""

# /// script
# dependencies = ["stable-baselines3>=2.7", "gymnasium>=1.2"]
# ///

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial

import gymnasium
import torch
from lean_ppo import lean_loop
from turns import in_turns, report, script_rate, scripts_run

from townlet_behavior import BridgeConfig
from townlet_runtime.adapters.registry import Environment, Vectorization
from townlet_runtime.core.rollouts import Collector
from townlet_training.learning.ppo import PPOConfig, PPOLearner
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.config import NetworkConfig

NUM_WORLDS, NUM_TICKS = 8, 128
NUM_EPOCHS, NUM_MINIBATCHES = 4, 4
HIDDEN = (64, 64)
NUM_UPDATES, ROUNDS = 16, 5
GROUP = "agents"


def townlet(vectorization: Vectorization) -> Callable[[], float]:
    """Env steps per CPU second of collecting and updating."""

    def run() -> float:
        worlds = Environment(name="gymnasium:CartPole-v1", vectorization=vectorization)(NUM_WORLDS)
        collector = Collector(worlds, config=BridgeConfig(), seed=0, max_rows=NUM_TICKS * NUM_WORLDS)
        spec = collector.specs[GROUP]
        network = ActorCritic(
            spec.observation_shapes,
            len(spec.vocabulary),
            NetworkConfig(hidden_sizes=HIDDEN),
            generator=torch.Generator().manual_seed(0),
        )
        config = PPOConfig(num_epochs=NUM_EPOCHS, num_minibatches=NUM_MINIBATCHES)
        learner = PPOLearner(network, config=config, generator=torch.Generator().manual_seed(1))
        policies = {GROUP: network}

        def update() -> int:
            collection = collector.collect(policies, num_ticks=NUM_TICKS, ratio=1.0)
            learner.update(collection.batches[GROUP], kickstart_coef=0.0)
            return collection.env_steps

        update()
        start = time.process_time()
        steps = sum(update() for _ in range(NUM_UPDATES))
        return steps / (time.process_time() - start)

    return run


def stable_baselines3() -> float:
    """Env steps per CPU second of `PPO.learn`."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import DummyVecEnv

    model = PPO(
        "MlpPolicy",
        DummyVecEnv([lambda: gymnasium.make("CartPole-v1")] * NUM_WORLDS),
        n_steps=NUM_TICKS,
        batch_size=NUM_WORLDS * NUM_TICKS // NUM_MINIBATCHES,
        n_epochs=NUM_EPOCHS,
        policy_kwargs={"net_arch": {"pi": list(HIDDEN), "vf": list(HIDDEN)}, "activation_fn": torch.nn.Tanh},
        device="cpu",
        seed=0,
    )
    model.learn(NUM_WORLDS * NUM_TICKS)
    start = time.process_time()
    model.learn(NUM_WORLDS * NUM_TICKS * NUM_UPDATES)
    return NUM_WORLDS * NUM_TICKS * NUM_UPDATES / (time.process_time() - start)


def stepping(vectorization: str) -> float:
    """Env steps per CPU second of worlds that take random actions: nothing can be faster in them."""
    with closing(gymnasium.make_vec("CartPole-v1", NUM_WORLDS, vectorization_mode=vectorization)) as worlds:
        worlds.reset(seed=0)
        worlds.action_space.seed(0)
        actions = [worlds.action_space.sample() for _ in range(NUM_TICKS)]
        start = time.process_time()
        for _ in range(NUM_UPDATES):
            for action in actions:
                worlds.step(action)
        return NUM_UPDATES * NUM_TICKS * NUM_WORLDS / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    lean = partial(
        lean_loop,
        num_worlds=NUM_WORLDS,
        num_ticks=NUM_TICKS,
        hidden=HIDDEN,
        num_epochs=NUM_EPOCHS,
        num_minibatches=NUM_MINIBATCHES,
        num_updates=NUM_UPDATES,
    )
    timed = {
        "townlet": townlet("sync"),
        "townlet, vector": townlet("native"),
        "lean loop": lean("sync"),
        "lean loop, vector": lean("vector_entry_point"),
        "stepping alone": partial(stepping, "sync"),
        "stepping alone, vector": partial(stepping, "vector_entry_point"),
    }
    if importlib.util.find_spec("stable_baselines3") is not None:
        timed["stable-baselines3"] = stable_baselines3
    if scripts_run():
        sizes = (NUM_WORLDS, NUM_TICKS, NUM_EPOCHS, NUM_MINIBATCHES, NUM_UPDATES)
        timed["pufferlib-core"] = partial(script_rate, "pufferlib_ppo.py", *sizes)
    rates = in_turns(timed, rounds=rounds)
    for suffix in ("", ", vector"):
        names = [f"{name}{suffix}" for name in ("townlet", "lean loop", "stepping alone")] + ["stable-baselines3"]
        names += ["pufferlib-core"] if not suffix else []
        own = {name: rates[name] for name in names if name in rates}
        report(f"cartpole{suffix}", own, unit="env_steps_per_s", peer="stable-baselines3", limit=names[2])


if __name__ == "__main__":
    main()
