"""docs/migration.md shows every departure from the original, and names each of its defects and what takes its place."""

from __future__ import annotations

import json
import re
from typing import Any

from entries import CONTRACT, ROOT, SCRIPTS

PAGE = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8")
DEPARTURES = json.loads((CONTRACT / "departures.json").read_text(encoding="utf-8"))
HEADING = "## What differs, command by command"


def cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} `{json.dumps(one)}`" for key, one in value.items())
    return str(value)


def rows() -> list[str]:
    """The table of the page, as `departures.json` says it must be."""
    options = []
    for one in DEPARTURES["options"]:
        commands = ", ".join(f"`{command.removeprefix('townlet ')}`" for command in one["commands"])
        options.append((f"{commands}: `{one['option']}`", one))
    others = [(one["where"], one) for kind in ("calls", "other") for one in DEPARTURES[kind]]
    return [
        f"| {where} | {cell(one['original'])} | {cell(one['here'])} | {one['reason']} |"
        for where, one in [*options, *others]
    ]


def test_the_table_is_that_of_the_file() -> None:
    section = PAGE.partition(f"{HEADING}\n")[2].partition("\n## ")[0]
    shown = [line for line in section.splitlines() if line.startswith("|")][2:]
    assert shown == rows(), "\n".join(rows())


def test_all_34_defects_are_told() -> None:
    numbers = [int(number) for number in re.findall(r"^\| (\d+) \|", PAGE, flags=re.MULTILINE)]
    assert numbers == list(range(1, 35))


def test_every_script_is_named_with_its_command() -> None:
    for script, words in SCRIPTS.items():
        assert f"| `{script}.py` | `townlet {' '.join(words)}` |" in PAGE


def test_how_long_the_old_names_live_is_said_once_for_all() -> None:
    folder = ROOT / "packages" / "townlet-runtime" / "src" / "townlet_runtime" / "legacy" / "__init__.py"
    for text in (PAGE, folder.read_text(encoding="utf-8")):
        assert "two minor releases after 0.1, or six months after it, whichever is later" in " ".join(text.split())
