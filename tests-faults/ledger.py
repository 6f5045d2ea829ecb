"""What the session did, in numbers: cases and failures of each test, printed at its end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

MAX_SHOWN = 40
"""Of the failures of a test."""


@dataclass(kw_only=True)
class Tally:
    """The cases of one test on one subject."""

    test: str
    """Its number in the programme: T1, T3, ..."""
    subject: str
    outcomes: Counter[str] = field(default_factory=Counter)
    """How often each allowed outcome was met."""
    failures: list[str] = field(default_factory=list)
    """What was not allowed, case by case."""
    note: str = ""
    """What else is worth knowing."""
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0

    def add(self, outcome: str, count: int = 1) -> None:
        """Count an allowed outcome."""
        self.outcomes[outcome] += count

    def fail(self, case: str) -> None:
        """Note a case that went wrong; the test goes on, so that all of them are seen."""
        self.failures.append(case)

    def check(self, condition: bool, outcome: str, case: str) -> None:
        """Count `outcome` where the condition holds; note the case where it does not."""
        if condition:
            self.add(outcome)
        else:
            self.fail(case)

    @property
    def num_cases(self) -> int:
        return self.outcomes.total() + len(self.failures)

    def close(self) -> None:
        """Fail the test if a case went wrong, or there was none."""
        self.seconds = time.monotonic() - self.began
        assert self.num_cases, f"{self.test} {self.subject}: no cases"
        shown = "\n".join(self.failures[:MAX_SHOWN])
        assert not self.failures, f"{len(self.failures)} of {self.num_cases} cases went wrong:\n{shown}"

    def line(self) -> str:
        counts = [f"{count} {name}" for name, count in sorted(self.outcomes.items())]
        found = "; ".join([*counts, self.note] if self.note else counts)
        return (
            f"{self.test:4} {self.subject:34} {self.num_cases:8} cases {len(self.failures):4} failures "
            f"{self.seconds:7.1f} s   {found}"
        )


Begin = Callable[[str, str], Tally]
"""Begins the account of a test, by its number in the programme and its subject."""
