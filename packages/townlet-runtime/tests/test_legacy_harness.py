import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from classic_files import write_originals

from townlet_runtime.cli.console import CommandError
from townlet_runtime.legacy import PolicyTrainingOrchestrator, PromotionManager, TrainingHarness
from townlet_trajectory import PromotionRegistry
from townlet_trajectory.formats.captures.directory import read_captures

QUICK = {
    "seed": 3,
    "network": {"hidden_sizes": [8]},
    "town": {"num_agents": 2, "episode_ticks": 20},
    "training": {"num_envs": 2, "eval_episodes": 10, "final_episodes": 10},
    "promotion": {"num_episodes": 10, "num_resamples": 100},
    "gates": {"num_resamples": 100},
}


def harness(folder: Path, **more: object) -> PolicyTrainingOrchestrator:
    training = {**QUICK["training"], **more}  # type: ignore[dict-item]
    with pytest.warns(DeprecationWarning, match=r"PolicyTrainingOrchestrator is deprecated: use `townlet train`"):
        return PolicyTrainingOrchestrator({**QUICK, "training": training}, run_dir=folder / "runs")  # type: ignore[dict-item]


def test_importing_the_old_names_imports_no_torch() -> None:
    script = """
import sys
import townlet_runtime.legacy
assert "numpy" not in sys.modules
townlet_runtime.legacy.TrainingHarness
raise SystemExit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_each_old_class_names_what_takes_its_place_where_it_is_made(tmp_path: Path) -> None:
    with pytest.warns(DeprecationWarning, match=r"TrainingHarness is deprecated: .*TrainingOrchestrator") as caught:
        TrainingHarness(QUICK)  # type: ignore[arg-type]
    assert caught[0].filename == __file__
    from townlet_trajectory.evaluation.promotion import PromotionConfig
    from townlet_trajectory.evaluation.registry_records import RegistrySettings

    settings = RegistrySettings(
        config=PromotionConfig(), seed=0, behavior="scripted", config_id="v1", world={"schema_version": 1}
    )
    PromotionRegistry.create(tmp_path / "registry", settings)
    with pytest.warns(DeprecationWarning, match=r"PromotionManager is deprecated: use .*PromotionRegistry") as caught:
        opened = PromotionManager(tmp_path / "registry")
    assert caught[0].filename == __file__
    assert opened.snapshot() == PromotionRegistry(tmp_path / "registry").snapshot()


def test_a_rollout_is_captured_as_the_command_does(tmp_path: Path) -> None:
    batch = harness(tmp_path).capture_rollout(5, output_dir=tmp_path / "cap", prefix="mine")
    assert batch.num_steps == 10
    assert {path.name for path in (tmp_path / "cap").iterdir()} >= {"mine_manifest.json", "mine_metrics.json"}
    read = read_captures(tmp_path / "cap" / "mine_manifest.json").batch()
    assert np.array_equal(np.sort(read.rewards), np.sort(batch.rewards))


def test_a_record_is_described_and_trained_on(tmp_path: Path) -> None:
    made = harness(tmp_path)
    made.capture_rollout(30, output_dir=tmp_path / "cap")
    manifest = tmp_path / "cap" / "rollout_sample_manifest.json"
    described = made.run_replay_dataset(manifest)
    assert described["batch_size"] == 1.0 and "conflict.rivalry_max_mean" in described
    assert made.last_run_dir is None
    row = made.run_ppo(manifest, epochs=2, log_path=tmp_path / "ppo.jsonl")
    assert (row["epoch"], row["data_mode"]) == (2, "replay")
    logged = [json.loads(line) for line in (tmp_path / "ppo.jsonl").read_text().splitlines()]
    assert [each["epoch"] for each in logged] == [1, 2] and logged[-1]["loss_total"] == row["loss_total"]
    assert made.last_run_dir is not None and (made.last_run_dir / "policy.onnx").exists()


def test_rollouts_are_trained_on_and_saved(tmp_path: Path) -> None:
    row = harness(tmp_path).run_rollout_ppo(16, output_dir=tmp_path / "roll")
    assert (row["epoch"], row["data_mode"], row["rollout_ticks"]) == (1, "rollout", 16)
    assert (tmp_path / "roll" / "rollout_sample_manifest.json").exists()


def test_a_schedule_gives_results_status_and_promotion(tmp_path: Path) -> None:
    manifest = write_originals(tmp_path / "idle")
    made = harness(tmp_path, anneal_schedule=[{"cycle": 0, "mode": "bc", "epochs": 2}, {"cycle": 1, "mode": "ppo"}])
    assert made.last_anneal_status is None and made.promotion.snapshot() == {}
    results = made.run_anneal(dataset_config=manifest, bc_manifest=manifest, log_dir=tmp_path / "al")
    assert results == json.loads((tmp_path / "al" / "anneal_results.json").read_text())
    assert results[0]["mode"] == "bc"
    assert made.last_anneal_status == made.evaluate_anneal_results(results)
    assert made.promotion.snapshot()["last_result"] in ("pass", "fail")


def test_a_clone_is_told_as_it_was(tmp_path: Path) -> None:
    manifest = write_originals(tmp_path / "idle")
    made = harness(tmp_path, bc={"epochs": 2})
    found = made.run_bc_training(manifest=manifest)
    assert found.keys() == {"loss", "accuracy", "mode", "manifest"}
    assert (found["mode"], found["manifest"]) == ("bc", str(manifest)) and 0.0 <= found["accuracy"] <= 1.0
    with pytest.raises(CommandError, match="expected a manifest to clone"):
        harness(tmp_path).run_bc_training()


def test_the_status_follows_from_the_stages() -> None:
    with pytest.warns(DeprecationWarning, match="TrainingHarness"):
        made = TrainingHarness(QUICK)  # type: ignore[arg-type]
    bc = {"mode": "bc", "cycle": 0, "accuracy": 0.95, "threshold": 0.9, "passed": True}
    ppo = {"mode": "ppo", "cycle": 1, "anneal_loss_flag": True}
    assert made.evaluate_anneal_results([bc]) == "PASS"
    assert made.evaluate_anneal_results([bc, ppo]) == "HOLD"
    assert made.evaluate_anneal_results([{**bc, "accuracy": 0.5}, ppo]) == "FAIL"
    with pytest.raises(CommandError, match="anneal_schedule"):
        made.run_anneal()
