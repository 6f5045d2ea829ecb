"""Worlds of other libraries draw themselves where somebody looks at them, and where they cannot, live on without."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small_envs import Stairs

from townlet_runtime.cli.console import Console
from townlet_runtime.cli.running.pictures import PIXELS, TEXT
from townlet_runtime.cli.running.setup import PreparedWorld, RunOptions, prepared
from townlet_runtime.cli.world_options import WorldOptions

NAME = "test_cli_pictures:"


class Drawn(Stairs):
    """Stairs that draw themselves in their modes."""

    metadata = {"render_modes": ["human", "rgb_array", "ansi"]}  # noqa: RUF012  # as Gymnasium has it
    open = 0

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__()
        self.render_mode = render_mode
        Drawn.open += 1

    def render(self) -> Any:
        match self.render_mode:
            case "rgb_array":
                return np.full((2, 3, 3), 7, np.uint8)
            case "ansi":
                return "stairs"
        return None

    def close(self) -> None:
        Drawn.open -= 1


class Unpainted(Drawn):
    """Lacks the library that it draws with."""

    def render(self) -> Any:
        if self.render_mode is not None:
            raise ModuleNotFoundError("no brush is installed")


def deaf() -> Drawn:
    """Takes no settings."""
    return Drawn()


class Shy(Drawn):
    """Lists nothing."""

    metadata = {}  # noqa: RUF012  # likewise


def world_of(name: str, *, picture: str | None = PIXELS, settings: tuple[str, ...] = ()) -> PreparedWorld:
    options = RunOptions(
        config=None,
        world=WorldOptions.of(name if ":" in name else NAME + name, None, None),
        policy=None,
        ratio=None,
        ticks=10,
        ticks_per_second=None,
        record=None,
        render=False,
        picture=picture,
        seed=1,
        settings=settings,
    )
    return prepared(options, Console(json=False, verbose=False, quiet=False))


def picture_in(world: PreparedWorld) -> Any:
    shown = world.simulation.render()
    world.simulation.close()
    assert Drawn.open == 0
    return shown


@pytest.fixture(autouse=True)
def none_is_open() -> None:
    Drawn.open = 0


def test_a_world_that_lists_the_mode_is_asked_for_it() -> None:
    assert picture_in(world_of("Drawn")).shape == (2, 3, 3)
    assert picture_in(world_of("Drawn", picture=TEXT)) == "stairs"


def test_nobody_is_asked_where_nobody_looks_or_nothing_is_listed() -> None:
    assert picture_in(world_of("Drawn", picture=None)) is None
    assert picture_in(world_of("Shy")) is None


def test_a_setting_has_the_last_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert picture_in(world_of("Drawn", settings=("environment.settings.render_mode=ansi",))) == "stairs"
    assert "cannot draw" not in capsys.readouterr().err


@pytest.mark.parametrize(("name", "why"), [("Unpainted", "no brush is installed"), ("deaf", "render_mode")])
def test_a_world_that_cannot_draw_is_shown_without_and_says_why(
    name: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert picture_in(world_of(name)) is None
    said = " ".join(capsys.readouterr().err.split())
    assert f"`{NAME}{name}` cannot draw itself, so its agents are shown alone" in said
    assert why in said


@pytest.mark.parametrize("vectorization", ["auto", "sync"])
def test_cart_pole_draws_itself(vectorization: str) -> None:
    pytest.importorskip("pygame")
    shown = picture_in(world_of("gymnasium:CartPole-v1", settings=(f"environment.vectorization={vectorization}",)))
    assert (shown.dtype, shown.ndim, shown.shape[2]) == (np.uint8, 3, 3)


def test_worlds_of_pettingzoo_draw_themselves_in_parallel_and_in_turns() -> None:
    pytest.importorskip("pygame")
    pytest.importorskip("mpe2")
    for name in ("pettingzoo:mpe2.simple_spread_v3", "pettingzoo:pettingzoo.classic.tictactoe_v3"):
        shown = picture_in(world_of(name))
        assert (shown.dtype, shown.ndim) == (np.uint8, 3)
