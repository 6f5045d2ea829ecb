"""Frozen opponents are read where they are named, and kept in the run directory byte for byte."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from finished_run import CONFIG, town_policy, write_finished_run
from small_parallel import coaches

from townlet_runtime.config import town_config
from townlet_runtime.errors import ConfigError, PolicyFileError, RunDirectoryError, SimulationError
from townlet_runtime.runs.finished import read_run
from townlet_runtime.runs.opponents import (
    frozen_opponents,
    keep_opponents,
    kept_opponents,
    opponent_files,
    opponent_groups,
    policy_for,
    read_opponent,
    sha256_of,
)
from townlet_runtime.runs.release import release_files
from townlet_runtime.simulation.interface import SimulationSpec
from townlet_runtime.simulation.one_group import OneGroup
from townlet_runtime.simulation.split_groups import SplitGroups
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
    given = read_opponent(path, "rivals", SPEC)
    playing = policy_for("rivals", spec, {"agents": given})
    if spec.name == "corridor":
        assert playing is None
        with pytest.raises(SimulationError, match="the policy does not fit `corridor`"):
            read_opponent(path, "rivals", spec)
        with pytest.raises(RunDirectoryError, match="expected a policy for the group `rivals`.* which do not fit"):
            read_opponent(write_finished_run(tmp_path / "run"), "rivals", spec)
    else:
        assert playing is given  # its label does not name its features


def test_of_several_that_fit_a_group_plays_with_its_own_policy(tmp_path: Path) -> None:
    first, second = (read_opponent(policy_in(tmp_path), "rivals", SPEC) for _ in range(2))
    assert policy_for("rivals", SPEC, {"agents": first, "rivals": second}) is second
    assert policy_for("others", SPEC, {"agents": first, "rivals": second}) is None


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


def test_a_run_with_opponents_is_no_release(tmp_path: Path) -> None:
    # a release holds the policies of all groups, and says nothing of opponents
    run = read_run(write_finished_run(tmp_path / "run"))
    assert "policy.onnx" in release_files(run)
    with pytest.raises(RunDirectoryError, match="expected policies of all groups, opponents played rivals of this"):
        release_files(replace(run, opponents={"rivals": None}))


@dataclass(frozen=True)
class Played:
    policy: str
    file: Path | None = None


def test_opponents_of_a_new_run_are_read_where_they_are_named_and_those_of_an_old_one_where_they_are_kept(
    tmp_path: Path,
) -> None:
    path, specs = policy_in(tmp_path), {"rivals": SPEC, "agents": SPEC}
    groups = {"rivals": Played(str(path), path), "agents": Played("learn")}
    policies = frozen_opponents(groups, specs, kept=None, sha256={})
    assert policies.keys() == {"rivals"}
    noted = keep_opponents(tmp_path, policies)
    path.unlink()  # the run has its own copy
    assert frozen_opponents(groups, specs, kept=tmp_path, sha256=noted)["rivals"].data == town_policy()
    with pytest.raises(ConfigError, match=r"`training.groups`: expected opponents of \[\], got \['rivals'\]"):
        frozen_opponents(groups, specs, kept=tmp_path, sha256={})
    with pytest.raises(ConfigError, match=r"`training.groups.rivals.policy`: expected learn, script, past\(k\)"):
        frozen_opponents(groups, specs, kept=None, sha256={})
    with pytest.raises(ConfigError, match=r"`training.groups`: expected a group of the world \(agents\), got rivals"):
        frozen_opponents(groups, {"agents": SPEC}, kept=None, sha256={})


def test_the_files_and_the_groups_of_opponents(tmp_path: Path) -> None:
    groups = {
        "a": Played("script"),
        "b": Played("past(3)"),
        "c": Played("x.onnx", Path("x.onnx")),
        "d": Played("learn"),
    }
    files = {"a": None, "b": tmp_path / "opponent-b.onnx", "c": tmp_path / "opponent-c.onnx"}
    assert opponent_files(groups, tmp_path) == files
    worlds = SplitGroups(OneGroup(Corridor()), {"first": 1})
    assert opponent_groups({"first": Played("script"), "agents": Played("learn")}, worlds) == ["first"]
    with pytest.raises(SimulationError, match="`corridor`: expected a group that learns, got opponents of all of"):
        opponent_groups({"first": Played("script"), "agents": Played("past(1)")}, worlds)
    riders = next(iter(coaches().specs))
    with pytest.raises(SimulationError, match=f"has no script that could play the group `{riders}`"):
        opponent_groups({riders: Played("script")}, coaches())
