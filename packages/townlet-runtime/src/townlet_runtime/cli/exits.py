"""How a command ends: exit codes, one line for an error, and signals that set a flag or end a block."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from townlet_behavior.errors import BehaviorError
from townlet_runtime.cli.console import Console, drop_output, settle_output
from townlet_runtime.errors import EnvironmentFaultError, TownletError
from townlet_trajectory.errors import TrajectoryError

SUCCESS = 0
GATE_FAILED = 1
ENVIRONMENT_FAILED = 1
ERROR = 2
_SIGNALLED = 128
"""Plus the number of the signal, as shells do it."""
BROKEN_PIPE = _SIGNALLED + 13
"""13 is SIGPIPE, which Windows does not name."""
ENDING = tuple(signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if name in signal.Signals.__members__)
"""Signals that ask a process to end; Windows has no SIGHUP."""
_IGNORABLE = "SIGHUP"
"""`nohup` starts a process in which this signal is ignored, and so it stays."""

Handler = Callable[[int, FrameType | None], object]


class CommandError(TownletError):
    """Why a command cannot do what it was asked to."""


_EXPECTED = (TownletError, BehaviorError, TrajectoryError, OSError, MemoryError)


class StopFlag:
    """Whether a signal has asked for an end, and which one."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self) -> bool:
        return self.signal is not None

    @property
    def code(self) -> int:
        """The exit code that says so; 0 where no signal has come."""
        return SUCCESS if self.signal is None else _SIGNALLED + self.signal


@contextmanager
def stop_on_signals() -> Iterator[StopFlag]:
    """Let the first of `ENDING` set a flag, and a second one end the process at once."""
    flag = StopFlag()

    def handle(number: int, _frame: FrameType | None) -> None:
        flag.signal = number
        restore()

    restore = _handle_with(handle)
    try:
        yield flag
    finally:
        restore()


class Signalled(KeyboardInterrupt):
    """One of `ENDING` has come, and there is nothing to save."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


@contextmanager
def end_on_signals() -> Iterator[None]:
    """Let each of `ENDING` end the block at once, as an exception, so that a terminal is put right again."""

    def handle(number: int, _frame: FrameType | None) -> None:
        raise Signalled(number)

    restore = _handle_with(handle)
    try:
        yield
    finally:
        restore()


def _handle_with(handler: Handler) -> Callable[[], None]:
    """Install `handler` for `ENDING`; return the function that puts back the handlers that were there."""
    before = {
        number: signal.getsignal(number)
        for number in ENDING
        if number.name != _IGNORABLE or signal.getsignal(number) is not signal.SIG_IGN
    }

    def restore() -> None:
        for number, earlier in before.items():
            signal.signal(number, earlier)

    for number in before:
        signal.signal(number, handler)
    return restore


def guarded(command: Callable[[], int], console: Console) -> int:
    """Run `command` and return its exit code; an error that is expected becomes one line and its code.

    The code is `ENVIRONMENT_FAILED` where a foreign environment broke its interface while it ran, else `ERROR`.
    """
    try:
        return command()
    except BrokenPipeError:
        # The reader of our output has read enough (`| head`), which is no error.
        drop_output()
        return BROKEN_PIPE
    except _EXPECTED as error:
        console.trace(error)
        console.error(one_line(error))
        settle_output()
        return ENVIRONMENT_FAILED if isinstance(error, EnvironmentFaultError) else ERROR
    except Signalled as error:
        return _SIGNALLED + error.number
    except KeyboardInterrupt:
        return _SIGNALLED + signal.SIGINT
    except Exception as error:
        # A defect of ours must not end with the code that says "a gate failed", which is Python's own choice.
        console.trace(error)
        console.error(f"internal error, please report it: {type(error).__name__}: {one_line(error)} (-v shows where)")
        return ERROR


def one_line(error: BaseException) -> str:
    """Return the message of `error` on one line; its type where it has no message."""
    if isinstance(error, OSError) and error.strerror is not None:
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    text = " ".join(str(error).split())
    return text or type(error).__name__
