"""Help fits terminals of any width, nothing of it is cut, and a first page is one screen."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from townlet_runtime.cli import main
from townlet_runtime.cli.app import app
from townlet_runtime.cli.help import HEADINGS

WIDTHS = (60, 80, 120, 200)
SCREEN = 24


def commands_below(command: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command with the words that name it."""
    yield path, command
    if isinstance(command, TyperGroup):
        for name, one in command.commands.items():
            yield from commands_below(one, *path, name)


ROOT = typer.main.get_command(app)
ALL = list(commands_below(ROOT))


def shown(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> str:
    assert main([*words, "--help"]) == 0
    return capsys.readouterr().out


def squeezed(text: str) -> str:
    return re.sub(r"\s", "", text)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("words", "command"), ALL, ids=[" ".join(words) for words, _ in ALL])
def test_no_line_is_wider_and_no_word_is_cut(
    words: tuple[str, ...],
    command: Any,
    width: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    text = shown(words, capsys)
    assert max(map(len, text.splitlines())) <= width
    whole = squeezed(text)
    assert squeezed(command.help or "") in whole
    for parameter in command.params:
        if not getattr(parameter, "hidden", False) and words:
            assert squeezed(getattr(parameter, "help", None) or "") in whole
        assert squeezed(parameter.opts[-1] if parameter.param_type_name == "option" else "") in whole
    for name, one in command.commands.items() if isinstance(command, TyperGroup) else ():
        assert squeezed(name + (one.help or "").split("\n\n")[0]) in whole


@pytest.mark.parametrize("words", [words for words, one in ALL if isinstance(one, TyperGroup)], ids=" ".join)
def test_a_group_is_one_screen(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert len(shown(words, capsys).splitlines()) <= SCREEN


def test_every_command_stands_below_one_heading(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown((), capsys)
    assert isinstance(ROOT, TyperGroup)
    assert sorted(name for names in HEADINGS.values() for name in names) == sorted(ROOT.commands)
    for heading, names in HEADINGS.items():
        below = text.split(f"{heading}:\n")[1].split("\n\n")[0]
        for name in names:
            assert re.search(rf"^  {name} ", below, re.MULTILINE)


def test_long_help_is_grouped(capsys: pytest.CaptureFixture[str]) -> None:
    for words, command in ALL:
        text = shown(words, capsys)
        if len(text.splitlines()) > 3 * SCREEN and not isinstance(command, TyperGroup):
            assert len(re.findall(r"^\S.*:$", text, re.MULTILINE)) >= 3, words
