"""Trained policies that act without torch: one ONNX file, verified before onnxruntime sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as state

from townlet_runtime.errors import PolicyFileError, SimulationError
from townlet_runtime.policy.file import MAX_BATCH, PolicyCard, parse_card, read_policy_bytes, verified_digest
from townlet_runtime.simulation.interface import Observations
from townlet_trajectory import ACTION_MASK

if TYPE_CHECKING:
    from onnx import ModelProto

METADATA_KEY = "townlet"
OUTPUTS = ("log_probs", "values")

# onnxruntime has no error root: each of these derives from Exception alone.
_ONNXRUNTIME_ERRORS = (
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
    """A policy read from a file that `townlet_training` exported. A `Policy`.

    The file is untrusted: its checksum is verified, and its graph is known to be bounded in size and work, before
    onnxruntime sees it. More than `MAX_BATCH` agents are asked about in several forward passes.

        policy = OnnxPolicy.load("RUN_DIR/policy.onnx")
        log_probs, values = policy.act(observed.observations, observed.action_mask)

    A file that is no such policy is refused, with its path, what was expected and what came:

    Examples:
        >>> from townlet_runtime import OnnxPolicy
        >>> OnnxPolicy.load("a.onnx")
        Traceback (most recent call last):
            ...
        townlet_runtime.errors.PolicyFileError: a.onnx: expected a readable policy file, got No such file or directory
    """

    card: PolicyCard
    digest: str
    """The file's own SHA-256, see `policy.file.verified_digest`; what `active_policy_hash` says."""
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
                damaged, foreign, of a newer version, another one than expected, or not bounded in size and work.
        """
        from townlet_runtime.policy.graph import read_model  # brings `onnx`, which takes a while to import

        path = Path(path)
        data = read_policy_bytes(path)
        digest = verified_digest(data, path)
        if expected_sha256 is not None and digest != expected_sha256:
            raise PolicyFileError(path, expected=f"the policy {expected_sha256}", got=digest)
        model = read_model(data, path)
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        if METADATA_KEY not in metadata:
            raise PolicyFileError(
                path, expected=f"a metadata entry `{METADATA_KEY}`", got=f"{sorted(metadata)}: foreign"
            )
        card = parse_card(metadata[METADATA_KEY], path)
        takes_mask = _check_model(model, card, path)
        return cls(card=card, digest=digest, session=_open_session(data, path, num_threads), takes_mask=takes_mask)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        return self.card.vocabulary

    @property
    def observation_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return self.card.observation_shapes

    def act(
        self, observations: Observations, action_mask: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Evaluate a batch of observations.

        Args:
            observations: each [N, ...] of `observation_shapes`; other numbers than float32 are cast.
            action_mask: [N, A] bool; None: every action is legal.

        Returns:
            log-probabilities [N, A] and values [N].

        Raises:
            SimulationError: names the observation or mask that is missing or of another shape.
        """
        feed = self._feed(observations, action_mask)
        rows = len(feed[next(iter(self.card.observation_shapes))])
        if rows == 0:  # shape arithmetic inside a graph may fail on empty batches
            return np.empty((0, len(self.vocabulary)), np.float32), np.empty(0, np.float32)
        if rows <= MAX_BATCH:
            return self._run(feed)
        parts = [
            self._run({name: array[begin : begin + MAX_BATCH] for name, array in feed.items()})
            for begin in range(0, rows, MAX_BATCH)
        ]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def _run(
        self, feed: Mapping[str, NDArray[np.float32] | NDArray[np.bool_]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        try:
            log_probs, values = self.session.run(OUTPUTS, feed)
        except _ONNXRUNTIME_ERRORS as error:
            raise SimulationError(f"the policy {self.digest} cannot be computed: {str(error)[:200]}") from error
        return log_probs, values

    def _feed(
        self, observations: Observations, action_mask: NDArray[np.bool_] | None
    ) -> dict[str, NDArray[np.float32] | NDArray[np.bool_]]:
        """The inputs of the graph."""
        shapes = self.card.observation_shapes
        if observations.keys() != shapes.keys():
            raise SimulationError(f"the policy expected the observations {sorted(shapes)}, got {sorted(observations)}")
        feed: dict[str, NDArray[np.float32] | NDArray[np.bool_]] = {}
        rows: int | None = None
        for name, shape in shapes.items():
            feed[name] = array = _as_float32(name, observations[name])
            rows = (array.shape or (0,))[0] if rows is None else rows
            if array.shape != (rows, *shape):
                raise SimulationError(f"the policy expected `{name}` of shape {(rows, *shape)}, got {array.shape}")
        expected = (rows or 0, len(self.vocabulary))
        if action_mask is not None and (action_mask.shape != expected or action_mask.dtype != np.bool_):
            raise SimulationError(
                f"the policy expected a bool `{ACTION_MASK}` {expected}, got {action_mask.dtype} {action_mask.shape}"
            )
        if self.takes_mask:
            feed[ACTION_MASK] = np.ones(expected, np.bool_) if action_mask is None else action_mask
        return feed


def _as_float32(name: str, array: NDArray[Any]) -> NDArray[np.float32]:
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise SimulationError(f"the policy expected numbers in `{name}`, got {type(array).__name__}: {array!r:.80}")
    return array if array.dtype == np.float32 else array.astype(np.float32)


def _open_session(data: bytes, path: Path, num_threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except _ONNXRUNTIME_ERRORS as error:
        raise PolicyFileError(path, expected="an ONNX model", got=str(error)[:200]) from error


def _check_model(model: ModelProto, card: PolicyCard, path: Path) -> bool:
    """Refuse a graph that is not bounded or contradicts its card; returns whether it takes an action mask."""
    from townlet_runtime.policy.graph import BOOL, FLOAT, check_graph, declared_inputs

    num_actions = len(card.vocabulary)
    inputs = declared_inputs(model)
    expected = {name: (FLOAT, (-1, *shape)) for name, shape in card.observation_shapes.items()}
    mask = {ACTION_MASK: (BOOL, (-1, num_actions))}
    if inputs not in (expected, expected | mask):
        raise PolicyFileError(path, expected=f"the graph inputs {expected} and the mask {mask}", got=f"{inputs}")
    outputs = check_graph(model, inputs, path)
    promised = dict(zip(OUTPUTS, ((FLOAT, (MAX_BATCH, num_actions)), (FLOAT, (MAX_BATCH,))), strict=True))
    if any(outputs.get(name) != one for name, one in promised.items()):
        raise PolicyFileError(path, expected=f"the float outputs {promised}", got=f"{outputs}")
    return ACTION_MASK in inputs
