"""`DeferredController`: a mind that takes longer than a tick decides beside a fallback, which never waits for it."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..controllers import BatchController, propose_checked
from ..decisions import DecisionBatch
from ..errors import AnswerLogError, BehaviorError, ConfigError, StateError
from ..saving import SavedState, check_array, check_names, join_groups, split_groups
from ..views import View, gather
from ..vocabulary import ActionVocabulary
from .calls import Calls, calls_of
from .config import DeferredConfig
from .counts import DeferredCounts
from .log import (
    ANSWERED,
    ASKED,
    CACHED,
    FORMAT,
    MAX_AGENT,
    RESUMED,
    VERSION,
    AnswerLog,
    Line,
    encode,
    logged_cost,
)
from .records import Describe, Failure, Mind, Question, Reply, failed
from .standing import Asked, OpenCall, Standing

_PARTS = ("log", "standing", "fallback")
_MIND = 1
"""Index into `proposers`; 0 is the fallback."""


class _Arrival(NamedTuple):
    """A reply that takes effect at this tick."""

    call: OpenCall
    asked: Asked
    reply: Reply


class _Followed(NamedTuple):
    """The rows of the last view that have an answer."""

    mine: NDArray[np.bool_]
    """[N]; proposed."""
    illegal: NDArray[np.bool_]
    """[N]; not proposed, because the mask forbids it."""


class DeferredController:
    """Proposes the answers of a slow mind as they come, and a fallback's actions until then. It never waits.

    Agents are asked about after a tick is settled, in batches that run in threads (or in an event loop, if the mind is
    a coroutine function). An answer takes effect at the first tick that finds it there, is written to the log before
    that, and is proposed for `max_uses` free decisions. Ticks are counted from the controller's first decision.

    What the log holds is repeated: from its own tick on a controller takes the answers of the log at their ticks,
    without a call, and goes on live where the log ends. With a log that was only read (`AnswerLog.read`) there is no
    mind, and a run that asks for more than was asked then is an error.

    Examples:
        >>> from townlet_behavior import ActionVocabulary, Answer, DeferredConfig, DeferredController, IdleController
        >>> from townlet_behavior.testing import plain_view
        >>> vocabulary = ActionVocabulary(keys=("wait", "walk"), kinds=("wait", "move"))
        >>> def mind(questions):
        ...     return [Answer(action="walk") for question in questions]
        >>> def describe(view, rows):
        ...     return [(f"agent {row}", 0, "nothing") for row in rows.tolist()]
        >>> controller = DeferredController(
        ...     mind,
        ...     IdleController(wait=0),
        ...     vocabulary=vocabulary,
        ...     describe=describe,
        ...     capacity=2,
        ...     config=DeferredConfig(),
        ... )
        >>> with controller:
        ...     controller.propose(plain_view(["ann", "bob"])).tolist()  # asked about when this tick is settled
        [0, 0]

    Args:
        mind: answers questions; None: every answer comes from a `log` that was read. An object with the methods of
            `townlet_behavior.deferred.calls.Calls` runs its calls in its own way.
        fallback: proposes for all agents at every tick.
        vocabulary: of the agents.
        describe: writes down what an agent sees.
        capacity: every slot is below it.
        name: of the mind as a proposer.
        config: see `DeferredConfig`.
        log: of the answers; None: the run can neither be repeated nor resumed exactly.

    Raises:
        ConfigError: if `mind` and `log` contradict each other, or the name is none.
        AnswerLogError: if the log is of another vocabulary, capacity, name or config.
    """

    def __init__(
        self,
        mind: Mind | Calls | None,
        fallback: BatchController,
        *,
        vocabulary: ActionVocabulary,
        describe: Describe,
        capacity: int,
        name: str = "mind",
        config: DeferredConfig,
        log: AnswerLog | None = None,
    ) -> None:
        if not name or name == "fallback":
            raise ConfigError(f"`name` must be a name, and not that of the fallback, got {name!r}")
        if (mind is None) != (log is not None and not log.writable):
            raise ConfigError("expected a mind, or a log that was opened by `AnswerLog.read`, and not both")
        self._fallback = fallback
        self._vocabulary, self._describe, self._capacity, self._name = vocabulary, describe, capacity, name
        self._config = config
        self._header = _header(vocabulary, capacity, name, config)
        self._log = log
        self._calls: Calls | None = None if mind is None else calls_of(mind, in_flight=config.in_flight)
        self._generation = 0
        """Calls of an earlier one are lost: the controller was restored since."""
        self._standing = Standing(vocabulary, capacity=capacity, config=config)
        self._is_live = False
        self._arrived: list[_Arrival] = []
        """Replies that are taken at this tick, and have their effect when it is settled."""
        self._followed: _Followed | None = None
        self._actions: NDArray[np.int64] = np.empty(0, np.int64)
        """[N]; of the last `propose`."""
        self._ages: NDArray[np.int32] | None = None
        """[N]; of the answers that were proposed, -1 elsewhere; None: there were none."""
        if log is not None:
            log.begin(self._header)
        self._position = (0, 0) if log is None else log.position
        """In the log, before this tick."""
        if self._calls is not None:
            # Idle threads end with the controller; they know of its calls alone.
            self._finalizer = weakref.finalize(self, self._calls.close, 0.0)

    def __enter__(self) -> DeferredController:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self, timeout_s: float = 1.0) -> None:
        """End the threads of the mind, and the log; nothing is asked or answered from here on.

        Args:
            timeout_s: how long to wait for calls under way; those that take longer end with the process.
        """
        if self._calls is not None:
            self._finalizer.detach()
            self._calls.close(timeout_s)
        if self._log is not None:
            self._log.close()

    @property
    def proposers(self) -> tuple[str, ...]:
        """`fallback`, and the name of the mind."""
        return ("fallback", self._name)

    @property
    def counts(self) -> DeferredCounts:
        """What became of all questions and answers so far."""
        return self._standing.counts()

    def proposed_by(self, view: View) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
        """Return who made each proposal of the last `propose`, and how long ago what it was made from was seen.

        Args:
            view: as given to `propose`, N rows.

        Returns:
            proposer [N], an index into `proposers` or -1 where nothing is proposed, and age in ticks [N].
        """
        if self._ages is None:
            return (self._actions >> 63).astype(np.int8), np.zeros(len(self._actions), np.int32)
        by_mind = self._ages >= 0
        return np.where(by_mind, _MIND, self._actions >> 63).astype(np.int8), np.where(by_mind, self._ages, 0)

    def propose(self, view: View) -> NDArray[np.int64]:
        """[N]; the mind's answer where there is one that is legal and young enough, else the fallback's action.

        Raises:
            AnswerLogError: if an answer cannot be written to the log, or the log is not of this run.
        """
        self._pull()
        if not self._arrived and not self._standing.num_answers:
            self._followed = self._ages = None
            self._actions = self._fallback.propose(view)
            return self._actions
        actions = propose_checked(self._fallback, view, num_actions=len(self._vocabulary))
        answers, seen_at = self._answers()
        answer = answers[view.slots]
        age = self._standing.tick - seen_at[view.slots]
        usable = (answer >= 0) & (age <= self._config.max_age_ticks)
        legal = np.ones(len(usable), np.bool_)
        if view.action_mask is not None:
            legal = gather(view.action_mask, np.maximum(answer, 0))
        self._followed = _Followed(mine=usable & legal, illegal=usable & ~legal)
        self._actions = np.where(self._followed.mine, answer, actions)
        self._ages = np.where(self._followed.mine, age, -1).astype(np.int32)
        return self._actions

    def settled(self, view: View, decisions: DecisionBatch) -> None:
        """Use answers up, give overdue questions up, and ask about the agents that need it."""
        standing = self._standing
        self._end_all(self._arrived)
        self._arrived = []
        if self._followed is not None:
            standing.use_up(view, decisions, *self._followed)
        for call in standing.give_up():
            if self._is_live and self._calls is not None:
                self._calls.give_up((self._generation, call.number))
        room = standing.room()
        if room:
            self._ask(view, standing.wanting(view, decisions)[:room])
        standing.tick += 1
        self._followed = None
        if self._log is not None:
            self._position = self._log.position
        self._fallback.settled(view, decisions)

    def forget(self, slots: NDArray[np.int64]) -> None:
        """Drop answers and plans of agents that have left; what was asked for them stays charged to the run."""
        self._standing.forget(slots)
        self._fallback.forget(slots)

    def save_state(self) -> SavedState:
        """Return pending questions, answers, charges, cache, counts and place in the log, and the fallback's plans.

        The log is brought to the disk first, as the state refers to it.
        """
        if self._log is not None and self._is_live:
            self._log.sync()
        return join_groups(
            {
                "log": {
                    "header": np.array(encode(self._header).decode()),
                    "position": np.array(self._position, np.int64),
                    "is_there": np.array(self._log is not None),
                },
                "standing": self._standing.save_state(),
                "fallback": self._fallback.save_state(),
            }
        )

    def restore(self, state: SavedState) -> None:
        """Go on as the controller that was saved: what its log holds since then is repeated, then the mind is asked.

        Calls that were under way, and are not in the log, are lost.

        Raises:
            StateError: if the state is of another vocabulary, capacity, name or config, or of a run with a log where
                there is none now, or the other way round; then nothing has changed.
            AnswerLogError: if the log is shorter than it was.
        """
        own, saved, fallback = split_groups(state, _PARTS).values()
        check_names(own, ("header", "position", "is_there"), of="the answers")
        header = encode(self._header).decode()
        if not np.array_equal(own["header"], header):
            raise StateError(f"saved `header` must be {header}, got {own['header']}")
        if not np.array_equal(own["is_there"], self._log is not None):
            raise StateError(f"saved `is_there` of the log must be {self._log is not None}, got {own['is_there']}")
        check_array(own, "position", like=np.zeros(2, np.int64), low=0, high=2**62)
        standing = Standing(self._vocabulary, capacity=self._capacity, config=self._config)
        standing.restore(saved)
        offset, number = own["position"].tolist()
        if self._log is not None:
            self._log.require(offset)
        self._fallback.restore(fallback)
        if self._log is not None:
            self._log.seek(offset, number)
        self._standing, self._position = standing, (offset, number)
        self._arrived, self._followed = [], None
        self._is_live = False
        self._generation += 1

    def _answers(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Action and tick seen of the answers by slot, with those that arrived; nothing is changed before `settled`."""
        standing = self._standing
        if not self._arrived:
            return standing.action, standing.seen_at
        action, seen_at = standing.action.copy(), standing.seen_at.copy()
        for call, asked, reply in self._arrived:
            if reply.action is not None and standing.is_answer(call, asked, reply):
                action[asked.slot], seen_at[asked.slot] = self._vocabulary.index(reply.action), call.tick
        return action, seen_at

    def _pull(self) -> None:
        """Take the answers that have come."""
        if not self._is_live:
            self._pull_logged()
        if not self._is_live or self._calls is None:
            return
        lines: list[Mapping[str, Any]] = []
        for (generation, number), replies in self._calls.take():
            if generation != self._generation:
                continue
            call = self._standing.open[number]
            for place, (asked, reply) in enumerate(zip(call.asked, replies, strict=True)):
                lines.append(self._answered(call, place, reply))
                self._arrived.append(_Arrival(call, asked, reply))
        if lines and self._log is not None:
            self._log.append(lines)

    def _pull_logged(self) -> None:
        log, tick = self._log, self._standing.tick
        while log is not None and (line := log.peek()) is not None:
            if line.tick < tick:
                self._refuse(line, f"expected a line of tick {tick} or later: the log is not of this run")
            if line.tick > tick or line.event not in (ANSWERED, RESUMED) or line.record.get("asking"):
                return
            self._arrived.extend([self._logged(line)] if line.event == ANSWERED else self._lost())
            log.advance()
        if log is None or log.writable:
            self._arrived.extend(self._go_live(asking=False))

    def _go_live(self, *, asking: bool) -> list[_Arrival]:
        """Go on with the mind, where the log ends; return the ends of calls that are under way, and are lost."""
        self._is_live = True
        if self._log is not None and self._standing.open:
            self._log.append([self._resumed(asking=asking)])
        return self._lost()

    def _lost(self) -> list[_Arrival]:
        taken = {id(arrival.asked) for arrival in self._arrived}
        return [
            _Arrival(call, asked, failed(Failure.LOST))
            for call in self._standing.open.values()
            for asked in call.asked
            if not asked.ended and id(asked) not in taken
        ]

    def _logged(self, line: Line) -> _Arrival:
        """Return the answer of a line, if it is one of a question that is open."""
        record = line.record
        call = self._standing.open.get(record["call"])
        if call is None or record["question"] >= len(call.asked):
            self._refuse(line, f"call {record['call']} has no such question that waits for an answer")
        asked = call.asked[record["question"]]
        if asked.ended or any(arrival.asked is asked for arrival in self._arrived):
            self._refuse(line, f"agent {record['agent']!r}: answered a second time")
        if (call.tick, asked.slot, asked.shown) != (record["asked"], record["slot"], record["shown"]):
            self._refuse(line, f"agent {record['agent']!r}: the answer is not that of the question of tick {call.tick}")
        reply = line.reply()
        if reply.action is not None and reply.action not in self._vocabulary.keys:
            self._refuse(line, f"agent {record['agent']!r}: no action has the key {reply.action!r}")
        return _Arrival(call, asked, reply)

    def _ask(self, view: View, rows: NDArray[np.int64]) -> None:
        """Ask about the agents of some rows, unless their answers are known."""
        if not len(rows):
            return
        batch: list[tuple[Question, Asked]] = []
        for slot, question in zip(view.slots[rows].tolist(), self._questions(view, rows), strict=True):
            if not self._standing.look(slot, question.digest):
                continue
            asked = self._standing.asked(slot, question.digest, agent=question.agent_id, world=question.world)
            known = self._standing.cached(question.digest)
            if known is not None:
                self._note(self._cached(asked, self._vocabulary.keys[known]))
                self._standing.answer_from_cache(slot, known)
                continue
            batch.append((question, asked))
        for start in range(0, len(batch), self._config.batch_size):
            questions, asked_now = zip(*batch[start : start + self._config.batch_size], strict=True)
            self._send(questions, list(asked_now))

    def _send(self, questions: Sequence[Question], asked: list[Asked]) -> None:
        self._note(self._asked(asked))
        call = self._standing.begin_call(asked)
        if self._is_live and self._calls is not None:
            self._calls.send((self._generation, call.number), questions)

    def _questions(self, view: View, rows: NDArray[np.int64]) -> list[Question]:
        slot = int(view.slots[rows[0]])
        try:
            described = list(self._describe(view, rows))
        except BehaviorError:
            raise
        except Exception as error:  # a user's own code
            problem = f"`describe` raised {type(error).__name__}: {error}"
            raise BehaviorError(problem, tick=self._standing.tick, slot=slot) from error
        keys, mask = self._vocabulary.keys, view.action_mask
        questions = []
        for row, one in zip(rows.tolist(), described, strict=False):
            if not (isinstance(one, tuple) and list(map(type, one)) == [str, int, str]):
                problem = f"`describe` must give an agent's id, a world and a text, got {one!r:.200}"
                raise BehaviorError(problem, tick=self._standing.tick, slot=int(view.slots[row]))
            agent_id, world, shown = one
            legal = keys if mask is None else tuple(keys[action] for action in mask[row].nonzero()[0].tolist())
            tick = self._standing.tick
            questions.append(Question(agent_id=agent_id, world=world, tick=tick, shown=shown, actions=legal))
        if len(described) != len(rows):
            problem = f"`describe` must describe {len(rows)} agents, got {len(described)}"
            raise BehaviorError(problem, tick=self._standing.tick, slot=slot)
        return questions

    def _note(self, record: Mapping[str, Any]) -> None:
        """Write a line, or compare it with the one that is there when a run is repeated."""
        log = self._log
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
                problem = "nothing is asked at this tick in the log, which ends here"
                self._refuse(None, f"{_first_agent(record)}: {problem}")
        log.append([record])

    def _end_all(self, arrivals: Sequence[_Arrival]) -> None:
        for arrival in arrivals:
            self._standing.end(*arrival)

    def _require_same(self, line: Line, record: Mapping[str, Any]) -> None:
        text = encode(record)
        if line.text == text:
            return
        then, now = dict(line.record), dict(record)
        for before, after in zip(then.get("questions", [then]), now.get("questions", [now]), strict=False):
            if before != after:
                self._refuse(line, f"agent {after['agent']!r}: expected {_brief(before)}, got {_brief(after)}")
        self._refuse(line, f"{_first_agent(record)}: expected {_brief(then)}, got {_brief(now)}")

    def _refuse(self, line: Line | None, problem: str) -> NoReturn:
        path = "" if self._log is None else self._log.path
        number = None if line is None else line.number
        raise AnswerLogError(path, problem, line=number, tick=self._standing.tick)

    def _asked(self, asked: Sequence[Asked]) -> Mapping[str, Any]:
        questions = [_identity(one) for one in asked]
        return {
            "event": ASKED,
            "tick": self._standing.tick,
            "call": self._standing.next_call,
            "questions": questions,
        }

    def _cached(self, asked: Asked, action: str) -> Mapping[str, Any]:
        return {"event": CACHED, "tick": self._standing.tick, "action": action} | _identity(asked)

    def _resumed(self, *, asking: bool) -> Mapping[str, Any]:
        return {"event": RESUMED, "tick": self._standing.tick, "asking": asking}

    def _answered(self, call: OpenCall, place: int, reply: Reply) -> Mapping[str, Any]:
        return {
            "event": ANSWERED,
            "tick": self._standing.tick,
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


def _first_agent(record: Mapping[str, Any]) -> str:
    first = record.get("questions", [record])[0]
    return f"agent {first['agent']!r}"


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "..."


def _header(vocabulary: ActionVocabulary, capacity: int, name: str, config: DeferredConfig) -> dict[str, Any]:
    settings = asdict(config)
    ticks = config.options.ticks
    settings["options"] = ticks if isinstance(ticks, int) else dict(ticks)
    return {
        "format": FORMAT,
        "version": VERSION,
        "vocabulary": vocabulary.digest,
        "capacity": capacity,
        "name": name,
        "settings": settings,
    }
