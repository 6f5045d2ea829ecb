"""An adapted network computes the same bits of what it knew, and gives new actions their stated share."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from adapting import (
    NEW,
    OLD,
    OnnxOutputs,
    Seen,
    adapted,
    as_seen_before,
    bits,
    numpy_outputs,
    seen_by,
    torch_outputs,
    trained,
)
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from scipy.special import logit
from strategies import batch_of

from townlet_training.errors import ConfigError, EmptyBatchError, NonFiniteError, ShapeError
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.adapt import (
    adapted_network,
    adapted_spec,
    added_actions,
    log_totals,
    mean_probabilities,
    prior_biases,
    renamed,
)
from townlet_training.network.blocks import PolicyBlock
from townlet_training.network.config import Activation, NetworkConfig, Statistics
from townlet_training.network.spec import PolicySpec
from townlet_training.network.weights import weights_of, weights_sha256
from townlet_trajectory import Box

AGAIN = replace(
    NEW,
    vocabulary=("dive", *NEW.vocabulary),
    observation_shapes=NEW.observation_shapes | {"features": (5,), "age": (1,)},
    feature_names=("wealth", "warmth", "luck", "hunger", "held"),
)
"""`NEW` with one more of each."""


def old_actions(old: PolicySpec, new: PolicySpec) -> list[int]:
    return [new.vocabulary.index(key) for key in old.vocabulary]


def require_same_bits(
    before: tuple[NDArray[np.float32], NDArray[np.float32]],
    after: tuple[NDArray[np.float32], NDArray[np.float32]],
    old: PolicySpec,
    new: PolicySpec,
) -> None:
    """Logits of old actions and values are the same bits; so the best of the old actions is the same."""
    logits = after[0][:, old_actions(old, new)]
    assert_array_equal(bits(logits), bits(before[0]))
    assert_array_equal(bits(after[1]), bits(before[1]))
    assert_array_equal(logits.argmax(axis=1), before[0].argmax(axis=1))


def test_what_is_new_is_found_by_name() -> None:
    spec = adapted_spec(OLD, NEW)
    assert replace(spec, blocks=()) == NEW
    assert spec.blocks == (
        PolicyBlock(observations=("features", "map"), features=("hunger", "wealth", "held"), actions=OLD.vocabulary),
        PolicyBlock(observations=("depth", "features"), features=("warmth",), actions=("swim",)),
    )
    # depth 0 and 1, features 2 to 5, map 6 to 13
    assert spec.wiring.inputs == ((4, 2, 5, 6, 7, 8, 9, 10, 11, 12, 13), (0, 1, 3))
    assert spec.wiring.actions == ((0, 3, 2), (1,))
    assert added_actions(OLD, NEW) == ("swim",)
    again = adapted_spec(spec, AGAIN)
    assert again.blocks == (
        *spec.blocks,
        PolicyBlock(observations=("age", "features"), features=("luck",), actions=("dive",)),
    )


def test_nothing_new_makes_no_block() -> None:
    assert adapted_spec(OLD, replace(OLD, world="elsewhere")) == replace(OLD, world="elsewhere")
    turned = replace(OLD, vocabulary=("eat", "wait", "walk"))
    assert adapted_spec(OLD, turned).wiring.actions == ((1, 2, 0),)
    assert adapted_spec(adapted_spec(OLD, turned), OLD) == OLD


def test_features_without_names_are_the_same_columns_where_there_are_as_many() -> None:
    unnamed = replace(OLD, feature_names=())
    assert adapted_spec(unnamed, OLD) == OLD
    swimming = replace(OLD, vocabulary=(*OLD.vocabulary, "swim"))
    assert adapted_spec(unnamed, swimming).blocks[0].features == OLD.feature_names
    later = adapted_spec(OLD, replace(swimming, feature_names=()))
    assert later.feature_names == OLD.feature_names
    both = adapted_spec(unnamed, replace(unnamed, vocabulary=swimming.vocabulary))
    assert both.blocks[0].features == () and both.wiring.inputs == (tuple(range(11)), ())
    with pytest.raises(ConfigError, match="without the names of its columns nothing says which are new"):
        adapted_spec(unnamed, NEW)


@pytest.mark.parametrize(
    ("target", "messages"),
    [
        (replace(NEW, vocabulary=("wait", "swim", "walk")), ["the action `eat` is gone"]),
        (replace(NEW, observation_shapes={"features": (4,)}), ["the observation `map` is gone"]),
        (
            replace(NEW, observation_shapes={"features": (4,), "map": (2, 2)}),
            [r"the observation `map` is \(2, 2\), not \(2, 2, 2\) as it was"],
        ),
        (
            replace(NEW, feature_names=("a", "warmth", "b", "held")),
            ["the feature `hunger` is gone", "the feature `wealth` is gone"],
        ),
        (replace(NEW, commitment=("features", 3, 30)), ["1.0 stands for 30 ticks left of an option, not 15"]),
    ],
)
def test_what_is_gone_or_changed_is_refused_by_name(target: PolicySpec, messages: list[str]) -> None:
    for message in [*messages, "cannot be adapted to `town`", "can be added and renamed, not taken away or changed"]:
        with pytest.raises(ConfigError, match=message):
            adapted_spec(replace(OLD, commitment=("features", 2, 15)), target)


def test_renamed_things_are_found_by_their_new_names() -> None:
    target = replace(
        NEW, vocabulary=("rest", "swim", "eat", "walk"), feature_names=("gold", "warmth", "hunger", "held")
    )
    names = {"wait": "rest", "wealth": "gold", "map": "zone"}
    target = replace(target, observation_shapes={"features": (4,), "depth": (2,), "zone": (2, 2, 2)})
    network, rng = trained(OLD, NetworkConfig(hidden_sizes=(8,))), np.random.default_rng(0)
    new = adapted_spec(renamed(OLD, names), target)
    after = adapted_network(weights_of(network), old=OLD, new=new, config=network.config)
    plain, spec = adapted(network, OLD, NEW)
    seen = seen_by(spec, 20, rng)
    assert_array_equal(
        bits(torch_outputs(after, {**seen, "zone": seen["map"]})[0]), bits(torch_outputs(plain, seen)[0])
    )
    with pytest.raises(ConfigError, match="no action, observation or feature `sleep`, `zzz` to be renamed"):
        renamed(OLD, {"zzz": "a", "sleep": "b"})
    with pytest.raises(ConfigError, match="two observations or features cannot get the same name"):
        renamed(OLD, {"hunger": "wealth"})


@pytest.mark.parametrize("backend", ["torch", "numpy", "onnx"])
def test_old_logits_are_the_same_bits_over_1e5_inputs(backend: str, tmp_path: Path) -> None:
    # Two observations (a column of `features` and an array) and an action were added.
    network = trained(OLD, NetworkConfig(hidden_sizes=(128, 128)))
    new, spec = adapted(network, OLD, NEW)
    first, second = tmp_path / "old", tmp_path / "new"
    first.mkdir(), second.mkdir()
    outputs = {
        "torch": (lambda seen: torch_outputs(network, seen), lambda seen: torch_outputs(new, seen)),
        "numpy": (lambda seen: numpy_outputs(network, seen), lambda seen: numpy_outputs(new, seen)),
        "onnx": (OnnxOutputs(network, OLD, first), OnnxOutputs(new, spec, second)),
    }
    before, after = outputs[backend]
    rng, rows = np.random.default_rng(1), 4000
    for _ in range(25):
        seen = seen_by(spec, rows, rng, scale=3.0)
        require_same_bits(before(as_seen_before(seen, OLD, spec)), after(seen), OLD, spec)


@st.composite
def extensions(draw: st.DrawFn) -> tuple[PolicySpec, PolicySpec]:
    """A spec, and one with more observations, features and actions anywhere, in any order."""
    num_features, more = draw(st.integers(0, 6)), draw(st.integers(0, 3))
    arrays = draw(st.dictionaries(st.sampled_from("abcd"), st.sampled_from([(), (1,), (3,), (2, 2)]), max_size=3))
    extra = draw(st.dictionaries(st.sampled_from("abxyz"), st.sampled_from([(), (2,), (1, 3)]), max_size=2))
    names = [f"f{index}" for index in range(num_features + (0 if arrays or num_features else 1))]
    keys = [f"k{index}" for index in range(draw(st.integers(2, 9)))]
    features = {"features": (len(names),)} if names else {}
    old = PolicySpec(
        world="old",
        vocabulary=tuple(draw(st.permutations(keys))),
        observation_shapes={**arrays, **features},
        feature_names=tuple(draw(st.permutations(names))),
    )
    new_names = [*names, *(f"g{index}" for index in range(more))]
    new_features = {"features": (len(new_names),)} if new_names else {}
    new_keys = [*keys, *(f"n{index}" for index in range(draw(st.integers(0, 4))))]
    new = PolicySpec(
        world="new",
        vocabulary=tuple(draw(st.permutations(new_keys))),
        observation_shapes={**extra, **arrays, **new_features},
        feature_names=tuple(draw(st.permutations(new_names))),
    )
    return old, new


FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(
    extensions(),
    st.sampled_from(["tanh", "relu"]),
    st.sampled_from(["frozen", "none"]),
    st.lists(st.integers(1, 40), min_size=1, max_size=3),
    st.integers(1, 50),
    st.lists(FINITE, min_size=1, max_size=5),
    st.integers(0, 2**31),
)
def test_old_logits_are_the_same_bits_wherever_things_are_added(
    specs: tuple[PolicySpec, PolicySpec],
    activation: Activation,
    statistics: Statistics,
    hidden: list[int],
    rows: int,
    extremes: list[float],
    seed: int,
) -> None:
    old, target = specs
    config = NetworkConfig(hidden_sizes=tuple(hidden), activation=activation, normalize_observations=statistics)
    network = trained(old, config, seed=seed)
    new, spec = adapted(network, old, target)
    rng = np.random.default_rng(seed)
    seen = dict(seen_by(spec, rows, rng))
    for name, array in seen.items():
        if name not in old.observation_shapes:  # of what is new, any finite number
            seen[name] = rng.choice(np.float32([*extremes, -0.0, 3e38]), size=array.shape)
        elif name == "features":
            columns = [index for index, each in enumerate(spec.feature_names) if each not in old.feature_names]
            array[:, columns] = rng.choice(np.float32([*extremes, -0.0, -3e38]), size=(rows, len(columns)))
    before = as_seen_before(seen, old, spec)
    with np.errstate(over="ignore"):
        require_same_bits(torch_outputs(network, before), torch_outputs(new, seen), old, spec)
        require_same_bits(numpy_outputs(network, before), numpy_outputs(new, seen), old, spec)


@pytest.mark.parametrize("rows", [1, 2, 17, 64, 513])
def test_a_chain_of_adaptations_keeps_the_bits(rows: int, tmp_path: Path) -> None:
    network, rng = trained(OLD, NetworkConfig(hidden_sizes=(16, 8))), np.random.default_rng(rows)
    once, spec = adapted(network, OLD, NEW)
    with torch.no_grad():  # it learned with what was added
        for name, weight in once.named_parameters():
            if "added" in name:
                weight.normal_(generator=torch.Generator().manual_seed(3))
    twice, last = adapted(once, spec, AGAIN)
    folders = [tmp_path / name for name in ("once", "twice")]
    for folder in folders:
        folder.mkdir()
    seen = seen_by(last, rows, rng, scale=2.0)
    before = as_seen_before(seen, spec, last)
    require_same_bits(torch_outputs(once, before), torch_outputs(twice, seen), spec, last)
    require_same_bits(numpy_outputs(once, before), numpy_outputs(twice, seen), spec, last)
    exported = OnnxOutputs(once, spec, folders[0])(before), OnnxOutputs(twice, last, folders[1])(seen)
    require_same_bits(*exported, spec, last)
    # What was added first is used now, and what was added last is not.
    assert not np.array_equal(
        torch_outputs(once, before)[1], torch_outputs(network, as_seen_before(before, OLD, spec))[1]
    )


def test_a_bias_of_minus_zero_becomes_zero() -> None:
    network = trained(OLD, NetworkConfig(hidden_sizes=(4,)))
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name.endswith("bias"):
                weight.fill_(-0.0)
    new, _ = adapted(network, OLD, NEW)
    biases = [weight for name, weight in new.named_parameters() if name.endswith("bias")]
    assert not any(torch.signbit(bias).any() for bias in biases)


def test_a_new_input_that_is_not_a_number_is_refused_as_an_old_one_is() -> None:
    new, spec = adapted(trained(OLD, NetworkConfig(hidden_sizes=(4,))), OLD, NEW)
    seen = dict(seen_by(spec, 3, np.random.default_rng(0)))
    seen["depth"][1] = np.nan
    with pytest.raises(NonFiniteError):
        new.act(seen, None)


def test_statistics_follow_their_inputs_and_only_those_of_new_ones_are_fitted() -> None:
    network = trained(OLD, NetworkConfig(hidden_sizes=(4,)))
    new, spec = adapted(network, OLD, NEW)
    (old_places, new_places), before = spec.wiring.inputs, network.observation_mean.clone()
    assert torch.equal(new.observation_mean[list(old_places)], before)
    assert torch.equal(new.observation_std[list(old_places)], network.observation_std)
    assert torch.equal(new.observation_mean[list(new_places)], torch.zeros(3))
    assert torch.equal(new.observation_std[list(new_places)], torch.ones(3))
    assert new.value_scale == network.value_scale and new.keeps_statistics
    seen = {name: np.ones_like(array) for name, array in seen_by(spec, 4, np.random.default_rng(0)).items()}
    batch = batch_of(lengths=[4], rewards=np.zeros(4), terminated=[True], num_actions=4, observations=seen)
    new.fit_normalizer(batch)
    assert torch.equal(new.observation_mean[list(old_places)], before)
    assert torch.equal(new.observation_mean[list(new_places)], torch.ones(3))
    with torch.no_grad():  # one of them is read now, by the critic alone
        dict(new.named_parameters())["critic.added_inputs.1.weight"][2, 1] = 0.1
    batch = replace(batch, observations={name: 3.0 * array for name, array in seen.items()})
    new.fit_normalizer(batch)
    assert new.observation_mean[list(new_places)].tolist() == [3.0, 1.0, 3.0]
    assert torch.equal(new.observation_mean[list(old_places)], before)


def test_weights_of_another_network_are_refused() -> None:
    other = trained(OLD, NetworkConfig(hidden_sizes=(5,)))
    with pytest.raises(ShapeError, match=r"the weights are not those of the policy: `critic.0.bias` is \(5,\)"):
        adapted_network(weights_of(other), old=OLD, new=adapted_spec(OLD, NEW), config=NetworkConfig(hidden_sizes=(4,)))


def test_the_digest_knows_the_blocks() -> None:
    network = trained(OLD, NetworkConfig(hidden_sizes=(4,)))
    turned = replace(NEW, vocabulary=("wait", "eat", "swim", "walk"))
    digests = {weights_sha256(adapted(network, OLD, target)[0]) for target in (OLD, NEW, turned)}
    assert len(digests) == 3 and weights_sha256(network) in digests


def test_the_bias_of_a_prior_by_hand() -> None:
    # Rows with Z = 1 and Z = 4: e/(1 + e) + e/(4 + e) = 2 · 1/2 has the root e = 2, the square root of 1 · 4.
    totals, legal = np.log([1.0, 4.0]), np.ones((2, 1), np.bool_)
    assert_allclose(prior_biases(totals, legal, [0.5]), [math.log(2.0)], atol=1e-9)
    # Where it is illegal a row does not count: e/(4 + e) = 1/5 has the root 1.
    legal[0] = False
    assert_allclose(prior_biases(totals, legal, [0.2]), [0.0], atol=1e-9)


def test_the_biases_of_two_priors_by_hand() -> None:
    # One total Z = 6: e_1 = 6 · 0.1/0.6 = 1, e_2 = 6 · 0.3/0.6 = 3.
    found = prior_biases(np.log([6.0]), np.ones((1, 2), np.bool_), [0.1, 0.3])
    assert_allclose(np.exp(found), [1.0, 3.0], atol=1e-8)


def test_a_prior_is_found_by_brute_force_too() -> None:
    rng = np.random.default_rng(3)
    totals, legal = rng.normal(scale=4.0, size=50), rng.random((50, 1)) < 0.7
    (found,) = prior_biases(totals, legal, [0.07])
    grid = np.linspace(-30.0, 30.0, 600_001)
    rows = np.exp(totals[legal[:, 0]])
    shares = np.mean([np.exp(grid) / (row + np.exp(grid)) for row in rows], axis=0)
    assert abs(grid[np.abs(shares - 0.07).argmin()] - found) <= 1e-4


def test_actions_that_are_legal_together_and_far_above_the_old_ones_have_their_priors() -> None:
    # One action after another takes thousands of turns here.
    biases = prior_biases(np.array([-60.0, 60.0]), np.array([[True, True], [False, False]]), [0.058, 0.11])
    # One row decides: exp b_k = p_k Z / (1 - p_1 - p_2).
    assert_allclose(biases, np.log([0.058, 0.11]) - math.log(1.0 - 0.168) - 60.0, atol=1e-6)
    rng = np.random.default_rng(1)
    totals, legal = rng.uniform(-60.0, 60.0, 17), rng.random((17, 3)) < 0.6
    found = prior_biases(totals, legal, [0.3, 0.25, 0.3])
    assert_allclose(mean_probabilities(totals, legal, found), [0.3, 0.25, 0.3], atol=1e-9)


@given(
    st.lists(st.floats(-60.0, 60.0), min_size=1, max_size=30),
    st.lists(st.floats(1e-6, 0.3), min_size=1, max_size=3),
    st.integers(0, 2**31),
)
def test_each_new_action_has_its_prior(totals: list[float], priors: list[float], seed: int) -> None:
    legal = np.random.default_rng(seed).random((len(totals), len(priors))) < 0.6
    legal[seed % len(totals)] = True
    biases = prior_biases(np.array(totals), legal, priors)
    # One row at a time, without logarithms of sums.
    for action, prior in enumerate(priors):
        shares = []
        for total, row in zip(totals, legal, strict=True):
            if row[action]:
                top = max(total, *(bias for bias, is_legal in zip(biases, row, strict=True) if is_legal))
                weights = [math.exp(bias - top) for bias, is_legal in zip(biases, row, strict=True) if is_legal]
                shares.append(math.exp(biases[action] - top) / (math.exp(total - top) + sum(weights)))
        assert abs(math.fsum(shares) / len(shares) - prior) <= 1e-8


@given(st.lists(st.floats(-9.0, 9.0), min_size=2, max_size=9), st.floats(1e-4, 0.9), st.floats(1e-4, 0.9))
def test_a_higher_prior_has_a_higher_bias(totals: list[float], one: float, other: float) -> None:
    legal, low, high = np.ones((len(totals), 1), np.bool_), min(one, other), max(one, other)
    biases = [prior_biases(np.array(totals), legal, [prior])[0] for prior in (low, high)]
    assert biases[0] <= biases[1] + 1e-9
    # It lies between those of the extreme rows, and moves with all totals together.
    assert min(totals) + logit(low) - 1e-6 <= biases[0] <= max(totals) + logit(low) + 1e-6
    moved = prior_biases(np.array(totals) + 3.0, legal, [low])[0]
    assert_allclose(moved, biases[0] + 3.0, atol=1e-5)


@pytest.mark.parametrize("priors", [[0.0], [1.0], [-0.1], [0.5, 0.5], [math.nan]])
def test_priors_that_are_none_are_refused(priors: list[float]) -> None:
    with pytest.raises(ConfigError, match="priors must be above 0 and their sum below 1"):
        prior_biases(np.zeros(2), np.ones((2, len(priors)), np.bool_), priors)


def test_rows_that_do_not_fit_are_refused() -> None:
    legal = np.ones((3, 2), np.bool_)
    legal[:, 1] = False
    with pytest.raises(EmptyBatchError, match="new action 1 is legal in none of 3 rows"):
        prior_biases(np.zeros(3), legal, [0.1, 0.1])
    with pytest.raises(ShapeError, match=r"expected finite totals \[N\] and `legal` \[N, 1\]"):
        prior_biases(np.zeros(3), legal, [0.1])
    with pytest.raises(ShapeError, match="finite totals"):
        prior_biases(np.array([0.0, -np.inf]), np.ones((2, 1), np.bool_), [0.1])


def test_the_totals_are_those_of_the_legal_logits() -> None:
    network, rng = trained(OLD, NetworkConfig(hidden_sizes=(4,))), np.random.default_rng(0)
    seen: Seen = seen_by(OLD, 5, rng)
    legal = rng.random((5, 3)) < 0.5
    legal[0], legal[1] = True, [False, True, False]
    totals, logits = log_totals(network, seen, legal), torch_outputs(network, seen)[0]
    assert_allclose(totals[0], np.log(np.exp(logits[0].astype(np.float64)).sum()), rtol=1e-6)
    assert_allclose(totals[1], logits[1, 1], rtol=1e-6)
    assert_allclose(mean_probabilities(totals[:1], legal[:1, :1], totals[:1]), [0.5])


def test_policies_of_other_actions_or_critics_are_refused() -> None:
    box = Box(names=("steer",), low=(-1.0,), high=(1.0,))
    numbers = replace(OLD, vocabulary=(), actions=box, distribution="clipped")
    central = replace(OLD, critic_shapes={"all": (3,)})
    for spec, kind in ((numbers, "several parts or numbers"), (central, "a critic with observations of its own")):
        for refused in (
            lambda spec=spec: adapted_spec(spec, NEW),
            lambda spec=spec: adapted_spec(OLD, spec),
            lambda spec=spec: renamed(spec, {}),
        ):
            with pytest.raises(ConfigError, match=f"a policy with {kind} cannot be adapted"):
                refused()


@pytest.mark.parametrize(
    "config",
    [
        NetworkConfig(memory="gru", memory_size=4),
        NetworkConfig(memory="frames"),
        NetworkConfig(trunk="shared"),
    ],
)
def test_networks_with_more_than_two_trunks_are_refused(config: NetworkConfig) -> None:
    old = ActorCritic.of(OLD, config, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ConfigError, match="without memory, encoders, shared layers"):
        adapted_network(weights_of(old), old=OLD, new=adapted_spec(OLD, NEW), config=config)


def test_running_statistics_go_to_their_places() -> None:
    config = NetworkConfig(hidden_sizes=(4,), normalize_observations="running", critic_hidden_sizes=(3,))
    old = ActorCritic.of(OLD, config, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for buffer in (old.running_mean, old.running_variance, old.observation_mean, old.observation_std):
            buffer.copy_(1.0 + torch.arange(len(buffer)))
        old.running_count.fill_(7)
    spec = adapted_spec(OLD, NEW)
    new = adapted_network(weights_of(old), old=OLD, new=spec, config=config)
    known = list(spec.wiring.inputs[0])
    added = sorted(set(range(len(new.running_mean))) - set(known))
    assert int(new.running_count) == 7 and added
    for name, fresh in (("running_mean", 0.0), ("running_variance", 1.0), ("observation_std", 1.0)):
        buffer = new.state_dict()[name]
        assert buffer[known].tolist() == [1.0 + index for index in OLD.wiring.inputs[0]]
        assert (buffer[added] == fresh).all()
