import json
import logging
import math
import signal
from collections.abc import Iterator

import pytest

from townlet_behavior.errors import ConfigError as BehaviorConfigError
from townlet_runtime.cli import console as module
from townlet_runtime.cli.console import (
    ENDING,
    CommandError,
    Console,
    duration,
    end_on_signals,
    guarded,
    stop_on_signals,
    table,
)
from townlet_runtime.core import telemetry
from townlet_runtime.errors import ConfigError, EnvironmentFaultError
from townlet_trajectory import ArtifactError


def console(*, json: bool = False, verbose: bool = False, quiet: bool = False) -> Console:
    return Console(json=json, verbose=verbose, quiet=quiet)


def test_a_result_is_lines_or_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    console().result({"a": 1}, ["x", "y"])
    assert capsys.readouterr().out == "x\ny\n"
    console(json=True, quiet=True).result({"a": [1.5, None]}, ["x"])
    assert json.loads(capsys.readouterr().out) == {"a": [1.5, None]}
    console(quiet=True).result({"a": 1}, ["x"])
    assert capsys.readouterr().out == ""
    with pytest.raises(ValueError, match="not JSON compliant"):
        console(json=True).result({"a": math.nan}, [])


def test_warnings_and_notes_are_beside_the_result_and_quiet_hides_them(capsys: pytest.CaptureFixture[str]) -> None:
    console(json=True).warning("odd")
    console(json=True).note("done")
    out, err = capsys.readouterr()
    assert (out, err) == ("", "townlet: warning: odd\ndone\n")
    console(quiet=True).warning("odd")
    console(quiet=True).note("done")
    assert capsys.readouterr().err == ""
    console(quiet=True).error("bad")
    assert capsys.readouterr().err == "townlet: error: bad\n"


def test_no_foreign_text_reaches_the_terminal_raw(capsys: pytest.CaptureFixture[str]) -> None:
    foreign, shown = "\x1b]0;x\x07\x9b\udcff\n", r"\u001b]0;x\u0007\u009b\udcff\u000a"
    one = console(verbose=True)
    one.result({}, [foreign, "b"])
    one.error(foreign)
    one.warning(foreign)
    one.note(foreign)
    logging.getLogger("a.world").warning("%s", foreign.strip())
    one.trace(ValueError(foreign))
    out, err = capsys.readouterr()
    assert out == f"{shown}\nb\n"
    assert err.count(shown.removesuffix(r"\u000a")) == 5
    assert all(character.isprintable() or character == "\n" for character in out + err)


def test_levels_of_the_log() -> None:
    for settings, level in (({}, logging.WARNING), ({"verbose": True}, logging.INFO), ({"quiet": True}, logging.ERROR)):
        console(**settings)
        assert logging.getLogger().level == level
    console(verbose=True).mute_ticks()
    assert not telemetry.log.isEnabledFor(logging.INFO)
    telemetry.log.setLevel(logging.NOTSET)


def test_plain_progress_is_a_line_every_few_seconds_and_at_every_stage(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([0.0, 1.0, 6.0, 7.0, 8.0, 9.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(now))
    with console().progress(total=1200, unit="ticks") as progress:
        for stage, done in (("clone", 100), ("clone", 600), ("clone", 700), ("ppo", 800), ("ppo", 900)):
            progress.update(stage, done, "return 1.5")
    assert capsys.readouterr().err.splitlines() == [
        "clone: 600 of 1,200 ticks, 100/s, 6 s left, return 1.5",
        "ppo: 800 of 1,200 ticks, 100/s, 4 s left, return 1.5",
    ]


def test_what_was_done_before_says_nothing_about_the_rate(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([0.0, 6.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(now))
    with console().progress(total=1200, unit="ticks", begun_at=500) as progress:
        progress.update("ppo", 800)
    assert capsys.readouterr().err == "ppo: 800 of 1,200 ticks, 50/s, 8 s left\n"


def test_a_told_time_is_shown_as_it_is_and_an_unknown_one_not_at_all(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([0.0, 6.0, 12.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(now))
    with console().progress(total=1200, unit="ticks", told=True) as progress:
        progress.update("clone", 600)
        progress.update("judge", 1200, left=30.0)
    assert capsys.readouterr().err.splitlines() == [
        "clone: 600 of 1,200 ticks, 100/s",
        "judge: 1,200 of 1,200 ticks, 100/s, 30 s left",
    ]


def test_quiet_shows_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with console(quiet=True).progress(total=2, unit="ticks") as progress:
        progress.update("a", 1)
        progress.update("b", 2)
    assert capsys.readouterr().err == ""


def test_on_a_terminal_progress_is_drawn(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: True, raising=False)
    with console().progress(total=200, unit="ticks") as progress:
        progress.update("clone", 100, "return 1.5")
    out, err = capsys.readouterr()
    assert out == ""
    assert "clone" in err and "100 of 200 ticks" in err and "return 1.5" in err
    with console().progress(total=200, unit="ticks", told=True) as progress:
        progress.update("judge", 200, left=184.0)
    assert "3 min 04 s left" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (184, "3 min 04 s"), (3725, "1 h 02 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_tables_are_aligned() -> None:
    assert table(("who", "n"), [("a", "1,000"), ("learned", "2")]) == [
        "who          n",
        "a        1,000",
        "learned      2",
    ]


def failing(error: BaseException):
    def command() -> int:
        raise error

    return command


def plain(*, verbose: bool = False) -> Console:
    return Console(json=False, verbose=verbose, quiet=False)


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in ENDING]


def test_a_terminal_that_is_gone_is_ignored_under_nohup() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop()
        with end_on_signals():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_code_of_a_command_is_passed_on() -> None:
    assert guarded(lambda: 1, plain()) == 1


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ConfigError("must be 1", file="c.yaml", key="a.b"), "c.yaml: `a.b`: must be 1"),
        (BehaviorConfigError("no\n  such ratio"), "no such ratio"),
        (ArtifactError("x/y", "write", "No space left on device"), "x/y: write: No space left on device"),
        (OSError(28, "No space left on device", "z"), "z: No space left on device"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (CommandError("nothing to do"), "nothing to do"),
        (CommandError("\x1b[2J\x07\x9b1m\u202e"), r"\u001b[2J\u0007\u009b1m\u202e"),
        (OSError(2, "No such file", "a\x1bb\udcff"), r"a\u001bb\udcff: No such file"),
        (MemoryError(), "MemoryError"),
        (ZeroDivisionError("by 0"), "internal error, please report it: ZeroDivisionError: by 0 (-v shows where)"),
    ],
)
def test_an_error_is_one_line_and_code_2(error: Exception, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(failing(error), plain()) == 2
    assert capsys.readouterr().err == f"townlet: error: {line}\n"


def test_an_environment_that_broke_is_one_line_and_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    error = EnvironmentFaultError("gymnasium:Walk-v0", "the reward is nan", world=2, tick=7)
    assert guarded(failing(error), plain()) == 1
    assert capsys.readouterr().err == f"townlet: error: {error}\n"


@pytest.mark.parametrize("error", [ConfigError("bad"), ZeroDivisionError("by 0")])
def test_verbose_shows_where(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(failing(error), plain(verbose=True)) == 2
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_before_anything_is_set_up_has_the_code_of_the_signal() -> None:
    assert guarded(failing(KeyboardInterrupt()), plain()) == 130


@pytest.fixture
def hears_hangups() -> Iterator[None]:
    """Under `nohup` the signal is ignored, and stays so."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hears_hangups")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_only_sets_a_flag(number: signal.Signals, code: int) -> None:
    before = handlers()
    with stop_on_signals() as stop:
        assert (stop(), stop.code) == (False, 0)
        signal.raise_signal(number)
        assert (stop(), stop.code) == (True, code)
        # A second one is not held back any more.
        assert handlers() == before
    assert handlers() == before


@pytest.mark.usefixtures("hears_hangups")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_where_nothing_is_to_be_saved_a_signal_ends_it_at_once(number: signal.Signals, code: int) -> None:
    before = handlers()

    def command() -> int:
        with end_on_signals():
            signal.raise_signal(number)
        pytest.fail("went on")

    assert guarded(command, plain()) == code
    assert handlers() == before
