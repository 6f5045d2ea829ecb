import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from townlet_runtime.cli import main
from townlet_runtime.town.observations import FEATURES
from townlet_trajectory.formats.captures.directory import read_captures, read_metrics

DATA = Path(__file__).parent / "data"
KITCHEN, QUEUE = DATA / "scenarios" / "kitchen_breakfast.yaml", DATA / "scenarios" / "queue_conflict.yaml"
KEYS = json.loads((DATA / "capture_keys.json").read_text())
"""What readers of the original's captures find in each file."""


def captured(folder: Path, *arguments: str) -> Path:
    assert main(["capture", "rollout", *arguments, "--output", str(folder), "-q"]) == 0
    return folder


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["capture", "rollout", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1 + err.count("townlet: warning: ")
    return err.splitlines()[-1]


def test_a_scenario_becomes_a_sample_of_each_agent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "cap"
    assert main(["capture", "rollout", str(QUEUE), "--ticks", "5", "--output", str(folder)]) == 0
    assert capsys.readouterr().out == f"Captured 3 replay samples to {folder}\n"
    stems = ["rollout_sample_anna_001", "rollout_sample_ben_002", "rollout_sample_cara_003"]
    others = ["rollout_sample_manifest.json", "rollout_sample_metrics.json"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [f"{stem}.{kind}" for stem in stems for kind in ("json", "npz")] + others
    )
    capture = read_captures(folder / "rollout_sample_manifest.json")
    # `scenario.ticks` wins over --ticks.
    assert [len(sample) for sample in capture.samples] == [80, 80, 80]
    assert capture.metadata == {
        **capture.metadata,
        "config_path": str(QUEUE),
        "config_id": "scenario_queue_conflict",
        "scenario_name": "queue_conflict",
        "ticks": 80,
        "seed": 5252,
        "policy_hash": None,
    }
    batch = capture.batch()
    assert (batch.agent_ids.tolist(), batch.num_steps) == (["anna", "ben", "cara"], 240)


def test_what_is_read_out_keeps_its_names(tmp_path: Path) -> None:
    folder = captured(tmp_path, str(QUEUE))
    manifest = json.loads((folder / "rollout_sample_manifest.json").read_text())
    metrics = json.loads((folder / "rollout_sample_metrics.json").read_text())
    sample = json.loads((folder / "rollout_sample_ben_002.json").read_text())
    assert set(KEYS["sample"]) <= sample.keys()
    assert sorted(sample["social_context"]) == KEYS["social_context"]
    assert sorted(sample["local_summary"]) == KEYS["local_summary"]
    for document in (manifest, metrics):
        assert sorted(document["metadata"]) == sorted(sample["capture_metadata"]) == KEYS["metadata"]
    for entry in manifest["samples"]:
        assert set(KEYS["entry"]) <= entry.keys()
    # The original did not know what its ids meant; these are counted by kind.
    expected = {key for key in KEYS["metrics"] if key != "action_unknown_count"}
    found = read_metrics(folder / "rollout_sample_metrics.json")["rollout_sample_ben_002.npz"]
    assert expected <= found.keys()
    assert found == sample["metrics"]
    kinds = {key for key in found if key.startswith("action_") and key.endswith("_count")}
    assert {"action_wait_count", "action_start_count", "action_release_count"} <= kinds <= found.keys()
    assert sum(found[key] for key in kinds) == found["action_total"] == 80.0
    assert {"rivalry_max", "rivalry_avoid_count", "lateness_counter"} <= set(sample["feature_names"])
    assert sample["feature_names"] == list(FEATURES)
    assert sample["action_dim"] == len(sample["action_lookup"])
    assert found["rivalry_max_max"] > 0.0


def test_the_arrays_are_the_classic_ones(tmp_path: Path) -> None:
    folder = captured(tmp_path, str(KITCHEN))
    with np.load(folder / "rollout_sample_bob_002.npz") as arrays:
        found = {name: (arrays[name].dtype.name, arrays[name].shape) for name in arrays.files if "." not in name}
    assert found == {
        "map": ("float32", (40, 4, 11, 11)),
        "features": ("float32", (40, len(FEATURES))),
        "actions": ("int64", (40,)),
        "old_log_probs": ("float32", (40,)),
        "value_preds": ("float32", (41,)),
        "rewards": ("float32", (40,)),
        "dones": ("bool", (40,)),
        "ticks": ("int64", (40,)),
    }


def test_one_agent_under_another_name(tmp_path: Path) -> None:
    folder = captured(tmp_path, str(QUEUE), "--agent-id", "ben", "--compress", "--prefix", "x")
    names = ["x_ben_001.json", "x_ben_001.npz", "x_manifest.json", "x_metrics.json"]
    assert sorted(path.name for path in folder.iterdir()) == names


def test_a_second_capture_replaces_the_first(tmp_path: Path) -> None:
    for config, agents in ((QUEUE, 3), (KITCHEN, 2)):
        folder = captured(tmp_path, str(config))
        assert len(read_captures(folder / "rollout_sample_manifest.json").samples) == agents


def test_without_a_scenario_the_option_says_how_long_and_who_is_there(tmp_path: Path) -> None:
    config = tmp_path / "empty.yaml"
    config.write_text("config_id: empty")
    seeded = read_captures(
        captured(tmp_path / "a", str(config), "--ticks", "7", "--auto-seed-agents") / "rollout_sample_manifest.json"
    )
    assert [sample.metadata["agent_id"] for sample in seeded.samples] == ["alice", "bob"]
    assert [len(sample) for sample in seeded.samples] == [7, 7]
    drawn = read_captures(captured(tmp_path / "b", str(config), "--ticks", "2") / "rollout_sample_manifest.json")
    assert len(drawn.samples) == 10
    usual = read_captures(captured(tmp_path / "c", str(config)) / "rollout_sample_manifest.json")
    assert usual.metadata["ticks"] == 100


def test_programmes_get_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["capture", "rollout", str(KITCHEN), "--output", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "samples": 2,
        "ticks": 40,
        "manifest": str(tmp_path / "rollout_sample_manifest.json"),
    }


def test_what_cannot_be_done_is_one_line_that_names_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = ("--output", str(tmp_path / "cap"))
    assert "nowhere.yaml: cannot read it" in refusal(capsys, "nowhere.yaml", *output)
    assert refusal(capsys, str(QUEUE), "--agent-id", "zed", *output) == (
        "townlet: error: --agent-id zed: nobody of this name was there, only anna, ben, cara"
    )
    assert "Missing option '--output'" in refusal(capsys, str(QUEUE))
    assert "'--ticks'" in refusal(capsys, str(QUEUE), "--ticks", "0", *output)
    assert "`prefix` must be a plain file name, got 'a/b'" in refusal(capsys, str(QUEUE), "--prefix", "a/b", *output)
    (tmp_path / "file").write_text("")
    said = refusal(capsys, str(QUEUE), "--output", str(tmp_path / "file" / "cap"))
    assert said.endswith("file is no directory")
    corridor = ("--env", "townlet_runtime.testing:Corridor")
    said = refusal(capsys, *corridor, "--auto-seed-agents", *output)
    assert said.endswith("--auto-seed-agents: is for the town, and the world is `townlet_runtime.testing:Corridor`")
    said = refusal(capsys, *corridor, "--output", f"captures:{tmp_path / 'cap'}")
    assert "captures hold what a town shows, and the world is `townlet_runtime.testing:Corridor`" in said
    assert not (tmp_path / "cap").exists()


def test_a_schedule_that_means_nothing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "typo.yaml"
    config.write_text(KITCHEN.read_text().replace("object: stove_1", "object: stove_2"))
    said = refusal(capsys, str(config), "--output", str(tmp_path / "cap"))
    assert said.endswith("`agents[alice].schedule[1].object`: expected one of fridge_1, stove_1, got 'stove_2'")


@pytest.mark.parametrize("arguments", [["capture", "--help"], ["capture", "rollout", "--help"]])
def test_help_fits_a_terminal_and_imports_nothing_heavy(arguments: list[str]) -> None:
    script = f"""
import sys
from townlet_runtime.cli import main
assert main({arguments!r}) == 0
loaded = [name for name in ("numpy", "yaml", "townlet_behavior", "townlet_runtime.config") if name in sys.modules]
raise SystemExit(f"imported for help: {{loaded}}" if loaded else 0)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "rollout" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
