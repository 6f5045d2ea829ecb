"""Teachers by name, for the tests of `townlet distill`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import Answer, Question
from townlet_runtime.simulation.interface import SimulationSpec


class Thrifty:
    """Waits, unless the town says that something can be started or somebody can be met. A `BatchTeacher`."""

    def __init__(self, spec: SimulationSpec) -> None:
        self._keys = spec.vocabulary.keys

    def teach(
        self, observations: Mapping[str, NDArray[np.float32]], action_mask: NDArray[np.bool_] | None, /
    ) -> NDArray[np.int64]:
        assert action_mask is not None
        order = [self._keys.index(key) for key in ("start", "chat", "wait")]
        legal = action_mask[:, order]
        return np.array(order)[legal.argmax(axis=1)]


def thrifty(spec: SimulationSpec) -> Thrifty:
    """What `--teacher minds:thrifty` names."""
    return Thrifty(spec)


def frugal(questions: Sequence[Question]) -> list[Answer]:
    """A `Mind` that does what `Thrifty` does, for 3 tokens and 0.01 each; it has no answer to the seventh."""
    answers = []
    for number, question in enumerate(questions):
        action = next(key for key in ("start", "chat", "wait") if key in question.actions)
        answers.append(Answer(action=None if number == 6 else action, tokens=3, cost=0.01))
    return answers


async def late(questions: Sequence[Question]) -> list[Answer]:
    """A `Mind` that is awaited, and answers with an action that nobody knows to every second question."""
    await asyncio.sleep(0)
    return [Answer(action="fly" if number % 2 else "wait") for number, _ in enumerate(questions)]


def broken(questions: Sequence[Question]) -> list[Answer]:
    """A `Mind` that is out of order."""
    raise OSError(f"no connection for {len(questions)} questions")


def nothing(spec: SimulationSpec) -> object:
    """A function that makes no teacher."""
    return spec
