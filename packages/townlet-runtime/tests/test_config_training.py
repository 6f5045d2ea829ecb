import pytest
from config_content import config_of

from townlet_runtime.config import training_mode
from townlet_runtime.errors import ConfigError


@pytest.mark.parametrize(("source", "mode"), [("anneal", "anneal"), ("bc", "bc"), ("rollout", "ppo"), ("ppo", "ppo")])
def test_the_source_of_a_file_is_the_mode(source: str, mode: str) -> None:
    assert training_mode(config_of({"training": {"source": source}})) == mode


def test_a_silent_file_anneals_and_sources_that_need_captures_are_refused() -> None:
    assert training_mode(config_of({})) == "anneal"
    for source in ("replay", "mixed"):
        with pytest.raises(ConfigError, match=rf"`training.source`: .*got {source}"):
            training_mode(config_of({"training": {"source": source}}))
