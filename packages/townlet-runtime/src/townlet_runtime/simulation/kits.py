"""Checks of your own controllers, guardrails and policies in a simulation; a broken promise is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import (
    BatchController,
    BehaviorBridge,
    BehaviorError,
    Box,
    BridgeConfig,
    CommitmentConfig,
    DecisionBatch,
    Guardrail,
    NoProposals,
    SavedState,
    Verdicts,
)
from townlet_behavior.forms import form_of
from townlet_behavior.testing import check_controller as check_at_view
from townlet_behavior.testing import check_guardrail as check_verdicts_at_view
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.chance import random_proposals
from townlet_runtime.simulation.interface import AGENTS, ActionArray, Observed, Simulation, SimulationSpec
from townlet_runtime.simulation.one_group import OneGroup
from townlet_runtime.simulation.saved_state import check_saved_state
from townlet_trajectory.evaluation.interfaces import Actor, AnyActor, RecurrentActor, training_seeds

_LOWEST = np.finfo(np.float32).min
_SAVED_EVERY = 5
"""Ticks between two states of a controller that another is restored from."""
_TOLERANCE = 1e-4
"""Of log-probabilities that float32 computes in batches of different sizes."""


def check_controller(make: Callable[[], BatchController], simulation: Simulation, *, seed: int, ticks: int) -> None:
    """Drive a simulation with a controller, half of whose proposals are carried out, and look at everything it does.

    Args:
        make: builds the controller, a new one at every call.
        simulation: that it is for; it is reset.
        seed: of the worlds, and of the actions carried out in place of proposals.
        ticks: to drive it for; more than an episode shows more.

    Raises:
        SimulationError: names the tick and the promise that is broken: proposals that are not of the vocabulary, or
            differ where the past is the same, when they are asked for twice or after `restore`; plans that change in
            `propose`; a saved state that later ticks change; plans that outlive `forget`.
    """
    pair = _Pair(make, simulation.spec)
    require(pair.one is not pair.other, "`make` to build a new controller at every call", "the same")
    saved = []
    for tick, observed in _drive(simulation, pair, _guardrails_of(simulation), seed=seed, ticks=ticks):
        last = observed
        if tick % _SAVED_EVERY == 2:
            saved.append(pair.exchange())
    for state, kept in saved:
        changed = differing(state, kept)
        require(not changed, "a saved state that later ticks leave alone", f"other {changed}")
    pair.one.forget(np.arange(simulation.spec.capacity))
    fresh, forgotten = make().propose(last), pair.one.propose(last)
    require(_same(fresh, forgotten), f"proposals {fresh} once every agent is forgotten", forgotten)


def check_guardrail(make: Callable[[], Guardrail], simulation: Simulation, *, seed: int, ticks: int) -> None:
    """Drive a simulation with random actions under a guardrail, and look at all its verdicts.

    Args:
        make: builds the guardrail, a new one at every call.
        simulation: that it is for; it is reset.
        seed: of the worlds, and of the actions.
        ticks: to drive it for; more than an episode shows more.

    Raises:
        SimulationError: names the tick and the promise that is broken: see `townlet_behavior.testing.check_guardrail`;
            also verdicts that depend on more than the view and the actions, because guardrails are not saved.
    """
    judged = (*_guardrails_of(simulation), _Judged(make, simulation.spec))
    for _ in _drive(simulation, NoProposals(simulation.spec.action_spec), judged, seed=seed, ticks=ticks):
        pass


def check_rules(simulation: Simulation, *, seed: int, ticks: int) -> None:
    """Check the behaviors and guardrails of a simulation, each as one of your own.

    Args:
        simulation: that has them; it is reset.
        seed: of the worlds, and of the actions.
        ticks: to drive it for.

    Raises:
        SimulationError: names the behavior, the tick and the promise that is broken.
    """
    for name in OneGroup(simulation).behaviors:
        try:
            check_controller(partial(_script, simulation, name), simulation, seed=seed, ticks=ticks)
        except SimulationError as error:
            raise SimulationError(f"script `{name}`: {error}") from error
    judged = [
        _Judged(partial(_guardrail, simulation, index), simulation.spec)
        for index in range(len(_guardrails_of(simulation)))
    ]
    for _ in _drive(simulation, NoProposals(simulation.spec.action_spec), judged, seed=seed, ticks=ticks):
        pass


def _guardrails_of(simulation: Simulation) -> Sequence[Guardrail]:
    return OneGroup(simulation).guardrails()[AGENTS]


def _guardrail(simulation: Simulation, index: int) -> Guardrail:
    return _guardrails_of(simulation)[index]


def _script(simulation: Simulation, name: str) -> BatchController:
    return OneGroup(simulation).scripted(name)[AGENTS]


def check_policy(policy: AnyActor, simulation: Simulation, *, seed: int, ticks: int) -> None:
    """Let a policy see random ticks of a simulation, and look at its probabilities, values and memory.

    Args:
        policy: to check, with a memory or without.
        simulation: that it is for; it is reset.
        seed: of the worlds, and of the actions.
        ticks: to drive it for; more than an episode shows more.

    Raises:
        SimulationError: names the tick and the promise that is broken: log-probabilities float32 [N, A] that add up to
            1 (of several parts [N, sum A_k], in each part), with finfo.min where the mask forbids an action; or finite
            means and logarithms of deviations float32 [N, 2K]; finite values float32 [N]; a finite next memory float32
            [N, S]; the same when it is asked twice, and for an agent alone.
    """
    spec = simulation.spec
    player = _Player(policy, spec)
    for tick, observed in _drive(
        simulation, NoProposals(spec.action_spec), _guardrails_of(simulation), seed=seed, ticks=ticks
    ):
        try:
            if len(observed.slots):
                player.remember(observed, _checked_answer(player, observed, spec))
        except SimulationError as error:
            raise SimulationError(f"tick {tick}: {error}") from error


def require(kept: bool, promise: str, got: object) -> None:
    """Refuse a broken promise.

    Args:
        kept: whether the promise is kept.
        promise: what was expected, for the message.
        got: what came instead.

    Raises:
        SimulationError: unless `kept`.
    """
    if not kept:
        raise SimulationError(f"expected {promise}, got {got}")


def differing(one: SavedState, other: SavedState) -> list[str]:
    """List the names of the arrays in which two states differ."""
    return [name for name in {**one, **other} if not np.array_equal(one.get(name, ()), other.get(name, ()))]


def copied(state: SavedState) -> SavedState:
    """Copy every array of a state."""
    return {name: array.copy() for name, array in state.items()}


def _drive(
    simulation: Simulation,
    controller: BatchController,
    guardrails: Sequence[Guardrail],
    *,
    seed: int,
    ticks: int,
) -> Iterator[tuple[int, Observed]]:
    """Yield each tick and view, then blend the controller with random legal actions, half and half, and go on."""
    worlds, spec, generator = OneGroup(simulation), simulation.spec, np.random.default_rng(seed)
    config = BridgeConfig(
        ratio=0.5,
        commitment=CommitmentConfig(ticks=spec.option_ticks),
        blend="switch" if isinstance(spec.actions, Box) else "mixture",  # which would have an atom
    )
    try:
        bridge = BehaviorBridge(
            spec.action_spec, controller, capacity=spec.capacity, config=config, seed=seed, guardrails=guardrails
        )
    except BehaviorError as error:
        raise SimulationError(str(error)) from error
    observed = worlds.reset(seeds=training_seeds(seed, spec.num_worlds))[AGENTS]
    for tick in range(ticks):
        yield tick, observed
        try:
            proposals = random_proposals(spec, observed, generator)
            decisions = bridge.decide(observed, tick=tick, proposals=proposals)
            stepped = worlds.step({AGENTS: decisions.action})[AGENTS]
            if len(stepped.final_rows):
                bridge.forget(observed.slots[stepped.final_rows])
        except (BehaviorError, SimulationError) as error:
            raise SimulationError(f"tick {tick}: {error}") from error
        observed = stepped.observed
    yield ticks, observed


class _Pair:
    """Two controllers with the same past, compared at every tick. A `BatchController`."""

    def __init__(self, make: Callable[[], BatchController], spec: SimulationSpec) -> None:
        self._make, self._spec = make, spec
        self.one, self.other = make(), make()

    def exchange(self) -> tuple[SavedState, SavedState]:
        """Let a new controller, restored from the state of the first, take the place of the second.

        Returns:
            The state, and a copy of it.
        """
        state = self.one.save_state()
        check_saved_state(state)
        kept = copied(state)
        self.other = self._make()
        self.other.restore(kept)
        return state, copied(kept)

    def propose(self, view: Observed) -> ActionArray:
        seen = copied(view.observations)
        check_at_view(self.one, view, self._spec.action_spec)
        proposed, other = self.one.propose(view).copy(), self.other.propose(view)
        require(_same(proposed, other), f"the same proposals after the same past, {proposed}", other)
        changed = differing(seen, view.observations)
        require(not changed, "observations that `propose` leaves alone", f"other {changed}")
        return proposed

    def settled(self, view: Observed, decisions: DecisionBatch) -> None:
        for controller in (self.one, self.other):
            controller.settled(view, decisions)

    def forget(self, slots: NDArray[np.int64]) -> None:
        for controller in (self.one, self.other):
            controller.forget(slots)

    def save_state(self) -> SavedState:
        return self.one.save_state()

    def restore(self, state: SavedState) -> None:
        for controller in (self.one, self.other):
            controller.restore(state)


class _Judged:
    """A guardrail whose verdicts are compared with those of a new one. A `Guardrail`."""

    def __init__(self, make: Callable[[], Guardrail], spec: SimulationSpec) -> None:
        self._make, self._spec, self._guardrail = make, spec, make()
        self.reasons = self._guardrail.reasons

    def review(self, view: Any, actions: ActionArray) -> Verdicts:
        check_verdicts_at_view(self._guardrail, view, self._spec.action_spec)
        verdicts = self._guardrail.review(view, actions)
        fresh = vars(self._make().review(view, actions))
        same = all(np.array_equal(array, fresh[name]) for name, array in vars(verdicts).items())
        require(same, "verdicts that follow from view and actions, as guardrails are not saved", verdicts)
        return verdicts

    def settled(self, view: Any, decisions: DecisionBatch) -> None:
        self._guardrail.settled(view, decisions)


class _Answer(NamedTuple):
    """Of a policy, about N agents."""

    params: NDArray[np.float32]
    """[N, P]."""
    values: NDArray[np.float32] | None
    after: NDArray[np.float32]
    """[N, S]; what is remembered then, nothing where S is 0."""


class _Player:
    """A policy, and what it remembers of each agent, by slot."""

    def __init__(self, policy: AnyActor, spec: SimulationSpec) -> None:
        self._policy = policy
        self.size = policy.state_size if isinstance(policy, RecurrentActor) else 0
        self._state = np.zeros((spec.capacity, self.size), np.float32)
        self._ids: NDArray[np.object_] = np.full(spec.capacity, None, np.object_)
        self._episodes = np.full(spec.capacity, -1, np.int64)

    def ask(self, observed: Observed, rows: slice) -> _Answer:
        """Ask about some of the agents of a view; who is new is remembered by zeros."""
        slots, mask = observed.slots[rows], None if observed.action_mask is None else observed.action_mask[rows]
        seen = {name: array[rows] for name, array in observed.observations.items()}
        known = (self._ids[slots] == observed.agent_ids[rows]) & (self._episodes[slots] == observed.episodes[rows])
        state = np.where(known[:, None], self._state[slots], np.float32(0.0))
        if self.size and isinstance(self._policy, RecurrentActor):
            return _Answer(*self._policy.act(seen, mask, state))
        return _Answer(*cast("Actor", self._policy).act(seen, mask), state)

    def remember(self, observed: Observed, answer: _Answer) -> None:
        """Keep what is remembered of the agents of a view."""
        self._state[observed.slots] = answer.after
        self._ids[observed.slots], self._episodes[observed.slots] = observed.agent_ids, observed.episodes


def _checked_answer(player: _Player, observed: Observed, spec: SimulationSpec) -> _Answer:
    rows, mask, everybody = len(observed.slots), observed.action_mask, slice(None)
    answer = player.ask(observed, everybody)
    size, name = len(spec.vocabulary) if spec.actions is None else spec.actions.num_outputs, "log-probabilities"
    if isinstance(spec.actions, Box):
        name = "means and logarithms of deviations"
    arrays: list[tuple[str, NDArray[np.float32], tuple[int, ...]]] = [(name, answer.params, (rows, size))]
    arrays += [] if answer.values is None else [("values", answer.values, (rows,))]
    arrays += [("next memory", answer.after, (rows, player.size))]
    for name, array, shape in arrays:
        fits = isinstance(array, np.ndarray) and array.shape == shape and array.dtype == np.float32
        require(fits, f"{name} float32 {list(shape)}", f"{np.asarray(array).dtype} {list(np.shape(array))}")
        require(bool(np.isfinite(array).all()), f"finite {name}", array)
    if not isinstance(spec.actions, Box):
        totals = form_of(spec.action_spec).reduced(np.add, np.exp(answer.params, dtype=np.float64))
        require(bool((abs(totals - 1.0) <= _TOLERANCE).all()), "probabilities that add up to 1 in every row", totals)
    if mask is not None:
        lowest = bool((answer.params[~mask] == _LOWEST).all())
        require(lowest, "finfo.min where the mask forbids an action", answer.params)
    again, alone = player.ask(observed, everybody), player.ask(observed, slice(1))
    require(_agree(again, answer, tolerance=0.0), f"the same when asked twice, {answer.params}", again.params)
    values = None if answer.values is None else answer.values[:1]
    first = _Answer(answer.params[:1], values, answer.after[:1])
    require(_agree(alone, first, tolerance=_TOLERANCE), f"the same for an agent alone, {first.params}", alone.params)
    return answer


def _agree(one: _Answer, other: _Answer, *, tolerance: float) -> bool:
    """Whether two answers agree in all that they say."""
    pairs = zip(one, other, strict=True)
    return all(_equal(mine, theirs, tolerance=tolerance) for mine, theirs in pairs)


def _same(one: ActionArray, other: ActionArray) -> bool:
    """Whether proposals are the same; where actions are numbers, NaN is no proposal."""
    return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


def _equal(one: NDArray[np.float32] | None, other: NDArray[np.float32] | None, *, tolerance: float) -> bool:
    """Whether values agree: a policy knows them always, or never."""
    if one is None or other is None:
        return one is other
    return np.allclose(one, other, rtol=tolerance, atol=tolerance)
