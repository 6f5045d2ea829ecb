"""Training logs for the tests of what reads them: those of the original, and lines made from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LOGS = Path(__file__).parent / "contract_logs"
NEW, OLD, HEALTH = LOGS / "ppo_log_v1.2.jsonl", LOGS / "ppo_conflict_telemetry.jsonl", LOGS / "tick_health.log"

STRETCH: Mapping[str, Any] = {
    "format_version": 1,
    "tick": 200,
    "ticks": 100,
    "unix_time": 1.75e9,
    "agents": 4,
    "agent_ticks": 400,
    "decisions_by_source": {"scripted": 100, "learned": 0, "external": 0},
    "ticks_by_source": {"scripted": 290, "learned": 100, "external": 10},
    "proposals_by_proposer": {"script": 400},
    "forced": 290,
    "foreign": 10,
    "vetoes_by_reason": {"action_mask": 2, "chat_rival": 4},
    "policy_errors": 0,
    "tick_ms_p50": 0.25,
    "tick_ms_p99": 2.5,
    "policies": {"agents": None},
    "ratios": {"agents": 0.25},
    "queue_rows": 400,
    "dropped_rows": 0,
    "mean_reward": -0.0125,
    "sink_errors": 0,
}
"""A record of telemetry."""


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
