"""Checkpoints: a directory each, written at once, verified before anything of it is used."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
from pydantic import ConfigDict, TypeAdapter
from torch import Tensor

from townlet_training.config import PolicySpec
from townlet_training.errors import CheckpointError, ConfigError
from townlet_training.network.weights import require_finite, weights_digest
from townlet_training.run.agent_groups import Learners
from townlet_training.run.history import RUN_RECORD, RunRecord
from townlet_training.run.saved_worlds import ARRAYS_NAME, TYPES_NAME, SavedWorlds, decode_worlds, encode_worlds
from townlet_training.run.typed_json import encode_record, parse_record
from townlet_trajectory import ArtifactError
from townlet_trajectory.evaluation.results import Mode, Stage
from townlet_trajectory.storage.files import remove_directory
from townlet_trajectory.storage.manifest import read_directory, write_directory

SCHEMA_VERSION = 2
MAX_CHECKPOINT_BYTES = 1 << 30
"""A larger one is refused before it is read."""

_WEIGHTS, _OPTIMIZER, _STATE, _RUN = "weights.safetensors", "optimizer.safetensors", "state.json", "run.json"
_ALWAYS, _WORLDS = frozenset({_WEIGHTS, _OPTIMIZER, _STATE, _RUN}), frozenset({ARRAYS_NAME, TYPES_NAME})
_NAME = re.compile(r"step-(\d{9,})(?:-interim-(\d+))?")


@dataclass(frozen=True, kw_only=True)
class CheckpointState:
    """Where the run stood, apart from its tensors and its past."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA_VERSION
    mode: Mode
    seed: int
    stage: Stage
    specs: Mapping[str, PolicySpec]
    """By agent group."""
    update_index: int
    """Updates of the plan that were done."""
    num_updates: int
    """Updates that were made, those that a gate took back included."""
    env_steps: int
    agent_steps: int
    transitions: Mapping[str, int]
    """Rows learned from, by agent group."""
    ratio: float
    """Of the last collection."""
    attempt: int
    weights_sha256: str
    """`weights_digest` of the weights beside it."""

    def __post_init__(self) -> None:
        counts = {
            "update_index": self.update_index,
            "num_updates": self.num_updates,
            "env_steps": self.env_steps,
            "agent_steps": self.agent_steps,
            "attempt": self.attempt,
            **{f"transitions.{group}": count for group, count in self.transitions.items()},
        }
        for name, count in counts.items():
            if count < 0:
                raise ConfigError(f"`{name}` is a count and must be at least 0, got {count!r}")
        if not self.specs or self.specs.keys() != self.transitions.keys():
            raise ConfigError(f"`transitions` must be of {sorted(self.specs)}, got {sorted(self.transitions)}")


_STATE_RECORD = TypeAdapter(CheckpointState)


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """Everything that training goes on from."""

    state: CheckpointState
    run: RunRecord
    weights: Mapping[str, Tensor]
    """Parameters and buffers, normalization included: `NAME`, with several agent groups `GROUP/NAME`."""
    learner: Mapping[str, Tensor]
    """State of the learners, named likewise: the optimizers' moments, and the random generators."""
    worlds: SavedWorlds | None
    """What the collector goes on from; None where it cannot be saved, and before anything was learned."""


def restore(checkpoint: Checkpoint, learners: Learners, *, specs: Mapping[str, PolicySpec]) -> None:
    """Make `learners` what they were when `checkpoint` was taken, the random states last.

    Raises:
        ConfigError: if it was trained in another world, or with another action vocabulary, than `specs` say.
        ShapeError: if it is of other networks.
    """
    if checkpoint.state.specs != specs:
        raise ConfigError(f"the checkpoint must be of {dict(specs)}, got {dict(checkpoint.state.specs)}")
    learners.restore(checkpoint.weights, checkpoint.learner)


class CheckpointStore:
    """The checkpoints of one run, by world steps.

    Beside them there may be an *interim* one, of a moment at which no checkpoint is due: where a run began, or was
    asked to stop. It is for taking the run up again, and goes with the next checkpoint.
    """

    def __init__(self, directory: Path, *, keep_last: int) -> None:
        """`keep_last` newest checkpoints stay, beside those that `save` is told to protect."""
        self._directory = directory
        self._keep_last = keep_last

    def path(self, env_steps: int) -> Path:
        """Where the checkpoint at `env_steps` is, or would be."""
        return self._directory / f"step-{env_steps:09d}"

    def steps(self) -> tuple[int, ...]:
        """World steps of every checkpoint there is, ascending; interim ones are not among them."""
        return tuple(sorted(int(steps) for steps, serial in self._names() if serial is None))

    def newest(self) -> Path | None:
        """The checkpoint that a run is taken up from, interim or not; None where there is none."""
        # Where both are of the same steps, the interim one was written before what made the other one due.
        keys = [(int(steps), math.inf if serial is None else int(serial)) for steps, serial in self._names()]
        if not keys:
            return None
        steps, serial = max(keys)
        return self.path(steps) if serial == math.inf else self._interim_path(steps, int(serial))

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
        serials = [int(serial) for _, serial in self._names() if serial is not None]
        path = self._interim_path(checkpoint.state.env_steps, max(serials, default=0) + 1)
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

    def _interim_path(self, env_steps: int, serial: int) -> Path:
        path = self.path(env_steps)
        return path.with_name(f"{path.name}-interim-{serial}")

    def _names(self) -> list[tuple[str, str | None]]:
        if not self._directory.exists():
            return []
        names = (_NAME.fullmatch(entry.name) for entry in self._directory.iterdir() if entry.is_dir())
        return [(match[1], match[2]) for match in names if match]

    def _write(self, path: Path, checkpoint: Checkpoint) -> None:
        for tensors in (checkpoint.weights, checkpoint.learner):
            require_finite(tensors, stage="checkpoint")
        files = {
            _WEIGHTS: safetensors.torch.save(dict(checkpoint.weights)),
            _OPTIMIZER: safetensors.torch.save(dict(checkpoint.learner)),
            _STATE: encode_record(_STATE_RECORD, checkpoint.state),
            _RUN: encode_record(RUN_RECORD, checkpoint.run),
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
        for steps, serial in self._names():
            if serial is not None and (path := self._interim_path(int(steps), int(serial))) != but:
                _remove(path)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint. Sizes and digests of all its files are verified before any of them is parsed.

    Raises:
        CheckpointError: if there is none, it is damaged, or of another version: those of version 1 lack what a run is
            taken up from.
    """
    try:
        files = read_directory(path, max_bytes=MAX_CHECKPOINT_BYTES)
    except ArtifactError as error:
        raise CheckpointError(error.path, error.stage, error.reason) from error
    if _STATE not in files:
        raise CheckpointError(path, "verify", f"expected {_STATE}, got {sorted(files)}")
    state = parse_record(_STATE_RECORD, files[_STATE], path / _STATE, version=SCHEMA_VERSION)
    if files.keys() not in (_ALWAYS, _ALWAYS | _WORLDS):
        raise CheckpointError(path, "verify", f"expected {sorted(_ALWAYS)} and worlds, got {sorted(files)}")
    weights = _parse_tensors(files[_WEIGHTS], path / _WEIGHTS)
    if weights_digest(weights) != state.weights_sha256:
        raise CheckpointError(path, "verify", f"the weights are not those of `weights_sha256` {state.weights_sha256}")
    return Checkpoint(
        state=state,
        run=parse_record(RUN_RECORD, files[_RUN], path / _RUN),
        weights=weights,
        learner=_parse_tensors(files[_OPTIMIZER], path / _OPTIMIZER),
        worlds=_parse_worlds(files, path),
    )


def _parse_tensors(data: bytes, path: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise CheckpointError(path, "parse", str(error)) from error
    return tensors


def _parse_worlds(files: Mapping[str, bytes], path: Path) -> SavedWorlds | None:
    if ARRAYS_NAME not in files:
        return None
    try:
        return decode_worlds(files, path)
    except ArtifactError as error:
        raise CheckpointError(error.path, error.stage, error.reason) from error


def _remove(path: Path) -> None:
    try:
        remove_directory(path)
    except ArtifactError as error:
        raise CheckpointError(error.path, error.stage, error.reason) from error
