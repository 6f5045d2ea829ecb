"""Releases of a promotion registry: the files of a run that its policy's behavior depends on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from townlet_runtime.errors import RunDirectoryError
from townlet_runtime.policy.file import read_policy_bytes, verified_digest
from townlet_runtime.policy.onnx import FilePolicy, policy_of
from townlet_runtime.runs.directory import CONFIG, policy_file
from townlet_runtime.runs.finished import FinishedRun
from townlet_runtime.runs.strict_json import EXACT, parse_record
from townlet_trajectory.evaluation.golden_vectors import vectors_path
from townlet_trajectory.evaluation.results import Acting
from townlet_trajectory.storage.json import MAX_JSON_BYTES, JsonValue, readable_json
from townlet_trajectory.storage.paths import read_below

RELEASE = "release.json"


@dataclass(frozen=True, kw_only=True)
class ReleaseFile:
    """`release.json`: how the policies of a release act."""

    __pydantic_config__ = EXACT

    schema_version: Literal[1]
    world: str
    """Name of the world that they were trained in."""
    acting: Acting
    groups: tuple[str, ...]
    """Of agents; each has a policy."""
    weights_sha256: str


@dataclass(frozen=True, kw_only=True)
class Release:
    """A release that was read from a registry."""

    policies: Mapping[str, FilePolicy]
    """By group of agents."""
    acting: Acting
    config: Path | None
    """The config that they were trained with; None: their world was made in Python."""


def release_files(run: FinishedRun) -> dict[str, bytes]:
    """Return the files of a release made of a run: policies, golden vectors, config, and `release.json`.

    Raises:
        RunDirectoryError: if the run had no world, or opponents.
        PolicyFileError: if a policy cannot be read.
        ArtifactError: if another file cannot be read.
    """
    if run.opponents:
        groups = ", ".join(run.opponents)
        raise RunDirectoryError(run.path, f"expected policies of all groups, opponents played {groups} of this run")
    files = {}
    for path in run.policies.values():
        files[path.name] = read_policy_bytes(path)
        beside = [vectors_path(path)] if vectors_path(path).exists() else []
        files |= {each.name: _bytes(run.path, each.name) for each in beside}
    if run.config is not None:
        files[CONFIG] = _bytes(run.path, CONFIG)
    summary = run.summary
    if summary.env is None:
        raise RunDirectoryError(
            run.path, "expected a run in a world: the policy of this one fits none, which is no evidence"
        )
    files[RELEASE] = _record(summary.env, summary.acting, run.policies, summary.weights_sha256)
    return files


def release_of(policies: Mapping[str, FilePolicy], *, acting: Acting) -> dict[str, bytes]:
    """Return the files of a release made of policies alone, such as one that is known by its file.

    Args:
        policies: by group of agents.
        acting: how they are to act.
    """
    first = next(iter(policies.values())).card
    files = {policy_file(group, policies): policy.data for group, policy in policies.items()}
    return {**files, RELEASE: _record(first.world, acting, policies, first.weights_sha256)}


def _record(world: str, acting: Acting, groups: Iterable[str], weights_sha256: str) -> bytes:
    """`release.json`."""
    return readable_json(
        {
            "schema_version": 1,
            "world": world,
            "acting": acting,
            "groups": list[JsonValue](sorted(groups)),
            "weights_sha256": weights_sha256,
        }
    )


def read_release(files: Mapping[str, bytes], folder: Path) -> Release:
    """Prepare the policies of a release.

    Args:
        files: of the release, which were compared with its digest.
        folder: that they were read from, for errors.

    Raises:
        RunDirectoryError: if one is missing.
        ReportError, PolicyFileError: if one is damaged or foreign.
    """
    record = parse_record(TypeAdapter(ReleaseFile), _file(files, RELEASE, folder), file=folder / RELEASE)
    policies = {}
    for group in record.groups:
        name = policy_file(group, record.groups)
        data = _file(files, name, folder)
        policies[group] = policy_of(data, verified_digest(data, folder / name), folder / name)
    config = folder / CONFIG if CONFIG in files else None
    return Release(policies=policies, acting=record.acting, config=config)


def _file(files: Mapping[str, bytes], name: str, folder: Path) -> bytes:
    if name not in files:
        raise RunDirectoryError(folder / name, "expected among the files of a release")
    return files[name]


def _bytes(run_dir: Path, name: str) -> bytes:
    return read_below(run_dir, name, max_bytes=MAX_JSON_BYTES, origin=run_dir)
