"""Checkpoints: a directory each, written at once, verified before anything of it is used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from townlet_training.config import PolicySpec
from townlet_training.errors import CheckpointError, ConfigError
from townlet_training.fields import Fields
from townlet_training.networks import ActorCritic
from townlet_training.ppo import PPOLearner
from townlet_training.weights import require_finite, set_weights, weights_digest, weights_of
from townlet_trajectory import ArtifactError, vocabulary_digest
from townlet_trajectory.documents import parse_object, readable_json
from townlet_trajectory.files import remove_directory
from townlet_trajectory.manifest import read_directory, write_directory

SCHEMA_VERSION = 1
MAX_CHECKPOINT_BYTES = 1 << 30
"""A larger one is refused before it is read."""

_WEIGHTS, _OPTIMIZER, _STATE = "weights.safetensors", "optimizer.safetensors", "state.json"
_NAME = re.compile(r"step-(\d{9,})")


@dataclass(frozen=True, kw_only=True)
class CheckpointState:
    """Where the run stood, apart from its tensors."""

    schema_version: int = SCHEMA_VERSION
    mode: str
    seed: int
    stage: str
    world: str
    vocabulary_sha256: str
    update_index: int
    """Updates of the plan that were done."""
    num_updates: int
    """Updates that were made, those that a gate took back included."""
    env_steps: int
    agent_steps: int
    transitions: int
    ratio: float
    """Of the last update."""
    attempt: int
    weights_sha256: str
    """`weights_digest` of the weights beside it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """Everything that training goes on from."""

    state: CheckpointState
    weights: Mapping[str, Tensor]
    """Parameters and buffers of the network, normalization included."""
    learner: Mapping[str, Tensor]
    """State of the learner: the optimizer's moments, and its random generator."""


def take(network: ActorCritic, learner: PPOLearner, state: CheckpointState) -> Checkpoint:
    """Copy what `network` and `learner` are now."""
    return Checkpoint(state=state, weights=weights_of(network), learner=learner.state_dict())


def restore(checkpoint: Checkpoint, network: ActorCritic, learner: PPOLearner, *, spec: PolicySpec) -> None:
    """Make `network` and `learner` what they were when `checkpoint` was taken, the random state last.

    Raises:
        ConfigError: if it was trained in another world, or with another action vocabulary, than `spec` says.
        ShapeError: if it is of another network.
    """
    expected = {"world": spec.world, "vocabulary": vocabulary_digest(spec.vocabulary)}
    found = {"world": checkpoint.state.world, "vocabulary": checkpoint.state.vocabulary_sha256}
    if found != expected:
        raise ConfigError(f"the checkpoint must be of {expected}, got {found}")
    set_weights(network, checkpoint.weights)
    learner.load_state_dict(checkpoint.learner)


class CheckpointStore:
    """The checkpoints of one run, by world steps."""

    def __init__(self, directory: Path, *, keep_last: int) -> None:
        """`keep_last` newest checkpoints stay, beside those that `save` is told to protect."""
        self._directory = directory
        self._keep_last = keep_last

    def path(self, env_steps: int) -> Path:
        """Where the checkpoint at `env_steps` is, or would be."""
        return self._directory / f"step-{env_steps:09d}"

    def steps(self) -> tuple[int, ...]:
        """World steps of every checkpoint there is, ascending."""
        names = (_NAME.fullmatch(entry.name) for entry in self._directory.iterdir() if entry.is_dir())
        return tuple(sorted(int(match[1]) for match in names if match))

    def save(self, checkpoint: Checkpoint, *, protected: frozenset[int] = frozenset()) -> Path:
        """Write `checkpoint`, then remove old ones: when this returns it survives a crash of the machine.

        Args:
            protected: world steps of checkpoints that stay however old they are.

        Raises:
            CheckpointError: if it cannot be written, or there is one at these world steps.
            NonFiniteError: if a number in it is not finite.
        """
        for tensors in (checkpoint.weights, checkpoint.learner):
            require_finite(tensors, stage="checkpoint")
        path = self.path(checkpoint.state.env_steps)
        files = {
            _WEIGHTS: safetensors.torch.save(dict(checkpoint.weights)),
            _OPTIMIZER: safetensors.torch.save(dict(checkpoint.learner)),
            _STATE: readable_json(asdict(checkpoint.state)),
        }
        try:
            self._directory.mkdir(exist_ok=True)
            write_directory(path, files)
            for steps in self.steps()[: -self._keep_last]:
                if steps not in protected:
                    remove_directory(self.path(steps))
        except ArtifactError as error:
            raise CheckpointError(error.path, error.stage, error.reason) from error
        except OSError as error:
            raise CheckpointError(self._directory, "write", error.strerror or str(error)) from error
        return path

    def load(self, env_steps: int) -> Checkpoint:
        """Read the checkpoint at `env_steps`; see `read_checkpoint`."""
        return read_checkpoint(self.path(env_steps))


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint. Sizes and digests of all its files are verified before any of them is parsed.

    Raises:
        CheckpointError: if there is none, it is damaged, or of another version.
    """
    try:
        files = read_directory(path, max_bytes=MAX_CHECKPOINT_BYTES)
    except ArtifactError as error:
        raise CheckpointError(error.path, error.stage, error.reason) from error
    if files.keys() != {_WEIGHTS, _OPTIMIZER, _STATE}:
        raise CheckpointError(path, "verify", f"expected {_WEIGHTS}, {_OPTIMIZER} and {_STATE}, got {sorted(files)}")
    state = _parse_state(files[_STATE], path / _STATE)
    weights = _parse_tensors(files[_WEIGHTS], path / _WEIGHTS)
    if weights_digest(weights) != state.weights_sha256:
        raise CheckpointError(path, "verify", f"the weights are not those of `weights_sha256` {state.weights_sha256}")
    return Checkpoint(state=state, weights=weights, learner=_parse_tensors(files[_OPTIMIZER], path / _OPTIMIZER))


def _parse_tensors(data: bytes, path: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise CheckpointError(path, "parse", str(error)) from error
    return tensors


def _parse_state(data: bytes, path: Path) -> CheckpointState:
    try:
        document = parse_object(data, path)
    except ArtifactError as error:
        raise CheckpointError(error.path, error.stage, error.reason) from error
    version = document.get("schema_version")
    if version != SCHEMA_VERSION:
        raise CheckpointError(path, "parse", f"`schema_version` must be {SCHEMA_VERSION}, got {version!r}")
    names = frozenset(field.name for field in fields(CheckpointState))
    record = Fields(document, "the state", names, error=lambda reason: CheckpointError(path, "parse", reason))
    return CheckpointState(
        mode=record.text("mode"),
        seed=record.count("seed"),
        stage=record.text("stage"),
        world=record.text("world"),
        vocabulary_sha256=record.text("vocabulary_sha256"),
        update_index=record.count("update_index"),
        num_updates=record.count("num_updates"),
        env_steps=record.count("env_steps"),
        agent_steps=record.count("agent_steps"),
        transitions=record.count("transitions"),
        ratio=record.number("ratio"),
        attempt=record.count("attempt"),
        weights_sha256=record.text("weights_sha256"),
    )
