from dataclasses import dataclass, make_dataclass

from townlet_runtime.config.prose import prose_of
from townlet_runtime.config.sections import Environment, Section
from townlet_runtime.town.config import TownConfig


def test_a_field_says_what_stands_below_it() -> None:
    assert prose_of(TownConfig)["local_window"] == "Side of the square an agent sees, odd."
    assert "ticks_per_day" not in prose_of(TownConfig)
    assert prose_of(Environment)["guardrails"].endswith("null: none.")


def test_a_class_has_the_prose_of_those_that_it_extends() -> None:
    class More(Environment):
        pass

    assert prose_of(More) == prose_of(Environment)
    assert prose_of(Section) == {}


def test_nothing_is_said_of_what_has_no_source_of_ours() -> None:
    @dataclass
    class Own:
        x: int = 0
        """An own field."""

    assert prose_of(Own) == prose_of(make_dataclass("Made", ["x"])) == {}
