"""Work: who is on shift, at the workplace, working, late."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from townlet_runtime.town.place import Place
from townlet_runtime.town.state import EVENTS, FREE, Bools, TownState

_LATE = EVENTS.index("late_ticks")
_WORKED = EVENTS.index("worked_ticks")


@dataclass(frozen=True, kw_only=True, eq=False)
class Attendance:
    """Of one tick, [S] each; false for absent agents."""

    working: Bools
    late: Bools
    begins: Bools
    """The shift begins at this tick."""


def attend(state: TownState, place: Place) -> Attendance:
    """Pay whoever works this tick and count the late ticks.

    An agent works when its shift is on and it stands at its workplace without having to do with an object; it is
    late when the shift is on and it stands elsewhere.
    """
    day_tick = state.tick % len(place.shift_on)
    on_shift = place.shift_on[day_tick][state.job] & state.alive
    at_work = (state.x == place.job_x[state.job]) & (state.y == place.job_y[state.job])
    working = on_shift & at_work & (state.phase == FREE)
    late = on_shift & ~at_work
    begins = (place.shift_start[state.job] == day_tick) & on_shift
    if np.count_nonzero(on_shift):
        worlds = (place.num_worlds, -1)
        state.events[:, _LATE] = np.add.reduce(late.reshape(worlds), axis=1)
        state.events[:, _WORKED] = np.add.reduce(working.reshape(worlds), axis=1)
        state.late += late
        state.late[begins] = late[begins]
        state.wallet += working * place.wage[state.job]
    return Attendance(working=working, late=late, begins=begins)
