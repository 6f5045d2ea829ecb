"""The label of a policy file, and the checksum that is stored in it.

`docs/policy-format.md` describes the whole file. Its writers are the exporter of townlet-training and the `seal` of
townlet-runtime, its reader is townlet-runtime.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from townlet_trajectory.data.actions import ArrayActions, Box, actions_document
from townlet_trajectory.data.schema import vocabulary_digest
from townlet_trajectory.errors import EvaluationError
from townlet_trajectory.storage.json import JsonValue, canonical_json

POLICY_FORMAT = "townlet-policy"
POLICY_VERSION = 2
"""Of a label with array actions; that of any other is 1, so that readers of version 1 go on with it."""
POLICY_METADATA = "townlet"
"""Key of the metadata entry of the ONNX model that holds the label."""
LOG_PROBS, GAUSSIAN, VALUES, STATE_IN, STATE_OUT = "log_probs", "gaussian", "values", "state_in", "state_out"
"""Names of the graph's outputs, the first or the second of which it has, and of its recurrent state."""
DISTRIBUTIONS = ("clipped", "squashed")
"""How numbers within bounds follow from the Gaussian of a policy; `docs/policy-format.md` has the equations."""

_ZEROS = b"0" * 64
_MARKER = b'"file_sha256": "'

Commitment = tuple[str, int, int]
"""Where observations show the option in force: name of the observation, its first column, ticks that 1.0 stands for."""


@dataclass(frozen=True, kw_only=True)
class PolicyCard:
    """The label of a policy file: its actions, observations, weights and world."""

    vocabulary: tuple[str, ...]
    """Keys of the actions, in the order of the outputs; empty with array actions."""
    observation_shapes: Mapping[str, tuple[int, ...]]
    """Per agent, without the leading axis; all float32."""
    weights_sha256: str
    """Of the network's weights, whatever file holds them."""
    world: str
    """Name of the simulation that it was made for."""
    feature_names: tuple[str, ...] = ()
    """Names of the columns of the observation `features`; empty: not known, and not compared with a world's."""
    commitment: Commitment | None = None
    """None: not known, or shown nowhere; not compared with a world's."""
    state_size: int = 0
    """Numbers of recurrent state that each agent has (S); 0: none."""
    has_values: bool = True
    """Whether it says what a state is worth."""
    actions: ArrayActions | None = None
    """Actions that are no index, and then there is no `vocabulary`; None: indices into it."""
    distribution: str = ""
    """One of `DISTRIBUTIONS` where `actions` is a `Box`, else empty."""

    def __post_init__(self) -> None:
        if self.actions is not None and self.vocabulary:
            raise EvaluationError(f"a policy has `vocabulary` or `actions`, got both: {self.actions!r:.80}")
        expected = DISTRIBUTIONS if isinstance(self.actions, Box) else ("",)
        if self.distribution not in expected:
            raise EvaluationError(f"`distribution` must be one of {expected}, got {self.distribution!r:.80}")

    @property
    def version(self) -> int:
        """Of its label: the oldest that can say it."""
        return 1 if self.actions is None else POLICY_VERSION

    @property
    def output(self) -> str:
        """Name of the graph's output [N, P] that tells the actions: `LOG_PROBS` or `GAUSSIAN`."""
        return GAUSSIAN if isinstance(self.actions, Box) else LOG_PROBS

    @property
    def num_outputs(self) -> int:
        """Numbers of that output for each agent (P)."""
        return len(self.vocabulary) if self.actions is None else self.actions.num_outputs

    @property
    def mask_size(self) -> int:
        """Columns of the graph's input `action_mask`, which a graph of Gaussians has not: 0."""
        return 0 if isinstance(self.actions, Box) else self.num_outputs

    @property
    def spec_sha256(self) -> str:
        """Digest of all that a world must have in common with it, see `spec_digest`."""
        return spec_digest(
            self.vocabulary, self.observation_shapes, self.feature_names, self.commitment, actions=self.actions
        )

    def text(self) -> str:
        """Return the content of the metadata entry, with zeros in the place of the file's checksum."""
        label: dict[str, JsonValue] = {
            "format": POLICY_FORMAT,
            "version": self.version,
            "world": self.world,
            "vocabulary": list(self.vocabulary),
            "vocabulary_sha256": vocabulary_digest(self.vocabulary),
            **_array_actions(self.actions),
            **({"distribution": self.distribution} if self.distribution else {}),
            **_observed(self.observation_shapes, self.feature_names, self.commitment),
            "spec_sha256": self.spec_sha256,
            "state_size": self.state_size,
            "values": self.has_values,
            "weights_sha256": self.weights_sha256,
            "file_sha256": _ZEROS.decode(),
        }
        return json.dumps(label)


def spec_digest(
    vocabulary: Sequence[str],
    observation_shapes: Mapping[str, tuple[int, ...]],
    feature_names: Sequence[str],
    commitment: Commitment | None,
    *,
    actions: ArrayActions | None = None,
) -> str:
    """SHA-256 of the canonical JSON of actions and observations; equal where a policy of the one world fits the other.

    Args:
        vocabulary: keys of the actions, in order; empty with array actions.
        observation_shapes: per agent, in any order.
        feature_names: of the columns of the observation `features`; may be empty.
        commitment: where the option in force is shown; None: nowhere.
        actions: array actions; None: indices into `vocabulary`.

    Returns:
        64 hexadecimal digits.
    """
    document: dict[str, JsonValue] = {
        "vocabulary": list(vocabulary),
        **_array_actions(actions),
        **_observed(observation_shapes, feature_names, commitment),
    }
    return hashlib.sha256(canonical_json(document)).hexdigest()


def _array_actions(actions: ArrayActions | None) -> dict[str, JsonValue]:
    return {} if actions is None else {"actions": actions_document(actions)}


def _observed(
    shapes: Mapping[str, tuple[int, ...]], feature_names: Sequence[str], commitment: Commitment | None
) -> dict[str, JsonValue]:
    shown: JsonValue = None
    if commitment is not None:
        observation, start, max_ticks = commitment
        shown = {"observation": observation, "start": start, "max_ticks": max_ticks}
    return {
        "observations": {name: list(shape) for name, shape in shapes.items()},
        "feature_names": list(feature_names),
        "commitment": shown,
    }


def seal_policy(data: bytes) -> tuple[bytes, str]:
    """Put the checksum of a policy file in its place.

    Args:
        data: the file, with 64 zeros after the only `file_sha256`, as `PolicyCard.text` writes them.

    Returns:
        The file to be written, and its checksum: the SHA-256 of `data`.

    Raises:
        EvaluationError: if there is no such place, or more than one.
    """
    place = _MARKER + _ZEROS + b'"'
    if data.count(place) != 1:
        raise EvaluationError("an unsealed policy must hold `file_sha256` with 64 zeros exactly once")
    start = data.index(place) + len(_MARKER)
    digest = hashlib.sha256(data).hexdigest()
    return data[:start] + digest.encode() + data[start + len(_ZEROS) :], digest
