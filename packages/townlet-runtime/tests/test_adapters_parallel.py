from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from beginnings import begun
from gymnasium import spaces
from small_parallel import PORTER, RIDERS, Answers, Coach, Convoy, coaches

from townlet_behavior import Box, BridgeConfig, MultiDiscrete
from townlet_runtime.adapters.agent_groups import agent_groups, group_names
from townlet_runtime.adapters.controllers import ObservationController
from townlet_runtime.adapters.equipped import Equipment
from townlet_runtime.adapters.history import episode_seed
from townlet_runtime.adapters.parallel_worlds import ParallelWorlds
from townlet_runtime.adapters.spaces.settings import SpaceSettings
from townlet_runtime.core.evaluator import Evaluator
from townlet_runtime.core.rollouts import Collector
from townlet_runtime.errors import ConfigError, EnvironmentFaultError, SimulationError
from townlet_runtime.policy.policy import UniformPolicy
from townlet_runtime.simulation.interface import Observed, Stepped
from townlet_runtime.testing import check_grouped_simulation

RIDER, OTHER = "rider", "porter"


def ids(observed: Observed) -> list[tuple[int, str]]:
    return list(zip(observed.worlds.tolist(), observed.agent_ids.tolist(), strict=True))


def act(worlds: ParallelWorlds, riders: list[int], porters: list[int]) -> dict[str, Stepped]:
    return dict(worlds.step({RIDER: np.array(riders, np.int64), OTHER: np.array(porters, np.int64)}))


def test_a_ride_by_hand() -> None:
    worlds = coaches()
    seen = begun(worlds, 4)
    assert list(worlds.specs) == list(seen) == [RIDER, OTHER]
    assert [spec.name for spec in worlds.specs.values()] == ["pettingzoo:coach/rider", "pettingzoo:coach/porter"]
    assert [len(spec.vocabulary) for spec in worlds.specs.values()] == [2, 3]
    assert [spec.capacity for spec in worlds.specs.values()] == [2, 1]
    assert ids(seen[RIDER]) == [(0, "rider_0"), (0, "rider_1")] and ids(seen[OTHER]) == [(0, "porter")]
    assert seen[RIDER].action_mask is None and seen[OTHER].action_mask.tolist() == [[True, True, False]]
    assert seen[OTHER].observations["observation"].shape == (1, 1)

    one = act(worlds, [1, 0], [1])
    assert one[RIDER].rewards.tolist() == [1.0, 0.0] and one[OTHER].rewards.tolist() == [0.0]
    assert one[RIDER].observed.observations["observation"][:, :2].tolist() == [[1, 2], [1, 2]]
    assert one[OTHER].observed.action_mask.tolist() == [[True, True, True]]
    two = act(worlds, [0, 1], [2])
    # rider_1 gets out and sees where: tick 2, a sum of 1 + 1 + 1 + 2
    assert two[RIDER].terminated.tolist() == [False, True] and two[RIDER].final_rows.tolist() == [1]
    assert two[RIDER].final_observations["observation"][:, :2].tolist() == [[2.0, 5.0]]
    assert ids(two[RIDER].observed) == [(0, "rider_0")]
    act(worlds, [0], [0])
    four = act(worlds, [0], [0])
    assert ids(four[RIDER].observed) == [(0, "rider_0"), (0, "rider_1")]
    assert four[RIDER].rewards.shape == (1,)
    act(worlds, [1, 1], [0])
    last = act(worlds, [0, 0], [0])
    assert [stepped.truncated.tolist() for stepped in last.values()] == [[True, True], [True]]
    assert last[OTHER].final_observations["observation"].tolist() == [[6.0]]
    # the next episode is there at once, and its number says so
    assert ids(last[RIDER].observed) == [(0, "rider_0"), (0, "rider_1")]
    assert last[RIDER].observed.episodes.tolist() == [1, 1]
    assert last[OTHER].observed.observations["observation"].tolist() == [[0.0]]


@pytest.mark.parametrize("settings", [{}, {"returns": False}, {"length": 1}, {"episode_ticks": 3}, {"length": 3}])
def test_coaches_keep_their_promises(settings: dict[str, Any]) -> None:
    check_grouped_simulation(coaches(3, **settings), seed=2, ticks=31)


def test_every_episode_begins_with_its_own_seed() -> None:
    envs = [Coach(length=2), Coach(length=3)]
    worlds = ParallelWorlds("pettingzoo:coach", envs, episode_ticks=9)
    seen = begun(worlds, 7)
    for _ in range(6):
        waits = {group: np.zeros(len(one.slots), np.int64) for group, one in seen.items()}
        seen = {group: one.observed for group, one in worlds.step(waits).items()}
    assert envs[0].seeds == [7, *(episode_seed(7, episode) for episode in (1, 2, 3))]
    assert envs[1].seeds == [8, *(episode_seed(8, episode) for episode in (1, 2))]


def test_an_episode_that_is_too_long_is_truncated() -> None:
    worlds = coaches(episode_ticks=2)
    begun(worlds, 0)
    act(worlds, [0, 0], [0])
    cut = act(worlds, [0, 0], [0])
    assert cut[RIDER].terminated.tolist() == [False, True] and cut[RIDER].truncated.tolist() == [True, False]
    assert cut[OTHER].truncated.tolist() == [True] and cut[OTHER].observed.episodes.tolist() == [1]


def test_a_returning_agent_begins_a_new_trajectory() -> None:
    worlds = Collector(coaches(), config=BridgeConfig(), seed=0, max_rows=99)
    collection = worlds.collect(None, num_ticks=6, ratio=0.0)
    riders = collection.batches[RIDER]
    found = [
        (one.agent_id, one.ticks.tolist(), one.terminated, one.truncated)
        for one in (riders.trajectory(index) for index in range(len(riders)))
    ]
    assert found == [
        ("rider_0", [0, 1, 2, 3, 4, 5], False, True),
        ("rider_1", [0, 1], True, False),
        ("rider_1", [4, 5], False, True),
    ]
    assert collection.env_steps == 6 and collection.agent_steps == 10 + 6


def test_a_group_may_be_absent() -> None:
    def alone(answers: Answers) -> None:
        """The porter leaves at the first tick."""
        answers.terminations[PORTER] = True

    worlds = coaches(1, bend=lambda answers: None if not answers.rewards else alone(answers), length=4)
    begun(worlds, 0)
    with pytest.raises(
        EnvironmentFaultError, match="agent 'porter', tick 0: expected it to leave `agents` with its end"
    ):
        act(worlds, [0, 0], [0])
    lone = ParallelWorlds("pettingzoo:coach", [Shy()], episode_ticks=9)
    check_grouped_simulation(lone, seed=0, ticks=20)
    begun(lone, 0)
    first = act(lone, [0, 0], [0])
    assert first[OTHER].terminated.tolist() == [True] and not len(first[OTHER].observed.slots)
    second = act(lone, [0, 0], [])
    assert second[OTHER].rewards.shape == (0,) and second[OTHER].final_observations["observation"].shape == (0, 1)


class Shy(Coach):
    """Its porter leaves at the first tick."""

    def step(self, actions: dict[str, Any]) -> tuple[Any, Any, Any, Any, Any]:
        answers = super().step(actions)
        if self._tick == 1:
            answers[2][PORTER] = True
            self.agents.remove(PORTER)
        return answers


def test_agents_may_stay_listed_when_everybody_has_ended() -> None:
    class Sloppy(Coach):
        def step(self, actions: dict[str, Any]) -> tuple[Any, Any, Any, Any, Any]:
            answers = super().step(actions)
            if not self.agents:
                self.agents = list(actions)
            return answers

    worlds = ParallelWorlds("pettingzoo:coach", [Sloppy(length=2)], episode_ticks=9)
    check_grouped_simulation(worlds, seed=0, ticks=9)


def after(tick: int, bend: Callable[[Answers], None]) -> Callable[[Answers], None]:
    return lambda answers: bend(answers) if answers.rewards and answers.tick == tick else None


def drop(name: str, agent: str) -> Callable[[Answers], None]:
    return after(1, lambda answers: getattr(answers, name).pop(agent))


def put(name: str, agent: str, value: object) -> Callable[[Answers], None]:
    return after(1, lambda answers: getattr(answers, name).update({agent: value}))


MASK = np.array([1, 1, 1], np.int8)
BREACHES = {
    r"agent 'rider_1', tick 0: expected it among the observations, got \['rider_0', 'porter'\]": drop(
        "observations", RIDERS[1]
    ),
    "agent 'porter', tick 0: expected it among the rewards": drop("rewards", PORTER),
    "agent 'rider_0', tick 0: expected it among the terminations": drop("terminations", RIDERS[0]),
    "agent 'rider_0', tick 0: expected it among the truncations": drop("truncations", RIDERS[0]),
    "agent 'ghost', tick 0: expected rewards of `possible_agents`, got another agent": put("rewards", "ghost", 0.0),
    "agent 'ghost', tick 0: expected observations of `possible_agents`": put("observations", "ghost", 0.0),
    "agent 'rider_0', tick 0: expected a finite reward, got nan": put("rewards", RIDERS[0], np.nan),
    r"agent 'rider_1', tick 1: expected `observation` of shape \(3,\), got \(2,\)": put(
        "observations", RIDERS[1], np.zeros(2)
    ),
    "agent 'rider_0', tick 1: expected finite numbers": put("observations", RIDERS[0], np.full(3, np.inf)),
    "agent 'rider_1', tick 0: expected a bool among the terminations, got 0": put("terminations", RIDERS[1], 0),
    "agent 'porter', tick 0: expected a bool among the truncations, got None": put("truncations", PORTER, None),
    "agent 'porter', tick 1: expected an `action_mask`, as at the beginning, got none": put(
        "observations", PORTER, {"observation": np.zeros(1)}
    ),
    "agent 'porter', tick 1: expected an action mask of 3 zeros and ones, got one with 0.5 in it": put(
        "observations", PORTER, {"observation": np.zeros(1), "action_mask": 0.5 * MASK}
    ),
    "agent 'rider_0', tick 1: expected a dictionary as info, got ndarray": put("infos", RIDERS[0], MASK),
    "agent 'rider_0', tick 1: expected no `action_mask`, as at the beginning": put(
        "infos", RIDERS[0], {"action_mask": MASK}
    ),
    "world 1, tick 0: expected a dictionary of rewards by agent, got list": after(
        1, lambda answers: setattr(answers, "rewards", [0.0])
    ),
    "world 1, tick 0: expected a dictionary of infos by agent, got NoneType": after(
        1, lambda answers: setattr(answers, "infos", None)
    ),
}


@pytest.mark.parametrize("problem", BREACHES)
def test_a_broken_interface_is_one_error_that_says_where(problem: str) -> None:
    worlds = ParallelWorlds("pettingzoo:coach", [Coach(), Coach(bend=BREACHES[problem])], episode_ticks=9)
    begun(worlds, 0)
    with pytest.raises(
        EnvironmentFaultError, match=f"^pettingzoo:coach, world 1, .*{problem}|^pettingzoo:coach, {problem}"
    ):
        act(worlds, [0, 0, 0, 0], [0, 0])


class Wild(Coach):
    """Its `agents` are whatever they are made to be after the first step."""

    then: tuple[str, ...] = ()

    def step(self, actions: dict[str, Any]) -> tuple[Any, Any, Any, Any, Any]:
        answers = super().step(actions)
        self.agents = list(self.then)
        return answers


@pytest.mark.parametrize(
    ("then", "problem"),
    [
        (("rider_0", "rider_1"), "agent 'porter', tick 0: left `agents` without being terminated or truncated"),
        ((), "agent 'porter', tick 0: left `agents` without"),
        (("rider_0", "rider_1", "porter", "ghost"), "agent 'ghost', tick 0: expected one of `possible_agents`"),
        (("rider_0", "rider_1", "porter", "porter"), "tick 0: expected every agent once in `agents`"),
    ],
)
def test_agents_that_come_and_go_as_they_must_not_are_named(then: tuple[str, ...], problem: str) -> None:
    wild = Wild()
    wild.then = then
    worlds = ParallelWorlds("pettingzoo:coach", [wild], episode_ticks=9)
    begun(worlds, 0)
    with pytest.raises(EnvironmentFaultError, match=f"world 0, {problem}"):
        act(worlds, [0, 0], [0])


def test_rewards_that_nobody_would_get_are_refused() -> None:
    late = coaches(bend=lambda answers: answers.rewards.update(rider_1=0.0) if answers.tick == 3 else None)
    with pytest.raises(
        EnvironmentFaultError, match="agent 'rider_1', tick 2: expected a reward of those who acted alone"
    ):
        ride(coaches(bend=lambda answers: answers.rewards.update(rider_1=1.0) if answers.tick == 3 else None), 4)
    # of who is not there, zeros mean nothing
    ride(late, 4)


def ride(worlds: ParallelWorlds, ticks: int) -> dict[str, Observed]:
    seen = dict(begun(worlds, 0))
    for _ in range(ticks):
        waits = {group: np.zeros(len(one.slots), np.int64) for group, one in seen.items()}
        seen = {group: one.observed for group, one in worlds.step(waits).items()}
    return seen


def test_an_agent_that_comes_must_see_something() -> None:
    def blind(answers: Answers) -> None:
        if answers.tick == 4 and answers.rewards:
            del answers.observations[RIDERS[1]]

    with pytest.raises(EnvironmentFaultError, match="agent 'rider_1', tick 3: expected an observation, got none"):
        ride(coaches(bend=blind), 4)


def test_a_reset_that_breaks_the_interface_is_named() -> None:
    def empty(answers: Answers) -> None:
        answers.observations = {}

    with pytest.raises(EnvironmentFaultError, match="agent 'rider_0', tick 0: expected an observation, got none"):
        begun(coaches(bend=empty), 0)
    with pytest.raises(EnvironmentFaultError, match="world 0, tick 0: expected agents after `reset`, got none"):
        begun(ParallelWorlds("pettingzoo:coach", [Deserted()], episode_ticks=9), 0)
    with pytest.raises(EnvironmentFaultError, match="world 0, tick 0: `reset` failed with KeyError: 'key'"):
        begun(ParallelWorlds("pettingzoo:coach", [Exploding()], episode_ticks=9), 0)


class Deserted(Coach):
    def reset(self, seed: int | None = None, options: None = None) -> tuple[Any, Any]:
        answers = super().reset(seed)
        self.agents = []
        return answers


class Exploding(Coach):
    def reset(self, seed: int | None = None, options: None = None) -> tuple[Any, Any]:
        raise KeyError("key")


def test_what_a_step_raises_is_named_with_its_place() -> None:
    def explode(answers: Answers) -> None:
        if answers.rewards:
            raise RuntimeError("a wheel is off")

    worlds = coaches(2, bend=explode)
    begun(worlds, 0)
    with pytest.raises(
        EnvironmentFaultError,
        match="^pettingzoo:coach, world 0, tick 0: `step` failed with RuntimeError: a wheel is off",
    ):
        act(worlds, [0, 0, 0, 0], [0, 0])


def test_calls_that_do_not_fit_are_refused() -> None:
    worlds = coaches()
    with pytest.raises(SimulationError, match="expected `reset` before anything else"):
        act(worlds, [0, 0], [0])
    with pytest.raises(SimulationError, match="expected `reset` before anything else"):
        worlds.save_state()
    begun(worlds, 0)
    with pytest.raises(SimulationError, match=r"expected actions of `rider` of shape \(2,\), got \(1,\)"):
        act(worlds, [0], [0])


@pytest.mark.parametrize("ticks", [1, 3, 8, 20])
def test_a_collection_goes_on_where_it_was_saved(ticks: int) -> None:
    unbroken, resumed = (Collector(coaches(2), config=BridgeConfig(), seed=3, max_rows=999) for _ in range(2))
    policies = {
        group: UniformPolicy(vocabulary=spec.vocabulary.keys, observation_shapes=spec.observation_shapes)
        for group, spec in unbroken.specs.items()
    }
    unbroken.collect(policies, num_ticks=ticks, ratio=1.0)
    state = unbroken.save_state()
    assert state is not None
    resumed.restore(state)
    for _ in range(2):
        one, other = (each.collect(policies, num_ticks=9, ratio=1.0) for each in (unbroken, resumed))
        assert one.env_steps == other.env_steps
        for group, batch in one.batches.items():
            for name in batch.columns:
                np.testing.assert_array_equal(batch.columns[name], other.batches[group].columns[name])
            for name in batch.observations:
                np.testing.assert_array_equal(batch.observations[name], other.batches[group].observations[name])
                finals = (batch.final_observations[name], other.batches[group].final_observations[name])
                np.testing.assert_array_equal(*finals)
            assert batch.agent_ids.tolist() == other.batches[group].agent_ids.tolist()
            np.testing.assert_array_equal(batch.rewards, other.batches[group].rewards)


def test_worlds_that_do_not_come_back_are_refused() -> None:
    worlds = coaches(2)
    for ticks, other, problem in (
        (1, {"unseeded": True}, "the same seeds and actions led to other observations"),
        (3, {"length": 3}, "tick 3: other agents are present"),
        (4, {"length": 3}, "world 0, tick 4: other agents are present"),
        (4, {"returns": False}, "other agents are present"),
    ):
        ride(worlds, ticks)
        state = worlds.save_state()
        with pytest.raises(EnvironmentFaultError, match=f"{problem}.*: the environment is not deterministic"):
            coaches(2, **other).restore(state)
    with pytest.raises(SimulationError, match="expected `numbers` of the saved state"):
        coaches(3).restore(state)


def test_a_script_is_made_for_each_group() -> None:
    made: list[str] = []

    def factory(spec: Any) -> ObservationController:
        made.append(spec.name)
        return ObservationController(lambda seen, agent_id: len(agent_id) % 2)

    worlds = Equipment(controller=factory).of(coaches())
    seen = begun(worlds, 0)
    scripts = worlds.scripted("scripted")
    assert made == ["pettingzoo:coach/rider", "pettingzoo:coach/porter"]
    assert scripts[RIDER].propose(seen[RIDER]).tolist() == [1, 1]
    assert scripts[OTHER].propose(seen[OTHER]).tolist() == [0]
    assert worlds.behaviors == ("scripted",) and coaches().behaviors == ()


def test_scores_of_all_groups_add_up() -> None:
    script = ObservationController(lambda seen, agent_id: 1)
    worlds = Equipment(controller=lambda spec: script)
    judge = Evaluator(lambda n: worlds.of(coaches(n)), config=BridgeConfig(), seed=0, num_worlds=8)
    # rider_0 rides six ticks, rider_1 four; three agents at the start
    assert judge.baseline("scripted", seeds=np.arange(2)).returns == pytest.approx((10 / 3, 10 / 3))


def test_masks_in_infos_are_read_too() -> None:
    class Informed(Coach):
        """Masks its riders by their infos."""

        def reset(self, seed: int | None = None, options: None = None) -> tuple[Any, Any]:
            seen, infos = super().reset(seed)
            return seen, {agent: {"action_mask": np.array([1, 1])} for agent in infos}

        def step(self, actions: dict[str, Any]) -> tuple[Any, Any, Any, Any, Any]:
            seen, earned, ends, cuts, _ = super().step(actions)
            return seen, earned, ends, cuts, {agent: {"action_mask": np.array([0, 1])} for agent in self.agents}

    worlds = ParallelWorlds("pettingzoo:coach", [Informed()], episode_ticks=9)
    assert begun(worlds, 0)[RIDER].action_mask.tolist() == [[True, True]] * 2
    assert act(worlds, [0, 0], [0])[RIDER].observed.action_mask.tolist() == [[False, True]] * 2
    check_grouped_simulation(worlds, seed=0, ticks=20)


@pytest.mark.parametrize(
    ("groups", "names"),
    [
        ([["a", "b"]], ["agents"]),
        ([["speaker_0"], ["listener_0"]], ["speaker", "listener"]),
        ([["adversary_0", "adversary_1", "adversary_2"], ["agent_0"]], ["adversary", "agent"]),
        ([["agent_0", "agent_1"], ["agent_2"]], ["agent_0", "agent_2"]),
        ([["red", "blue"], ["green"]], ["red", "green"]),
        ([["1", "2"], ["x-7"]], ["1", "x"]),
        ([["a/b c_1"], ["d"]], ["a_b_c", "d"]),
        ([["a b1"], ["a_b2"]], ["group_0", "group_1"]),
        ([["a", "b"], ["a_0"]], ["a", "a_0"]),
    ],
)
def test_groups_are_named_by_what_their_ids_have_in_common(groups: list[list[str]], names: list[str]) -> None:
    assert group_names(groups) == names


def test_agents_with_equal_spaces_are_one_group() -> None:
    one, other = agent_groups("coach", Coach(), SpaceSettings())
    assert (one.agents, one.places, other.agents, other.places) == (RIDERS, (0, 2), (PORTER,), (1,))
    numbered = Coach(possible_agents=[0, 1])  # type: ignore[list-item]
    (group,) = agent_groups("coach", numbered, SpaceSettings())
    assert group.name == "agents" and group.agent_ids == ("0", "1")


def test_agents_must_be_known_beforehand() -> None:
    class Secretive(Coach):
        def action_space(self, agent: str) -> spaces.Space[Any]:
            raise NotImplementedError("not yet")

    with pytest.raises(ConfigError, match="must say who its `possible_agents` are .*: NotImplementedError: not yet"):
        agent_groups("coach", Secretive(), SpaceSettings())
    with pytest.raises(ConfigError, match="`coach` has no agents"):
        agent_groups("coach", Coach(possible_agents=[]), SpaceSettings())
    with pytest.raises(ConfigError, match=r"must have unique ids, got \['1', 1\]"):
        agent_groups("coach", Coach(possible_agents=["1", 1]), SpaceSettings())  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="the same agents and equal spaces"):
        ParallelWorlds("coach", [Coach(), Coach(possible_agents=["porter"])], episode_ticks=9)


def test_all_environments_are_closed() -> None:
    envs = [Coach(length=2), Coach(length=3)]
    ParallelWorlds("pettingzoo:coach", envs, episode_ticks=9).close()
    assert [env.closed for env in envs] == [True, True]


def convoy(**settings: Any) -> ParallelWorlds:
    spaces = SpaceSettings(actions="parts")
    return ParallelWorlds("pettingzoo:convoy", [Convoy(), Convoy()], episode_ticks=50, settings=spaces, **settings)


def done(drivers: object, guards: object, callers: object) -> dict[str, Any]:
    drove = np.array(drivers, np.float32).reshape(-1, 2)
    return {"driver": drove, "guard": np.array(guards, np.int64), "caller": np.array(callers, np.int64)}


def test_groups_of_all_kinds_of_actions_act_together() -> None:
    worlds = convoy()
    assert worlds.specs["driver"].actions == Box(names=("0", "1"), low=(-1.0, -1.0), high=(1.0, 1.0))
    guard = worlds.specs["guard"].actions
    assert isinstance(guard, MultiDiscrete) and guard.sizes == (2, 3)
    assert len(worlds.specs["caller"].vocabulary) == 3
    seen = begun(worlds, 4)
    assert seen["guard"].action_mask is not None
    assert seen["guard"].action_mask.tolist() == [[True, True, True, False, False]] * 2
    assert seen["driver"].action_mask is None and len(seen["driver"].slots) == 4
    drive = [[0.5, -0.25], [0.0, 1.0], [0.0, 0.0], [-1.0, 0.0]]
    one = worlds.step(done(drive, [[1, 0], [0, 2]], [2, 0]))
    # 0.5 - 0.25 + 1 + 1 + 2 in the first world, -1 + 2 in the second
    assert [stepped.rewards.tolist() for stepped in one.values()] == [[4.25, 4.25, 1.0, 1.0], [4.25, 1.0], [4.25, 1.0]]
    assert one["guard"].observed.action_mask is not None
    assert one["guard"].observed.action_mask[0].tolist() == [True, True, True, False, True]
    with pytest.raises(SimulationError, match=r"expected actions of `driver` of shape \(4, 2\), got \(3, 2\)"):
        worlds.step(done(drive[:3], [[1, 0], [0, 2]], [2, 0]))


@pytest.mark.parametrize("ticks", [1, 2, 4, 8])
def test_groups_of_all_kinds_of_actions_come_back(ticks: int) -> None:
    one, other = convoy(global_state=True), convoy(global_state=True)
    generator = np.random.default_rng(0)
    seen = begun(one, 4)

    def draw() -> dict[str, Any]:
        drove = generator.uniform(-1, 1, (len(seen["driver"].slots), 2))
        return done(drove, generator.integers(0, 2, (2, 2)) * [1, 0], generator.integers(0, 3, 2))

    for _ in range(ticks):
        seen = {group: stepped.observed for group, stepped in one.step(draw()).items()}
    restored = other.restore(one.save_state())
    for group, observed in seen.items():
        assert observed.slots.tolist() == restored[group].slots.tolist()
        for name, array in observed.observations.items():
            np.testing.assert_array_equal(array, restored[group].observations[name])
    actions = draw()
    for group, stepped in one.step(actions).items():
        again = other.step(actions)[group] if group == "driver" else None
        if again is not None:
            np.testing.assert_array_equal(stepped.rewards, again.rewards)


def test_critics_see_the_state_of_their_world() -> None:
    worlds = convoy(global_state=True)
    for spec in worlds.specs.values():
        assert (spec.observation_shapes, spec.critic_shapes) == ({"observation": (1,)}, {"global_state": (2,)})
    seen = begun(worlds, 4)
    assert seen["driver"].observations["global_state"].tolist() == [[0, 0]] * 4
    guards, callers = [[1, 0], [0, 0]], [2, 0]
    one = worlds.step(done(np.zeros((4, 2)), guards, callers))
    assert one["driver"].observed.observations["global_state"].tolist() == [[1, 3], [1, 3], [1, 0], [1, 0]]
    assert one["caller"].observed.observations["global_state"].tolist() == [[1, 3], [1, 0]]
    worlds.step(done(np.zeros((4, 2)), guards, callers))
    three = worlds.step(done(np.zeros((4, 2)), guards, callers))
    # who leaves sees what the last action led to
    assert three["driver"].final_observations["global_state"].tolist() == [[3, 9], [3, 9], [3, 0], [3, 0]]
    worlds.step(done([], guards, callers))
    five = worlds.step(done([], guards, callers))
    assert five["guard"].final_observations["global_state"].tolist() == [[5, 15], [5, 0]]
    assert five["guard"].observed.observations["global_state"].tolist() == [[0, 0]] * 2


def test_nobody_sees_the_state_unasked() -> None:
    worlds = convoy()
    assert all(not spec.critic_shapes for spec in worlds.specs.values())
    assert list(begun(worlds, 4)["driver"].observations) == ["observation"]


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        (np.array([0.0, np.nan]), r"expected finite numbers in `global_state`"),
        (np.zeros(3), r"expected `global_state` of shape \(2,\), got \(3,\)"),
        ("none", r"expected `global_state` of shape \(2,\), got \(\)"),
    ],
)
def test_a_state_that_is_none_is_named(state: object, problem: str) -> None:
    worlds = ParallelWorlds("convoy", [Convoy(broken_state=state)], episode_ticks=9, global_state=True)
    with pytest.raises(EnvironmentFaultError, match=rf"convoy, world 0, agent 'driver_0', tick 0: {problem}"):
        begun(worlds, 4)


def test_what_a_state_raises_is_named_with_its_place() -> None:
    class Silent(Convoy):
        def state(self) -> Any:
            raise NotImplementedError("no state")

    worlds = ParallelWorlds("convoy", [Silent()], episode_ticks=9, global_state=True)
    with pytest.raises(EnvironmentFaultError, match="convoy, world 0, tick 0: `state` failed with NotImplementedError"):
        begun(worlds, 4)


def test_a_state_without_a_space_is_refused() -> None:
    expected = r"`environment.global_state`: expected `coach` to have a `state_space`, .*, got None"
    with pytest.raises(ConfigError, match=expected):
        ParallelWorlds("coach", [Coach()], episode_ticks=9, global_state=True)
    with pytest.raises(ConfigError, match="to have a `state_space`, of what its `state\\(\\)` returns, got 'big'"):
        ParallelWorlds("convoy", [Convoy(state_space="big")], episode_ticks=9, global_state=True)
