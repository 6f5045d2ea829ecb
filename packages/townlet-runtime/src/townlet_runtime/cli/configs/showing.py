"""`townlet config show`: the values of a config with their sources."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from townlet_runtime.cli.console import Console, Json, table
from townlet_runtime.config import Override
from townlet_runtime.config.origins import Value, values_of


def show_config(path: Path | None, overrides: Sequence[Override], *, changed: bool, console: Console) -> None:
    """Show every value that a config comes to.

    Args:
        path: of the file; None: the built-in config.
        overrides: of the command line.
        changed: leave out what a file that says nothing comes to as well.
        console: prints the result.

    Raises:
        ConfigError: if the config is wrong; the first thing alone.
    """
    loaded, values = values_of(path, overrides)
    if loaded.warning is not None:
        console.warning(loaded.warning)
    shown = [value for value in values if value.is_changed or not changed]
    rows = [(value.key, _text(value), value.where) for value in shown]
    lines = table(("key", "value", "from"), rows, left=True) if rows else ["nothing differs from a silent config"]
    record: dict[str, Json] = {
        "config": loaded.source,
        "values": [_record(value) for value in shown],
        "without_effect": list(loaded.without_effect),
        "unknown": list(loaded.unknown),
    }
    console.result(record, lines)


def _record(value: Value) -> Json:
    return {
        "key": value.key,
        "value": value.value,
        "source": value.source,
        "from": value.where,
        "line": value.line,
        "default": value.default,
        "changed": value.is_changed,
    }


def _text(value: Value) -> str:
    plain = value.value
    return plain if isinstance(plain, str) and plain else json.dumps(plain, ensure_ascii=False)
