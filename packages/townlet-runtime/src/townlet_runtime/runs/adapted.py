"""The directory of an adapted policy: policy files, the weights that a run begins with, and how they came about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from townlet_runtime.errors import RunDirectoryError
from townlet_runtime.runs.directory import ADAPTED, CONFIG, policy_file, require_finished
from townlet_runtime.runs.finished import verified_files
from townlet_runtime.runs.records import FileRecord
from townlet_runtime.runs.strict_json import EXACT, ReportError, require_digest


@dataclass(frozen=True, kw_only=True)
class AddedActionRecord:
    """A new action of one agent group."""

    prior: float
    """That was asked for, in (0, 1)."""
    probability: float
    """That it got, in the mean over the reference rows in which it is legal."""
    bias: float
    """Its logit, the same in every row."""
    rows: int
    """Reference rows in which it is legal."""


@dataclass(frozen=True, kw_only=True)
class AdaptedGroupRecord:
    """What was added to the policy of one agent group."""

    observations: tuple[str, ...]
    """Names; columns of `features` as `features[NAME]`."""
    actions: Mapping[str, AddedActionRecord]
    policy_sha256: str
    """Of the policy file."""

    def __post_init__(self) -> None:
        require_digest("AdaptedGroupRecord", "policy_sha256", self.policy_sha256)
        for key, action in self.actions.items():
            if not (0.0 < action.prior < 1.0 and 0.0 < action.probability < 1.0 and action.rows >= 1):
                expected = "shares in (0, 1) of at least one row"
                raise ReportError("AdaptedGroupRecord", key=f"actions.{key}", expected=expected, came=repr(action))


@dataclass(frozen=True, kw_only=True)
class AdaptedFile(FileRecord):
    """`adapted.json`: which policy was adapted to which world, and how."""

    __pydantic_config__ = EXACT

    schema_version: Literal[1]
    source: str
    """Path of the run, or of the adapted policy, as it was given."""
    source_weights_sha256: str
    weights_sha256: str
    """Of what came out."""
    environment: str
    """Name of the world that it was adapted to."""
    renamed: Mapping[str, str]
    """New names by old ones."""
    groups: Mapping[str, AdaptedGroupRecord]
    """By agent group."""
    reference: str | None
    """Path of the reference rows as it was given; None: a rollout of the policy in the new world."""
    reference_sha256: str | None
    """Fingerprint of their dataset; None of a rollout."""
    reference_rows: Mapping[str, int]
    """By agent group."""
    seed: int
    """Of the rollout, and of the golden vectors."""

    def __post_init__(self) -> None:
        for key in ("source_weights_sha256", "weights_sha256", "reference_sha256"):
            require_digest("AdaptedFile", key, vars(self)[key])
        if not self.groups:
            raise ReportError("AdaptedFile", key="groups", expected="at least one agent group", came="none")


@dataclass(frozen=True, kw_only=True)
class AdaptedPolicy:
    """A directory of an adapted policy, whose files are those of its manifest."""

    path: Path
    record: AdaptedFile
    policies: Mapping[str, Path]
    """By agent group; `agents` where there is one."""
    config: Path | None
    """Of the world that it was adapted to."""


def is_adapted(path: Path) -> bool:
    """Tell whether the directory `path` is one of an adapted policy; its files are not read."""
    return (path / ADAPTED).exists()


def read_adapted(path: Path) -> AdaptedPolicy:
    """Read the directory of an adapted policy.

    Raises:
        RunDirectoryError: if it is none, or names a file that is missing, damaged or exchanged.
        ReportError: if its record is not what it must be.
    """
    require_finished(path)
    names = verified_files(path)
    if ADAPTED not in names:
        raise RunDirectoryError(path, f"expected an adapted policy, found no {ADAPTED} in it")
    record = AdaptedFile.read(path / ADAPTED)
    policies = {}
    for group, one in record.groups.items():
        name = policy_file(group, record.groups)
        if name not in names or names[name].sha256 != one.policy_sha256:
            raise RunDirectoryError(path / name, f"expected the policy {one.policy_sha256} of {ADAPTED}")
        policies[group] = path / name
    return AdaptedPolicy(path=path, record=record, policies=policies, config=path / CONFIG if CONFIG in names else None)
