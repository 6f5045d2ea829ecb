import pytest
from beginnings import begun

from townlet_runtime.cli import render as module
from townlet_runtime.cli.render import FRAME_S, PLAIN_FRAME_S, screen
from townlet_runtime.town import Town, TownConfig


def small_town() -> Town:
    town = Town(TownConfig(num_agents=2, grid_size=(5, 4)), num_worlds=1)
    begun(town, 1)
    return town


def test_where_nothing_is_drawn_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with screen(small_town(), enabled=False) as show:
        assert show is None
    assert capsys.readouterr().out == ""


def test_on_paper_frames_are_below_each_other_and_not_too_many(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with screen(small_town(), enabled=True) as show:
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
    with screen(small_town(), enabled=True) as show:
        assert show is not None
        show()
        show()
    assert slept == [0.0, FRAME_S]
    assert "agents 2" in capsys.readouterr().out
