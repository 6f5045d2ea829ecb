"""Difficulty on purpose: an agent's own share of the policy, temperature and reaction delay."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .blend import Choices
from .config import (
    HIGHEST_TEMPERATURE,
    LOWEST_TEMPERATURE,
    MAX_DELAY_TICKS,
    Limits,
    check_delay_ticks,
    check_temperature,
    clamped_ratio,
)
from .decisions import constants_of
from .errors import ShapeError, StateError
from .forms import Actions
from .possession.locks import CallbackLock
from .saving import SavedState, check_array, check_names
from .views import check_slots

_SETTINGS = ("ratio", "temperature", "delay_ticks")
_SEEN = ("seen_tick", "seen_action", "seen_source")
_NOTHING = -1


class Difficulty:
    """What makes single agents easier or harder to play with than the policy is: settings by slot, and late choices.

    An agent with a reaction delay of d ticks carries out at tick t what the blend drew for it at tick t - d. It waits
    where it was not there then, and where no delay was as long as d yet, so that nothing is remembered of that tick.
    Agents that leave take their settings with them.

    Examples:
        >>> import numpy as np
        >>> difficulty = Difficulty(capacity=3, wait=0)
        >>> difficulty.set(np.array([1]), ratio=0.25, temperature=2.0)
        >>> slots = np.arange(3)
        >>> difficulty.ratios(slots, 0.5).tolist(), difficulty.temperatures(slots).tolist()
        ([0.5, 0.25, 0.5], [1.0, 2.0, 1.0])

    Args:
        capacity: slots are below it.
        wait: the action that does nothing.
        limits: of the agents' actions; None: they have an index.
        temperature: of agents without one of their own.
        delay_ticks: of agents without one of their own.
        lock: held by `set`; None: one of its own.

    Raises:
        ConfigError: if a setting is out of its range.
    """

    def __init__(
        self,
        *,
        capacity: int,
        wait: int | Actions,
        limits: Limits | None = None,
        temperature: float = 1.0,
        delay_ticks: int = 0,
        lock: CallbackLock | None = None,
    ) -> None:
        self._wait, self._limits = wait, limits
        self._lock = CallbackLock() if lock is None else lock
        self._defaults = math.nan, check_temperature(temperature), check_delay_ticks(delay_ticks)
        """Ratio, temperature and delay of agents without their own."""
        self._ratio: NDArray[np.float64] = np.full(capacity, math.nan)
        self._temperature: NDArray[np.float32] = np.full(capacity, temperature, np.float32)
        self._delay: NDArray[np.int64] = np.full(capacity, delay_ticks, np.int64)
        self._seen_tick: NDArray[np.int64] = np.empty(0, np.int64)
        """[D + 1]; the ticks whose choices are remembered, each at its number modulo D + 1; D is the longest delay."""
        self._seen_action: NDArray[np.int64] = np.empty((0, capacity), np.int64)
        """[D + 1, capacity]; what the blend drew then, -1 for agents that were not there."""
        self._seen_source: NDArray[np.int8] = np.empty((0, capacity), np.int8)
        self._note_use()

    def set(
        self,
        slots: NDArray[np.int64],
        *,
        ratio: float | None = None,
        temperature: float | None = None,
        delay_ticks: int | None = None,
    ) -> None:
        """Set the difficulty of agents from their next decision on, from any thread.

        Args:
            slots: [K]; of the agents, ascending.
            ratio: their own β, clamped to [0, 1]; NaN: the bridge's again. None: as it is.
            temperature: τ > 0 of their draws: above 1 the policy is more random, below 1 less. None: as it is.
            delay_ticks: reaction delay d in [0, 64]. None: as it is.

        Raises:
            ShapeError: if a slot does not exist.
            ConfigError: if a setting is out of its range, or the agents' actions do not allow it.
        """
        check_slots(slots, capacity=len(self._ratio))
        checked = None if ratio is None else math.nan if math.isnan(ratio) else clamped_ratio(ratio)
        if temperature is not None:
            check_temperature(temperature)
        if delay_ticks is not None:
            check_delay_ticks(delay_ticks)
        if self._limits is not None:
            self._limits.check(ratio=checked, temperature=temperature, delay_ticks=delay_ticks)
        with self._lock:
            if checked is not None:
                self._ratio[slots] = checked
            if temperature is not None:
                self._temperature[slots] = temperature
            if delay_ticks is not None:
                self._delay[slots] = delay_ticks
            self._note_use()

    def of(self, slot: int) -> tuple[float | None, float, int]:
        """Return the ratio (None: the bridge's), the temperature and the delay of an agent.

        Raises:
            ShapeError: if the slot does not exist.
        """
        if not 0 <= slot < len(self._ratio):
            raise ShapeError(f"`slot` must be in [0, {len(self._ratio)}), got {slot}")
        ratio = float(self._ratio[slot])
        return None if math.isnan(ratio) else ratio, float(self._temperature[slot]), int(self._delay[slot])

    def ratios(
        self, slots: NDArray[np.int64], ratio: float, handed_over: NDArray[np.float32] | None = None
    ) -> float | NDArray[np.float64]:
        """Return β of agents.

        Args:
            slots: [N]; of the agents.
            ratio: of those that have none of their own.
            handed_over: [N], a factor of each; see `Possession.handed_over`. None: 1.

        Returns:
            `ratio` where it is that of all, else [N].
        """
        ratios: float | NDArray[np.float64] = ratio
        if self._has_ratios:
            own = self._ratio.take(slots)
            ratios = np.where(np.isnan(own), ratio, own)
        return ratios if handed_over is None else ratios * handed_over.astype(np.float64)

    def temperatures(self, slots: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """Return τ of the agents in `slots` [N]; None where every agent's is 1."""
        return self._temperature.take(slots) if self._has_temperatures else None

    def late(self, slots: NDArray[np.int64], tick: int, drawn: Choices) -> tuple[Choices, NDArray[np.int32]]:
        """Replace the choices of agents with a reaction delay by those that were drawn for them so many ticks ago.

        Args:
            slots: [N].
            tick: of the decision.
            drawn: what the blend drew at this tick, N rows; of no other tick is it called twice.

        Returns:
            The choices, N rows, in which the source of a late one is who made it then; and the delays [N].
        """
        if not self._has_delays:
            return drawn, constants_of(len(slots)).no_ticks
        here = tick % len(self._seen_tick)
        if self._seen_tick[here] != tick:
            self._seen_action[here] = _NOTHING
            self._seen_tick[here] = tick
        self._seen_action[here, slots], self._seen_source[here, slots] = drawn.action, drawn.source
        delay = self._delay.take(slots)
        then = (tick - delay) % len(self._seen_tick)
        known = self._seen_tick[then] == tick - delay
        action = np.where(known, self._seen_action[then, slots], _NOTHING)
        late = delay > 0
        source = np.where(late & (action != _NOTHING), self._seen_source[then, slots], drawn.source)
        choices = drawn.foreign_where(late, np.where(action == _NOTHING, self._wait, action), source)
        return choices, delay.astype(np.int32)

    def forget(self, slots: NDArray[np.int64]) -> None:
        """Agents that have left: who comes after them has the settings of all, and has seen nothing yet."""
        if self._has_ratios or self._has_temperatures or self._has_delays:
            self._ratio[slots], self._temperature[slots], self._delay[slots] = self._defaults
            self._seen_action[:, slots] = _NOTHING
            self._note_use()

    def save_state(self) -> SavedState:
        """Return the settings and the choices that are still to be carried out; no arrays where all is as it began."""
        if not (self._has_ratios or self._has_temperatures or self._has_delays):
            return {}
        return {name: array.copy() for name, array in self._arrays().items()}

    def check_state(self, state: SavedState) -> None:
        """Check that `restore` can use a state.

        Raises:
            StateError: if the state is of another capacity or other actions, or contradicts itself.
        """
        if not state:
            return
        check_names(state, (*_SETTINGS, *_SEEN), of="the difficulty")
        ratio = state["ratio"]
        if ratio.dtype != np.float64 or ratio.shape != self._ratio.shape or np.any((ratio < 0.0) | (ratio > 1.0)):
            raise StateError(f"saved `ratio` must be float64 {self._ratio.shape}, NaN or in [0, 1], got {ratio}")
        check_array(state, "temperature", like=self._temperature, low=LOWEST_TEMPERATURE, high=HIGHEST_TEMPERATURE)
        check_array(state, "delay_ticks", like=self._delay, low=0, high=MAX_DELAY_TICKS)
        if self._limits is not None:
            self._limits.check_saved(**{name: state[name] for name in _SETTINGS})
        rows, capacity = len(np.atleast_1d(state["seen_tick"])), len(self._ratio)
        if rows > MAX_DELAY_TICKS + 1 or (rows == 0 and state["delay_ticks"].any()):
            raise StateError(f"saved `seen_tick` must have 1 to {MAX_DELAY_TICKS + 1} ticks, got {rows}")
        check_array(state, "seen_tick", like=np.empty(rows, np.int64), low=_NOTHING, high=2**62)
        check_array(state, "seen_action", like=np.empty((rows, capacity), np.int64), low=_NOTHING, high=2**62)
        check_array(state, "seen_source", like=np.empty((rows, capacity), np.int8), low=0, high=2)

    def restore(self, state: SavedState) -> None:
        """Replace all settings by the saved ones.

        Raises:
            StateError: see `check_state`; then nothing has changed.
        """
        self.check_state(state)
        if state:
            self._ratio, self._temperature = state["ratio"].copy(), state["temperature"].copy()
            self._delay, self._seen_tick = state["delay_ticks"].copy(), state["seen_tick"].copy()
            self._seen_action, self._seen_source = state["seen_action"].copy(), state["seen_source"].copy()
        else:
            self._ratio[:], self._temperature[:], self._delay[:] = self._defaults
        self._note_use()

    def _arrays(self) -> dict[str, NDArray[np.generic]]:
        settings = (self._ratio, self._temperature, self._delay)
        seen = (self._seen_tick, self._seen_action, self._seen_source)
        return dict(zip((*_SETTINGS, *_SEEN), (*settings, *seen), strict=True))

    def _note_use(self) -> None:
        """Find out which settings matter, and keep as many ticks as the longest delay needs."""
        self._has_ratios = not np.isnan(self._ratio).all()
        self._has_temperatures = bool((self._temperature != 1.0).any())
        longest = int(self._delay.max(initial=0))
        self._has_delays = longest > 0
        size, capacity = longest + 1 if self._has_delays else 0, len(self._ratio)
        if size > len(self._seen_tick) or not size:
            ticks, actions, sources = self._seen_tick, self._seen_action, self._seen_source
            self._seen_tick = np.full(size, _NOTHING, np.int64)
            self._seen_action = np.full((size, capacity), _NOTHING, np.int64)
            self._seen_source = np.zeros((size, capacity), np.int8)
            if size:  # of ticks that fall on one place the newest, which comes last, is kept
                order = np.argsort(ticks)
                kept = order[ticks[order] != _NOTHING]
                places = ticks[kept] % size
                self._seen_tick[places] = ticks[kept]
                self._seen_action[places], self._seen_source[places] = actions[kept], sources[kept]
