from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from boats import Boats
from boats import Kind as Kinds
from config_content import config_of

from townlet_runtime.cli.console import CommandError, Console
from townlet_runtime.cli.world_options import WorldOptions
from townlet_runtime.cli.worlds import Worlds, load, option, seed_of
from townlet_runtime.config import Config
from townlet_runtime.errors import ConfigError

CORRIDOR = "townlet_runtime.testing:Corridor"
STRICT = """
import numpy as np
from townlet_behavior import IdleController, StatelessGuardrail, Verdicts

def still(spec):
    return IdleController(wait=0)

class NobodyMoves(StatelessGuardrail):
    reasons = ("still",)

    def review(self, view, actions):
        return Verdicts(vetoed=actions != 0, replacement=actions * 0, reason=np.zeros(len(actions), np.int8))

def nobody_moves(spec):
    return NobodyMoves()
"""
QUIET = Console(json=False, verbose=False, quiet=False)


def test_an_option_that_was_not_given_overrides_nothing() -> None:
    assert option("a.b", None, "--x") == []
    (override,) = option("a.b", 0, "--x")
    assert (override.path, override.value, override.label) == (("a", "b"), 0, "--x 0")


def test_an_option_wins_over_a_setting_and_is_named_in_errors() -> None:
    config = load(None, ["training.num_envs=3"], option("training.num_envs", 5, "--num-envs"), QUIET).config
    assert config.training["num_envs"] == 5
    with pytest.raises(ConfigError, match=r"^--preset 3: `preset`: must be a valid string"):
        load(None, [], option("preset", 3, "--preset"), QUIET)


def test_what_has_no_effect_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    load(None, ["telemetry.diff_enabled=false"], [], QUIET)
    assert capsys.readouterr().err == "townlet: warning: (built-in config): without effect here: telemetry\n"


@pytest.mark.parametrize(
    ("content", "seed"),
    [({}, 0), ({"seed": 4}, 4), ({"seed": 4, "scenario": {"seed": 5}}, 5), ({"scenario": {"seed": 0}}, 0)],
)
def test_the_seed_of_a_file(content: dict[str, object], seed: int) -> None:
    assert seed_of(config_of(content)) == seed


def test_worlds_are_built_as_the_config_says() -> None:
    worlds = Worlds.of(config_of({"town": {"agents": 3, "local_window": 5}}))
    (spec,) = worlds.make(4).specs.values()
    assert (spec.num_worlds, spec.capacity) == (4, 12)
    assert spec.observation_shapes["map"][1:] == (5, 5)
    assert (worlds.environment, worlds.controller) == ("town", None)
    assert worlds.towns is not None and worlds.towns(1).spec.capacity == 3


def elsewhere(**more: object) -> Config:
    return config_of({"environment": {"name": "gymnasium:Walk-v0", **more}})


def test_options_bind_as_the_config_of_a_town_or_the_specification_of_another_world_says() -> None:
    towns = Worlds.of(config_of({"town": {"option_ticks": 4}}))
    assert towns.bridge({}).commitment.ticks["chat"] == 4  # type: ignore[index]
    corridors = Worlds.of(elsewhere(), WorldOptions(env=CORRIDOR))
    with closing(corridors.make(1)) as worlds:
        assert corridors.bridge(worlds.specs).commitment.ticks == {"wait": 0, "move": 1, "start": 3}
        (spec,) = worlds.specs.values()
    assert corridors.towns is None
    unlike = replace(spec, option_ticks={"wait": 0, "move": 2, "start": 3})
    with pytest.raises(ConfigError, match=r"options of kind `move` bind for 2 ticks in `corridor`, and for 1 in"):
        corridors.bridge({"one": spec, "other": unlike})


@pytest.mark.parametrize(("kind", "blend"), [("numbers", "switch"), ("parts", "mixture")])
def test_numbers_are_switched_between_and_not_mixed(kind: Kinds, blend: str) -> None:
    worlds = Worlds.of(elsewhere(), WorldOptions(env="boats:Boats"))
    assert worlds.bridge({"agents": Boats(kind).spec}).blend == blend


@pytest.mark.parametrize("blend", ["switch", "mixture"])
def test_a_blend_that_the_config_says_is_not_replaced(blend: str) -> None:
    worlds = Worlds.of(config_of({"policy": {"blend": blend}}), WorldOptions(env="boats:Boats"))
    assert worlds.bridge({"agents": Boats("numbers").spec}).blend == blend


def test_the_section_of_the_policy_holds_in_every_world() -> None:
    said = {"policy": {"on_policy_error": "script"}}
    assert Worlds.of(config_of(said)).bridge({}).on_policy_error == "script"
    elsewhere = {**said, "environment": {"name": "gymnasium:Walk-v0"}}
    corridors = Worlds.of(config_of(elsewhere), WorldOptions(env=CORRIDOR))
    with closing(corridors.make(1)) as worlds:
        assert corridors.bridge(worlds.specs).on_policy_error == "script"


def test_a_module_is_taken_from_the_command_line_and_from_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "walk_script.py").write_text("def make(spec):\n    raise NotImplementedError\n")
    monkeypatch.chdir(tmp_path)
    named = WorldOptions(controller="walk_script:make", guardrails=("walk_script:make",))
    worlds = Worlds.of(elsewhere(), named)
    assert (worlds.controller, worlds.guardrails) == ("walk_script:make", ("walk_script:make",))
    for key, value in (("controller", "walk_script:make"), ("guardrails", ["walk_script:make"])):
        kind = key.removesuffix("s")
        with pytest.raises(ConfigError, match=rf"`environment.{key}`: no {kind} `walk_script:make` is registered"):
            Worlds.of(elsewhere(**{key: value}))
    with pytest.raises(ConfigError, match=r"^--controller: no controller `walk` is registered \(there are: .*Lunar"):
        Worlds.of(elsewhere(), WorldOptions(controller="walk"))
    with pytest.raises(ConfigError, match=r"^--guardrail: no guardrail `walk` is registered \(there are: none\)"):
        Worlds.of(elsewhere(), WorldOptions(guardrails=("walk",)))
    with pytest.raises(ConfigError, match="a config must not name code"):
        config_of({"environment": {"name": "walk_script:make"}})
    with pytest.raises(CommandError, match="leaves its world to the command line: name it with --env MODULE:NAME"):
        Worlds.of(config_of({"environment": {"name": "module"}}))


def test_a_registered_controller_may_come_from_the_config() -> None:
    pytest.importorskip("gymnasium")
    worlds = Worlds.of(elsewhere(controller="gymnasium:LunarLander-v3"))
    assert worlds.controller == "gymnasium:LunarLander-v3"


def test_the_town_takes_a_controller_and_guardrails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "strict.py").write_text(STRICT)
    monkeypatch.chdir(tmp_path)
    worlds = Worlds.of(config_of({}), WorldOptions(controller="strict:still", guardrails=("strict:nobody_moves",)))
    with closing(worlds.make(1)) as town:
        assert town.behaviors == ("scripted", "nearest", "idle")
        assert type(town.scripted("nearest")["agents"]).__name__ == "ScriptedController"
        observed = town.reset(seeds=np.array([5]))["agents"]
        assert set(town.scripted("scripted")["agents"].propose(observed).tolist()) == {0}
        own = worlds.towns(1).guardrails()  # type: ignore[misc]
        assert [one.reasons for one in town.guardrails()["agents"]] == [*(one.reasons for one in own), ("still",)]
