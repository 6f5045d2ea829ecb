"""The town's reward."""

from __future__ import annotations

import numpy as np

from townlet_runtime.town.config import RewardConfig
from townlet_runtime.town.place import Floats
from townlet_runtime.town.shifts import Attendance
from townlet_runtime.town.state import Bools


def need_rates(config: RewardConfig) -> Floats:
    """[3]; p w_k / Σ w: what a need at 0 costs per tick."""
    rates: Floats = np.array(config.needs_weights, dtype=np.float64)
    rates *= config.needs_penalty / rates.sum()
    return rates


def tick_rewards(
    needs: Floats,
    attendance: Attendance,
    fainted: Bools,
    lateness_penalty: Floats,
    *,
    config: RewardConfig,
    need_rates: Floats,
    faint_penalty: float,
) -> Floats:
    """Reward of one tick, per agent.

        r = clip(s - p Σ_k w_k (1 - n_k) / Σ_k w_k + g · works + b · on_time - l · late - L · begins_late, ±c)
            - F · faints

    with s `survival_tick`, p `needs_penalty`, n the needs after the tick, w `needs_weights`, g `wage_rate`,
    b `punctuality_bonus` and L the job's `lateness_penalty` at the tick at which the shift begins,
    l `late_tick_penalty`, c `clip_per_tick`, F `faint_penalty`.

    Args:
        needs: [S, 3] in [0, 1].
        attendance: of this tick.
        fainted: [S].
        lateness_penalty: [S], of each agent's job.
        need_rates: [3], of `need_rates(config)`.
        faint_penalty: F, not negative.

    Returns:
        [S]; rows of absent agents mean nothing.
    """
    rewards: Floats = needs @ need_rates
    rewards += config.survival_tick - config.needs_penalty
    rewards += config.wage_rate * attendance.working
    rewards -= config.late_tick_penalty * attendance.late
    if np.count_nonzero(attendance.begins):
        rewards += attendance.begins * np.where(attendance.late, -lateness_penalty, config.punctuality_bonus)
    np.minimum(rewards, config.clip_per_tick, out=rewards)
    np.maximum(rewards, -config.clip_per_tick, out=rewards)
    rewards -= faint_penalty * fainted
    return rewards
