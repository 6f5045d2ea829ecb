from dataclasses import replace
from pathlib import Path

import pytest
from installed import install

from townlet_runtime.cli.console import CommandError
from townlet_runtime.cli.world_options import (
    WorldOptions,
    is_code,
    is_world_code,
    noted_options,
    require_code,
    require_same_world,
)
from townlet_runtime.runs.begun import BegunFile
from townlet_runtime.simulation.spec_entries import spec_entries
from townlet_runtime.testing import Corridor

RUN = Path("runs/one")
SPEC = Corridor().spec
BEGUN = BegunFile(
    schema_version=2,
    threads=1,
    environment="my_code:world",
    controller="my_code:script",
    guardrails=("speed", "my_code:rule"),
    specs={"agents": spec_entries(SPEC)},
)


@pytest.fixture(autouse=True)
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    named = {"speed": "nowhere:speed", "odd:name": "nowhere:odd"}
    install(tmp_path, {"townlet.guardrails": named, "townlet.simulations": {"orchard": "nowhere:Orchard"}})


def values(options: WorldOptions) -> dict[str, object]:
    return {override.path[1]: override.value for override in options.overrides()}


def test_options_that_are_not_given_override_nothing() -> None:
    assert WorldOptions().overrides() == []
    assert WorldOptions().typed() == ""


def test_registered_names_become_part_of_the_config_and_code_does_not() -> None:
    named = WorldOptions(env="orchard", controller="lean", guardrails=("speed", "odd:name"))
    assert values(named) == {"name": "orchard", "controller": "lean", "guardrails": ["speed", "odd:name"]}
    assert named.code() == WorldOptions()
    code = noted_options(BEGUN)
    assert values(code) == {"name": "module", "guardrails": ["speed"]}
    assert [override.label for override in code.overrides()] == ["--env my_code:world", "--guardrail speed"]
    assert code.code() == code
    assert values(WorldOptions(guardrails=("my_code:rule",))) == {"guardrails": None}


def test_options_are_shown_as_they_are_typed() -> None:
    assert noted_options(BEGUN).typed() == (
        "--env my_code:world --controller my_code:script --guardrail speed --guardrail my_code:rule"
    )


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ("town", False),
        ("orchard", False),
        ("my_code:world", True),
        ("gymnasium:CartPole_v1", False),
        ("gymnasium:walk:Walk-v0", True),
        ("pettingzoo:town", False),
    ],
)
def test_which_worlds_are_code(env: str, expected: bool) -> None:
    assert is_world_code(env) is expected


def test_a_registered_name_that_looks_like_code_is_none() -> None:
    assert is_code("townlet.guardrails", "odd:other") and not is_code("townlet.guardrails", "odd:name")


def test_a_run_is_used_with_its_code_alone() -> None:
    require_code(RUN, BEGUN, noted_options(BEGUN))
    with pytest.raises(CommandError) as caught:
        require_code(RUN, BEGUN, WorldOptions())
    assert str(caught.value) == f"{RUN}: begun with code that no file may name; add {noted_options(BEGUN).typed()}"
    with pytest.raises(CommandError, match="; add --controller my_code:script, or without$"):
        require_code(RUN, BEGUN, replace(noted_options(BEGUN), controller=None), otherwise=", or without")
    require_code(RUN, BEGUN, replace(noted_options(BEGUN), controller=None), script=False)
    require_code(RUN, replace(BEGUN, environment="orchard", controller=None, guardrails=("speed",)), WorldOptions())


def test_another_world_is_refused_by_the_entries_that_differ() -> None:
    require_same_world(RUN, BEGUN, {"agents": Corridor(num_worlds=5).spec})
    require_same_world(RUN, replace(BEGUN, specs=None), {"people": SPEC})
    with pytest.raises(CommandError, match="`my_code:world` is another one .*: `name` was corridor, is lane$"):
        require_same_world(RUN, BEGUN, {"agents": replace(SPEC, name="lane")})
    with pytest.raises(CommandError, match="`my_code:world` had the groups agents, has people now"):
        require_same_world(RUN, BEGUN, {"people": SPEC})
    two = replace(BEGUN, specs={"a": spec_entries(SPEC), "b": spec_entries(SPEC)})
    with pytest.raises(CommandError, match="`my_code:world`, group b is another one"):
        require_same_world(RUN, two, {"a": SPEC, "b": replace(SPEC, name="lane")})


def test_whether_another_world_is_meant() -> None:
    assert not WorldOptions().elsewhere(BEGUN)
    assert not noted_options(BEGUN).elsewhere(BEGUN)
    assert WorldOptions(env="town").elsewhere(BEGUN)
