"""Rows of the log."""

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from corridor import SPEC, TOWN_EVENTS, CorridorCollector, agents, network

from townlet_training.config import ONE_GROUP, TrainingConfig
from townlet_training.errors import NonFiniteError, ShapeError
from townlet_training.learning.update import PPOUpdate
from townlet_training.planning import PlannedUpdate
from townlet_training.run.metrics import (
    ANNEAL_KEYS,
    CONTRACT_KEYS,
    OWN_KEYS,
    TOWN_KEYS,
    WALL_TIME_KEYS,
    MetricsRow,
    MetricsWriter,
    MetricValue,
    metrics_row,
)
from townlet_training.run.state import ClonedScript, TrainingState
from townlet_trajectory import ArraySpec
from townlet_trajectory.evaluation.interfaces import Collected

PLANNED = PlannedUpdate(
    stage="anneal",
    ratio=0.25,
    kickstart_coef=0.5,
    learning_rate=1e-3,
    clip_range=0.2,
    entropy_coef=0.01,
    gae_lambda=0.95,
)
CLONED = ClonedScript(
    num_trajectories=4,
    num_steps=100,
    reward_sum=50.0,
    events_per_env_step={"queue_conflict_events": 0.5, "queue_conflict_intensity_sum": 1.0},
    accuracy=0.97,
    threshold=0.9,
    passed=True,
)
STATE = TrainingState(
    config=TrainingConfig(seed=1, rollout_ticks=10),
    specs={ONE_GROUP: SPEC, "listener": SPEC},
    notes={},
    stage="anneal",
    num_updates=3,
    attempt=1,
    env_steps=400,
    agent_steps=800,
    transitions={ONE_GROUP: 90, "listener": 80},
)
UPDATE = PPOUpdate(
    **{
        field.name: index + 0.5
        for index, field in enumerate(fields(PPOUpdate))
        if field.name not in ("reward_advantage_corr", "stopped_early")
    },
    reward_advantage_corr=None,
    stopped_early=False,
)


TOWN = TOWN_EVENTS | {
    "queue_conflict_events": 8.0,
    "queue_conflict_intensity_sum": 17.0,
    "meal_events": 3.0,
    "chat_quality_sum": 0.0,
}


@pytest.fixture(scope="module")
def collected() -> Collected:
    base = CorridorCollector(2, seed=1).collect(agents(network()), num_ticks=10, ratio=0.5)
    return replace(
        base,
        events=TOWN,
        decisions_by_source={"scripted": 3, "learned": 1},
        ticks_by_source={"scripted": 10, "learned": 5, "external": 5},
        vetoes=2,
    )


def row(
    collected: Collected, *, cloned: ClonedScript | None = CLONED, group: str = ONE_GROUP
) -> Mapping[str, MetricValue]:
    state = replace(STATE, cloned={} if cloned is None else {group: cloned})
    return metrics_row(UPDATE, collected, PLANNED, state, group=group, elapsed=7.0, update_seconds=0.5).values


def test_a_line_has_all_the_keys_in_order(collected: Collected) -> None:
    assert list(row(collected)) == [*CONTRACT_KEYS, *ANNEAL_KEYS, *OWN_KEYS]
    assert list(row(collected, cloned=None)) == [*CONTRACT_KEYS, *OWN_KEYS]
    assert len({*CONTRACT_KEYS, *ANNEAL_KEYS, *OWN_KEYS}) == len(CONTRACT_KEYS) + len(ANNEAL_KEYS) + len(OWN_KEYS)


def test_a_line_of_another_world_has_its_events_and_none_of_the_town(collected: Collected) -> None:
    own = replace(collected, events={"harvests": 7.0, "meal_events": 1.0})
    values = row(own, cloned=replace(CLONED, events_per_env_step={"harvests": 0.1}))
    # an event of the same name as one of the town is the same event
    assert {key for key in values if key in TOWN_KEYS} == {"meal_events"}
    assert (values["events/harvests"], values["meal_events"]) == (7.0, 1.0)
    assert list(values)[-1] == "events/harvests"
    assert not {key for key, value in values.items() if value is None} & TOWN_KEYS


def test_events_of_the_town_that_have_no_key_of_the_contract_have_one_too(collected: Collected) -> None:
    values = row(replace(collected, events={**TOWN, "cook_events": 2.0}))
    assert values["events/cook_events"] == 2.0 and "events/chat_quality_sum" not in values


def test_parts_of_the_reward_are_means_of_agent_ticks(collected: Collected) -> None:
    (batch,) = collected.batches.values()
    term = ArraySpec("float32")
    schema = replace(batch.schema, decisions={**batch.schema.decisions, "reward_food": term, "reward_time": term})
    food = np.zeros(batch.num_steps, np.float32)
    food[:4] = [1, 2, 3, 4]
    columns = {**batch.columns, "reward_food": food, "reward_time": np.full(batch.num_steps, -0.5, np.float32)}
    own = replace(collected, batches={ONE_GROUP: replace(batch, schema=schema, columns=columns)})
    values = row(own)
    assert (values["reward/food"], values["reward/time"]) == (10 / batch.num_steps, -0.5)
    assert [key for key in values if key.startswith("reward/")] == ["reward/food", "reward/time"]


def test_a_line_names_its_group_where_there_are_several(collected: Collected) -> None:
    (batch,) = collected.batches.values()
    listeners = batch.select(np.arange(1))
    both = replace(
        collected, batches={ONE_GROUP: batch, "listener": listeners}, agent_steps=batch.num_steps + listeners.num_steps
    )
    first, second = row(both), row(both, group="listener")
    assert list(first) == [*CONTRACT_KEYS, *ANNEAL_KEYS, *OWN_KEYS, "group"]
    assert (first["group"], second["group"]) == (ONE_GROUP, "listener")
    assert (first["reward_mean"], second["reward_mean"]) == (
        pytest.approx(batch.rewards.mean()),
        pytest.approx(listeners.rewards.mean()),
    )
    assert first["meal_events"] == second["meal_events"] == 3.0
    assert (first["steps"], second["steps"]) == (90, 80)


def test_every_key_of_a_log_of_the_first_version_is_there() -> None:
    old = (
        "epoch updates transitions loss_policy loss_value loss_entropy loss_total clip_fraction adv_mean adv_std "
        "grad_norm kl_divergence telemetry_version lr steps adv_zero_std_batches adv_min_std "
        "clip_triggered_minibatches clip_fraction_max epoch_duration_sec data_mode cycle_id batch_entropy_mean "
        "batch_entropy_std grad_norm_max kl_divergence_max reward_advantage_corr rollout_ticks log_stream_offset "
        "queue_conflict_events queue_conflict_intensity_sum shared_meal_events late_help_events "
        "shift_takeover_events chat_success_events chat_failure_events chat_quality_mean baseline_sample_count "
        "baseline_reward_mean baseline_reward_sum baseline_reward_sum_mean baseline_log_prob_mean "
        "conflict.rivalry_max_mean_avg conflict.rivalry_max_max_avg conflict.rivalry_avoid_count_mean_avg "
        "conflict.rivalry_avoid_count_max_avg"
    )
    assert set(old.split()) == set(CONTRACT_KEYS)


def test_counts_and_shares_by_hand(collected: Collected) -> None:
    values = row(collected)
    expected = {
        "epoch": 3,
        "log_stream_offset": 3,
        "cycle_id": 2,
        "stage": "anneal",
        "attempt": 1,
        "data_mode": "rollout",
        "telemetry_version": 1.2,
        "steps": 90,
        "rollout_ticks": 10,
        "env_steps": 400,
        "agent_steps": 800,
        "ratio": 0.25,
        "kickstart_coef": 0.5,
        "lr": UPDATE.learning_rate,  # not the planned one, which the divergence may have changed
        "decision_share_learned": 0.25,
        "tick_share_scripted": 0.5,
        "tick_share_learned": 0.25,
        "tick_share_external": 0.25,
        "vetoes": 2,
        "meal_events": 3.0,
        "faint_events": 0.0,
        "chat_quality_mean": 0.0,
        "reward_mean": pytest.approx(collected.batches[ONE_GROUP].rewards.mean()),
        "epoch_duration_sec": 0.5,
        "wall_time_s": 7.0,
        "env_steps_per_s": 40.0,
    }
    assert {key: values[key] for key in expected} == expected


def test_numbers_of_the_update_are_under_their_names(collected: Collected) -> None:
    values = row(collected)
    pairs = {
        "loss_policy": UPDATE.policy_loss,
        "loss_value": UPDATE.value_loss,
        "loss_entropy": UPDATE.entropy,
        "loss_total": UPDATE.total_loss,
        "loss_kickstart": UPDATE.kickstart_loss,
        "kl_divergence": UPDATE.kl,
        "kl_divergence_max": UPDATE.kl_max,
        "batch_entropy_mean": UPDATE.entropy,
        "batch_entropy_std": UPDATE.entropy_std,
        "updates": UPDATE.num_updates,
        "transitions": UPDATE.num_transitions,
        "reward_advantage_corr": None,
    }
    same = "clip_fraction clip_fraction_max clip_triggered_minibatches adv_mean adv_std adv_min_std grad_norm"
    pairs |= {name: vars(UPDATE)[name] for name in (*same.split(), "grad_norm_max", "explained_variance")}
    assert {key: values[key] for key in pairs} == pairs


def test_the_baseline_is_what_the_script_earned(collected: Collected) -> None:
    values = row(collected)
    assert values["baseline_sample_count"] == 4
    assert values["baseline_reward_mean"] == 0.5
    assert values["baseline_reward_sum"] == 50.0
    assert values["baseline_reward_sum_mean"] == 12.5
    assert values["baseline_log_prob_mean"] is None
    assert row(collected, cloned=None)["baseline_sample_count"] is None


def test_flags_compare_with_the_script_over_as_many_steps(collected: Collected) -> None:
    values = row(collected)
    # 20 world steps: the script had 10 conflicts and 20 of intensity; 15 % less is 8.5 and 17.
    assert (values["anneal_queue_baseline"], values["anneal_queue_flag"]) == (10.0, True)
    assert (values["anneal_intensity_baseline"], values["anneal_intensity_flag"]) == (20.0, False)
    assert (values["anneal_bc_accuracy"], values["anneal_bc_threshold"], values["anneal_bc_passed"]) == (
        0.97,
        0.9,
        True,
    )
    assert (values["anneal_cycle"], values["anneal_stage"], values["anneal_dataset"]) == (2, "anneal", "rollout")
    uncounted = row(collected, cloned=replace(CLONED, events_per_env_step={}))
    assert not {"anneal_queue_baseline", "anneal_queue_flag", "anneal_intensity_flag"} & set(uncounted)


@pytest.mark.parametrize(
    ("events", "quality"),
    [
        ({"chat_success_events": 4.0, "chat_quality_sum": 3.0}, 0.75),
        ({"chat_success_events": 0.0, "chat_quality_sum": 0.0}, 0.0),
    ],
)
def test_the_quality_of_chats_is_a_mean(collected: Collected, events: dict[str, float], quality: float) -> None:
    assert row(replace(collected, events={**collected.events, **events}))["chat_quality_mean"] == quality


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("key", ["loss_policy", "adv_mean", "wall_time_s"])
def test_no_line_holds_a_number_that_is_not_finite(collected: Collected, key: str, bad: float) -> None:
    with pytest.raises(NonFiniteError, match=f"metrics: `{key}`"):
        MetricsRow(values={**row(collected), key: bad})


def test_no_line_lacks_a_key_or_has_another(collected: Collected) -> None:
    values = dict(row(collected))
    del values["kl_divergence"], values["anneal_stage"]
    with pytest.raises(ShapeError, match=r"\['anneal_stage', 'kl_divergence', 'loss'\]"):
        MetricsRow(values={**values, "loss": 1.0})


def test_lines_are_appended(tmp_path: Path, collected: Collected) -> None:
    path = tmp_path / "metrics.jsonl"
    written = MetricsRow(values=row(collected))
    MetricsWriter(path).write(written)
    MetricsWriter(path).write(written)
    lines = path.read_text().splitlines()
    assert [json.loads(line) for line in lines] == [dict(written.values)] * 2


def test_a_line_that_a_crash_cut_off_is_kept_aside(tmp_path: Path, collected: Collected) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"epoch": 1}\n{"epo')
    MetricsWriter(path).write(MetricsRow(values=row(collected)))
    assert [json.loads(line)["epoch"] for line in path.read_text().splitlines()] == [1, 3]
    assert (tmp_path / "metrics.jsonl.partial").read_text() == '{"epo\n'


def test_wall_time_keys_are_keys() -> None:
    assert {*CONTRACT_KEYS, *OWN_KEYS} > WALL_TIME_KEYS
