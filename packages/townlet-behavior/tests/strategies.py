"""Hypothesis strategies and small doubles shared by the tests."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from townlet_behavior import (
    ActionSpec,
    ActionVocabulary,
    BehaviorBridge,
    Box,
    BridgeConfig,
    CommitmentConfig,
    DecisionBatch,
    Guardrail,
    MultiDiscrete,
    Proposals,
    SavedState,
    StatelessController,
    StatelessGuardrail,
    Verdicts,
    View,
)
from townlet_behavior.testing import PlainView

VOCABULARY = ActionVocabulary(
    keys=("wait", "north", "eat", "cook", "work"), kinds=("wait", "move", "start", "start", "work")
)
NUM_ACTIONS = len(VOCABULARY)
PARTS = MultiDiscrete(parts={"do": VOCABULARY.keys, "hand": ("open", "closed"), "look": ("ahead", "left", "right")})
"""The first part has the actions of the vocabulary."""
BOX = Box(names=("steer", "throttle"), low=(-1.0, 0.5), high=(1.0, 2.0))
WAIT, NORTH, EAT, COOK, WORK = range(NUM_ACTIONS)

ratios = st.sampled_from([0.0, 0.05, 0.1, 0.5, 1.0]) | st.floats(0.0, 1.0)
seeds = st.integers(0, 2**64 - 1)
keys = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=8, unique=True).map(lambda k: np.array(k, np.uint64))


def ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def bools(*values: bool) -> NDArray[np.bool_]:
    return np.array(values, np.bool_)


def mask_of(*rows: tuple[int, ...]) -> NDArray[np.bool_]:
    """[N, A]; each row lists its legal actions."""
    mask = np.zeros((len(rows), NUM_ACTIONS), np.bool_)
    for row, legal in enumerate(rows):
        mask[row, list(legal)] = True
    return mask


def view_of(*slots: int, mask: NDArray[np.bool_] | None = None, done: tuple[bool, ...] | None = None) -> PlainView:
    """The agents in `slots`; the key of slot s is 1000 + s."""
    return PlainView(
        slots=ints(*slots),
        keys=np.array([1000 + slot for slot in slots], np.uint64),
        action_mask=mask,
        option_done=np.zeros(len(slots), np.bool_) if done is None else bools(*done),
    )


def proposals_of(
    *actions: int,
    probs: list[list[float]] | None = None,
    values: list[float] | None = None,
    opinion: tuple[bool, ...] | None = None,
    greedy: bool = False,
) -> Proposals:
    """The policy's proposals; uniform probabilities and zero values unless given."""
    size = len(actions)
    table = np.full((size, NUM_ACTIONS), 1.0 / NUM_ACTIONS) if probs is None else np.array(probs)
    with np.errstate(divide="ignore"):
        log_probs = np.log(table).astype(np.float32)
    return Proposals(
        actions=ints(*actions),
        log_probs=log_probs,
        values=np.array([0.0] * size if values is None else values, np.float32),
        greedy=greedy,
        opinion=None if opinion is None else bools(*opinion),
    )


def random_proposals(seed: int, mask: NDArray[np.bool_], *, greedy: bool, known: bool, opinion: bool) -> Proposals:
    """A policy of random logits that never takes what the mask forbids."""
    rng = np.random.default_rng(seed)
    logits = np.where(mask, rng.normal(scale=2.0, size=mask.shape), -np.inf)
    log_probs = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)
    size = len(mask)
    return Proposals(
        actions=(log_probs + rng.gumbel(size=mask.shape)).argmax(axis=1),
        log_probs=log_probs if known else None,
        values=rng.normal(size=size).astype(np.float32),
        greedy=greedy,
        opinion=rng.random(size) < 0.7 if opinion else None,
    )


def sizes_of(actions: ActionSpec) -> tuple[int, ...]:
    """Number of values of each part; none of numbers."""
    if isinstance(actions, Box):
        return ()
    return actions.sizes if isinstance(actions, MultiDiscrete) else (len(actions),)


def random_parts(seed: int, mask: NDArray[np.bool_], *, greedy: bool, known: bool, opinion: bool) -> Proposals:
    """A policy of random logits in each part of `PARTS`."""
    ends = np.cumsum(PARTS.sizes)[:-1]
    parts = [
        random_proposals(seed + 7919 * k, part, greedy=greedy, known=True, opinion=opinion)
        for k, part in enumerate(np.split(mask, ends, axis=1))
    ]
    log_probs = np.concatenate([part.log_probs for part in parts], axis=1)
    actions = np.stack([part.actions for part in parts], axis=1)
    return replace(parts[0], actions=actions, log_probs=log_probs if known else None)


def random_numbers(seed: int, size: int, *, greedy: bool, known: bool, opinion: bool) -> Proposals:
    """A policy that draws the numbers of `BOX`, in a third of the cases beyond their bounds."""
    rng = np.random.default_rng(seed)
    return Proposals(
        actions=rng.normal(scale=1.0, size=(size, 2)).astype(np.float32),
        log_probs=None,
        values=rng.normal(size=size).astype(np.float32),
        greedy=greedy,
        opinion=rng.random(size) < 0.7 if opinion else None,
        drawn_log_probs=rng.normal(size=size).astype(np.float32) if known else None,
    )


class Script(StatelessController):
    """Proposes what the test says, and remembers what it was told."""

    def __init__(self, *actions: int | Sequence[float], dtype: type[np.generic] = np.int64) -> None:
        self.actions: NDArray[Any] = np.array(actions, dtype)
        self.told: list[DecisionBatch] = []
        self.forgotten: list[list[int]] = []

    def propose(self, view: View) -> NDArray[Any]:
        return self.actions

    def settled(self, view: View, decisions: DecisionBatch) -> None:
        self.told.append(decisions)

    def forget(self, slots: NDArray[np.int64]) -> None:
        self.forgotten.append(slots.tolist())


class Forbid(StatelessGuardrail):
    """Vetoes one action and puts another in its place."""

    def __init__(self, action: int, *, replacement: int = WAIT, reason: str = "forbidden") -> None:
        self.reasons = (reason,)
        self._action = action
        self._replacement = replacement

    def review(self, view: View, actions: NDArray[np.int64]) -> Verdicts:
        return Verdicts(
            vetoed=actions == self._action,
            replacement=np.full(len(actions), self._replacement, np.int64),
            reason=np.zeros(len(actions), np.int8),
        )


def bridge_of(
    script: Script,
    *guardrails: Guardrail,
    ratio: float = 0.0,
    ticks: int | dict[str, int] = 0,
    seed: int = 1,
    capacity: int = 16,
) -> BehaviorBridge:
    config = BridgeConfig(ratio=ratio, commitment=CommitmentConfig(ticks=ticks))
    return BehaviorBridge(VOCABULARY, script, capacity=capacity, config=config, seed=seed, guardrails=guardrails)


def through_a_file(state: SavedState) -> SavedState:
    """What a file without pickles gives back."""
    file = io.BytesIO()
    np.savez(file, **state)
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)
