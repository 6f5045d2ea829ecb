import logging
from pathlib import Path

import pytest

from townlet_behavior import ActionVocabulary, Shift
from townlet_runtime.config import Config
from townlet_runtime.errors import ConfigError
from townlet_runtime.plain import plain_vocabulary
from townlet_runtime.plain.settings import commitment_config, plain_bridge_config, read_settings, seed_of, shifts_of

WORDS = plain_vocabulary(["bed"])


def lengths(said: object, vocabulary: ActionVocabulary = WORDS) -> dict[str, int]:
    config = read_settings({} if said is None else {"policy_runtime": {"option_commit_ticks": said}})
    ticks = commitment_config(config, vocabulary).lengths(vocabulary).tolist()
    return dict(zip(vocabulary.keys, ticks, strict=True))


def test_a_silent_config_holds_every_kind_for_fifteen_ticks() -> None:
    expected = {"wait": 0, "move": 15, "chat": 15, "blocked": 0, "request:bed": 15, "start:bed": 15, "release:bed": 1}
    assert lengths(None) == expected


def test_a_mapping_changes_the_towns_own_lengths() -> None:
    expected = {"wait": 2, "move": 1, "chat": 4, "blocked": 0, "request:bed": 15, "start:bed": 15, "release:bed": 0}
    assert lengths({"chat": 4, "wait": 2}) == expected


def test_steps_are_done_in_one_tick_and_kinds_of_ones_own_are_held() -> None:
    words = ActionVocabulary(keys=("rest", "move:north", "dig"), kinds=("wait", "move", "work on"))
    assert lengths(7, words) == {"rest": 0, "move:north": 1, "dig": 7}
    assert lengths({"chat": 4}, words) == {"rest": 0, "move:north": 1, "dig": 0}


def test_the_bridge_of_a_plain_world_is_as_the_config_says_with_lengths_of_its_own_kinds() -> None:
    words = ActionVocabulary(keys=("rest", "dig"), kinds=("wait", "dig"))
    said = {"policy_runtime": {"option_commit_ticks": 7}, "policy": {"on_policy_error": "script"}}
    config = read_settings({**said, "ppo": {"min_ratio": 0.3}})
    bridge = plain_bridge_config(config, words, on_policy_error=None)
    assert bridge.commitment.lengths(words).tolist() == [0, 7]
    assert (bridge.ratio, bridge.min_ratio, bridge.on_policy_error) == (0.0, 0.3, "script")
    assert plain_bridge_config(config, words, on_policy_error="raise").on_policy_error == "raise"
    # Kinds that the town does not know bind too, where the world is no town.
    elsewhere = {"environment": {"name": "orchard"}, "town": {"option_ticks": {"dig": 3}}}
    assert plain_bridge_config(Config(**elsewhere), words, on_policy_error=None).commitment.lengths(words)[1] == 3


def test_the_scenarios_seed_comes_before_the_configs() -> None:
    assert [seed_of(read_settings(one)) for one in ({}, {"seed": 3}, {"seed": 3, "scenario": {"seed": 5}})] == [0, 3, 5]


def test_jobs_have_a_beginning_and_a_place() -> None:
    jobs = {"jobs": {"baker": {"start_tick": 5, "end_tick": 9, "location": [1, 2]}, "poet": {"start_tick": 1}}}
    shifts = shifts_of(read_settings(jobs))
    assert shifts == {
        "baker": Shift(start_tick=5, location=(1, 2)),
        "poet": Shift(start_tick=1, location=(0, 0)),
    }


def test_keys_without_effect_are_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "old.yaml"
    path.write_text("world: {weather_seed: 3}\n")
    with caplog.at_level(logging.WARNING):
        read_settings(path)
    (record,) = caplog.records
    assert "weather_seed" in record.getMessage()


def test_a_wrong_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="seed"):
        read_settings({"seed": -1})
    with pytest.raises(ConfigError, match="missing.yaml"):
        read_settings(tmp_path / "missing.yaml")
