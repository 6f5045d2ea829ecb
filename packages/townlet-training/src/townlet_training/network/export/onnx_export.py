"""A network as one ONNX file with a label and its own checksum, compared with the network before it is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from townlet_training.errors import ExportError
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.export.onnx_graph import model_of
from townlet_training.network.spec import PolicySpec
from townlet_training.network.weights import require_finite, weights_of, weights_sha256
from townlet_trajectory import ACTION_MASK
from townlet_trajectory.errors import EvaluationError
from townlet_trajectory.evaluation.golden_vectors import PolicyInputs, PolicyOutputs, golden_vectors, vectors_path
from townlet_trajectory.evaluation.policy_card import (
    POLICY_METADATA,
    STATE_IN,
    STATE_OUT,
    VALUES,
    PolicyCard,
    seal_policy,
)
from townlet_trajectory.evaluation.results import ExportedPolicy
from townlet_trajectory.storage.files import write_bytes_atomic

_TOLERANCE = 1e-5
_BATCH_SIZES = (1, 2, 17, 64)


def export_policy(network: ActorCritic, path: Path, *, spec: PolicySpec, seed: int) -> ExportedPolicy:
    """Write `network` to `path` as ONNX, compare the file with the network, and write golden vectors beside it.

    Inputs are the observations by name (float32 [N, ...]), `action_mask` (bool, of discrete actions) and `state_in`
    [N, S] (of a memory); outputs are `log_probs` or `gaussian` [N, P], `values` [N] and `state_out`. A network whose
    critic has inputs of its own is written without it, and without its part of the memory. The same weights give the
    same bytes with the same version of onnx.

    Args:
        network: policy, critic and their statistics.
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
    _require_same(spec, network)
    require_finite(weights_of(network), stage="export")
    card = card_of(network, spec)
    data, file_digest = seal_policy(_model_bytes(network, card))
    _check(data, network, card, seed=seed)
    try:
        vectors = golden_vectors(card, file_digest, seed=seed, act=lambda inputs: _expected(network, card, inputs))
    except EvaluationError as error:
        raise ExportError(str(error)) from error
    # The policy last: where it is, its vectors are.
    write_bytes_atomic(vectors_path(path), vectors.encode())
    write_bytes_atomic(path, data)
    return ExportedPolicy(path=path, weights_sha256=card.weights_sha256, file_sha256=file_digest)


def _require_same(spec: PolicySpec, network: ActorCritic) -> None:
    if dict(spec.observation_shapes) != dict(network.observation_shapes):
        raise ExportError(
            f"`spec` has observations {dict(spec.observation_shapes)}, the network {dict(network.observation_shapes)}"
        )
    if spec.num_outputs != network.num_actions:
        raise ExportError(f"`spec` has {spec.num_outputs} actions, the network {network.num_actions}")
    if spec.distribution != network.distribution.name:
        raise ExportError(
            f"`spec` has the distribution {spec.distribution!r}, the network {network.distribution.name!r}"
        )


def card_of(network: ActorCritic, spec: PolicySpec) -> PolicyCard:
    """Make the label of the file of `network`, whose actions and observations are those of `spec`."""
    has_values = len(network.input_shapes) == len(network.observation_shapes)
    return PolicyCard(
        vocabulary=spec.vocabulary,
        observation_shapes=network.observation_shapes,
        feature_names=spec.feature_names,
        commitment=spec.commitment,
        weights_sha256=weights_sha256(network),
        world=spec.world,
        state_size=network.state_size if has_values else network.policy_state_size,
        has_values=has_values,
        actions=spec.actions,
        distribution=spec.distribution,
    )


def _expected(network: ActorCritic, card: PolicyCard, inputs: PolicyInputs) -> PolicyOutputs:
    """Outputs that the file must have: those of the network as it acts."""
    rows = inputs.rows
    observations = dict(inputs.observations)
    if not card.has_values:
        # What the critic alone reads changes nothing of the policy.
        for name in network.input_shapes.keys() - network.observation_shapes.keys():
            observations[name] = np.zeros((rows, *network.input_shapes[name]), np.float32)
    if inputs.state is None:
        params, values = network.act(observations, inputs.action_mask)
        return PolicyOutputs(params, values if card.has_values else None, None)
    state = np.zeros((rows, network.state_size), np.float32)
    state[:, : card.state_size] = inputs.state
    params, values, after = network.act(observations, inputs.action_mask, state)
    return PolicyOutputs(params, values if card.has_values else None, after[:, : card.state_size])


def _model_bytes(network: ActorCritic, card: PolicyCard) -> bytes:
    """The unsealed file, labelled."""
    model = model_of(network, card)
    entry = model.metadata_props.add()
    entry.key, entry.value = POLICY_METADATA, card.text()
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _output_names(card: PolicyCard) -> list[str]:
    return [card.output, *([VALUES] if card.has_values else []), *([STATE_OUT] if card.state_size else [])]


def _check(data: bytes, network: ActorCritic, card: PolicyCard, *, seed: int) -> None:
    """Compare the file with the network on random inputs and masks, to |Δ| <= 1e-5 (1 + |expected|).

    Values are compared in units of the value head: in another unit, one near 0 is a difference of large numbers.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(seed)
    for num_agents in _BATCH_SIZES:
        inputs = _random_inputs(network, card, rng, num_agents)
        mask = inputs.action_mask
        feed: dict[str, NDArray[np.generic]] = {**inputs.observations}
        feed |= {} if mask is None else {ACTION_MASK: mask}
        feed |= {} if inputs.state is None else {STATE_IN: inputs.state}
        found = dict(zip(_output_names(card), session.run(_output_names(card), feed), strict=True))
        expected = _expected(network, card, inputs)
        params = found[card.output]
        legal = np.ones_like(params, np.bool_) if mask is None else mask
        _agree(card.output, params[legal], expected.params[legal])
        if expected.values is not None:
            # A float32 is as good as the unit that the values are computed in.
            unit = network.value_scale.item()
            _agree(VALUES, found[VALUES] / unit, expected.values / unit)
        if expected.state is not None:
            _agree(STATE_OUT, found[STATE_OUT], expected.state)
        if not np.array_equal(np.exp(params[~legal]), np.zeros(int((~legal).sum()), dtype=np.float32)):
            raise ExportError("the exported policy gives a forbidden action a probability above 0")


def _random_inputs(network: ActorCritic, card: PolicyCard, rng: np.random.Generator, num_agents: int) -> PolicyInputs:
    observations = {
        name: rng.normal(scale=3.0, size=(num_agents, *shape)).astype(np.float32)
        for name, shape in network.observation_shapes.items()
    }
    mask = None
    if card.mask_size:
        mask = rng.random((num_agents, card.mask_size)) < 0.5
        for part in np.split(np.arange(card.mask_size), np.cumsum(network.distribution.part_sizes)[:-1]):
            mask[np.arange(num_agents), rng.choice(part, size=num_agents)] = True
    state = rng.normal(size=(num_agents, card.state_size)).astype(np.float32) if card.state_size else None
    return PolicyInputs(observations, mask, state)


def _agree(name: str, actual: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    error = np.abs(actual - expected) / (1.0 + np.abs(expected))
    # Written so that a NaN is a disagreement.
    if not bool((error <= _TOLERANCE).all()):
        raise ExportError(f"`{name}` of the exported policy is off by {float(error.max()):.3g}, allowed {_TOLERANCE:g}")
