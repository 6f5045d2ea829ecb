"""What a town shows of itself before a decision, to policies and to scripted behaviors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.simulation import Observed
from townlet_runtime.town.actions import TABLE
from townlet_runtime.town.choices import Choices
from townlet_runtime.town.config import OBJECT_TYPES
from townlet_runtime.town.place import Floats, Ints, Place
from townlet_runtime.town.state import HOLDS_TURN, USING, Bools, TownState

_EAT, _COOK, _WASH, _SLEEP = (TABLE.index(f"request:{kind}:first") for kind in OBJECT_TYPES)
_T = TypeVar("_T", bound=np.generic)


@dataclass(frozen=True, kw_only=True, eq=False)
class TownObserved(Observed):
    """An `Observed` that scripted behaviors can read (`townlet_behavior.ScriptedView`). It shows the state as it is,
    so it holds only until the next step."""

    action_mask: Bools
    state: TownState
    place: Place
    choices: Choices
    rows: Ints | None
    """[N] slots of the rows; None where every slot is taken."""

    def pick(self, column: NDArray[_T]) -> NDArray[_T]:
        """Return the rows of a column by slot."""
        return column if self.rows is None else column[self.rows]

    @property
    def using(self) -> Bools:
        """[N]; in the middle of a use."""
        return self.pick(self.state.phase == USING)

    @property
    def holds_turn(self) -> Bools:
        """[N]; its turn at an object, not begun yet."""
        return self.pick(self.state.phase == HOLDS_TURN)

    @property
    def needs(self) -> Floats:
        """[N, 3]; hunger, hygiene, energy in [0, 1]; 1 is satisfied."""
        return self.pick(self.state.needs)

    @property
    def tick_of_day(self) -> Ints:
        """[N]."""
        return np.full(len(self.slots), self.state.tick % len(self.place.shift_on))

    @property
    def shift_start(self) -> Ints:
        """[N]; tick of the day, -1 without a job."""
        return self.place.shift_start[self.pick(self.state.job)]

    @property
    def at_workplace(self) -> Bools:
        """[N]."""
        state, place = self.state, self.place
        return self.pick((state.x == place.job_x[state.job]) & (state.y == place.job_y[state.job]))

    @property
    def can_eat(self) -> Bools:
        """[N]; some fridge holds a meal that the agent can pay, and it is free to ask for it."""
        return self.action_mask[:, _EAT]

    @property
    def can_cook(self) -> Bools:
        """[N]; some stove has ingredients that the agent can pay, and it is free to ask for it."""
        return self.action_mask[:, _COOK]

    @property
    def can_wash(self) -> Bools:
        """[N]; there is a shower that the agent can pay, and it is free to ask for it."""
        return self.action_mask[:, _WASH]

    @property
    def can_sleep(self) -> Bools:
        """[N]; there is a bed, and the agent is free to ask for it."""
        return self.action_mask[:, _SLEEP]
