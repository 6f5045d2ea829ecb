"""The optimizer: the steps of torch's own, none on what is not finite, a state of tensors."""

import math
import subprocess
import sys

import pytest
import torch
from torch import nn

from townlet_training.errors import ConfigError, NonFiniteError
from townlet_training.learning.optimizer import Optimizer
from townlet_training.network.weights import lay_side_by_side


def step(optimizer: Optimizer, loss: torch.Tensor) -> float:
    """Descend along the gradient of `loss`; the errors say "here"."""
    return optimizer.step(loss.item(), "here", optimizer.differentiate([loss]))


def parameter(*numbers: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(numbers))


def test_the_first_step_of_adam_is_the_learning_rate() -> None:
    # m / sqrt(v) of the first step is the sign of the gradient, whatever its size.
    weight = parameter(1.0, 1.0)
    norm = step(Optimizer({"weight": weight}, learning_rate=0.1, eps=1e-8), (weight * torch.tensor([3.0, -4.0])).sum())
    assert norm == pytest.approx(5.0)
    assert weight.tolist() == pytest.approx([0.9, 1.1])


def test_a_long_gradient_is_scaled_down_after_it_was_measured() -> None:
    weight = parameter(0.0, 0.0)
    optimizer = Optimizer({"weight": weight}, learning_rate=0.1, eps=1e-8, max_grad_norm=1.0)
    assert step(optimizer, (weight * torch.tensor([3.0, 4.0])).sum()) == pytest.approx(5.0)
    # Adam's first moment is a tenth of the gradient: [0.6, 0.8] / 10.
    assert optimizer.state_dict()["weight.exp_avg"].tolist() == pytest.approx([0.06, 0.08], rel=1e-4)


def test_weight_decay_by_hand() -> None:
    # The weight shrinks by learning rate · decay = 0.05, then the step of 0.1 is taken.
    weight = parameter(2.0)
    step(Optimizer({"weight": weight}, learning_rate=0.1, eps=1e-8, weight_decay=0.5), weight.sum())
    assert weight.item() == pytest.approx(2.0 * 0.95 - 0.1)


def test_a_parameter_without_a_gradient_is_left_alone() -> None:
    used, unused = parameter(1.0), parameter(1.0)
    optimizer = Optimizer({"used": used, "unused": unused}, learning_rate=0.1, eps=1e-8)
    step(optimizer, used.sum() + unused.sum())
    before = unused.item()
    step(optimizer, used.sum())
    assert unused.item() == before and optimizer.state_dict()["unused.step"].item() == 1.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_refused(bad: float) -> None:
    weight = parameter(1.0)
    optimizer = Optimizer({"weight": weight}, learning_rate=0.1, eps=1e-8)
    with pytest.raises(NonFiniteError, match=f"loss: it is {bad}; here") as caught:
        step(optimizer, weight.sum() * bad)
    assert caught.value.stage == "loss" and weight.item() == 1.0 and optimizer.state_dict() == {}


def test_a_gradient_that_is_not_finite_is_refused() -> None:
    # The slope of sqrt at 0 is infinite.
    weight = parameter(0.0)
    optimizer = Optimizer({"weight": weight}, learning_rate=0.1, eps=1e-8)
    with pytest.raises(NonFiniteError, match="gradient: its norm is (inf|nan), at a loss of 0.0; here") as caught:
        step(optimizer, weight.sqrt().sum())
    assert caught.value.stage == "gradient" and weight.item() == 0.0 and optimizer.state_dict() == {}


def test_a_state_is_a_copy() -> None:
    weight = parameter(1.0)
    optimizer = Optimizer({"weight": weight}, learning_rate=0.1, eps=1e-8)
    step(optimizer, weight.sum())
    state = optimizer.state_dict()
    before = {name: tensor.clone() for name, tensor in state.items()}
    step(optimizer, weight.sum())
    assert all(torch.equal(state[name], before[name]) for name in before)
    optimizer.load_state_dict(state)
    step(optimizer, weight.sum())
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
    step(optimizer, -(common.sum() + own.sum()))
    assert (common.item(), own.item()) == pytest.approx((0.1, 0.1))
    optimizer.load_state_dict({})
    optimizer.set_learning_rate(0.25, 0.5)
    step(optimizer, -(common.sum() + own.sum()))
    assert (common.item(), own.item()) == pytest.approx((0.35, 0.6))
    optimizer.load_state_dict({})
    optimizer.set_learning_rate(1.0)
    step(optimizer, -(common.sum() + own.sum()))
    assert (common.item(), own.item()) == pytest.approx((1.35, 1.6))
    with pytest.raises(ConfigError, match=r"`learning_rate` must be finite and above 0, got 0.0"):
        optimizer.set_learning_rate(1.0, 0.0)


def test_one_gradient_norm_bounds_all_parameters_together() -> None:
    common, own = parameter(0.0), parameter(0.0)
    optimizer = Optimizer({"own": own, "common": common}, learning_rate=0.1, eps=1e-8, max_grad_norm=1.0, apart={"own"})
    assert step(optimizer, 3.0 * common.sum() + 4.0 * own.sum()) == pytest.approx(5.0)
    assert [optimizer.state_dict()[f"{name}.exp_avg"].item() for name in ("common", "own")] == pytest.approx(
        [0.06, 0.08], rel=1e-4
    )


def test_two_rates_that_are_equal_are_one_to_the_bit() -> None:
    def run(apart: set[str]) -> list[float]:
        weights = {name: parameter(1.0, -2.0) for name in ("first", "second")}
        optimizer = Optimizer(weights, learning_rate=0.1, eps=1e-8, max_grad_norm=1.0, apart=apart)
        for _ in range(5):
            step(optimizer, sum(weight.square().sum() for weight in weights.values()))  # type: ignore[arg-type]  # the sum of tensors is one
        return [number for weight in weights.values() for number in weight.tolist()]

    assert run({"second"}) == run(set())


def test_all_parameters_may_be_apart() -> None:
    own = parameter(0.0)
    optimizer = Optimizer({"own": own}, learning_rate=0.1, eps=1e-12, apart={"own"})
    optimizer.set_learning_rate(0.1, 0.5)
    step(optimizer, -own.sum())
    assert own.item() == pytest.approx(0.5)


SHAPES = {"first": (3, 5), "second": (3,), "third": (2, 3), "fourth": (33,)}


def weights(seed: int = 0) -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return {name: nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in SHAPES.items()}


def losses(parameters: dict[str, nn.Parameter]) -> list[torch.Tensor]:
    """Of five steps; the second knows two parameters only, so that step counts differ from then on."""
    first, second, *rest = parameters.values()
    both = (first.sin().sum(dim=1) * second).sum()
    every = both + sum((each.cos().sum() for each in rest), start=torch.zeros(()))
    return [every, both, every, every.square(), every]


@pytest.mark.parametrize("laid", [False, True])
@pytest.mark.parametrize(("weight_decay", "max_grad_norm"), [(0.0, math.inf), (0.1, 0.5)])
def test_steps_are_those_of_adamw(laid: bool, weight_decay: float, max_grad_norm: float) -> None:
    ours, theirs = weights(), weights()
    if laid:
        lay_side_by_side(list(ours.values()))
    optimizer = Optimizer(
        ours, learning_rate=0.1, eps=1e-5, weight_decay=weight_decay, max_grad_norm=max_grad_norm, apart={"third"}
    )
    optimizer.set_learning_rate(0.1, 0.02)
    groups = [{"params": [theirs[name]], "lr": 0.02 if name == "third" else 0.1} for name in SHAPES]
    adam = torch.optim.AdamW(groups, eps=1e-5, weight_decay=weight_decay)
    for number in range(5):
        norm = step(optimizer, losses(ours)[number])
        adam.zero_grad()
        losses(theirs)[number].backward()
        assert norm == pytest.approx(nn.utils.clip_grad_norm_(theirs.values(), max_grad_norm).item(), rel=1e-5)
        adam.step()
        for name in SHAPES:
            torch.testing.assert_close(ours[name], theirs[name], rtol=1e-5, atol=1e-6)
    state = optimizer.state_dict()
    for name, weight in theirs.items():
        for key, tensor in adam.state[weight].items():
            torch.testing.assert_close(state[f"{name}.{key}"], tensor, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("laid", [False, True])
def test_an_optimizer_goes_on_from_its_state_to_the_bit(laid: bool) -> None:
    def run(broken_off: bool) -> list[bytes]:
        parameters = weights()
        if laid:
            lay_side_by_side(list(parameters.values()))
        optimizer = Optimizer(parameters, learning_rate=0.1, eps=1e-5, max_grad_norm=0.5)
        for number in range(5):
            if broken_off and number == 3:
                state = optimizer.state_dict()
                optimizer = Optimizer(parameters, learning_rate=0.1, eps=1e-5, max_grad_norm=0.5)
                optimizer.load_state_dict(state)
            step(optimizer, losses(parameters)[number])
        state = optimizer.state_dict()
        assert state["first.step"].item() == 5.0 and state["third.step"].item() == 4.0
        return [tensor.detach().numpy().tobytes() for tensor in (*parameters.values(), *state.values())]

    assert run(True) == run(False)


def test_gradients_are_written_where_a_step_reads_them() -> None:
    weight = parameter(1.0, 1.0)
    optimizer = Optimizer({"trunk.weight": weight}, learning_rate=0.1, eps=1e-8)
    optimizer.gradients_of("trunk.")["weight"].copy_(torch.tensor([2.0, 0.0]))
    assert optimizer.step(1.0, "here", ["trunk.weight"]) == 2.0
    assert weight.tolist() == pytest.approx([0.9, 1.0]) and optimizer.gradients_of("other") == {}


def test_a_gradient_may_come_from_behind_an_output() -> None:
    weight, unused = parameter(1.0, 2.0), parameter(3.0)
    optimizer = Optimizer({"weight": weight, "unused": unused}, learning_rate=0.1, eps=1e-8)
    moved = optimizer.differentiate([weight * 3.0, weight * 1.0], [torch.tensor([1.0, 2.0]), torch.ones(2)])
    assert moved == ["weight"] and optimizer.gradients["weight"].tolist() == [4.0, 7.0]


def test_a_step_does_not_import_the_compiler() -> None:
    code = """
import sys, torch
from townlet_training.learning.optimizer import Optimizer
weight = torch.nn.Parameter(torch.ones(2))
optimizer = Optimizer({"weight": weight}, learning_rate=0.1, eps=1e-8)
optimizer.step(1.0, "here", optimizer.differentiate([weight.sum()]))
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
