"""How things stand between agents and a mind: what is asked and answered; all that later ticks depend on."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from ..decisions import DecisionBatch
from ..errors import StateError
from ..saving import SavedState, check_array, check_names, join_groups, split_groups
from ..views import View
from ..vocabulary import ActionVocabulary
from .config import DeferredConfig
from .counts import COUNTED, DeferredCounts, record_of, restored_counts, saved_counts
from .limits import DIGEST_BYTES, MOST, AnswerCache, Breaker, Charges, digests, texts
from .records import Failure, Reply

_NEVER = -MOST
_PARTS = ("slots", "calls", "counts", "charges", "breaker", "cache")
_CALLS = ("call", "call_tick", "overdue", "slot", "life", "ended", "shown")


@dataclass(kw_only=True, eq=False)
class Asked:
    """A question that the mind was asked."""

    slot: int
    life: int
    """Of the slot, when it was asked: another one now means that the agent has left."""
    shown: str
    """Digest of the question."""
    agent: str = ""
    """Empty after a restore, as only lines of the log name agents."""
    world: int = 0
    ended: bool = False


@dataclass(kw_only=True, eq=False)
class OpenCall:
    """A call of the mind that has not come back as a whole."""

    number: int
    tick: int
    asked: list[Asked]
    overdue: bool = False
    succeeded: bool = False
    """A question of it was answered or declined."""
    failed: bool = False
    """A question of it was not, for another reason than that a process ended."""


class Standing:
    """Pending questions, answers, charges, the breaker and the cache, as of one tick.

    Args:
        vocabulary: of the agents.
        capacity: every slot is below it.
        config: see `DeferredConfig`.
    """

    def __init__(self, vocabulary: ActionVocabulary, *, capacity: int, config: DeferredConfig) -> None:
        self._vocabulary = vocabulary
        self._config = config
        self._lengths = config.options.lengths(vocabulary)
        self._any_binds = bool((self._lengths > 1).any())
        self._uses = MOST if config.max_uses is None else config.max_uses
        self._charges = Charges(capacity=capacity, config=config)
        self._breaker = Breaker(failures=config.breaker_failures, ticks=config.breaker_ticks)
        self._cache = AnswerCache(entries=config.cache_entries, num_actions=len(vocabulary))
        self._counts: Counter[str] = Counter()
        self.tick = 0
        """Decisions so far."""
        self.next_call = 0
        self.open: OrderedDict[int, OpenCall] = OrderedDict()
        """By number, the oldest first."""
        self.action: NDArray[np.int64] = np.full(capacity, -1, np.int64)
        """[S]; of the answer of each slot, -1 without one."""
        self.seen_at: NDArray[np.int64] = np.full(capacity, _NEVER, np.int64)
        """[S]; tick that the answer's question saw."""
        self.num_answers = 0
        self._uses_left: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._pending: NDArray[np.bool_] = np.zeros(capacity, np.bool_)
        self._asked_at: NDArray[np.int64] = np.full(capacity, _NEVER, np.int64)
        self._life: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._shown: NDArray[np.uint8] = np.zeros((capacity, DIGEST_BYTES), np.uint8)

    def room(self) -> int:
        """Return how many questions may be asked now: places, breaker and the run's budget allow them."""
        places = self._config.in_flight - len(self.open)
        if places <= 0:
            return 0
        room = min(places * self._config.batch_size, self._charges.room())
        return self._breaker.room(room, self.tick)

    def wanting(self, view: View, decisions: DecisionBatch) -> NDArray[np.int64]:
        """Return the rows of the agents to be asked about, those that were asked longest ago first.

        Args:
            view: N rows.
            decisions: that were made from it.
        """
        config, slots, mask = self._config, view.slots, view.action_mask
        asked_at = self._asked_at[slots]
        want = asked_at <= self.tick - config.every_ticks
        want &= ~(self._pending[slots] | decisions.possessed)
        if config.max_uses is not None:
            want &= self.action[slots] < 0
        if self._any_binds:
            begun = self._lengths[decisions.chosen_action]
            left = np.where(decisions.held_action >= 0, decisions.ticks_left, begun) - 1
            want &= (left <= config.lead_ticks) | decisions.vetoed
        affordable = self._charges.has_room(slots)
        if affordable is not None:
            want &= affordable
        rows = want.nonzero()[0]
        if mask is not None and len(rows):
            rows = rows[np.count_nonzero(mask[rows], axis=1) > 1]
        return rows[np.argsort(asked_at[rows], kind="stable")]

    def look(self, slot: int, shown: str) -> bool:
        """Take note of what an agent is shown; return whether that is news, where only news are asked about.

        Args:
            slot: of the agent.
            shown: digest of the question.
        """
        digest = digests([shown])[0]
        known = self._config.only_changed and self._asked_at[slot] != _NEVER
        known = known and np.array_equal(self._shown[slot], digest)
        self._shown[slot] = digest
        self._asked_at[slot] = self.tick
        self._counts["unchanged"] += int(known)
        return not known

    def cached(self, shown: str) -> int | None:
        """Return the action of the answer to a question that was asked before; None without one."""
        return self._cache.get(shown)

    def answer_from_cache(self, slot: int, action: int) -> None:
        """Give an agent an answer that was in the cache."""
        self._counts["cached"] += 1
        self._give(slot, action, self.tick)

    def asked(self, slot: int, shown: str, *, agent: str, world: int) -> Asked:
        """Make the record of a question that is about to be asked.

        Args:
            slot: of the agent.
            shown: digest of the question.
            agent: id, for the log.
            world: index, for the log.
        """
        return Asked(slot=slot, life=int(self._life[slot]), shown=shown, agent=agent, world=world)

    def begin_call(self, asked: list[Asked]) -> OpenCall:
        """Count a call as under way, and charge its questions their worst case."""
        call = OpenCall(number=self.next_call, tick=self.tick, asked=asked)
        self.open[call.number] = call
        self.next_call += 1
        self._breaker.begun(call.number)
        self._counts["calls"] += 1
        self._counts["asked"] += len(asked)
        for one in asked:
            self._pending[one.slot] = True
            self._charges.charge(self._charges.worst, one.slot)
        return call

    def is_answer(self, call: OpenCall, asked: Asked, reply: Reply) -> bool:
        """Whether a reply that is taken now is an answer for an agent that still waits for it.

        Args:
            call: that is open.
            asked: a question of it.
            reply: to the question.
        """
        return reply.action is not None and not self._is_late(call) and self._is_here(asked)

    def end(self, call: OpenCall, asked: Asked, reply: Reply) -> None:
        """Take a reply; the last one of a call frees its place.

        Args:
            call: that is open.
            asked: a question of it that has not ended.
            reply: to the question.
        """
        asked.ended = True
        is_here, is_late = self._is_here(asked), self._is_late(call)
        self._settle_charge(asked, reply)
        if is_here and not call.overdue:
            self._pending[asked.slot] = False
        if reply.action is not None:
            action = self._vocabulary.index(reply.action)
            self._cache.put(asked.shown, action)
            if is_here and not is_late:
                self._give(asked.slot, action, call.tick)
        if reply.failure is not None:
            self._counts[reply.failure.value] += 1
            call.failed |= reply.failure is not Failure.LOST
        else:
            ends = "gone" if not is_here else "late" if is_late else "declined" if reply.action is None else "answered"
            self._counts[ends] += 1
            call.succeeded = True
        if all(one.ended for one in call.asked):
            self._close(call)

    def give_up(self) -> list[OpenCall]:
        """Give up the calls that have reached their deadline, and return them."""
        latest = self.tick - self._config.deadline_ticks
        due = [call for call in self.open.values() if call.tick <= latest and not call.overdue]
        for call in due:
            call.overdue = True
            for asked in call.asked:
                self._counts["overdue"] += not asked.ended
                if self._is_here(asked):
                    self._pending[asked.slot] = False
            self._breaker.ended(call.number)
            self._fail()
        return due

    def use_up(self, view: View, decisions: DecisionBatch, mine: NDArray[np.bool_], illegal: NDArray[np.bool_]) -> None:
        """Use up the answers of agents that were free to follow them; drop those that cannot be followed any more.

        Args:
            view: N rows.
            decisions: that were made from it.
            mine: [N]; the answer was proposed.
            illegal: [N]; there is an answer that the mask forbids.
        """
        slots = view.slots
        free = ~((decisions.held_action >= 0) | decisions.possessed)
        used, dropped = slots[mine & free], slots[illegal & free]
        self._uses_left[used] -= 1
        self._counts["used"] += len(used)
        self._counts["illegal"] += len(dropped)
        self.action[used[self._uses_left[used] <= 0]] = -1
        self.action[dropped] = -1
        stale = slots[(self.action[slots] >= 0) & (self.tick - self.seen_at[slots] >= self._config.max_age_ticks)]
        self._counts["stale"] += len(stale)
        self.action[stale] = -1
        self.num_answers = int(np.count_nonzero(self.action >= 0))

    def forget(self, slots: NDArray[np.int64]) -> None:
        """Drop what belongs to agents that have left; what was asked for them is still under way, and charged."""
        self._life[slots] += 1
        self._pending[slots] = False
        self._asked_at[slots] = _NEVER
        self._charges.forget(slots)
        if self.num_answers:
            self.action[slots] = -1
            self.num_answers = int(np.count_nonzero(self.action >= 0))

    def counts(self) -> DeferredCounts:
        """Return the counts so far."""
        _, tokens, nano = self._charges.run
        return record_of(self._counts, tokens=tokens, nano=nano)

    def save_state(self) -> SavedState:
        """Return everything as arrays."""
        calls = list(self.open.values())
        asked = [(call, one) for call in calls for one in call.asked]
        return join_groups(
            {
                "slots": {name: array.copy() for name, array in self._by_slot().items()},
                "calls": {
                    "call": np.array([call.number for call, _ in asked], np.int64),
                    "call_tick": np.array([call.tick for call, _ in asked], np.int64),
                    "overdue": np.array([call.overdue for call, _ in asked], np.bool_),
                    "slot": np.array([one.slot for _, one in asked], np.int64),
                    "life": np.array([one.life for _, one in asked], np.int64),
                    "ended": np.array([one.ended for _, one in asked], np.bool_),
                    "shown": digests([one.shown for _, one in asked]),
                },
                "counts": {
                    "ticks": np.array([self.tick, self.next_call], np.int64),
                    "counts": saved_counts(self._counts),
                },
                "charges": self._charges.save_state(),
                "breaker": self._breaker.save_state(),
                "cache": self._cache.save_state(),
            }
        )

    def restore(self, state: SavedState) -> None:
        """Go on as what was saved, with the same vocabulary, capacity and config.

        Raises:
            StateError: if it is no such state; then this is not to be used any more.
        """
        slots, calls, counts, charges, breaker, cache = split_groups(state, _PARTS).values()
        check_names(slots, self._by_slot(), of="the agents")
        num_actions = len(self._vocabulary)
        for name, like in self._by_slot().items():
            low, high = (-1, num_actions - 1) if name == "action" else (_NEVER, MOST)
            check_array(slots, name, like=like, low=low, high=high)
        check_names(counts, ("ticks", "counts"), of="the counts")
        check_array(counts, "ticks", like=np.zeros(2, np.int64), low=0, high=MOST)
        check_array(counts, "counts", like=np.zeros(len(COUNTED), np.int64), low=0, high=MOST)
        self._charges.restore(charges)
        self._breaker.restore(breaker)
        self._cache.restore(cache)
        self.tick, self.next_call = counts["ticks"].tolist()
        self._counts = restored_counts(counts["counts"])
        self.open = self._restored_calls(calls)
        for name, array in self._by_slot().items():
            array[...] = slots[name]
        self.num_answers = int(np.count_nonzero(self.action >= 0))

    def _restored_calls(self, state: SavedState) -> OrderedDict[int, OpenCall]:
        check_names(state, _CALLS, of="the calls")
        number = state["call"].size
        most = self._config.in_flight * self._config.batch_size
        if number > most:
            raise StateError(f"saved `call` must have at most {most} questions, got {number}")
        flags, numbers = np.zeros(number, np.bool_), np.zeros(number, np.int64)
        check_array(state, "call", like=numbers, low=0, high=self.next_call - 1)
        check_array(state, "call_tick", like=numbers, low=0, high=self.tick)
        check_array(state, "slot", like=numbers, low=0, high=len(self.action) - 1)
        check_array(state, "life", like=numbers, low=0, high=MOST)
        check_array(state, "overdue", like=flags, low=0, high=1)
        check_array(state, "ended", like=flags, low=0, high=1)
        check_array(state, "shown", like=np.zeros((number, DIGEST_BYTES), np.uint8), low=0, high=255)
        rows = zip(*(state[name].tolist() for name in _CALLS[:-1]), texts(state["shown"]), strict=True)
        calls: OrderedDict[int, OpenCall] = OrderedDict()
        for (call, tick, overdue), group in groupby(rows, key=lambda row: row[:3]):
            asked = [Asked(slot=row[3], life=row[4], ended=row[5], shown=row[6]) for row in group]
            if call in calls or (calls and call < next(reversed(calls))):
                raise StateError("saved `call` must be in ascending order, got another one")
            calls[call] = OpenCall(number=call, tick=tick, overdue=overdue, asked=asked)
        return calls

    def _by_slot(self) -> dict[str, NDArray[np.int64] | NDArray[np.bool_] | NDArray[np.uint8]]:
        return {
            "action": self.action,
            "seen_at": self.seen_at,
            "uses_left": self._uses_left,
            "pending": self._pending,
            "asked_at": self._asked_at,
            "life": self._life,
            "shown": self._shown,
        }

    def _is_here(self, asked: Asked) -> bool:
        return bool(self._life[asked.slot] == asked.life)

    def _is_late(self, call: OpenCall) -> bool:
        return call.overdue or self.tick - call.tick > self._config.deadline_ticks

    def _give(self, slot: int, action: int, seen_at: int) -> None:
        self.num_answers += int(self.action[slot] < 0)
        self.action[slot], self.seen_at[slot], self._uses_left[slot] = action, seen_at, self._uses

    def _settle_charge(self, asked: Asked, reply: Reply) -> None:
        """Put what was reported in the place of the worst case, which stays where nothing was."""
        if reply.tokens is None or reply.nano is None:
            return
        _, tokens, nano = self._charges.worst
        self._counts["overruns"] += (reply.tokens > tokens > 0) or (reply.nano > nano > 0)
        slot = asked.slot if self._is_here(asked) else None
        self._charges.charge((0, reply.tokens - tokens, reply.nano - nano), slot)

    def _close(self, call: OpenCall) -> None:
        del self.open[call.number]
        self._breaker.ended(call.number)
        if call.overdue:
            return  # it failed at its deadline
        if call.succeeded:
            self._breaker.succeeded()
        elif call.failed:
            self._fail()

    def _fail(self) -> None:
        self._counts["opened"] += self._breaker.failed(self.tick)
