"""Minds that answer when a test says so, and agents to ask about."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from strategies import VOCABULARY, WAIT, Script, view_of

from townlet_behavior import (
    Answer,
    AnswerLog,
    BatchController,
    BehaviorBridge,
    BridgeConfig,
    CommitmentConfig,
    DecisionBatch,
    DeferredConfig,
    DeferredController,
    Question,
    View,
)
from townlet_behavior.deferred.calls import Answered, Key
from townlet_behavior.deferred.records import Reply, judge_all

CAPACITY = 4
OPTIONS: Mapping[str, int] = {"wait": 0, "move": 0, "start": 4, "work": 3}


@dataclass
class Hand:
    """`Calls` that a test answers by hand."""

    sent: dict[int, Sequence[Question]] = field(default_factory=dict)
    """By number of the call."""
    cancelled: list[int] = field(default_factory=list)
    is_closed: bool = False
    _keys: dict[int, Key] = field(default_factory=dict)
    _ended: list[Answered] = field(default_factory=list)

    def send(self, key: Key, questions: Sequence[Question]) -> None:
        self.sent[key[1]], self._keys[key[1]] = questions, key

    def give_up(self, key: Key) -> None:
        self.cancelled.append(key[1])

    def take(self) -> list[Answered]:
        ended, self._ended = self._ended, []
        return ended

    def close(self, timeout_s: float) -> None:
        self.is_closed = True

    def answer(self, number: int, answers: object) -> None:
        """Let a call end; the next tick finds it."""
        self.reply(number, judge_all(self.sent[number], answers))

    def reply(self, number: int, replies: list[Reply]) -> None:
        self._ended.append((self._keys.pop(number), replies))

    def under_way(self) -> list[int]:
        """The calls that were sent and not answered."""
        return sorted(self._keys)

    def answer_all(self, action: str, **usage: Any) -> None:
        """Answer everything that was not answered yet."""
        for number in self.under_way():
            self.answer(number, [Answer(action=action, **usage)] * len(self.sent[number]))


def never(questions: Sequence[Question]) -> Sequence[Answer]:
    raise AssertionError(f"asked {len(questions)} questions")


def describe(view: View, rows: NDArray[np.int64]) -> Sequence[tuple[str, int, str]]:
    """What is seen is the slot and nothing more."""
    return [(f"agent {slot}", 0, json.dumps({"slot": slot})) for slot in view.slots[rows].tolist()]


class Seen:
    """Describes what the test sets, the same for all."""

    def __init__(self) -> None:
        self.shown = "nothing"

    def __call__(self, view: View, rows: NDArray[np.int64]) -> Sequence[tuple[str, int, str]]:
        return [(f"agent {slot}", 0, self.shown) for slot in view.slots[rows].tolist()]


def controller_of(
    mind: Any,
    config: DeferredConfig | None = None,
    *,
    fallback: BatchController | None = None,
    log: AnswerLog | None = None,
    describe: Any = describe,
    capacity: int = CAPACITY,
) -> DeferredController:
    return DeferredController(
        mind,
        Script(*[WAIT] * capacity) if fallback is None else fallback,
        vocabulary=VOCABULARY,
        describe=describe,
        capacity=capacity,
        name="oracle",
        config=DeferredConfig() if config is None else config,
        log=log,
    )


class Life:
    """A controller behind a bridge, tick by tick."""

    def __init__(
        self, controller: DeferredController, *, options: Mapping[str, int] | int = 0, capacity: int = CAPACITY
    ) -> None:
        self.controller = controller
        self.tick = 0
        config = BridgeConfig(commitment=CommitmentConfig(ticks=options))
        self.bridge = BehaviorBridge(VOCABULARY, controller, capacity=capacity, config=config, seed=1)

    def step(self, view: View | None = None) -> DecisionBatch:
        decisions = self.bridge.decide(view_of(*range(CAPACITY)) if view is None else view, tick=self.tick)
        self.tick += 1
        return decisions

    def actions(self, ticks: int) -> list[list[int]]:
        return [self.step().action.tolist() for _ in range(ticks)]
