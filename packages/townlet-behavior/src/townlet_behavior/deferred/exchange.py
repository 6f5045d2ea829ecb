"""Questions out and answers in: live, or as the log has them when a run is repeated."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..errors import AnswerLogError, BehaviorError, StateError
from ..saving import SavedState, check_array, check_names, join_groups, split_groups
from ..vocabulary import ActionVocabulary
from .calls import Answered, Calls, calls_of
from .config import DeferredConfig
from .log import (
    ANSWERED,
    ASKED,
    CACHED,
    FORMAT,
    MAX_AGENT,
    OVERDUE,
    RESUMED,
    VERSION,
    AnswerLog,
    Line,
    encode,
    logged_cost,
)
from .records import Failure, Mind, Question, Reply, failed
from .standing import Asked, OpenCall, Standing

_PARTS = ("log", "standing")


class _Arrival(NamedTuple):
    """A reply that takes effect at this tick."""

    call: OpenCall
    asked: Asked
    reply: Reply


class Exchange:
    """Asks a mind, takes its answers, and keeps the log of both; repeats what the log holds before the mind is asked.

    What happens at a tick takes effect in two parts: `pull` finds the answers, and `commit` carries them out.

    Args:
        mind: see `DeferredController`.
        vocabulary: of the agents.
        capacity: every slot is below it.
        name: of the mind.
        config: see `DeferredConfig`.
        log: see `DeferredController`.

    Raises:
        AnswerLogError: if the log is of another vocabulary, capacity, name or config.
    """

    def __init__(
        self,
        mind: Mind | Calls | None,
        vocabulary: ActionVocabulary,
        *,
        capacity: int,
        name: str,
        config: DeferredConfig,
        log: AnswerLog | None,
    ) -> None:
        self._vocabulary, self._capacity, self._config = vocabulary, capacity, config
        self._log = log
        self._calls: Calls | None = None if mind is None else calls_of(mind, in_flight=config.in_flight)
        self._header: dict[str, Any] = {"format": FORMAT, "version": VERSION, "vocabulary": vocabulary.digest}
        self._header |= {"capacity": capacity, "name": name, "settings": config.document()}
        self.standing = Standing(vocabulary, capacity=capacity, config=config)
        self._generation = 0
        """Calls of an earlier one are lost: what was saved was restored since."""
        self._is_live, self._is_closed = False, False
        self._arrived: list[_Arrival] = []
        """Replies that take effect at this tick."""
        self._taken: list[Answered] = []
        """Calls that have ended, and are not in the log yet."""
        if log is not None:
            log.begin(self._header)
        self._position = (0, 0) if log is None else log.position
        """In the log, before this tick."""
        if self._calls is not None:
            # Idle threads end with this object; they know of the calls alone.
            self._finalizer = weakref.finalize(self, self._calls.close, 0.0)

    @property
    def has_answers(self) -> bool:
        """Whether any agent may have an answer at this tick."""
        return bool(self._arrived or self.standing.num_answers)

    def answers(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Action [S], -1 without one, and tick seen [S] of the answer of each slot, with those that `pull` found."""
        standing = self.standing
        if not self._arrived:
            return standing.action, standing.seen_at
        action, seen_at = standing.action.copy(), standing.seen_at.copy()
        for call, asked, reply in self._arrived:
            if reply.action is not None and standing.is_answer(call, asked, reply):
                action[asked.slot], seen_at[asked.slot] = self._vocabulary.index(reply.action), call.tick
        return action, seen_at

    def pull(self) -> None:
        """Find the answers that have come, and write them to the log. Asking twice finds the same and more.

        Raises:
            AnswerLogError: if the log cannot be written, or is not of this run.
            BehaviorError: after `close`.
        """
        if self._is_closed:
            raise BehaviorError("the controller is closed; another one goes on from its state and its log")
        if not self._is_live:
            self._pull_logged()
        if not self._is_live or self._calls is None:
            return
        self._taken += self._calls.take()
        if not self._taken:
            return
        lines, arrived = [], []
        for (generation, number), replies in self._taken:
            if generation != self._generation:
                continue
            call = self.standing.open[number]
            for place, (asked, reply) in enumerate(zip(call.asked, replies, strict=True)):
                lines.append(self._answered(call, place, reply))
                arrived.append(_Arrival(call, asked, reply))
        if self._log is not None:
            self._log.append(lines)
        self._taken = []
        self._arrived += arrived

    def commit(self) -> None:
        """Carry out the answers that were found, and give up the calls that are overdue now."""
        if self._arrived:
            self._end_all(self._arrived)
            self._arrived = []
        for call in self.standing.give_up():
            self._note({"event": OVERDUE, "call": call.number})
            if self._is_live and self._calls is not None:
                self._calls.give_up((self._generation, call.number))

    def ask(self, slots: Sequence[int], questions: Sequence[Question]) -> None:
        """Ask about agents, unless their answers are known or nothing has changed for them.

        Args:
            slots: of the agents.
            questions: one for each.

        Raises:
            AnswerLogError: if the log cannot be written, or something else was asked then.
        """
        batch: list[tuple[Question, Asked]] = []
        for slot, question in zip(slots, questions, strict=True):
            if not self.standing.look(slot, question.digest):
                continue
            asked = self.standing.asked(slot, question.digest, agent=question.agent_id, world=question.world)
            known = self.standing.cached(question.digest)
            if known is None:
                batch.append((question, asked))
                continue
            self._note({"event": CACHED, "action": self._vocabulary.keys[known]} | _identity(asked))
            self.standing.answer_from_cache(slot, known)
        for start in range(0, len(batch), self._config.batch_size):
            self._send(batch[start : start + self._config.batch_size])

    def end_tick(self) -> None:
        """Go to the next tick."""
        self.standing.tick += 1
        if self._log is not None:
            self._position = self._log.position

    def close(self, timeout_s: float) -> None:
        """End the threads and close the log; doing it twice is once."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._calls is not None:
            self._finalizer.detach()
            self._calls.close(timeout_s)
        if self._log is not None:
            self._log.sync()
            self._log.close()

    def save_state(self) -> SavedState:
        """Return how things stood before this tick. The log is brought to the disk first, as the state refers to it."""
        if self._log is not None and self._is_live and not self._is_closed:
            self._log.sync()
        own = {
            "header": np.array(encode(self._header).decode()),
            "position": np.array(self._position, np.int64),
            "is_logged": np.array(self._log is not None),
        }
        return join_groups({"log": own, "standing": self.standing.save_state()})

    def prepare(self, state: SavedState) -> tuple[Standing, tuple[int, int]]:
        """Check a saved state, and return what `restore` takes; nothing changes.

        Raises:
            StateError, AnswerLogError: see `DeferredController.restore`.
        """
        own, saved = split_groups(state, _PARTS).values()
        check_names(own, ("header", "position", "is_logged"), of="the answers")
        header = encode(self._header).decode()
        if not np.array_equal(own["header"], header):
            raise StateError(f"saved `header` must be {header}, got {own['header']}")
        if not np.array_equal(own["is_logged"], self._log is not None):
            raise StateError(f"saved `is_logged` must be {self._log is not None}, got {own['is_logged']}")
        check_array(own, "position", like=np.zeros(2, np.int64), low=0, high=2**62)
        standing = Standing(self._vocabulary, capacity=self._capacity, config=self._config)
        standing.restore(saved)
        offset, number = own["position"].tolist()
        if self._log is not None:
            self._log.require(offset)
        return standing, (offset, number)

    def restore(self, standing: Standing, position: tuple[int, int]) -> None:
        """Go on from what `prepare` returned: the log is repeated from there, then the mind is asked.

        Args:
            standing: as it was saved.
            position: in the log.
        """
        if self._log is not None:
            self._log.seek(*position)
        self.standing, self._position = standing, position
        self._arrived, self._is_live = [], False
        self._generation += 1

    def _pull_logged(self) -> None:
        log, tick = self._log, self.standing.tick
        while log is not None and (line := log.peek()) is not None:
            if line.tick < tick:
                self._refuse(line, f"expected a line of tick {tick} or later: the log is not of this run")
            if line.tick > tick or line.event not in (ANSWERED, RESUMED) or line.record.get("asking"):
                return
            self._arrived += [self._logged(line)] if line.event == ANSWERED else self._lost()
            log.advance()
        if log is None or log.writable:
            self._arrived += self._go_live(asking=False)

    def _go_live(self, *, asking: bool) -> list[_Arrival]:
        """Go on with the mind, where the log ends; return the ends of calls that are under way, and are lost."""
        if self._log is not None and self.standing.open:
            self._log.append([{"event": RESUMED, "tick": self.standing.tick, "asking": asking}])
        self._is_live = True
        return self._lost()

    def _lost(self) -> list[_Arrival]:
        taken = {id(arrival.asked) for arrival in self._arrived}
        return [
            _Arrival(call, asked, failed(Failure.LOST))
            for call in self.standing.open.values()
            for asked in call.asked
            if not asked.ended and id(asked) not in taken
        ]

    def _logged(self, line: Line) -> _Arrival:
        """Return the answer of a line, if it is one of a question that is open."""
        record = line.record
        call = self.standing.open.get(record["call"])
        who = f"agent {record['agent']!r}"
        if call is None or record["question"] >= len(call.asked):
            self._refuse(line, f"{who}: no such question of call {record['call']} waits for an answer")
        asked = call.asked[record["question"]]
        if asked.ended or any(arrival.asked is asked for arrival in self._arrived):
            self._refuse(line, f"{who}: answered a second time")
        if (call.tick, asked.slot, asked.shown) != (record["asked"], record["slot"], record["shown"]):
            self._refuse(line, f"{who}: the answer is not that of the question of tick {call.tick}")
        reply = line.reply()
        if reply.action is not None and reply.action not in self._vocabulary.keys:
            self._refuse(line, f"{who}: no action has the key {reply.action!r}")
        return _Arrival(call, asked, reply)

    def _send(self, batch: Sequence[tuple[Question, Asked]]) -> None:
        asked = [one for _, one in batch]
        identities = [_identity(one) for one in asked]
        self._note({"event": ASKED, "call": self.standing.next_call, "questions": identities})
        call = self.standing.begin_call(asked)
        if self._is_live and self._calls is not None:
            self._calls.send((self._generation, call.number), [question for question, _ in batch])

    def _note(self, content: Mapping[str, Any]) -> None:
        """Write a line, or compare it with the one that is there when a run is repeated."""
        log, record = self._log, {"tick": self.standing.tick, **content}
        if log is None:
            return
        while not self._is_live:
            line = log.peek()
            if line is not None and line.event == RESUMED and line.record["asking"]:
                self._end_all(self._lost())
                log.advance()
            elif line is not None:
                self._require_same(line, record)
                log.advance()
                return
            elif log.writable:
                self._end_all(self._go_live(asking=True))
            else:
                self._refuse(None, f"{_who(record)}: nothing happened at this tick, where the log ends")
        log.append([record])

    def _end_all(self, arrivals: Sequence[_Arrival]) -> None:
        for arrival in arrivals:
            self.standing.end(*arrival)

    def _require_same(self, line: Line, record: Mapping[str, Any]) -> None:
        if line.text == encode(record):
            return
        then, now = dict(line.record), dict(record)
        pairs = zip(then.get("questions", []), now.get("questions", []), strict=False)
        before, after = next(((old, new) for old, new in pairs if old != new), (then, now))
        key = next(key for key in ("event", *sorted({*before, *after})) if before.get(key) != after.get(key))
        expected, got = _brief(before.get(key)), _brief(after.get(key))
        self._refuse(line, f"{_who(after)}: expected `{key}` to be {expected} as it was then, got {got}")

    def _refuse(self, line: Line | None, problem: str) -> NoReturn:
        path = "" if self._log is None else self._log.path
        raise AnswerLogError(path, problem, line=None if line is None else line.number, tick=self.standing.tick)

    def _answered(self, call: OpenCall, place: int, reply: Reply) -> Mapping[str, Any]:
        return {
            "event": ANSWERED,
            "tick": self.standing.tick,
            "call": call.number,
            "question": place,
            "asked": call.tick,
            "action": reply.action,
            "failure": reply.failure,
            "tokens": reply.tokens,
            "cost": logged_cost(reply.nano),
            "note": reply.note,
        } | _identity(call.asked[place])


def _identity(asked: Asked) -> dict[str, Any]:
    return {"slot": asked.slot, "world": asked.world, "agent": asked.agent[:MAX_AGENT], "shown": asked.shown}


def _who(record: Mapping[str, Any]) -> str:
    """The first agent that a record is about."""
    first = record.get("questions", [record])[0]
    return f"agent {first['agent']!r}" if "agent" in first else f"call {first['call']}"


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "..."
