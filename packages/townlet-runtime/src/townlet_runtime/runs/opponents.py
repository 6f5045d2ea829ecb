"""Frozen opponents of a run: read where they are named, and copied into the run directory, so that it is whole."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from townlet_runtime.errors import ConfigError, PolicyFileError, RunDirectoryError, SimulationError
from townlet_runtime.policy.onnx import FilePolicy, load_policy
from townlet_runtime.policy.policy import require_fit
from townlet_runtime.runs.directory import group_opponent
from townlet_runtime.runs.finished import read_run
from townlet_runtime.simulation.interface import GroupedSimulation, SimulationSpec, first_spec
from townlet_trajectory.evaluation.results import SCRIPTED
from townlet_trajectory.storage.files import write_bytes_atomic


class PlayedGroup(Protocol):
    """Who plays a group of agents: a `townlet_training.GroupConfig`, which can be read without torch."""

    @property
    def policy(self) -> str: ...

    @property
    def file(self) -> Path | None: ...


def read_opponent(path: Path, group: str, spec: SimulationSpec) -> FilePolicy:
    """Read the policy that is to play a group, from its file or from the directory of a finished run.

    Args:
        path: of the file or the directory.
        group: that it is to play; of a run with several policies, the one of the same group is taken, else the only one
            that fits.
        spec: of the group.

    Raises:
        PolicyFileError: if a file is missing, damaged or foreign.
        RunDirectoryError: if `path` is a directory, but not one of a finished run, or holds no policy that fits, or
            several.
        SimulationError: if the policy was made for other actions or observations.
    """
    if not path.is_dir():
        given = load_policy(path)
        require_fit(given, spec)
        return given
    policies = {name: load_policy(file) for name, file in read_run(path).policies.items()}
    policy = policy_for(group, spec, policies)
    if policy is None:
        fitting = [name for name, each in policies.items() if _fits(each, spec)]
        raise RunDirectoryError(
            path,
            f"expected a policy for the group `{group}`, or one other that fits it, found those of "
            f"{', '.join(fitting or policies)}" + ("" if fitting else ", which do not fit"),
        )
    return policy


def policy_for(group: str, spec: SimulationSpec, policies: Mapping[str, FilePolicy]) -> FilePolicy | None:
    """Return the policy that can play a group: the one that learned to, else the only one that fits it.

    Args:
        group: its name.
        spec: of the group.
        policies: by the group that each learned to play.

    Returns:
        The policy; None where none fits, or several do.
    """
    fitting = {name: policy for name, policy in policies.items() if _fits(policy, spec)}
    if group in fitting:
        return fitting[group]
    return next(iter(fitting.values())) if len(fitting) == 1 else None


def _fits(policy: FilePolicy, spec: SimulationSpec) -> bool:
    try:
        require_fit(policy, spec)
    except SimulationError:
        return False
    return True


def sha256_of(policies: Mapping[str, FilePolicy]) -> dict[str, str]:
    """Return the SHA-256 of the files of policies, by group."""
    return {group: hashlib.sha256(policy.data).hexdigest() for group, policy in policies.items()}


def keep_opponents(run_dir: Path, policies: Mapping[str, FilePolicy]) -> dict[str, str]:
    """Copy the policies of opponents into a run directory, byte for byte; returns their `sha256_of`."""
    for group, policy in policies.items():
        write_bytes_atomic(run_dir / group_opponent(group), policy.data)
    return sha256_of(policies)


def kept_opponents(run_dir: Path, sha256: Mapping[str, str]) -> dict[str, FilePolicy]:
    """Read the opponents that a run was begun with from its directory.

    Args:
        run_dir: of the run.
        sha256: of their files, by group, as it was noted when the run was begun.

    Raises:
        PolicyFileError: if a file is missing, damaged or foreign.
        RunDirectoryError: if a file is another one.
    """
    policies = {group: load_policy(run_dir / group_opponent(group)) for group in sha256}
    for group, found in sha256_of(policies).items():
        if found != sha256[group]:
            raise RunDirectoryError(
                run_dir / group_opponent(group),
                f"expected the opponent that the run was begun with, SHA-256 {sha256[group]}, got {found}",
            )
    return policies


def frozen_opponents(
    groups: Mapping[str, PlayedGroup],
    specs: Mapping[str, SimulationSpec],
    *,
    kept: Path | None,
    sha256: Mapping[str, str],
) -> dict[str, FilePolicy]:
    """Read the policies of the groups that are played by one from a file.

    Args:
        groups: who plays them.
        specs: of the groups.
        kept: directory of a run that goes on: its copies are read; None: a new run, and the files that are named.
        sha256: of the copies, as it was noted when the run was begun.

    Raises:
        ConfigError: if a group is not there, or a policy is missing, damaged or made for another group.
    """
    files = {group: one.file for group, one in groups.items() if one.file is not None}
    if kept is not None:
        if files.keys() != sha256.keys():
            raise ConfigError(f"expected opponents of {sorted(sha256)}, got {sorted(files)}", key="training.groups")
        return kept_opponents(kept, sha256)
    policies = {}
    for group, path in files.items():
        key = f"training.groups.{group}.policy"
        if group not in specs:
            raise ConfigError(f"expected a group of the world ({', '.join(specs)}), got {group}", key="training.groups")
        if not path.exists():
            roles = "learn, script, past(k), past(GROUP, k), a policy file or a run directory"
            raise ConfigError(f"expected {roles}, got {path}", key=key)
        try:
            policies[group] = read_opponent(path, group, specs[group])
        except (SimulationError, PolicyFileError, RunDirectoryError) as error:
            raise ConfigError(str(error), key=key) from error
    return policies


def opponent_files(groups: Mapping[str, PlayedGroup], run_dir: Path) -> dict[str, Path | None]:
    """Return the files of the opponents of a run that has ended, by group; None for the script."""
    return {
        group: None if one.policy == "script" else run_dir / group_opponent(group)
        for group, one in groups.items()
        if one.policy != "learn"
    }


def opponent_groups(groups: Mapping[str, PlayedGroup], worlds: GroupedSimulation) -> list[str]:
    """Return the groups of worlds that do not learn.

    Raises:
        SimulationError: if no group learns, or one is left to a script that is not there.
    """
    name = first_spec(worlds).name
    opponents = [group for group, one in groups.items() if one.policy != "learn"]
    if set(opponents) >= worlds.specs.keys():
        raise SimulationError(f"`{name}`: expected a group that learns, got opponents of all of {opponents}")
    scripted = [group for group, one in groups.items() if one.policy == "script"]
    if scripted and SCRIPTED not in worlds.behaviors:
        raise SimulationError(f"`{name}` has no script that could play the group `{scripted[0]}`")
    return opponents
