"""Frozen opponents are read where they are named, and kept in the run directory byte for byte."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from finished_run import CONFIG, town_policy, write_finished_run

from townlet_runtime.config import town_config
from townlet_runtime.errors import PolicyFileError, RunDirectoryError, SimulationError
from townlet_runtime.runs.opponents import fits, keep_opponents, kept_opponents, read_opponent, sha256_of
from townlet_runtime.simulation.interface import SimulationSpec
from townlet_runtime.testing import Corridor
from townlet_runtime.town import Town

SPEC = Town(town_config(CONFIG), num_worlds=1).spec


def policy_in(folder: Path) -> Path:
    path = folder / "one.onnx"
    path.write_bytes(town_policy())
    return path


def test_a_file_and_the_run_that_it_is_of_hold_the_same_opponent(tmp_path: Path) -> None:
    from_file = read_opponent(policy_in(tmp_path), "rivals", SPEC)
    from_run = read_opponent(write_finished_run(tmp_path / "run"), "rivals", SPEC)
    assert from_file.data == from_run.data == town_policy()
    assert sha256_of({"rivals": from_file}) == {"rivals": hashlib.sha256(town_policy()).hexdigest()}


@pytest.mark.parametrize("spec", [Corridor().spec, replace(SPEC, feature_names=SPEC.feature_names[::-1])])
def test_an_opponent_must_fit_the_group_that_it_plays(tmp_path: Path, spec: SimulationSpec) -> None:
    path = policy_in(tmp_path)
    fitting = fits(read_opponent(path, "rivals", SPEC), spec)
    if spec.name == "corridor":
        assert not fitting
        with pytest.raises(SimulationError, match="the policy does not fit `corridor`"):
            read_opponent(path, "rivals", spec)
        with pytest.raises(RunDirectoryError, match="expected a policy for the group `rivals`.* which do not fit"):
            read_opponent(write_finished_run(tmp_path / "run"), "rivals", spec)
    else:
        assert fitting  # its label does not name its features


def test_what_is_kept_is_what_is_read_again(tmp_path: Path) -> None:
    policies = {"rivals": read_opponent(policy_in(tmp_path), "rivals", SPEC)}
    keep_opponents(tmp_path, policies)
    noted = sha256_of(policies)
    assert (tmp_path / "opponent-rivals.onnx").read_bytes() == town_policy()
    assert kept_opponents(tmp_path, noted)["rivals"].data == town_policy()
    with pytest.raises(RunDirectoryError, match="expected the opponent that the run was begun with, SHA-256 0000"):
        kept_opponents(tmp_path, {"rivals": "0" * 64})
    (tmp_path / "opponent-rivals.onnx").unlink()
    with pytest.raises(PolicyFileError, match="opponent-rivals.onnx: expected a readable policy file"):
        kept_opponents(tmp_path, noted)
