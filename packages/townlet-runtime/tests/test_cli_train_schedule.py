"""Training on records, on rollouts and by schedules, by command: files, output, exit codes and refusals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
from classic_files import write_originals
from tiny_run import SETTINGS

from townlet_runtime.cli import main
from townlet_runtime.runs.finished import read_run
from townlet_training import ActorCritic, PolicySpec, weights_sha256
from townlet_training.run import result
from townlet_training.scheduled import run as module
from townlet_trajectory.evaluation.results import ExportedPolicy
from townlet_trajectory.formats.captures.manifest import read_capture_manifest
from townlet_trajectory.formats.convert import convert


@pytest.fixture
def quick(undrawn: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Export nothing and draw nothing: what costs more than the run."""

    def noted(network: ActorCritic, path: Path, *, spec: PolicySpec, seed: int) -> ExportedPolicy:
        path.write_text(weights_sha256(network))
        return ExportedPolicy(path=path, weights_sha256=weights_sha256(network), file_sha256="0" * 64)

    monkeypatch.setattr(result, "export_policy", noted)


def command(run_dir: Path | None, *more: str) -> list[str]:
    settings = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    where = [] if run_dir is None else ["--run-dir", str(run_dir)]
    return ["train", *where, "--num-envs", "2", "--threads", "1", *settings, *more]


@cache
def capture() -> Path:
    """What a script does in the town of the tests, as a capture."""
    folder = Path(mkdtemp())
    config = folder / "town.yaml"
    config.write_text(
        "config_id: tiny\ntown: {agents: 3, episode_ticks: 40, local_window: 7}\nworld: {grid_size: [8, 8]}\n"
    )
    assert main(["capture", "rollout", str(config), "--output", str(folder / "cap"), "--ticks", "40", "-q"]) == 0
    return folder / "cap"


@cache
def originals() -> Path:
    return write_originals(Path(mkdtemp()) / "idle_v9")


def schedule(folder: Path, *stages: str, manifest: Path | None = None, more: str = "") -> Path:
    path = folder / "schedule.yaml"
    data = originals() if manifest is None else manifest
    listed = ", ".join(f"{{{stage}}}" for stage in stages)
    path.write_text(
        "config_id: schedule\nnetwork: {hidden_sizes: [8]}\nbc: {learning_rate: 0.03}\ntraining:\n  source: anneal\n"
        f"  replay_manifest: {data}\n  bc: {{manifest: {data}}}\n  anneal_accuracy_threshold: 0.8\n{more}"
        f"  anneal_schedule: [{listed}]\n"
    )
    return path


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_schedule_on_files_of_the_original_comes_to_results_and_a_decision(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = schedule(tmp_path, "cycle: 0, mode: bc, epochs: 30", "cycle: 1, mode: ppo", "cycle: 2, mode: ppo")
    logs, log = tmp_path / "al", tmp_path / "ppo.jsonl"
    options = ["--anneal-log-dir", str(logs), "--ppo-log", str(log), "--threads", "1"]
    assert main(["train", str(config), "--run-dir", str(tmp_path / "run"), *options]) == 0
    out = capsys.readouterr().out
    printed = json.loads(out[out.index("\n{") :])
    assert printed.keys() == {"status", "promotion", "results"}
    assert printed["promotion"]["decision"] == "HOLD" and "fits no world" in printed["promotion"]["reason"]
    found = json.loads((logs / "anneal_results.json").read_text())
    assert found == printed["results"] == json.loads((tmp_path / "run" / "anneal_results.json").read_text())
    assert [(each["cycle"], each["mode"]) for each in found] == [(0, "bc"), (1, "ppo"), (2, "ppo")]
    assert found[0]["passed"] is True and found[0]["accuracy"] > 0.9
    assert out.startswith("PPO epoch 1: {'epoch': 1, ") or "\nPPO epoch 1: {" in out
    assert lines(log) == lines(tmp_path / "run" / "metrics.jsonl")
    for row in lines(log):
        assert row["data_mode"] == "replay" and row["anneal_dataset"] == "idle_v9"
        assert row["baseline_sample_count"] == 3 and row["baseline_reward_sum"] == 45.0
        assert row["conflict.rivalry_max_mean_avg"] > 0.0 and row["queue_conflict_events"] is None
    run = read_run(tmp_path / "run")
    assert (run.summary.env, run.evaluation, run.promotion, run.summary.mode) == (None, None, None, "anneal")
    assert main(["policy", "check", str(tmp_path / "run" / "policy.onnx"), "-q"]) == 0


@pytest.mark.usefixtures("quick")
def test_a_clone_that_fails_ends_with_exit_code_1_where_that_was_asked_for(tmp_path: Path) -> None:
    config = schedule(tmp_path, "cycle: 0, mode: bc, epochs: 1")
    config.write_text(config.read_text().replace("threshold: 0.8", "threshold: 1.0").replace("0.03", "0.000001"))
    run_dir = tmp_path / "run"
    assert (
        main(["train", str(config), "--run-dir", str(run_dir), "--threads", "1", "--anneal-exit-on-failure", "-q"]) == 1
    )
    (result,) = json.loads((run_dir / "anneal_results.json").read_text())
    assert (result["passed"], result["rolled_back"]) == (False, True)
    assert json.loads((run_dir / "schedule.json").read_text())["status"] == "FAIL"


def test_replay_without_train_ppo_says_what_the_batches_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--replay-manifest", str(originals()), "--replay-batch-size", "4"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    # Three samples, each cut where it is done: six trajectories.
    assert first.startswith("Replay batch 1: {'batch': 1.0, 'batch_size': 4.0, 'feature_dim': 3.0, ")
    assert second.startswith("Replay batch 2: {'batch': 2.0, 'batch_size': 2.0, 'feature_dim': 3.0, ")
    assert "'conflict.rivalry_max_mean': 0." in first and "'conflict.rivalry_avoid_count_max': 0.0}" in second
    assert list(tmp_path.iterdir()) == []
    arguments = ["--replay-manifest", str(originals()), "--replay-batch-size", "4", "--replay-drop-last", "--json"]
    assert main(["train", *arguments]) == 0
    assert [batch["batch_size"] for batch in json.loads(capsys.readouterr().out)["batches"]] == [4.0]


@pytest.mark.usefixtures("quick")
def test_one_sample_is_a_record_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = originals().with_name("anna.npz")
    options = ["--replay-sample", str(sample), "--replay-meta", str(sample.with_suffix(".json")), "--train-ppo"]
    config = schedule(tmp_path)
    assert (
        main(["train", str(config), "--mode", "replay", "--run-dir", str(tmp_path / "run"), "--threads", "1", *options])
        == 0
    )
    (row,) = lines(tmp_path / "run" / "metrics.jsonl")
    assert (row["data_mode"], row["transitions"], row["epoch"]) == ("replay", 28 * 4, 1)
    assert "no promotion" in capsys.readouterr().out


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("streaming", [False, True])
def test_mixed_writes_a_replay_line_then_a_rollout_line(streaming: bool, tmp_path: Path) -> None:
    more = ["--mode", "mixed", "--replay-manifest", str(capture()), "--rollout-ticks", "20", "--epochs", "2"]
    more += ["--replay-streaming", "--replay-shuffle"] if streaming else []
    saved = tmp_path / "saved"
    assert main(command(tmp_path / "run", *more, "--rollout-save-dir", str(saved), "-q")) == 0
    rows = lines(tmp_path / "run" / "metrics.jsonl")
    assert [(row["data_mode"], row["epoch"]) for row in rows] == [
        ("replay", 1),
        ("rollout", 1),
        ("replay", 2),
        ("rollout", 2),
    ]
    assert rows[0]["transitions"] == 3 * 40 * 2 and rows[1]["rollout_ticks"] == 20
    run = read_run(tmp_path / "run")
    assert run.promotion is not None and run.summary.env == "town" and run.summary.mode == "mixed"
    assert len(read_capture_manifest(saved / "rollout_sample_manifest.json").accepted) >= 6


@pytest.mark.usefixtures("quick")
def test_a_run_that_was_stopped_is_resumed_by_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--mode", "rollout", "--rollout-ticks", "10", "--epochs", "3", "-q"]
    assert main(command(tmp_path / "whole", *options)) == 0
    real, made = module.planned_update, 0

    def failing(*arguments: object, **more: object) -> object:
        nonlocal made
        made += 1
        if made == 3:
            raise KeyboardInterrupt
        return real(*arguments, **more)

    monkeypatch.setattr(module, "planned_update", failing)
    code = main(command(tmp_path / "run", *options))
    assert code != 0
    monkeypatch.setattr(module, "planned_update", real)
    assert main(["train", "--resume", str(tmp_path / "run"), "-q"]) == 0
    ours, theirs = (read_run(tmp_path / name).summary for name in ("run", "whole"))
    assert ours.weights_sha256 == theirs.weights_sha256
    assert (tmp_path / "run" / "policy.onnx").read_bytes() == (tmp_path / "whole" / "policy.onnx").read_bytes()


@pytest.mark.usefixtures("quick")
def test_another_record_than_the_one_begun_with_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    shutil.copytree(originals().parent, data)
    config = schedule(tmp_path, manifest=data / "idle_v9.json")
    real = module.planned_update

    def killed(*_: object, **__: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "planned_update", killed)
    assert (
        main(
            [
                "train",
                str(config),
                "--mode",
                "replay",
                "--train-ppo",
                "--run-dir",
                str(tmp_path / "run"),
                "--threads",
                "1",
                "-q",
            ]
        )
        != 0
    )
    monkeypatch.setattr(module, "planned_update", real)
    (data / "idle_v9.json").write_text(json.dumps(json.loads((data / "idle_v9.json").read_text())[:2]))
    capsys.readouterr()
    assert main(["train", "--resume", str(tmp_path / "run")]) == 2
    assert "notes.record" in capsys.readouterr().err


@pytest.mark.usefixtures("quick")
def test_the_social_stage_of_a_cycle_is_that_of_its_town(tmp_path: Path) -> None:
    config = schedule(
        tmp_path,
        "cycle: 1, mode: ppo, bc_weight: 0",
        "cycle: 2, mode: ppo, bc_weight: 0",
        more="  social_reward_schedule: [{cycle: 2, stage: C2}]\n",
    )
    text = config.read_text()
    config.write_text("\n".join(line for line in text.splitlines() if "manifest" not in line) + "\n")
    assert main(command(tmp_path / "run", "-q", str(config))) == 0
    found = json.loads((tmp_path / "run" / "anneal_results.json").read_text())
    assert [each["data_mode"] for each in found] == ["rollout", "rollout"]
    assert found[1]["anneal_queue_baseline"] == found[0]["queue_conflict_events"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--mode", "replay"], "learns from a record: name one with --replay-manifest"),
        (["--mode", "rollout", "--replay-manifest", "x.json"], "mode rollout has no use for a record"),
        (["--mode", "mixed", "--capture-dir", "x"], "mode mixed takes no directory"),
        (["--capture-dir", "x", "--replay-manifest", "y"], "--replay-manifest and --capture-dir: name one record"),
        (["--mode", "rollout", "--replay-meta", "x.json"], "is the description of a --replay-sample"),
        (["--mode", "replay", "--replay-manifest", "none.json"], "none.json"),
        (
            ["--mode", "rollout", "--env", "gymnasium:CartPole-v1", "--rollout-save-dir", "x"],
            "captures are of the town",
        ),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    options: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *options]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_mixed_needs_a_record_that_fits_the_world(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(tmp_path / "run", "--mode", "mixed", "--replay-manifest", str(originals()))) == 2
    assert "mode mixed learns in the world too" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_stage_of_cloning_without_data_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("training: {source: anneal, anneal_schedule: [{mode: bc}]}\n")
    assert main(["train", str(config), "--run-dir", str(tmp_path / "run")]) == 2
    assert "a stage `bc` clones data: name it with --bc-manifest" in capsys.readouterr().err


@pytest.fixture
def shards() -> Iterator[str]:
    """The capture of the tests as shards behind a URL, whose store lies in the memory of this process."""
    memory = pytest.importorskip("fsspec.implementations.memory")
    convert(capture(), "memory://recorded", to="shards")
    yield "memory://recorded"
    memory.MemoryFileSystem.store.clear()


def weights_of(run_dir: Path) -> str:
    return read_run(run_dir).summary.weights_sha256


REPLAY = ("--mode", "replay", "--train-ppo", "--epochs", "2", "-q")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("option", ["--replay-manifest", pytest.param("--data", marks=pytest.mark.thorough)])
def test_a_record_is_read_behind_a_url(option: str, shards: str, tmp_path: Path) -> None:
    convert(capture(), tmp_path / "shards", to="shards")
    assert main(command(tmp_path / "here", *REPLAY, "--replay-manifest", str(tmp_path / "shards"))) == 0
    assert main(command(tmp_path / "url", *REPLAY, option, shards)) == 0
    assert weights_of(tmp_path / "url") == weights_of(tmp_path / "here")


@pytest.mark.usefixtures("quick")
def test_a_run_on_a_url_goes_on_where_it_is_typed_again(
    shards: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = module.planned_update

    def killed(*_: object, **__: object) -> object:
        raise KeyboardInterrupt

    assert main(command(tmp_path / "whole", *REPLAY, "--replay-manifest", shards)) == 0
    monkeypatch.setattr(module, "planned_update", killed)
    assert main(command(tmp_path / "run", *REPLAY, "--replay-manifest", shards)) != 0
    monkeypatch.setattr(module, "planned_update", real)
    resume = ["train", "--resume", str(tmp_path / "run"), "-q"]
    for more, problem in (
        ((), f"{shards}: name it again, --replay-manifest URL; one that a file names is not opened"),
        (("--replay-manifest", "memory://other"), "config.yaml says otherwise"),
        (("--data", "memory://other"), f"{shards}: name it again, --replay-manifest URL"),
    ):
        capsys.readouterr()
        assert main([*resume, *more]) == 2
        assert problem in capsys.readouterr().err
    assert main([*resume, "--replay-manifest", shards]) == 0
    assert weights_of(tmp_path / "run") == weights_of(tmp_path / "whole")


@pytest.mark.usefixtures("quick")
def test_a_schedule_clones_what_a_url_holds_and_opens_none_of_its_file(
    shards: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = ("cycle: 0, mode: bc, epochs: 2", "cycle: 1, mode: ppo")
    config = schedule(tmp_path, *stages)
    options = ["--threads", "1", "--set", "training.anneal_accuracy_threshold=0", "-q"]
    typed = ["--replay-manifest", shards, "--bc-manifest", shards]
    assert main(["train", str(config), "--run-dir", str(tmp_path / "run"), *options, *typed]) == 0
    assert json.loads((tmp_path / "run" / "anneal_results.json").read_text())[0]["passed"] is True
    named = schedule(tmp_path, *stages, manifest=Path("recorded"))
    named.write_text(named.read_text().replace("manifest: recorded", f"manifest: {shards}"))
    for more, problem in (
        ((), f"{shards}: name it again, --replay-manifest URL; one that a file names is not opened"),
        (("--replay-manifest", str(capture())), f"{shards}: name it again, --bc-manifest URL"),
    ):
        capsys.readouterr()
        assert main(["train", str(named), "--run-dir", str(tmp_path / "other"), *options, *more]) == 2
        assert problem in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


@pytest.mark.usefixtures("quick")
def test_a_clone_alone_learns_from_the_url_of_its_manifest(shards: str, tmp_path: Path) -> None:
    run_dir, small = tmp_path / "run", ("--mode", "bc", "--set", "training.bc.epochs=1", "-q")
    assert main(command(run_dir, *small, "--bc-manifest", shards)) in (0, 1)
    assert json.loads((run_dir / "begun.json").read_text())["data"][0]["path"] == shards
