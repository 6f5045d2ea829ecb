"""The process in which a lesson of `townlet live --teach` is learned, beside the one that has the world.

    python -m townlet_runtime.cli.teaching.process

reads its order from the first line of its standard input, says how far it is on its standard output, one JSON object a
line, and why it cannot go on on its standard error. It ends at once where its standard input does: then the process
that began it is gone.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

from townlet_runtime.cli.threads import limit_threads

if TYPE_CHECKING:
    from townlet_runtime.cli.console import Json

_NICE = 10
"""Of the process: the world goes first where both want the CPU."""


def main() -> int:
    """Learn one lesson; returns the exit code."""
    # What an environment prints must not get among the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    if hasattr(os, "nice"):
        os.nice(_NICE)
    limit_threads()
    order = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_input, name="townlet-live-order", daemon=True).start()
    from townlet_runtime.cli.teaching.lesson import learn

    return learn(order, lambda message: _say(answers, message))


def _say(answers: TextIO, message: Mapping[str, Json]) -> None:
    answers.write(json.dumps(message, allow_nan=False) + "\n")
    answers.flush()


def _end_with_input() -> None:
    # Not through the buffered file, whose lock the interpreter would wait for at its end.
    while os.read(0, 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
