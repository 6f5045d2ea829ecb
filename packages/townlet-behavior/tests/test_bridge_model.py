"""The bridge behaves as its naive twin, whatever happens in whatever order."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import strategies
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from numpy.typing import NDArray
from strategies import (
    BOX,
    EAT,
    NUM_ACTIONS,
    PARTS,
    VOCABULARY,
    Script,
    ints,
    random_numbers,
    random_parts,
    random_proposals,
    sizes_of,
    through_a_file,
)
from twin import Action, Learned, Row, Twin

from townlet_behavior import (
    ActionSpec,
    BehaviorBridge,
    Box,
    BridgeConfig,
    CommitmentConfig,
    ConfigError,
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
from townlet_behavior.config import Blend
from townlet_behavior.testing import PlainView

CAPACITY = 6
STEEP = 0.5
"""Agents in odd slots do not steer beyond it."""
slots = st.integers(0, CAPACITY - 1)
owners = st.sampled_from([None, "ann", "bob"])


class OddSlotsDoNotEat(StatelessGuardrail):
    """Where another action is legal, agents in odd slots do the first of those instead of eating.

    Of several parts the first is judged; as numbers they do not steer beyond a half.
    """

    reasons = ("odd",)

    def review(self, view: View, actions: NDArray[Any]) -> Verdicts:
        size, odd = len(actions), view.slots % 2 == 1
        first = actions if actions.ndim == 1 else actions[:, 0]
        if actions.dtype == np.float32:
            vetoed, others = odd & (first > STEEP), np.zeros(size, np.float32)
        else:
            table = np.ones((size, NUM_ACTIONS), np.bool_)
            if view.action_mask is not None:
                table = view.action_mask[:, :NUM_ACTIONS].copy()
            table[:, EAT] = False
            vetoed, others = odd & (first == EAT) & table.any(axis=1), table.argmax(axis=1)
        replacement = others if actions.ndim == 1 else np.concatenate([others[:, None], actions[:, 1:]], axis=1)
        return Verdicts(vetoed=vetoed, replacement=replacement, reason=np.zeros(size, np.int8))


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

    actions: ActionSpec = VOCABULARY
    options: st.SearchStrategy[int | dict[str, int]] = st.sampled_from(
        [0, 3, {"wait": 2, "move": 1, "start": 4, "work": 0}]
    )
    fed: st.SearchStrategy[int | Action] = st.integers(0, NUM_ACTIONS - 1)

    @initialize(
        seed=strategies.seeds,
        ratio=strategies.ratios,
        blend=st.sampled_from(["mixture", "switch"]),
        data=st.data(),
        tick=st.sampled_from([0, 1000, 4090, 2**31 - 5, 2**32 - 5, 2**53]),
        handover=st.sampled_from([0, 3]),
    )
    def begin(self, seed: int, ratio: float, blend: Blend, data: st.DataObject, tick: int, handover: int) -> None:
        commitment = CommitmentConfig(ticks=data.draw(self.options))
        self.script, self.seed = Minds(), seed
        self.config = BridgeConfig(ratio=ratio, commitment=commitment, handover_ticks=handover, blend=blend)
        if self.refused(ratio=ratio) or (handover and self.is_unmixed()):
            with pytest.raises(ConfigError, match="has no density"):
                self.fresh_bridge()
            ratio, handover = float(ratio >= 0.5), 0
            self.config = replace(self.config, ratio=ratio, handover_ticks=handover)
        self.bridge = self.fresh_bridge()
        self.twin = self.fresh_twin(commitment)
        self.twin.ratio, self.twin.handover, self.twin.switch = ratio, handover, blend == "switch"
        self.tick = tick
        self.present: set[int] = set()
        self.num_steps = self.num_proposals = 0

    def fresh_twin(self, commitment: CommitmentConfig) -> Twin:
        lengths = commitment.lengths(VOCABULARY).tolist() if self.actions is VOCABULARY else []
        wait = as_tuple(self.actions.wait)
        twin = Twin(
            wait=wait, sizes=sizes_of(self.actions), lengths=lengths, seed=self.seed, min_ratio=0.1, forbidden=EAT
        )
        if isinstance(self.actions, Box):
            twin.bounds, twin.forbidden = (self.actions.low, self.actions.high), STEEP
        return twin

    def is_unmixed(self) -> bool:
        """Whether no script can be mixed with the policy."""
        return isinstance(self.actions, Box) and self.config.blend == "mixture"

    def refused(
        self, *, ratio: float | None = None, temperature: float | None = None, delay: int | None = None
    ) -> bool:
        """Whether the actions do not allow a setting."""
        unmixed = self.is_unmixed() and ratio is not None and 0.0 < ratio < 1.0
        tempered = isinstance(self.actions, Box) and temperature not in (None, 1.0)
        return unmixed or tempered or (self.actions is not VOCABULARY and bool(delay))

    def fresh_bridge(self) -> BehaviorBridge:
        bridge = BehaviorBridge(
            self.actions,
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
        if self.refused(ratio=ratio):
            with pytest.raises(ConfigError, match="`ratio` must be 0 or 1"):
                self.bridge.ratio = ratio
            return
        self.bridge.ratio = self.twin.ratio = ratio

    @rule(
        slot=slots,
        ratio=st.none() | strategies.ratios | st.just(math.nan),
        temperature=st.none() | st.sampled_from([0.25, 1.0, 3.0]),
        delay=st.none() | st.integers(0, 4),
    )
    def set_difficulty(self, slot: int, ratio: float | None, temperature: float | None, delay: int | None) -> None:
        if self.refused(ratio=ratio, temperature=temperature, delay=delay):
            with pytest.raises(ConfigError, match="must be"):
                self.bridge.difficulty.set(ints(slot), ratio=ratio, temperature=temperature, delay_ticks=delay)
            return
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
    @rule(data=st.data(), queue=st.booleans(), times=st.sampled_from([1, 2, 3]))
    def feed(self, data: st.DataObject, queue: bool, times: int) -> None:
        action = data.draw(self.fed)
        slot = data.draw(st.sampled_from(sorted(self.twin.takeovers)))
        owner = self.twin.takeovers[slot].owner
        for _ in range(times):
            if slot not in self.twin.present:
                with pytest.raises(PossessionError, match="holds nobody"):
                    self.bridge.possession.feed(slot, action, owner=owner, queue=queue)
                return
            ticket = self.bridge.possession.feed(slot, action, owner=owner, queue=queue)
            assert (ticket.number, ticket.slot, ticket.action) == (self.twin.num_inputs, slot, action)
            self.twin.feed(slot, as_tuple(action), queue=queue)

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
        self.script.actions = self.random_script(rng, len(view.slots))
        self.twin.look(view.slots.tolist())
        self.script.who = rng.integers(0, 2, len(view.slots), dtype=np.int8)
        self.script.ages = rng.integers(0, 9, len(view.slots), dtype=np.int32)
        rows = rows_of(view, self.script, proposals, sizes_of(self.actions))
        if look:
            held = [self.twin.held(row, self.tick) for row in rows]
            assert list(zip(*(c.tolist() for c in self.bridge.held(view, tick=self.tick)), strict=True)) == held
        decisions = self.bridge.decide(view, tick=self.tick, proposals=proposals)
        compare(decisions, self.twin.decide(rows, self.tick))
        assert self.script.told[-1] is decisions
        assert self.bridge.possession.slots().tolist() == sorted(self.twin.takeovers)
        self.num_steps += len(rows)
        self.num_proposals += sum(row.expert is not None for row in rows)
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
        found = sorted((ticket.number, as_tuple(ticket.action)) for ticket in possession.waiting())
        assert found == sorted(waiting)
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
        return PlainView(
            slots=present,
            keys=present.astype(np.uint64) * np.uint64(977),
            action_mask=self.random_mask(rng, len(present)) if masked else None,
            option_done=(rng.random(len(present)) < 0.3) & done,
        )

    def random_mask(self, rng: np.random.Generator, size: int) -> NDArray[np.bool_] | None:
        parts = [random_part(rng, size, values) for values in sizes_of(self.actions)]
        return np.concatenate(parts, axis=1)

    def random_script(self, rng: np.random.Generator, size: int) -> NDArray[Any]:
        return rng.integers(-1, NUM_ACTIONS, size)

    def random_proposals(self, rng: np.random.Generator, view: PlainView) -> Proposals:
        proposals = self.policy(
            int(rng.integers(2**32)),
            view,
            greedy=rng.random() < 0.2,
            known=rng.random() < 0.8,
            opinion=rng.random() < 0.4,
        )
        return replace(proposals, temperatures=self.bridge.difficulty.temperatures(view.slots))

    def policy(self, seed: int, view: PlainView, **of: bool) -> Proposals:
        return random_proposals(seed, every_action(view, VOCABULARY), **of)


class PartsMachine(BridgeMachine):
    """The same with actions of several parts."""

    actions = PARTS
    options = st.just(0)
    fed = st.tuples(*(st.integers(0, size - 1) for size in PARTS.sizes))

    def random_script(self, rng: np.random.Generator, size: int) -> NDArray[np.int64]:
        proposed = rng.integers(0, PARTS.sizes, (size, len(PARTS.sizes)))
        proposed[rng.random(size) < 0.2] = -1
        return proposed

    def policy(self, seed: int, view: PlainView, **of: bool) -> Proposals:
        return random_parts(seed, every_action(view, PARTS), **of)


class NumbersMachine(BridgeMachine):
    """The same with actions that are numbers."""

    actions = BOX
    options = st.just(0)
    fed = st.tuples(*(st.floats(low, high, width=32) for low, high in zip(BOX.low, BOX.high, strict=True)))

    def random_mask(self, rng: np.random.Generator, size: int) -> None:
        return None

    def random_script(self, rng: np.random.Generator, size: int) -> NDArray[np.float32]:
        low, high = BOX.bounds
        proposed = (low + (high - low) * rng.random((size, 2), np.float32)).astype(np.float32)
        proposed[rng.random(size) < 0.2] = np.nan
        return proposed

    def policy(self, seed: int, view: PlainView, **of: bool) -> Proposals:
        return random_numbers(seed, len(view.slots), **of)


def random_part(rng: np.random.Generator, size: int, values: int) -> NDArray[np.bool_]:
    """A mask of one part with something legal in every row."""
    mask = rng.random((size, values)) < 0.5
    mask[np.arange(size), rng.integers(0, values, size)] = True
    return mask


def every_action(view: PlainView, actions: ActionSpec) -> NDArray[np.bool_]:
    return (
        np.ones((len(view.slots), sum(sizes_of(actions))), np.bool_) if view.action_mask is None else view.action_mask
    )


def as_tuple(action: Any) -> Action:
    numbers = np.asarray(action).tolist()
    return tuple(numbers) if isinstance(numbers, list) else (numbers,)


def rows_of(view: PlainView, script: Minds, proposals: Proposals | None, sizes: tuple[int, ...]) -> list[Row]:
    """The same, one agent at a time."""
    return [
        Row(
            slot=int(view.slots[i]),
            key=int(view.keys[i]),
            expert=proposal_of(script.actions[i]),
            proposer=int(script.who[i]),
            age=int(script.ages[i]),
            legal=None if view.action_mask is None else parts_of(view.action_mask[i], sizes),
            done=bool(view.option_done[i]),
            learned=None if proposals is None else learned_of(proposals, i, sizes),
        )
        for i in range(len(view.slots))
    ]


def proposal_of(action: Any) -> Action | None:
    numbers = as_tuple(action)
    return None if all(number == -1 or math.isnan(number) for number in numbers) and numbers else numbers


def parts_of(columns: NDArray[Any], sizes: tuple[int, ...]) -> list[list[Any]]:
    """The columns of each part."""
    return [part.tolist() for part in np.split(columns, np.cumsum(sizes)[:-1])]


def learned_of(proposals: Proposals, i: int, sizes: tuple[int, ...]) -> Learned:
    return Learned(
        action=as_tuple(proposals.actions[i]),
        log_probs=None if proposals.log_probs is None else parts_of(proposals.log_probs[i], sizes),
        density=None if proposals.drawn_log_probs is None else float(proposals.drawn_log_probs[i]),
        value=float(proposals.values[i]),
        greedy=proposals.greedy,
        opinion=proposals.opinion is None or bool(proposals.opinion[i]),
    )


def compare(decisions: DecisionBatch, expected: list[dict[str, object]]) -> None:
    columns = decisions.columns()
    assert len(decisions) == len(expected)
    for i, row in enumerate(expected):
        actual = {name: column[i].tolist() for name, column in columns.items()}
        actual["kind"] = Kind(actual["kind"]).name.lower()
        actual["source"] = Source(actual["source"]).name.lower()
        assert actual.keys() == row.keys()
        for name, value in row.items():
            if isinstance(value, float):
                assert math.isclose(actual[name], value, rel_tol=1e-5, abs_tol=1e-6), (name, actual, row)
            else:
                assert (as_tuple(actual[name]) if isinstance(value, tuple) else actual[name]) == value, (
                    name,
                    actual,
                    row,
                )


TestBridge = BridgeMachine.TestCase
TestBridgeOfParts = PartsMachine.TestCase
TestBridgeOfNumbers = NumbersMachine.TestCase
