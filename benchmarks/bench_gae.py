"""How fast GAE and V-trace are, beside Stable-Baselines3 where it is installed: elements per second of CPU time.

`vtrace` is the recursion that `PPOLearner` runs on the columns of a batch; `gae` is its case on policy.

Medians of `ROUNDS` timings, taken in turns.
"""

# /// script
# dependencies = ["stable-baselines3>=2.7"]
# ///

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable

import numpy as np
from turns import Contestant, in_turns, report

from townlet_training.learning.objective import gae, vtrace

CASES = ((2048, 64), (128, 1024))
ROUNDS, REPEATS = 9, 5
DISCOUNT, LAMBDA = 0.99, 0.95


def contestants(num_steps: int, num_columns: int) -> dict[str, Callable[[], object]]:
    """What is timed, by name, on the same random numbers (float32; one step in 200 terminates)."""
    rng = np.random.default_rng(0)
    shape = (num_steps, num_columns)
    rewards = rng.normal(size=shape).astype(np.float32)
    values = rng.normal(size=(num_steps + 1, num_columns)).astype(np.float32)
    terminated = rng.random(shape) < 0.005
    rho = rng.uniform(0.5, 2.0, shape).astype(np.float32)
    trace, decay = np.minimum(rho, 1.0), np.full(shape, LAMBDA, np.float32)
    works: dict[str, Callable[[], object]] = {
        "townlet gae": lambda: gae(rewards, values, terminated, discount=DISCOUNT, lambda_=LAMBDA),
        "townlet vtrace": lambda: vtrace(
            rewards, values, terminated, rho=rho, trace=trace, decay=decay, discount=DISCOUNT
        ),
    }
    if importlib.util.find_spec("stable_baselines3") is not None:
        import torch
        from gymnasium.spaces import Box, Discrete
        from stable_baselines3.common.buffers import RolloutBuffer

        buffer = RolloutBuffer(
            num_steps, Box(0, 1, (1,)), Discrete(2), gamma=DISCOUNT, gae_lambda=LAMBDA, n_envs=num_columns
        )
        buffer.rewards[:], buffer.values[:] = rewards, values[:-1]
        buffer.episode_starts[1:] = terminated[:-1]
        last_values = torch.from_numpy(values[-1])
        works["stable-baselines3"] = lambda: buffer.compute_returns_and_advantage(last_values, terminated[-1])
    return works


def timed(work: Callable[[], object], num_elements: int) -> Contestant:
    """Elements per CPU second of `work`."""

    def run() -> float:
        start = time.process_time()
        for _ in range(REPEATS):
            work()
        return REPEATS * num_elements / (time.process_time() - start)

    return run


def main() -> None:
    for num_steps, num_columns in CASES:
        works = contestants(num_steps, num_columns)
        rates = in_turns({name: timed(work, num_steps * num_columns) for name, work in works.items()}, rounds=ROUNDS)
        report(f"gae, T {num_steps}, N {num_columns}", rates, unit="elements_per_s", peer="stable-baselines3")


if __name__ == "__main__":
    main()
