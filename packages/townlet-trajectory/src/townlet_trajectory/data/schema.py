"""What the columns of a record are: names, dtypes, shapes, codes, and the action vocabulary they refer to."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.actions import ArrayActions, MultiDiscrete, actions_document, parse_actions
from townlet_trajectory.errors import SchemaError

if TYPE_CHECKING:
    from townlet_trajectory.storage.json import Fields, JsonValue

Array = NDArray[np.generic]
"""An array of rows, of any dtype that a column may have."""

FEATURES = "features"
"""Name of the observation whose columns may have names."""

ACTION_MASK = "action_mask"
"""Name of the observation that holds the legal actions, bool [N, A]; no final observation needs one."""

REWARD_TERM = "reward_"
"""Beginning of the names of decision columns that hold a named part of the reward, float32 [N]."""

DTYPES = frozenset(
    {"bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64"}
)
"""The dtypes a column may have."""

MAX_ROW_DIMENSIONS = 7
"""Axes of a row: an array of rows has one more, and is still read from every kind of file."""
MAX_ROW_BYTES = 1 << 30
"""Of one row of one column."""

_NAMES = ("proposers", "veto_reasons", "feature_names")
"""Fields of a schema that records of earlier versions lack."""

_FOR_PEOPLE = ("veto_reasons", "feature_names")
"""Those among them that change nothing of what a row holds."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


class Kind(IntEnum):
    """Meaning of a step for a learner (column `kind`, int8)."""

    DECISION = 0
    """The blend drew the action with a known probability."""
    FORCED = 1
    """A commitment was in force, or a single action was legal."""
    FOREIGN = 2
    """Possessed, or decided in a way that no recorded probability describes."""


class Source(IntEnum):
    """Who made the choice that was carried out (column `source`, int8)."""

    SCRIPTED = 0
    LEARNED = 1
    EXTERNAL = 2


class EpisodeLabel(IntEnum):
    """What a person, or a program, says of an episode (field `episode_labels` of trajectories, int8)."""

    NONE = 0
    """Not labelled."""
    SUCCESS = 1
    FAILURE = 2
    DISCARD = 3
    """Not to be learned from; learners leave it out unless they are told otherwise."""


def label_named(name: str) -> EpisodeLabel:
    """The label of a name in lower case; `SchemaError` if there is no such label."""
    for label in EpisodeLabel:
        if label.name.lower() == name:
            return label
    raise SchemaError(f"a label must be one of {[label.name.lower() for label in EpisodeLabel]}, got {name!r:.80}")


@dataclass(frozen=True)
class ArraySpec:
    """One column: the dtype of an element and the shape of a row."""

    dtype: str
    """Name of a numpy dtype, one of `DTYPES`."""
    shape: tuple[int, ...] = ()
    """Shape of one row, without the leading axis; every length at least 1."""

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise SchemaError(f"`dtype` must be one of {sorted(DTYPES)}, got {self.dtype!r}")
        if not isinstance(self.shape, tuple) or not all(type(length) is int and length > 0 for length in self.shape):
            raise SchemaError(f"`shape` must be a tuple of positive ints, got {self.shape!r:.80}")
        if len(self.shape) > MAX_ROW_DIMENSIONS or self.row_bytes > MAX_ROW_BYTES:
            raise SchemaError(
                f"a row has at most {MAX_ROW_DIMENSIONS} axes and {MAX_ROW_BYTES} bytes, got {self.shape!r:.80}"
            )

    @property
    def numpy_dtype(self) -> np.dtype[np.generic]:
        return np.dtype(self.dtype)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.shape) * self.numpy_dtype.itemsize  # exact, where numpy's product would wrap around


@dataclass(frozen=True, kw_only=True)
class TrajectorySchema:
    """The columns of one agent group: observations, decisions, and the vocabulary of actions.

    Examples:
        >>> from townlet_trajectory import ArraySpec, TrajectorySchema, default_decision_columns
        >>> schema = TrajectorySchema(
        ...     observations={"features": ArraySpec("float32", (2,)), "action_mask": ArraySpec("bool", (2,))},
        ...     decisions=default_decision_columns(),
        ...     vocabulary=("wait", "eat"),
        ... )
        >>> schema.observations["features"].row_bytes
        8
    """

    observations: Mapping[str, ArraySpec]
    """At least one."""
    decisions: Mapping[str, ArraySpec]
    """At least one; names differ from those of the observations. Columns `reward_TERM` are parts of the reward, float32
    and recorded with the outcome."""
    vocabulary: tuple[str, ...]
    """Action keys, in the order of the action indices; empty where actions are not discrete."""
    proposers: tuple[str, ...] = ()
    """Names of those who made the proposals beside the policy, by the codes of column `proposer`; empty: not known."""
    veto_reasons: tuple[str, ...] = ()
    """Names of the reasons of vetoes: `veto_reason` of a decision is 1 + index into this; empty: not known."""
    feature_names: tuple[str, ...] = ()
    """Names of the columns of the observation `features`, as the world has them; empty: not known."""
    actions: ArrayActions | None = None
    """Actions that are no index, and then there is no `vocabulary`; None: indices into it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "observations", dict(self.observations))
        object.__setattr__(self, "decisions", dict(self.decisions))
        for kind, columns in (("observations", self.observations), ("decisions", self.decisions)):
            if not columns:
                raise SchemaError(f"`{kind}` must name at least one column")
            for name in columns:
                if not _NAME.fullmatch(name):
                    raise SchemaError(f"{kind}: a column name must match {_NAME.pattern}, got {name!r}")
        if both := sorted(self.observations.keys() & self.decisions.keys()):
            raise SchemaError(f"columns are both observation and decision: {both}")
        for term in self.reward_terms:
            if (spec := self.decisions[REWARD_TERM + term]) != ArraySpec("float32"):
                raise SchemaError(f"`{REWARD_TERM}{term}`, a part of the reward, must be float32, got {spec}")
        for field in ("vocabulary", "proposers", "veto_reasons"):
            _check_names(field, vars(self)[field])
        self._check_features()
        self._check_actions()

    def _check_actions(self) -> None:
        if self.actions is not None and self.vocabulary:
            raise SchemaError(f"a schema has `vocabulary` or `actions`, got both: {self.actions!r:.80}")
        width = self.actions.num_outputs if isinstance(self.actions, MultiDiscrete) else len(self.vocabulary)
        mask = self.observations.get(ACTION_MASK)
        expected = ArraySpec("bool", (width,)) if width else None
        if mask is not None and mask != expected:
            raise SchemaError(f"`{ACTION_MASK}` must be {expected}, got {mask}")
        if self.actions is None:
            return
        action = ArraySpec(self.actions.dtype, (len(self.actions.names),))
        for name in ACTION_COLUMNS & self.decisions.keys():
            if self.decisions[name] != action:
                raise SchemaError(f"`{name}` must be {action} with {self.actions!r:.80}, got {self.decisions[name]}")

    def _check_features(self) -> None:
        if not isinstance(self.feature_names, tuple) or not all(isinstance(name, str) for name in self.feature_names):
            raise SchemaError(f"`feature_names` must be a tuple of strings, got {self.feature_names!r:.80}")
        if not self.feature_names:
            return
        expected, named = ArraySpec("float32", (len(self.feature_names),)), self.observations.get(FEATURES)
        if named != expected:
            count = len(self.feature_names)
            raise SchemaError(f"`{FEATURES}`, whose columns have {count} names, must be {expected}, got {named}")

    @property
    def reward_terms(self) -> tuple[str, ...]:
        """Names of the parts of the reward, without their common beginning."""
        return tuple(name.removeprefix(REWARD_TERM) for name in self.decisions if name.startswith(REWARD_TERM))

    @property
    def vocabulary_digest(self) -> str:
        """SHA-256 (hex) of the keys as canonical JSON."""
        return vocabulary_digest(self.vocabulary)

    def require_equal(self, other: TrajectorySchema) -> None:
        """Raise `SchemaError`, naming the first difference, unless rows of both mean the same to a learner.

        `veto_reasons` and `feature_names`, which only people read, are not compared.
        """
        if self.vocabulary != other.vocabulary:
            raise SchemaError(
                f"vocabularies differ: {len(self.vocabulary)} actions, digest {self.vocabulary_digest[:12]}, "
                f"and {len(other.vocabulary)} actions, digest {other.vocabulary_digest[:12]}"
            )
        if self.actions != other.actions:
            raise SchemaError(f"actions differ: {self.actions!r:.80} and {other.actions!r:.80}")
        if self.proposers != other.proposers:
            raise SchemaError(f"proposers differ: {self.proposers} and {other.proposers}")
        for kind, ours, theirs in (
            ("observation", self.observations, other.observations),
            ("decision", self.decisions, other.decisions),
        ):
            for name in sorted(ours.keys() | theirs.keys()):
                if ours.get(name) != theirs.get(name):
                    raise SchemaError(f"{kind} `{name}` differs: {ours.get(name)} and {theirs.get(name)}")


def common_schema(schemas: Sequence[TrajectorySchema]) -> TrajectorySchema:
    """Return the schema of the rows of all of `schemas`, at least one: the first, without names that others contradict.

    Raises:
        SchemaError: as `TrajectorySchema.require_equal`.
    """
    first, others = schemas[0], schemas[1:]
    for other in others:
        first.require_equal(other)
    contradicted: dict[str, Any] = {
        field: () for field in _FOR_PEOPLE if any(vars(one)[field] not in ((), vars(first)[field]) for one in others)
    }
    return replace(first, **contradicted) if contradicted else first


def vocabulary_digest(keys: tuple[str, ...]) -> str:
    """SHA-256 (hex) of `keys` as canonical JSON; equal digests mean equal actions in equal order."""
    text = json.dumps(list(keys), separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


ACTION_COLUMNS = frozenset({"action", "chosen_action", "expert_action", "drawn_action"})
"""Decision columns that hold an action; `held_action` is an index, of options, which only discrete actions have."""


def default_decision_columns(actions: ArrayActions | None = None) -> dict[str, ArraySpec]:
    """The columns of one settled decision, in the order of the README's table; None: actions are indices."""
    action = ArraySpec("int64") if actions is None else ArraySpec(actions.dtype, (len(actions.names),))
    return {
        "action": action,
        "chosen_action": action,
        "kind": ArraySpec("int8"),
        "source": ArraySpec("int8"),
        "vetoed": ArraySpec("bool"),
        "veto_reason": ArraySpec("int8"),
        "possessed": ArraySpec("bool"),
        "demonstrated": ArraySpec("bool"),
        "expert_action": action,
        "behavior_log_prob": ArraySpec("float32"),
        "policy_log_prob": ArraySpec("float32"),
        "value": ArraySpec("float32"),
        "ratio": ArraySpec("float32"),
        "held_action": ArraySpec("int64"),
        "ticks_left": ArraySpec("int32"),
        "drawn_action": action,
        "proposer": ArraySpec("int8"),
        "proposal_age": ArraySpec("int32"),
        "observation_age": ArraySpec("int32"),
        "temperature": ArraySpec("float32"),
    }


def schema_document(schema: TrajectorySchema) -> dict[str, JsonValue]:
    """`observations` and `decisions`, each an object of `dtype` and `shape` by name, `vocabulary`, and the names
    that are known."""
    columns = {"observations": schema.observations, "decisions": schema.decisions}
    document: dict[str, JsonValue] = {
        kind: {name: {"dtype": spec.dtype, "shape": [*spec.shape]} for name, spec in specs.items()}
        for kind, specs in columns.items()
    }
    names: dict[str, JsonValue] = {field: list(vars(schema)[field]) for field in _NAMES if vars(schema)[field]}
    if schema.actions is not None:
        names["actions"] = actions_document(schema.actions)
    return {**document, "vocabulary": list(schema.vocabulary), **names}


def parse_schema(fields: Fields) -> TrajectorySchema:
    """The inverse of `schema_document`; other fields of the object are not looked at.

    Raises:
        ManifestError: the error of `fields`, if a value is missing or of another type.
        SchemaError: if the values are not a schema.
    """
    columns: dict[str, Any] = {}
    for kind in ("observations", "decisions"):
        inside = fields.inside(kind)
        specs = {name: inside.inside(name) for name in fields.object(kind)}
        columns[kind] = {name: ArraySpec(spec.text("dtype"), spec.integers("shape")) for name, spec in specs.items()}
    names: dict[str, Any] = {field: fields.texts(field) for field in _NAMES if field in fields.values}
    if "actions" in fields.values:
        names["actions"] = parse_actions(fields.inside("actions"))
    return TrajectorySchema(**columns, vocabulary=fields.texts("vocabulary"), **names)


def _check_names(field: str, names: tuple[str, ...]) -> None:
    if not isinstance(names, tuple) or not all(isinstance(name, str) and name for name in names):
        raise SchemaError(f"`{field}` must be a tuple of non-empty strings, got {names!r}")
    if len(set(names)) != len(names):
        repeated = sorted({name for name in names if names.count(name) > 1})
        raise SchemaError(f"`{field}` repeats {repeated}")
