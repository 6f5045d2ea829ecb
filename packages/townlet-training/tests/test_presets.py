"""Start values by name."""

import pytest

from townlet_training.config import TrainingConfig
from townlet_training.errors import ConfigError
from townlet_training.planning import plan
from townlet_training.presets import PRESETS, Preset, preset, preset_for


def test_the_town_has_one() -> None:
    town = preset("town")
    assert (town.num_envs, town.rollout_ticks) == (32, 64)
    assert town.network.hidden_sizes == (128, 128)
    assert (town.ppo.learning_rate, town.ppo.num_epochs, town.ppo.num_minibatches) == (1.5e-3, 2, 16)
    # Two waves, one for each of two processes.
    assert (town.eval_every, town.eval_episodes) == (20, 32)


def test_the_defaults_of_the_config_files_are_kept() -> None:
    contract = preset("contract")
    assert (contract.rollout_ticks, contract.bc.num_epochs) == (100, 10)
    assert (contract.ppo.learning_rate, contract.ppo.clip_range, contract.ppo.entropy_coef) == (3e-4, 0.2, 0.01)
    assert (contract.ppo.num_epochs, contract.ppo.num_minibatches, contract.ppo.value_clip) == (4, 4, 0.2)


def test_names_are_unique_and_sources_given() -> None:
    assert len({each.name for each in PRESETS}) == len(PRESETS)
    assert all(each.source for each in PRESETS)


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="no preset `chess`; there are town, gymnasium:CartPole-v1"):
        preset("chess")


def test_cartpole_is_that_of_the_zoo() -> None:
    cartpole = preset("gymnasium:CartPole-v1")
    ppo = cartpole.ppo
    assert (cartpole.num_envs, cartpole.rollout_ticks, ppo.minibatch_size, ppo.num_epochs) == (8, 32, 256, 20)
    assert (ppo.gae_lambda, ppo.discount, ppo.entropy_coef) == (0.8, 0.98, 0.0)
    assert (ppo.learning_rate, ppo.learning_rate_schedule, ppo.clip_range, ppo.clip_schedule) == (
        1e-3,
        "linear",
        0.2,
        "linear",
    )
    # One gradient step in each pass: 8 × 32 rows are one minibatch.
    assert ppo.minibatches_of(8 * 32) == 1
    assert (cartpole.network.normalize_observations, cartpole.network.value_scale) == ("none", "none")


def test_the_lander_keeps_what_the_zoo_says_of_the_world() -> None:
    lander = preset("gymnasium:LunarLander-v3")
    ppo = lander.ppo
    assert (lander.num_envs, ppo.gae_lambda, ppo.discount, ppo.clip_schedule) == (16, 0.98, 0.999, "constant")
    # 16 gradient steps in each pass over 16 × 256 rows.
    assert ppo.minibatches_of(lander.num_envs * lander.rollout_ticks) == 16


def test_the_speaker_is_that_of_mappo() -> None:
    speaker = preset("pettingzoo:mpe2.simple_speaker_listener_v4")
    assert (speaker.ppo.num_epochs, speaker.network.activation) == (15, "tanh")
    assert (speaker.num_envs, speaker.rollout_ticks, speaker.ppo.num_minibatches) == (128, 25, 1)
    assert (speaker.ppo.learning_rate, speaker.ppo.max_grad_norm, speaker.ppo.value_loss_coef) == (7e-4, 10.0, 1.0)


def test_a_world_has_its_own_or_none() -> None:
    for name in ("town", "gymnasium:LunarLander-v3"):
        assert preset_for(name) is preset(name)
    assert preset_for("gymnasium:Acrobot-v1") is None
    # These are names of presets, and of no world.
    assert preset_for("default") is None
    assert preset_for("contract") is None


@pytest.mark.parametrize("each", PRESETS, ids=lambda each: each.name)
def test_a_run_can_be_made_of_each(each: Preset) -> None:
    config = TrainingConfig(
        seed=1,
        total_env_steps=2_000_000,
        network=each.network,
        ppo=each.ppo,
        anneal=each.anneal,
        num_envs=each.num_envs,
        rollout_ticks=each.rollout_ticks,
        eval_every=each.eval_every,
        eval_episodes=each.eval_episodes,
    )
    assert plan(config).num_ppo > 1


def test_where_returns_are_large_the_critic_has_their_unit() -> None:
    """A critic in units of one reward does not reach returns in the hundreds."""
    lander = preset("gymnasium:LunarLander-v3")
    assert lander.network.value_scale == "frozen"
