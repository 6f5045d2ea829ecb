"""When and where there is work: the tables of the jobs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from townlet_runtime.town.arrays import Bools, Floats, Ints
from townlet_runtime.town.config import JobSpec


@dataclass(frozen=True, kw_only=True, eq=False)
class Timetable:
    """Columns by job with a spare one at the end (no job); ticks are those of the day."""

    x: Ints
    y: Ints
    """[J + 1]; of the workplaces."""
    start: Ints
    end: Ints
    """[J + 1]; -1 without a job; the end is the first tick after the shift."""
    wage: Floats
    lateness_penalty: Floats
    """[J + 1]."""
    on: Bools
    """[ticks, J + 1]; whether the shift is on."""
    elapsed: Ints
    """[ticks, J + 1]; ticks since the shift began, -1 when it is not on."""
    takeover_elapsed: int
    """Of a shift when colleagues take over from who has not come yet."""
    takeover_due: tuple[bool, ...]
    """[ticks]; whether that is now for some shift."""
    some_on: tuple[bool, ...]
    some_begins: tuple[bool, ...]
    """[ticks]; whether some shift is on, or begins."""


def build_timetable(jobs: tuple[JobSpec, ...], *, ticks_per_day: int, takeover_ticks: int) -> Timetable:
    """Work out the tables of a day."""

    def with_spare(values: list[float], spare: float) -> Floats:
        return np.array([*values, spare], dtype=np.float64)

    def whole(values: list[int]) -> Ints:
        return np.array([*values, -1], dtype=np.int64)

    day = np.arange(ticks_per_day)[:, None]
    start, end = whole([j.start_tick for j in jobs]), whole([j.end_tick for j in jobs])
    on = (start <= day) & (day < end)
    elapsed = np.where(on, day - start, -1)
    return Timetable(
        x=whole([j.location[0] for j in jobs]),
        y=whole([j.location[1] for j in jobs]),
        start=start,
        end=end,
        wage=with_spare([j.wage_rate for j in jobs], 0.0),
        lateness_penalty=with_spare([j.lateness_penalty for j in jobs], 0.0),
        on=on,
        elapsed=elapsed,
        takeover_elapsed=takeover_ticks - 1,
        takeover_due=_any_job(elapsed == takeover_ticks - 1),
        some_on=_any_job(on),
        some_begins=_any_job(start == day),
    )


def _any_job(table: Bools) -> tuple[bool, ...]:
    """[ticks]; whether `table` [ticks, J + 1] is true of some job."""
    return tuple(bool(row.any()) for row in table)
