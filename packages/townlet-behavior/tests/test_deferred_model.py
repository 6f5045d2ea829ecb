"""A slow mind by arrays does what the rules say agent by agent, keeps its budgets, and is repeated from its log."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from deferred_story import LENGTHS, Sights, Story, configs, repeated, reply_of
from hypothesis import given, settings
from hypothesis import strategies as st
from minds import CAPACITY, Hand, controller_of
from naive_deferred import NaiveMinds
from strategies import VOCABULARY, Script, through_a_file

from townlet_behavior import AnswerLog, DeferredConfig, Question, SavedState
from townlet_behavior.deferred.counts import COUNTED
from townlet_behavior.deferred.records import Reply, nano_of


@settings(max_examples=100)
@given(configs, st.integers(0, 2**32), st.integers(1, 4), st.floats(0.1, 0.9), st.integers(1, 39))
def test_by_arrays_as_agent_by_agent(
    config: DeferredConfig, seed: int, variety: int, promptness: float, saved_at: int
) -> None:
    hand, sights, rng = Hand(), Sights(seed, variety), np.random.default_rng(seed)
    naive = NaiveMinds(config, range(CAPACITY))
    saved: SavedState = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        fallback = Script(*[1] * CAPACITY)
        controller = controller_of(hand, config, log=AnswerLog(path), describe=sights, fallback=fallback)
        story = Story(config, sights, controller)
        ledger = Ledger(config)
        for tick in range(40):
            if tick == saved_at:
                saved = through_a_file(story.life.bridge.save_state())
            for number in [number for number in naive.calls if rng.random() < promptness]:
                replies = [reply_of(rng, question) for question in hand.sent[number]]
                hand.reply(number, replies)
                naive.take(number, replies)
                ledger.report(number, replies)
            known = set(hand.sent)
            require_same(story, naive, hand)
            for number in sorted(set(hand.sent) - known):
                ledger.ask(number, hand.sent[number])
            left = story.leave()
            if left is not None:
                naive.agents[left] = type(naive.agents[left])()
                ledger.lives[left] += 1
            ledger.require_within(story)
            assert len(naive.calls) <= config.in_flight
        counts = controller.counts
        controller.close()
        assert hand.is_closed
        again = repeated(config, Sights(seed, variety), AnswerLog.read(path), 40, None)
        assert (again.actions, again.proposers) == (story.actions, story.proposers)
        assert again.controller.counts == counts
        later = repeated(config, Sights(seed, variety, saved_at), AnswerLog.read(path), 40 - saved_at, saved)
        assert (later.actions, later.proposers) == (story.actions[saved_at:], story.proposers[saved_at:])
        assert later.controller.counts == counts


def require_same(story: Story, naive: NaiveMinds, hand: Hand) -> None:
    """Do a tick with both, and compare what they propose, ask and count."""
    tick, number = naive.tick, naive.num_calls
    digest = {slot: story.sights.of(slot) for slot in range(CAPACITY)}
    view, decisions = story.step()
    assert view.action_mask is not None
    legal = [[VOCABULARY.keys[action] for action in row.nonzero()[0]] for row in view.action_mask]
    expected = [naive.proposal(slot, legal[slot]) for slot in range(CAPACITY)]
    keys = [VOCABULARY.keys[action] for action in decisions.expert_action]
    assert keys == ["north" if proposed is None else proposed[0] for proposed in expected]
    assert decisions.proposer.tolist() == [int(proposed is not None) for proposed in expected]
    assert decisions.proposal_age.tolist() == [0 if proposed is None else proposed[1] for proposed in expected]
    naive.give_up()
    wanting: dict[int, str] = {}
    for slot in range(CAPACITY):
        held = decisions.held_action[slot] >= 0
        naive.use_up(slot, legal[slot], free=not held)
        left = decisions.ticks_left[slot] if held else LENGTHS[decisions.chosen_action[slot]]
        if (decisions.vetoed[slot] or left - 1 <= story.config.lead_ticks) and len(legal[slot]) > 1:
            wanting[slot] = f"{digest[slot]} {legal[slot]}"
    batches = naive.ask(wanting)
    sent = [hand.sent[each] for each in range(number, naive.num_calls)]
    assert [[question.agent_id for question in call] for call in sent] == [[f"agent {s}" for s in b] for b in batches]
    assert all(question.tick == tick for call in sent for question in call)
    naive.tick += 1
    counts = story.controller.counts
    assert {name: getattr(counts, name) for name in COUNTED} == {name: naive.counts[name] for name in COUNTED}
    assert (counts.charged_tokens, round(counts.charged_cost * 1e9)) == tuple(naive.charged[1:])


class Ledger:
    """What was asked and what was reported at most, by run and by life of an agent."""

    def __init__(self, config: DeferredConfig) -> None:
        self.config = config
        self.lives: Counter[int] = Counter()
        self.spent: Counter[tuple[object, str]] = Counter()
        self._owners: dict[int, list[tuple[int, int]]] = {}
        self._worst = {"tokens": config.tokens_per_question, "nano": nano_of(config.cost_per_question)}

    def ask(self, number: int, questions: Sequence[Question]) -> None:
        slots = [int(question.agent_id.removeprefix("agent ")) for question in questions]
        self._owners[number] = [(slot, self.lives[slot]) for slot in slots]
        for owner in self._owners[number]:
            self._add(owner, calls=1, **self._worst)

    def report(self, number: int, replies: Sequence[Reply]) -> None:
        for owner, reply in zip(self._owners[number], replies, strict=True):
            if reply.tokens is not None and reply.nano is not None:
                reported = {"tokens": reply.tokens, "nano": reply.nano}
                self._add(owner, **{kind: min(0, reported[kind] - worst) for kind, worst in self._worst.items()})

    def _add(self, owner: object, **amounts: int) -> None:
        for kind, amount in amounts.items():
            self.spent["run", kind] += amount
            self.spent[owner, kind] += amount

    def require_within(self, story: Story) -> None:
        """Asked questions, and reports up to the worst case, are within every budget at every tick."""
        for (owner, kind), amount in self.spent.items():
            budget = self.config.run_budget if owner == "run" else self.config.agent_budget
            calls, tokens, nano = budget.limits()
            assert amount <= {"calls": calls, "tokens": tokens, "nano": nano}[kind]
