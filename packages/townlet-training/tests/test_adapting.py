"""All groups of a policy are adapted, and reference rows are taken of either world."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from adapting import NEW, OLD, seen_by, torch_outputs, trained
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from townlet_training.errors import ConfigError, EmptyBatchError
from townlet_training.groups import join_groups
from townlet_training.network.config import NetworkConfig
from townlet_training.network.spec import PolicySpec
from townlet_training.network.weights import weights_of
from townlet_training.run.adapting import (
    MAX_REFERENCE_ROWS,
    AdaptedGroup,
    ReferenceRows,
    adapted_groups,
    adapted_policy,
    reference_rows,
    set_priors,
)
from townlet_training.run.initial import InitialPolicy
from townlet_trajectory import ArraySpec, TrajectoryBatch, TrajectorySchema, default_decision_columns

CONFIG = NetworkConfig(hidden_sizes=(8,))


def policy_of(**specs: PolicySpec) -> InitialPolicy:
    networks = {group: trained(spec, CONFIG, seed=number) for number, (group, spec) in enumerate(specs.items())}
    weights = join_groups({group: weights_of(network) for group, network in networks.items()})
    return InitialPolicy(specs=specs, network=CONFIG, weights=weights)


def one_group() -> AdaptedGroup:
    return adapted_groups(policy_of(agents=OLD), {"agents": NEW}, {})["agents"]


def batch_of(spec: PolicySpec, rows: int, *, mask: NDArray[np.bool_] | None = None) -> TrajectoryBatch:
    observations: dict[str, NDArray[np.generic]] = dict(seen_by(spec, rows, np.random.default_rng(0)))
    if mask is not None:
        observations["action_mask"] = mask
    columns = default_decision_columns()
    return TrajectoryBatch(
        schema=TrajectorySchema(
            observations={name: ArraySpec(array.dtype.name, array.shape[1:]) for name, array in observations.items()},
            decisions=columns,
            vocabulary=spec.vocabulary,
        ),
        offsets=np.array([0, rows]),
        observations=observations,
        final_observations={name: array[:1] for name, array in observations.items()},
        columns={name: np.zeros(rows, each.numpy_dtype) for name, each in columns.items()},
        rewards=np.zeros(rows, np.float32),
        ticks=np.arange(rows),
        terminated=np.array([False]),
        truncated=np.array([True]),
        agent_ids=np.array(["a"], object),
        worlds=np.array([0]),
        episodes=np.array([0]),
    )


def test_every_group_is_adapted_by_its_own_spec() -> None:
    source = policy_of(cats=OLD, dogs=NEW)
    groups = adapted_groups(source, {"cats": NEW, "dogs": NEW}, {})
    assert groups["cats"].added_actions == ("swim",) and groups["dogs"].added_actions == ()
    assert groups["cats"].added_observations == ("depth", "features[warmth]")
    made = adapted_policy(source, groups)
    assert made.specs["dogs"] == NEW and made.network == CONFIG
    kept = {name: tensor for name, tensor in made.weights.items() if name.startswith("dogs/")}
    assert all((source.weights[name] == tensor).all() for name, tensor in kept.items())
    assert "cats/policy.added_inputs.1.weight" in made.weights
    seen = seen_by(NEW, 5, np.random.default_rng(1))
    assert_array_equal(torch_outputs(made.networks()["cats"], seen)[0], torch_outputs(groups["cats"].network, seen)[0])


def test_a_world_of_other_groups_or_nothing_new_is_refused() -> None:
    source = policy_of(agents=OLD)
    with pytest.raises(ConfigError, match="the policy has the agent groups agents, the world cats"):
        adapted_groups(source, {"cats": NEW}, {})
    with pytest.raises(ConfigError, match="nothing is to be adapted"):
        adapted_groups(source, {"agents": replace(OLD, world="elsewhere")}, {})


def test_rows_of_the_old_world_are_put_in_place_by_name() -> None:
    adapted, mask = one_group(), np.array([[True, False, True], [True, True, False]])
    batch = batch_of(OLD, 2, mask=mask)
    rows = reference_rows([batch], adapted, {})
    features = batch.observations["features"]  # hunger, wealth, held; now wealth, warmth, hunger, held
    assert_array_equal(rows.observations["features"][:, [2, 0, 3]], features)
    assert not rows.observations["features"][:, 1].any() and not rows.observations["depth"].any()
    assert_array_equal(rows.observations["map"], batch.observations["map"])
    # wait swim eat walk, of wait walk eat; the swim is legal where nothing says otherwise.
    assert rows.legal.tolist() == [[True, True, True, False], [True, True, False, True]]


def test_rows_of_the_new_world_are_taken_as_they_are() -> None:
    mask = np.array([[True, False, True, True]])
    batch = batch_of(NEW, 1, mask=mask)
    rows = reference_rows([batch], one_group(), {})
    assert_array_equal(rows.legal, mask)
    for name, array in rows.observations.items():
        assert_array_equal(array, batch.observations[name])


def test_so_many_rows_are_taken_and_no_more() -> None:
    batch = batch_of(OLD, MAX_REFERENCE_ROWS // 2 + 1)
    rows = reference_rows([batch, batch, batch], one_group(), {})
    assert len(rows.legal) == MAX_REFERENCE_ROWS
    assert_array_equal(rows.observations["map"][len(batch.rewards)], batch.observations["map"][0])
    with pytest.raises(EmptyBatchError, match="there is no reference row"):
        reference_rows([], one_group(), {})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (replace(OLD, vocabulary=("wait", "walk")), "the reference rows lack `eat` of the policy"),
        (replace(OLD, observation_shapes={"features": (3,)}), "the reference rows lack `map` of the policy"),
        (
            replace(OLD, observation_shapes={"features": (3,), "map": (4,)}),
            r"the reference rows have `map` \(4,\), the policy \(2, 2, 2\)",
        ),
        (
            replace(OLD, observation_shapes={"features": (2,), "map": (2, 2, 2)}, feature_names=()),
            r"the reference rows have `features` \(2,\), the policy \(3,\), its new world \(4,\)",
        ),
    ],
)
def test_rows_that_lack_something_old_are_refused(spec: PolicySpec, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        reference_rows([batch_of(spec, 2)], one_group(), {})


def test_rows_may_have_the_old_names() -> None:
    names = {"walk": "stroll", "map": "zone"}
    shapes = {"features": (4,), "depth": (2,), "zone": (2, 2, 2)}
    target = replace(NEW, vocabulary=("wait", "swim", "eat", "stroll"), observation_shapes=shapes)
    adapted = adapted_groups(policy_of(agents=OLD), {"agents": target}, names)["agents"]
    rows = reference_rows([batch_of(OLD, 3)], adapted, names)
    assert_array_equal(rows.observations["zone"], batch_of(OLD, 3).observations["map"])
    assert adapted.added_actions == ("swim",)


def test_the_network_gives_the_priors() -> None:
    target = replace(NEW, vocabulary=(*NEW.vocabulary, "dive"))
    adapted = adapted_groups(policy_of(agents=OLD), {"agents": target}, {})["agents"]
    rng = np.random.default_rng(2)
    legal = rng.random((300, 5)) < 0.7
    legal[:, 4] = rng.random(300) < 0.5
    legal[0] = [False, True, False, False, True]  # nothing old is legal here: it does not count
    legal[1:, 0] = True
    rows = ReferenceRows(observations=seen_by(target, 300, rng), legal=legal)
    added = set_priors(adapted, rows, {"swim": 0.2, "dive": 0.03})
    log_probs, _ = adapted.network.act({name: array[1:] for name, array in rows.observations.items()}, legal[1:])
    for key, place in (("swim", 1), ("dive", 4)):
        where = legal[1:, place]
        assert added[key].rows == where.sum()
        assert_allclose(added[key].probability, added[key].prior, atol=1e-6)
        assert_allclose(np.exp(log_probs[where, place]).mean(), added[key].prior, atol=1e-5)
    illegal = replace(rows, legal=np.where(np.arange(5) == 4, False, legal))
    with pytest.raises(EmptyBatchError, match="the new action `dive` is legal in none of 299 reference rows"):
        set_priors(adapted, illegal, {"swim": 0.2, "dive": 0.03})


def test_without_new_actions_nothing_is_set() -> None:
    target = replace(OLD, observation_shapes={**OLD.observation_shapes, "age": (1,)})
    adapted = adapted_groups(policy_of(agents=OLD), {"agents": target}, {})["agents"]
    assert set_priors(adapted, reference_rows([batch_of(OLD, 2)], adapted, {}), {}) == {}
