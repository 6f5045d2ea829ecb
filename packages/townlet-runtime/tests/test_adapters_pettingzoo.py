import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from beginnings import begun
from gymnasium import spaces
from installed import install
from pettingzoo.test import api_test
from small_turns import ANN, BOB, EVE, Nim

from townlet_behavior import BridgeConfig, Kind
from townlet_runtime.adapters.controllers import ObservationController
from townlet_runtime.adapters.equipped import Equipment
from townlet_runtime.adapters.parallel_worlds import ParallelWorlds
from townlet_runtime.adapters.pettingzoo_worlds import TurnBased, in_parallel, worlds_of
from townlet_runtime.adapters.registry import Environment
from townlet_runtime.adapters.spaces.settings import SpaceSettings
from townlet_runtime.core.rollouts import Collector
from townlet_runtime.errors import ConfigError, MissingExtraError
from townlet_runtime.policy.policy import UniformPolicy
from townlet_runtime.simulation.interface import AGENTS, GroupedSimulation
from townlet_runtime.testing import check_grouped_simulation


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


def test_a_function_without_num_worlds_is_one_of_pettingzoo(register: Callable[[str, str], None]) -> None:
    register("coach", "small_parallel:Coach")
    for name in ("coach", "small_parallel:Coach"):
        worlds = Environment(name=name, settings={"length": 2}, max_episode_ticks=7)(3)
        specs = worlds.specs
        assert {group: spec.name for group, spec in specs.items()} == {
            "rider": f"{name}/rider",
            "porter": f"{name}/porter",
        }
        assert [spec.episode_ticks for spec in specs.values()] == [7, 7]
    register("corridor", "townlet_runtime.testing:Corridor")
    with pytest.raises(ConfigError, match="`corridor` is registered as a `Simulation`: name it `corridor`"):
        Environment(name="pettingzoo:corridor")(1)
    with pytest.raises(ConfigError, match="`corridor` has a length of its own .*`SimulationSpec.episode_ticks`"):
        Environment(name="corridor", max_episode_ticks=7)(1)
    assert Environment(name="corridor")(2).specs["agents"].num_worlds == 2


def test_a_function_that_makes_neither_is_told_both_forms() -> None:
    settings = dict.fromkeys(("tick", "observations", "rewards", "terminations", "truncations", "infos"), 0)
    expected = "must build an environment of PettingZoo or Gymnasium, or take `num_worlds` and build a `Simulation`"
    expected += ", got Answers"
    with pytest.raises(ConfigError, match=expected):
        Environment(name="small_parallel:Answers", settings=settings)(1)


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


ONE, TWO = range(2)


def nims(num_worlds: int, **settings: object) -> GroupedSimulation:
    envs = [in_parallel(Nim(**settings)) for _ in range(num_worlds)]  # type: ignore[arg-type]
    script = ObservationController(lambda seen, agent_id: TWO)
    return Equipment(controller=lambda spec: script).of(ParallelWorlds("pettingzoo:nim", envs, episode_ticks=80))


def test_the_game_is_one_of_pettingzoo() -> None:
    api_test(Nim(), num_cycles=50)


@pytest.mark.parametrize("where", ["observation", "info"])
def test_a_game_by_hand(where: str) -> None:
    worlds = nims(1, mask=where)
    seen = begun(worlds, 3)[AGENTS]
    name = "heap" if where == "observation" else "observation"
    told = []
    for actions in ([TWO, ONE], [ONE, TWO], [ONE, ONE]):
        assert seen.action_mask is not None
        told.append((seen.observations[name][:, 0].tolist(), seen.action_mask.tolist()))
        stepped = worlds.step({AGENTS: np.array(actions)})[AGENTS]
        seen = stepped.observed
    # ann takes 2 of 5, bob 2 of 3, ann the last one; whoever waits has the first action alone
    assert told == [
        ([5.0, 5.0], [[True, True], [True, False]]),
        ([3.0, 3.0], [[True, False], [True, True]]),
        ([1.0, 1.0], [[True, False], [True, False]]),
    ]
    assert stepped.rewards.tolist() == [1.0, -1.0]
    assert stepped.terminated.tolist() == [True, True] and stepped.final_rows.tolist() == [0, 1]
    assert stepped.final_observations[name][:, 0].tolist() == [0.0, 0.0]
    assert seen.observations[name][:, 0].tolist() == [5.0, 5.0]


def test_without_a_mask_everything_is_allowed_on_turn() -> None:
    worlds = nims(1, mask=None)
    seen = begun(worlds, 0)[AGENTS]
    assert seen.action_mask is not None and seen.action_mask.tolist() == [[True, True], [True, False]]


def test_who_waits_decides_nothing_and_is_not_trained_on() -> None:
    worlds = nims(3, heap=9)
    spec = worlds.specs[AGENTS]
    policy = UniformPolicy(vocabulary=spec.vocabulary.keys, observation_shapes=spec.observation_shapes)
    collector = Collector(worlds, config=BridgeConfig(), seed=1, max_rows=999)
    collected = collector.collect({AGENTS: policy}, num_ticks=60, ratio=0.5)
    batch = collected.batches[AGENTS]
    single = batch.observations["action_mask"].sum(axis=1) == 1
    kinds = batch.columns["kind"]
    assert (kinds[single] == Kind.FORCED).all() and (kinds[~single] == Kind.DECISION).all()
    # one of two is on turn; there is no choice where one piece is left either
    assert 0.5 < single.mean() < 0.75 and collected.vetoes == 0
    assert not batch.columns["behavior_log_prob"][single].any()
    won = np.array(
        [batch.rewards[begin:end].sum() for begin, end in zip(batch.offsets, batch.offsets[1:], strict=False)]
    )
    assert set(won.tolist()) <= {1.0, -1.0, 0.0} and won[batch.terminated].sum() == 0


def test_somebody_who_gets_out_is_gone_and_the_others_play_on() -> None:
    worlds = nims(1, heap=8, eve=True)
    seen = begun(worlds, 0)[AGENTS]
    present, ended = [], []
    for _ in range(8):
        present.append(seen.agent_ids.tolist())
        stepped = worlds.step({AGENTS: np.zeros(len(seen.slots), np.int64)})[AGENTS]
        ended.append(np.array(present[-1])[stepped.terminated].tolist())
        seen = stepped.observed
    assert present == [[ANN, BOB, EVE]] * 3 + [[ANN, BOB]] * 5
    assert ended == [[], [], [EVE], [], [], [], [], [ANN, BOB]]
    assert seen.agent_ids.tolist() == [ANN, BOB, EVE]


@pytest.mark.parametrize("settings", [{}, {"mask": "info", "heap": 7}, {"mask": None}, {"eve": True, "heap": 8}])
def test_it_keeps_the_promises_of_a_simulation(settings: dict[str, object]) -> None:
    if settings.get("mask", "") is None:
        settings = {**settings, "heap": 10_000}  # two can always be taken
    check_grouped_simulation(nims(2, **settings), seed=4, ticks=60)


def test_masks_are_as_wide_as_the_actions() -> None:
    class Wide(Nim):
        def action_space(self, agent: str) -> spaces.Space[object]:
            return {ANN: spaces.MultiDiscrete([2, 3]), BOB: spaces.MultiBinary(3)}[agent]

    env = TurnBased(Wide(mask=None))
    _, infos = env.reset(seed=0)
    assert infos[ANN]["action_mask"].tolist() == [1] * 5 and infos[BOB]["action_mask"].tolist() == [0] * 6


def test_an_environment_that_is_parallel_stays_or_becomes_so() -> None:
    parallel = in_parallel(Nim(parallel=True))
    assert not isinstance(parallel, TurnBased)
    assert in_parallel(parallel) is parallel
    turns = in_parallel(Nim(render_mode="ansi"))
    assert isinstance(turns, TurnBased) and turns.unwrapped.max_cycles == 40
    turns.reset(seed=0)
    assert turns.render() == "|||||"
    turns.close()
    assert turns.unwrapped.closed


def test_continuous_actions_in_turn_are_refused_by_name() -> None:
    class Smooth(Nim):
        def action_space(self, agent: str) -> spaces.Space[object]:
            return spaces.Box(0.0, 1.0, (1,))

    expected = "`smooth` cannot be learned: expected actions that a mask can forbid, as agents take turns, got Box"
    with pytest.raises(ConfigError, match=expected):
        worlds_of("smooth", [Smooth()], max_episode_ticks=None, spaces=SpaceSettings(), global_state=False)


def test_the_state_of_a_game_in_turns_is_seen() -> None:
    class Open(Nim):
        state_space = spaces.Box(0.0, np.inf, (1,))

        def state(self) -> object:
            return np.array([self._heap], np.float32)

    worlds = ParallelWorlds("open", [in_parallel(Open())], episode_ticks=9, global_state=True)
    seen = begun(worlds, 1)
    assert seen["agents"].observations["global_state"].tolist() == [[5], [5]]
