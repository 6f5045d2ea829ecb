import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from installed import install

from townlet_runtime.adapters.registry import Environment
from townlet_runtime.errors import ConfigError, MissingExtraError


@pytest.fixture
def register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Register the name of a factory as an installed package does."""
    entries: dict[str, str] = {}
    monkeypatch.syspath_prepend(tmp_path)

    def register(name: str, value: str) -> None:
        entries[name] = value
        install(tmp_path, {"townlet.simulations": entries})

    return register


def test_a_registered_factory_builds_every_world(register: Callable[[str, str], None]) -> None:
    register("coach", "small_parallel:Coach")
    worlds = Environment(name="pettingzoo:coach", settings={"length": 2})(3)
    assert {group: spec.name for group, spec in worlds.specs.items()} == {
        "rider": "pettingzoo:coach/rider",
        "porter": "pettingzoo:coach/porter",
    }
    assert [spec.episode_ticks for spec in worlds.specs.values()] == [1000, 1000]
    bounded = Environment(name="pettingzoo:coach", max_episode_ticks=7)(1)
    assert [spec.episode_ticks for spec in bounded.specs.values()] == [7, 7]
    register("timed", "small_parallel:TimedCoach")
    for bound, ticks in ((None, 6), (4, 4), (9, 6)):
        timed = Environment(name="pettingzoo:timed", max_episode_ticks=bound)(1)
        assert [spec.episode_ticks for spec in timed.specs.values()] == [ticks, ticks]
    with pytest.raises(ConfigError, match="`environment.settings`: `pettingzoo:coach` cannot be built: TypeError"):
        Environment(name="pettingzoo:coach", settings={"wheels": 3})(1)


def test_turn_based_environments_are_taken(
    register: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    small_turns = import_module("small_turns")
    monkeypatch.setattr(small_turns, "env", small_turns.Nim, raising=False)
    register("nim", "small_turns:Nim")
    monkeypatch.setitem(sys.modules, "pettingzoo.nim_v0", small_turns)
    for name in ("nim", "pettingzoo.nim_v0"):
        worlds = Environment(name=f"pettingzoo:{name}", settings={"max_cycles": 7})(2)
        # a cycle is a turn of both
        assert [(spec.capacity, spec.episode_ticks) for spec in worlds.specs.values()] == [(4, 14)]
        assert next(iter(worlds.reset(seeds=np.arange(2)).values())).agent_ids.tolist() == ["ann", "bob"] * 2
        worlds.close()


def test_a_turn_based_environment_that_does_not_say_its_agents_is_named_and_closed(
    register: Callable[[str, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """from small_turns import Nim

class Secret(Nim):
    shut = []

    def __init__(self):
        super().__init__()
        del self.possible_agents

    def close(self):
        self.shut.append(1)
"""
    (tmp_path / "secret.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    register("secret", "secret:Secret")
    with pytest.raises(ConfigError, match="`pettingzoo:secret` must say who its `possible_agents` are"):
        Environment(name="pettingzoo:secret")(1)
    assert import_module("secret").Secret.shut == [1]


def test_a_name_that_is_registered_wrongly_is_refused(register: Callable[[str, str], None]) -> None:
    register("coach", "small_parallel:Wagon")
    with pytest.raises(ConfigError, match="`coach` of the entry point group `townlet.simulations`: .*Wagon"):
        Environment(name="pettingzoo:coach")(1)


def test_names_that_mean_nothing_are_refused(register: Callable[[str, str], None]) -> None:
    register("coach", "small_parallel:Coach")
    with pytest.raises(
        ConfigError, match="`environment.name`: no PettingZoo environment 'coahc'.*near it: pettingzoo:coach"
    ):
        Environment(name="pettingzoo:coahc")(1)
    with pytest.raises(ConfigError, match=r"near it: .*pettingzoo:pettingzoo.classic.tictactoe_v3"):
        Environment(name="pettingzoo:pettingzoo.classic.tictactoe_v9")(1)
    with pytest.raises(ConfigError, match="no PettingZoo environment 'pettingzoo.utils'"):
        Environment(name="pettingzoo:pettingzoo.utils")(1)


@pytest.mark.parametrize(
    "name", ["os.path", "small_parallel", "pettingzoo.utils;x", "pettingzoo..utils", ".pettingzoo"]
)
def test_no_other_module_is_imported(name: str) -> None:
    with pytest.raises(ConfigError, match="expected a module of pettingzoo or mpe2, or a name registered"):
        Environment(name=f"pettingzoo:{name}")(1)


def test_what_an_environment_needs_is_named(
    register: Callable[[str, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needy.py").write_text("import no_such_library\n\ndef make():\n    pass\n")
    (tmp_path / "late.py").write_text("def make():\n    import no_such_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("needy", "late"):
        register(name, f"{name}:make")
        with pytest.raises(MissingExtraError, match=f"{name}`.* needs .*: No module named 'no_such_library'"):
            Environment(name=f"pettingzoo:{name}")(1)
