"""`townlet train --mode bc` prints what scripts of the original read; other modes print a line an update."""

import ast
import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
from classic_files import write_originals

from townlet_runtime.cli import main

pytestmark = pytest.mark.usefixtures("undrawn")

SETTINGS = "config_id: bc\nnetwork: {hidden_sizes: [8]}\nbc: {learning_rate: 0.03}\n"
KEYS = ["loss", "accuracy", "mode", "manifest"]


@cache
def originals() -> Path:
    return write_originals(Path(mkdtemp()) / "idle_v9")


def train(folder: Path, training: str, *more: str) -> int:
    config = folder / "bc.yaml"
    config.write_text(f"{SETTINGS}training: {{{training}}}\n")
    return main(["train", str(config), "--run-dir", str(folder / "run"), "--threads", "1", *more])


def test_a_clone_is_one_json_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = str(originals())
    assert train(tmp_path, "bc: {epochs: 30}", "--mode", "bc", "--bc-manifest", manifest) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == KEYS
    assert (found["mode"], found["manifest"]) == ("bc", manifest)
    # The observation says what comes next.
    assert found["accuracy"] > 0.9 and 0.0 <= found["loss"] < 0.5


def test_the_config_may_name_the_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = str(originals())
    assert train(tmp_path, f"source: bc, bc: {{epochs: 1, manifest: {manifest}}}", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found.keys() == {*KEYS, "run_dir"} and found["manifest"] == manifest
    assert (Path(found["run_dir"]) / "policy.onnx").is_file()


def test_ticks_of_a_rollout_turn_replay_into_rollout_and_every_update_is_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = ["--num-envs", "2", "--set", "town.agents=3", "--set", "town.episode_ticks=40"]
    scores = [f"--set=training.{name}=10" for name in ("eval_episodes", "final_episodes")]
    options = ["--rollout-ticks", "10", "--epochs", "2", "--set", "promotion.num_episodes=10", *world, *scores]
    assert train(tmp_path, "source: replay", *options) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("PPO epoch ")]
    assert [line.partition(": ")[0] for line in lines] == ["PPO epoch 1", "PPO epoch 2"]
    rows = [ast.literal_eval(line.partition(": ")[2]) for line in lines]
    assert [(row["data_mode"], row["rollout_ticks"], row["epoch"]) for row in rows] == [
        ("rollout", 10, 1),
        ("rollout", 10, 2),
    ]
