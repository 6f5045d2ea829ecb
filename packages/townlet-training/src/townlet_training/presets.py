"""Start values for PPO that are known to work in a world, and who says so."""

from __future__ import annotations

from dataclasses import dataclass

from townlet_training.errors import ConfigError
from townlet_training.networks import NetworkConfig
from townlet_training.ppo_config import PPOConfig


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Settings by name."""

    name: str
    """Of the world that they are for, or `contract`."""
    source: str
    """Where the values come from."""
    network: NetworkConfig
    ppo: PPOConfig
    num_envs: int
    rollout_ticks: int


PRESETS = (
    Preset(
        name="town",
        source="this project",
        network=NetworkConfig(hidden_sizes=(128, 128), activation="tanh"),
        ppo=PPOConfig(
            learning_rate=1e-3,
            discount=0.99,
            gae_lambda=0.95,
            clip_range=0.2,
            entropy_coef=0.01,
            num_epochs=4,
            num_minibatches=8,
        ),
        num_envs=16,
        rollout_ticks=128,
    ),
    Preset(
        name="contract",
        source="defaults of the `ppo` and `training` sections of the config file format",
        network=NetworkConfig(),
        ppo=PPOConfig(
            learning_rate=3e-4,
            discount=0.99,
            gae_lambda=0.95,
            clip_range=0.2,
            value_loss_coef=0.5,
            entropy_coef=0.01,
            num_epochs=4,
            num_minibatches=4,
            max_grad_norm=0.5,
            value_clip=0.2,
        ),
        num_envs=16,
        rollout_ticks=100,
    ),
)
"""Every preset that `preset` finds by name."""


def preset(name: str) -> Preset:
    """The preset called `name`; ConfigError, naming those that exist, if there is none."""
    for candidate in PRESETS:
        if candidate.name == name:
            return candidate
    raise ConfigError(f"no preset `{name}`; there are {', '.join(each.name for each in PRESETS)}")
