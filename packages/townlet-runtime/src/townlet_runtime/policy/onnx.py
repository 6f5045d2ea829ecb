"""Trained policies that act without torch: one ONNX file, verified before onnxruntime sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as state

from townlet_runtime.errors import PolicyFileError
from townlet_runtime.policy.file import PolicyCard, parse_card, read_policy_bytes, verified_digest
from townlet_runtime.policy.policy import Policy, UniformPolicy, greedy_actions, sample_actions
from townlet_runtime.simulation.interface import Observations
from townlet_trajectory import ACTION_MASK

__all__ = ["OnnxPolicy", "Policy", "UniformPolicy", "greedy_actions", "sample_actions"]

METADATA_KEY = "townlet"
OUTPUTS = ("log_probs", "values")

# onnxruntime has no error root: each of these derives from Exception alone.
_LOAD_ERRORS = (
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NoModel,
    state.NoSuchFile,
    state.NotImplemented,
    state.RuntimeException,
    RuntimeError,
    ValueError,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class OnnxPolicy:
    """A policy read from a file that `townlet_training` exported. A `Policy`."""

    card: PolicyCard
    digest: str
    """The file's own SHA-256, see `policy_file.verified_digest`; what `active_policy_hash` says."""
    session: onnxruntime.InferenceSession
    takes_mask: bool

    @classmethod
    def load(cls, path: Path | str, *, expected_sha256: str | None = None, num_threads: int = 1) -> OnnxPolicy:
        """Read, verify and prepare the policy in `path`.

        Args:
            path: the ONNX file.
            expected_sha256: the `digest` it must have, None where any will do.
            num_threads: threads of one forward pass.

        Raises:
            PolicyFileError: names the path, what was expected and what came, for a file that is missing, too large,
                damaged, foreign, of a newer version, or another one than expected.
        """
        path = Path(path)
        data = read_policy_bytes(path)
        digest = verified_digest(data, path)
        if expected_sha256 is not None and digest != expected_sha256:
            raise PolicyFileError(path, expected=f"the policy {expected_sha256}", got=digest)
        session = _open_session(data, path, num_threads)
        metadata = session.get_modelmeta().custom_metadata_map
        if METADATA_KEY not in metadata:
            raise PolicyFileError(
                path, expected=f"a metadata entry `{METADATA_KEY}`", got=f"{sorted(metadata)}: foreign"
            )
        card = parse_card(metadata[METADATA_KEY], path)
        return cls(card=card, digest=digest, session=session, takes_mask=_check_graph(session, card, path))

    @property
    def vocabulary(self) -> tuple[str, ...]:
        return self.card.vocabulary

    @property
    def observation_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return self.card.observation_shapes

    def act(
        self, observations: Observations, action_mask: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Log-probabilities [N, A] and values [N]; without a mask, every action is legal."""
        rows = len(next(iter(observations.values())))
        if rows == 0:  # shape arithmetic inside a graph may fail on empty batches
            return np.empty((0, len(self.vocabulary)), np.float32), np.empty(0, np.float32)
        feed: dict[str, NDArray[np.float32] | NDArray[np.bool_]] = dict(observations)
        if self.takes_mask:
            feed[ACTION_MASK] = np.ones((rows, len(self.vocabulary)), np.bool_) if action_mask is None else action_mask
        log_probs, values = self.session.run(OUTPUTS, feed)
        return log_probs, values


def _open_session(data: bytes, path: Path, num_threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except _LOAD_ERRORS as error:
        raise PolicyFileError(path, expected="an ONNX model", got=str(error)[:200]) from error


def _check_graph(session: onnxruntime.InferenceSession, card: PolicyCard, path: Path) -> bool:
    """Whether the graph takes an action mask; refuse one whose inputs and outputs are not what its card says."""
    inputs = {node.name: (node.type, tuple(node.shape[1:])) for node in session.get_inputs()}
    expected = {name: ("tensor(float)", shape) for name, shape in card.observation_shapes.items()}
    mask = {ACTION_MASK: ("tensor(bool)", (len(card.vocabulary),))}
    if inputs not in (expected, expected | mask):
        raise PolicyFileError(path, expected=f"the graph inputs {expected} and the mask {mask}", got=f"{inputs}")
    outputs = {node.name: node.type for node in session.get_outputs()}
    if any(outputs.get(name) != "tensor(float)" for name in OUTPUTS):
        raise PolicyFileError(path, expected=f"the float outputs {OUTPUTS}", got=f"{outputs}")
    return ACTION_MASK in inputs
