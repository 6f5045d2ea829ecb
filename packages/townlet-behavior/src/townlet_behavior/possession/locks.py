"""A lock that is shared with people's callbacks."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from threading import RLock
from typing import ParamSpec

log = logging.getLogger(__name__)

_P = ParamSpec("_P")


class CallbackLock:
    """A reentrant lock. Callbacks that fall due while it is held are called as soon as it is free again.

    The thread that held it calls them, in order, each once. A callback may therefore take any lock, this one included,
    and may wait for other threads. An exception of a callback is logged: what the thread was about is done already.

    Examples:
        >>> lock = CallbackLock()
        >>> with lock:
        ...     with lock:
        ...         lock.call_when_free(print, "free")
        ...     print("held")
        held
        free
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self._depth = 0
        self._due: list[Callable[[], None]] = []

    def __enter__(self) -> None:
        self._lock.acquire()
        self._depth += 1

    def __exit__(self, *error: object) -> None:
        self._depth -= 1
        due = self._due
        if due and not self._depth:
            self._due = []
            self._lock.release()
            for callback in due:
                _call(callback)
        else:
            self._lock.release()

    def call_when_free(self, callback: Callable[_P, None], *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Call `callback` with these arguments when this thread holds the lock no more; at once if it does not now."""
        with self:
            self._due.append(partial(callback, *args, **kwargs))


def _call(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception:  # a user's own code
        log.exception("a callback raised an error")
