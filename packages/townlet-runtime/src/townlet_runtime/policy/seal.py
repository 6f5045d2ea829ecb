"""Seals policies: makes a policy file of an ONNX model that another library has exported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import helper

from townlet_runtime.errors import PolicyFileError
from townlet_runtime.policy.editing import initializers_sha256
from townlet_runtime.policy.file import PolicyCard
from townlet_runtime.policy.foreign import ForeignModel, ModelParts
from townlet_runtime.policy.onnx import FilePolicy, RecurrentOnnxPolicy, policy_of
from townlet_runtime.policy.seal_spec import SealSpec
from townlet_runtime.policy.wrapping import wrap
from townlet_trajectory.errors import EvaluationError
from townlet_trajectory.evaluation.golden_vectors import PolicyInputs, PolicyOutputs, golden_vectors, vectors_path
from townlet_trajectory.evaluation.policy_card import POLICY_METADATA, seal_policy
from townlet_trajectory.storage.files import write_bytes_atomic


@dataclass(frozen=True, kw_only=True)
class SealedPolicy:
    """A policy file that was made of a model."""

    path: Path
    vectors: Path
    """Of its golden vectors."""
    card: PolicyCard
    digest: str
    differences: Mapping[str, float]
    """The largest one to the model's own answers, by output; see `GoldenVectors.differences`."""


def seal(
    model: Path | str, output: Path | str, *, spec: SealSpec, parts: ModelParts | None = None, seed: int = 0
) -> SealedPolicy:
    """Make a policy file of an ONNX model, and golden vectors of the model's own answers beside it.

    The model is asked about one agent at a time, the policy about all at once: a graph that is right for the number of
    agents it was exported with alone is found out.

        seal("ppo.onnx", "policy.onnx", spec=SealSpec.of(simulation.spec), parts=ModelParts(values="value"))

    Args:
        model: your own file; it is parsed as a whole.
        output: the policy file, which is replaced at once.
        spec: actions and observations that it is for.
        parts: of the model; None: it has one output, the logits.
        seed: of the golden vectors' inputs, at least 0.

    Returns:
        Paths, label and digest of what was written.

    Raises:
        PolicyFileError: names the model, and the operator that a policy must not use, the input or output that does not
            fit, or the output that is not of its kind or depends on the number of agents.
        ArtifactError: if a file cannot be written.
    """
    origin, path = Path(model), Path(output)
    source = ForeignModel(origin, spec, ModelParts() if parts is None else parts)
    wrapped = wrap(source.model, source.wiring, source.shapes, spec.head)
    card = _card_of(source, spec, origin)
    helper.set_model_props(wrapped, {POLICY_METADATA: card.text()})
    data, digest = seal_policy(wrapped.SerializeToString(deterministic=True))
    try:
        policy = policy_of(data, digest, origin)
        vectors = golden_vectors(card, digest, seed=seed, act=source.answer)
        found = answer(policy, vectors.inputs)
        differences = vectors.differences(found)
        encoded = vectors.encode()
    except EvaluationError as error:
        raise PolicyFileError(origin, expected="a model with golden vectors", got=str(error)) from error
    for name, difference in differences.items():
        if difference > vectors.tolerance:
            raise PolicyFileError(
                origin,
                expected=f"`{name}` of {vectors.inputs.rows} agents at once to be that of each alone",
                got=f"a difference of {difference:.3g}: its graph fixes the number of agents, or mixes them",
            )
    # The policy last: where it is, its vectors are.
    write_bytes_atomic(vectors_path(path), encoded)
    write_bytes_atomic(path, data)
    return SealedPolicy(path=path, vectors=vectors_path(path), card=card, digest=digest, differences=differences)


def _card_of(source: ForeignModel, spec: SealSpec, origin: Path) -> PolicyCard:
    try:
        return PolicyCard(
            vocabulary=spec.vocabulary,
            observation_shapes=source.shapes,
            weights_sha256=initializers_sha256(source.model),
            world=spec.world,
            feature_names=spec.feature_names,
            commitment=spec.commitment,
            state_size=sum(state.size for state in source.wiring.states),
            has_values=source.wiring.values is not None,
            actions=spec.actions,
            distribution=spec.distribution,
        )
    except EvaluationError as error:
        raise PolicyFileError(origin, expected="a spec that does not contradict itself", got=str(error)) from error


def answer(policy: FilePolicy, inputs: PolicyInputs) -> PolicyOutputs:
    """Return what a policy of either kind answers."""
    if isinstance(policy, RecurrentOnnxPolicy):
        state = np.zeros((inputs.rows, policy.state_size), np.float32)
        return PolicyOutputs(
            *policy.act(inputs.observations, inputs.action_mask, state if inputs.state is None else inputs.state)
        )
    return PolicyOutputs(*policy.act(inputs.observations, inputs.action_mask), state=None)
