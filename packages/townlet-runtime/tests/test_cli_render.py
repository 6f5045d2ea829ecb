import numpy as np
import pytest
from beginnings import begun
from numpy.typing import NDArray

from townlet_runtime.cli.views import render as module
from townlet_runtime.cli.views.render import FRAME_S, PLAIN_FRAME_S, Frame, frame_of, screen
from townlet_runtime.errors import ConfigError
from townlet_runtime.simulation.one_group import OneGroup
from townlet_runtime.testing import Corridor
from townlet_runtime.town import Town, TownConfig


def frame_of_town() -> Frame:
    town = Town(TownConfig(num_agents=2, grid_size=(5, 4)), num_worlds=1)
    begun(town, 1)
    return frame_of(OneGroup(town), town, "town")


class DrawnCorridor(Corridor):
    """Renders what it is told to."""

    picture: str | NDArray[np.uint8] = "\x1b[41mS\x1b[0mF\nGH"

    def render(self) -> str | NDArray[np.uint8]:
        return self.picture


def test_where_nothing_is_drawn_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with screen(None) as show:
        assert show is None
    assert capsys.readouterr().out == ""


def test_on_paper_frames_are_below_each_other_and_not_too_many(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with screen(frame_of_town()) as show:
        assert show is not None
        for _ in range(4):
            show()
            now[0] += 0.6 * PLAIN_FRAME_S
    frames = capsys.readouterr().out.split("\n\n")
    assert [frame.startswith("tick") for frame in frames] == [True, True, False]


def test_on_a_terminal_frames_come_at_a_pace(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(module.time, "sleep", slept.append)
    monkeypatch.setattr(module.time, "monotonic", lambda: 0.0)
    monkeypatch.setattr(module.sys.stdout, "isatty", lambda: True, raising=False)
    with screen(frame_of_town()) as show:
        assert show is not None
        show()
        show()
    assert slept == [0.0, FRAME_S]
    assert "agents 2" in capsys.readouterr().out


def test_a_world_that_renders_text_is_shown_without_its_colors() -> None:
    assert frame_of(OneGroup(DrawnCorridor()), None, "mine")() == ["SF", "GH"]


def test_pixels_and_worlds_that_do_not_render_are_refused_before_the_first_tick() -> None:
    with pytest.raises(ConfigError, match="^--render: `mine` does not render; .*render_mode=ansi$"):
        frame_of(OneGroup(Corridor()), None, "mine")
    pixels = DrawnCorridor()
    pixels.picture = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ConfigError, match="^--render: `mine` renders pixels, and a terminal shows text$"):
        frame_of(OneGroup(pixels), None, "mine")
