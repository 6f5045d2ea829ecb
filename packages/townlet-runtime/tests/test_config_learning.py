from pathlib import Path

import pytest

from townlet_runtime._training import training_config, training_fields
from townlet_runtime.cli.worlds import seed_of
from townlet_runtime.config import (
    Config,
    dump_config,
    load_config,
    training_mode,
    training_settings,
    with_training,
)
from townlet_runtime.errors import ConfigError


@pytest.mark.parametrize(("source", "mode"), [("anneal", "anneal"), ("bc", "bc"), ("rollout", "ppo"), ("ppo", "ppo")])
def test_the_source_of_a_file_is_the_mode(source: str, mode: str) -> None:
    assert training_mode(Config.model_validate({"training": {"source": source}})) == mode


def test_a_silent_file_anneals_and_sources_that_need_captures_are_refused() -> None:
    assert training_mode(Config()) == "anneal"
    for source in ("replay", "mixed"):
        with pytest.raises(ConfigError, match=rf"`training.source`: .*got {source}"):
            training_mode(Config.model_validate({"training": {"source": source}}))


@pytest.mark.parametrize(
    "content", [{}, {"seed": 5}, {"scenario": {"seed": 5}}, {"seed": 6, "scenario": {"seed": 5}}, {"scenario": {}}]
)
def test_the_config_of_a_run_reads_back_with_the_seed_of_the_run(content: dict[str, object], tmp_path: Path) -> None:
    config = Config.model_validate(content)
    settings = training_settings(config)
    fields = training_fields(training_config(settings, preset_name=None, mode="ppo", seed=4))
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(with_training(config, mode="ppo", seed=4, fields=fields)))
    read = load_config(path).config
    assert (seed_of(read), read.seed) == (4, 4)
    assert read.scenario.seed == (4 if config.scenario.seed is not None else None)
