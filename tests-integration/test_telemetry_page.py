"""The page on telemetry names every key of a record, and says since when it is there."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from townlet_runtime import TelemetryRecord
from townlet_runtime.core.stretches import FORMAT_VERSION

PAGE = Path(__file__).resolve().parent.parent / "docs" / "how-to" / "telemetry.md"


def test_the_table_has_every_key_in_its_order() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("## One record for many ticks\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    keys = [key for first, *_ in rows for key in re.findall(r"`(\w+)`", first)]
    assert keys == ["format_version", *(field.name for field in fields(TelemetryRecord))]
    assert {int(since) for *_, since in rows} == set(range(1, FORMAT_VERSION + 1))
