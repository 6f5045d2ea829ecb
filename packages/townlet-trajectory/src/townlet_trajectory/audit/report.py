"""What audits say: findings with a severity, a code and the name of what is wrong, and the report that holds them."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from enum import StrEnum

from townlet_trajectory.storage.json import JsonValue, printable

PASS = "PASS"
"""Status of a dataset in which nothing is worse than `Severity.INFO`."""

_WIDTH = 80


class Severity(StrEnum):
    """How bad a finding is."""

    INFO = "INFO"
    """Worth knowing; nothing is wrong."""
    WARN = "WARN"
    """The data can be read, but may teach the wrong thing."""
    FAIL = "FAIL"
    """The data is not what its manifest says, or cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that an audit has seen."""

    severity: Severity
    code: str
    """Kind of the finding, the same for equal kinds: `checksum`, `label-leak`, ..."""
    entry: str
    """What it is about: a file, a sample, a shard, a column."""
    message: str
    """A sentence with figures, without the entry."""

    def __str__(self) -> str:
        return printable(f"{self.code}: {self.entry}: {self.message}")

    def document(self) -> dict[str, JsonValue]:
        """As it is written."""
        return {**vars(self), "severity": self.severity.value}


class FindingList:
    """Findings in the order in which they are made."""

    def __init__(self) -> None:
        self._findings: list[Finding] = []

    def fail(self, code: str, entry: str, message: str) -> None:
        """Add one of severity FAIL; see `Finding`."""
        self._findings.append(Finding(severity=Severity.FAIL, code=code, entry=entry, message=message))

    def warn(self, code: str, entry: str, message: str) -> None:
        """Add one of severity WARN; see `Finding`."""
        self._findings.append(Finding(severity=Severity.WARN, code=code, entry=entry, message=message))

    def info(self, code: str, entry: str, message: str) -> None:
        """Add one of severity INFO; see `Finding`."""
        self._findings.append(Finding(severity=Severity.INFO, code=code, entry=entry, message=message))

    def all(self) -> tuple[Finding, ...]:
        """Those made so far."""
        return tuple(self._findings)


@dataclass(frozen=True, kw_only=True)
class DatasetAudit:
    """What was found in one dataset."""

    name: str
    manifest: str
    """Path of the manifest, as it was given; empty where there is none."""
    checksums: str
    """Path of the file with the digests."""
    captures: str
    """Path of the folder with the data."""
    sample_count: int
    """Samples that the manifest lists, or trajectories."""
    findings: tuple[Finding, ...]
    """In the order in which they were found."""

    @property
    def status(self) -> str:
        """`FAIL`, `WARN` or `PASS`: the worst of the findings, where INFO passes."""
        severities = {finding.severity for finding in self.findings}
        worst = next((level for level in (Severity.FAIL, Severity.WARN) if level in severities), None)
        return PASS if worst is None else worst.value

    def document(self) -> dict[str, JsonValue]:
        """As it is written: `findings` are sentences without INFO, `details` are all of them with severity and code."""
        return {
            **vars(self),
            "status": self.status,
            "findings": [str(finding) for finding in self.findings if finding.severity is not Severity.INFO],
            "details": [finding.document() for finding in self.findings],
        }


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """What was found in the datasets of a catalogue, or in one dataset."""

    path: str
    """The catalogue's file, or the dataset's directory."""
    datasets: tuple[DatasetAudit, ...]

    @property
    def failures(self) -> int:
        """Datasets with the status FAIL."""
        return sum(dataset.status == Severity.FAIL for dataset in self.datasets)

    @property
    def warnings(self) -> int:
        """Datasets with the status WARN."""
        return sum(dataset.status == Severity.WARN for dataset in self.datasets)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Those of all datasets."""
        return tuple(finding for dataset in self.datasets for finding in dataset.findings)

    def document(self, *, timestamp: str) -> dict[str, JsonValue]:
        """As it is written; `timestamp` (ISO 8601) says when the audit was made."""
        return {
            "versions_path": self.path,
            "datasets": [dataset.document() for dataset in self.datasets],
            "failures": self.failures,
            "warnings": self.warnings,
            "timestamp": timestamp,
        }

    def text(self) -> str:
        """The report for people, at most 80 columns wide where no name is longer."""
        lines: list[str] = []
        for dataset in self.datasets:
            count = f"{dataset.sample_count} sample" + "s" * (dataset.sample_count != 1)
            lines += [f"{dataset.status}  {printable(dataset.name)}  ({count})"]
            rank = [*reversed(Severity)]  # the worst first
            for finding in sorted(dataset.findings, key=lambda finding: rank.index(finding.severity)):
                lines += textwrap.wrap(
                    str(finding),
                    _WIDTH,
                    initial_indent=f"  {finding.severity.value}  ",
                    subsequent_indent=" " * 8,
                    break_long_words=False,
                    break_on_hyphens=False,
                )
        return "\n".join(lines) + "\n"
