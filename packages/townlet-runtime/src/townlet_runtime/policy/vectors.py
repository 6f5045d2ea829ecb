"""Compares a policy file with its golden vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from townlet_runtime.errors import PolicyFileError, SimulationError
from townlet_runtime.policy.onnx import load_policy
from townlet_runtime.policy.seal import answer
from townlet_trajectory import ArtifactError
from townlet_trajectory.evaluation.golden_vectors import read_vectors, vectors_path


@dataclass(frozen=True, kw_only=True)
class VectorsCheck:
    """How far the answers of a policy file are from its golden vectors."""

    digest: str
    """Of the policy file."""
    rows: int
    """Agents that were asked about."""
    tolerance: float
    differences: Mapping[str, float]
    """The largest one by output, see `GoldenVectors.differences`."""

    @property
    def largest(self) -> float:
        """Of all outputs."""
        return max(self.differences.values())

    @property
    def passed(self) -> bool:
        """Whether all are within the tolerance."""
        return self.largest <= self.tolerance


def check_vectors(policy: Path | str, vectors: Path | str | None = None) -> VectorsCheck:
    """Compute the golden vectors of a policy file again, with onnxruntime on this machine.

    Args:
        policy: the file.
        vectors: its golden vectors; None: `policy.vectors.json` beside `policy.onnx`.

    Returns:
        The differences, which may be too large.

    Raises:
        PolicyFileError: if the policy is missing, damaged or foreign, or the vectors are not readable or of another
            policy.
    """
    path = Path(policy)
    loaded = load_policy(path)
    expected = vectors_path(path) if vectors is None else Path(vectors)
    try:
        golden = read_vectors(expected)
    except ArtifactError as error:
        raise PolicyFileError(
            expected, expected="readable golden vectors", got=f"{error.stage}: {error.reason}"
        ) from error
    if golden.policy_sha256 != loaded.digest:
        raise PolicyFileError(expected, expected=f"vectors of the policy {loaded.digest}", got=golden.policy_sha256)
    try:
        found = answer(loaded, golden.inputs)
    except SimulationError as error:
        raise PolicyFileError(expected, expected="inputs that the policy takes", got=str(error)) from error
    return VectorsCheck(
        digest=loaded.digest,
        rows=golden.inputs.rows,
        tolerance=golden.tolerance,
        differences=golden.differences(found),
    )
