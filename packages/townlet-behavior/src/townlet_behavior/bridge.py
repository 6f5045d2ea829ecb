"""`BehaviorBridge` settles one executed decision per agent from scripted and learned proposals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .actions import ActionSpec
from .batch_controllers import BatchController
from .blend import Choices, Ratio
from .commitment import Commitments, Held
from .config import BridgeConfig, Limits, clamped_ratio
from .decisions import DecisionBatch, constants_of
from .difficulty import Difficulty
from .draws import Purpose, uniforms
from .errors import ConfigError, ShapeError, StateError
from .forms import Actions, form_of
from .guardrails import Guardrail, GuardrailChain
from .possession.possession import Possession
from .proposals import Proposals, usable_rows
from .proposers import AskedScript
from .saving import Saved, SavedState, check_array, check_names, join_groups, split_groups
from .steps import blend_proposals, keep_commitments, log_probs, obey_possessors, script_alone, take_only_actions
from .tally import Tally, TallyCounter
from .views import ArgumentsView, View, check_slots, check_view
from .vocabulary import ActionVocabulary


class BehaviorBridge:
    """Decides for all agents of a view at once, and records the source and the probability of each choice.

    Examples:
        >>> import numpy as np
        >>> from townlet_behavior import ActionVocabulary, BridgeConfig, IdleController, Proposals
        >>> from townlet_behavior.testing import plain_view
        >>> vocabulary = ActionVocabulary(keys=("wait", "walk"), kinds=("wait", "move"))
        >>> script, config = IdleController(wait=0), BridgeConfig(ratio=1.0)
        >>> bridge = BehaviorBridge(vocabulary, script, capacity=2, config=config, seed=1)
        >>> log_probs = np.log(np.array([[0.25, 0.75]] * 2, np.float32))
        >>> policy = Proposals(actions=np.array([1, 0]), log_probs=log_probs, values=np.zeros(2, np.float32))
        >>> decisions = bridge.decide(plain_view(["ann", "bob"]), tick=0, proposals=policy)
        >>> decisions.action.tolist(), np.exp(decisions.behavior_log_prob).round(2).tolist()
        ([1, 0], [0.75, 0.25])

    Args:
        actions: of the agents.
        controller: the script.
        capacity: every slot is below it.
        config: see `BridgeConfig`.
        seed: of the blend's draws, in [0, 2^64). The policy's draws may share it: their purpose differs.
        guardrails: judged in this order, after the view's action mask.

    Raises:
        ConfigError: if a setting is out of its range, or the actions do not allow it: array actions have no options and
            no reaction delays, numbers no temperature, and no mixture at a ratio between 0 and 1.
        ShapeError: if `capacity` is below 1.
    """

    def __init__(
        self,
        actions: ActionSpec,
        controller: BatchController,
        *,
        capacity: int,
        config: BridgeConfig,
        seed: int,
        guardrails: Sequence[Guardrail] = (),
    ) -> None:
        if capacity < 1:
            raise ShapeError(f"`capacity` must be at least 1, got {capacity}")
        self._limits = Limits(actions=actions, blend=config.blend)
        self._limits.check_config(config)
        self._digest, self._form = actions.digest, form_of(actions)
        self._controller = controller
        self._capacity = capacity
        self._config, self._switch = config, config.blend == "switch"
        self.seed = seed
        self._guardrails = GuardrailChain(guardrails, actions)
        vocabulary = actions if isinstance(actions, ActionVocabulary) else ActionVocabulary.none()
        self._commitments = Commitments(capacity=capacity, vocabulary=vocabulary, config=config.commitment)
        self.script = AskedScript(controller, self._form)
        """May be asked before `decide`, which goes on with the same answer (`AskedScript.ahead`)."""
        self._counter = TallyCounter(self._guardrails.reasons, self.script.proposers)
        self._ratios: tuple[int, Ratio, NDArray[np.float32]] = (0, 0.0, np.empty(0, np.float32))
        """The last column of ratios that are all the same, for how many agents of which ratio."""
        self._tick = 0  # the last one decided; 0 before the first, and after a restore
        self._held_before: tuple[View, int, Held] | None = None
        """The last answer of `held`, for the `decide` that usually follows; gone when a commitment changes."""
        self.possession = Possession(
            capacity=capacity,
            actions=actions,
            on_acquire=lambda slot: self._end_commitments(np.array([slot])),
            handover_ticks=config.handover_ticks,
        )
        self.difficulty = Difficulty(
            capacity=capacity,
            wait=self._form.wait,
            limits=self._limits,
            temperature=config.temperature,
            delay_ticks=config.delay_ticks,
            lock=self.possession.lock,
        )
        self._parts: dict[str, Saved] = {
            "commitments": self._commitments,
            "possession": self.possession,
            "difficulty": self.difficulty,
            "counts": self._counter,
        }
        self.ratio = config.ratio

    @property
    def ratio(self) -> float:
        """β: share of decisions given to the learned policy; assigned values are clamped to [0, 1].

        Raises:
            ConfigError: if it is NaN, or the actions do not allow it.
        """
        return self._ratio

    @ratio.setter
    def ratio(self, value: float) -> None:
        ratio = clamped_ratio(value)
        self._limits.check(ratio=ratio)
        self._ratio = ratio

    @property
    def seed(self) -> int:
        """Seed of the blend's draws; a new one holds from the next decision on.

        Raises:
            ConfigError: if it is outside [0, 2^64).
        """
        return self._seed

    @seed.setter
    def seed(self, value: int) -> None:
        if not 0 <= value < 2**64:
            raise ConfigError(f"`seed` must be in [0, 2^64), got {value!r}")
        self._seed = value

    @property
    def veto_reasons(self) -> tuple[str, ...]:
        """Names of all reasons, the action mask's first; `veto_reason` of a decision is 1 + index into this."""
        return self._guardrails.reasons

    @property
    def proposers(self) -> tuple[str, ...]:
        """Names of who proposes beside the policy; `proposer` of a decision is an index into this."""
        return self.script.proposers

    def decide(self, view: View, *, tick: int, proposals: Proposals | None = None) -> DecisionBatch:
        """Settle one decision per agent.

        Args:
            view: the agents present, N rows.
            tick: global; never goes back, because the draws depend on it.
            proposals: of the policy, row by row of the view; None: there is no policy.

        Returns:
            N rows, in the order of the view.

        Raises:
            ShapeError: if the view, the script's or the policy's proposals do not fit together.
            UnknownActionError: if the script proposes an action that does not exist.
            PolicyError: if the policy's output is not finite, or its log-probabilities are not normalised (unless the
                config lets the script stand in).
            GuardrailError: if a guardrail's verdict cannot be carried out.
            ConfigError: if the tick is before that of the last decision.
        """
        form = self._form
        with self.possession.lock:
            held = self._held(view, tick)
            possessed, wishes = self.possession.wishes(view.slots, tick)
            script, expert, proposer, proposal_age = self.script.ask(view)
            proposals = self._usable(proposals, view, tick)
            handed_over = self.possession.handed_over(view.slots, tick)
            ratio = self.difficulty.ratios(view.slots, self._ratio, handed_over)
            drawn = self._blend(view, script, proposals, ratio, tick)
            choices, delay = self._choose(view, drawn, held, possessed, wishes, tick)
            # The guardrails have the last word.
            reviewed = self._guardrails.review(view, form.executed(choices.action))

            constants = constants_of(len(expert))
            values, temperatures = (None, None) if proposals is None else (proposals.values, proposals.temperatures)
            policy_log_prob, behavior_log_prob = log_probs(choices, script, proposals, ratio, form, switch=self._switch)
            fed = possessed & ~form.silent(wishes) if np.count_nonzero(possessed) else possessed
            decisions = DecisionBatch(
                action=reviewed.action,
                chosen_action=choices.action,
                kind=choices.kind,
                source=choices.source,
                vetoed=reviewed.vetoed,
                veto_reason=reviewed.reason,
                possessed=possessed,
                demonstrated=fed & ~reviewed.vetoed if np.count_nonzero(reviewed.vetoed) else fed,
                expert_action=expert,
                behavior_log_prob=behavior_log_prob,
                policy_log_prob=policy_log_prob,
                value=constants.zeros if values is None else values.copy(),
                ratio=self._ratio_column(len(expert), ratio),
                held_action=held.action,
                ticks_left=held.ticks_left,
                drawn_action=drawn.action,
                proposer=proposer,
                proposal_age=proposal_age,
                observation_age=delay,
                temperature=constants.ones if temperatures is None else temperatures.copy(),
            )
            self._settle(view, decisions, tick)
            return decisions

    def held(self, view: View, *, tick: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return the options in force at `tick`, for the observation that the decision is made from.

        Ends commitments that are over, done or forbidden by the mask. Asking twice changes nothing, and `decide` at the
        same tick and view records the same unless an agent is taken over in between.

        Returns:
            held action [N], -1 for none, and ticks left [N], 0 for none.

        Raises:
            ShapeError: if the view's arrays do not fit together.
        """
        with self.possession.lock:
            held = self._held(view, tick)
        return held.action, held.ticks_left

    def held_at_end(
        self, slots: NDArray[np.int64], option_done: NDArray[np.bool_], *, tick: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return the options in force of agents that have just ended, for their final observation.

        To be called before they are forgotten.

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
        with self.possession.lock:
            held = self._commitments.held(slots, option_done=option_done, action_mask=None, tick=tick)
        return held.action, held.ticks_left

    def forget(self, slots: NDArray[np.int64]) -> None:
        """Drop commitments, possession, difficulty and plans of the agents in `slots` [E], which have left.

        Raises:
            ShapeError: if the slots are not strictly ascending in [0, capacity).
        """
        check_slots(slots, capacity=self._capacity)
        with self.possession.lock:
            self._end_commitments(slots)
            self.possession.forget(slots)
            self.difficulty.forget(slots)
            self._controller.forget(slots)

    def reset(self) -> None:
        """Forget every agent, and count from zero. The ratio stays."""
        self.forget(np.arange(self._capacity))
        self._counter.clear()

    def counts(self) -> Tally:
        """Return the counts of decisions by source since the last `take_counts` or `reset`."""
        with self.possession.lock:
            return self._counter.tally()

    def take_counts(self) -> Tally:
        """Return the same as `counts`, and start counting from zero."""
        with self.possession.lock:
            tally = self._counter.tally()
            self._counter.clear()
        return tally

    def save_state(self) -> SavedState:
        """Return the state of later decisions: seed, ratio, commitments, possession, difficulty, counts, plans."""
        own = {"vocabulary": np.array(self._digest), "seed": np.array(self._seed, np.uint64)}
        with self.possession.lock:
            parts = {name: part.save_state() for name, part in self._parts.items()}
            own["ratio"] = np.array(self._ratio)
            return join_groups({"bridge": own, **parts, "controller": self._controller.save_state()})

    def restore(self, state: SavedState) -> None:
        """Go on as the bridge that was saved: from here on both decide alike, bit for bit.

        The config is not part of the state: give this bridge the same one.

        Raises:
            StateError: if it is of another vocabulary, seed, capacity, controller or guardrails; nothing has changed.
        """
        parts = split_groups(state, ("bridge", *self._parts, "controller"))
        own = parts["bridge"]
        check_names(own, ("vocabulary", "seed", "ratio"), of="the bridge")
        if not np.array_equal(own["vocabulary"], self._digest):
            raise StateError(f"saved `vocabulary` must be {self._digest}, got {own['vocabulary']}")
        if own["seed"].dtype != np.uint64 or not np.array_equal(own["seed"], np.uint64(self._seed)):
            raise StateError(f"saved `seed` must be {self._seed}, got {own['seed']}")
        check_array(own, "ratio", like=np.array(self._ratio), low=0.0, high=1.0)
        self._limits.check_saved(ratio=own["ratio"])
        with self.possession.lock:
            for name, part in self._parts.items():
                part.check_state(parts[name])
            self._controller.restore(parts["controller"])
            for name, part in self._parts.items():
                part.restore(parts[name])
            self.ratio = float(own["ratio"])
            self._tick, self._held_before = 0, None

    def _ratio_column(self, size: int, ratio: Ratio) -> NDArray[np.float32]:
        if not isinstance(ratio, float):
            return ratio.astype(np.float32)
        if (size, ratio) != self._ratios[:2]:
            column = np.full(size, ratio, np.float32)
            column.flags.writeable = False
            self._ratios = size, ratio, column
        return self._ratios[2]

    def _usable(self, proposals: Proposals | None, view: View, tick: int) -> Proposals | None:
        if proposals is None:
            return None
        on_error, form = self._config.on_policy_error, self._form
        usable, num_faulty = usable_rows(proposals, view, form, tick=tick, on_error=on_error)
        if num_faulty:
            self._counter.add_policy_errors(num_faulty)
        return usable

    def _blend(self, view: View, script: Actions, proposals: Proposals | None, ratio: Ratio, tick: int) -> Choices:
        if proposals is None:
            return script_alone(script)
        # Without a coin to toss any number in [0, 1) gives the same; draws have no state that would have to advance.
        if isinstance(ratio, float) and not 0.0 < ratio < 1.0:
            draws = np.zeros(len(script))
        else:
            draws = uniforms(self._seed, Purpose.BLEND, view.keys, tick)
        min_ratio = self._config.min_ratio
        return blend_proposals(script, proposals, draws, ratio=ratio, min_ratio=min_ratio, switch=self._switch)

    def _choose(
        self,
        view: View,
        drawn: Choices,
        held: Held,
        possessed: NDArray[np.bool_],
        wishes: Actions,
        tick: int,
    ) -> tuple[Choices, NDArray[np.int32]]:
        """Return the choices that the guardrails judge, and the reaction delays [N], from what the blend drew."""
        choices, delay = self.difficulty.late(view.slots, tick, drawn)
        if self._commitments.any_binds:
            choices = keep_commitments(choices, held)
        choices = take_only_actions(choices, view.action_mask, self._form)
        choices = obey_possessors(choices, possessed, wishes, self._form)
        if isinstance(view, ArgumentsView):
            view.choices_made(drawn, choices)
        return choices, delay

    def _held(self, view: View, tick: int) -> Held:
        """Return the commitments in force of the agents of a view, which is checked first."""
        before = self._held_before
        if before is not None and before[0] is view and before[1] == tick:
            return before[2]
        if tick < self._tick:
            raise ConfigError(f"ticks must not go back, because draws depend on them, got {tick} after {self._tick}")
        self._tick = tick
        check_view(view, capacity=self._capacity, mask_columns=self._form.mask_columns)
        self.possession.present(view.slots, tick=tick)
        held = self._commitments.held(view.slots, option_done=view.option_done, action_mask=view.action_mask, tick=tick)
        self._held_before = (view, tick, held)
        return held

    def _end_commitments(self, slots: NDArray[np.int64]) -> None:
        self._held_before = None
        self._commitments.end(slots)

    def _settle(self, view: View, decisions: DecisionBatch, tick: int) -> None:
        """Begin and end commitments, count, and tell the world (by guardrails) and the script, in this order."""
        self._held_before = None
        if self._commitments.any_binds:
            fresh = ~((decisions.held_action >= 0) | decisions.possessed)
            self._commitments.begin(view.slots, decisions.chosen_action, decisions.source, fresh=fresh, tick=tick)
        if np.count_nonzero(decisions.vetoed):
            self._commitments.end(view.slots[decisions.vetoed])
            self._guardrails.settled(view, decisions)
        self.possession.use_up(view.slots, tick, vetoed=decisions.vetoed)
        self._counter.add(decisions)
        self._controller.settled(view, decisions)
