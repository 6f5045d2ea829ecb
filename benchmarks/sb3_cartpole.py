"""The five lines with which one trains in CartPole-v1 by Stable-Baselines3: 65,536 steps, and the policy saved."""

import sys

from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

kwargs = {"net_arch": {"pi": [64, 64], "vf": [64, 64]}}
worlds = make_vec_env("CartPole-v1", n_envs=8, seed=0)
model = PPO("MlpPolicy", worlds, n_steps=128, batch_size=256, n_epochs=4, policy_kwargs=kwargs, device="cpu", seed=0)
model.learn(65_536)
model.save(sys.argv[1])
