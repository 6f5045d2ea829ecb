"""What became of questions and answers, counted by name."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from .records import NANO


@dataclass(frozen=True, kw_only=True)
class DeferredCounts:
    """Counts of a `DeferredController` since it was made.

    Every question that was asked ends once: `answered`, `declined`, `late`, `gone`, or by one of the failures `raised`,
    `miscounted`, `malformed`, `unknown_action`, `usage` and `lost`.
    """

    calls: int
    """Calls of the mind: batches of questions."""
    asked: int
    """Questions handed to the mind."""
    answered: int
    """In time, with an action that was legal when it was asked."""
    declined: int
    """In time, without an action."""
    late: int
    """Later than the deadline."""
    gone: int
    """After the agent had left."""
    raised: int
    miscounted: int
    malformed: int
    unknown_action: int
    usage: int
    lost: int
    """Under way when the process that asked ended."""
    cached: int
    """Questions that were not asked, because their answer was in the cache."""
    unchanged: int
    """Questions that were not asked, because they were asked before (`only_changed`)."""
    used: int
    """Free decisions for which an answer was proposed."""
    illegal: int
    """Answers that were dropped because their action was no longer legal when it was to be carried out."""
    stale: int
    """Answers that were dropped because they grew too old before they were used up."""
    overdue: int
    """Questions that were given up at their deadline; each may still come, `late` or as a failure."""
    overruns: int
    """Reports of more tokens or cost than the stated worst case."""
    opened: int
    """Times that the circuit breaker stopped all questions."""
    charged_tokens: int
    """Reported, and the worst case of questions whose report has not come."""
    charged_cost: float
    """As `charged_tokens`."""


COUNTED = tuple(field.name for field in fields(DeferredCounts) if not field.name.startswith("charged"))
"""Names of what is counted one by one."""


def record_of(counted: Counter[str], *, tokens: int, nano: int) -> DeferredCounts:
    """Return the record of some counts.

    Args:
        counted: by the names of `COUNTED`.
        tokens: charged.
        nano: cost charged, in billionths.
    """
    values = {name: counted[name] for name in COUNTED}
    return DeferredCounts(**values, charged_tokens=tokens, charged_cost=nano / NANO)


def saved_counts(counted: Counter[str]) -> NDArray[np.int64]:
    """[len(COUNTED)], in the order of the names."""
    return np.array([counted[name] for name in COUNTED], np.int64)


def restored_counts(saved: NDArray[np.int64]) -> Counter[str]:
    """Return the counts that `saved_counts` saved."""
    return Counter(dict(zip(COUNTED, saved.tolist(), strict=True)))
