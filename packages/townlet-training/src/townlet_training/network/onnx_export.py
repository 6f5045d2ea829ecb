"""A network as one ONNX file with a label and its own checksum, compared with the network before it is written."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from townlet_training.errors import ExportError
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.spec import PolicySpec
from townlet_training.network.weights import require_finite, weights_of, weights_sha256
from townlet_trajectory import ACTION_MASK
from townlet_trajectory.errors import EvaluationError
from townlet_trajectory.evaluation.golden_vectors import PolicyInputs, PolicyOutputs, golden_vectors, vectors_path
from townlet_trajectory.evaluation.policy_card import LOG_PROBS, POLICY_METADATA, VALUES, PolicyCard, seal_policy
from townlet_trajectory.evaluation.results import ExportedPolicy
from townlet_trajectory.storage.files import write_bytes_atomic

_TOLERANCE = 1e-5
_BATCH_SIZES = (1, 2, 17, 64)


def export_policy(network: ActorCritic, path: Path, *, spec: PolicySpec, seed: int) -> ExportedPolicy:
    """Write `network` to `path` as ONNX, compare the file with the network, and write golden vectors beside it.

    Inputs are the observations by name (float32 [N, ...]) and `action_mask` (bool [N, A]); outputs are `log_probs`
    [N, A] and `values` [N]. The same weights give the same bytes with the same versions of torch and onnxscript.

    Args:
        network: policy, critic and their frozen statistics.
        path: of the file, which is replaced at once; the golden vectors of `policy.onnx` are `policy.vectors.json`.
        spec: names of the world and its actions, which the file is labelled with.
        seed: of the random inputs of the check and of the golden vectors.

    Returns:
        Path and digests of the file.

    Raises:
        ExportError: if `spec` is not the network's, the file computes something else than the network, or one agent's
            observations are too large for golden vectors.
        NonFiniteError: if a weight is not finite.
    """
    if dict(spec.observation_shapes) != dict(network.observation_shapes):
        raise ExportError(
            f"`spec` has observations {dict(spec.observation_shapes)}, the network {dict(network.observation_shapes)}"
        )
    if len(spec.vocabulary) != network.num_actions:
        raise ExportError(f"`spec` has {len(spec.vocabulary)} actions, the network {network.num_actions}")
    require_finite(weights_of(network), stage="export")
    card = PolicyCard(
        vocabulary=spec.vocabulary,
        observation_shapes=network.observation_shapes,
        feature_names=spec.feature_names,
        commitment=spec.commitment,
        weights_sha256=weights_sha256(network),
        world=spec.world,
    )
    data, file_digest = seal_policy(_model_bytes(network, card))
    _check(data, network, seed=seed)

    def act(inputs: PolicyInputs) -> PolicyOutputs:
        return PolicyOutputs(*network.act(inputs.observations, inputs.action_mask), state=None)

    try:
        vectors = golden_vectors(card, file_digest, seed=seed, act=act)
    except EvaluationError as error:
        raise ExportError(str(error)) from error
    # The policy last: where it is, its vectors are.
    write_bytes_atomic(vectors_path(path), vectors.encode())
    write_bytes_atomic(path, data)
    return ExportedPolicy(path=path, weights_sha256=card.weights_sha256, file_sha256=file_digest)


class _Positional(nn.Module):
    """The network with one positional argument per input, as the exporter wants it."""

    def __init__(self, network: ActorCritic) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        *observations, action_mask = inputs
        names = self.network.observation_shapes
        log_probs, values = self.network(dict(zip(names, observations, strict=True)), action_mask)
        return log_probs, values


def _model_bytes(network: ActorCritic, card: PolicyCard) -> bytes:
    """The unsealed file: exported, stripped of everything that depends on the machine, and labelled."""
    shapes = network.observation_shapes
    # Two rows: with one, the exporter may take the axis for a constant.
    examples = (
        *(torch.zeros(2, *shape) for shape in shapes.values()),
        torch.ones(2, network.num_actions, dtype=torch.bool),
    )
    agents = torch.export.Dim("agents", min=1)
    with _quiet():
        program = torch.onnx.export(
            _Positional(network),
            examples,
            input_names=[*shapes, ACTION_MASK],
            output_names=[LOG_PROBS, VALUES],
            dynamic_shapes=(tuple({0: agents} for _ in examples),),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise ExportError("torch.onnx.export gave no program")
    model = program.model_proto
    _strip(model)
    entry = model.metadata_props.add()
    entry.key, entry.value = POLICY_METADATA, card.text()
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _strip(model: onnx.ModelProto) -> None:
    """Drop debugging data: stack traces and file names of the machine that exported."""
    del model.metadata_props[:]
    model.doc_string = ""
    graph = model.graph
    del graph.metadata_props[:]
    del graph.value_info[:]
    graph.doc_string = ""
    for item in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        del item.metadata_props[:]
        item.doc_string = ""


def _check(data: bytes, network: ActorCritic, *, seed: int) -> None:
    """Compare the file with the network on random inputs and masks, to |Δ| <= 1e-5 (1 + |expected|)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(seed)
    for num_agents in _BATCH_SIZES:
        observations = {
            name: rng.normal(scale=3.0, size=(num_agents, *shape)).astype(np.float32)
            for name, shape in network.observation_shapes.items()
        }
        mask = rng.random((num_agents, network.num_actions)) < 0.5
        mask[np.arange(num_agents), rng.integers(network.num_actions, size=num_agents)] = True
        log_probs, values = session.run([LOG_PROBS, VALUES], {**observations, ACTION_MASK: mask})
        expected_log_probs, expected_values = network.act(observations, mask)
        legal = (log_probs[mask], expected_log_probs[mask])
        for name, (actual, expected) in {LOG_PROBS: legal, VALUES: (values, expected_values)}.items():
            _agree(name, actual, expected)
        if not np.array_equal(np.exp(log_probs[~mask]), np.zeros(int((~mask).sum()), dtype=np.float32)):
            raise ExportError("the exported policy gives a forbidden action a probability above 0")


def _agree(name: str, actual: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    error = np.abs(actual - expected) / (1.0 + np.abs(expected))
    # Written so that a NaN is a disagreement.
    if not bool((error <= _TOLERANCE).all()):
        raise ExportError(f"`{name}` of the exported policy is off by {float(error.max()):.3g}, allowed {_TOLERANCE:g}")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's warnings and log lines about its own workings."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
