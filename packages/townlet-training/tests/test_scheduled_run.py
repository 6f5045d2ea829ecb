"""Runs that follow a schedule: their stages, flags, log and results, and their exact resumption."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corridor import SPEC, CorridorCollector, CorridorEvaluator
from strategies import FOREIGN, replaced

from townlet_training.config import ONE_GROUP, AnnealConfig, GatesConfig, ScheduleConfig, StageConfig, TrainingConfig
from townlet_training.errors import ConfigError, EmptyBatchError
from townlet_training.learning.config import BCConfig, PPOConfig
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.config import NetworkConfig
from townlet_training.network.spec import PolicySpec
from townlet_training.network.weights import weights_sha256
from townlet_training.run import checkpoint, directory, metrics, result
from townlet_training.run.metrics import ANNEAL_KEYS, CONTRACT_KEYS, OWN_KEYS, WALL_TIME_KEYS, MetricsRow
from townlet_training.scheduled import run as scheduled_run
from townlet_training.scheduled.data import Record, RunWorlds
from townlet_training.scheduled.run import ScheduledRun
from townlet_trajectory import BatchSource, TrajectoryBatch, TrajectoryDataset
from townlet_trajectory.evaluation.anneal_results import Status
from townlet_trajectory.evaluation.promotion import Decision, PromotionConfig
from townlet_trajectory.evaluation.results import ExportedPolicy, RunSummary


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    """Sync nothing, and export nothing: what costs more than the run."""

    def noted(network: ActorCritic, path: Path, *, spec: PolicySpec, seed: int) -> ExportedPolicy:
        path.write_text(weights_sha256(network))
        return ExportedPolicy(path=path, weights_sha256=weights_sha256(network), file_sha256="0" * 64)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(result, "export_policy", noted)
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


class Killed(BaseException):
    """What nothing catches, in the place of kill -9."""


CONFIG = TrainingConfig(
    mode="anneal",
    seed=3,
    num_envs=4,
    rollout_ticks=8,
    eval_episodes=10,
    final_episodes=10,
    baselines=("scripted", "idle"),
    network=NetworkConfig(hidden_sizes=(8,)),
    ppo=PPOConfig(learning_rate=3e-3, num_minibatches=2, num_epochs=1, learning_rate_schedule="constant"),
    bc=BCConfig(num_epochs=2, learning_rate=3e-2),
    gates=GatesConfig(clone_accuracy=0.6, num_resamples=100),
    promotion=PromotionConfig(num_episodes=10, num_resamples=100),
    schedule=ScheduleConfig(
        stages=(
            StageConfig(cycle=2, mode="ppo", epochs=3, bc_weight=0.0),
            StageConfig(cycle=0, mode="bc", epochs=6),
            StageConfig(cycle=1, mode="ppo", epochs=2, bc_weight=0.5),
        ),
        checkpoint_every=2,
    ),
)
PLAIN = replace(CONFIG, mode="replay", schedule=ScheduleConfig(epochs=3))


def scripted_rows(num_ticks: int = 96) -> TrajectoryBatch:
    collector = CorridorCollector(3, seed=5)
    return collector.collect(None, num_ticks=num_ticks, ratio=0.0).batches[ONE_GROUP]


def record(batch: TrajectoryBatch | None = None, **baseline: float) -> Record:
    source = BatchSource(scripted_rows() if batch is None else batch)
    dataset = TrajectoryDataset(source, unit="trajectories", batch_size=4, seed=1, shuffle=True)
    return Record(name="corridors", batches=dataset, baseline=baseline)


def worlds_of(seed: int = 3) -> RunWorlds:
    return RunWorlds(key="corridor", collector=CorridorCollector(4, seed=seed), evaluator=CorridorEvaluator())


def scheduled(
    config: TrainingConfig, run_dir: Path, *, has_record: bool = True, has_world: bool = True, **arguments: object
) -> ScheduledRun:
    worlds = worlds_of()
    given = {
        "record": record() if has_record else None,
        "lessons": {ONE_GROUP: [BatchSource(scripted_rows())]},
        "worlds": (lambda cycle: worlds) if has_world else None,
        **arguments,
    }
    return ScheduledRun(config, specs={ONE_GROUP: SPEC}, run_dir=run_dir, **given)


def lines(run_dir: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def test_stages_run_in_the_order_of_their_cycles(tmp_path: Path) -> None:
    run = scheduled(CONFIG, tmp_path)
    summary = run.run()
    results = json.loads((tmp_path / "anneal_results.json").read_text())
    assert [(each["cycle"], each["mode"]) for each in results] == [(0, "bc"), (1, "ppo"), (2, "ppo")]
    assert results[0].keys() == {"cycle", "mode", "accuracy", "loss", "threshold", "passed", "bc_weight"}
    assert results[0]["passed"] is True and results[0]["threshold"] == 0.6
    rows = lines(tmp_path)
    assert [row["epoch"] for row in rows] == [1, 2, 1, 2, 3]
    assert [row["anneal_cycle"] for row in rows] == [1, 1, 2, 2, 2]
    assert [row["log_stream_offset"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["kickstart_coef"] for row in rows] == [0.5, 0.5, 0.0, 0.0, 0.0]
    transitions = [row["transitions"] for row in rows]
    assert [row["steps"] for row in rows] == np.cumsum(transitions).tolist()
    assert transitions[0] == scripted_rows().num_steps
    assert {row["data_mode"] for row in rows} == {"replay"} and {row["anneal_dataset"] for row in rows} == {"corridors"}
    assert summary.policies[ONE_GROUP].path.is_file() and summary.final is not None
    assert run.outcome is not None and run.outcome.results[2]["epoch"] == 3


def test_every_line_has_every_key(tmp_path: Path) -> None:
    scheduled(CONFIG, tmp_path).run()
    for row in lines(tmp_path):
        assert row.keys() >= {*CONTRACT_KEYS, *OWN_KEYS, *ANNEAL_KEYS}
        assert row["queue_conflict_events"] is None and row["ratio"] is None
        assert row["baseline_sample_count"] == 12 and row["baseline_reward_sum"] == scripted_rows().rewards.sum()


def test_flags_are_set_from_the_second_stage_on_the_same_dataset_on(tmp_path: Path) -> None:
    scheduled(CONFIG, tmp_path).run()
    first, second = (row for row in json.loads((tmp_path / "anneal_results.json").read_text()) if row["mode"] == "ppo")
    assert first["anneal_loss_baseline"] is None and first["anneal_loss_flag"] is False
    assert second["anneal_loss_baseline"] == first["loss_total"]
    assert second["anneal_loss_flag"] is bool(
        second["loss_total"] - first["loss_total"] > 0.1 * abs(first["loss_total"])
    )
    assert [first["anneal_bc_passed"], first["anneal_bc_threshold"]] == [True, 0.6]


def test_a_clone_that_misses_its_accuracy_is_rolled_back_and_ends_the_run(tmp_path: Path) -> None:
    config = replace(CONFIG, gates=replace(CONFIG.gates, clone_accuracy=1.0))
    stages = (StageConfig(cycle=0, mode="ppo", epochs=2), StageConfig(cycle=1, mode="bc", epochs=1))
    config = replace(config, schedule=replace(config.schedule, stages=(*stages, StageConfig(cycle=2, mode="ppo"))))
    rows = scripted_rows()
    random = np.random.default_rng(0).choice([0, 2], rows.num_steps)
    labelled = replaced(rows, np.full(rows.num_steps, True), expert_action=random)
    lessons = {ONE_GROUP: [BatchSource(labelled)]}
    before = scheduled(replace(config, schedule=replace(config.schedule, stages=stages[:1])), tmp_path / "one")
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    kept = before.run()
    run = scheduled(config, tmp_path / "two", lessons=lessons)
    summary = run.run()
    assert summary.weights_sha256 == kept.weights_sha256
    assert run.outcome is not None and run.outcome.status is Status.FAIL and run.outcome.decision is Decision.FAIL
    assert run.outcome.results[-1]["rolled_back"] is True and len(run.outcome.results) == 2
    assert run.outcome.reasons == ("bc_stage_failed_cycle_1",)
    assert summary.failure is not None and "bc_stage_failed_cycle_1" in summary.failure


@pytest.mark.parametrize(
    ("mode", "data"),
    [("replay", ["replay"] * 3), ("rollout", ["rollout"] * 3), ("mixed", ["replay", "rollout"] * 3)],
)
def test_the_plain_modes(mode: str, data: list[str], tmp_path: Path) -> None:
    seen: list[MetricsRow] = []
    run = scheduled(replace(PLAIN, mode=mode), tmp_path, has_record=mode != "rollout", on_row=seen.append)
    summary = run.run()
    rows = lines(tmp_path)
    assert [row["data_mode"] for row in rows] == data and [dict(row.values) for row in seen] == rows
    assert [row["epoch"] for row in rows] == [1 + index // (len(data) // 3) for index in range(len(data))]
    assert not any(key.startswith("anneal_") for key in rows[0])
    assert not (tmp_path / "anneal_results.json").exists()
    assert summary.counters.num_updates == len(data)
    for row in rows:
        known = row["data_mode"] == "rollout"
        assert (row["queue_conflict_events"] is not None) is known
        assert row["rollout_ticks"] == (8 if known else 0)
        assert all(row[key] is not None for key in CONTRACT_KEYS if key.startswith("baseline_"))
    assert run.outcome is not None and run.outcome.status is Status.PASS and summary.promotion is not None
    assert run.outcome.decision == summary.promotion.decision


def test_without_a_world_the_policy_is_exported_and_held(tmp_path: Path) -> None:
    run = scheduled(CONFIG, tmp_path, has_world=False)
    summary = run.run()
    assert summary.final is None and summary.promotion is None and not summary.interrupted
    assert summary.policies[ONE_GROUP].path.is_file()
    assert run.outcome is not None
    if run.outcome.status is Status.PASS:
        assert run.outcome.decision is Decision.HOLD and "fits no world" in run.outcome.reason


def test_rollouts_are_blended_where_the_schedule_says_so(tmp_path: Path) -> None:
    config = replace(CONFIG, schedule=replace(CONFIG.schedule, policy_blend=True), anneal=AnnealConfig(min_ratio=0.2))
    scheduled(config, tmp_path, has_record=False).run()
    assert [row["ratio"] for row in lines(tmp_path)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def fallen(run_dir: Path) -> dict[str, object]:
    rows = [{key: value for key, value in row.items() if key not in WALL_TIME_KEYS} for row in lines(run_dir)]
    policy = (run_dir / "policy.onnx").read_bytes()
    return {"log": json.dumps(rows), "results": _read(run_dir / "anneal_results.json"), "policy": policy}


def _read(path: Path) -> list[dict[str, object]]:
    results = json.loads(path.read_text()) if path.exists() else []
    return [{key: value for key, value in result.items() if key not in WALL_TIME_KEYS} for result in results]


def outcome_of(summary: RunSummary, run_dir: Path) -> dict[str, object]:
    return {**fallen(run_dir), "weights": summary.weights_sha256, "final": summary.final, "history": summary.history}


@pytest.mark.long
@pytest.mark.parametrize("mode", ["anneal", "mixed", "rollout"])
def test_a_run_that_is_stopped_anywhere_comes_to_the_same(mode: str, tmp_path: Path) -> None:
    config = CONFIG if mode == "anneal" else replace(CONFIG, mode=mode, schedule=replace(CONFIG.schedule, epochs=5))
    arguments = {"has_record": mode != "rollout"}
    (tmp_path / "whole").mkdir()
    asked = 0

    def count() -> bool:
        nonlocal asked
        asked += 1
        return False

    whole = outcome_of(scheduled(config, tmp_path / "whole", stop=count, **arguments).run(), tmp_path / "whole")
    for moment in range(1, asked + 1, 2):
        folder = tmp_path / str(moment)
        folder.mkdir()
        left = moment

        def stop() -> bool:
            nonlocal left
            left -= 1
            return left == 0

        if not scheduled(config, folder, stop=stop, **arguments).run().interrupted:
            continue
        summary = scheduled(config, folder, resume=True, **arguments).run()
        assert outcome_of(summary, folder) == whole, f"stopped at moment {moment}"


WRITERS = [
    (metrics, "append_line"),
    (directory, "write_bytes_atomic"),
    (checkpoint, "write_directory"),
    (checkpoint, "remove_directory"),
    (scheduled_run, "write_json_atomic"),
    (result, "export_policy"),
]


@pytest.mark.long
@pytest.mark.thorough
def test_a_run_that_is_killed_at_any_write_comes_to_the_same(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    whole = outcome_of(scheduled(CONFIG, tmp_path / "whole").run(), tmp_path / "whole")

    def burning(patch: pytest.MonkeyPatch, moment: int) -> Callable[[], int]:
        """Ends the process, as far as a test can, at the `moment`-th write."""
        count = 0

        def asked(*args: Any, real: Callable[..., Any], **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == moment:
                raise Killed
            return real(*args, **kwargs)

        for module, name in WRITERS:
            patch.setattr(module, name, partial(asked, real=vars(module)[name]))
        return lambda: count

    (tmp_path / "counted").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        counted = burning(patch, -1)
        scheduled(CONFIG, tmp_path / "counted").run()
    assert counted() > 20
    for moment in range(1, counted() + 1):
        folder = tmp_path / str(moment)
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            burning(patch, moment)
            with pytest.raises(Killed):
                scheduled(CONFIG, folder).run()
        assert outcome_of(scheduled(CONFIG, folder, resume=True).run(), folder) == whole, f"killed at write {moment}"


def test_other_worlds_are_entered_with_their_cycle(tmp_path: Path) -> None:
    asked: list[int] = []

    def worlds(cycle: int) -> RunWorlds:
        asked.append(cycle)
        return replace(worlds_of(seed=3 + cycle), key=str(cycle))

    scheduled(CONFIG, tmp_path, has_record=False, worlds=worlds).run()
    assert asked == [0, 0, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lessons": None}, "a stage `bc` needs data"),
        ({"lessons": {"cats": []}}, r"must be of the agent groups \['agents'\], got \['cats'\]"),
        ({"record": None, "worlds": None}, "PPO on rollouts needs a world"),
    ],
)
def test_a_stage_without_data_is_refused(arguments: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        scheduled(CONFIG, tmp_path, **arguments)


def test_a_record_in_which_nobody_decided_is_refused_by_its_rows(tmp_path: Path) -> None:
    batch = scripted_rows(24)
    batch = replaced(batch, np.full(batch.num_steps, True), kind=FOREIGN, ratio=0.05)
    with pytest.raises(EmptyBatchError, match=f"all {batch.num_steps} rows of the record are foreign"):
        scheduled(PLAIN, tmp_path, record=record(batch)).run()


def test_a_config_without_a_schedule_is_not_one_of_these(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a scheduled run is one of replay, rollout, mixed"):
        scheduled(replace(CONFIG, mode="ppo"), tmp_path)
