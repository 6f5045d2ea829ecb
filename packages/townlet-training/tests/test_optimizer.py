"""The optimizer: no step on what is not finite, a state of tensors."""

import math

import pytest
import torch
from torch import nn

from townlet_training.errors import ConfigError, NonFiniteError
from townlet_training.learning.optimizer import Optimizer


def parameter(*numbers: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(numbers))


def test_the_first_step_of_adam_is_the_learning_rate() -> None:
    # m / sqrt(v) of the first step is the sign of the gradient, whatever its size.
    weight = parameter(1.0, 1.0)
    norm = Optimizer({"weight": weight}, learning_rate=0.1, eps=1e-8).step(
        (weight * torch.tensor([3.0, -4.0])).sum(), "here"
    )
    assert norm == pytest.approx(5.0)
    assert weight.tolist() == pytest.approx([0.9, 1.1])


def test_a_long_gradient_is_scaled_down_after_it_was_measured() -> None:
    weight = parameter(0.0, 0.0)
    optimizer = Optimizer({"weight": weight}, learning_rate=0.1, eps=1e-8, max_grad_norm=1.0)
    assert optimizer.step((weight * torch.tensor([3.0, 4.0])).sum(), "here") == pytest.approx(5.0)
    # Adam's first moment is a tenth of the gradient: [0.6, 0.8] / 10.
    assert optimizer.state_dict()["weight.exp_avg"].tolist() == pytest.approx([0.06, 0.08], rel=1e-4)


def test_weight_decay_by_hand() -> None:
    # The weight shrinks by learning rate · decay = 0.05, then the step of 0.1 is taken.
    weight = parameter(2.0)
    Optimizer({"weight": weight}, learning_rate=0.1, eps=1e-8, weight_decay=0.5).step(weight.sum(), "here")
    assert weight.item() == pytest.approx(2.0 * 0.95 - 0.1)


def test_a_parameter_without_a_gradient_is_left_alone() -> None:
    used, unused = parameter(1.0), parameter(1.0)
    optimizer = Optimizer({"used": used, "unused": unused}, learning_rate=0.1, eps=1e-8)
    optimizer.step(used.sum() + unused.sum(), "here")
    before = unused.item()
    optimizer.step(used.sum(), "here")
    assert unused.item() == before and optimizer.state_dict()["unused.step"].item() == 1.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_refused(bad: float) -> None:
    weight = parameter(1.0)
    optimizer = Optimizer({"weight": weight}, learning_rate=0.1, eps=1e-8)
    with pytest.raises(NonFiniteError, match=f"loss: it is {bad}; here") as caught:
        optimizer.step(weight.sum() * bad, "here")
    assert caught.value.stage == "loss" and weight.item() == 1.0 and optimizer.state_dict() == {}


def test_a_gradient_that_is_not_finite_is_refused() -> None:
    # The slope of sqrt at 0 is infinite.
    weight = parameter(0.0)
    optimizer = Optimizer({"weight": weight}, learning_rate=0.1, eps=1e-8)
    with pytest.raises(NonFiniteError, match="gradient: its norm is (inf|nan), at a loss of 0.0; here") as caught:
        optimizer.step(weight.sqrt().sum(), "here")
    assert caught.value.stage == "gradient" and weight.item() == 0.0 and optimizer.state_dict() == {}


def test_a_state_is_a_copy() -> None:
    weight = parameter(1.0)
    optimizer = Optimizer({"weight": weight}, learning_rate=0.1, eps=1e-8)
    optimizer.step(weight.sum(), "here")
    state = optimizer.state_dict()
    before = {name: tensor.clone() for name, tensor in state.items()}
    optimizer.step(weight.sum(), "here")
    assert all(torch.equal(state[name], before[name]) for name in before)
    optimizer.load_state_dict(state)
    optimizer.step(weight.sum(), "here")
    assert all(torch.equal(state[name], before[name]) for name in before)
    optimizer.load_state_dict({})
    assert optimizer.state_dict() == {}


def test_the_learning_rate_is_checked() -> None:
    with pytest.raises(ConfigError, match="`learning_rate` must be finite and above 0, got inf"):
        Optimizer({"weight": parameter(1.0)}, learning_rate=0.1, eps=1e-8).set_learning_rate(math.inf)


def test_parameters_apart_have_a_rate_of_their_own() -> None:
    # The first step of Adam is the learning rate.
    common, own = parameter(0.0), parameter(0.0)
    optimizer = Optimizer({"own": own, "common": common}, learning_rate=0.1, eps=1e-12, apart={"own"})
    optimizer.step(-(common.sum() + own.sum()), "here")
    assert (common.item(), own.item()) == pytest.approx((0.1, 0.1))
    optimizer.load_state_dict({})
    optimizer.set_learning_rate(0.25, 0.5)
    optimizer.step(-(common.sum() + own.sum()), "here")
    assert (common.item(), own.item()) == pytest.approx((0.35, 0.6))
    optimizer.load_state_dict({})
    optimizer.set_learning_rate(1.0)
    optimizer.step(-(common.sum() + own.sum()), "here")
    assert (common.item(), own.item()) == pytest.approx((1.35, 1.6))
    with pytest.raises(ConfigError, match=r"`learning_rate` must be finite and above 0, got 0.0"):
        optimizer.set_learning_rate(1.0, 0.0)


def test_one_gradient_norm_bounds_all_parameters_together() -> None:
    common, own = parameter(0.0), parameter(0.0)
    optimizer = Optimizer({"own": own, "common": common}, learning_rate=0.1, eps=1e-8, max_grad_norm=1.0, apart={"own"})
    assert optimizer.step(3.0 * common.sum() + 4.0 * own.sum(), "here") == pytest.approx(5.0)
    assert [optimizer.state_dict()[f"{name}.exp_avg"].item() for name in ("common", "own")] == pytest.approx(
        [0.06, 0.08], rel=1e-4
    )


def test_two_rates_that_are_equal_are_one_to_the_bit() -> None:
    def run(apart: set[str]) -> list[float]:
        weights = {name: parameter(1.0, -2.0) for name in ("first", "second")}
        optimizer = Optimizer(weights, learning_rate=0.1, eps=1e-8, max_grad_norm=1.0, apart=apart)
        for _ in range(5):
            optimizer.step(sum(weight.square().sum() for weight in weights.values()), "here")  # type: ignore[arg-type]  # the sum of tensors is one
        return [number for weight in weights.values() for number in weight.tolist()]

    assert run({"second"}) == run(set())


def test_all_parameters_may_be_apart() -> None:
    own = parameter(0.0)
    optimizer = Optimizer({"own": own}, learning_rate=0.1, eps=1e-12, apart={"own"})
    optimizer.set_learning_rate(0.1, 0.5)
    optimizer.step(-own.sum(), "here")
    assert own.item() == pytest.approx(0.5)
