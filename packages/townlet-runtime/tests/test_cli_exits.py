import signal

import pytest

from townlet_behavior.errors import ConfigError as BehaviorConfigError
from townlet_runtime.cli.console import Console
from townlet_runtime.cli.exits import ENDING, CommandError, end_on_signals, guarded, stop_on_signals
from townlet_runtime.errors import ConfigError, EnvironmentFaultError
from townlet_trajectory import ArtifactError


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


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_where_nothing_is_to_be_saved_a_signal_ends_it_at_once(number: signal.Signals, code: int) -> None:
    before = handlers()

    def command() -> int:
        with end_on_signals():
            signal.raise_signal(number)
        pytest.fail("went on")

    assert guarded(command, plain()) == code
    assert handlers() == before
