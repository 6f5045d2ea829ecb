"""Trained policies that act without torch: one ONNX file, verified before onnxruntime sees it.

`docs/policy-format.md` describes the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as state

from townlet_runtime.errors import PolicyFileError, SimulationError
from townlet_runtime.policy.file import MAX_BATCH, PolicyCard, parse_card, read_policy_bytes, verified_digest
from townlet_runtime.simulation.interface import Observations
from townlet_trajectory import ACTION_MASK
from townlet_trajectory.data.actions import ArrayActions
from townlet_trajectory.evaluation.policy_card import POLICY_METADATA, STATE_IN, STATE_OUT, VALUES

if TYPE_CHECKING:
    from onnx import ModelProto

# onnxruntime has no error root: each of these derives from Exception alone.
ONNXRUNTIME_ERRORS = (
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

Feed = Mapping[str, NDArray[np.float32] | NDArray[np.bool_]]


@dataclass(frozen=True, kw_only=True, eq=False)
class _PolicyFile:
    """What both kinds of policy have in common: the label, and a session over the file's bytes."""

    card: PolicyCard
    digest: str
    """The file's own SHA-256, see `policy.file.verified_digest`; what `active_policy_hash` says."""
    session: onnxruntime.InferenceSession
    data: bytes = field(repr=False)
    """Of the file."""
    outputs: tuple[str, ...]
    """Of the graph, those that are computed."""

    @classmethod
    def load(cls, path: Path | str, *, expected_sha256: str | None = None, num_threads: int = 1) -> Self:
        """Read, verify and prepare the policy in `path`.

        Args:
            path: the ONNX file.
            expected_sha256: the `digest` it must have, None where any will do.
            num_threads: threads of one forward pass.

        Raises:
            PolicyFileError: names the path, what was expected and what came, for a file that is missing, too large,
                damaged, foreign, of a newer version, another one than expected, not bounded in size and work, or of
                the other kind (with or without recurrent state).
        """
        policy = load_policy(path, expected_sha256=expected_sha256, num_threads=num_threads)
        if not isinstance(policy, cls):
            found = f"{policy.card.state_size} numbers of it, which is for `{type(policy).__name__}`"
            raise PolicyFileError(path, expected=f"the recurrent state of an `{cls.__name__}`", got=found)
        return policy

    @property
    def vocabulary(self) -> tuple[str, ...]:
        return self.card.vocabulary

    @property
    def actions(self) -> ArrayActions | None:
        return self.card.actions

    @property
    def distribution(self) -> str:
        return self.card.distribution

    @property
    def observation_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return self.card.observation_shapes

    def without_values(self) -> Self:
        """Return the same policy without its critic: it answers None in the place of values, and computes none."""
        if VALUES not in self.outputs:
            return self
        from townlet_runtime.policy.editing import with_outputs

        outputs = tuple(name for name in self.outputs if name != VALUES)
        threads = self.session.get_session_options().intra_op_num_threads
        session = open_session(with_outputs(self.data, outputs), Path(f"policy {self.digest}"), threads)
        return replace(self, session=session, outputs=outputs)

    def _evaluate(self, feed: Feed) -> dict[str, NDArray[np.float32]]:
        """Outputs by name; in several passes where the agents are more than `MAX_BATCH`."""
        rows = len(next(iter(feed.values())))
        if rows == 0:  # shape arithmetic inside a graph may fail on empty batches
            shapes = _promised(self.card)
            return {name: np.empty((0, *shapes[name][1:]), np.float32) for name in self.outputs}
        parts = [
            self._run(
                feed if rows <= MAX_BATCH else {name: one[begin : begin + MAX_BATCH] for name, one in feed.items()}
            )
            for begin in range(0, rows, MAX_BATCH)
        ]
        answers = parts[0] if len(parts) == 1 else [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]
        return dict(zip(self.outputs, answers, strict=True))

    def _run(self, feed: Feed) -> list[NDArray[np.float32]]:
        try:
            answers: list[NDArray[np.float32]] = self.session.run(self.outputs, feed)
        except ONNXRUNTIME_ERRORS as error:
            raise SimulationError(f"the policy {self.digest} cannot be computed: {str(error)[:200]}") from error
        return answers

    def _feed(
        self, observations: Observations, action_mask: NDArray[np.bool_] | None
    ) -> dict[str, NDArray[np.float32] | NDArray[np.bool_]]:
        """The inputs of the graph but its state."""
        shapes = self.card.observation_shapes
        if not shapes.keys() <= observations.keys():
            raise SimulationError(f"the policy expected the observations {sorted(shapes)}, got {sorted(observations)}")
        feed: dict[str, NDArray[np.float32] | NDArray[np.bool_]] = {}
        rows: int | None = None
        for name, shape in shapes.items():
            feed[name] = array = _as_float32(name, observations[name])
            rows = (array.shape or (0,))[0] if rows is None else rows
            if array.shape != (rows, *shape):
                raise SimulationError(f"the policy expected `{name}` of shape {(rows, *shape)}, got {array.shape}")
        expected = (rows or 0, self.card.mask_size)
        if action_mask is not None and (action_mask.shape != expected or action_mask.dtype != np.bool_):
            wanted = f"a bool `{ACTION_MASK}` {expected}" if self.card.mask_size else f"no `{ACTION_MASK}` of numbers"
            raise SimulationError(f"the policy expected {wanted}, got {action_mask.dtype} {action_mask.shape}")
        if self.card.mask_size:
            feed[ACTION_MASK] = np.ones(expected, np.bool_) if action_mask is None else action_mask
        return feed


@dataclass(frozen=True, kw_only=True, eq=False)
class OnnxPolicy(_PolicyFile):
    """A policy read from a file that was exported or sealed. A `Policy`.

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

    def act(
        self, observations: Observations, action_mask: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Evaluate a batch of observations.

        Args:
            observations: each [N, ...] of `observation_shapes`; other numbers than float32 are cast.
            action_mask: [N, M] bool; None: every action is legal, as for numbers, which have no mask.

        Returns:
            log-probabilities [N, P], of numbers K means and K logarithms of deviations, and values [N], None where the
            policy has none.

        Raises:
            SimulationError: names the observation or mask that is missing or of another shape.
        """
        answers = self._evaluate(self._feed(observations, action_mask))
        return answers[self.card.output], answers.get(VALUES)


@dataclass(frozen=True, kw_only=True, eq=False)
class RecurrentOnnxPolicy(_PolicyFile):
    """A policy with recurrent state, read from a file. A `RecurrentActor`; otherwise as `OnnxPolicy`.

        policy = RecurrentOnnxPolicy.load("policy.onnx")
        state = np.zeros((num_agents, policy.state_size), np.float32)
        log_probs, values, state = policy.act(observed.observations, observed.action_mask, state)

    Examples:
        >>> from townlet_runtime import RecurrentOnnxPolicy
        >>> RecurrentOnnxPolicy.load("a.onnx")
        Traceback (most recent call last):
            ...
        townlet_runtime.errors.PolicyFileError: a.onnx: expected a readable policy file, got No such file or directory
    """

    @property
    def state_size(self) -> int:
        return self.card.state_size

    def act(
        self, observations: Observations, action_mask: NDArray[np.bool_] | None, state: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None, NDArray[np.float32]]:
        """Evaluate a batch of observations.

        Args:
            observations: each [N, ...] of `observation_shapes`; other numbers than float32 are cast.
            action_mask: [N, M] bool; None: every action is legal, as for numbers, which have no mask.
            state: [N, S] float32; zeros where an agent begins.

        Returns:
            log-probabilities [N, P], of numbers K means and K logarithms of deviations, values [N] or None, and the
            next state [N, S].

        Raises:
            SimulationError: names the observation, mask or state that is missing or of another shape.
        """
        feed = self._feed(observations, action_mask)
        expected = (len(next(iter(feed.values()))), self.state_size)
        feed[STATE_IN] = state = _as_float32(STATE_IN, state)
        if state.shape != expected:
            raise SimulationError(f"the policy expected `{STATE_IN}` of shape {expected}, got {state.shape}")
        answers = self._evaluate(feed)
        return answers[self.card.output], answers.get(VALUES), answers[STATE_OUT]


FilePolicy: TypeAlias = OnnxPolicy | RecurrentOnnxPolicy


def load_policy(path: Path | str, *, expected_sha256: str | None = None, num_threads: int = 1) -> FilePolicy:
    """Read, verify and prepare the policy in `path`, of either kind.

    Args:
        path: the ONNX file.
        expected_sha256: the `digest` it must have, None where any will do.
        num_threads: threads of one forward pass.

    Returns:
        A `RecurrentOnnxPolicy` where the file declares recurrent state.

    Raises:
        PolicyFileError: as `OnnxPolicy.load`.
    """
    path = Path(path)
    data = read_policy_bytes(path)
    digest = verified_digest(data, path)
    if expected_sha256 is not None and digest != expected_sha256:
        raise PolicyFileError(path, expected=f"the policy {expected_sha256}", got=digest)
    return policy_of(data, digest, path, num_threads=num_threads)


def policy_of(data: bytes, digest: str, path: Path, *, num_threads: int = 1) -> FilePolicy:
    """Prepare the policy in a file that was read.

    Args:
        data: the whole file.
        digest: its own, which was verified.
        path: for errors.
        num_threads: threads of one forward pass.

    Raises:
        PolicyFileError: if its graph is not bounded, or contradicts its label.
    """
    card = _checked_card(data, path)
    kind = RecurrentOnnxPolicy if card.state_size else OnnxPolicy
    session = open_session(data, path, num_threads)
    return kind(card=card, digest=digest, session=session, data=data, outputs=tuple(_promised(card)))


def _promised(card: PolicyCard) -> dict[str, tuple[int, ...]]:
    """Name and shape of the graph's outputs at `MAX_BATCH` agents."""
    promised: dict[str, tuple[int, ...]] = {card.output: (MAX_BATCH, card.num_outputs)}
    if card.has_values:
        promised[VALUES] = (MAX_BATCH,)
    if card.state_size:
        promised[STATE_OUT] = (MAX_BATCH, card.state_size)
    return promised


def _as_float32(name: str, array: NDArray[Any]) -> NDArray[np.float32]:
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise SimulationError(f"the policy expected numbers in `{name}`, got {type(array).__name__}: {array!r:.80}")
    return array if array.dtype == np.float32 else array.astype(np.float32)


def open_session(data: bytes, path: Path, num_threads: int) -> onnxruntime.InferenceSession:
    """Let onnxruntime prepare a model that is known to be bounded.

    Args:
        data: the model.
        path: for the error.
        num_threads: threads of one forward pass.

    Raises:
        PolicyFileError: if onnxruntime refuses it.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except ONNXRUNTIME_ERRORS as error:
        raise PolicyFileError(path, expected="an ONNX model", got=str(error)[:200]) from error


def _checked_card(data: bytes, path: Path) -> PolicyCard:
    """The label of a file; a graph that is not bounded, or contradicts the label, is refused."""
    from townlet_runtime.policy.graph import read_model  # brings `onnx`, which takes a while to import

    model = read_model(data, path)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if POLICY_METADATA not in metadata:
        raise PolicyFileError(
            path, expected=f"a metadata entry `{POLICY_METADATA}`", got=f"{sorted(metadata)}: foreign"
        )
    card = parse_card(metadata[POLICY_METADATA], path)
    _check_model(model, card, path)
    return card


def _check_model(model: ModelProto, card: PolicyCard, path: Path) -> None:
    from townlet_runtime.policy.graph import BOOL, FLOAT, check_graph, declared_inputs

    inputs = declared_inputs(model)
    expected = {name: (FLOAT, (-1, *shape)) for name, shape in card.observation_shapes.items()}
    if card.mask_size:
        expected[ACTION_MASK] = (BOOL, (-1, card.mask_size))
    if card.state_size:
        expected[STATE_IN] = (FLOAT, (-1, card.state_size))
    if inputs != expected:
        raise PolicyFileError(path, expected=f"the graph inputs {expected}", got=f"{inputs}")
    outputs = check_graph(model, inputs, path)
    promised = {name: (FLOAT, shape) for name, shape in _promised(card).items()}
    if outputs != promised:
        raise PolicyFileError(path, expected=f"the float outputs {promised}", got=f"{outputs}")
