"""`DeferredController`: a mind that takes longer than a tick decides beside a fallback, which never waits for it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..batch_controllers import BatchController, propose_checked
from ..decisions import DecisionBatch
from ..errors import BehaviorError, ConfigError
from ..forms import form_of
from ..saving import SavedState, join_groups, split_groups
from ..views import View, gather
from ..vocabulary import ActionVocabulary
from .calls import Calls
from .config import DeferredConfig
from .counts import DeferredCounts
from .exchange import Exchange
from .log import AnswerLog
from .records import Describe, Mind, Question

_PARTS = ("answers", "fallback")
_MIND = 1
"""Index into `proposers`; 0 is the fallback."""


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
        ConfigError: if `mind` and `log` contradict each other, the name is none, or the vocabulary has no actions.
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
        if not vocabulary:
            raise ConfigError("`vocabulary` must have actions, because a mind answers with the key of one, got none")
        self._fallback, self._form = fallback, form_of(vocabulary)
        self._vocabulary, self._describe, self._name, self._config = vocabulary, describe, name, config
        self._exchange = Exchange(mind, vocabulary, capacity=capacity, name=name, config=config, log=log)
        self._followed: _Followed | None = None
        self._actions: NDArray[np.int64] = np.empty(0, np.int64)
        """[N]; of the last `propose`."""
        self._ages: NDArray[np.int32] | None = None
        """[N]; of the answers that were proposed, -1 elsewhere; None: there were none."""

    def __enter__(self) -> DeferredController:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self, timeout_s: float = 1.0) -> None:
        """End the threads of the mind, and close the log; it can still be saved, and proposes nothing any more.

        Args:
            timeout_s: how long to wait for calls under way; those that take longer end with the process.
        """
        self._exchange.close(timeout_s)

    @property
    def proposers(self) -> tuple[str, ...]:
        """`fallback`, and the name of the mind."""
        return ("fallback", self._name)

    @property
    def counts(self) -> DeferredCounts:
        """What became of all questions and answers so far."""
        return self._exchange.standing.counts()

    def proposed_by(self, view: View) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
        """Return who made each proposal of the last `propose`, and how long ago what it was made from was seen.

        Args:
            view: as given to `propose`, N rows.

        Returns:
            proposer [N], an index into `proposers`, and age in ticks [N].
        """
        if self._ages is None:
            return np.zeros(len(self._actions), np.int8), np.zeros(len(self._actions), np.int32)
        by_mind = self._ages >= 0
        return by_mind.astype(np.int8) * np.int8(_MIND), np.where(by_mind, self._ages, 0)

    def propose(self, view: View) -> NDArray[np.int64]:
        """[N]; the mind's answer where there is one that is legal and young enough, else the fallback's action.

        Raises:
            AnswerLogError: if an answer cannot be written to the log, or the log is not of this run.
            BehaviorError: after `close`.
        """
        exchange = self._exchange
        exchange.pull()
        if not exchange.has_answers:
            self._followed = self._ages = None
            self._actions = self._fallback.propose(view)
            return self._actions
        actions = propose_checked(self._fallback, view, self._form)
        answers, seen_at = exchange.answers()
        answer = answers[view.slots]
        age = exchange.standing.tick - seen_at[view.slots]
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
        exchange, standing = self._exchange, self._exchange.standing
        exchange.commit()
        if self._followed is not None:
            standing.use_up(view, decisions, *self._followed)
            self._followed = None
        room = standing.room()
        if room and len(rows := standing.wanting(view, decisions)[:room]):
            exchange.ask(view.slots[rows].tolist(), self._questions(view, rows))
        exchange.end_tick()
        self._fallback.settled(view, decisions)

    def forget(self, slots: NDArray[np.int64]) -> None:
        """Drop answers and plans of agents that have left; what was asked for them stays charged to the run."""
        self._exchange.standing.forget(slots)
        self._fallback.forget(slots)

    def save_state(self) -> SavedState:
        """Return pending questions, answers, charges, cache, counts and place in the log, and the fallback's plans."""
        return join_groups({"answers": self._exchange.save_state(), "fallback": self._fallback.save_state()})

    def restore(self, state: SavedState) -> None:
        """Go on as the controller that was saved: what its log holds since then is repeated, then the mind is asked.

        Calls that were under way, and are not in the log, are lost.

        Raises:
            StateError: if the state is of another vocabulary, capacity, name or config, or of a run with a log where
                there is none now, or the other way round; then nothing has changed.
            AnswerLogError: if the log is shorter than it was.
        """
        answers, fallback = split_groups(state, _PARTS).values()
        standing, position = self._exchange.prepare(answers)
        self._fallback.restore(fallback)
        self._exchange.restore(standing, position)
        self._followed = None

    def _questions(self, view: View, rows: NDArray[np.int64]) -> list[Question]:
        slot = int(view.slots[rows[0]])
        try:
            described = list(self._describe(view, rows))
        except BehaviorError:
            raise
        except Exception as error:  # a user's own code
            problem = f"`describe` raised {type(error).__name__}: {error}"
            raise BehaviorError(problem, tick=self._exchange.standing.tick, slot=slot) from error
        keys, mask = self._vocabulary.keys, view.action_mask
        questions = []
        for row, one in zip(rows.tolist(), described, strict=False):
            if not (isinstance(one, tuple) and list(map(type, one)) == [str, int, str]):
                problem = f"`describe` must give an agent's id, a world and a text, got {one!r:.200}"
                raise BehaviorError(problem, tick=self._exchange.standing.tick, slot=int(view.slots[row]))
            agent_id, world, shown = one
            legal = keys if mask is None else tuple(keys[action] for action in mask[row].nonzero()[0].tolist())
            tick = self._exchange.standing.tick
            questions.append(Question(agent_id=agent_id, world=world, tick=tick, shown=shown, actions=legal))
        if len(described) != len(rows):
            problem = f"`describe` must describe {len(rows)} agents, got {len(described)}"
            raise BehaviorError(problem, tick=self._exchange.standing.tick, slot=slot)
        return questions
