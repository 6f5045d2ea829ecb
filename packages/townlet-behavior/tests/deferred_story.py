"""Lives with a slow mind that are drawn by chance, for tests of whole runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st
from minds import CAPACITY, OPTIONS, Hand, Life, controller_of
from numpy.typing import NDArray
from strategies import NUM_ACTIONS, VOCABULARY, WAIT, Script, view_of

from townlet_behavior import (
    AnswerLog,
    Budget,
    CommitmentConfig,
    DecisionBatch,
    DeferredConfig,
    DeferredController,
    Question,
    SavedState,
    View,
)
from townlet_behavior.deferred.records import Failure, Reply, failed, nano_of
from townlet_behavior.testing import PlainView

TOKENS, COST = 10, 0.25
LENGTHS = CommitmentConfig(ticks=dict(OPTIONS)).lengths(VOCABULARY)


def budgets() -> st.SearchStrategy[Budget]:
    return st.builds(
        Budget,
        calls=st.none() | st.integers(0, 12),
        tokens=st.none() | st.integers(0, 12 * TOKENS),
        cost=st.none() | st.floats(0.0, 12 * COST),
    )


configs = st.builds(
    DeferredConfig,
    deadline_ticks=st.integers(1, 4),
    max_age_ticks=st.integers(4, 7),
    max_uses=st.sampled_from([None, 1, 2]),
    every_ticks=st.integers(1, 3),
    lead_ticks=st.integers(0, 3),
    options=st.just(CommitmentConfig(ticks=dict(OPTIONS))),
    only_changed=st.booleans(),
    batch_size=st.integers(1, 3),
    in_flight=st.integers(1, 3),
    agent_budget=budgets(),
    run_budget=budgets(),
    tokens_per_question=st.just(TOKENS),
    cost_per_question=st.just(COST),
    cache_entries=st.integers(0, 3),
    breaker_failures=st.integers(1, 4),
    breaker_ticks=st.integers(1, 5),
)


@dataclass
class Sights:
    """What agents see: one of a few things, drawn by seed, tick and slot."""

    seed: int
    variety: int
    tick: int = 0

    def of(self, slot: int) -> str:
        return str(np.random.default_rng([self.seed, self.tick, slot]).integers(self.variety))

    def __call__(self, view: View, rows: NDArray[np.int64]) -> Sequence[tuple[str, int, str]]:
        return [(f"agent {slot}", 0, self.of(slot)) for slot in view.slots[rows].tolist()]

    def view(self) -> PlainView:
        """Everybody, under a mask that leaves waiting and some more."""
        mask = np.random.default_rng([self.seed, self.tick, 99]).random((CAPACITY, NUM_ACTIONS)) < 0.5
        mask[:, WAIT] = True
        return view_of(*range(CAPACITY), mask=mask)


@dataclass
class Story:
    """A life with a mind whose answers come when chance says so; everything that was decided."""

    config: DeferredConfig
    sights: Sights
    controller: DeferredController
    actions: list[list[int]] = field(default_factory=list)
    proposers: list[list[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.life = Life(self.controller, options=OPTIONS)

    def step(self) -> tuple[PlainView, DecisionBatch]:
        view = self.sights.view()
        decisions = self.life.step(view)
        self.actions.append(decisions.action.tolist())
        self.proposers.append(decisions.proposer.tolist())
        self.sights.tick += 1
        return view, decisions

    def leave(self) -> int | None:
        """One in some ticks an agent leaves, and another comes."""
        chance = np.random.default_rng([self.sights.seed, self.sights.tick, 77])
        if chance.random() < 0.8:
            return None
        slot = int(chance.integers(CAPACITY))
        self.life.bridge.forget(np.array([slot]))
        return slot


def reply_of(rng: np.random.Generator, question: Question) -> Reply:
    """Any reply: mostly an action, sometimes nothing, a failure, or a report beyond the worst case."""
    if rng.random() < 0.3:
        failures = [Failure.RAISED, Failure.MISCOUNTED, Failure.MALFORMED, Failure.UNKNOWN_ACTION, Failure.USAGE]
        return failed(failures[int(rng.integers(len(failures)))], "by chance")
    action = None if rng.random() < 0.1 else str(rng.choice(question.actions))
    worst = 1 if rng.random() < 0.9 else 3
    tokens, nano = int(rng.integers(TOKENS * worst + 1)), int(rng.integers(nano_of(COST) * worst + 1))
    return Reply(action=action, failure=None, tokens=tokens, nano=nano, note="")


def repeated(config: DeferredConfig, sights: Sights, log: AnswerLog, ticks: int, saved: SavedState | None) -> Story:
    story = Story(
        config, sights, controller_of(None, config, log=log, describe=sights, fallback=Script(*[1] * CAPACITY))
    )
    if saved is not None:
        story.life.bridge.restore(saved)
        story.life.tick = sights.tick
    while len(story.actions) < ticks:
        story.step()
        story.leave()
    return story


def answer_some(hand: Hand, rng: np.random.Generator, promptness: float) -> None:
    """Let some calls end, by chance."""
    for number in hand.under_way():
        if rng.random() < promptness:
            hand.reply(number, [reply_of(rng, question) for question in hand.sent[number]])
