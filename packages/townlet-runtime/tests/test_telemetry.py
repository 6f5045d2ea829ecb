import logging

import pytest

from townlet_runtime.core.telemetry import log_tick_health


def test_the_line_has_the_fields_that_readers_know(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="townlet_runtime.core.telemetry"):
        log_tick_health(tick=7, duration_ms=1.25, queue=30, dropped=2)
    assert caplog.messages == [
        "tick_health tick=7 duration_ms=1.250 queue=30 dropped=2"
        " perturbations_pending=0 perturbations_active=0 exit_queue=0"
    ]
