"""Decision columns that contradict themselves: codes that mean nothing, numbers that are none, forbidden choices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.audit.report import FindingList
from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.schema import ACTION_MASK, Kind, Source, TrajectorySchema

_CODES = {"kind": len(Kind), "source": len(Source)}
_CHOICE = "chosen_action"


class ColumnAudit:
    """Takes batches of one schema; then says what it has found."""

    def __init__(self, schema: TrajectorySchema) -> None:
        self._schema = schema
        self._num_steps = 0
        self._counts: dict[str, int] = {}

    def add(self, batch: TrajectoryBatch) -> None:
        """Take the rows of `batch` into account."""
        self._num_steps += batch.num_steps
        for name, spec in self._schema.decisions.items():
            column = batch.columns[name]
            if spec.dtype.startswith("float"):
                self._count(f"{name} non-finite", ~np.isfinite(column))
            if name in _CODES and spec.shape == ():
                codes = column.astype(np.int64, copy=False)
                self._count(f"{name} code", (codes < 0) | (codes >= _CODES[name]))
        if self._has_choices():
            self._count("illegal", _forbidden(batch))

    def report(self, found: FindingList) -> None:
        """Add what was found."""
        for name in self._schema.decisions:
            if count := self._counts.get(f"{name} non-finite"):
                found.warn("non-finite", name, f"{count} numbers in {self._num_steps} steps are NaN or infinite")
            if count := self._counts.get(f"{name} code"):
                found.fail("unknown-code", name, f"{count} of {self._num_steps} are not in [0, {_CODES[name]})")
        if count := self._counts.get("illegal"):
            message = f"{count} of {self._num_steps} steps are decisions for an action that the mask forbids"
            found.warn("forbidden-action", _CHOICE, message)

    def _count(self, name: str, wrong: NDArray[np.bool_]) -> None:
        self._counts[name] = self._counts.get(name, 0) + int(np.count_nonzero(wrong))

    def _has_choices(self) -> bool:
        decisions = self._schema.decisions
        return (
            ACTION_MASK in self._schema.observations
            and _CHOICE in decisions
            and "kind" in decisions
            and bool(self._schema.vocabulary)
        )


def _forbidden(batch: TrajectoryBatch) -> NDArray[np.bool_]:
    """[R]; decisions whose choice is no legal action. What a person or a commitment does is not drawn from the mask."""
    chosen = batch.columns[_CHOICE].astype(np.int64, copy=False)
    inside = (chosen >= 0) & (chosen < len(batch.schema.vocabulary))
    legal = batch.observations[ACTION_MASK][np.arange(len(chosen)), np.where(inside, chosen, 0)]
    forbidden: NDArray[np.bool_] = (batch.columns["kind"] == Kind.DECISION) & ~(inside & legal.astype(np.bool_))
    return forbidden
