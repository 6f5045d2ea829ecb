"""The protocol of a teacher that a policy is distilled from, and the records of what it was asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from townlet_trajectory.data.batch import TrajectoryBatch


@dataclass(frozen=True, kw_only=True, eq=False)
class Taught:
    """The answers of a teacher to L questions, and what they cost."""

    actions: NDArray[np.int64]
    """[L]; -1 where the teacher declined, or named an action that was not legal."""
    tokens: int = 0
    cost: float = 0.0


class Teacher(Protocol):
    """A mind, slow or costly perhaps, that says what it would do in recorded states."""

    def label(self, batch: TrajectoryBatch, rows: NDArray[np.int64]) -> Taught:
        """Answer for the agents and states of `rows` [L] of `batch`; asked twice, it may answer otherwise."""


class Played(NamedTuple):
    """Held-out episodes of a distillation: what was seen and decided in them."""

    batch: TrajectoryBatch
    """Its worlds are numbered by the place of their seed."""
    rows: NDArray[np.int64]
    """[L], ascending; decisions of the one who is looked at: of the teacher where it played, else of the student."""
    taught: Taught | None
    """The answers of the teacher at these rows, where it played."""
