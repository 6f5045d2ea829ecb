"""A yardstick in an environment of its own: how fast `imitation` clones labels.

    uv run --script imitation_bc.py INPUTS ACTIONS HIDDEN SAMPLES BATCH EPOCHS

Prints samples a second of CPU time, of random observations and labels, on one thread; the first epoch is not counted.
"""

# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["imitation==1.0.1"]
# ///

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from imitation.algorithms.bc import BC
from imitation.data.types import Transitions
from imitation.util.logger import configure
from stable_baselines3.common.policies import ActorCriticPolicy


def main() -> None:
    num_inputs, num_actions, hidden, num_samples, batch_size, num_epochs = map(int, sys.argv[1:])
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    seen = rng.random((num_samples, num_inputs), np.float32)
    demonstrations = Transitions(
        obs=seen,
        acts=rng.integers(num_actions, size=num_samples),
        infos=np.array([{}] * num_samples),
        next_obs=seen,
        dones=np.zeros(num_samples, np.bool_),
    )
    observation_space, action_space = Box(0, 1, (num_inputs,), np.float32), Discrete(num_actions)
    learner = BC(
        observation_space=observation_space,
        action_space=action_space,
        rng=rng,
        policy=ActorCriticPolicy(observation_space, action_space, lambda _: 1e-3, net_arch=[hidden, hidden]),
        demonstrations=demonstrations,
        batch_size=batch_size,
        device="cpu",
        custom_logger=configure(format_strs=()),
    )
    learner.train(n_epochs=1, progress_bar=False)
    start = time.process_time()
    learner.train(n_epochs=num_epochs, progress_bar=False)
    print(num_samples * num_epochs / (time.process_time() - start))


if __name__ == "__main__":
    main()
