"""A graph computes what torch's own exporter makes of the same network, and is made of ONNX's operators alone."""

import logging
import warnings
from collections.abc import Iterator

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from adapting import NEW, OLD, adapted, trained
from kinds import KINDS, mask_of, network_of, observations_of
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn

from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.config import NetworkConfig
from townlet_training.network.export.onnx_export import card_of
from townlet_training.network.export.onnx_graph import model_of
from townlet_training.network.spec import PolicySpec
from townlet_trajectory.evaluation.policy_card import PolicyCard

Arrays = dict[str, NDArray[np.generic]]


class Positional(nn.Module):
    """The network with one positional argument per input, as torch's exporter wants it."""

    def __init__(self, network: ActorCritic, card: PolicyCard) -> None:
        super().__init__()
        self.network, self.card = network, card

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        network, names = self.network, tuple(self.network.observation_shapes)
        rest = list(inputs[len(names) :])
        mask = rest.pop(0) if self.card.mask_size else None
        states = rest.pop(0) if self.card.state_size else None
        observations = dict(zip(names, inputs, strict=False))
        if self.card.has_values or network.front is None:
            policy, critic, after = network.body(network.encode(observations), states)
        else:
            policy, after = network.front.policy_alone(network.encode_policy(observations), states)
        outputs = [network.params(policy, mask)]
        if self.card.has_values:
            outputs.append(network.scaled_values(critic) * network.value_scale)
        return (*outputs, *([] if after is None else [after]))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def inputs_of(network: ActorCritic, card: PolicyCard, num_rows: int) -> Arrays:
    """Random inputs of the file, in its order."""
    seen, mask = observations_of(network, num_rows, seed=num_rows), mask_of(network, num_rows, seed=2)
    found: Arrays = {name: seen[name] for name in network.observation_shapes}
    found |= {} if mask is None else {"action_mask": mask}
    state = np.random.default_rng(3).normal(size=(num_rows, card.state_size)).astype(np.float32)
    return found | ({"state_in": state} if card.state_size else {})


def by_torch(network: ActorCritic, card: PolicyCard) -> onnx.ModelProto:
    """The oracle."""
    inputs = inputs_of(network, card, 2)
    agents = torch.export.Dim("agents", min=1)
    program = torch.onnx.export(
        Positional(network, card),
        tuple(torch.from_numpy(array) for array in inputs.values()),
        input_names=list(inputs),
        dynamic_shapes=(tuple({0: agents} for _ in inputs),),
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    assert program is not None
    return program.model_proto


def answers(model: onnx.ModelProto, inputs: Arrays) -> list[NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def networks() -> dict[str, tuple[ActorCritic, PolicySpec]]:
    """One of every kind, and one with inputs and actions that were added."""
    own = {kind: (network_of(kind), spec) for kind, (spec, _) in KINDS.items()}
    for activation in ("tanh", "relu"):
        old = trained(OLD, NetworkConfig(hidden_sizes=(16, 8), activation=activation))
        network, spec = adapted(old, OLD, NEW)
        with torch.no_grad():
            for weight in network.parameters():
                weight.add_(0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
        own[f"blocks_{activation}"] = (network, spec)
    return own


NETWORKS = networks()


ALWAYS = ("plain", "gru", "clipped")
"""The exporter takes seconds for each kind; the others have their turn in the session `thorough`."""


@pytest.mark.parametrize(
    "kind", [kind if kind in ALWAYS else pytest.param(kind, marks=pytest.mark.thorough) for kind in NETWORKS]
)
def test_it_computes_what_the_exporter_of_torch_writes(kind: str) -> None:
    network, spec = NETWORKS[kind]
    card = card_of(network, spec)
    model, expected_model = model_of(network, card), by_torch(network, card)
    for num_rows in (1, 5, 64):
        inputs = inputs_of(network, card, num_rows)
        found, expected = answers(model, inputs), answers(expected_model, inputs)
        assert len(found) == len(expected) == 1 + card.has_values + (card.state_size > 0)
        for own, other in zip(found, expected, strict=True):
            assert own.dtype == other.dtype and own.shape == other.shape
            assert (np.abs(own - other) <= 1e-5 * (1.0 + np.abs(other))).all()


@pytest.mark.parametrize("kind", NETWORKS)
def test_it_is_a_valid_model_whose_constants_have_the_names_of_the_weights(kind: str) -> None:
    network, spec = NETWORKS[kind]
    card = card_of(network, spec)
    model = model_of(network, card)
    onnx.checker.check_model(model, full_check=True)
    inputs = inputs_of(network, card, 3)
    for own, other in zip(ReferenceEvaluator(model).run(None, inputs), answers(model, inputs), strict=True):
        # Of a forbidden action the one says -inf, the other the lowest number.
        np.testing.assert_allclose(np.maximum(own, -1e30), np.maximum(other, -1e30), rtol=1e-5, atol=1e-5)
    weights = network.state_dict()
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    assert constants.keys() >= {name for name in weights if name.startswith("policy.") and name.endswith("bias")}
    for name in constants.keys() & weights.keys():
        np.testing.assert_array_equal(constants[name], weights[name].numpy())


def test_one_linear_layer_by_hand() -> None:
    network = ActorCritic({"a": (2,)}, 2, NetworkConfig(hidden_sizes=(1,), normalize_observations="none"),
                          generator=torch.Generator().manual_seed(1))  # fmt: skip
    with torch.no_grad():
        for name, numbers in {
            "policy.0.weight": [[1.0, -1.0]], "policy.0.bias": [0.0], "policy.2.weight": [[0.0], [0.0]],
            "policy.2.bias": [0.0, np.log(3.0)], "critic.0.weight": [[0.0, 0.0]], "critic.0.bias": [20.0],
            "critic.2.weight": [[2.0]], "critic.2.bias": [1.0],
        }.items():  # fmt: skip
            network.get_parameter(name).copy_(torch.tensor(numbers))
    network.set_value_scale(10.0)
    spec = PolicySpec(world="w", vocabulary=("x", "y"), observation_shapes={"a": (2,)})
    seen = {"a": np.array([[1.0, 2.0]], np.float32), "action_mask": np.array([[True, True]])}
    log_probs, values = answers(model_of(network, card_of(network, spec)), seen)
    np.testing.assert_allclose(np.exp(log_probs), [[0.25, 0.75]], rtol=1e-6)  # of logits 0 and log 3
    np.testing.assert_allclose(values, [30.0], rtol=1e-6)  # (2 tanh 20 + 1) · 10
