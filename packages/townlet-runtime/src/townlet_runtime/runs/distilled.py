"""`distill.json` of a run: the teacher, the settings, and every round of a distillation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from townlet_runtime.runs.records import FileRecord
from townlet_runtime.runs.strict_json import EXACT, ReportError, require_digest, require_interval
from townlet_trajectory.evaluation.results import DistilRecord, DistilRound

DISTILLED = "distill.json"
"""Written after every round; its `record` is there once the student was judged."""


@dataclass(frozen=True, kw_only=True)
class DistilFile(FileRecord):
    """`distill.json`: what a student was taught by whom, and how well it learned it."""

    __pydantic_config__ = EXACT

    schema_version: Literal[1]
    teacher: str
    """As it was named: a file, `script:NAME` or `module:name`."""
    teacher_sha256: str | None
    """Of a policy file; None of code."""
    sampled: bool
    """Whether a policy file answered with draws from its distribution."""
    settings: Mapping[str, int | float | str]
    """Of the questions, by the names of `DistilConfig`."""
    rounds: tuple[DistilRound, ...]
    record: DistilRecord | None
    """None until the student was judged."""

    def __post_init__(self) -> None:
        name = "DistilFile"
        require_digest(name, "teacher_sha256", self.teacher_sha256)
        for index, each in enumerate(self.rounds):
            require_digest(name, f"rounds.{index}.labels_sha256", each.labels_sha256)
            if each.number != index + 1:
                raise ReportError(name, key=f"rounds.{index}.number", expected=f"{index + 1}", came=f"{each.number}")
        if self.record is not None:
            if self.record.rounds != self.rounds:
                raise ReportError(name, key="record.rounds", expected="`rounds`", came="others")
            agreement = self.record.agreement
            require_interval(name, "record.agreement.student_ci", agreement.student_ci)
            require_interval(name, "record.agreement.repeat_ci", agreement.repeat_ci)
