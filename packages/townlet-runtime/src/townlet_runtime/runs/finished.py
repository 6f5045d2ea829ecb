"""Finished runs: the manifest that ends a run, and the reading of a run whose files are those of its manifest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path

from townlet_runtime.errors import RunDirectoryError
from townlet_runtime.runs.directory import (
    ADAPTED,
    CLONING,
    CONFIG,
    EVALUATION,
    MANIFEST,
    METRICS,
    PROMOTION,
    REPORT,
    SUMMARY,
    group_opponent,
    policy_file,
    require_finished,
)
from townlet_runtime.runs.records import CloningFile, EvaluationFile, PromotionFile, SummaryFile
from townlet_runtime.simulation.interface import AGENTS
from townlet_trajectory.errors import ArtifactError
from townlet_trajectory.evaluation.results import RunSummary
from townlet_trajectory.storage.files import remove_file, write_bytes_atomic
from townlet_trajectory.storage.json import MAX_JSON_BYTES
from townlet_trajectory.storage.manifest import MAX_FILE_BYTES, FileEntry, Manifest, parse_manifest
from townlet_trajectory.storage.paths import open_below, read_below

_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A run directory whose files are those of its manifest."""

    path: Path
    summary: SummaryFile
    cloning: CloningFile | None
    """None without cloning."""
    evaluation: EvaluationFile | None
    """None without a world."""
    promotion: PromotionFile | None
    """None where there was no script to replace, or no world."""
    policies: Mapping[str, Path]
    """By agent group that learned; `agents` where there is one."""
    opponents: Mapping[str, Path | None]
    """By agent group that did not learn, the policy that it was judged against; None: the script."""
    metrics: Path | None
    """The training log."""
    config: Path | None
    """The config that the run had; None where its world was made in Python."""
    has_report: bool


def write_manifest(run_dir: Path) -> None:
    """End a run: list every file of `run_dir` with its SHA-256 in its manifest, which is written last.

    Raises:
        ArtifactError: if a file cannot be read, or the manifest cannot be written.
    """
    found = (Path(folder, name).relative_to(run_dir) for folder, _, names in os.walk(run_dir) for name in names)
    names = sorted(path.as_posix() for path in found if path != Path(MANIFEST))
    files = {name: _entry(run_dir, name, max_bytes=MAX_FILE_BYTES) for name in names}
    write_bytes_atomic(run_dir / MANIFEST, Manifest(files=files).encode())


def replace_report(run_dir: Path, page: bytes) -> Path:
    """Put another page in the place of a finished run's report, and return its path.

    Whenever this ends, the files of the run are those of its manifest.

    Raises:
        RunDirectoryError: names another file of the run that is missing, damaged or exchanged.
        ArtifactError: if a file cannot be written.
    """
    path = run_dir / REPORT
    others = {name: entry for name, entry in verified_files(run_dir).items() if name != REPORT}
    remove_file(path)
    write_bytes_atomic(run_dir / MANIFEST, Manifest(files=others).encode())
    write_bytes_atomic(path, page)
    write_bytes_atomic(run_dir / MANIFEST, Manifest(files={**others, REPORT: FileEntry.of(page)}).encode())
    return path


def write_results(run_dir: Path, run: RunSummary, summary: SummaryFile, *, horizon: int | None) -> None:
    """Write the records of a run, and the manifest that ends it.

    Args:
        run_dir: with every other file of the run in it.
        run: that was not interrupted; what it cloned and scored becomes `cloning.json` and `evaluation.json`.
        summary: of `run`, to be `summary.json`.
        horizon: ticks of an episode; None without a world.

    Raises:
        ArtifactError: if a file cannot be written or read.
    """
    if run.clone is not None and run.clone.gate is not None:
        cloning = CloningFile(schema_version=1, results=run.clone.results, gate=run.clone.gate)
        cloning.write(run_dir / CLONING)
    if run.final is not None and horizon is not None:
        EvaluationFile.of(run, run.final, horizon=horizon).write(run_dir / EVALUATION)
    summary.write(run_dir / SUMMARY)
    write_manifest(run_dir)


def read_run(path: Path) -> FinishedRun:
    """Read a finished run, all of whose files must be those of its manifest; a report may be missing.

    Raises:
        RunDirectoryError: if `path` is not the directory of a finished run, or names a file that is missing, damaged
            or exchanged.
        ReportError: if a record is not what it must be.
    """
    require_finished(path)
    names = verified_files(path)
    if ADAPTED in names:
        raise RunDirectoryError(path, "expected the directory of a finished run, found an adapted policy")
    _require_listed(path, SUMMARY, names)
    summary = SummaryFile.read(path / SUMMARY)
    if summary.env is not None:
        _require_listed(path, EVALUATION, names)
    if summary.clone_accuracies:
        _require_listed(path, CLONING, names)
    promotion = PromotionFile.read(path / PROMOTION) if PROMOTION in names else None
    decided = None if promotion is None else promotion.decision
    if summary.promotion != decided:
        raise RunDirectoryError(path / SUMMARY, f"`promotion` is {summary.promotion}, that of {PROMOTION} {decided}")
    policies = {}
    for group, (name, digest) in _policies(summary).items():
        if name not in names or names[name].sha256 != digest:
            raise RunDirectoryError(path / name, f"expected the policy {digest} of {SUMMARY}")
        policies[group] = path / name
    opponents: dict[str, Path | None] = {}
    for group, sha256 in summary.opponents_sha256.items():
        name = group_opponent(group)
        if sha256 is not None and (name not in names or names[name].sha256 != sha256):
            raise RunDirectoryError(path / name, f"expected the opponent {sha256} of {SUMMARY}")
        opponents[group] = None if sha256 is None else path / name
    if not policies:
        raise RunDirectoryError(path, "its run ended without a policy")
    return FinishedRun(
        path=path,
        summary=summary,
        cloning=CloningFile.read(path / CLONING) if CLONING in names else None,
        evaluation=EvaluationFile.read(path / EVALUATION) if EVALUATION in names else None,
        promotion=promotion,
        policies=policies,
        opponents=opponents,
        metrics=path / METRICS if METRICS in names else None,
        config=path / CONFIG if CONFIG in names else None,
        has_report=REPORT in names and (path / REPORT).exists(),
    )


def _require_listed(path: Path, name: str, names: Container[str]) -> None:
    if name not in names:
        raise RunDirectoryError(path / name, f"expected in the {MANIFEST} of a finished run")


def verified_files(run_dir: Path) -> Mapping[str, FileEntry]:
    """Return the entries of the manifest, each of which is the file's (the report's only where there is one).

    Raises:
        RunDirectoryError: names a file that is missing, damaged or exchanged.
    """
    origin = run_dir / MANIFEST
    try:
        data = read_below(run_dir, MANIFEST, max_bytes=MAX_JSON_BYTES, origin=run_dir)
        entries = parse_manifest(data, origin).files
        for name, entry in entries.items():
            if name == REPORT and not os.path.lexists(run_dir / name):
                continue
            found = _entry(run_dir, name, max_bytes=entry.size)
            if found != entry:
                raise RunDirectoryError(
                    run_dir / name,
                    f"expected {entry.size} bytes with SHA-256 {entry.sha256}, as in {MANIFEST}, "
                    f"got {found.size} with {found.sha256}",
                )
    except ArtifactError as error:
        raise RunDirectoryError(error.path, f"{error.stage}: {error.reason}") from error
    return entries


def _entry(run_dir: Path, name: str, *, max_bytes: int) -> FileEntry:
    digest, size = hashlib.sha256(), 0
    try:
        with open_below(run_dir, name, max_bytes=max_bytes, origin=run_dir / MANIFEST) as stream:
            while size <= max_bytes and (chunk := stream.read(_CHUNK)):
                digest.update(chunk)
                size += len(chunk)
    except OSError as error:
        raise ArtifactError(run_dir / name, "read", error.strerror or str(error)) from error
    return FileEntry(sha256=digest.hexdigest(), size=size)


def _policies(summary: SummaryFile) -> Mapping[str, tuple[str, str]]:
    """File name and SHA-256 by group."""
    alone = summary.policy_sha256
    digests = (summary.policies_sha256 or {}) if alone is None else {AGENTS: alone}
    return {group: (policy_file(group, digests), digest) for group, digest in digests.items()}
