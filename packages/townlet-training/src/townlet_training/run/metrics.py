"""The rows of a run's log."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from townlet_training.config import ONE_GROUP
from townlet_training.errors import NonFiniteError, ShapeError
from townlet_training.learning.update import PPOUpdate
from townlet_training.planning import STAGES, PlannedUpdate
from townlet_training.run.state import ClonedScript, TrainingState
from townlet_trajectory import REWARD_TERM
from townlet_trajectory.evaluation.anneal_results import FALL_TOLERANCE
from townlet_trajectory.evaluation.interfaces import Collected
from townlet_trajectory.storage.files import append_line

TELEMETRY_VERSION = 1.2

CONTRACT_KEYS = (
    "epoch updates transitions loss_policy loss_value loss_entropy loss_total clip_fraction adv_mean adv_std "
    "adv_zero_std_batches adv_min_std clip_triggered_minibatches clip_fraction_max grad_norm kl_divergence "
    "telemetry_version lr steps epoch_duration_sec data_mode cycle_id batch_entropy_mean batch_entropy_std "
    "grad_norm_max kl_divergence_max reward_advantage_corr rollout_ticks log_stream_offset queue_conflict_events "
    "queue_conflict_intensity_sum shared_meal_events late_help_events shift_takeover_events chat_success_events "
    "chat_failure_events chat_quality_mean baseline_sample_count baseline_reward_mean baseline_reward_sum "
    "baseline_reward_sum_mean baseline_log_prob_mean conflict.rivalry_max_mean_avg conflict.rivalry_max_max_avg "
    "conflict.rivalry_avoid_count_mean_avg conflict.rivalry_avoid_count_max_avg"
).split()
"""Keys of telemetry version 1.2; null where a run has no such number. `TOWN_KEYS` are only in lines of worlds that
count such events."""

ANNEAL_KEYS = (
    "anneal_cycle anneal_stage anneal_dataset anneal_bc_accuracy anneal_bc_threshold anneal_bc_passed "
    "anneal_loss_baseline anneal_queue_baseline anneal_intensity_baseline anneal_loss_flag anneal_queue_flag "
    "anneal_intensity_flag"
).split()
"""Keys of telemetry version 1.2 that only lines of an anneal have."""

OWN_KEYS = (
    "stage attempt env_steps agent_steps ratio decision_share_learned tick_share_scripted tick_share_learned "
    "tick_share_external vetoes kickstart_coef loss_kickstart explained_variance num_decisions truncated_share "
    "faint_events late_ticks meal_events reward_mean wall_time_s env_steps_per_s"
).split()

ADAPTIVE_KEYS = ("ratio_comparisons", "ratio_difference", "ratio_difference_low", "ratio_difference_high")
"""Only in lines of a run whose ratio is adaptive: how many comparisons there were, and the newest one."""

AGE_KEY = "policy_age"
"""Only in lines of a run that collects ahead: how many updates the policy that acted was behind."""

GROUP_KEY = "group"
"""Lines of a run with several agent groups have it, and those of a group that is not called `agents`; events, which are
counted for all of them together, are then the same in the lines of an update."""

WALL_TIME_KEYS = frozenset({"epoch_duration_sec", "wall_time_s", "env_steps_per_s"})
"""What differs between two runs with the same seed; nothing else does."""

_EVENT_KEYS = (
    "queue_conflict_events",
    "queue_conflict_intensity_sum",
    "shared_meal_events",
    "late_help_events",
    "shift_takeover_events",
    "chat_success_events",
    "chat_failure_events",
    "conflict.rivalry_max_mean_avg",
    "conflict.rivalry_max_max_avg",
    "conflict.rivalry_avoid_count_mean_avg",
    "conflict.rivalry_avoid_count_max_avg",
    "faint_events",
    "late_ticks",
    "meal_events",
)
"""Copied from the events of a collection by name."""

TOWN_KEYS = frozenset(
    {
        *_EVENT_KEYS,
        "chat_quality_mean",
        "anneal_queue_baseline",
        "anneal_queue_flag",
        "anneal_intensity_baseline",
        "anneal_intensity_flag",
    }
)
"""Keys that are in a line where the world counts the event that they are made of."""

EVENT, REWARD = "events/", "reward/"
"""Beginnings of the keys of a world's other events, and of the parts of its reward (mean per agent-tick)."""

BASELINE_KEYS = [key for key in CONTRACT_KEYS if key.startswith("baseline_")]
"""Keys of the record, or the behavior, that an update is compared with."""

Number = int | float
MetricValue = Number | str | bool | None


@dataclass(frozen=True, kw_only=True)
class MetricsRow:
    """One line of the log."""

    values: Mapping[str, MetricValue]
    """By key: `CONTRACT_KEYS` and `OWN_KEYS`, within an anneal also `ANNEAL_KEYS`, with several agent groups also
    `group`; none missing but `TOWN_KEYS`, and no other but those that begin with `EVENT` or `REWARD`."""

    def __post_init__(self) -> None:
        anneal = ANNEAL_KEYS if "anneal_cycle" in self.values else []
        group = [GROUP_KEY] if GROUP_KEY in self.values else []
        adaptive = ADAPTIVE_KEYS if ADAPTIVE_KEYS[0] in self.values else ()
        age = [AGE_KEY] if AGE_KEY in self.values else []
        known = {*CONTRACT_KEYS, *OWN_KEYS, *anneal, *adaptive, *group, *age}
        given = {key for key in self.values if not key.startswith((EVENT, REWARD))}
        if differing := sorted((known - given - TOWN_KEYS) | (given - known)):
            raise ShapeError(f"a line of the log has missing or unknown keys: {differing}")
        for key, value in self.values.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise NonFiniteError("metrics", f"`{key}` is {value!r}")


def metrics_row(
    update: PPOUpdate,
    collected: Collected,
    planned: PlannedUpdate,
    state: TrainingState,
    *,
    group: str,
    elapsed: float,
    update_seconds: float,
) -> MetricsRow:
    """Put one update of one agent group into a line of the log.

    Args:
        update: of the group.
        collected: the rows it learned from.
        planned: how the update was made.
        state: of the run after the update.
        group: name of the group.
        elapsed: seconds since the run began.
        update_seconds: that this update took, its collection included.

    Returns:
        The line, with the keys of a run of this mode.
    """
    values: dict[str, MetricValue] = {
        "epoch": state.num_updates,
        "telemetry_version": TELEMETRY_VERSION,
        "lr": update.learning_rate,
        "steps": state.transitions[group],
        "epoch_duration_sec": update_seconds,
        "data_mode": "rollout",
        "cycle_id": STAGES.index(planned.stage),
        "rollout_ticks": state.config.rollout_ticks,
        "log_stream_offset": state.num_updates,
        "stage": planned.stage,
        "attempt": state.attempt,
        "env_steps": state.env_steps,
        "agent_steps": state.agent_steps,
        "ratio": planned.ratio if collected.ratio is None else collected.ratio,
        "kickstart_coef": planned.kickstart_coef,
        "wall_time_s": elapsed,
        "env_steps_per_s": _ratio(collected.env_steps, update_seconds),
    }
    cloned = state.cloned.get(group)
    values |= of_update(update) | of_collection(collected, group) | _of_script(cloned)
    if (adaptive := state.adaptive) is not None:
        newest = (adaptive.num_comparisons, adaptive.mean, adaptive.low, adaptive.high)
        values |= dict(zip(ADAPTIVE_KEYS, newest, strict=True))
    if state.config.collect_ahead:
        values[AGE_KEY] = collected.policy_age
    if cloned is not None:
        values |= _of_anneal(cloned, planned, collected)
    if len(collected.batches) > 1 or group != ONE_GROUP:
        values[GROUP_KEY] = group
    keys = dict.fromkeys((*CONTRACT_KEYS, *ANNEAL_KEYS, *OWN_KEYS, *sorted(values.keys() - {GROUP_KEY}), GROUP_KEY))
    return MetricsRow(values={key: values[key] for key in keys if key in values})


class MetricsWriter:
    """Appends lines to the log; each is on disk when `write` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, row: MetricsRow) -> None:
        """Append `row`."""
        append_line(self._path, json.dumps(dict(row.values), allow_nan=False))


def of_update(update: PPOUpdate) -> dict[str, MetricValue]:
    """Return the measures of `update` by the keys of the log."""
    return {
        "updates": update.num_updates,
        "transitions": update.num_transitions,
        "loss_policy": update.policy_loss,
        "loss_value": update.value_loss,
        "loss_entropy": update.entropy,
        "loss_total": update.total_loss,
        "loss_kickstart": update.kickstart_loss,
        "clip_fraction": update.clip_fraction,
        "clip_fraction_max": update.clip_fraction_max,
        "clip_triggered_minibatches": update.clip_triggered_minibatches,
        "adv_mean": update.adv_mean,
        "adv_std": update.adv_std,
        "adv_min_std": update.adv_min_std,
        "adv_zero_std_batches": update.adv_zero_std_batches,
        "grad_norm": update.grad_norm,
        "grad_norm_max": update.grad_norm_max,
        "kl_divergence": update.kl,
        "kl_divergence_max": update.kl_max,
        "batch_entropy_mean": update.entropy,
        "batch_entropy_std": update.entropy_std,
        "reward_advantage_corr": update.reward_advantage_corr,
        "explained_variance": update.explained_variance,
        "num_decisions": update.num_decisions,
        "truncated_share": update.truncated_share,
    }


def of_collection(collected: Collected, group: str) -> dict[str, MetricValue]:
    """Return the events, shares and rewards of `collected`, those of `group` alone, by the keys of the log."""
    batch, decisions, ticks = collected.batches[group], collected.decisions_by_source, collected.ticks_by_source
    num_ticks = sum(ticks.values())
    return _of_events(collected.events) | {
        "decision_share_learned": _ratio(decisions.get("learned", 0), sum(decisions.values())),
        "tick_share_scripted": _ratio(ticks.get("scripted", 0), num_ticks),
        "tick_share_learned": _ratio(ticks.get("learned", 0), num_ticks),
        "tick_share_external": _ratio(ticks.get("external", 0), num_ticks),
        "vetoes": collected.vetoes,
        "reward_mean": _ratio(float(batch.rewards.sum(dtype="float64")), batch.num_steps),
        **{
            f"{REWARD}{term}": _ratio(float(batch.columns[REWARD_TERM + term].sum(dtype="float64")), batch.num_steps)
            for term in batch.schema.reward_terms
        },
    }


def _of_events(events: Mapping[str, float]) -> dict[str, MetricValue]:
    values: dict[str, MetricValue] = {key: events[key] for key in _EVENT_KEYS if key in events}
    used = {*values}
    if "chat_success_events" in events:
        # A world that counts chats, and had none, has a mean quality of 0.
        values["chat_quality_mean"] = events.get("chat_quality_sum", 0.0) / max(events["chat_success_events"], 1.0)
        used.add("chat_quality_sum")
    return values | {f"{EVENT}{name}": total for name, total in events.items() if name not in used}


def _of_script(script: ClonedScript | None) -> dict[str, MetricValue]:
    values: dict[str, MetricValue] = dict.fromkeys(BASELINE_KEYS)
    if script is not None:
        values["baseline_sample_count"] = script.num_trajectories
        values["baseline_reward_mean"] = _ratio(script.reward_sum, script.num_steps)
        values["baseline_reward_sum"] = script.reward_sum
        values["baseline_reward_sum_mean"] = _ratio(script.reward_sum, script.num_trajectories)
    # The script assigns no probabilities: `baseline_log_prob_mean` stays null.
    return values


def _of_anneal(script: ClonedScript, planned: PlannedUpdate, collected: Collected) -> dict[str, MetricValue]:
    return {
        "anneal_cycle": STAGES.index(planned.stage),
        "anneal_stage": planned.stage,
        "anneal_dataset": "rollout",
        "anneal_bc_accuracy": script.accuracy,
        "anneal_bc_threshold": script.threshold,
        "anneal_bc_passed": script.passed,
        # Losses of different stages are of different things; returns are what gates compare.
        "anneal_loss_baseline": None,
        "anneal_loss_flag": None,
        **_against(script, collected, "queue_conflict_events", name="queue"),
        **_against(script, collected, "queue_conflict_intensity_sum", name="intensity"),
    }


def _against(script: ClonedScript, collected: Collected, event: str, *, name: str) -> dict[str, MetricValue]:
    """Compute the script's count of an event in as many steps, and whether the collection had far less."""
    if event not in script.events_per_env_step:
        return {}
    expected = script.events_per_env_step[event] * collected.env_steps
    fell = collected.events[event] < (1.0 - FALL_TOLERANCE) * expected
    return {f"anneal_{name}_baseline": expected, f"anneal_{name}_flag": fell}


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None
