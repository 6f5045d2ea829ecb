"""How fast PPO trains in CartPole-v1, beside Stable-Baselines3 where it is installed: env steps per second of CPU time.

8 worlds x 128 ticks, 4 epochs of 4 minibatches, two tanh trunks of 64 and 64 units, one thread, no evaluations. Ours
twice: the worlds stepped one by one, as the peer's are, and by Gymnasium's own vector form. Prints one JSON line per
contestant: the median of `ROUNDS` runs of `NUM_UPDATES` updates, taken in turns; the first update is not timed.
"""

# /// script
# dependencies = ["stable-baselines3>=2.7", "gymnasium>=1.2"]
# ///

from __future__ import annotations

import importlib.util
import json
import statistics
import time
from collections.abc import Callable

import torch

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
    import gymnasium
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


def main() -> None:
    torch.set_num_threads(1)
    timed = {"townlet, sync": townlet("sync"), "townlet, native": townlet("native")}
    if importlib.util.find_spec("stable_baselines3") is not None:
        timed["stable-baselines3"] = stable_baselines3
    rates: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(ROUNDS):
        for name, run in timed.items():
            rates[name].append(run())
    for name, rate in rates.items():
        print(json.dumps({"benchmark": "cartpole", "name": name, "env_steps_per_s": round(statistics.median(rate))}))


if __name__ == "__main__":
    main()
