"""How a command ends: exit codes, one line for an error, signals that only set a flag."""

from __future__ import annotations

import signal
import traceback
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
        """The exit code that says so; 0 where nothing has asked."""
        return SUCCESS if self.signal is None else _SIGNALLED + self.signal


@contextmanager
def stop_on_signals() -> Iterator[StopFlag]:
    """Let the first SIGINT or SIGTERM set a flag for whoever looks at it, and a second one end the process at once."""
    flag = StopFlag()
    before: dict[signal.Signals, Callable[[int, FrameType | None], object] | int | None] = {}

    def handle(number: int, _frame: FrameType | None) -> None:
        flag.signal = number
        for name, handler in before.items():
            signal.signal(name, handler)

    for name in (signal.SIGINT, signal.SIGTERM):
        before[name] = signal.signal(name, handle)
    try:
        yield flag
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


class Signalled(KeyboardInterrupt):
    """SIGINT or SIGTERM has come, and there is nothing to save."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


@contextmanager
def end_on_signals() -> Iterator[None]:
    """Let SIGINT and SIGTERM end the block at once, with all that a terminal needs to be put right: as an exception."""

    def handle(number: int, _frame: FrameType | None) -> None:
        raise Signalled(number)

    before = {name: signal.signal(name, handle) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def guarded(command: Callable[[], int], console: Console) -> int:
    """Return the exit code of `command`; an error that is expected becomes one line and its code.

    The code is `ENVIRONMENT_FAILED` where nothing was said wrongly and somebody's environment broke while it ran, else
    `ERROR`.
    """
    try:
        return command()
    except BrokenPipeError:
        # Whoever read our output has read enough (`| head`), which is no error.
        drop_output()
        return _SIGNALLED + signal.SIGPIPE
    except _EXPECTED as error:
        if console.verbose:
            traceback.print_exception(error)
        console.error(_one_line(error))
        settle_output()
        return ENVIRONMENT_FAILED if isinstance(error, EnvironmentFaultError) else ERROR
    except Signalled as error:
        return _SIGNALLED + error.number
    except KeyboardInterrupt:
        return _SIGNALLED + signal.SIGINT
    except Exception as error:
        # A defect of ours must not end with the code that says "a gate failed", which is Python's own choice.
        if console.verbose:
            traceback.print_exception(error)
        console.error(f"internal error, please report it: {type(error).__name__}: {_one_line(error)} (-v shows where)")
        return ERROR


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror is not None:
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    text = " ".join(str(error).split())
    return text or type(error).__name__
