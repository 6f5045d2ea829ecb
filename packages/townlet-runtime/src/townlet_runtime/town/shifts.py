"""Work: who is on shift, at the workplace, working, late; who helps whom, who takes over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from townlet_runtime.town.arrays import Bools, Ints
from townlet_runtime.town.place import Place
from townlet_runtime.town.relations import LATE_HELP, TAKEOVER
from townlet_runtime.town.state import EVENTS, FREE, TownState

_LATE = EVENTS.index("late_ticks")
_WORKED = EVENTS.index("worked_ticks")
_HELP, _TAKEOVER = EVENTS.index("late_help_events"), EVENTS.index("shift_takeover_events")


@dataclass(frozen=True, kw_only=True, eq=False)
class Attendance:
    """Of one tick in which some shift is on, [S] each; false for absent agents."""

    working: Bools
    late: Bools
    begins: Bools | None
    """The shift begins at this tick; None: nobody's."""


def attend(state: TownState, place: Place, *, colleagues: bool) -> Attendance | None:
    """Pay whoever works this tick and count the late ticks.

    An agent works when its shift is on and it stands at its workplace without having to do with an object; it is
    late when the shift is on and it stands elsewhere. None: no shift is on.

    Args:
        colleagues: whether they help who comes late, and take over from who does not come.
    """
    shifts = place.timetable
    day_tick = state.tick % len(shifts.on)
    if not shifts.some_on[day_tick]:
        state.someone_late = False
        return None
    on_shift = shifts.on[day_tick].take(state.job)
    on_shift &= state.alive
    here = on_shift & (state.cell == state.workplace)
    late = on_shift ^ here
    working = here & (state.phase == FREE)
    if state.someone_late and colleagues:
        comes_late = here & state.was_late
        if np.count_nonzero(comes_late):
            _help(state, place, day_tick, comes_late, working)
    state.was_late, state.someone_late = late, bool(np.count_nonzero(late))
    if np.count_nonzero(working):
        state.events[:, _WORKED] = np.bincount(place.world_of_slot[working], minlength=place.num_worlds)
        state.wallet += working * shifts.wage.take(state.job)
    begins = None
    if shifts.some_begins[day_tick]:
        begins = (shifts.start.take(state.job) == day_tick) & on_shift
        state.late[begins] = 0
    if state.someone_late:
        state.events[:, _LATE] = np.bincount(place.world_of_slot[late], minlength=place.num_worlds)
        state.late += late
        if colleagues and shifts.takeover_due[day_tick]:
            _take_over(state, place, day_tick, late, working)
    return Attendance(working=working, late=late, begins=begins)


def _help(state: TownState, place: Place, day_tick: int, comes_late: Bools, working: Bools) -> None:
    """Whoever of `comes_late` [S] has missed all of its shift so far is helped by a colleague who works."""
    missed = state.late == place.timetable.elapsed[day_tick].take(state.job)
    arrives = comes_late & missed & (state.late > 0)
    if np.count_nonzero(arrives):
        _bond(state, place, arrives.nonzero()[0], (working & ~arrives).nonzero()[0], LATE_HELP, _HELP)


def _take_over(state: TownState, place: Place, day_tick: int, late: Bools, working: Bools) -> None:
    """A colleague at work takes over from whoever has missed all of a shift for so long that it is time to."""
    shifts = place.timetable
    due = shifts.elapsed[day_tick].take(state.job) == shifts.takeover_elapsed
    missing = late & due & (state.late == shifts.takeover_elapsed + 1)
    if np.count_nonzero(missing):
        _bond(state, place, missing.nonzero()[0], working.nonzero()[0], TAKEOVER, _TAKEOVER)


def _bond(
    state: TownState, place: Place, agents: Ints, at_work: Ints, change: tuple[float, float, float], event: int
) -> None:
    """Change what each of `agents` [M] and a colleague keep in mind of each other.

    The colleague is the one of the lowest slot among those `at_work` in the same world and job; without one nothing
    happens.
    """
    count = len(place.timetable.wage)
    shift = place.world_of_slot * count + state.job
    first = np.full(place.num_worlds * count, -1)
    first[shift[at_work[::-1]]] = at_work[::-1]
    colleagues = first[shift[agents]]
    found = colleagues >= 0
    agents, colleagues = agents[found], colleagues[found]
    if not agents.size:
        return
    np.add.at(state.events[:, event], place.world_of_slot[agents], 1.0)
    state.relations.bond(agents, colleagues, change, tick=state.tick)
