"""Work, and the reward of a tick."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from townlet_runtime.town.arrays import Bools, Floats, Ints
from townlet_runtime.town.config import RewardConfig
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
    """Pay the agents that work in this tick, and count late ticks.

    An agent works when its shift is on and it stands at its workplace without having to do with an object; it is
    late when the shift is on and it stands elsewhere. None: no shift is on.

    Args:
        state: is changed.
        place: of the state.
        colleagues: whether they help late agents, and take over from absent ones.
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
    """Let a colleague who works help each agent of `comes_late` [S] that has missed all of its shift so far."""
    missed = state.late == place.timetable.elapsed[day_tick].take(state.job)
    arrives = comes_late & missed & (state.late > 0)
    if np.count_nonzero(arrives):
        _bond(state, place, arrives.nonzero()[0], (working & ~arrives).nonzero()[0], LATE_HELP, _HELP)


def _take_over(state: TownState, place: Place, day_tick: int, late: Bools, working: Bools) -> None:
    """Let a colleague at work take over from each agent that has missed its shift for `takeover_ticks`."""
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


def need_rates(config: RewardConfig) -> Floats:
    """[3]; p w_k / Σ w: what a need at 0 costs per tick."""
    rates: Floats = np.array(config.needs_weights, dtype=np.float64)
    rates *= config.needs_penalty / rates.sum()
    return rates


def tick_rewards(
    needs: Floats,
    attendance: Attendance | None,
    fainted: Bools | None,
    lateness_penalty: Floats,
    company: Floats | None,
    *,
    config: RewardConfig,
    need_rates: Floats,
    faint_penalty: float,
    clips: bool,
) -> Floats:
    """Reward of one tick, per agent.

        r = clip(s - p Σ_k w_k (1 - n_k) / Σ_k w_k + g · works + b · on_time - l · late - L · begins_late + m, ±c)
            - F · faints
        m = Σ_chats q max(0, c_b + c_t trust + c_f familiarity) + c_a · parts

    with s `survival_tick`, p `needs_penalty`, n the needs after the tick, w `needs_weights`, g `wage_rate`,
    b `punctuality_bonus` and L the job's `lateness_penalty` at the tick at which the shift begins,
    l `late_tick_penalty`, c `clip_per_tick`, F `faint_penalty`. The chats are those that the agent held with success,
    from stage C3 on also those it listened to; q is the chat's quality, trust and familiarity are towards the other
    before the chat, c_b `chat_base`, c_t `coeff_trust`, c_f `coeff_familiarity`. From stage C2 on, parts: it has walked
    away from a cell that it shared with somebody to avoid, and c_a is `avoid_conflict`.

    Args:
        needs: [S, 3] in [0, 1].
        attendance: of this tick; None: no shift is on.
        fainted: [S]; None: nobody has.
        lateness_penalty: [S], of each agent's job.
        company: [S], m; None: 0 for everybody.
        need_rates: [3], of `need_rates(config)`.
        faint_penalty: F, not negative.
        clips: whether a tick without company can be worth more than c, or less than -c (`can_clip`).

    Returns:
        [S]; rows of absent agents mean nothing.
    """
    rewards: Floats = needs @ need_rates
    rewards += config.survival_tick - config.needs_penalty
    if attendance is not None:
        rewards += config.wage_rate * attendance.working
        rewards -= config.late_tick_penalty * attendance.late
        if attendance.begins is not None:
            rewards += attendance.begins * np.where(attendance.late, -lateness_penalty, config.punctuality_bonus)
    if company is not None:
        rewards += company
    if clips or company is not None:
        np.minimum(rewards, config.clip_per_tick, out=rewards)
        np.maximum(rewards, -config.clip_per_tick, out=rewards)
    if fainted is not None:
        rewards -= faint_penalty * fainted
    return rewards


@dataclass(frozen=True, kw_only=True, eq=False)
class RewardParts:
    """What the reward of one tick is made of, [S] each; rows of absent agents mean nothing.

    total = survival + needs_penalty + social + wage + punctuality + terminal_penalty + clip_adjustment
    social = social_bonus + social_penalty + social_avoidance
    """

    survival: Floats
    needs_penalty: Floats
    social_bonus: Floats
    """Of chats."""
    social_penalty: Floats
    """0: a chat that fails costs trust, and no reward."""
    social_avoidance: Floats
    """Of walking away from a rival."""
    social: Floats
    wage: Floats
    punctuality: Floats
    """Of the beginning of a shift, less what its late ticks cost."""
    terminal_penalty: Floats
    clip_adjustment: Floats
    total: Floats


def reward_parts(
    rewards: Floats,
    needs: Floats,
    attendance: Attendance | None,
    fainted: Bools | None,
    lateness_penalty: Floats,
    chats: Floats | None,
    partings: Floats | None,
    *,
    config: RewardConfig,
    need_rates: Floats,
    faint_penalty: float,
) -> RewardParts:
    """Take the rewards of a tick apart.

    Args:
        rewards: [S], of `tick_rewards` with the same arguments.
        needs: as there; so too what is not listed here.
        attendance: of this tick.
        fainted: [S].
        lateness_penalty: [S].
        chats: [S], what chats have earned; None: 0 for everybody.
        partings: [S], what walking away has earned; None: 0 for everybody.
        config: of the rewards.
        need_rates: [3].
        faint_penalty: not negative.
    """
    nothing: Floats = np.zeros(len(rewards))
    survival = nothing + config.survival_tick
    needs_penalty: Floats = needs @ need_rates - config.needs_penalty
    social_bonus, social_avoidance = (nothing if each is None else each for each in (chats, partings))
    wage, punctuality, terminal_penalty = nothing.copy(), nothing.copy(), nothing.copy()
    if attendance is not None:
        wage += config.wage_rate * attendance.working
        punctuality -= config.late_tick_penalty * attendance.late
        if attendance.begins is not None:
            punctuality += attendance.begins * np.where(attendance.late, -lateness_penalty, config.punctuality_bonus)
    if fainted is not None:
        terminal_penalty -= faint_penalty * fainted
    social = social_bonus + social_avoidance
    return RewardParts(
        survival=survival,
        needs_penalty=needs_penalty,
        social_bonus=social_bonus,
        social_penalty=nothing,
        social_avoidance=social_avoidance,
        social=social,
        wage=wage,
        punctuality=punctuality,
        terminal_penalty=terminal_penalty,
        clip_adjustment=rewards - (survival + needs_penalty + social + wage + punctuality + terminal_penalty),
        total=rewards,
    )


def can_clip(config: RewardConfig, *, max_lateness_penalty: float) -> bool:
    """Whether some tick without company is worth more than the clip, or less than its negative."""
    best = config.survival_tick + config.wage_rate + config.punctuality_bonus
    worst = config.survival_tick - config.needs_penalty - config.late_tick_penalty - max_lateness_penalty
    return max(best, -worst) > config.clip_per_tick


def faint_penalty(rewards: RewardConfig, *, max_lateness_penalty: float) -> float:
    """What fainting costs: the configured penalty, or more where leaving early would otherwise pay.

        F = max(|faint_penalty|, x / (1 - γ)),   x = max(0, -(worst reward of one tick))

    The worst tick has every need at 0, is late, and begins a shift late; a stream of such ticks is worth
    -x / (1 - γ), so no agent gains by fainting to escape it.
    """
    worst = rewards.survival_tick - rewards.needs_penalty - rewards.late_tick_penalty - max_lateness_penalty
    worst = max(worst, -rewards.clip_per_tick)
    return max(math.fabs(rewards.faint_penalty), max(0.0, -worst) / (1.0 - rewards.discount))
