"""What `townlet config init` writes: every key, and nothing said but what was asked for."""

import re

import pytest

from townlet_runtime.config import bridge_config, config_from, script_config, town_config, training_mode
from townlet_runtime.config.annotated import WIDTH, annotated_config
from townlet_runtime.config.check import parse
from townlet_runtime.config.dump import SAID_ELSEWHERE
from townlet_runtime.config.file_schema import preset_values
from townlet_runtime.config.keys import ANY
from townlet_runtime.config.load import LoadedConfig
from townlet_runtime.config.origins import meant_of
from townlet_runtime.config.schema import effective_keys
from townlet_runtime.config.sections import idle_keys
from townlet_runtime.errors import ConfigError

KEY = re.compile(r"^(\s*)#(\w+: .*)$", re.MULTILINE)
"""A key that is commented out; a `#` of prose has a space behind it."""


def loaded(text: str) -> LoadedConfig:
    return config_from(parse(text.encode(), "town.yaml") or {}, source="town.yaml")


def meaning(config: LoadedConfig) -> tuple[object, ...]:
    of = config.config
    return (town_config(of), script_config(of), bridge_config(of, ratio=0.0), training_mode(of), dict(meant_of(of)))


@pytest.mark.parametrize("preset", [None, *preset_values()])
def test_it_means_the_defaults_and_so_does_every_key_when_it_is_said(preset: str | None) -> None:
    text = annotated_config(preset=preset)
    silent = config_from({} if preset is None else {"preset": preset}, source="town.yaml")
    said = loaded(KEY.sub(r"\1\2", text))
    assert loaded(text).config == silent.config and loaded(text).warning is None
    assert said.warning is None
    meant, said_all = meaning(silent), meaning(said)
    assert said_all[:4] == meant[:4]
    settings, every = meant[4], said_all[4]
    assert isinstance(settings, dict) and isinstance(every, dict)
    assert {key: every[key] for key in settings} == settings
    assert len(every) > 120


@pytest.mark.parametrize("world", ["gymnasium:CartPole-v1", "pettingzoo:mpe2.simple_spread_v3", "orchard", "module"])
def test_of_another_world_only_what_has_an_effect_there_is_written(world: str) -> None:
    text = annotated_config(world=world)
    every = loaded(KEY.sub(r"\1\2", text))
    assert every.config.environment.name == world and every.warning is None
    assert "num_agents" not in text and "behavior:" not in text
    assert ("vectorization" in text) == world.startswith(("gymnasium", "module"))
    assert ("global_state" in text) != world.startswith("gymnasium") and "max_entities" in text
    preset = preset_values()[world if world in preset_values() else "default"]
    assert f"#gae_lambda: {preset['ppo.gae_lambda']}" in text and f"#num_envs: {preset['num_envs']}" in text


def test_every_key_that_has_an_effect_is_there() -> None:
    content = parse(KEY.sub(r"\1\2", annotated_config()).encode(), "town.yaml")
    assert isinstance(content, dict)
    left_out = {"affordances.runtime", "affordances.runtime.factory"} | SAID_ELSEWHERE | idle_keys("town")
    keys = [key for key in effective_keys() if ANY not in key and ".".join(key) not in left_out]
    assert len(keys) > 130
    for key in keys:
        inside: object = content
        for name in key:
            assert isinstance(inside, dict) and name in inside, key
            inside = inside[name]


def test_ranges_choices_and_meanings_stand_above_a_key() -> None:
    lines = annotated_config().splitlines()
    assert (
        lines[lines.index("  #local_window: 11") - 1]
        == "  # Side of the square an agent sees, odd.  [whole number 1 to 255]"
    )
    assert lines[lines.index("  #activation: tanh") - 1] == "  # [tanh | relu]"
    assert "#     start_tick: Tick of the day. [whole number -1,000,000,000 to 1,000,000,000]" in lines
    assert max(map(len, lines)) <= WIDTH + 10


def test_a_preset_that_there_is_not_and_code_are_refused() -> None:
    with pytest.raises(ConfigError, match="no preset `twon`; the nearest is `town`"):
        annotated_config(preset="twon")
    with pytest.raises(ConfigError, match="must not name code"):
        annotated_config(world="my_module:World")
