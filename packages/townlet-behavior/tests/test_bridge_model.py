"""The bridge behaves as its naive twin, whatever happens in whatever order."""

import math
from dataclasses import replace

import numpy as np
import pytest
import strategies
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from numpy.typing import NDArray
from strategies import EAT, NUM_ACTIONS, VOCABULARY, WAIT, Script, ints, random_proposals, through_a_file
from twin import Learned, Row, Twin

from townlet_behavior import (
    BehaviorBridge,
    BridgeConfig,
    CommitmentConfig,
    DecisionBatch,
    EndReason,
    Kind,
    PossessionError,
    Proposals,
    Source,
    StatelessGuardrail,
    Verdicts,
    View,
)
from townlet_behavior.testing import PlainView

CAPACITY = 6
slots = st.integers(0, CAPACITY - 1)
owners = st.sampled_from([None, "ann", "bob"])


class OddSlotsDoNotEat(StatelessGuardrail):
    """Where another action is legal, agents in odd slots do the first of those instead of eating."""

    reasons = ("odd",)

    def review(self, view: View, actions: NDArray[np.int64]) -> Verdicts:
        size = len(actions)
        others = np.ones((size, NUM_ACTIONS), np.bool_) if view.action_mask is None else view.action_mask.copy()
        others[:, EAT] = False
        return Verdicts(
            vetoed=(view.slots % 2 == 1) & (actions == EAT) & others.any(axis=1),
            replacement=others.argmax(axis=1),
            reason=np.zeros(size, np.int8),
        )


class Minds(Script):
    """A script of two proposers; the test says who proposed, and how long ago it looked."""

    proposers = ("fallback", "mind")

    def __init__(self) -> None:
        super().__init__()
        self.who, self.ages = np.zeros(0, np.int8), np.zeros(0, np.int32)

    def proposed_by(self, view: View) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
        return self.who, self.ages


class BridgeMachine(RuleBasedStateMachine):
    """Everything that can happen to a bridge, done to its twin too."""

    @initialize(
        seed=strategies.seeds,
        ratio=strategies.ratios,
        ticks=st.sampled_from([0, 3, {"wait": 2, "move": 1, "start": 4, "work": 0}]),
        tick=st.sampled_from([0, 1000, 4090, 2**31 - 5, 2**32 - 5, 2**53]),
        handover=st.sampled_from([0, 3]),
    )
    def begin(self, seed: int, ratio: float, ticks: int | dict[str, int], tick: int, handover: int) -> None:
        commitment = CommitmentConfig(ticks=ticks)
        self.script, self.seed = Minds(), seed
        self.config = BridgeConfig(ratio=ratio, commitment=commitment, handover_ticks=handover)
        self.bridge = self.fresh_bridge()
        lengths = commitment.lengths(VOCABULARY).tolist()
        self.twin = Twin(wait=WAIT, lengths=lengths, seed=seed, min_ratio=0.1, forbidden=EAT, ratio=ratio)
        self.twin.handover = handover
        self.tick = tick
        self.present: set[int] = set()
        self.num_steps = self.num_proposals = 0

    def fresh_bridge(self) -> BehaviorBridge:
        bridge = BehaviorBridge(
            VOCABULARY,
            self.script,
            capacity=CAPACITY,
            config=self.config,
            seed=self.seed,
            guardrails=[OddSlotsDoNotEat()],
        )
        self.told: list[tuple[int, str | None, EndReason]] = []
        bridge.possession.tell_ends(lambda *end: self.told.append(end), name=int)
        return bridge

    @rule()
    def die_and_be_restored(self) -> None:
        state = self.bridge.save_state()
        self.compare_ends()
        self.bridge = self.fresh_bridge()
        self.bridge.restore(through_a_file(state))

    @rule(slot=slots)
    def arrive(self, slot: int) -> None:
        self.present.add(slot)

    @rule(slot=slots)
    def leave(self, slot: int) -> None:
        self.present.discard(slot)
        self.twin.forget(slot)
        self.bridge.forget(ints(slot))
        assert self.script.forgotten[-1] == [slot]

    @rule(ratio=strategies.ratios)
    def set_ratio(self, ratio: float) -> None:
        self.bridge.ratio = self.twin.ratio = ratio

    @rule(
        slot=slots,
        ratio=st.none() | strategies.ratios | st.just(math.nan),
        temperature=st.none() | st.sampled_from([0.25, 1.0, 3.0]),
        delay=st.none() | st.integers(0, 4),
    )
    def set_difficulty(self, slot: int, ratio: float | None, temperature: float | None, delay: int | None) -> None:
        self.bridge.difficulty.set(ints(slot), ratio=ratio, temperature=temperature, delay_ticks=delay)
        self.twin.set_difficulty(slot, ratio, temperature, delay)

    @rule(slot=slots, owner=owners, lease=st.none() | st.integers(1, 3))
    def acquire(self, slot: int, owner: str | None, lease: int | None) -> None:
        if slot not in self.twin.present:
            with pytest.raises(PossessionError, match="holds nobody"):
                self.bridge.possession.acquire(slot, tick=self.tick, owner=owner, lease_ticks=lease)
            return
        expected = self.twin.acquire(slot, self.tick, owner, lease)
        assert self.bridge.possession.acquire(slot, tick=self.tick, owner=owner, lease_ticks=lease) is expected

    @precondition(lambda self: self.twin.takeovers)
    @rule(data=st.data(), action=st.integers(0, NUM_ACTIONS - 1), queue=st.booleans(), times=st.sampled_from([1, 2, 3]))
    def feed(self, data: st.DataObject, action: int, queue: bool, times: int) -> None:
        slot = data.draw(st.sampled_from(sorted(self.twin.takeovers)))
        owner = self.twin.takeovers[slot].owner
        for _ in range(times):
            if slot not in self.twin.present:
                with pytest.raises(PossessionError, match="holds nobody"):
                    self.bridge.possession.feed(slot, action, owner=owner, queue=queue)
                return
            ticket = self.bridge.possession.feed(slot, action, owner=owner, queue=queue)
            assert (ticket.number, ticket.slot, ticket.action) == (self.twin.num_inputs, slot, action)
            self.twin.feed(slot, action, queue=queue)

    @precondition(lambda self: self.twin.takeovers.keys() & self.twin.present)
    @rule(data=st.data(), lease=st.none() | st.integers(1, 5))
    def renew(self, data: st.DataObject, lease: int | None) -> None:
        slot = data.draw(st.sampled_from(sorted(self.twin.takeovers.keys() & self.twin.present)))
        self.bridge.possession.present(ints(*sorted(self.twin.present)), tick=self.tick)  # the bridge knows the tick
        self.bridge.possession.renew(slot, lease, self.twin.takeovers[slot].owner)
        self.twin.renew(slot, self.tick, lease)

    @rule(slot=slots, owner=owners)
    def release(self, slot: int, owner: str | None) -> None:
        possession = self.bridge.possession
        if slot not in self.twin.present:
            with pytest.raises(PossessionError, match="holds nobody"):
                possession.release(slot, owner=owner)
        elif slot not in self.twin.takeovers:
            assert not possession.release(slot, owner=owner)
        elif self.twin.takeovers[slot].owner != owner:
            with pytest.raises(PossessionError):
                possession.release(slot, owner=owner)
        else:
            assert possession.release(slot, owner=owner)
            self.twin.release(slot)

    @rule(
        seed=st.integers(0, 2**32), masked=st.booleans(), done=st.booleans(), policy=st.booleans(), look=st.booleans()
    )
    def decide(self, seed: int, masked: bool, done: bool, policy: bool, look: bool) -> None:
        rng = np.random.default_rng(seed)
        view = self.random_view(rng, masked=masked, done=done)
        proposals = self.random_proposals(rng, view) if policy else None
        self.script.actions = rng.integers(-1, NUM_ACTIONS, len(view.slots))
        self.twin.look(view.slots.tolist())
        self.script.who = rng.integers(0, 2, len(view.slots), dtype=np.int8)
        self.script.ages = rng.integers(0, 9, len(view.slots), dtype=np.int32)
        rows = rows_of(view, self.script, proposals)
        if look:
            held = [self.twin.held(row, self.tick) for row in rows]
            assert list(zip(*(c.tolist() for c in self.bridge.held(view, tick=self.tick)), strict=True)) == held
        decisions = self.bridge.decide(view, tick=self.tick, proposals=proposals)
        compare(decisions, self.twin.decide(rows, self.tick))
        assert self.script.told[-1] is decisions
        assert self.bridge.possession.slots().tolist() == sorted(self.twin.takeovers)
        self.num_steps += len(rows)
        self.num_proposals += sum(row.expert >= 0 for row in rows)
        assert sum(self.bridge.counts().proposals.values()) == self.num_proposals
        assert sum(self.bridge.counts().ticks.values()) == self.num_steps
        self.tick += 1

    @invariant()
    def compare_ends(self) -> None:
        """Every input ended as the twin says, once; so did every possession."""
        possession = self.bridge.possession
        for ticket in possession.take_ended():
            assert ticket.end == self.twin.ends.pop(ticket.number)
        assert not self.twin.ends
        waiting = [input_ for takeover in self.twin.takeovers.values() for input_ in takeover.inputs]
        assert sorted((ticket.number, ticket.action) for ticket in possession.waiting()) == sorted(waiting)
        counts = possession.counts()
        assert counts.pop("accepted") == self.twin.num_inputs == sum(counts.values())
        assert sorted(self.told, key=repr) == sorted(self.twin.told, key=repr)
        self.told.clear(), self.twin.told.clear()

    @rule(ticks=st.integers(1, 5))
    def time_passes(self, ticks: int) -> None:
        self.tick += ticks
        self.twin.expire(self.tick)
        self.bridge.possession.wishes(ints(), self.tick)

    def random_view(self, rng: np.random.Generator, *, masked: bool, done: bool) -> PlainView:
        present = ints(*sorted(self.present))
        mask = rng.random((len(present), NUM_ACTIONS)) < 0.5
        mask[np.arange(len(present)), rng.integers(0, NUM_ACTIONS, len(present))] = True
        return PlainView(
            slots=present,
            keys=present.astype(np.uint64) * np.uint64(977),
            action_mask=mask if masked else None,
            option_done=(rng.random(len(present)) < 0.3) & done,
        )

    def random_proposals(self, rng: np.random.Generator, view: PlainView) -> Proposals:
        mask = np.ones((len(view.slots), NUM_ACTIONS), np.bool_) if view.action_mask is None else view.action_mask
        proposals = random_proposals(
            int(rng.integers(2**32)),
            mask,
            greedy=rng.random() < 0.2,
            known=rng.random() < 0.8,
            opinion=rng.random() < 0.4,
        )
        return replace(proposals, temperatures=self.bridge.difficulty.temperatures(view.slots))


def rows_of(view: PlainView, script: Minds, proposals: Proposals | None) -> list[Row]:
    """The same, one agent at a time."""
    return [
        Row(
            slot=int(view.slots[i]),
            key=int(view.keys[i]),
            expert=int(script.actions[i]),
            proposer=int(script.who[i]),
            age=int(script.ages[i]),
            legal=None if view.action_mask is None else view.action_mask[i].tolist(),
            done=bool(view.option_done[i]),
            learned=None if proposals is None else learned_of(proposals, i),
        )
        for i in range(len(view.slots))
    ]


def learned_of(proposals: Proposals, i: int) -> Learned:
    return Learned(
        action=int(proposals.actions[i]),
        log_probs=None if proposals.log_probs is None else proposals.log_probs[i].tolist(),
        value=float(proposals.values[i]),
        greedy=proposals.greedy,
        opinion=proposals.opinion is None or bool(proposals.opinion[i]),
    )


def compare(decisions: DecisionBatch, expected: list[dict[str, int | float | bool | str]]) -> None:
    columns = decisions.columns()
    assert len(decisions) == len(expected)
    for i, row in enumerate(expected):
        actual = {name: column[i].item() for name, column in columns.items()}
        actual["kind"] = Kind(actual["kind"]).name.lower()
        actual["source"] = Source(actual["source"]).name.lower()
        assert actual.keys() == row.keys()
        for name, value in row.items():
            if isinstance(value, float):
                assert math.isclose(actual[name], value, rel_tol=1e-5, abs_tol=1e-6), (name, actual, row)
            else:
                assert actual[name] == value, (name, actual, row)


TestBridge = pytest.mark.property(BridgeMachine.TestCase)
