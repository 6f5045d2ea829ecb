"""Specs to adapt between, networks of them, and their logits in torch, in numpy and in an exported file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.adapt import adapted_network, adapted_spec
from townlet_training.network.config import NetworkConfig
from townlet_training.network.export.onnx_export import export_policy
from townlet_training.network.spec import PolicySpec
from townlet_training.network.trunk import array_trunk
from townlet_training.network.weights import weights_of

Seen = Mapping[str, NDArray[np.float32]]

OLD = PolicySpec(
    world="village",
    vocabulary=("wait", "walk", "eat"),
    observation_shapes={"map": (2, 2, 2), "features": (3,)},
    feature_names=("hunger", "wealth", "held"),
)
NEW = PolicySpec(
    world="town",
    vocabulary=("wait", "swim", "eat", "walk"),
    observation_shapes={"features": (4,), "depth": (2,), "map": (2, 2, 2)},
    feature_names=("wealth", "warmth", "hunger", "held"),
)
"""`OLD` with an action, an observation and a column of `features`, each somewhere in between, and in another order."""


def trained(spec: PolicySpec, config: NetworkConfig, *, seed: int = 0) -> ActorCritic:
    """A network with weights, biases and statistics far from those that it begins with."""
    generator = torch.Generator().manual_seed(seed)
    network = ActorCritic(
        spec.observation_shapes, len(spec.vocabulary), config, generator=generator, wiring=spec.wiring
    )
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=generator))
        network.observation_mean.normal_(generator=generator)
        network.observation_std.uniform_(0.5, 2.0, generator=generator)
    network.set_value_scale(2.5)
    return network


def adapted(network: ActorCritic, old: PolicySpec, target: PolicySpec) -> tuple[ActorCritic, PolicySpec]:
    """The network and the spec of `old` adapted to `target`."""
    new = adapted_spec(old, target)
    return adapted_network(weights_of(network), old=old, new=new, config=network.config), new


def seen_by(spec: PolicySpec, num_rows: int, rng: np.random.Generator, scale: float = 1.0) -> Seen:
    return {
        name: (scale * rng.normal(size=(num_rows, *shape))).astype(np.float32)
        for name, shape in spec.observation_shapes.items()
    }


def as_seen_before(seen: Seen, old: PolicySpec, new: PolicySpec) -> Seen:
    """The old inputs out of the new ones, found by their names one at a time."""
    before = {name: seen[name] for name in old.observation_shapes}
    if old.feature_names:
        columns = [seen["features"][:, new.feature_names.index(name)] for name in old.feature_names]
        before["features"] = np.stack(columns, axis=1)
    return before


def bits(array: NDArray[np.float32]) -> NDArray[np.int32]:
    """Of each number: -0.0 and 0.0 differ, and so does each NaN."""
    return np.ascontiguousarray(array, np.float32).view(np.int32)


def torch_outputs(network: ActorCritic, seen: Seen) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits [N, A] and values [N]."""
    with torch.no_grad():
        encoded = network.encode({name: torch.from_numpy(array) for name, array in seen.items()})
        return network.policy(encoded).numpy(), (network.scaled_values(encoded) * network.value_scale).numpy()


def numpy_outputs(network: ActorCritic, seen: Seen) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The same of the forward pass that acts while training."""
    trunk = array_trunk(network.policy, is_tanh=network.config.activation == "tanh")
    encoded = network.encode({name: torch.from_numpy(array) for name, array in seen.items()}).numpy()
    return trunk(encoded), network.act(seen, None)[1]


class OnnxOutputs:
    """The same of the exported file."""

    def __init__(self, network: ActorCritic, spec: PolicySpec, folder: Path) -> None:
        path = export_policy(network, folder / "policy.onnx", spec=replace(spec), seed=1).path
        model = onnx.load(path)
        (masking,) = (node for node in model.graph.node if node.op_type == "Where")
        # The mask forbids by a constant; the other operand are the logits.
        constants = {tensor.name for tensor in model.graph.initializer}
        (self._logits,) = (name for name in masking.input[1:] if name not in constants)
        model.graph.output.append(onnx.helper.make_tensor_value_info(self._logits, onnx.TensorProto.FLOAT, None))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        data = model.SerializeToString()
        self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        self._num_actions = len(spec.vocabulary)

    def __call__(self, seen: Seen) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rows = len(next(iter(seen.values())))
        mask = np.ones((rows, self._num_actions), np.bool_)
        logits, values = self._session.run([self._logits, "values"], {**seen, "action_mask": mask})
        return logits, values
