"""When to leave for work."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def time_to_leave(
    tick_of_day: NDArray[np.int64],
    shift_start: NDArray[np.int64],
    at_workplace: NDArray[np.bool_],
    *,
    arrival_buffer: NDArray[np.int64] | int,
) -> NDArray[np.bool_]:
    """Whether an agent should be on its way to work.

        shift_start - arrival_buffer <= tick_of_day < shift_start, and not there yet

    Args:
        tick_of_day: [N].
        shift_start: [N]; tick of the day, -1 without a job.
        at_workplace: [N].
        arrival_buffer: ticks before the shift at which to set off; [N], or one for all.

    Returns:
        [N] bool.
    """
    # No tick is before -1, so nobody without a job leaves.
    return (shift_start - arrival_buffer <= tick_of_day) & (tick_of_day < shift_start) & ~at_workplace
