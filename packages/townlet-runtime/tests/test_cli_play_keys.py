"""Which keys stand for what an agent can do, and how they are read."""

from __future__ import annotations

import io
import sys

import pytest

from townlet_behavior import ActionVocabulary, MultiDiscrete
from townlet_runtime.cli.running import keys as module
from townlet_runtime.cli.running.keys import RESERVED, STEPS, Choices, Keyboard, assign_keys, keys_in
from townlet_runtime.town.actions import TABLE
from townlet_trajectory import Box


def test_ways_are_arrows_and_others_letters_of_their_names() -> None:
    names = ("wait", "move:east", "go north", "left=hand", "brighter", "eat", "wash")
    assert assign_keys(names) == ("w", "right", "up", "left", "r", "e", "a")


def test_no_key_is_given_twice_or_taken_from_the_game() -> None:
    keys = assign_keys(TABLE.vocabulary.keys)
    assert len(set(keys)) == len(keys)
    assert None not in keys
    assert RESERVED.isdisjoint(keys)
    assert {".", " ", ":", "1", "2", "3"}.isdisjoint(keys)
    many = assign_keys([f"action {number}" for number in range(200)])
    given = [key for key in many if key is not None]
    assert len(set(given)) == len(given) > 50
    assert many[-1] is None
    assert RESERVED.isdisjoint(given)


def test_what_a_terminal_sends_is_taken_apart() -> None:
    assert [*keys_in("a\x1b[A\x1bOBz\x1b[C\x1b[D")] == ["a", "up", "down", "z", "right", "left"]
    assert [*keys_in("\xe0H\x00P\xe0K\xe0M")] == ["up", "down", "left", "right"]
    assert [*keys_in("\x1bx\n")] == ["\x1b", "x", "\n"]


def test_an_action_of_a_vocabulary_is_its_key() -> None:
    choices = Choices(ActionVocabulary(keys=("wait", "wash"), kinds=("wait", "use")))
    assert (choices.of_key("w"), choices.of_key("?"), choices.named("wash"), choices.named("?")) == (0, None, 1, None)
    assert choices.fed(1, "ann") == "wash"


def test_a_part_changes_and_the_others_stay() -> None:
    choices = Choices(MultiDiscrete(parts={"move": ("stay", "east"), "hand": ("open", "closed")}))
    assert choices.names == ("move=stay", "move=east", "hand=open", "hand=closed")
    assert choices.fed(3, "ann") == ["stay", "closed"]
    assert choices.fed(1, "ann") == ["east", "closed"]
    assert choices.fed(2, "bob") == ["stay", "open"]


def test_a_number_goes_on_by_a_tenth_of_its_range_and_not_beyond() -> None:
    choices = Choices(Box(names=("steer", "gas"), low=(-1.0, 0.0), high=(1.0, 4.0)))
    assert choices.names == ("as before", "steer -", "steer +", "gas -", "gas +")
    assert not choices.masked
    assert choices.fed(0, "ann") == [0.0, 2.0]
    assert choices.fed(1, "ann") == pytest.approx([-0.2, 2.0])
    assert choices.fed(4, "ann") == pytest.approx([-0.2, 2.4])
    for _ in range(STEPS):
        told = choices.fed(4, "ann")
    assert told == pytest.approx([-0.2, 4.0])
    assert choices.fed(2, "ann") == pytest.approx([0.0, 4.0])


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> Keyboard:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    return Keyboard()


def test_a_pipe_is_read_key_by_key_and_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with typed(monkeypatch, "w\n\x1b[C:move:east\r\nq") as keyboard:
        assert [keyboard.key() for _ in range(3)] == ["w", "right", ":"]
        assert keyboard.line() == "move:east"
        assert [keyboard.key(), keyboard.key()] == ["q", None]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_where_there_are_no_modes_typer_reads_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["ab", "\xe0H", ":wash\rw", "\x04"])
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(module, "_modes_of_terminal", lambda: None)
    monkeypatch.setattr("typer.getchar", lambda: next(answers))
    monkeypatch.setattr("builtins.input", lambda prompt: "wash")
    with Keyboard() as keyboard:
        assert [keyboard.key(), keyboard.line()] == ["a", "bwash"]
        assert [keyboard.key(), keyboard.key()] == ["up", ":"]
        assert [keyboard.line(), keyboard.key(), keyboard.key()] == ["wash", "w", None]
