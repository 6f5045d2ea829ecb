"""The town's reward."""

from __future__ import annotations

import math

import numpy as np

from townlet_runtime.town.arrays import Bools, Floats
from townlet_runtime.town.config import RewardConfig
from townlet_runtime.town.shifts import Attendance


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
