import json
from pathlib import Path

import numpy as np
import pytest
from boats import NUMBERS
from finished_run import CONFIG, write_finished_run
from onnx_files import ElmanNetwork, card

from townlet_runtime.cli import main
from townlet_runtime.config import town_config
from townlet_runtime.errors import RunDirectoryError
from townlet_runtime.policy.onnx import RecurrentOnnxPolicy
from townlet_runtime.runs.directory import require_empty
from townlet_runtime.simulation.interface import SimulationSpec
from townlet_runtime.town import Town
from townlet_runtime.town.actions import TABLE
from townlet_trajectory import Source, load_batch
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


def memory_policy(folder: Path) -> tuple[Path, SimulationSpec]:
    """A policy file with three numbers of memory for the town of the config."""
    spec = Town(town_config(CONFIG), num_worlds=1).spec
    (width,) = spec.observation_shapes["features"]
    label = card(spec.vocabulary.keys, spec.observation_shapes, world=spec.name, state_size=3)
    path = folder / "policy.onnx"
    path.write_bytes(ElmanNetwork(width, len(spec.vocabulary)).file(label, spec.observation_shapes))
    return path, spec


def test_a_recurrent_policy_acts_and_its_memory_is_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, _ = memory_policy(tmp_path)
    command = ["run", "--policy", str(path), "--ticks", "20", "--set", "town.agents=3", "--json"]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["sources"]["learned"] == 60
    assert main([*command, "--record", f"npz:{tmp_path / 'steps'}"]) == 0
    batch = load_batch(tmp_path / "steps" / "agents.npz")
    state = batch.columns["policy_state"]
    assert state.shape == (60, 3)
    begins = batch.offsets[:-1]
    assert not state[begins].any()
    assert np.delete(state, begins, axis=0).any(axis=1).all()


def test_the_end_of_a_capture_is_worth_what_a_policy_with_memory_says(tmp_path: Path) -> None:
    path, spec = memory_policy(tmp_path)
    folder = tmp_path / "captures"
    command = ["run", "-q", "--policy", str(path), "--ticks", "20", "--set", "town.agents=3"]
    assert main([*command, "--record", str(folder)]) == 0
    assert main([*command, "--record", f"npz:{tmp_path / 'steps'}"]) == 0
    batch, policy = load_batch(tmp_path / "steps" / "agents.npz"), RecurrentOnnxPolicy.load(path)
    values = []
    for one in range(len(batch)):
        trajectory = batch.trajectory(one)
        state = np.zeros((1, 3), np.float32)
        for step in range(len(trajectory) + 1):
            seen = {name: trajectory.observations[name][step : step + 1] for name in spec.observation_shapes}
            _, value, state = policy.act(seen, None, state)
        assert value is not None
        values.append(float(value[0]))
    samples = read_captures(folder / "rollout_sample_manifest.json").samples
    found = sorted(float(sample.value_preds[-1]) for sample in samples)
    np.testing.assert_allclose(found, sorted(values), rtol=1e-4)


def test_a_world_of_numbers_is_recorded_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "steps"
    assert main(["run", "--env", "boats:Boats", "--ticks", "30", "--record", str(folder), "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["reward_terms"]) == {"nearer"}
    batch = load_batch(folder / "agents.npz")
    assert batch.schema.actions is not None
    assert batch.schema.actions.digest == NUMBERS.digest
    assert {name: spec.shape for name, spec in batch.schema.observations.items()}["state"] == (9,)
    assert batch.columns["action"].dtype == np.float32
    # the script's own numbers, and zeros where it said nothing
    proposed = batch.columns["proposer"] == 0
    np.testing.assert_array_equal(batch.columns["expert_action"][~proposed], 0.0)
    kept = proposed & ~batch.columns["vetoed"]
    np.testing.assert_array_equal(batch.columns["action"][kept], batch.columns["expert_action"][kept])
    assert proposed.any()
    assert (~proposed).any()
    # captures, which have one action a step, are refused by name
    assert main(["run", "--env", "boats:Boats", "--ticks", "5", "--record", f"captures:{tmp_path / 'c'}"]) == 2
    assert "captures hold what a town shows" in capsys.readouterr().err
