"""`begun.json`: the settings that a run was begun with, and that must be the same when it is resumed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from townlet_runtime.errors import RunDirectoryError
from townlet_runtime.runs.records import FileRecord, require_digests
from townlet_runtime.runs.strict_json import EXACT, ReportError, require_digest
from townlet_runtime.workers.recording import RecordPlace
from townlet_trajectory.formats.shards.parts import new_token
from townlet_trajectory.storage.urls import Place


@dataclass(frozen=True, kw_only=True)
class NotedData:
    """Recorded steps that a run was begun with."""

    __pydantic_config__ = EXACT

    path: str
    """As it was given."""
    root: str
    """Where samples that are not below a capture's manifest were looked for."""
    fingerprint: str
    """SHA-256 of the content."""

    def __post_init__(self) -> None:
        require_digest("NotedData", "fingerprint", self.fingerprint)


@dataclass(frozen=True, kw_only=True)
class InitialSource:
    """The policy that a run begins with; its weights are copied into the folder `initial` of the run."""

    path: str | None
    """Of a run or an adapted policy, as it was given; None where it was given in Python."""
    weights_sha256: str

    def __post_init__(self) -> None:
        require_digest("InitialSource", "weights_sha256", self.weights_sha256)


@dataclass(frozen=True, kw_only=True)
class NotedRecord:
    """Where a run records what it collects."""

    __pydantic_config__ = EXACT

    place: str
    """An absolute path; a URL without user, password and query."""
    token: str
    """That tells this record from that of any other run."""

    def __post_init__(self) -> None:
        if re.fullmatch(r"[0-9a-f]{32}", self.token) is None:
            raise ReportError("NotedRecord", key="token", expected="32 hex digits", came=repr(self.token)[:80])


@dataclass(frozen=True, kw_only=True)
class Extension:
    """Settings that a run had until it was extended."""

    total_env_steps: int
    config_sha256: str

    def __post_init__(self) -> None:
        require_digest("Extension", "config_sha256", self.config_sha256)


@dataclass(frozen=True, kw_only=True)
class BegunFile(FileRecord):
    """`begun.json`: settings that must be the same when a run is resumed, written before anything else."""

    __pydantic_config__ = EXACT

    schema_version: Literal[2]
    threads: int
    """Of the numerical libraries; results depend on their number in the last bits."""
    environment: str | None = None
    """Name of the world, `module:name` included; None where it was made in Python, and in a run without a world."""
    controller: str | None = None
    """Name of the controller that plays the script; None: the world's own script, or no script."""
    guardrails: tuple[str, ...] = ()
    """Names of the guardrails beside the world's own."""
    specs: Mapping[str, Mapping[str, JsonValue]] | None = None
    """`spec_entries` of the world by group of agents."""
    config_sha256: str | None = None
    """Digest of the resolved config; None where the world was made in Python."""
    config: Mapping[str, JsonValue] | None = None
    """The resolved config itself, so that a key that was changed later can be named."""
    data: tuple[NotedData, ...] = ()
    """What the policy was cloned from, in the order in which it was named; empty: from the script, or not at all."""
    opponents_sha256: Mapping[str, str] = field(default_factory=dict)
    """Of `opponent-GROUP.onnx`, by agent group that a frozen policy plays."""
    initial: InitialSource | None = None
    """The policy that the run begins with; None: a fresh one."""
    record: NotedRecord | None = None
    """Where it records what it collects; None: nowhere."""
    extensions: tuple[Extension, ...] = ()
    """Oldest first; empty where the run still has the world steps that it was begun with."""

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise ReportError("BegunFile", key="threads", expected="a number >= 1", came=repr(self.threads))
        require_digest("BegunFile", "config_sha256", self.config_sha256)
        require_digests("BegunFile", "opponents_sha256", self.opponents_sha256)


def recorded_at(named: Place | None, begun: BegunFile | None, *, run_dir: Path) -> RecordPlace | None:
    """Decide where a run records what it collects.

    Args:
        named: where it was told to; None: it was not.
        begun: of the run that is resumed; None: of a new one.
        run_dir: of the run.

    Returns:
        The place; None: nowhere.

    Raises:
        RunDirectoryError: if a run that is resumed was begun without a record, or records behind a URL, which is not
            opened unless it is named; or if the place is inside the run directory.
    """
    place = named.absolute() if isinstance(named, Path) else named
    if isinstance(place, Path) and place.is_relative_to(run_dir.absolute()):
        raise RunDirectoryError(run_dir, f"holds the files of the run alone: record elsewhere, not at {place}")
    if begun is None:
        return None if place is None else RecordPlace(place=place, token=new_token())
    noted = begun.record
    if noted is None:
        if place is not None:
            raise RunDirectoryError(run_dir, f"the run was begun without a record, and cannot go on at {place}")
        return None
    if place is None:
        if "://" in noted.place:
            known = "one that a file names is not opened"
            raise RunDirectoryError(run_dir, f"the run records at {noted.place}: name it again, --record URL; {known}")
        place = Path(noted.place)
    return RecordPlace(place=place, token=noted.token)


def noted_record(record: RecordPlace | None) -> NotedRecord | None:
    """Return the place of a record as `begun.json` holds it."""
    return None if record is None else NotedRecord(place=str(record.place), token=record.token)
