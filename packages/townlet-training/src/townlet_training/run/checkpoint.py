"""Checkpoints: a directory each, written at once and verified before it is used.

The state is JSON, tensors are safetensors, worlds are npz for the numbers and JSON for the types: nothing is pickled.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import safetensors
import safetensors.torch
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from townlet_training.errors import CheckpointError, NonFiniteError, ShapeError
from townlet_training.network.weights import require_finite, weights_digest
from townlet_training.run.state import SCHEMA_VERSION, TrainingState
from townlet_trajectory import ArtifactError
from townlet_trajectory.storage.files import remove_directory
from townlet_trajectory.storage.json import JsonValue, parse_object, readable_json
from townlet_trajectory.storage.manifest import read_directory, write_directory
from townlet_trajectory.storage.npz import decode_npz, encode_npz

MAX_CHECKPOINT_BYTES = 1 << 30
"""A larger one is refused before it is read."""

SavedWorlds: TypeAlias = Mapping[str, NDArray[np.generic]]
"""Arrays that `Collector.save_state` returns."""

_WEIGHTS, _OPTIMIZER, _STATE = "weights.safetensors", "optimizer.safetensors", "state.json"
_ARRAYS, _TYPES = "worlds.npz", "worlds.json"
_ALWAYS, _WORLDS = frozenset({_WEIGHTS, _OPTIMIZER, _STATE}), frozenset({_ARRAYS, _TYPES})
_NAME = re.compile(r"step-(\d{9,})(?:-interim-(\d+))?")
_RECORD = TypeAdapter(TrainingState)

_NUMBERS = frozenset("bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64".split())
_TEXT = "text"
_CHARACTER = np.dtype("<u4")


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """Everything that a run is resumed from."""

    state: TrainingState
    weights: Mapping[str, Tensor]
    """Parameters and buffers, normalization included: `NAME`, with several agent groups `GROUP/NAME`."""
    learner: Mapping[str, Tensor]
    """State of the learners, named likewise: the optimizers' moments, and the random generators."""
    worlds: SavedWorlds | None
    """State of the collector; None where it cannot be saved, and before anything was learned."""


class CheckpointStore:
    """The checkpoints of one run, by world steps.

    Beside them there may be an *interim* one, of a moment at which no checkpoint is due: where a run began, or was
    asked to stop. A run can be resumed from it, and it is removed with the next checkpoint.
    """

    def __init__(self, directory: Path, *, keep_last: int) -> None:
        """`keep_last` newest checkpoints stay, beside those that `save` is told to protect."""
        self._directory = directory
        self._keep_last = keep_last

    def path(self, env_steps: int) -> Path:
        """Return the path of the checkpoint at `env_steps`, which need not exist."""
        return self._directory / f"step-{env_steps:09d}"

    def steps(self) -> tuple[int, ...]:
        """Return the world steps of every checkpoint, ascending, without interim ones."""
        return tuple(steps for steps, is_due, _, _ in self._found() if is_due)

    def newest(self) -> Path | None:
        """Return the checkpoint that a run is resumed from, interim or not; None where there is none."""
        found = self._found()
        return found[-1][-1] if found else None

    def save(self, checkpoint: Checkpoint, *, protected: frozenset[int] = frozenset()) -> Path:
        """Write `checkpoint`, then `prune`: when this returns it survives a crash of the machine.

        Args:
            protected: world steps of checkpoints that stay however old they are.

        Raises:
            CheckpointError: if it cannot be written, or there is one at these world steps.
            NonFiniteError: if a number in it is not finite.
        """
        path = self.path(checkpoint.state.env_steps)
        self._write(path, checkpoint)
        self.prune(protected=protected)
        return path

    def save_interim(self, checkpoint: Checkpoint) -> Path:
        """Write `checkpoint` as the interim one, then remove the one before; errors as of `save`."""
        serial = max((serial for _, _, serial, _ in self._found()), default=0) + 1
        path = self.path(checkpoint.state.env_steps)
        path = path.with_name(f"{path.name}-interim-{serial}")
        self._write(path, checkpoint)
        self._remove_interim(but=path)
        return path

    def prune(self, *, protected: frozenset[int]) -> None:
        """Remove every checkpoint that is neither among the newest nor `protected`, and interim ones but the newest.

        Raises:
            CheckpointError: if one cannot be removed.
        """
        self._remove_interim(but=self.newest())
        for steps in self.steps()[: -self._keep_last]:
            if steps not in protected:
                _remove(self.path(steps))

    def load(self, env_steps: int) -> Checkpoint:
        """Read the checkpoint at `env_steps`; see `read_checkpoint`."""
        return read_checkpoint(self.path(env_steps))

    def _found(self) -> list[tuple[int, bool, int, Path]]:
        """List the checkpoints that are there, oldest first: world steps, whether it is due, serial number, path.

        Of the same steps, the interim one is older: it was written before what made the other one due.
        """
        if not self._directory.exists():
            return []
        names = [(_NAME.fullmatch(path.name), path) for path in self._directory.iterdir() if path.is_dir()]
        return sorted((int(name[1]), name[2] is None, int(name[2] or 0), path) for name, path in names if name)

    def _write(self, path: Path, checkpoint: Checkpoint) -> None:
        for tensors in (checkpoint.weights, checkpoint.learner):
            require_finite(tensors, stage="checkpoint")
        files = {
            _WEIGHTS: safetensors.torch.save(dict(checkpoint.weights)),
            _OPTIMIZER: safetensors.torch.save(dict(checkpoint.learner)),
            _STATE: encode_state(checkpoint.state),
            **({} if checkpoint.worlds is None else encode_worlds(checkpoint.worlds)),
        }
        try:
            self._directory.mkdir(exist_ok=True)
            write_directory(path, files)
        except ArtifactError as error:
            raise CheckpointError(error.path, error.stage, error.reason) from error
        except OSError as error:
            raise CheckpointError(self._directory, "write", error.strerror or str(error)) from error

    def _remove_interim(self, *, but: Path | None) -> None:
        for _, is_due, _, path in self._found():
            if not is_due and path != but:
                _remove(path)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint. Sizes and digests of all its files are verified before any of them is parsed.

    Raises:
        CheckpointError: if there is none, it is damaged, or of another version.
    """
    try:
        files = read_directory(path, max_bytes=MAX_CHECKPOINT_BYTES)
    except ArtifactError as error:
        raise CheckpointError(error.path, error.stage, error.reason) from error
    if _STATE not in files:
        raise CheckpointError(path, "verify", f"expected {_STATE}, got {sorted(files)}")
    state = parse_state(files[_STATE], path / _STATE)
    if files.keys() not in (_ALWAYS, _ALWAYS | _WORLDS):
        raise CheckpointError(path, "verify", f"expected {sorted(_ALWAYS)} and worlds, got {sorted(files)}")
    weights = parse_tensors(files[_WEIGHTS], path / _WEIGHTS)
    if weights_digest(weights) != state.weights_sha256:
        raise CheckpointError(path, "verify", f"the weights are not those of `weights_sha256` {state.weights_sha256}")
    try:
        worlds = decode_worlds(files, path) if _ARRAYS in files else None
    except ArtifactError as error:
        raise CheckpointError(error.path, error.stage, error.reason) from error
    learner = parse_tensors(files[_OPTIMIZER], path / _OPTIMIZER)
    return Checkpoint(state=state, weights=weights, learner=learner, worlds=worlds)


def encode_state(state: TrainingState) -> bytes:
    """Encode `state` as one line of JSON: a long history is much shorter so.

    Raises:
        NonFiniteError: if a number in it is not finite.
    """
    document = _RECORD.dump_python(state, mode="json")
    try:
        return json.dumps(document, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    except ValueError as error:
        raise NonFiniteError("checkpoint", f"state: {error}") from error


def parse_state(data: bytes, path: Path) -> TrainingState:
    """Parse the content of a `state.json`, which came from `path`.

    Raises:
        CheckpointError: if it is not strict JSON, of another version, or a field is missing, unknown, of another type
            or out of range.
    """
    try:
        version = parse_object(data, path).get("schema_version")
    except ArtifactError as error:
        raise CheckpointError(error.path, error.stage, error.reason) from error
    if version != SCHEMA_VERSION:
        raise CheckpointError(path, "parse", f"`schema_version` must be {SCHEMA_VERSION}, got {version!r:.40}")
    try:
        return _RECORD.validate_json(data, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the record"
        raise CheckpointError(path, "parse", f"{where}: {first['msg']}") from error


def encode_worlds(state: SavedWorlds) -> dict[str, bytes]:
    """Encode the state of worlds as files, by name.

    Raises:
        ShapeError: if an array holds something else than numbers, bools, or text of fixed width.
    """
    types: dict[str, JsonValue] = {}
    arrays: dict[str, NDArray[np.generic]] = {}
    for name, array in state.items():
        if array.dtype.kind == "U":
            types[name] = _TEXT
            # Characters as numbers, along one more axis.
            characters = np.asarray(array, array.dtype.newbyteorder("<"), order="C").reshape(*array.shape, 1)
            arrays[name] = characters.view(_CHARACTER)
        elif array.dtype.name in _NUMBERS:
            types[name] = array.dtype.name
            arrays[name] = array.astype(array.dtype.newbyteorder("<"), copy=False)
        else:
            raise ShapeError(f"the state `{name}` of the worlds must be numbers, bools or text, got {array.dtype}")
    return {_ARRAYS: encode_npz(arrays), _TYPES: readable_json(types)}


def decode_worlds(files: Mapping[str, bytes], path: Path) -> SavedWorlds:
    """Invert `encode_worlds`, for files of the directory `path`.

    Raises:
        ArtifactError: if one of them is damaged.
    """
    types = parse_object(files[_TYPES], path / _TYPES)
    arrays = decode_npz(files[_ARRAYS], path / _ARRAYS, names=frozenset(types))
    state: dict[str, NDArray[np.generic]] = {}
    for name, kind in types.items():
        array = arrays[name]
        if array.dtype.name != (_CHARACTER.name if kind == _TEXT else kind):
            raise ArtifactError(path / _ARRAYS, "parse", f"`{name}` must be {kind}, got {array.dtype}")
        state[name] = _text(array, path) if kind == _TEXT else array
    return state


def _text(characters: NDArray[np.generic], path: Path) -> NDArray[np.generic]:
    """Return text of the shape of `characters` [..., width]."""
    if characters.ndim < 1 or characters.shape[-1] < 1 or int(characters.max(initial=0)) > 0x10FFFF:
        raise ArtifactError(path / _ARRAYS, "parse", "not the characters of text")
    width = characters.shape[-1]
    return characters.view(np.dtype(f"<U{width}")).reshape(characters.shape[:-1])


def parse_tensors(data: bytes, path: Path) -> dict[str, Tensor]:
    """Parse tensors in the form of safetensors, which came from `path`; `CheckpointError` if they are not."""
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise CheckpointError(path, "parse", str(error)) from error
    return tensors


def _remove(path: Path) -> None:
    try:
        remove_directory(path)
    except ArtifactError as error:
        raise CheckpointError(error.path, error.stage, error.reason) from error
