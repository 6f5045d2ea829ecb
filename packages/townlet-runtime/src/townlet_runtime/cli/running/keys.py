"""Keys: how they are read from a terminal or a pipe, and which of them stand for what an agent can do."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np

from townlet_behavior import ActionSpec, ActionVocabulary, MultiDiscrete
from townlet_trajectory import Box

UP, DOWN, LEFT, RIGHT = "up", "down", "left", "right"
"""Names of the arrow keys."""
_END = "\x04"
"""What a terminal sends at Ctrl-D."""
_ENTER = ("\n", "\r")
_AT_ONCE = 0
"""`termios.TCSANOW`: without dropping what was typed."""
_SEQUENCE = re.compile(r"\x1b[\[O]([ABCD])|[\x00\xe0]([HPKM])|(.)", re.DOTALL)
_ARROWS = {"A": UP, "B": DOWN, "C": RIGHT, "D": LEFT, "H": UP, "P": DOWN, "M": RIGHT, "K": LEFT}
"""By the last character of what a terminal sends, of POSIX and of Windows."""
_WAYS = (
    (UP, r"up|north|forwards?|ahead"),
    (DOWN, r"down|south|backwards?|back"),
    (LEFT, r"left|west"),
    (RIGHT, r"right|east"),
)
RESERVED = frozenset("nqmb")
"""Letters that do not stand for actions: next agent, quit, keep a moment, back to it."""
_SPARE = "asdwezxcvrfgthjklyuiop4567890ASDWEZXCVRFGTHJKLYUIOPQNMB"
STEPS = 10
"""Presses from one bound of a number to the other."""
_SAME, _LESS, _MORE = "as before", " -", " +"


class Keyboard:
    """What a person types: keys of a terminal as they are pressed, or the characters of a pipe until it ends.

    A context manager: the terminal is put right again at the end.
    """

    def __init__(self) -> None:
        self._is_terminal = sys.stdin.isatty()
        self._typed: list[str] = []

    def __enter__(self) -> Self:
        self._whole_lines = _modes_of_terminal() if self._is_terminal else None
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def key(self) -> str | None:
        """Return the next key: a character or the name of an arrow; None: there are no more.

        Raises:
            KeyboardInterrupt: at Ctrl-C.
        """
        while True:
            while not self._typed:
                text = self._read()
                if not text or text == _END:
                    return None
                self._typed = [*keys_in(text)]
            if (key := self._typed.pop(0)) not in _ENTER:
                return key

    def line(self) -> str:
        """Return what is typed up to Enter."""
        # Of what came at once with the key before, the line may be a part, or more than all.
        ends = next((at for at, key in enumerate(self._typed) if key in _ENTER), None)
        begun = "".join(self._typed[:ends])
        self._typed = [] if ends is None else self._typed[ends + 1 :]
        if ends is not None:
            return begun
        self._restore()
        try:
            return begun + (input(f":{begun}") if self._is_terminal else sys.stdin.readline().rstrip("\r\n"))
        except EOFError:
            return begun

    def _read(self) -> str:
        if not self._is_terminal:
            # One at a time: what follows may be a line.
            first = sys.stdin.read(1)
            return first + sys.stdin.read(2) if first == "\x1b" else first
        if sys.platform == "win32" or self._whole_lines is None:
            import typer

            return typer.getchar()
        import tty

        # Not once: whoever stops and resumes this process may change it. What is typed meanwhile is not dropped.
        tty.setcbreak(sys.stdin.fileno(), _AT_ONCE)
        return os.read(sys.stdin.fileno(), 32).decode(errors="replace")

    def _restore(self) -> None:
        if sys.platform != "win32" and self._whole_lines is not None:
            import termios

            termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, self._whole_lines)


def _modes_of_terminal() -> list[Any] | None:
    """The modes of the terminal that lines are read from; None on Windows, where keys are read without any."""
    if sys.platform == "win32":
        return None
    import termios

    return termios.tcgetattr(sys.stdin.fileno())


def keys_in(text: str) -> Iterator[str]:
    """Take apart what a terminal sent at once: characters, and the names of arrows."""
    for posix, windows, other in _SEQUENCE.findall(text):
        yield other or _ARROWS[posix or windows]


class Choices:
    """What agents of a group can be told, with a key each: actions, values of parts, numbers that become less or more.

    Examples:
        >>> from townlet_behavior import ActionVocabulary
        >>> from townlet_runtime.cli.running.keys import Choices
        >>> choices = Choices(ActionVocabulary(keys=("wait", "move:west", "wash"), kinds=("wait", "move", "use")))
        >>> choices.keys
        ('w', 'left', 'a')

    Args:
        actions: of the group.
    """

    def __init__(self, actions: ActionSpec) -> None:
        self._actions = actions
        self.names = _names_of(actions)
        """Of the choices; where there are masks, in their order."""
        self.keys = assign_keys(self.names)
        """Of each; None where there are not enough keys: it has to be named."""
        self.masked = not isinstance(actions, Box)
        """Whether a mask can forbid them."""
        self._standing: dict[str, list[str] | list[float]] = {}
        """What the parts or numbers of each agent are, where it was told them."""

    def of_key(self, key: str) -> int | None:
        """Return the choice that a key stands for; None: it stands for none."""
        return self.keys.index(key) if key in self.keys else None

    def named(self, text: str) -> int | None:
        """Return the choice of a name; None: there is none."""
        return self.names.index(text) if text in self.names else None

    def fed(self, choice: int, agent_id: str) -> str | list[str] | list[float]:
        """Return the action that `feed_action` takes, and remember it where one part of it changes.

        Args:
            choice: index.
            agent_id: of the agent that is told.
        """
        actions, name = self._actions, self.names[choice]
        if isinstance(actions, ActionVocabulary):
            return name
        if isinstance(actions, MultiDiscrete):
            keys = [str(one) for one in self._standing.get(agent_id, [each[0] for each in actions.parts.values()])]
            part, _, key = name.partition("=")
            keys[[*actions.parts].index(part)] = key
            self._standing[agent_id] = keys
            return keys
        low, high = np.array(actions.low), np.array(actions.high)
        numbers = np.array(self._standing.get(agent_id, ((low + high) / 2.0).tolist()), np.float64)
        if choice:
            place, more = divmod(choice - 1, 2)
            numbers[place] += (2 * more - 1) * (high[place] - low[place]) / STEPS
        told: list[float] = np.clip(numbers, low, high).tolist()
        self._standing[agent_id] = told
        return told


def _names_of(actions: ActionSpec) -> tuple[str, ...]:
    if isinstance(actions, ActionVocabulary):
        return actions.keys
    if isinstance(actions, MultiDiscrete):
        return tuple(f"{part}={key}" for part, keys in actions.parts.items() for key in keys)
    return (_SAME, *(name + change for name in actions.names for change in (_LESS, _MORE)))


def assign_keys(names: Sequence[str]) -> tuple[str | None, ...]:
    """Give each action a key: arrows to ways, else a letter of its own name, else any that is free.

    Args:
        names: of the actions.

    Returns:
        A character or the name of an arrow for each; None where there are not enough.
    """
    found: list[str | None] = [None] * len(names)
    taken = set(RESERVED)
    for arrow, words in _WAYS:
        pattern = re.compile(rf"(^|[^a-z])({words})([^a-z]|$)")
        place = next((at for at, name in enumerate(names) if found[at] is None and pattern.search(name.lower())), None)
        if place is not None:
            found[place] = arrow
    for at, name in enumerate(names):
        if found[at] is not None:
            continue
        words_of = re.findall(r"[a-z]+", name.lower())
        wanted = [*(word[0] for word in words_of[-1:]), *(word[0] for word in words_of), *"".join(words_of), *_SPARE]
        found[at] = next((key for key in wanted if key not in taken), None)
        taken.add(found[at] or "")
    return tuple(found)
