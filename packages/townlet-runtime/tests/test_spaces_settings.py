from typing import Any

import pytest

from townlet_runtime.adapters.spaces.settings import MAX_ENTITIES, SpaceSettings
from townlet_runtime.errors import ConfigError


def test_by_default_nothing_is_declared() -> None:
    settings = SpaceSettings()
    assert (settings.actions, settings.observation_kinds, settings.max_entities) == ("auto", {}, None)
    assert SpaceSettings(max_entities=MAX_ENTITIES).max_entities == 4096


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"actions": "both"}, r"`environment.actions`: expected one of \('auto', 'joint', 'parts'\), got 'both'"),
        ({"observation_kinds": {"map": "image"}}, "`environment.observation_kinds`: .* for `map`, got 'image'"),
        ({"max_entities": 0}, "`environment.max_entities`: expected 1 to 4096, got 0"),
        ({"max_entities": 4097}, "`environment.max_entities`: expected 1 to 4096, got 4097"),
    ],
)
def test_a_setting_that_is_out_of_range_is_named(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        SpaceSettings(**fields)
