"""Golden vectors of a policy: inputs and the outputs that any implementation must give, as a small JSON file.

`docs/policy-format.md` describes the file. It lies beside a policy file and names that file's checksum.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.actions import MultiDiscrete
from townlet_trajectory.errors import ArtifactError, EvaluationError, ManifestError
from townlet_trajectory.evaluation.policy_card import GAUSSIAN, LOG_PROBS, STATE_OUT, VALUES, PolicyCard
from townlet_trajectory.storage.json import MAX_JSON_BYTES, Fields, JsonValue, parse_object
from townlet_trajectory.storage.paths import read_named

VECTORS_FORMAT = "townlet-policy-vectors"
VECTORS_VERSION = (1, 0)
VECTORS_TOLERANCE = 1e-5
MAX_ROWS = 16
MAX_NUMBERS = 2**18
"""Of all arrays of a file together; a single agent's must not be more."""

_LOWEST = float(np.finfo(np.float32).min)
_STEP = 16
"""Inputs are multiples of 1/16, which short decimals and float32 both hold exactly."""


class PolicyInputs(NamedTuple):
    """Inputs of a policy for some agents."""

    observations: Mapping[str, NDArray[np.float32]]
    """Each [N, ...]."""
    action_mask: NDArray[np.bool_] | None
    """[N, M]; at least one legal action a row, of several parts: in each. None where actions are numbers."""
    state: NDArray[np.float32] | None
    """[N, S]; None where the policy has none."""

    @property
    def rows(self) -> int:
        """Agents (N)."""
        return len(next(iter(self.observations.values())))


class PolicyOutputs(NamedTuple):
    """Outputs of a policy for the same agents."""

    params: NDArray[np.float32]
    """[N, P]; log-probabilities, or means and logarithms of deviations where actions are numbers."""
    values: NDArray[np.float32] | None
    """[N]; None where the policy has none."""
    state: NDArray[np.float32] | None
    """[N, S]; None where the policy has none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GoldenVectors:
    """Inputs of a policy, and the outputs that it must give for them."""

    policy_sha256: str
    """Checksum of the policy file, as it is stored in it."""
    seed: int
    """That the inputs were drawn from."""
    tolerance: float
    """Allowed difference, see `differences`."""
    inputs: PolicyInputs
    outputs: PolicyOutputs

    @property
    def output(self) -> str:
        """Name of the first output, as in the file of the policy."""
        return GAUSSIAN if self.inputs.action_mask is None else LOG_PROBS

    def differences(self, found: PolicyOutputs) -> dict[str, float]:
        """Compare outputs with the expected ones: the largest |found - expected| / (1 + |expected|) by output.

        Log-probabilities are compared where the mask allows the action. A number that is not finite where the expected
        one is, an output that is missing or of another shape, and an action that the mask forbids and whose
        probability is not 0, are infinitely different.
        """
        mask = self.inputs.action_mask
        expected = self.outputs
        differences = {self.output: _difference(found.params, expected.params, where=mask)}
        if mask is not None and found.params.shape == mask.shape and np.exp(found.params[~mask]).any():
            differences[self.output] = math.inf
        if expected.values is not None:
            differences[VALUES] = _difference(found.values, expected.values)
        if expected.state is not None:
            differences[STATE_OUT] = _difference(found.state, expected.state)
        return differences

    def encode(self) -> bytes:
        """Return the content of the file.

        Raises:
            EvaluationError: if an output is not finite.
        """
        mask = self.inputs.action_mask
        params = self.outputs.params if mask is None else np.where(mask, self.outputs.params, np.float32(0.0))
        legal: JsonValue = None
        if mask is not None:
            legal = {"shape": list(mask.shape), "numbers": mask.astype(int).ravel().tolist()}
        content: dict[str, JsonValue] = {
            "format": VECTORS_FORMAT,
            "schema_version": list(VECTORS_VERSION),
            "policy_sha256": self.policy_sha256,
            "seed": self.seed,
            "tolerance": self.tolerance,
            "observations": {name: _array(name, array) for name, array in self.inputs.observations.items()},
            "action_mask": legal,
            "state_in": _optional("state_in", self.inputs.state),
            self.output: _array(self.output, params, where=mask),
            VALUES: _optional(VALUES, self.outputs.values),
            STATE_OUT: _optional(STATE_OUT, self.outputs.state),
        }
        lines = [f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in content.items()]
        return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def vectors_path(policy: Path) -> Path:
    """Return the path of the golden vectors of the policy file `policy`: `policy.vectors.json` for `policy.onnx`."""
    return policy.with_suffix(".vectors.json")


def draw_inputs(card: PolicyCard, *, seed: int) -> PolicyInputs:
    """Draw inputs for a policy: multiples of 1/16 in [-4, 4], about half of the actions legal.

    Args:
        card: of the policy.
        seed: of the draws; at least 0.

    Returns:
        Up to `MAX_ROWS` agents, as many as keep all arrays within `MAX_NUMBERS`.

    Raises:
        EvaluationError: if one agent's inputs and outputs are more than `MAX_NUMBERS`.
    """
    width = sum(math.prod(shape) for shape in card.observation_shapes.values())
    width += card.mask_size + card.num_outputs + 2 * card.state_size + 1
    if width > MAX_NUMBERS:
        raise EvaluationError(f"golden vectors hold up to {MAX_NUMBERS} numbers, one agent of this policy has {width}")
    rows = min(MAX_ROWS, MAX_NUMBERS // width)
    rng = np.random.default_rng(seed)

    def numbers(*shape: int) -> NDArray[np.float32]:
        drawn = np.round(rng.normal(size=(rows, *shape)) * _STEP) / _STEP
        return np.clip(drawn, -4.0, 4.0).astype(np.float32)

    observations = {name: numbers(*shape) for name, shape in sorted(card.observation_shapes.items())}
    mask = _draw_mask(card, rows, rng) if card.mask_size else None
    return PolicyInputs(observations, mask, numbers(card.state_size) if card.state_size else None)


def _draw_mask(card: PolicyCard, rows: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """About half of the actions, and one of each part for certain."""
    sizes = card.actions.sizes if isinstance(card.actions, MultiDiscrete) else (card.mask_size,)
    mask: NDArray[np.bool_] = rng.random((rows, card.mask_size)) < 0.5
    for size, start in zip(sizes, np.cumsum((0, *sizes)), strict=False):
        mask[np.arange(rows), start + rng.integers(size, size=rows)] = True
    return mask


def golden_vectors(
    card: PolicyCard, policy_sha256: str, *, seed: int, act: Callable[[PolicyInputs], PolicyOutputs]
) -> GoldenVectors:
    """Draw the inputs of a policy and note what it answers.

    Args:
        card: of the policy.
        policy_sha256: checksum of its file.
        seed: of the inputs; at least 0.
        act: the policy, or better the network that its file was made of.

    Raises:
        EvaluationError: if one agent's inputs and outputs are more than `MAX_NUMBERS`.
    """
    inputs = draw_inputs(card, seed=seed)
    return GoldenVectors(
        policy_sha256=policy_sha256, seed=seed, tolerance=VECTORS_TOLERANCE, inputs=inputs, outputs=act(inputs)
    )


def read_vectors(path: Path) -> GoldenVectors:
    """Read the golden vectors in the file `path`.

    Raises:
        ArtifactError: if it cannot be read, is larger than `MAX_JSON_BYTES`, or is not of the format.
    """
    fields = Fields(parse_object(read_named(path, max_bytes=MAX_JSON_BYTES), path), path, error=ManifestError)
    fields.version(VECTORS_FORMAT, VECTORS_VERSION)
    named = fields.inside("observations")
    observations = {name: _read(named, name, path) for name in sorted(fields.object("observations"))}
    numbers = _read_optional(fields, "action_mask", path)
    mask = None if numbers is None else numbers != 0.0
    inputs = PolicyInputs(observations, mask, _read_optional(fields, "state_in", path))
    outputs = PolicyOutputs(
        _read(fields, LOG_PROBS if mask is not None else GAUSSIAN, path),
        _read_optional(fields, VALUES, path),
        _read_optional(fields, STATE_OUT, path),
    )
    shape, rows = outputs.params.shape, len(outputs.params)
    if mask is not None and (mask.ndim != 2 or mask.shape != shape):
        raise ArtifactError(path, "parse", f"`{LOG_PROBS}` must be of the shape of `action_mask`, {list(mask.shape)}")
    if mask is None and (len(shape) != 2 or shape[1] % 2):
        raise ArtifactError(path, "parse", f"`{GAUSSIAN}` must have rows of means and deviations, got {list(shape)}")
    arrays = [*observations.values(), inputs.state, *outputs]
    if not observations or not rows or any(array is not None and len(array) != rows for array in arrays):
        raise ArtifactError(path, "parse", f"every array must have the {rows} rows of the others, at least 1")
    tolerance = fields.number("tolerance")
    if tolerance < 0.0:
        raise ArtifactError(path, "parse", f"`tolerance` must be at least 0, got {tolerance}")
    return GoldenVectors(
        policy_sha256=fields.text("policy_sha256"),
        seed=fields.integer("seed"),
        tolerance=tolerance,
        inputs=inputs,
        outputs=outputs,
    )


def _difference(found: NDArray[Any] | None, expected: NDArray[Any], *, where: NDArray[np.bool_] | None = None) -> float:
    if found is None or found.shape != expected.shape:
        return math.inf
    if where is not None:
        found, expected = found[where], expected[where]
    exact = expected.astype(np.float64)
    errors = np.abs(found.astype(np.float64) - exact) / (1.0 + np.abs(exact))
    return float(np.nan_to_num(errors, nan=math.inf, posinf=math.inf).max(initial=0.0))


def _array(name: str, array: NDArray[np.float32], *, where: NDArray[np.bool_] | None = None) -> dict[str, JsonValue]:
    if np.count_nonzero(np.isfinite(array)) != array.size:
        raise EvaluationError(f"`{name}` of golden vectors must be finite")
    # The shortest decimals of each float32, which are the same number again when they are read as one.
    numbers: list[JsonValue] = [float(str(one)) for one in array.astype(np.float32).ravel()]
    if where is not None:
        numbers = [one if written else None for one, written in zip(numbers, where.flat, strict=True)]
    return {"shape": list(array.shape), "numbers": numbers}


def _optional(name: str, array: NDArray[np.float32] | None) -> JsonValue:
    return None if array is None else _array(name, array)


def _read(fields: Fields, name: str, path: Path) -> NDArray[np.float32]:
    shape, numbers = fields.inside(name).integers("shape"), fields.object(name).get("numbers")
    if not isinstance(numbers, list) or not shape or min(shape) < 0 or math.prod(shape) != len(numbers):
        raise ArtifactError(path, "parse", f"`{name}` must hold as many `numbers` as its shape {list(shape)} says")
    found = [_LOWEST if one is None else one for one in numbers if isinstance(one, int | float | None)]
    if len(found) != len(numbers) or any(abs(one) > -_LOWEST for one in found):
        raise ArtifactError(path, "parse", f"`{name}` must hold float32 numbers, and null for a forbidden action")
    return np.array(found, np.float32).reshape(shape)


def _read_optional(fields: Fields, name: str, path: Path) -> NDArray[np.float32] | None:
    return None if fields.is_null(name) else _read(fields, name, path)
