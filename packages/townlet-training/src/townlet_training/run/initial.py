"""The policy that a run begins with instead of a fresh one: weights and statistics of another run, or adapted ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors.torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import Tensor

from townlet_training.errors import CheckpointError, ConfigError, TrainingError
from townlet_training.groups import join_groups
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.config import NetworkConfig
from townlet_training.network.spec import PolicySpec
from townlet_training.network.weights import require_finite, weights_digest, weights_of
from townlet_training.run.agent_groups import network_of
from townlet_training.run.checkpoint import MAX_CHECKPOINT_BYTES, CheckpointStore, parse_tensors, read_checkpoint
from townlet_training.run.directory import CHECKPOINTS_NAME
from townlet_trajectory import ArtifactError
from townlet_trajectory.evaluation.interfaces import AnyActor
from townlet_trajectory.storage.json import readable_json
from townlet_trajectory.storage.manifest import read_directory, write_directory

_WEIGHTS, _RECORD_NAME = "weights.safetensors", "initial.json"


@dataclass(frozen=True, kw_only=True)
class _Record:
    """`initial.json`."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    schema_version: int
    specs: Mapping[str, PolicySpec]
    network: NetworkConfig
    weights_sha256: str


_RECORD = TypeAdapter(_Record)
_SCHEMA_VERSION = 1
_SIZE = 8
"""Bytes of the length of the record before a policy in one piece."""


@dataclass(frozen=True, kw_only=True, eq=False)
class InitialPolicy:
    """Networks of all agent groups, trained or adapted, without anything of the optimizers.

    Attributes:
        specs: by agent group, with their blocks.
        network: config of all networks.
        weights: parameters and buffers, named as in a `Checkpoint`.
    """

    specs: Mapping[str, PolicySpec]
    network: NetworkConfig
    weights: Mapping[str, Tensor]

    @property
    def sha256(self) -> str:
        """`weights_digest` of the weights."""
        return weights_digest(self.weights)

    def networks(self) -> dict[str, ActorCritic]:
        """Build the networks, by agent group."""
        return network_of(self.specs, self.network, self.weights)

    def fitting(self, specs: Mapping[str, PolicySpec]) -> dict[str, PolicySpec]:
        """Return the specs of a world with the blocks of this policy's.

        Args:
            specs: of the world to train in, by agent group.

        Raises:
            ConfigError: names the first thing in which the world differs, and the command that adapts a policy.
        """
        if specs.keys() != self.specs.keys():
            raise ConfigError(f"the policy has the agent groups {_listed(self.specs)}, the world {_listed(specs)}")
        return {group: _with_blocks(self.specs[group], spec) for group, spec in specs.items()}

    @classmethod
    def of(cls, networks: Mapping[str, ActorCritic], specs: Mapping[str, PolicySpec]) -> InitialPolicy:
        """Copy the weights of networks of one config; both arguments are by agent group."""
        weights = join_groups({group: weights_of(network) for group, network in networks.items()})
        return cls(specs=specs, network=next(iter(networks.values())).config, weights=weights)

    def packed(self) -> bytes:
        """Return everything in one piece, for another process."""
        files = self._files()
        record, weights = files[_RECORD_NAME], files[_WEIGHTS]
        return len(record).to_bytes(_SIZE, "big") + record + weights

    @classmethod
    def unpacked(cls, data: bytes) -> InitialPolicy:
        """Invert `packed`.

        Raises:
            CheckpointError: if `data` is something else.
        """
        record, weights = data[_SIZE:], data[_SIZE + int.from_bytes(data[:_SIZE], "big") :]
        return cls._of_files({_RECORD_NAME: record[: len(record) - len(weights)], _WEIGHTS: weights}, Path("a message"))

    def _files(self) -> dict[str, bytes]:
        record = _Record(
            schema_version=_SCHEMA_VERSION, specs=self.specs, network=self.network, weights_sha256=self.sha256
        )
        return {
            _WEIGHTS: safetensors.torch.save(dict(self.weights)),
            _RECORD_NAME: readable_json(_RECORD.dump_python(record, mode="json")),
        }

    def write(self, path: Path) -> None:
        """Write the directory `path`, which must not exist, all at once.

        Raises:
            ArtifactError: if it cannot be written.
            NonFiniteError: if a weight is not finite.
        """
        require_finite(self.weights, stage="initial policy")
        write_directory(path, self._files())

    @classmethod
    def read(cls, path: Path) -> InitialPolicy:
        """Read what `write` wrote; sizes and digests of all files are verified before any of them is parsed.

        Raises:
            CheckpointError: if it is missing, damaged, or of another version.
        """
        try:
            files = read_directory(path, max_bytes=MAX_CHECKPOINT_BYTES)
        except ArtifactError as error:
            raise CheckpointError(error.path, error.stage, error.reason) from error
        if files.keys() != {_WEIGHTS, _RECORD_NAME}:
            raise CheckpointError(path, "verify", f"expected {_RECORD_NAME} and {_WEIGHTS}, got {sorted(files)}")
        return cls._of_files(files, path)

    @classmethod
    def _of_files(cls, files: Mapping[str, bytes], path: Path) -> InitialPolicy:
        try:
            record = _RECORD.validate_json(files[_RECORD_NAME], strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "the record"
            raise CheckpointError(path / _RECORD_NAME, "parse", f"{where}: {first['msg']}") from error
        if record.schema_version != _SCHEMA_VERSION:
            detail = f"`schema_version` must be {_SCHEMA_VERSION}, got {record.schema_version}"
            raise CheckpointError(path / _RECORD_NAME, "parse", detail)
        weights = parse_tensors(files[_WEIGHTS], path / _WEIGHTS)
        if weights_digest(weights) != record.weights_sha256:
            raise CheckpointError(path, "verify", f"the weights are not those of {record.weights_sha256}")
        return cls(specs=record.specs, network=record.network, weights=weights)


def packed_actors(specs: Mapping[str, PolicySpec], actors: Mapping[str, AnyActor]) -> bytes | None:
    """Pack the policies that `actors` are; both arguments are by agent group.

    Returns:
        The bytes that `InitialPolicy.unpacked` takes; None where one of them is no network.
    """
    networks = {group: actor for group, actor in actors.items() if isinstance(actor, ActorCritic)}
    if networks.keys() != actors.keys():
        return None
    return InitialPolicy.of(networks, {group: specs[group] for group in networks}).packed()


def initial_of_run(run_dir: Path) -> InitialPolicy:
    """Return the policy that the run in `run_dir` has ended with: the one that was exported and judged.

    Raises:
        TrainingError: if there is no checkpoint of it.
        CheckpointError: if a checkpoint is damaged.
    """
    store = CheckpointStore(run_dir / CHECKPOINTS_NAME, keep_last=1)
    newest = store.newest()
    if newest is None:
        raise TrainingError(f"{run_dir} holds no checkpoint, so no weights to begin with")
    state = read_checkpoint(newest).state
    if not state.history.prepared:
        raise TrainingError(f"{run_dir}: its run was interrupted before anything was learned")
    checkpoint = store.load(state.history.candidate)
    return InitialPolicy(specs=state.specs, network=state.config.network, weights=checkpoint.weights)


def _with_blocks(own: PolicySpec, world: PolicySpec) -> PolicySpec:
    """Return the spec of `world` with the blocks of `own`, if they are alike."""
    differing = []
    if own.vocabulary != world.vocabulary:
        differing.append(f"the actions {list(own.vocabulary)}, the world {list(world.vocabulary)}")
    for name in sorted(own.observation_shapes.keys() | world.observation_shapes.keys()):
        ours, theirs = own.observation_shapes.get(name), world.observation_shapes.get(name)
        if ours != theirs:
            differing.append(f"`{name}` {_shape(ours)}, the world {_shape(theirs)}")
    if not differing and own.feature_names and world.feature_names and own.feature_names != world.feature_names:
        pairs = zip(own.feature_names, world.feature_names, strict=True)
        column, ours_, theirs_ = next((i, *pair) for i, pair in enumerate(pairs) if pair[0] != pair[1])
        differing.append(f"`{ours_}` in column {column} of `features`, the world `{theirs_}`")
    if not differing and own.commitment != world.commitment:
        differing.append(f"the option in force in {own.commitment}, the world in {world.commitment}")
    if differing:
        raise ConfigError(
            f"the initial policy has {differing[0]}: `townlet policy adapt` adds observations and actions to a policy"
        )
    # Names that the world does not say are those that the blocks are found by.
    return replace(world, feature_names=world.feature_names or own.feature_names, blocks=own.blocks)


def _shape(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else str(shape)


def _listed(groups: Mapping[str, object]) -> str:
    return ", ".join(groups)
