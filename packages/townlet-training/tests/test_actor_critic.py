"""The network: what it computes, from what, and what it leaves alone."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from kinds import KINDS, network_of, observations_of, tensors
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from strategies import batch_of, make_network, spread_out
from torch.testing import assert_close

from townlet_training.errors import ActionMaskError, ConfigError, EmptyBatchError, NonFiniteError, ShapeError
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.config import NetworkConfig
from townlet_trajectory.evaluation.interfaces import Actor

RNG = np.random.default_rng(0)
SEEN = {
    "map": RNG.normal(size=(7, 2, 3)).astype(np.float32),
    "features": RNG.normal(size=(7, 5)).astype(np.float32),
}


def test_act_gives_a_distribution_over_the_legal_actions_and_a_value_per_row() -> None:
    actor: Actor = spread_out(make_network())
    mask = np.ones((7, 4), np.bool_)
    mask[:, 2] = False
    log_probs, values = actor.act(SEEN, mask)
    assert log_probs.shape == (7, 4) and values.shape == (7,)
    assert log_probs.dtype == values.dtype == np.float32
    assert_allclose(np.exp(log_probs).sum(axis=1), 1.0, rtol=1e-6)
    assert (np.exp(log_probs[:, 2]) == 0.0).all() and np.isfinite(log_probs).all()


def test_act_computes_what_forward_computes() -> None:
    network = spread_out(make_network())
    mask = RNG.random((7, 4)) < 0.5
    mask[:, 1] = True
    log_probs, values = network.act(SEEN, mask)
    tensors = {name: torch.from_numpy(array) for name, array in SEEN.items()}
    expected_log_probs, expected_values = network(tensors, torch.from_numpy(mask))
    assert log_probs.dtype == values.dtype == np.float32
    assert_allclose(log_probs, expected_log_probs.detach().numpy(), rtol=1e-6, atol=1e-6)
    assert_allclose(values, expected_values.detach().numpy(), rtol=1e-6, atol=1e-6)


def test_act_normalizes_and_clips_as_forward_does() -> None:
    # Shifted by 2 and divided by 4, the inputs are near ±1e6 / 4, and clipped to ±10.
    network = spread_out(make_network())
    with torch.no_grad():
        network.observation_mean.fill_(2.0)
        network.observation_std.fill_(4.0)
    for scale in (1.0, 1e6):
        seen = {name: np.float32(scale) * array for name, array in SEEN.items()}
        log_probs, values = network.act(seen, None)
        tensors = {name: torch.from_numpy(array) for name, array in seen.items()}
        expected_log_probs, expected_values = network(tensors, None)
        assert_allclose(log_probs, expected_log_probs.detach().numpy(), rtol=1e-5, atol=1e-5)
        assert_allclose(values, expected_values.detach().numpy(), rtol=1e-5, atol=1e-5)


def test_act_follows_the_weights_of_its_own_network() -> None:
    network = spread_out(make_network())
    before = network.act(SEEN, None)
    copied = copy.deepcopy(network)
    with torch.no_grad():
        for weight in copied.parameters():
            weight.mul_(2.0)
    assert_array_equal(network.act(SEEN, None)[0], before[0])
    tensors = {name: torch.from_numpy(array) for name, array in SEEN.items()}
    assert_allclose(copied.act(SEEN, None)[1], copied(tensors, None)[1].detach().numpy(), rtol=1e-5)
    assert not np.allclose(copied.act(SEEN, None)[1], before[1])


def test_inputs_are_read_by_name_and_others_are_ignored() -> None:
    network = spread_out(make_network())
    turned = {"unused": np.full((7, 9), np.nan, np.float32), "features": SEEN["features"], "map": SEEN["map"]}
    assert_array_equal(network.act(turned, None)[0], network.act(SEEN, None)[0])


def test_encode_flattens_in_the_order_of_names() -> None:
    network = make_network(shapes={"b": (2,), "a": (1, 2)})
    encoded = network.encode({"b": torch.tensor([[3.0, 4.0]]), "a": torch.tensor([[[1.0, 2.0]]])})
    assert encoded.tolist() == [[1.0, 2.0, 3.0, 4.0]]


def test_read_only_and_reversed_arrays_are_taken() -> None:
    network = make_network()
    view = SEEN["features"][::-1]
    view.flags.writeable = False
    log_probs, _ = network.act({"features": view, "map": SEEN["map"][::-1]}, None)
    # A product may round its last rows otherwise than those before.
    assert_allclose(log_probs, network.act(SEEN, None)[0][::-1], rtol=1e-6)


def test_a_fresh_policy_is_nearly_uniform() -> None:
    log_probs, _ = make_network().act(SEEN, None)
    assert_allclose(log_probs, math.log(0.25), atol=0.05)


def test_initial_weights_are_orthogonal_with_gains_by_hand() -> None:
    network = make_network(hidden_sizes=(8, 6))
    for trunk, head_gain in ((network.policy, 0.01), (network.critic, 1.0)):
        weights = [weight for name, weight in trunk.named_parameters() if name.endswith("weight")]
        for weight, gain in zip(weights, (math.sqrt(2.0), math.sqrt(2.0), head_gain), strict=True):
            rows = weight @ weight.T
            assert_close(rows, gain**2 * torch.eye(len(weight)), atol=1e-6, rtol=0.0)
        assert all((bias == 0.0).all() for name, bias in trunk.named_parameters() if name.endswith("bias"))


def test_the_generator_alone_decides_the_weights() -> None:
    state = torch.get_rng_state()
    first, second, other = make_network(seed=3), make_network(seed=3), make_network(seed=4)
    assert torch.equal(state, torch.get_rng_state())
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, second.state_dict()[name])
    assert any(not torch.equal(weight, other.state_dict()[name]) for name, weight in first.state_dict().items())


def test_the_trunks_share_nothing() -> None:
    network = make_network()
    policy, critic = list(network.policy.parameters()), list(network.critic.parameters())
    assert not {id(weight) for weight in policy} & {id(weight) for weight in critic}
    assert len(policy) + len(critic) == len(list(network.parameters()))
    log_probs, values = network({name: torch.from_numpy(array) for name, array in SEEN.items()}, None)
    values.sum().backward()
    assert all(weight.grad is None for weight in policy) and all(weight.grad is not None for weight in critic)
    log_probs[:, 0].sum().backward()
    assert all(weight.grad is not None for weight in policy)


def test_values_are_the_head_times_the_scale() -> None:
    network = make_network()
    before = network.act(SEEN, None)[1]
    network.set_value_scale(3.0)
    assert_allclose(network.act(SEEN, None)[1], 3.0 * before, rtol=1e-6)
    encoded = network.encode({name: torch.from_numpy(array) for name, array in SEEN.items()})
    assert_allclose(network.scaled_values(encoded).detach().numpy(), before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf, 1e39, 1e-46])
def test_a_scale_that_is_none_is_refused(scale: float) -> None:
    with pytest.raises(ConfigError, match="`scale` must be finite and above 0"):
        make_network().set_value_scale(scale)


def test_the_normalizer_by_hand() -> None:
    # Columns [1, 3]: mean 2, deviation 1. [5, 5]: constant, so deviation 1. [0, 100]: mean 50, deviation 50.
    network = make_network(shapes={"features": (3,)})
    seen = np.array([[1.0, 5.0, 0.0], [3.0, 5.0, 100.0]], np.float32)
    batch = batch_of(lengths=[2], rewards=[0, 0], terminated=[True], observations={"features": seen})
    network.fit_normalizer(batch)
    encoded = network.encode({"features": torch.tensor([[3.0, 6.0, 25.0], [4.0, 99.0, -1e9]])})
    assert_close(encoded, torch.tensor([[1.0, 1.0, -0.5], [2.0, 10.0, -10.0]]))


def test_statistics_survive_large_means_and_need_a_row() -> None:
    network = make_network(shapes={"features": (1,)})
    seen = {"features": np.array([[4096.0], [4097.0]], np.float32)}
    batch = batch_of(lengths=[2], rewards=[0, 0], terminated=[True], observations=seen)
    network.fit_normalizer(batch)
    assert network.observation_mean.tolist() == [4096.5] and network.observation_std.tolist() == [0.5]
    with pytest.raises(EmptyBatchError, match="at least one row"):
        network.fit_normalizer(batch.select(np.zeros(0, np.int64)))


def test_an_action_mask_without_a_legal_action_is_refused() -> None:
    mask = np.ones((7, 4), np.bool_)
    mask[5] = False
    with pytest.raises(ActionMaskError, match=r"no legal action in row 5 \(1 of 7\)"):
        make_network().act(SEEN, mask)


def test_observations_that_do_not_fit_are_refused() -> None:
    network = make_network()
    with pytest.raises(ShapeError, match=r"observation `map` is missing, got \['features'\]"):
        network.act({"features": SEEN["features"]}, None)
    with pytest.raises(ShapeError, match=r"observation `map` must be \[N, \(2, 3\)\], got \(7, 3, 2\)"):
        network.act({"features": SEEN["features"], "map": SEEN["map"].reshape(7, 3, 2)}, None)
    with pytest.raises(ShapeError, match=r"observation `map` must have 7 rows as others, got 6"):
        network.act({"features": SEEN["features"], "map": SEEN["map"][:6]}, None)
    with pytest.raises(ShapeError, match=r"observation `features` must be \[N, \(5,\)\], got \(\)"):
        network.act({"features": np.array(0.0, np.float32), "map": SEEN["map"]}, None)


def test_outputs_that_are_not_finite_are_refused() -> None:
    with pytest.raises(NonFiniteError, match="act: ") as caught:
        make_network().act({"features": np.full((7, 5), np.nan, np.float32), "map": SEEN["map"]}, None)
    assert caught.value.stage == "act"


def test_a_forbidden_action_hides_no_nan() -> None:
    network = make_network()
    with torch.no_grad():
        list(network.policy.parameters())[-1][2] = math.nan
    mask = np.ones((7, 4), np.bool_)
    mask[:, 2] = False
    for legal in (mask, None):
        with pytest.raises(NonFiniteError, match="act: the network's logits or values are not finite"):
            network.act(SEEN, legal)


@pytest.mark.parametrize(
    ("mask", "got"),
    [
        (np.ones((7, 1), np.bool_), r"bool \(7, 1\)"),
        (np.ones((1, 4), np.bool_), r"bool \(1, 4\)"),
        (np.ones(4, np.bool_), r"bool \(4,\)"),
        (np.ones((7, 4), np.int64), r"int64 \(7, 4\)"),
        (np.ones((7, 4), np.float32), r"float32 \(7, 4\)"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(mask: NDArray[np.bool_], got: str) -> None:
    with pytest.raises(ShapeError, match=rf"`action_mask` must be bool \(7, 4\), got {got}"):
        make_network().act(SEEN, mask)


def test_an_input_may_be_a_single_number() -> None:
    network = spread_out(make_network(shapes={"hunger": (), "map": (2, 3)}))
    seen = {"hunger": np.arange(7, dtype=np.float32), "map": SEEN["map"]}
    expected, values = network({name: torch.from_numpy(array) for name, array in seen.items()}, None)
    assert_allclose(network.act(seen, None)[0], expected.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert values.shape == (7,)


def test_settings_that_make_no_network_are_refused() -> None:
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(ConfigError, match="`hidden_sizes`"):
        NetworkConfig(hidden_sizes=())
    with pytest.raises(ConfigError, match="`hidden_sizes`"):
        NetworkConfig(hidden_sizes=(8, 0))
    with pytest.raises(ConfigError, match=r"`activation` must be 'tanh' or 'relu', got 'gelu'"):
        NetworkConfig(activation="gelu")  # type: ignore[arg-type]  # the refusal is what is tested
    with pytest.raises(ConfigError, match="`observation_shapes`"):
        ActorCritic({}, 2, NetworkConfig(), generator=generator)
    with pytest.raises(ConfigError, match="`action_mask` is none"):
        ActorCritic({"features": (1,), "action_mask": (2,)}, 2, NetworkConfig(), generator=generator)
    with pytest.raises(ConfigError, match="`actions` must be at least 1, got 0"):
        ActorCritic({"features": (1,)}, 0, NetworkConfig(), generator=generator)


def test_the_first_numbers_have_the_stated_deviation_and_lie_in_the_middle() -> None:
    # e^-0.5 of half the ranges 1 and 2, around 0 and 2; a head of gain 0.01 moves means by less than a tenth.
    for kind in ("clipped", "squashed"):
        spec, config = KINDS[kind]
        network = ActorCritic.of(
            spec, replace(config, initial_log_std=-0.5), generator=torch.Generator().manual_seed(0)
        )
        params, _ = network.act(observations_of(network, 20, seed=1), None)
        middle, half = ([0.0, 2.0], [1.0, 2.0]) if kind == "clipped" else ([0.0, 0.0], [1.0, 1.0])
        assert_allclose(params[:, :2], np.tile(middle, (20, 1)), atol=0.1)
        assert_allclose(params[:, 2:], np.tile(np.log(half) - 0.5, (20, 1)), rtol=1e-5)
        assert network.policy_log_std is not None and "policy_log_std" in network.policy_parameters


def test_a_uniform_start_is_torchs_own_with_a_small_head() -> None:
    config = NetworkConfig(hidden_sizes=(64,), initialization="uniform", policy_head_gain=0.01)
    network = ActorCritic({"x": (16,)}, 4, config, generator=torch.Generator().manual_seed(0))
    first, head = network.policy.linear_layers()
    assert 0.2 < first.weight.abs().max() <= 0.25 and 0.2 < first.bias.abs().max() <= 0.25
    assert 0.00115 < head.weight.abs().max() <= 0.00125
    assert 0.115 < network.critic.linear_layers()[1].weight.abs().max() <= 0.125


def test_sizes_of_both_trunks() -> None:
    def sizes(config: NetworkConfig) -> list[list[int]]:
        network = ActorCritic({"x": (5,)}, 3, config, generator=torch.Generator().manual_seed(0))
        trunks = (network.policy, network.critic)
        return [[layer.in_features for layer in trunk.linear_layers()] for trunk in trunks]

    plain = NetworkConfig(hidden_sizes=(8, 6))
    assert sizes(plain) == [[5, 8, 6], [5, 8, 6]]
    assert sizes(replace(plain, critic_hidden_sizes=(7,))) == [[5, 8, 6], [5, 7]]
    assert sizes(replace(plain, trunk="shared")) == [[6], [6]]
    assert sizes(replace(plain, trunk="shared", critic_hidden_sizes=(7, 9))) == [[6], [6, 7, 9]]


def test_what_the_critic_alone_sees_comes_last_and_changes_no_action() -> None:
    network = network_of("central")
    assert list(network.input_shapes) == ["hunger", "self", "all", "time"]
    seen = observations_of(network, 5, seed=1)
    encoded = network.encode(tensors(seen))
    assert torch.equal(network.encode_policy(tensors(seen)), encoded[:, :4])
    params, values = network.act(seen, None)
    other_params, other_values = network.act({**seen, "all": seen["all"] + 1.0}, None)
    assert_array_equal(other_params, params)
    assert (other_values != values).all()
    with pytest.raises(ShapeError, match="observation `all` is missing"):
        network.act({name: seen[name] for name in network.observation_shapes}, None)


def test_a_part_without_a_legal_value_is_refused() -> None:
    network = network_of("parts")
    mask = np.ones((4, 5), np.bool_)
    mask[2, 3:] = False
    with pytest.raises(ActionMaskError, match="no legal action in part 1 of row 2"):
        network.act(observations_of(network, 4, seed=1), mask)
    clipped = network_of("clipped")
    with pytest.raises(ShapeError, match="numbers within bounds have no `action_mask`"):
        clipped.act(observations_of(clipped, 4, seed=1), np.ones((4, 4), np.bool_))


@pytest.mark.parametrize("kind", ["gru", "seeing", "clipped", "running"])
def test_a_copy_acts_on_its_own_and_is_as_good(kind: str) -> None:
    network = network_of(kind)
    seen = observations_of(network, 4, seed=1)
    state = np.ones((4, network.state_size), np.float32)
    before = network.act(seen, None, state)
    copied = copy.deepcopy(network)
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(-1.0)
    for ours, theirs in zip(copied.act(seen, None, state), before, strict=True):
        assert_array_equal(ours, theirs)
    assert not np.allclose(network.act(seen, None, state)[1], before[1])
