"""Start values by name."""

import pytest

from townlet_training.errors import ConfigError
from townlet_training.presets import PRESETS, preset


def test_the_town_has_one() -> None:
    town = preset("town")
    assert (town.num_envs, town.rollout_ticks) == (16, 128)
    assert town.network.hidden_sizes == (128, 128)
    assert (town.ppo.learning_rate, town.ppo.discount, town.ppo.num_minibatches) == (1e-3, 0.99, 8)


def test_the_defaults_of_the_config_files_are_kept() -> None:
    contract = preset("contract")
    assert contract.rollout_ticks == 100
    assert (contract.ppo.learning_rate, contract.ppo.clip_range, contract.ppo.entropy_coef) == (3e-4, 0.2, 0.01)
    assert (contract.ppo.num_epochs, contract.ppo.num_minibatches, contract.ppo.value_clip) == (4, 4, 0.2)


def test_names_are_unique_and_sources_given() -> None:
    assert len({each.name for each in PRESETS}) == len(PRESETS)
    assert all(each.source for each in PRESETS)


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="no preset `chess`; there are town, contract"):
        preset("chess")
