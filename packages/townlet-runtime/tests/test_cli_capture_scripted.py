"""Samples of a behavior that is named: files, keys, tags, and agents that come back."""

import json
from pathlib import Path

import numpy as np
import pytest

from townlet_runtime.cli import main
from townlet_trajectory.formats.captures.sample import decode_sample
from townlet_trajectory.formats.open import open_dataset

SCENARIOS = Path(__file__).parent / "data" / "scenarios"
KITCHEN, POC = SCENARIOS / "kitchen_breakfast.yaml", SCENARIOS / "poc_hybrid.yaml"
KEYS = set(
    "variant map_shape map_channels feature_names embedding_slot social_context local_summary agent_id trajectory_id "
    "training_arrays timesteps value_pred_steps action_lookup action_dim tags scenario quality_metrics".split()
)
"""Of the original's samples."""


def captured(folder: Path, *arguments: str) -> dict[str, dict]:
    """The descriptions by file name."""
    assert main(["capture", "scripted", *arguments, "--output", str(folder), "-q"]) == 0
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def test_every_agent_waits_and_no_manifest_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "scr"
    arguments = [str(POC), "--ticks", "20", "--output", str(folder), "--tags", "a, b,"]
    assert main(["capture", "scripted", *arguments]) == 0
    out, err = capsys.readouterr()
    assert out == "" and err.endswith(f"captured 2 samples to {folder}\n")
    names = ["idle_alice.json", "idle_alice.npz", "idle_bob.json", "idle_bob.npz"]
    assert sorted(path.name for path in folder.iterdir()) == names
    found = json.loads((folder / "idle_bob.json").read_text())
    assert found.keys() >= KEYS
    assert (found["tags"], found["scenario"], found["trajectory_id"]) == (["a", "b"], "idle", "idle_bob")
    with np.load(folder / "idle_bob.npz") as arrays:
        rewards, actions = arrays["rewards"], arrays["actions"]
    assert found["quality_metrics"] == {"reward_sum": pytest.approx(float(rewards.sum())), "timesteps": 20}
    texts = {action: text for text, action in found["action_lookup"].items()}
    assert {json.loads(texts[action])["kind"] for action in actions.tolist()} == {"wait"}


def test_a_schedule_does_not_overrule_the_behavior(tmp_path: Path) -> None:
    # Alice and bob of the kitchen have schedules, which `capture rollout` plays.
    found = captured(tmp_path, str(KITCHEN), "--ticks", "10")
    assert [each["metrics"]["action_wait_count"] for each in found.values()] == [10.0, 10.0]
    assert all(each["tags"] == ["idle"] for each in found.values())
    rollout = tmp_path / "rollout"
    assert main(["capture", "rollout", str(KITCHEN), "--output", str(rollout), "-q"]) == 0
    described = json.loads((rollout / "rollout_sample_alice_001.json").read_text())
    assert described["metrics"]["action_wait_count"] < described["timesteps"] == 40
    (tmp_path / "acts").mkdir()
    acts = captured(tmp_path / "acts", str(KITCHEN), "--ticks", "10", "--scenario", "nearest")
    assert sorted(acts) == ["nearest_alice", "nearest_bob"]


def test_agents_are_added_where_there_are_none_and_later_lives_are_numbered(tmp_path: Path) -> None:
    config = tmp_path / "empty.yaml"
    config.write_text("config_id: empty\ntown: {episode_ticks: 20}\n")
    found = captured(tmp_path / "scr", str(config), "--ticks", "50")
    # Two episodes of 20 ticks, and 10 ticks of a third.
    assert sorted(found) == sorted(f"idle_{agent}{life}" for agent in ("alice", "bob") for life in ("", "_002", "_003"))
    assert [found[f"idle_bob{life}"]["timesteps"] for life in ("", "_002", "_003")] == [20, 20, 10]


def test_the_samples_are_whole_and_a_data_set(tmp_path: Path) -> None:
    captured(tmp_path, str(POC), "--ticks", "12")
    npz = tmp_path / "idle_alice.npz"
    description = npz.with_suffix(".json")
    sample = decode_sample(npz.read_bytes(), description.read_bytes(), npz_path=npz, description_path=description)
    assert sample.trajectory is not None and len(sample) == 12 and not sample.trajectory.terminated
    with open_dataset(npz) as dataset:
        assert dataset.info.group == "agents"


def test_what_cannot_be_done_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = ["--output", str(tmp_path / "scr")]
    for wrong, problem in (
        (["--scenario", "kitchen_breakfast", *output], "--scenario kitchen_breakfast: expected a behavior of the town"),
        (["--ticks", "0", *output], "'--ticks'"),
        ([], "Missing option '--output'"),
        ([str(tmp_path / "no.yaml"), *output], "no.yaml: cannot read it"),
    ):
        assert main(["capture", "scripted", *wrong]) == 2
        assert problem in capsys.readouterr().err
    assert not (tmp_path / "scr").exists()
    assert main(["capture", "scripted", "--ticks", "3", *output, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == ["idle_alice.npz", "idle_bob.npz"]
