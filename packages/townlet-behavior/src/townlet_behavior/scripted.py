"""The scripted way of life: finish what you use, go to work, see to your needs, else wait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .controllers import StatelessController
from .errors import ConfigError
from .needs import ENERGY, HUNGER, HYGIENE, pressing_needs
from .views import View
from .work import time_to_leave


class ScriptedView(View, Protocol):
    """What the script reads of the world; one row per agent."""

    @property
    def using(self) -> NDArray[np.bool_]:
        """[N]; in the middle of using an object."""

    @property
    def holds_turn(self) -> NDArray[np.bool_]:
        """[N]; first in line at an object, and may start."""

    @property
    def needs(self) -> NDArray[np.float32]:
        """[N, 3]; hunger, hygiene, energy, each 0 (desperate) to 1 (satisfied)."""

    @property
    def tick_of_day(self) -> NDArray[np.int64]:
        """[N]."""

    @property
    def shift_start(self) -> NDArray[np.int64]:
        """[N]; tick of the day at which the shift begins, -1 without a job."""

    @property
    def at_workplace(self) -> NDArray[np.bool_]:
        """[N]."""

    @property
    def can_eat(self) -> NDArray[np.bool_]:
        """[N]; the world has a usable fridge with meals. So too for the next three: stove, shower, bed."""

    @property
    def can_cook(self) -> NDArray[np.bool_]:
        """[N]."""

    @property
    def can_wash(self) -> NDArray[np.bool_]:
        """[N]."""

    @property
    def can_sleep(self) -> NDArray[np.bool_]:
        """[N]."""


@dataclass(frozen=True, kw_only=True)
class ScriptedActions:
    """Vocabulary indices of what the script can propose.

    With the indices of "nearest object" actions the same script is the nearest-object yardstick.
    """

    wait: int
    start: int
    go_to_work: int
    eat: int
    cook: int
    wash: int
    sleep: int


@dataclass(frozen=True, kw_only=True)
class ScriptedConfig:
    """When the script acts.

    Raises:
        ConfigError: if a threshold is outside [0, 1] or the buffer is negative.
    """

    hunger_threshold: float = 0.4
    hygiene_threshold: float = 0.4
    energy_threshold: float = 0.4
    job_arrival_buffer: int = 20
    """Ticks before a shift at which to set off."""

    def __post_init__(self) -> None:
        for name in ("hunger_threshold", "hygiene_threshold", "energy_threshold"):
            value: float = vars(self)[name]
            if not 0.0 <= value <= 1.0:
                raise ConfigError(f"`{name}` must be in [0, 1], got {value!r}")
        if self.job_arrival_buffer < 0:
            raise ConfigError(f"`job_arrival_buffer` must be at least 0, got {self.job_arrival_buffer!r}")


class ScriptedController(StatelessController):
    """Proposes by fixed rules, the first that applies.

    1. Using an object: wait until it is finished.
    2. Holding the turn at an object: start using it.
    3. The shift begins soon and the agent is elsewhere: go to work.
    4. The first need below its threshold for which there is something usable: eat (else cook), wash, sleep.
    5. Wait.

    It keeps no plans: who uses what and who is in line is the world's knowledge. An agent that merely stands in line
    goes through the rules again, so work or a more urgent need wins.
    """

    def __init__(self, actions: ScriptedActions, config: ScriptedConfig) -> None:
        self._actions = actions
        self._thresholds = np.array(
            (config.hunger_threshold, config.hygiene_threshold, config.energy_threshold), np.float32
        )
        self._arrival_buffer = config.job_arrival_buffer

    def propose(self, view: ScriptedView) -> NDArray[np.int64]:
        """[N]."""
        actions = self._actions
        pressing = pressing_needs(view.needs, self._thresholds)
        leave = time_to_leave(
            view.tick_of_day, view.shift_start, view.at_workplace, arrival_buffer=self._arrival_buffer
        )
        proposal = np.full(len(pressing), actions.wait, np.int64)
        # From the last rule to the first, so that an earlier rule overwrites a later one.
        np.copyto(proposal, actions.sleep, where=pressing[:, ENERGY] & view.can_sleep)
        np.copyto(proposal, actions.wash, where=pressing[:, HYGIENE] & view.can_wash)
        np.copyto(proposal, actions.cook, where=pressing[:, HUNGER] & view.can_cook)
        np.copyto(proposal, actions.eat, where=pressing[:, HUNGER] & view.can_eat)
        np.copyto(proposal, actions.go_to_work, where=leave)
        np.copyto(proposal, actions.start, where=view.holds_turn)
        np.copyto(proposal, actions.wait, where=view.using)
        return proposal
