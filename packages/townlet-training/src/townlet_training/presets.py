"""Start values for PPO that are known to work in a world, and who says so."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from townlet_training.config import AnnealConfig
from townlet_training.errors import ConfigError
from townlet_training.learning.config import BCConfig, PPOConfig
from townlet_training.network.config import NetworkConfig


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Settings by name."""

    name: str
    """Of the world that they are for; `default` for every other, `contract` for none in particular."""
    source: str
    """Where the values come from."""
    network: NetworkConfig
    ppo: PPOConfig
    num_envs: int
    rollout_ticks: int
    eval_every: int = 10
    """Updates between two evaluations."""
    eval_episodes: int = 16
    bc: BCConfig = field(default_factory=BCConfig)
    anneal: AnnealConfig = field(default_factory=AnnealConfig)


_ZOO = "rl-baselines3-zoo, hyperparams/ppo.yml; what it leaves open as in Stable-Baselines3"
_MAPPO = "Yu et al. 2022 (arXiv:2103.01955), marlbenchmark/on-policy, train_mpe_scripts"
_PLAIN = NetworkConfig(hidden_sizes=(64, 64), activation="tanh", normalize_observations="none", value_scale="none")
"""The network of Stable-Baselines3's `MlpPolicy`."""

PRESETS = (
    Preset(
        name="town",
        source="this project, for 166,000 steps in a minute",
        network=NetworkConfig(hidden_sizes=(128, 128), activation="tanh"),
        # Half as many passes as usual, over minibatches of half the size: as many steps of the optimizer, and a larger
        # learning rate for them. A tick of many worlds costs little more than one of a few.
        ppo=PPOConfig(
            learning_rate=1.5e-3,
            discount=0.99,
            gae_lambda=0.95,
            clip_range=0.2,
            entropy_coef=0.01,
            num_epochs=2,
            num_minibatches=16,
        ),
        num_envs=32,
        rollout_ticks=64,
        # Two waves of 16, one for each of two processes: as long as one, with an interval of 0.7 times the width.
        eval_every=20,
        eval_episodes=32,
    ),
    Preset(
        name="gymnasium:CartPole-v1",
        source=f"{_ZOO} (CartPole-v1)",
        network=_PLAIN,
        ppo=PPOConfig(
            learning_rate=1e-3,
            learning_rate_schedule="linear",
            discount=0.98,
            gae_lambda=0.8,
            clip_range=0.2,
            clip_schedule="linear",
            entropy_coef=0.0,
            num_epochs=20,
            minibatch_size=256,
        ),
        num_envs=8,
        rollout_ticks=32,
        eval_every=20,
        eval_episodes=20,
    ),
    Preset(
        name="gymnasium:LunarLander-v3",
        source=(
            f"{_ZOO} (LunarLander), which is for 1,000,000 steps; for an anneal of 300,000: rollouts of 256 ticks "
            "instead of 1024, minibatches of 256 instead of 64, no entropy bonus, 10 epochs instead of 4, a learning "
            "rate that falls from 1e-3 instead of 3e-4, and values in units of the typical return"
        ),
        # Returns are in the hundreds: a value head in units of one reward does not get there, and its gradient, which
        # is clipped together with the policy's, leaves the policy nothing.
        network=replace(_PLAIN, value_scale="frozen"),
        ppo=PPOConfig(
            learning_rate=1e-3,
            learning_rate_schedule="linear",
            discount=0.999,
            gae_lambda=0.98,
            clip_range=0.2,
            entropy_coef=0.0,
            num_epochs=10,
            minibatch_size=256,
        ),
        num_envs=16,
        rollout_ticks=256,
        eval_every=3,
        eval_episodes=40,
        anneal=AnnealConfig(clone_ticks=1500, warmup_updates=4, blend_fraction=0.3),
    ),
    Preset(
        name="pettingzoo:mpe2.simple_spread_v3",
        source="this project, for 300,000 steps; the discount suits an episode of 25 ticks",
        network=NetworkConfig(hidden_sizes=(128, 128), activation="tanh"),
        ppo=PPOConfig(
            learning_rate=1e-3,
            learning_rate_schedule="linear",
            discount=0.95,
            gae_lambda=0.9,
            clip_range=0.2,
            entropy_coef=0.0,
            num_epochs=10,
            minibatch_size=512,
        ),
        num_envs=16,
        rollout_ticks=128,
        eval_every=20,
        eval_episodes=32,
    ),
    Preset(
        name="pettingzoo:mpe2.simple_speaker_listener_v4",
        source=f"{_MAPPO}/train_mpe_comm.sh",
        network=NetworkConfig(hidden_sizes=(64, 64), activation="tanh"),
        ppo=PPOConfig(
            learning_rate=7e-4,
            learning_rate_schedule="constant",
            discount=0.99,
            gae_lambda=0.95,
            clip_range=0.2,
            value_loss_coef=1.0,
            entropy_coef=0.01,
            num_epochs=15,
            num_minibatches=1,
            max_grad_norm=10.0,
        ),
        num_envs=128,
        rollout_ticks=25,
        eval_every=20,
        eval_episodes=32,
    ),
    Preset(
        name="default",
        source="Stable-Baselines3, defaults of `PPO`, on 8 worlds instead of one",
        network=NetworkConfig(hidden_sizes=(64, 64), activation="tanh"),
        ppo=PPOConfig(
            learning_rate=3e-4,
            learning_rate_schedule="constant",
            discount=0.99,
            gae_lambda=0.95,
            clip_range=0.2,
            entropy_coef=0.0,
            num_epochs=10,
            minibatch_size=64,
        ),
        num_envs=8,
        rollout_ticks=256,
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
        bc=BCConfig(num_epochs=10),
    ),
)
"""Every preset that `preset` finds by name."""

_FOR_NO_WORLD = ("default", "contract")


def preset(name: str) -> Preset:
    """The preset called `name`; ConfigError, naming those that exist, if there is none."""
    for candidate in PRESETS:
        if candidate.name == name:
            return candidate
    raise ConfigError(f"no preset `{name}`; there are {', '.join(each.name for each in PRESETS)}")


def preset_for(world: str) -> Preset | None:
    """The preset made for `world`, such as ``gymnasium:CartPole-v1``; None where there is none."""
    return next((each for each in PRESETS if each.name == world and world not in _FOR_NO_WORLD), None)
