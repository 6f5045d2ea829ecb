"""Training logs for the tests of what reads them: those of the original, and lines made from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LOGS = Path(__file__).parent / "contract_logs"
NEW, OLD, HEALTH = LOGS / "ppo_log_v1.2.jsonl", LOGS / "ppo_conflict_telemetry.jsonl", LOGS / "tick_health.log"


def line(**changes: Any) -> dict[str, Any]:
    """The record of the log of version 1.2 with other values."""
    return {**json.loads(NEW.read_text()), **changes}


def without(record: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """The record without some keys."""
    return {key: value for key, value in record.items() if key not in keys}


def write_log(path: Path, *records: Mapping[str, Any]) -> Path:
    """Write a log with one line for each record; return its path."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path
