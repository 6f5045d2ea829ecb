"""The one log line a tick that dashboards and `townlet watch` read."""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)


def log_tick_health(*, tick: int, duration_ms: float, queue: int, dropped: int) -> None:
    """Write the line of a tick; nothing is formatted where nobody listens at level INFO.

    The last three numbers belong to machinery that this runtime does not have; readers of the line expect them.

    Args:
        tick: just done, from 1.
        duration_ms: of deciding and stepping.
        queue: recorded rows that nobody has collected yet.
        dropped: recorded rows dropped so far because nobody collected them in time.
    """
    log.info(
        "tick_health tick=%d duration_ms=%.3f queue=%d dropped=%d"
        " perturbations_pending=0 perturbations_active=0 exit_queue=0",
        tick,
        duration_ms,
        queue,
        dropped,
    )
