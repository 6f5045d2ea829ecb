"""The calls of the release before still work. There is none yet: the calls are those that the documents show."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from entries import CONTRACT, ROOT

from townlet_runtime.cli import main

LISTED = json.loads((CONTRACT / "calls.json").read_text(encoding="utf-8"))
PAGES = sorted((ROOT / "docs").rglob("*.md"))


def test_the_calls_of_today_are_shown_to_people() -> None:
    if LISTED["release"] is None:
        shown = " ".join(" ".join(page.read_text(encoding="utf-8").split()) for page in PAGES)
        assert [call for call in LISTED["calls"] if f"townlet {call}" not in shown] == []


def test_every_call_works_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for call in LISTED["calls"]:
        assert main(shlex.split(call)) == 0, (call, capsys.readouterr().err)
