"""Every option of the original is there, and every one that differs or is new is listed with its reason."""

from __future__ import annotations

import json
from typing import Any

from entries import CONTRACT, SCRIPTS
from options import FIELDS, of_app, of_contract


def listed(name: str) -> Any:
    return json.loads((CONTRACT / name).read_text(encoding="utf-8"))


ORIGINAL = of_contract(listed("cli.json"))
ADDITIONS = listed("additions.json")
DEPARTURES = listed("departures.json")["options"]


def test_every_script_has_its_command() -> None:
    commands = {script.removesuffix(".py"): one["command"] for script, one in listed("cli.json").items()}
    assert commands == {script: f"townlet {' '.join(words)}" for script, words in SCRIPTS.items()}


def test_commands_are_those_of_the_original_and_the_listed_ones() -> None:
    assert set(of_app()) == {*ORIGINAL, *ADDITIONS["commands"]}


def test_options_are_those_of_the_original_and_the_listed_ones() -> None:
    live = of_app()
    for command, rows in ORIGINAL.items():
        expected = {*rows, *ADDITIONS["everywhere"], *ADDITIONS["options"].get(command, {})}
        assert set(live[command]) == expected, command
    assert ADDITIONS["options"].keys() <= ORIGINAL.keys()


def test_an_option_that_is_listed_as_new_is_new() -> None:
    assert not ADDITIONS["commands"].keys() & ORIGINAL.keys()
    for command, rows in ADDITIONS["options"].items():
        assert not rows.keys() & ORIGINAL[command].keys(), command


def test_options_mean_what_they_meant_but_for_the_listed_differences() -> None:
    expected = {(c, flag): dict(row) for c, rows in ORIGINAL.items() for flag, row in rows.items()}
    for one in DEPARTURES:
        for command in one["commands"]:
            row = expected[command, one["option"]]
            assert {key: row[key] for key in one["original"]} == one["original"], one
            row |= one["here"]
    live = of_app()
    found = {(command, flag): live[command].get(flag) for command, flag in expected}
    assert found == expected


def test_every_addition_and_departure_has_a_reason() -> None:
    additions = [ADDITIONS["everywhere"], ADDITIONS["commands"], *ADDITIONS["options"].values()]
    assert all(len(reason) > 5 for rows in additions for reason in rows.values())
    assert all(len(one["reason"]) > 5 for rows in listed("departures.json").values() for one in rows)
    assert all(one["original"].keys() == one["here"].keys() <= {*FIELDS} for one in DEPARTURES)
