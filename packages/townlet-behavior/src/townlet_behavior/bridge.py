"""`BehaviorBridge`: scripted and learned proposals in, one executed decision per agent out."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .choices import Choices, blend_proposals, keep_commitments, log_probs, obey_possessors, script_alone
from .commitment import Commitments, Held
from .config import BridgeConfig, clamped_ratio
from .controllers import BatchController
from .decisions import DecisionBatch
from .draws import Purpose, uniforms
from .errors import PolicyError, ShapeError, UnknownActionError
from .guardrails import Guardrail, GuardrailChain
from .possession import Possession
from .proposals import Proposals, check_fit, faulty_rows, is_sound, without_rows
from .tally import Tally, TallyCounter
from .views import View, check_slots, check_view
from .vocabulary import ActionVocabulary

log = logging.getLogger(__name__)

_INT64 = np.dtype(np.int64)


class BehaviorBridge:
    """Decides for all agents of a view at once, and records who decided and how likely it was.

    Args:
        vocabulary: of the agents.
        controller: the script.
        capacity: every slot is below it.
        config: see `BridgeConfig`.
        guardrails: judged in this order, after the view's action mask.
    """

    def __init__(
        self,
        vocabulary: ActionVocabulary,
        controller: BatchController,
        *,
        capacity: int,
        config: BridgeConfig,
        guardrails: Sequence[Guardrail] = (),
    ) -> None:
        if capacity < 1:
            raise ShapeError(f"`capacity` must be at least 1, got {capacity}")
        self._wait = vocabulary.wait
        self._num_actions = len(vocabulary)
        self._controller = controller
        self._capacity = capacity
        self._config = config
        self._guardrails = GuardrailChain(guardrails, wait=vocabulary.wait, num_actions=len(vocabulary))
        self._commitments = Commitments(capacity=capacity, vocabulary=vocabulary, config=config.commitment)
        self._counter = TallyCounter(self._guardrails.reasons)
        self._held_before: tuple[View, int, Held] | None = None
        """What `held` said last, for the `decide` that usually follows; gone when a commitment changes."""
        self.possession = Possession(
            capacity=capacity,
            num_actions=len(vocabulary),
            on_acquire=lambda slot: self._end_commitments(np.array([slot])),
        )
        self.ratio = config.ratio

    @property
    def ratio(self) -> float:
        """β: share of decisions given to the learned policy; assigned values are clamped to [0, 1], NaN is an error."""
        return self._ratio

    @ratio.setter
    def ratio(self, value: float) -> None:
        self._ratio = clamped_ratio(value)

    @property
    def veto_reasons(self) -> tuple[str, ...]:
        """Names of all reasons, the action mask's first; `veto_reason` of a decision is 1 + index into this."""
        return self._guardrails.reasons

    def decide(self, view: View, *, tick: int, proposals: Proposals | None = None) -> DecisionBatch:
        """One decision per agent.

        Args:
            view: the agents present.
            tick: global; never restarts, because the draws depend on it.
            proposals: what the policy wants, row by row of the view; None: there is no policy.

        Raises:
            ShapeError: if the view, the script's or the policy's proposals do not fit together.
            UnknownActionError: if the script proposes an action outside the vocabulary.
            PolicyError: if the policy's output is not finite (unless the config lets the script stand in).
            GuardrailError: if a guardrail's verdict cannot be carried out.
        """
        held = self._held(view, tick)
        # Possession,
        possessed, wishes = self.possession.wishes(view.slots, tick)
        # else proposals,
        expert = self._propose(view)
        proposals = self._usable(proposals, view, tick)
        # blend,
        script = np.where(expert < 0, self._wait, expert)
        choices = self._blend(view, script, proposals, tick)
        # option commitment
        choices = keep_commitments(choices, held)
        choices = obey_possessors(choices, possessed, wishes, wait=self._wait)
        # and guardrails, which have the last word.
        reviewed = self._guardrails.review(view, choices.action)

        policy_log_prob, behavior_log_prob = log_probs(choices, script, proposals, self._ratio)
        decisions = DecisionBatch(
            action=reviewed.action,
            chosen_action=choices.action,
            kind=choices.kind,
            source=choices.source,
            vetoed=reviewed.vetoed,
            veto_reason=reviewed.reason,
            possessed=possessed,
            demonstrated=possessed & (wishes >= 0) & ~reviewed.vetoed if np.count_nonzero(possessed) else possessed,
            expert_action=expert,
            behavior_log_prob=behavior_log_prob,
            policy_log_prob=policy_log_prob,
            value=np.zeros(len(expert), np.float32) if proposals is None else proposals.values.copy(),
            ratio=np.full(len(expert), self._ratio, np.float32),
            held_action=held.action,
            ticks_left=held.ticks_left,
        )
        self._settle(view, decisions, tick)
        return decisions

    def held(self, view: View, *, tick: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """What the agents are committed to at `tick`, for the observation that the decision is made from.

        Ends commitments that are over, done or forbidden by the mask. Asking twice changes nothing, and `decide` at the
        same tick and view records the same unless an agent is taken over in between.

        Returns:
            held action [N], -1 for none, and ticks left [N], 0 for none.

        Raises:
            ShapeError: if the view's arrays do not fit together.
        """
        held = self._held(view, tick)
        return held.action, held.ticks_left

    def held_at_end(
        self, slots: NDArray[np.int64], option_done: NDArray[np.bool_], *, tick: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """As `held`, for agents that have just ended: for their final observation, before they are forgotten.

        Args:
            slots: [E].
            option_done: [E].
            tick: of the decision that would have been next.

        Raises:
            ShapeError: if the slots are not strictly ascending in [0, capacity), or the lengths differ.
        """
        check_slots(slots, capacity=self._capacity)
        if option_done.shape != slots.shape:
            raise ShapeError(f"`option_done` must be {slots.shape}, got {option_done.shape}")
        held = self._commitments.held(slots, option_done=option_done, action_mask=None, tick=tick)
        return held.action, held.ticks_left

    def forget(self, slots: NDArray[np.int64]) -> None:
        """The agents in `slots` have left: their commitments, possession and plans go with them.

        Raises:
            ShapeError: if the slots are not strictly ascending in [0, capacity).
        """
        check_slots(slots, capacity=self._capacity)
        self._end_commitments(slots)
        self.possession.forget(slots)
        self._controller.forget(slots)

    def reset(self) -> None:
        """Everybody has left; counts start from zero. The ratio stays."""
        self.forget(np.arange(self._capacity))
        self._counter.clear()

    def counts(self) -> Tally:
        """Who decided since the last `take_counts` or `reset`."""
        return self._counter.tally()

    def take_counts(self) -> Tally:
        """As `counts`, and start counting from zero."""
        tally = self._counter.tally()
        self._counter.clear()
        return tally

    def _propose(self, view: View) -> NDArray[np.int64]:
        """The script's proposals, checked: a controller is a user's own code."""
        expert = self._controller.propose(view)
        if expert.shape != view.slots.shape or expert.dtype != _INT64:
            raise ShapeError(
                f"proposals of the script must be int64 {view.slots.shape}, got {expert.dtype} {expert.shape}"
            )
        # One comparison for both ends of [-1, A): as unsigned, anything below -1 is larger than any vocabulary.
        known = (expert + 1).view(np.uint64) <= self._num_actions
        if np.count_nonzero(known) != len(expert):
            row = known.argmin()
            raise UnknownActionError(
                f"the script must propose actions in [0, {self._num_actions}) or -1,"
                f" got {expert[row]} for slot {view.slots[row]}"
            )
        return expert.copy()

    def _usable(self, proposals: Proposals | None, view: View, tick: int) -> Proposals | None:
        if proposals is None:
            return None
        check_fit(proposals, view, num_actions=self._num_actions)
        if is_sound(proposals, num_actions=self._num_actions):
            return proposals
        faulty = faulty_rows(proposals, view, num_actions=self._num_actions)
        num_faulty = int(np.count_nonzero(faulty))
        if num_faulty:
            slot = int(view.slots[faulty.argmax()])
            problem = (
                f"actions must be in [0, {self._num_actions}), values and the log-probabilities of legal actions"
                f" finite; not so for {num_faulty} of {len(faulty)} agents"
            )
            if self._config.on_policy_error == "raise":
                raise PolicyError(problem, tick=tick, slot=slot)
            log.warning("tick %d, slot %d: %s; the script decides for them", tick, slot, problem)
            self._counter.add_policy_errors(num_faulty)
        return without_rows(proposals, faulty)

    def _blend(self, view: View, script: NDArray[np.int64], proposals: Proposals | None, tick: int) -> Choices:
        if proposals is None:
            return script_alone(script)
        # Without a coin to toss any number in [0, 1) gives the same; draws have no state that would have to advance.
        if 0.0 < self._ratio < 1.0:
            draws = uniforms(self._config.seed, Purpose.BLEND, view.keys, tick)
        else:
            draws = np.zeros(len(script))
        return blend_proposals(script, proposals, draws, ratio=self._ratio, min_ratio=self._config.min_ratio)

    def _held(self, view: View, tick: int) -> Held:
        """What binds the agents of a view, which is checked first."""
        before = self._held_before
        if before is not None and before[0] is view and before[1] == tick:
            return before[2]
        check_view(view, capacity=self._capacity, num_actions=self._num_actions)
        held = self._commitments.held(view.slots, option_done=view.option_done, action_mask=view.action_mask, tick=tick)
        self._held_before = (view, tick, held)
        return held

    def _end_commitments(self, slots: NDArray[np.int64]) -> None:
        self._held_before = None
        self._commitments.end(slots)

    def _settle(self, view: View, decisions: DecisionBatch, tick: int) -> None:
        """Take note of what was decided; the script hears of it last."""
        self._held_before = None
        bound = decisions.held_action >= 0
        fresh = ~(bound | decisions.possessed)
        self._commitments.begin(view.slots, decisions.chosen_action, decisions.source, fresh=fresh, tick=tick)
        if np.count_nonzero(decisions.vetoed):
            self._commitments.end(view.slots[decisions.vetoed])
        self.possession.use_up(view.slots, tick)
        self._counter.add(decisions)
        self._controller.settled(view, decisions)
