"""Spaces as Minari writes them (JSON), and the columns of a schema: from one to the other.

Only dtype, shape and what an action can be are taken from a space; the bounds of observations that are written are
those of the dtype. Source: Minari 0.5, `minari/serialization.py`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from townlet_trajectory.data.actions import ArrayActions, Box, MultiDiscrete, outside
from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.schema import ACTION_MASK, ArraySpec, Kind, Source, TrajectorySchema, parse_schema
from townlet_trajectory.data.trajectory import Array
from townlet_trajectory.dataset.info import DatasetInfo, document_digest, parse_info
from townlet_trajectory.errors import CaptureError, SchemaError
from townlet_trajectory.storage.json import SCHEMA_VERSION, Fields, JsonValue, parse_json
from townlet_trajectory.storage.manifest import FileEntry

ACTION = "action"
"""The decision column that is Minari's `actions`."""

MAX_ACTIONS = 1 << 20
MAX_LEAVES = 1024
_IMAGE_SIDE = 32
_HIGHEST = float(np.finfo(np.float32).max)
_SPECIAL = re.compile(r"[^A-Za-z0-9_]")


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """One array of every episode."""

    name: str
    """The column that it becomes."""
    path: tuple[str, ...]
    """Groups and dataset below the episode."""
    spec: ArraySpec
    """Of a row."""
    start: int | tuple[int, ...] = 0
    """What the lowest value of a `Discrete` is called, of a `MultiDiscrete` [K] the lowest of each."""
    num_values: int | tuple[int, ...] | None = None
    """How many values a `Discrete` has; of a `MultiDiscrete` or `MultiBinary` [K] how many each has."""
    bounds: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    """The lowest and the highest of each number of a `Box` [K], where all are finite and the one is below the other."""
    is_image: bool = False
    """Whether Minari keeps it as JPEG unless told otherwise."""
    exact: bool = False
    """Whether the file holds that very dtype (ours do); else it is converted, and only floats are rounded."""

    def converted(self, array: Array) -> Array:
        """What an episode holds, as rows of the column; `SchemaError` if a value would be another one."""
        target = self.spec.numpy_dtype
        if array.dtype == target and self.num_values is None:
            return array
        if self.exact or not (target.kind == "b" or np.can_cast(array.dtype, target, "same_kind")):
            raise SchemaError(f"expected {target}, got {array.dtype}")
        values = array
        if self.num_values is not None:
            start, size = np.array(self.start), np.array(self.num_values)
            values = indices = array.astype(np.int64) - start
            if ((indices < 0) | (indices >= size)).any():
                allowed = f"[{start.tolist()}, {(start + size).tolist()})"
                raise SchemaError(f"actions must be in {allowed}, got {array.min()} ... {array.max()}")
        with np.errstate(over="ignore"):
            result: Array = values.astype(target)
        fits = np.isfinite(result) == np.isfinite(values) if target.kind == "f" else result == values
        if not np.all(fits):
            raise SchemaError(f"values of {array.dtype} do not fit into {target}")
        return result


def space_text(specs: Mapping[str, ArraySpec]) -> str:
    """The `Dict` space of columns, as text."""
    return json.dumps({"type": "Dict", "subspaces": {name: _space_of(spec) for name, spec in specs.items()}})


def action_space_text(schema: TrajectorySchema) -> str:
    """The space of the column `action`, as text: `Discrete` where there is a vocabulary, `MultiDiscrete` or `Box` where
    the schema says so. Raises `SchemaError` if there is no such column."""
    spec, actions = schema.decisions.get(ACTION), schema.actions
    if spec is None:
        raise SchemaError(f"Minari needs the decision column `{ACTION}`, there are {sorted(schema.decisions)}")
    if is_discrete(schema):
        return json.dumps({"type": "Discrete", "dtype": "int64", "start": 0, "n": len(schema.vocabulary)})
    if isinstance(actions, MultiDiscrete):
        start = [0] * len(actions.sizes)
        return json.dumps({"type": "MultiDiscrete", "dtype": "int64", "nvec": actions.sizes, "start": start})
    if isinstance(actions, Box):
        bounds = {name: np.array(vars(actions)[name], np.float32).tolist() for name in ("low", "high")}
        return json.dumps({"type": "Box", "dtype": "float32", "shape": [len(actions.names)], **bounds})
    return json.dumps(_space_of(spec))


def require_actions(batch: TrajectoryBatch) -> None:
    """Raise `SchemaError` if an executed action is none of those of the schema."""
    schema, executed = batch.schema, batch.columns[ACTION]
    if schema.actions is not None:
        if (wrong := outside(schema.actions, executed)).any():
            allowed = f"within {json.loads(action_space_text(schema))}"
            raise SchemaError(f"`{ACTION}` must be {allowed:.200}, got {executed[wrong.argmax()]}")
    elif is_discrete(schema) and batch.num_steps:
        actions = executed.astype(np.int64, copy=False)
        if not 0 <= actions.min() <= actions.max() < len(schema.vocabulary):
            allowed = f"[0, {len(schema.vocabulary)})"
            raise SchemaError(f"`{ACTION}` must be in {allowed}, got {actions.min()} ... {actions.max()}")


def is_discrete(schema: TrajectorySchema) -> bool:
    """Whether the column `action` holds indices into the vocabulary."""
    return bool(schema.vocabulary) and schema.decisions.get(ACTION) == ArraySpec("int64")


def looks_like_an_image(spec: ArraySpec) -> bool:
    """Whether Minari takes the `Box` of `spec` for an image, which it keeps as JPEG unless told otherwise."""
    return spec.dtype == "uint8" and len(spec.shape) in (2, 3) and min(spec.shape[:2]) >= _IMAGE_SIDE


def own_leaves(schema: TrajectorySchema) -> tuple[dict[str, Leaf], dict[str, Leaf]]:
    """Where a dataset of ours holds the (observations, decisions) of its schema."""
    observations = {
        name: Leaf(name=name, path=("observations", name), spec=spec, exact=True)
        for name, spec in schema.observations.items()
    }
    decisions = {
        name: Leaf(name=name, path=("actions",) if name == ACTION else ("infos", name), spec=spec, exact=True)
        for name, spec in schema.decisions.items()
    }
    return observations, decisions


def leaves_of(text: str, *, member: str, name: str, path: str | Path) -> dict[str, Leaf]:
    """The arrays of a space by the names of their columns.

    Args:
        text: the space, as Minari writes it; its bounds may be infinite.
        member: what Minari calls it in an episode, `observations` or `actions`.
        name: the column's name where the space is one array; the names of others begin with it where a `Dict` does not
            name them.
        path: where the text comes from, for the error.

    Raises:
        ArtifactError: if it is not JSON of bounded size and depth, or holds what no column can hold.
    """
    document = parse_json(text.encode(errors="replace"), path, finite=False)
    leaves: dict[str, Leaf] = {}
    for leaf in _walk(document, Leaf(name="", path=(member,), spec=ArraySpec("bool")), path):
        full = leaf.name or name
        if not (full[0].isalpha() or full[0] == "_"):
            full = f"{name}_{full}"
        if full in leaves:
            raise CaptureError(path, "parse", f"{leaves[full].path} and {leaf.path} would both be called `{full}`")
        leaves[full] = replace(leaf, name=full)
        if len(leaves) > MAX_LEAVES:
            raise CaptureError(path, "parse", f"a space of more than {MAX_LEAVES} arrays is not read")
    return leaves


def with_mask(leaves: Mapping[str, Leaf], num_actions: int) -> dict[str, Leaf]:
    """The observations, with a mask of 0 and 1 of whatever dtype as the bool that the schema wants."""
    mask = leaves.get(ACTION_MASK)
    if mask is None or mask.spec.shape != (num_actions,) or mask.spec.dtype.startswith("float"):
        return dict(leaves)
    return {**leaves, ACTION_MASK: replace(mask, spec=ArraySpec("bool", mask.spec.shape))}


def _space_of(spec: ArraySpec) -> dict[str, JsonValue]:
    if spec.dtype == "bool" and spec.shape:
        return {"type": "MultiBinary", "n": [*spec.shape] if len(spec.shape) > 1 else spec.shape[0]}
    kind = spec.numpy_dtype.kind
    low, high = (-math.inf, math.inf) if kind == "f" else (0, 1)
    if kind in "iu":
        limits = np.iinfo(spec.dtype)
        low, high = int(limits.min), int(limits.max)
    return {
        "type": "Box",
        "dtype": spec.dtype,
        "shape": [*spec.shape],
        "low": np.full(spec.shape, low).tolist(),
        "high": np.full(spec.shape, high).tolist(),
    }


def _walk(document: JsonValue, at: Leaf, path: str | Path) -> Iterator[Leaf]:
    """The leaves of a space; their names are the keys on the way to them, joined by `_`."""
    where = f"{path}:{'/'.join(at.path)}"
    if not isinstance(document, dict):
        raise CaptureError(where, "parse", f"a space must be an object, got {document!r:.80}")
    space = Fields(document, where)
    kind = space.text("type")
    if kind == "Dict":
        for key, subspace in space.object("subspaces").items():
            below = replace(at, name=_joined(at.name, key), path=(*at.path, *key.split("/")))
            yield from _walk(subspace, below, path)
    elif kind == "Tuple" and isinstance(subspaces := document.get("subspaces"), list):
        for index, subspace in enumerate(subspaces):
            below = replace(at, name=_joined(at.name, str(index)), path=(*at.path, f"_index_{index}"))
            yield from _walk(subspace, below, path)
    else:
        try:
            yield _leaf(kind, space, document.get("n"), at)
        except SchemaError as error:
            raise CaptureError(where, "parse", str(error)) from error


def _leaf(kind: str, space: Fields, number: JsonValue, at: Leaf) -> Leaf:
    if kind == "Box":
        spec = ArraySpec(space.text("dtype"), space.integers("shape"))
        return replace(at, spec=spec, is_image=looks_like_an_image(spec), bounds=_bounds(space, spec))
    if kind == "Discrete":
        num_values = space.integer("n")
        if not 0 < num_values <= MAX_ACTIONS:
            raise SchemaError(f"`n` must be in [1, {MAX_ACTIONS}], got {num_values}")
        return replace(at, spec=ArraySpec("int64"), start=space.integer("start"), num_values=num_values)
    if kind == "MultiBinary":
        shape = space.integers("n") if isinstance(number, list) else (space.integer("n"),)
        return replace(at, spec=ArraySpec("bool", shape), num_values=(2,) * shape[0] if _is_short(shape) else None)
    if kind == "MultiDiscrete":
        sizes = space.integers("nvec")
        start = space.integers("start") if "start" in space.values else (0,) * len(sizes)
        if len(start) != len(sizes):
            raise SchemaError(f"`start` must have the {len(sizes)} numbers of `nvec`, got {len(start)}")
        return replace(at, spec=ArraySpec(space.text("dtype"), (len(sizes),)), start=start, num_values=sizes)
    raise SchemaError(
        f"a space of type {kind!r} is not read; Dict, Tuple, Box, Discrete, MultiBinary, MultiDiscrete are"
    )


def _is_short(shape: tuple[int, ...]) -> bool:
    """Whether it is one axis of at most half of `MAX_ACTIONS`, so that as many bits are parts of an action."""
    return len(shape) == 1 and 0 < 2 * shape[0] <= MAX_ACTIONS


def _bounds(space: Fields, spec: ArraySpec) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """The bounds of numbers that an action can be made of, as float32; None of any others."""
    if spec.numpy_dtype.kind != "f" or len(spec.shape) != 1:
        return None
    ends = []
    for name in ("low", "high"):
        numbers = space.values.get(name)
        if not isinstance(numbers, list) or len(numbers) != spec.shape[0]:
            return None
        if not all(isinstance(one, int | float) and abs(one) <= _HIGHEST for one in numbers):  # a NaN is not below it
            return None
        ends.append(np.array(numbers, np.float32))
    low, high = ends
    return (tuple(low.tolist()), tuple(high.tolist())) if (low < high).all() else None


def _array_actions(leaf: Leaf | None) -> ArrayActions | None:
    """What the one array of an action space can be, with the names that Gymnasium's spaces have here: `0`, `1`, ...

    None: indices, or what cannot be described.
    """
    if leaf is None:
        return None
    if leaf.bounds is not None:
        return Box(names=tuple(map(str, range(len(leaf.bounds[0])))), low=leaf.bounds[0], high=leaf.bounds[1])
    sizes = leaf.num_values
    if not isinstance(sizes, tuple) or min(sizes, default=0) < 2 or sum(sizes) > MAX_ACTIONS:
        return None
    return MultiDiscrete(parts={str(part): tuple(map(str, range(size))) for part, size in enumerate(sizes)})


def _joined(prefix: str, key: str) -> str:
    key = _SPECIAL.sub("_", key)
    return f"{prefix}_{key}" if prefix else key


SECTION = "townlet"
"""Key of our own section of `metadata.json`."""

_FOREIGN_COLUMNS: Mapping[str, Array] = {
    "kind": np.array(Kind.FOREIGN, np.int8),
    "source": np.array(Source.EXTERNAL, np.int8),
    "demonstrated": np.array(True),
}
"""What is true of every step that somebody else recorded: no probability is known, and the action was demonstrated."""


@dataclass(frozen=True, kw_only=True)
class MinariContents:
    """The columns of a dataset, and where its episodes have them."""

    schema: TrajectorySchema
    num_episodes: int
    observations: Mapping[str, Leaf]
    decisions: Mapping[str, Leaf]
    """Those that the file holds."""
    constants: Mapping[str, Array] = field(default_factory=dict)
    """The other decision columns: the row that they hold everywhere."""
    info: DatasetInfo = field(default_factory=DatasetInfo)
    file: FileEntry | None = None
    """What the file of arrays must be, where the dataset is ours."""


def minari_contents(metadata: Mapping[str, JsonValue], path: Path) -> MinariContents:
    """Read `metadata.json`, parsed already, that came from `path`. Raises `ArtifactError` if it is damaged, of a format
    or version that is not read, or says what no schema can say."""
    fields = Fields(metadata, path)
    if (data_format := fields.text("data_format")) != "hdf5":
        raise CaptureError(path, "parse", f"`data_format` must be hdf5, got {data_format!r}")
    try:
        return _own(fields, path) if SECTION in metadata else _foreign(metadata, path)
    except SchemaError as error:
        raise CaptureError(path, "parse", str(error)) from error


def _own(fields: Fields, path: Path) -> MinariContents:
    section, values = fields.inside(SECTION), fields.object(SECTION)
    if (version := section.integer("schema_version")) != SCHEMA_VERSION:
        raise CaptureError(path, "parse", f"schema_version {version} is not {SCHEMA_VERSION}")
    if section.text("sha256") != (digest := document_digest(values)):
        raise CaptureError(path, "verify", f"`{SECTION}`: expected SHA-256 {values['sha256']!r}, got {digest}")
    schema, file = parse_schema(section.inside("schema")), section.inside("file")
    if section.text("vocabulary_digest") != schema.vocabulary_digest:
        raise CaptureError(path, "verify", f"`vocabulary_digest` must be {schema.vocabulary_digest}")
    observations, decisions = own_leaves(schema)
    return MinariContents(
        schema=schema,
        num_episodes=section.integer("num_trajectories"),
        observations=observations,
        decisions=decisions,
        info=parse_info(section.inside("info")),
        file=FileEntry(sha256=file.text("sha256"), size=file.integer("size")),
    )


def _foreign(metadata: Mapping[str, JsonValue], path: Path) -> MinariContents:
    fields = Fields(metadata, path)
    if ours := [name for name, value in metadata.items() if isinstance(value, dict) and "vocabulary_digest" in value]:
        raise CaptureError(path, "verify", f"{ours[0]!r:.80} is our section under another name than {SECTION!r}")
    observations = leaves_of(fields.text("observation_space"), member="observations", name="observation", path=path)
    actions = leaves_of(fields.text("action_space"), member="actions", name=ACTION, path=path)
    only = actions.get(ACTION)
    num_actions = only.num_values if only is not None and isinstance(only.num_values, int) else 0
    array_actions = _array_actions(only)
    # Indices count from 0 for an action, and mean what they meant elsewhere.
    actions = {name: leaf if num_actions and name == ACTION else _as_it_is(leaf) for name, leaf in actions.items()}
    if only is not None and array_actions is not None:
        spec = ArraySpec(array_actions.dtype, only.spec.shape)
        actions = {ACTION: replace(only, spec=spec)}
    width = array_actions.num_outputs if isinstance(array_actions, MultiDiscrete) else num_actions
    observations = with_mask({name: _as_it_is(leaf) for name, leaf in observations.items()}, width)
    encoded = fields.flag("jpeg_encoding") if "jpeg_encoding" in metadata else True
    if images := [leaf.name for leaf in (*observations.values(), *actions.values()) if leaf.is_image and encoded]:
        raise CaptureError(path, "parse", f"{images} are kept as JPEG; only arrays as they were seen are read")
    unproposed = {**_FOREIGN_COLUMNS, **_no_proposal(num_actions, array_actions)}
    constants = {name: value for name, value in unproposed.items() if name not in actions}
    return MinariContents(
        schema=TrajectorySchema(
            observations={name: leaf.spec for name, leaf in observations.items()},
            decisions={
                **{name: leaf.spec for name, leaf in actions.items()},
                **{name: ArraySpec(value.dtype.name, value.shape) for name, value in constants.items()},
            },
            vocabulary=tuple(f"action_{index}" for index in range(num_actions)),
            actions=array_actions,
        ),
        num_episodes=fields.integer("total_episodes"),
        observations=observations,
        decisions=actions,
        constants=constants,
    )


def _no_proposal(num_actions: int, actions: ArrayActions | None) -> dict[str, Array]:
    """Columns that say that no script proposed anything."""
    if actions is not None:
        nothing = np.full(len(actions.names), -1 if isinstance(actions, MultiDiscrete) else 0, actions.dtype)
        return {"expert_action": nothing, "proposer": np.array(-1, np.int8)}
    return {"expert_action": np.array(-1)} if num_actions else {}


def _as_it_is(leaf: Leaf) -> Leaf:
    return replace(leaf, start=0, num_values=None, bounds=None)
