"""A yardstick in an environment of its own: how fast pufferlib-core's trainer is in CartPole-v1.

    uv run --script pufferlib_ppo.py WORLDS TICKS EPOCHS MINIBATCHES UPDATES

Its own emulation and serial vectorization of Gymnasium's environment, two tanh trunks of 64 and 64 units, one thread.
Prints env steps a second of CPU time, the first update not counted.
"""

# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["pufferlib-core==3.0.23", "gymnasium>=1.0"]
# ///

from __future__ import annotations

import contextlib
import io
import sys
import time

import gymnasium
import pufferlib.emulation
import pufferlib.vector
import torch
from pufferlib.pufferl import PuffeRL
from torch import nn


class Policy(nn.Module):
    """Two trunks, as the contestants have them."""

    hidden_size = 64

    def __init__(self) -> None:
        super().__init__()
        self.policy, self.critic = (
            nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs))
            for outputs in (2, 1)
        )

    def forward(self, seen: torch.Tensor, state: object = None) -> tuple[torch.Tensor, torch.Tensor]:
        return self.policy(seen), self.critic(seen)

    forward_eval = forward


def main() -> None:
    num_worlds, num_ticks, num_epochs, num_minibatches, num_updates = map(int, sys.argv[1:])
    torch.set_num_threads(1)
    worlds = pufferlib.vector.make(
        lambda buf=None, seed=0: pufferlib.emulation.GymnasiumPufferEnv(
            env_creator=gymnasium.make, env_args=["CartPole-v1"], buf=buf, seed=seed
        ),
        num_envs=num_worlds,
        backend=pufferlib.vector.Serial,
    )
    rows = num_worlds * num_ticks
    # segments are dealt out to minibatches: a quarter of a world's ticks each
    config = {
        "torch_deterministic": True, "seed": 0, "batch_size": rows, "bptt_horizon": num_ticks // num_minibatches,
        "minibatch_size": rows // num_minibatches, "max_minibatch_size": rows, "update_epochs": num_epochs,
        "device": "cpu", "cpu_offload": False, "use_rnn": False, "compile": False, "optimizer": "adam",
        "learning_rate": 3e-4, "adam_beta1": 0.9, "adam_beta2": 0.999, "adam_eps": 1e-5, "anneal_lr": False,
        "total_timesteps": 10**9, "precision": "float32", "env": "cartpole", "gamma": 0.99, "gae_lambda": 0.95,
        "vtrace_rho_clip": 1.0, "vtrace_c_clip": 1.0, "prio_alpha": 0.0, "prio_beta0": 1.0, "clip_coef": 0.2,
        "vf_clip_coef": 0.2, "vf_coef": 0.5, "ent_coef": 0.01, "max_grad_norm": 0.5, "checkpoint_interval": 10**9,
        "data_dir": "unused",
    }  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):  # its dashboard
        trainer = PuffeRL(config, worlds, Policy())
        trainer.evaluate(), trainer.train()
        start, before = time.process_time(), trainer.global_step
        for _ in range(num_updates):
            trainer.evaluate(), trainer.train()
        rate = (trainer.global_step - before) / (time.process_time() - start)
        trainer.utilization.stop()
    print(rate)


if __name__ == "__main__":
    main()
