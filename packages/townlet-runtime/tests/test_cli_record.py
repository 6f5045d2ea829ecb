import json
from pathlib import Path

import pytest
from finished_run import CONFIG, write_finished_run
from onnx_files import ElmanNetwork, card

from townlet_runtime.cli import main
from townlet_runtime.config import town_config
from townlet_runtime.errors import RunDirectoryError
from townlet_runtime.runs.directory import require_empty
from townlet_runtime.town import Town
from townlet_runtime.town.actions import TABLE
from townlet_trajectory import Source
from townlet_trajectory.formats.captures.directory import read_captures


def test_a_recording_holds_every_step_of_every_agent(tmp_path: Path) -> None:
    folder = tmp_path / "samples"
    assert main(["run", "-q", "--ticks", "30", "--record", str(folder), "--set", "town.agents=4", "--seed", "7"]) == 0
    capture = read_captures(folder / "rollout_sample_manifest.json")
    assert (capture.metadata["ticks"], capture.metadata["seed"], capture.metadata["policy_hash"]) == (30, 7, None)
    assert capture.metadata["config_id"] == "town"
    batch = capture.batch()
    assert (len(batch), batch.num_steps) == (4, 120)
    assert set(batch.columns["source"].tolist()) == {Source.SCRIPTED}
    lookup = json.loads((folder / "rollout_sample_agent_01_001.json").read_text())["action_lookup"]
    assert len(lookup) == len(TABLE.vocabulary)
    # every text holds the keys that readers of the original's frames know
    actions = {number: json.loads(text) for text, number in lookup.items()}
    assert all({"kind", "object", "affordance", "blocked"} < action.keys() for action in actions.values())
    for key, kind, target in (("go_to:workplace", "move", None), ("request:bed:nearest", "request", "bed")):
        said = {"action": key, "kind": kind, "object": target, "affordance": None, "blocked": False}
        assert actions[TABLE.index(key)] == said


def test_with_a_policy_the_steps_can_be_learned_from(tmp_path: Path) -> None:
    run_dir = write_finished_run(tmp_path / "run")
    folder = tmp_path / "samples"
    assert main(["run", "-q", "--policy", str(run_dir), "--ticks", "30", "--record", str(folder)]) == 0
    capture = read_captures(folder / "rollout_sample_manifest.json")
    assert isinstance(capture.metadata["policy_hash"], str)
    assert capture.metadata["config_path"] == str(run_dir / "config.yaml")
    assert (capture.batch().columns["behavior_log_prob"] < 0.0).any()
    assert any(sample.value_preds[-1] != 0.0 for sample in capture.samples)


def test_two_recordings_do_not_mix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x").write_text("mine")
    assert main(["run", "--ticks", "1", "--record", str(tmp_path)]) == 2
    assert f"{tmp_path}: exists and is not empty" in capsys.readouterr().err
    with pytest.raises(RunDirectoryError, match="cannot be read: Not a directory"):
        require_empty(tmp_path / "x")
    require_empty(tmp_path / "absent")


def test_a_recurrent_policy_acts_and_is_not_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = Town(town_config(CONFIG), num_worlds=1).spec
    (width,) = spec.observation_shapes["features"]
    label = card(spec.vocabulary.keys, spec.observation_shapes, world=spec.name, state_size=3)
    path = tmp_path / "policy.onnx"
    path.write_bytes(ElmanNetwork(width, len(spec.vocabulary)).file(label, spec.observation_shapes))
    command = ["run", "--policy", str(path), "--ticks", "20", "--set", "town.agents=3", "--json"]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["sources"]["learned"] == 60
    assert main([*command, "--record", str(tmp_path / "samples")]) == 2
    assert "--record: steps hold no recurrent state, and the policy has some" in capsys.readouterr().err
