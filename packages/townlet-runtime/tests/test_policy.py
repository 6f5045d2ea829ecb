from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
from beginnings import begun
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from strategies import LOWEST, LinearPolicy, masked_log_probs

from townlet_behavior import ActionVocabulary, BridgeConfig, PolicyError
from townlet_runtime.core.runtime import BatchRuntime
from townlet_runtime.errors import SimulationError
from townlet_runtime.policy.file import PolicyCard
from townlet_runtime.policy.policy import (
    UniformPolicy,
    commitment_of,
    greedy_actions,
    require_fit,
    sample_actions,
    spec_sha256,
)
from townlet_runtime.simulation.interface import Observations
from townlet_runtime.testing import Corridor

SPEC = Corridor().spec


def log(*probabilities: float) -> NDArray[np.float32]:
    return np.array([[LOWEST if p == 0 else np.log(p) for p in probabilities]], np.float32)


def test_sampling_at_a_temperature_by_hand() -> None:
    # π = (1, 4, 4)/9 at τ = 2 is (1, 2, 2)/5: cumulative 0.2, 0.6, 1. At τ = 1: 0.11, 0.56, 1.
    log_probs = np.log(np.array([[1, 4, 4]] * 4, np.float32) / np.float32(9))
    drawn = sample_actions(log_probs, np.array([0.15, 0.15, 0.58, 0.58]), np.array([2, 1, 2, 1], np.float32))
    assert drawn.tolist() == [0, 1, 1, 2]
    nothing = np.full((1, 3), np.finfo(np.float32).min)
    assert sample_actions(nothing, np.array([0.5]), np.array([2.0], np.float32)).tolist() == [3]


@pytest.mark.parametrize(
    ("uniform", "action"),
    [(0.0, 1), (0.2499, 1), (0.2501, 3), (0.7499, 3), (0.7501, 4), (np.nextafter(1.0, 0.0), 4)],
)
def test_sampling_by_hand(uniform: float, action: int) -> None:
    # distribution function: 0, 0.25, 0.25, 0.75, 1, 1
    log_probs = log(0, 0.25, 0, 0.5, 0.25, 0)
    assert sample_actions(log_probs, np.array([uniform])).tolist() == [action]


@pytest.mark.property
@given(masked_log_probs(), st.data())
def test_a_masked_action_is_never_drawn(
    drawn: tuple[NDArray[np.float32], NDArray[np.bool_]], data: st.DataObject
) -> None:
    log_probs, mask = drawn
    rows = np.arange(len(mask))
    uniforms = data.draw(npst.arrays(np.float64, len(mask), elements=st.floats(0, 1, exclude_max=True)))
    actions = sample_actions(log_probs, uniforms)
    assert actions.dtype == np.int64
    assert mask[rows, actions].all()
    assert mask[rows, sample_actions(log_probs, np.full(len(mask), np.nextafter(1.0, 0.0)))].all()
    assert mask[rows, greedy_actions(log_probs)].all()


@pytest.mark.property
@given(masked_log_probs())
def test_shares_of_evenly_spread_draws_are_the_probabilities(
    drawn: tuple[NDArray[np.float32], NDArray[np.bool_]],
) -> None:
    log_probs, _ = drawn
    spread = (np.arange(1000) + 0.5) / 1000
    for row in log_probs:
        actions = sample_actions(np.tile(row, (1000, 1)), spread)
        shares = np.bincount(actions, minlength=len(row)) / 1000
        # a step of the distribution function lies within one draw of where it should
        np.testing.assert_allclose(shares, np.exp(row, dtype=np.float64), atol=2.1e-3)


def test_a_row_that_is_no_distribution_gives_no_action() -> None:
    log_probs = np.concatenate([log(0, 0, 0), log(0.5, 0, 0.5), np.full((1, 3), np.nan, np.float32)])
    assert sample_actions(log_probs, np.full(3, 0.9)).tolist() == [3, 2, 3]
    assert greedy_actions(log_probs).tolist() == [3, 0, 3]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_impossible_number_spoils_its_row_alone(value: float, place: int) -> None:
    log_probs = np.concatenate([log(0.2, 0.5, 0.3), log(0.2, 0.5, 0.3)])
    log_probs[0, place] = value
    assert greedy_actions(log_probs).tolist() == [3, 1]
    assert sample_actions(log_probs, np.full(2, 0.5)).tolist() == [3, 1]


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


def test_greedy_takes_the_first_of_the_most_probable() -> None:
    assert greedy_actions(np.concatenate([log(0.2, 0.4, 0.4), log(0.5, 0.4, 0.1)])).tolist() == [1, 0]


def test_the_uniform_policy_spreads_over_legal_actions() -> None:
    policy = UniformPolicy(vocabulary=("a", "b", "c"), observation_shapes={"features": (2,)})
    observations = {"features": np.zeros((2, 2), np.float32)}
    mask = np.array([[True, False, True], [False, False, True]])
    log_probs, values = policy.act(observations, mask)
    assert log_probs.dtype == np.float32
    np.testing.assert_allclose(np.exp(log_probs), np.array([[0.5, 0, 0.5], [0, 0, 1]]), rtol=1e-6)
    assert values.tolist() == [0.0, 0.0]
    np.testing.assert_allclose(np.exp(policy.act(observations, None)[0]), np.full((2, 3), 1 / 3), rtol=1e-6)


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
