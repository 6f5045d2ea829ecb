from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
from beginnings import begun
from numpy.typing import NDArray
from strategies import LinearPolicy

import townlet_trajectory
from townlet_behavior import ActionVocabulary, Box, BridgeConfig, MultiDiscrete, PolicyError
from townlet_runtime.core.runtime import BatchRuntime
from townlet_runtime.errors import SimulationError
from townlet_runtime.policy.file import PolicyCard
from townlet_runtime.policy.policy import (
    AnyArrayActions,
    UniformPolicy,
    commitment_of,
    distribution_of,
    is_recurrent,
    require_fit,
    spec_sha256,
)
from townlet_runtime.simulation.interface import Observations
from townlet_runtime.testing import Corridor

SPEC = Corridor().spec
PARTS = MultiDiscrete(parts={"move": ("stay", "go"), "hand": ("open", "half", "closed")})
STEER = Box(names=("steer", "throttle"), low=(-1.0, 0.0), high=(1.0, 6.0))


class Distributed(LinearPolicy):
    """States a distribution, and array actions perhaps."""

    def __init__(self, distribution: str | SimpleNamespace, actions: AnyArrayActions | None = None) -> None:
        super().__init__(SPEC, seed=1)
        self.distribution, self.actions = distribution, actions
        self.vocabulary = SPEC.vocabulary.keys if actions is None else ()


class Remembering:
    """An actor that has a memory of `state_size` numbers, perhaps none."""

    def __init__(self, state_size: int) -> None:
        self.state_size = state_size

    def act(
        self, observations: Observations, action_mask: NDArray[np.bool_] | None, state: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        rows = len(state)
        return np.zeros((rows, 1), np.float32), np.zeros(rows, np.float32), state + np.float32(1)


@dataclass(frozen=True)
class FailingPolicy:
    """Answers as another policy, but for one row, which is not a number."""

    inner: LinearPolicy
    digest: str | None = None

    @property
    def vocabulary(self) -> tuple[str, ...]:
        return self.inner.vocabulary

    @property
    def observation_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return self.inner.observation_shapes

    def act(
        self, observations: Observations, action_mask: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        log_probs, values = self.inner.act(observations, action_mask)
        log_probs[0] = np.nan
        return log_probs, values


@pytest.mark.parametrize("greedy", [False, True])
def test_a_policy_that_fails_is_refused_at_once_in_both_ways_of_acting(greedy: bool) -> None:
    corridor = Corridor()
    runtime = BatchRuntime(
        SPEC,
        corridor.scripted("idle"),
        config=BridgeConfig(ratio=1.0),
        policy=FailingPolicy(LinearPolicy(SPEC, seed=1)),
        service=None,
        seed=1,
        greedy=greedy,
    )
    runtime.begin(begun(corridor, 1), tick=5)
    with pytest.raises(PolicyError, match="tick 5"):
        runtime.decide_batch()


def test_the_uniform_policy_spreads_over_legal_actions() -> None:
    policy = UniformPolicy(vocabulary=("a", "b", "c"), observation_shapes={"features": (2,)})
    observations = {"features": np.zeros((2, 2), np.float32)}
    mask = np.array([[True, False, True], [False, False, True]])
    log_probs, values = policy.act(observations, mask)
    assert log_probs.dtype == np.float32
    np.testing.assert_allclose(np.exp(log_probs), np.array([[0.5, 0, 0.5], [0, 0, 1]]), rtol=1e-6)
    assert values.tolist() == [0.0, 0.0]
    np.testing.assert_allclose(np.exp(policy.act(observations, None)[0]), np.full((2, 3), 1 / 3), rtol=1e-6)


def test_the_uniform_policy_spreads_over_the_legal_values_of_each_part() -> None:
    policy = UniformPolicy(vocabulary=(), observation_shapes={"features": (2,)}, actions=PARTS)
    observations = {"features": np.zeros((2, 2), np.float32)}
    mask = np.array([[True, False, True, True, True], [False, True, False, True, False]])
    log_probs, _ = policy.act(observations, mask)
    assert log_probs.dtype == np.float32
    expected = np.array([[1, 0, 1 / 3, 1 / 3, 1 / 3], [0, 1, 0, 1, 0]])
    np.testing.assert_allclose(np.exp(log_probs), expected, rtol=1e-6)
    np.testing.assert_allclose(np.exp(policy.act(observations, None)[0]), [[1 / 2] * 2 + [1 / 3] * 3] * 2, rtol=1e-6)


def test_the_uniform_policy_of_numbers_states_their_moments() -> None:
    policy = UniformPolicy(vocabulary=(), observation_shapes={"features": (2,)}, actions=STEER)
    params, _ = policy.act({"features": np.zeros((3, 2), np.float32)}, None)
    # of U(-1, 1) and U(0, 6): means 0 and 3, deviations 2/√12 and 6/√12
    np.testing.assert_allclose(params, [[0.0, 3.0, np.log(2 / 12**0.5), np.log(6 / 12**0.5)]] * 3, rtol=1e-6)
    assert (policy.distribution, distribution_of(policy)) == ("uniform", "uniform")


def test_a_policy_of_other_array_actions_is_refused_by_name() -> None:
    steered = replace(SPEC, vocabulary=ActionVocabulary.none(), option_ticks={}, commitment_columns=None, actions=STEER)
    uniform = UniformPolicy.of(steered)
    require_fit(uniform, steered)
    require_fit(
        replace(uniform, actions=townlet_trajectory.Box(names=STEER.names, low=STEER.low, high=STEER.high)), steered
    )
    wider = replace(uniform, actions=replace(STEER, high=(2.0, 6.0)))
    here = r"here are numbers `steer` in \[-1, 1\], `throttle` in \[0, 6\]"
    with pytest.raises(SimulationError, match=r"made for numbers `steer` in \[-1, 2\], .*, " + here):
        require_fit(wider, steered)
    with pytest.raises(SimulationError, match="made for parts `move` of 2, `hand` of 3, " + here):
        require_fit(replace(uniform, actions=PARTS), steered)
    with pytest.raises(SimulationError, match="made for 4 actions of a vocabulary, " + here):
        require_fit(LinearPolicy(SPEC, seed=1), steered)
    with pytest.raises(SimulationError, match="made for numbers .*, here are 4 actions of a vocabulary"):
        require_fit(uniform, SPEC)


def test_numbers_are_clipped_where_a_policy_says_nothing() -> None:
    assert distribution_of(LinearPolicy(SPEC, seed=1)) == "clipped"
    assert distribution_of(Distributed("squashed")) == "squashed"
    assert distribution_of(Distributed("")) == "clipped"
    assert distribution_of(Distributed(SimpleNamespace(name="squashed"))) == "squashed"
    with pytest.raises(SimulationError, match="a distribution of the policy among .*, got 'beta'"):
        distribution_of(Distributed("beta"))


def test_a_network_without_memory_is_not_recurrent() -> None:
    assert not is_recurrent(LinearPolicy(SPEC, seed=1))
    assert not is_recurrent(None)
    assert [is_recurrent(Remembering(size)) for size in (0, 3)] == [False, True]


def test_a_policy_with_other_actions_is_refused_by_name() -> None:
    keys = ("wait", "left", "right", "jump")
    other = replace(SPEC, vocabulary=ActionVocabulary(keys=keys, kinds=SPEC.vocabulary.kinds))
    with pytest.raises(SimulationError, match=r"`corridor`: actions it lacks: \['rest'\]; .* here: \['jump'\]"):
        require_fit(LinearPolicy(other, seed=1), SPEC)


def test_a_policy_with_the_same_actions_in_another_order_is_refused() -> None:
    keys = ("wait", "right", "left", "rest")
    other = replace(SPEC, vocabulary=ActionVocabulary(keys=keys, kinds=SPEC.vocabulary.kinds))
    with pytest.raises(SimulationError, match="the same 4 actions in another order"):
        require_fit(LinearPolicy(other, seed=1), SPEC)


def test_a_policy_with_other_observations_is_refused_by_name() -> None:
    other = replace(SPEC, observation_shapes={"features": (8,), "sound": (3,)})
    with pytest.raises(SimulationError) as refused:
        require_fit(LinearPolicy(other, seed=1), SPEC)
    assert "`map` is (1, 1, 6) here and absent in the policy" in str(refused.value)
    assert "`sound` is absent here and (3,) in the policy" in str(refused.value)
    assert "features" not in str(refused.value)


def labelled(**changes: object) -> LinearPolicy:
    """A policy for the corridor, with a label that states all of it, but for `changes`."""
    policy = LinearPolicy(SPEC, seed=1)
    stated = PolicyCard(
        vocabulary=SPEC.vocabulary.keys,
        observation_shapes=SPEC.observation_shapes,
        weights_sha256="0" * 64,
        world=SPEC.name,
        feature_names=SPEC.feature_names,
        commitment=commitment_of(SPEC),
    )
    policy.card = replace(stated, **changes)
    return policy


def test_a_label_that_states_all_of_a_world_has_its_digest() -> None:
    assert labelled().card.spec_sha256 == spec_sha256(SPEC)
    other = replace(SPEC, feature_names=SPEC.feature_names[::-1])
    assert spec_sha256(other) != spec_sha256(SPEC)


@pytest.mark.parametrize("changes", [{}, {"feature_names": ()}, {"commitment": None}, {"world": "another"}])
def test_what_a_label_does_not_state_is_not_compared(changes: dict[str, object]) -> None:
    require_fit(labelled(**changes), SPEC)


def test_features_in_another_order_are_refused_by_column() -> None:
    first, second, *rest = SPEC.feature_names
    with pytest.raises(SimulationError) as refused:
        require_fit(labelled(feature_names=(second, first, *rest)), SPEC)
    assert f"column 0 of `features` is `{first}` here and `{second}` in the policy" in str(refused.value)
    assert f"column 1 of `features` is `{second}` here and `{first}` in the policy" in str(refused.value)
    assert "column 2" not in str(refused.value)


def test_an_option_shown_elsewhere_is_refused() -> None:
    shown = SPEC.commitment_columns
    assert shown is not None
    with pytest.raises(SimulationError, match=r"option in force .* in \('features', \d+, \d+\) here and .* policy"):
        require_fit(labelled(commitment=("features", shown.start, shown.max_ticks + 1)), SPEC)


def test_the_uniform_policy_of_a_world_fits_it() -> None:
    spec = Corridor(num_worlds=2).spec
    policy = UniformPolicy.of(spec)
    assert policy == UniformPolicy(vocabulary=spec.vocabulary.keys, observation_shapes=spec.observation_shapes)
    require_fit(policy, spec)
