from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from beginnings import begun
from gymnasium import spaces
from small_envs import LOCK, Answer, Cart, Lock, Stairs, stairs

from townlet_behavior import Box, BridgeConfig, Kind, MultiDiscrete
from townlet_runtime.adapters import gymnasium_worlds
from townlet_runtime.adapters.controllers import ObservationController, registered_controller
from townlet_runtime.adapters.equipped import Equipment
from townlet_runtime.adapters.gymnasium_sync import SyncWorlds
from townlet_runtime.adapters.gymnasium_worlds import NativeWorlds
from townlet_runtime.adapters.history import episode_seed, joint_seed
from townlet_runtime.adapters.registry import Environment
from townlet_runtime.adapters.spaces.settings import SpaceSettings
from townlet_runtime.core.evaluator import Evaluator
from townlet_runtime.core.rollouts import Collector
from townlet_runtime.errors import ConfigError, EnvironmentFaultError, MissingExtraError, SimulationError
from townlet_runtime.policy.policy import UniformPolicy
from townlet_runtime.simulation.interface import AGENTS, GroupedSimulation, Observed, Simulation
from townlet_runtime.simulation.one_group import OneGroup
from townlet_runtime.testing import check_grouped_simulation, check_simulation
from townlet_trajectory import TrajectoryBatch

STAY, CLIMB, LEAP = range(3)
NEXT_STEP = gymnasium.vector.AutoresetMode.NEXT_STEP


def cart_poles(num_worlds: int, vectorization: str = "sync", **settings: Any) -> GroupedSimulation:
    return Environment(name="gymnasium:CartPole-v1", vectorization=vectorization, **settings)(num_worlds)


def acts(*actions: int) -> np.ndarray:
    return np.array(actions, np.int64)


def test_stairs_by_hand() -> None:
    worlds = stairs(2)
    seen = begun(worlds, 3)
    assert seen.agent_ids.tolist() == ["agent", "agent"] and seen.episodes.tolist() == [0, 1]
    whole = OneGroup(worlds)
    assert worlds.spec.vocabulary.keys == ("0", "1", "2")
    assert whole.behaviors == () and whole.guardrails() == {AGENTS: ()}
    assert seen.observations["observation"][:, 0].tolist() == [0.0, 0.0] and seen.action_mask is None
    first = worlds.step(acts(LEAP, CLIMB))
    assert first.observed.observations["observation"][:, 0].tolist() == [2.0, 1.0]
    assert not first.terminated.any() and not first.final_rows.size
    second = worlds.step(acts(LEAP, STAY))
    assert second.rewards.tolist() == [1.0, 0.0] and second.terminated.tolist() == [True, False]
    assert not second.truncated.any()
    assert second.final_rows.tolist() == [0]
    # the top is what the last action led to; the next episode is seen already
    assert second.final_observations["observation"][:, 0].tolist() == [4.0]
    assert second.observed.observations["observation"][:, 0].tolist() == [0.0, 1.0]
    assert second.observed.episodes.tolist() == [2, 1]


def test_every_episode_begins_with_its_own_seed() -> None:
    envs = [Stairs(height=1), Stairs(height=2)]
    worlds = SyncWorlds("gymnasium:Stairs-v0", envs, episode_ticks=9)
    begun(worlds, 40)
    for _ in range(4):
        worlds.step(acts(CLIMB, CLIMB))
    assert envs[0].seeds == [40, *(episode_seed(40, episode) for episode in (1, 2, 3, 4))]
    assert envs[1].seeds == [41, *(episode_seed(41, episode) for episode in (1, 2))]


def test_worlds_of_two_runs_share_no_seed_neither_first_nor_later() -> None:
    used = []
    for run in (0, 1):
        envs = [Stairs(height=1) for _ in range(8)]
        worlds = SyncWorlds("gymnasium:Stairs-v0", envs, episode_ticks=9)
        Collector(OneGroup(worlds), config=BridgeConfig(), seed=run, max_rows=999).collect(None, num_ticks=1, ratio=0.0)
        for _ in range(4):
            worlds.step(acts(*[CLIMB] * 8))
        used += [seed for env in envs for seed in env.seeds]
    assert len(used) == 2 * 8 * 5 and len(set(used)) == len(used)
    assert all(seed is not None and 0 <= seed < 2**31 for seed in used)


def test_an_episode_that_is_too_long_is_truncated() -> None:
    worlds = stairs(2, episode_ticks=3)
    begun(worlds, 0)
    stepped = [worlds.step(acts(*pair)) for pair in ((STAY, LEAP), (STAY, LEAP), (CLIMB, STAY), (STAY, STAY))]
    assert [one.truncated.tolist() for one in stepped] == [[False] * 2, [False] * 2, [True, False], [False] * 2]
    assert [one.terminated.tolist() for one in stepped] == [[False] * 2, [False, True], [False] * 2, [False] * 2]
    assert stepped[2].final_observations["observation"][:, 0].tolist() == [1.0]
    # world 1 began its second episode at tick 2
    assert worlds.step(acts(STAY, STAY)).truncated.tolist() == [False, True]
    assert worlds.spec.episode_ticks == 3


def test_an_end_is_not_a_cut_as_well() -> None:
    worlds = stairs(1, episode_ticks=2)
    begun(worlds, 0)
    worlds.step(acts(LEAP))
    both = worlds.step(acts(LEAP))
    assert both.terminated.tolist() == [True] and both.truncated.tolist() == [False]


@pytest.mark.parametrize("mask", ["info", "observation"])
def test_a_mask_is_read_wherever_it_is(mask: str) -> None:
    worlds = stairs(2, mask=mask)
    assert begun(worlds, 0).action_mask.tolist() == [[True] * 3] * 2
    worlds.step(acts(LEAP, STAY))
    stepped = worlds.step(acts(CLIMB, STAY))
    assert stepped.observed.action_mask.tolist() == [[True, True, False], [True] * 3]
    # the mask of a new episode is its own
    assert worlds.step(acts(CLIMB, STAY)).observed.action_mask.tolist() == [[True] * 3] * 2
    assert list(worlds.spec.observation_shapes) == ["observation"]
    check_simulation(worlds, seed=2, ticks=40)


def test_all_kinds_of_worlds_keep_their_promises() -> None:
    check_simulation(stairs(3, episode_ticks=7), seed=1, ticks=40)
    check_grouped_simulation(cart_poles(3), seed=1, ticks=60)
    check_grouped_simulation(cart_poles(3, "native"), seed=1, ticks=60, own_seeds=False)
    check_grouped_simulation(cart_poles(2, "native", max_episode_ticks=5), seed=1, ticks=40, own_seeds=False)


def bent(index: int, value: object) -> Callable[[Answer], Answer]:
    """Answers whose entry `index` is `value` at the first step above 0."""
    return lambda answer: (*answer[:index], value, *answer[index + 1 :]) if answer[0][0] > 0 else answer


SEEN = np.array([1.0, 0.5], np.float32)
BREACHES = {
    r"expected `observation` of shape \(2,\), got \(3,\)": bent(0, np.ones(3, np.float32)),
    "expected finite numbers in `observation`, got": bent(0, np.array([1.0, np.nan], np.float32)),
    "expected a finite reward, got nan": bent(1, np.nan),
    "expected a number as reward, got 'much'": bent(1, "much"),
    "expected a bool as `terminated`, got 1": bent(2, 1),
    "expected a bool as `truncated`, got None": bent(3, None),
    "`step` failed with ValueError: not enough values to unpack": lambda answer: answer[:4] if answer[0][0] else answer,
    "`step` failed with TypeError: cannot unpack": lambda answer: None if answer[0][0] else answer,
    "expected no `action_mask`, as at the beginning, got one": bent(4, {"action_mask": np.ones(3, np.int8)}),
}


@pytest.mark.parametrize("problem", BREACHES)
def test_a_broken_interface_is_one_error_that_says_where(problem: str) -> None:
    good, bad = Stairs(), Stairs(bend=BREACHES[problem])
    worlds = SyncWorlds("gymnasium:Stairs-v0", [good, bad], episode_ticks=9)
    begun(worlds, 0)
    worlds.step(acts(CLIMB, STAY))
    with pytest.raises(
        EnvironmentFaultError, match=f"^gymnasium:Stairs-v0, world 1, agent 'agent', tick [12]: {problem}"
    ):
        worlds.step(acts(CLIMB, CLIMB))


def test_what_an_environment_raises_is_named_with_its_place() -> None:
    worlds = stairs(1, bend=explode)
    begun(worlds, 0)
    with pytest.raises(
        EnvironmentFaultError, match="world 0.*tick 0: `step` failed with RuntimeError: no more"
    ) as told:
        worlds.step(acts(CLIMB))
    assert isinstance(told.value.__cause__, RuntimeError)
    assert (told.value.environment, told.value.world, told.value.tick) == ("gymnasium:Stairs-v0", 0, 0)


def test_a_reset_that_breaks_the_interface_is_named() -> None:
    with pytest.raises(EnvironmentFaultError, match="world 0.*tick 0: `reset` failed with ValueError: too many values"):
        begun(stairs(1, bend_reset=lambda answer: (*answer, None)), 0)
    with pytest.raises(EnvironmentFaultError, match="world 0.*finite numbers"):
        begun(stairs(1, bend_reset=lambda answer: (np.array([np.nan, 0.0]), {})), 0)


def test_a_mask_that_stops_coming_is_named() -> None:
    worlds = stairs(2, mask="info", bend=lambda answer: (*answer[:4], {}) if answer[0][0] == 1 else answer)
    begun(worlds, 0)
    with pytest.raises(EnvironmentFaultError, match="world 1, .*: expected an `action_mask`, as at the beginning"):
        worlds.step(acts(STAY, CLIMB))


def test_an_agent_that_may_do_nothing_waits_and_decides_nothing() -> None:
    nothing = {"action_mask": np.zeros(3, np.int8)}
    worlds = stairs(2, mask="info", bend=lambda answer: (*answer[:4], nothing) if answer[0][0] == 1 else answer)
    begun(worlds, 0)
    stepped = worlds.step(acts(STAY, CLIMB))
    assert stepped.observed.action_mask is not None
    assert stepped.observed.action_mask.tolist() == [[True, True, True], [True, False, False]]
    collector = Collector(OneGroup(worlds), config=BridgeConfig(), seed=0, max_rows=99)
    policy = UniformPolicy(vocabulary=("0", "1", "2"), observation_shapes=worlds.spec.observation_shapes)
    batch = collector.collect({AGENTS: policy}, num_ticks=20, ratio=1.0).batches[AGENTS]
    on_first = batch.observations["observation"][:, 0] == 1.0
    alone = batch.observations["action_mask"].sum(axis=1) == 1
    assert 0 < np.count_nonzero(on_first) < len(on_first)
    assert (batch.columns["kind"] == Kind.FORCED).tolist() == alone.tolist() == on_first.tolist()


def test_an_info_that_is_no_dictionary_is_named() -> None:
    for info in (np.ones(3), None):
        worlds = stairs(2, bend=lambda answer, info=info: (*answer[:4], info) if answer[0][0] == 1 else answer)
        begun(worlds, 0)
        with pytest.raises(EnvironmentFaultError, match="world 1, .*tick 1: expected a dictionary as info, got"):
            worlds.step(acts(STAY, CLIMB))


@pytest.mark.parametrize("make", [lambda: stairs(2), lambda: native(Rows())])
def test_calls_that_do_not_fit_are_refused(make: Callable[[], Simulation]) -> None:
    worlds = make()
    with pytest.raises(SimulationError, match="expected `reset` before the first `step`"):
        worlds.step(acts(0, 0))
    with pytest.raises(SimulationError, match="expected `reset` before `save_state`"):
        worlds.save_state()
    with pytest.raises(SimulationError, match="`seeds` that are not negative"):
        begun(worlds, -1)
    begun(worlds, 0)
    with pytest.raises(SimulationError, match=r"expected actions of shape \(2,\), got \(3,\)"):
        worlds.step(acts(0, 0, 0))


def test_a_script_is_made_for_the_worlds_it_is_for() -> None:
    climb = ObservationController(lambda seen, agent_id: CLIMB if seen["observation"][0] < 3 else STAY)
    worlds = Equipment(controller=lambda spec: climb).of(OneGroup(stairs(2)))
    assert worlds.behaviors == ("scripted",)
    seen = begun(worlds, 0)[AGENTS]
    assert worlds.scripted("scripted")[AGENTS].propose(seen).tolist() == [CLIMB, CLIMB]
    for _ in range(3):
        seen = worlds.step({AGENTS: acts(CLIMB, STAY)})[AGENTS].observed
    assert worlds.scripted("scripted")[AGENTS].propose(seen).tolist() == [STAY, CLIMB]
    with pytest.raises(SimulationError, match="`gymnasium:Stairs-v0` has no behaviors, got 'nearest'"):
        worlds.scripted("nearest")
    with pytest.raises(SimulationError, match="got 'scripted'"):
        OneGroup(stairs(1)).scripted("scripted")


def collector_of(vectorization: str, seed: int = 5) -> Collector:
    return Collector(cart_poles(3, vectorization), config=BridgeConfig(), seed=seed, max_rows=1000)


@pytest.mark.parametrize("vectorization", ["sync", "native"])
@pytest.mark.parametrize("ticks", [1, 40, 130])
def test_a_collection_goes_on_where_it_was_saved(vectorization: str, ticks: int) -> None:
    unbroken, resumed = collector_of(vectorization), collector_of(vectorization)
    spec = unbroken.specs[AGENTS]
    policies = {AGENTS: UniformPolicy(vocabulary=spec.vocabulary.keys, observation_shapes=spec.observation_shapes)}
    unbroken.collect(policies, num_ticks=ticks, ratio=1.0)
    state = unbroken.save_state()
    assert state is not None
    resumed.restore(state)
    for _ in range(2):
        one, other = (each.collect(policies, num_ticks=60, ratio=1.0) for each in (unbroken, resumed))
        assert one.env_steps == other.env_steps
        same_batches(one.batches[AGENTS], other.batches[AGENTS])


def same_batches(one: TrajectoryBatch, other: TrajectoryBatch) -> None:
    for name in one.columns:
        np.testing.assert_array_equal(one.columns[name], other.columns[name])
    for name in ("offsets", "rewards", "ticks", "terminated", "truncated", "worlds", "episodes"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in one.observations:
        np.testing.assert_array_equal(one.observations[name], other.observations[name])
        np.testing.assert_array_equal(one.final_observations[name], other.final_observations[name])


@pytest.mark.parametrize("vectorization", ["sync", "native"])
def test_a_view_stays_as_it_was_while_the_worlds_go_on(vectorization: str) -> None:
    # The arrays of who is there are shared by ticks on which nobody comes or goes.
    worlds = begun_cart_poles(vectorization)
    observed, generator = worlds.reset(seeds=np.arange(3)), np.random.default_rng(0)
    views = []
    for _ in range(60):
        views.append((observed, [array.copy() for array in arrays_of(observed)]))
        observed = worlds.step(generator.integers(0, 2, len(observed.slots))).observed
    assert len({tuple(view.episodes.tolist()) for view, _ in views}) > 2
    for view, kept in views:
        for array, before in zip(arrays_of(view), kept, strict=True):
            np.testing.assert_array_equal(array, before)


def begun_cart_poles(vectorization: str) -> Any:
    return gymnasium_worlds.gymnasium_worlds(
        "CartPole-v1",
        num_worlds=3,
        settings={},
        vectorization=vectorization,
        max_episode_ticks=None,
        spaces=SpaceSettings(),
    )


def arrays_of(observed: Observed) -> list[Any]:
    return [
        *observed.observations.values(),
        observed.slots,
        observed.agent_ids,
        observed.keys,
        observed.worlds,
        observed.episodes,
        observed.option_done,
    ]


def test_worlds_that_do_not_come_back_are_refused() -> None:
    worlds = stairs(2)
    begun(worlds, 0)
    worlds.step(acts(CLIMB, STAY))
    state = dict(worlds.save_state())
    luck = np.random.default_rng(0)
    drifting = stairs(2, bend=lambda answer: (answer[0] + np.float32(luck.random()), *answer[1:]))
    with pytest.raises(EnvironmentFaultError, match="is not deterministic and cannot be resumed exactly"):
        drifting.restore(state)
    with pytest.raises(EnvironmentFaultError, match="world 0, tick 1: an episode ended early"):
        stairs(2, height=1).restore(state)
    with pytest.raises(EnvironmentFaultError, match="world 0, .*tick 1: `step` failed with RuntimeError: no more"):
        stairs(2, bend=explode).restore(state)
    with pytest.raises(SimulationError, match="expected `numbers` of the saved state"):
        stairs(3).restore(state)


def explode(answers: object) -> Any:
    raise RuntimeError("no more")


class Rows(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """Two native worlds by the book: episodes of 2 and 3 ticks, each world counts; action 1 is worth 1."""

    metadata = {"autoreset_mode": NEXT_STEP}  # noqa: RUF012

    def __init__(
        self, num_envs: int = 2, *, bend: Callable[[list[Any]], None] | None = None, masked: bool = False
    ) -> None:
        self.num_envs = num_envs
        self.single_observation_space = spaces.Box(0.0, 9.0, (1,))
        self.single_action_space = spaces.Discrete(2)
        self._bend = bend
        self._masked = masked

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._counts = np.zeros(2, np.int64)
        self._over = np.zeros(2, np.bool_)
        return self._counts[:, None].astype(np.float32), self._info()

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        self._counts = np.where(self._over, 0, self._counts + 1)
        rewards = np.where(self._over, 0.0, actions)
        self._over = ~self._over & (self._counts == [2, 3])
        answers = [self._counts[:, None].astype(np.float32), rewards, self._over.copy(), np.zeros(2, np.bool_)]
        answers.append(self._info())
        if self._bend is not None:
            self._bend(answers)
        seen, earned, terminated, truncated, info = answers
        return seen, earned, terminated, truncated, info

    def _info(self) -> dict[str, Any]:
        return (
            {"action_mask": np.stack([np.ones(2), self._counts != 1], axis=1).astype(np.int8)} if self._masked else {}
        )


def native(env: Rows) -> NativeWorlds:
    return NativeWorlds("gymnasium:Rows-v0", env, episode_ticks=9)


def test_the_tick_that_only_resets_a_native_world_is_nobodys() -> None:
    worlds = native(Rows())
    seen = begun(worlds, 0)
    told: list[Any] = []
    for _ in range(6):
        actions = np.ones(len(seen.slots), np.int64)
        stepped = worlds.step(actions)
        told.append(
            (
                seen.slots.tolist(),
                stepped.rewards.tolist(),
                stepped.terminated.tolist(),
                stepped.final_rows.tolist(),
                stepped.final_observations["observation"].ravel().tolist(),
                stepped.observed.slots.tolist(),
                stepped.observed.episodes.tolist(),
                stepped.observed.observations["observation"].ravel().tolist(),
            )
        )
        seen = stepped.observed
    assert told == [
        ([0, 1], [1, 1], [False, False], [], [], [0, 1], [0, 1], [1, 1]),
        ([0, 1], [1, 1], [True, False], [0], [2], [1], [1], [2]),
        # world 0 is reset, world 1 ends
        ([1], [1], [True], [0], [3], [0], [2], [0]),
        ([0], [1], [False], [], [], [0, 1], [2, 3], [1, 0]),
        ([0, 1], [1, 1], [True, False], [0], [2], [1], [3], [1]),
        ([1], [1], [False], [], [], [0, 1], [4, 3], [0, 2]),
    ]


def test_a_tick_that_only_resets_is_no_step() -> None:
    worlds = Collector(OneGroup(native(Rows())), config=BridgeConfig(), seed=0, max_rows=99)
    collection = worlds.collect(None, num_ticks=6, ratio=0.0)
    assert collection.env_steps == collection.batches[AGENTS].num_steps == 9


def test_all_native_worlds_may_rest_at_once() -> None:
    class Twins(Rows):
        def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
            self._counts[1] = self._counts[0] + 1 if not self._over[0] else self._counts[1]
            return super().step(actions)

    worlds = native(Twins())
    check_simulation(worlds, seed=0, ticks=30, own_seeds=False)
    seen = begun(worlds, 0)
    present = []
    for _ in range(6):
        seen = worlds.step(np.zeros(len(seen.slots), np.int64)).observed
        present.append(len(seen.slots))
    assert present == [2, 0, 2, 2, 0, 2]


def test_native_masks_are_those_of_who_is_there() -> None:
    worlds = native(Rows(masked=True))
    assert begun(worlds, 0).action_mask.tolist() == [[True, True]] * 2
    one = worlds.step(acts(0, 0))
    assert one.observed.action_mask.tolist() == [[True, False]] * 2
    two = worlds.step(acts(0, 0))
    assert two.observed.slots.tolist() == [1] and two.observed.action_mask.tolist() == [[True, True]]
    check_simulation(worlds, seed=0, ticks=20, own_seeds=False)


@pytest.mark.parametrize("masked", [False, True])
def test_native_worlds_begin_anew_before_their_history_grows_long(
    masked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gymnasium_worlds, "RESTART_TICKS", 7)
    seeds: list[int | None] = []

    class Seeded(Rows):
        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
            seeds.append(seed)
            return super().reset(seed=seed)

    env = Seeded(masked=masked)
    worlds = NativeWorlds("gymnasium:Rows-v0", env, episode_ticks=1)
    seen = begun(worlds, 5)
    ends = []
    for _ in range(15):
        present = seen.slots.tolist()
        stepped = worlds.step(np.zeros(len(present), np.int64))
        ends.append((present, stepped.terminated.tolist(), stepped.truncated.tolist(), stepped.final_rows.tolist()))
        assert worlds.save_state()["history/actions"].shape[0] < 7
        seen = stepped.observed
    # world 0 ends at its second, world 1 at its third tick, and the next tick only resets: 2 + 1 + 2 + 1 + 1, 3 + 1 + 3
    for tick in (6, 13):
        assert ends[tick] == ([0, 1], [False, True], [True, False], [0, 1])
        assert ends[tick + 1][0] == [0, 1]
    assert [tick for tick, (_, _, cuts, _) in enumerate(ends) if any(cuts)] == [6, 13]
    assert len(seeds) == 3 and len(set(seeds)) == 3
    assert len(set(seen.episodes.tolist())) == 2
    # with the length that its episodes have, it begins anew after four of them, 12 ticks
    honest = NativeWorlds("gymnasium:Rows-v0", Seeded(masked=masked), episode_ticks=3)
    check_simulation(honest, seed=3, ticks=40, own_seeds=False)


def test_native_worlds_last_four_episodes_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gymnasium_worlds, "RESTART_TICKS", 7)
    worlds = NativeWorlds("gymnasium:Rows-v0", Rows(), episode_ticks=4)
    seen, cut = begun(worlds, 0), []
    for tick in range(41):
        stepped = worlds.step(np.zeros(len(seen.slots), np.int64))
        if stepped.truncated.any():
            cut.append(tick)
        seen = stepped.observed
    assert cut == [15, 31]


def put(index: int, value: object) -> Callable[[list[Any]], None]:
    def bend(answers: list[Any]) -> None:
        answers[index] = value

    return bend


def end_resting(answers: list[Any]) -> None:
    """End world 0 at every tick."""
    answers[2][0] = True


NATIVE_BREACHES = {
    r"tick 0: expected rewards of shape \(2,\), got \(1,\)": put(1, np.zeros(1)),
    r"world 1, agent 'agent', tick 0: expected a finite reward, got": put(1, np.array([0.0, np.nan])),
    r"tick 0: expected bools of shape \(2,\) as `terminated`": put(2, np.zeros(2)),
    r"tick 0: expected bools of shape \(2,\) as `truncated`": put(3, [False]),
    r"world 0, .*tick 0: expected `observation` of shape \(2, 1\), got \(2,\)": put(0, np.zeros(2, np.float32)),
    r"world 1, .*finite numbers": put(0, np.array([[0.0], [np.inf]], np.float32)),
    r"world 0, .*tick 1: expected a step that only resets, got one that ends an episode": end_resting,
    r"expected no `action_mask`, as at the beginning, got one": put(4, {"action_mask": np.ones((2, 2))}),
}


@pytest.mark.parametrize("problem", NATIVE_BREACHES)
def test_a_native_form_that_breaks_the_interface_is_named(problem: str) -> None:
    worlds = Collector(OneGroup(native(Rows(bend=NATIVE_BREACHES[problem]))), config=BridgeConfig(), seed=0, max_rows=9)
    with pytest.raises(EnvironmentFaultError, match=f"^gymnasium:Rows-v0, .*{problem}"):
        worlds.collect(None, num_ticks=2, ratio=0.0)


def test_a_native_form_that_raises_is_named() -> None:
    worlds = native(Rows(bend=explode))
    begun(worlds, 0)
    with pytest.raises(EnvironmentFaultError, match="Rows-v0, tick 0: `step` failed with RuntimeError: no more"):
        worlds.step(acts(0, 0))


def test_a_native_form_that_cannot_be_reset_is_named() -> None:
    class Stuck(Rows):
        def reset(self, **settings: Any) -> Any:
            raise RuntimeError("stuck")

    worlds = native(Stuck())
    whole = OneGroup(worlds)
    assert whole.guardrails() == {AGENTS: ()} and whole.behaviors == ()
    with pytest.raises(SimulationError, match="`gymnasium:Rows-v0` has no behaviors, got 'scripted'"):
        whole.scripted("scripted")
    with pytest.raises(EnvironmentFaultError, match="Rows-v0, tick 0: `reset` failed with RuntimeError: stuck"):
        begun(worlds, 0)


def test_native_masks_of_another_size_are_named() -> None:
    worlds = native(Rows(masked=True, bend=put(4, {"action_mask": np.ones((3, 2))})))
    begun(worlds, 0)
    with pytest.raises(EnvironmentFaultError, match="an action mask for each of 2 worlds"):
        worlds.step(acts(0, 0))


def test_native_and_single_cart_poles_obey_the_same_physics() -> None:
    one, other = cart_poles(1), cart_poles(1, "native")
    # both draw the first state in the same way from the same seed
    pair = [begun(one, joint_seed(acts(11), 0))[AGENTS], begun(other, 11)[AGENTS]]
    for tick in range(8):
        np.testing.assert_allclose(*(seen.observations["observation"] for seen in pair), rtol=1e-6)
        pair = [each.step({AGENTS: acts(tick % 2)})[AGENTS].observed for each in (one, other)]


def test_the_native_form_is_taken_where_there_is_one() -> None:
    first = {name: begun(cart_poles(2, name), 8)[AGENTS].observations["observation"] for name in ("auto", "native")}
    np.testing.assert_array_equal(first["auto"], first["native"])
    lake = Environment(name="gymnasium:FrozenLake-v1", vectorization="auto")(1)
    assert begun(lake, 0)[AGENTS].observations["observation"].shape == (1, 16)
    with pytest.raises(ConfigError, match="`environment.vectorization`: `gymnasium:FrozenLake-v1` has no vector form"):
        Environment(name="gymnasium:FrozenLake-v1", vectorization="native")(1)


def test_a_vector_form_that_resets_otherwise_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    class SameStep(Rows):
        metadata = {"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP}  # noqa: RUF012

    gymnasium.register("SameStep-v0", entry_point=Stairs, vector_entry_point=SameStep)
    try:
        worlds = Environment(name="gymnasium:SameStep-v0")(2)
        assert worlds.specs[AGENTS].observation_shapes == {"observation": (2,)}
        with pytest.raises(ConfigError, match="must reset worlds at the next step"):
            Environment(name="gymnasium:SameStep-v0", vectorization="native")(2)
    finally:
        del gymnasium.registry["SameStep-v0"]


@pytest.mark.parametrize("vectorization", ["sync", "native"])
def test_the_tighter_bound_on_an_episode_holds(vectorization: str) -> None:
    lengths = {}
    for bound in (None, 7, 10_000):
        worlds = cart_poles(2, vectorization, max_episode_ticks=bound)
        lengths[bound] = worlds.specs[AGENTS].episode_ticks
    assert lengths == {None: 500, 7: 7, 10_000: 500}
    worlds = cart_poles(1, vectorization, max_episode_ticks=3)
    begun(worlds, 0)
    cuts = [worlds.step({AGENTS: acts(0)})[AGENTS].truncated.tolist() for _ in range(3)]
    assert cuts == [[False], [False], [True]]


def test_an_environment_without_a_bound_gets_one() -> None:
    gymnasium.register("Stairs-v0", entry_point=Stairs)
    try:
        assert Environment(name="gymnasium:Stairs-v0")(1).specs[AGENTS].episode_ticks == 1000
        tall = Environment(name="gymnasium:Stairs-v0", settings={"height": 9, "max_episode_steps": 50})(2)
        assert tall.specs[AGENTS].episode_ticks == 50
        with pytest.raises(
            ConfigError, match="`environment.settings`: `gymnasium:Stairs-v0` cannot be built: TypeError"
        ):
            Environment(name="gymnasium:Stairs-v0", settings={"width": 9})(1)
    finally:
        del gymnasium.registry["Stairs-v0"]


def test_worlds_with_unequal_spaces_are_refused() -> None:
    sizes = iter(range(1, 9))

    def make(**settings: Any) -> Stairs:
        return Stairs(observation_space=spaces.Box(0.0, 1.0, (next(sizes),)))

    gymnasium.register("Growing-v0", entry_point=make)
    try:
        with pytest.raises(ConfigError, match="the worlds of `gymnasium:Growing-v0` must have equal spaces"):
            Environment(name="gymnasium:Growing-v0")(2)
    finally:
        del gymnasium.registry["Growing-v0"]


def test_unknown_environments_are_named_with_what_is_near() -> None:
    with pytest.raises(ConfigError, match="no environment 'CartPoel-v1'; near it: gymnasium:CartPole-v1"):
        Environment(name="gymnasium:CartPoel-v1")(1)
    # a module part would import whatever a file names
    for name in ("small_envs:Stairs-v0", "os:Stairs-v0", "CartPole"):
        with pytest.raises(ConfigError, match="`environment.name`: Gymnasium knows no environment"):
            Environment(name=f"gymnasium:{name}")(1)


def test_actions_without_bounds_are_refused_by_name() -> None:
    class Boundless(Cart):
        def __init__(self) -> None:
            super().__init__()
            self.action_space = spaces.Box(-np.inf, np.inf, (2,))

    gymnasium.register("Boundless-v0", entry_point=Boundless)
    try:
        expected = "`gymnasium:Boundless-v0` cannot be learned: expected actions between finite bounds, got Box"
        with pytest.raises(ConfigError, match=expected):
            Environment(name="gymnasium:Boundless-v0")(1)
    finally:
        del gymnasium.registry["Boundless-v0"]


def test_numbers_by_hand() -> None:
    worlds = SyncWorlds("gymnasium:Cart-v0", [Cart(), Cart()], episode_ticks=3)
    assert worlds.spec.actions == Box(names=("0",), low=(-2.0,), high=(float(np.float32(0.1)),))
    assert len(worlds.spec.vocabulary) == 0
    seen = worlds.reset(seeds=np.array([1, 2]))
    assert seen.action_mask is None
    # 0.1 as float32 is above 0.1, which the cart would refuse
    one = worlds.step(np.array([[-1.5], [0.1]], np.float32))
    np.testing.assert_allclose(one.rewards, [-2.25, -0.01], rtol=1e-6)
    np.testing.assert_allclose(one.observed.observations["observation"][:, 0], [-1.5, 0.1], rtol=1e-6)
    for actions in (np.zeros(2, np.float32), np.zeros((2, 2), np.float32), np.zeros((1, 1), np.float32)):
        with pytest.raises(SimulationError, match=r"expected actions of shape \(2, 1\), got"):
            worlds.step(actions)
    masked = SyncWorlds("gymnasium:Cart-v0", [Cart(mask=True)], episode_ticks=3)
    with pytest.raises(EnvironmentFaultError, match="expected no action mask where actions are numbers"):
        masked.reset(seeds=np.array([1]))


def test_parts_and_things_by_hand() -> None:
    worlds = SyncWorlds("gymnasium:Lock-v0", [Lock()], episode_ticks=9, settings=LOCK)
    spec = worlds.spec
    assert isinstance(spec.actions, MultiDiscrete) and spec.actions.sizes == (50, 2, 40)
    assert spec.observation_shapes == {"board": (2, 2, 3), "picture": (1, 4, 5), "tried": (3, 3), "tried_mask": (3,)}
    assert spec.observation_kinds == {"board": "image", "picture": "image", "tried": "entities"}
    seen = worlds.reset(seeds=np.array([4]))
    assert seen.action_mask is not None and seen.action_mask.shape == (1, 92) and seen.action_mask.all()
    after = worlds.step(np.array([[7, 0, 39]]))
    assert after.rewards.tolist() == [1.0] and after.observed.action_mask is not None
    assert np.flatnonzero(~after.observed.action_mask[0]).tolist() == [7]
    # the second ring's letters begin at 1
    assert after.observed.observations["tried"][0].tolist() == [[7, 1, 39], [0, 0, 0], [0, 0, 0]]
    assert after.observed.observations["tried_mask"].tolist() == [[1, 0, 0]]
    few = SyncWorlds("gymnasium:Lock-v0", [Lock(most=4)], episode_ticks=9, settings=LOCK)
    few.reset(seeds=np.array([4]))
    for tick in range(3):
        few.step(np.array([[tick, 0, 0]]))
    with pytest.raises(
        EnvironmentFaultError, match="Lock-v0, world 0, agent 'agent', tick 3: expected at most 3 things"
    ):
        few.step(np.array([[3, 0, 0]]))


@pytest.mark.parametrize("make", [Cart, Lock])
@pytest.mark.parametrize("ticks", [1, 7])
def test_worlds_of_array_actions_go_on_where_they_were_saved(make: Callable[[], Any], ticks: int) -> None:
    one, other = (
        SyncWorlds("gymnasium:x", [make(), make()], episode_ticks=5, settings=LOCK if make is Lock else None)
        for _ in "ab"
    )
    generator = np.random.default_rng(0)

    def step(worlds: SyncWorlds, actions: Any) -> Any:
        return worlds.step(actions).observed

    def draw(tick: int) -> Any:
        if make is Cart:
            return generator.uniform(-2.0, 0.1, (2, 1)).astype(np.float32)
        return np.column_stack([np.full(2, tick % 50), generator.integers(0, [2, 40], (2, 2))])

    one.reset(seeds=np.array([3, 4]))
    for tick in range(ticks):
        step(one, draw(tick))
    again = other.restore(one.save_state())
    for tick in range(ticks, ticks + 8):
        actions = draw(tick)
        seen, again = step(one, actions), step(other, actions)
        for name, array in seen.observations.items():
            np.testing.assert_array_equal(array, again.observations[name])


def test_native_worlds_of_numbers_rest_too() -> None:
    class Pushed(Rows):
        """Pays what it is pushed by, between 0.5 and 1."""

        def __init__(self) -> None:
            super().__init__()
            self.single_action_space = spaces.Box(0.5, 1.0, (1,))
            self.pushed: list[Any] = []

        def step(self, actions: Any) -> Any:
            self.pushed.append(actions.tolist())
            return super().step(actions[:, 0])

    one, other = native(Pushed()), native(Pushed())
    seen = begun(one, 0)
    pushes = [0.5, 0.75, 1.0, 0.875, 0.625]
    for tick, push in enumerate(pushes):
        stepped = one.step(np.full((len(seen.slots), 1), push, np.float32))
        # after 2 ticks the first world rests for one, after 3 the second does
        assert stepped.rewards.tolist() == [push] * (1 if tick in (2, 3) else 2)
        seen = stepped.observed
    again = other.restore(one.save_state())
    assert again.slots.tolist() == seen.slots.tolist()
    np.testing.assert_array_equal(again.observations["observation"], seen.observations["observation"])


def test_what_an_environment_needs_is_named() -> None:
    def make(**settings: Any) -> Stairs:
        raise gymnasium.error.DependencyNotInstalled("stairs are not installed, run `pip install stairs`")

    gymnasium.register("Bare-v0", entry_point=make)
    try:
        with pytest.raises(MissingExtraError, match="`gymnasium:Bare-v0` needs .*: stairs are not installed"):
            Environment(name="gymnasium:Bare-v0")(1)
    finally:
        del gymnasium.registry["Bare-v0"]


def test_a_module_that_was_named_registers_its_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ladders.py").write_text(
        "import gymnasium\nimport small_envs\ngymnasium.register('Ladder-v0', entry_point=small_envs.Stairs)\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="Gymnasium knows no environment 'Ladder-v0'"):
        Environment(name="gymnasium:Ladder-v0")(1)
    try:
        spec = Environment(name="gymnasium:ladders:Ladder-v0")(1).specs[AGENTS]
        assert spec.name == "gymnasium:ladders:Ladder-v0" and spec.observation_shapes == {"observation": (2,)}
    finally:
        del gymnasium.registry["Ladder-v0"]
    with pytest.raises(ConfigError, match="`gymnasium:no_such_module:X-v0` cannot be imported: ModuleNotFoundError"):
        Environment(name="gymnasium:no_such_module:X-v0")(1)


class Painted(Stairs):
    """Draws its step, as it is told to."""

    def __init__(self, *, render_mode: str | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.render_mode = render_mode

    def render(self) -> Any:
        if self.render_mode == "dry":
            raise RuntimeError("no paint")
        image = np.full((2, 3, 3), self._step, np.uint8)
        pictures = {"ansi": f"step {self._step}", "rgb_array": image, "rgb_array_list": [image - 1, image]}
        return {**pictures, "sideways": image[0], "torn": object()}.get(self.render_mode or "")


def painted(mode: str | None) -> SyncWorlds:
    worlds = SyncWorlds("gymnasium:Painted-v0", [Painted(render_mode=mode)] * 1, episode_ticks=9)
    begun(worlds, 0)
    worlds.step(acts(LEAP))
    return worlds


@pytest.mark.parametrize("mode", ["rgb_array", "rgb_array_list"])
def test_the_first_world_is_drawn_as_its_environment_does(mode: str) -> None:
    picture = painted(mode).render()
    assert isinstance(picture, np.ndarray) and picture.shape == (2, 3, 3) and picture.min() == picture.max() == 2
    assert painted("ansi").render() == "step 2"


def test_what_draws_something_else_is_refused_by_name() -> None:
    assert painted(None).render() is None and stairs(1).render() is None
    with pytest.raises(
        EnvironmentFaultError, match=r"expected a picture uint8 \[H, W, 3\] or a text, got uint8 \(3, 3\)"
    ):
        painted("sideways").render()
    with pytest.raises(EnvironmentFaultError, match="got object"):
        painted("torn").render()
    with pytest.raises(EnvironmentFaultError, match="`render` failed with RuntimeError: no paint"):
        painted("dry").render()


def test_native_worlds_draw_the_first_of_them() -> None:
    class Drawn(Rows):
        def render(self) -> Any:
            return (np.zeros((2, 2, 3), np.uint8), np.ones((2, 2, 3), np.uint8))

    picture = native(Drawn()).render()
    assert isinstance(picture, np.ndarray) and picture.min() == 0


def test_scores_of_single_episodes() -> None:
    # one step to the top: every episode is worth 1 for whoever climbs, and 0 for whoever stays until it is cut
    def judged(action: int) -> tuple[float, ...]:
        script = ObservationController(lambda seen, agent_id: action)
        judge = Evaluator(
            lambda n: Equipment(controller=lambda spec: script).of(OneGroup(stairs(n, height=2, episode_ticks=5))),
            config=BridgeConfig(),
            seed=0,
            num_worlds=8,
        )
        return judge.baseline("scripted", seeds=np.arange(3)).returns

    assert judged(LEAP) == judged(CLIMB) == (1.0,) * 3 and judged(STAY) == (0.0,) * 3
    first = Evaluator(cart_poles, config=BridgeConfig(), seed=0, num_worlds=8).baseline(
        "random", seeds=3 + np.arange(4)
    )
    alone = Evaluator(cart_poles, config=BridgeConfig(), seed=0, num_worlds=8).baseline("random", seeds=np.array([3]))
    assert first.returns[0] == alone.returns[0] > 5


def test_the_lunar_lander_has_a_script_of_its_own() -> None:
    assert registered_controller("gymnasium:LunarLander-v3") is not None


class Door(Stairs):
    """Counts how many of it are open; the third one cannot be built, or is another."""

    made: ClassVar[list[str]] = []
    closed: ClassVar[list[str]] = []

    def __init__(self, *, third: str = "good") -> None:
        super().__init__(height=2)
        self.made.append(third)
        if len(self.made) == 3 and third == "stuck":
            raise RuntimeError("stuck")
        if len(self.made) == 3 and third == "another":
            self.action_space = spaces.Discrete(7)

    def close(self) -> None:
        self.closed.append("closed")
        if len(self.closed) == 1:
            raise RuntimeError("the first one is jammed")


@pytest.fixture
def doors() -> Iterator[type[Door]]:
    Door.made.clear()
    Door.closed.clear()
    gymnasium.register("Door-v0", entry_point=Door)
    yield Door
    del gymnasium.registry["Door-v0"]


def test_every_environment_is_closed_even_where_one_fails_to(
    doors: type[Door], caplog: pytest.LogCaptureFixture
) -> None:
    make = Environment(name="gymnasium:Door-v0", max_episode_ticks=3)
    Evaluator(make, config=BridgeConfig(), seed=0, num_worlds=8).baseline("random", seeds=np.arange(4))
    assert (len(doors.made), len(doors.closed)) == (4, 4)
    assert caplog.messages == ["gymnasium:Door-v0: `close` failed"]


@pytest.mark.parametrize(("third", "complaint"), [("stuck", "RuntimeError: stuck"), ("another", "equal spaces")])
def test_what_was_built_is_closed_where_the_rest_cannot_be(doors: type[Door], third: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Environment(name="gymnasium:Door-v0", settings={"third": third})(3)
    assert len(doors.closed) == (2 if third == "stuck" else 3)


def test_a_native_environment_is_closed() -> None:
    class Closing(Rows):
        ends = 0

        def close(self, **settings: Any) -> None:
            Closing.ends += 1

    env = Closing()  # kept: some versions close an environment once more when it is deleted
    native(env).close()
    assert Closing.ends == 1
