"""`townlet policy adapt`, on a run in lanes and on wider lanes, and runs that begin with what came out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lanes import CELLS, Lanes, WideLanes
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from townlet_runtime import OnnxPolicy
from townlet_runtime.cli import main
from townlet_runtime.errors import RunDirectoryError
from townlet_runtime.runs.adapted import AdaptedFile, is_adapted, read_adapted
from townlet_runtime.runs.begun import BegunFile
from townlet_runtime.runs.finished import read_run
from townlet_runtime.simulation.interface import SimulationSpec
from townlet_training.run.initial import InitialPolicy, initial_of_run

TINY = {
    "network.hidden_sizes": "[8]",
    "training.rollout_ticks": "12",
    "training.eval_episodes": "10",
    "training.final_episodes": "10",
    "promotion.num_episodes": "10",
    "gates.num_resamples": "100",
    "promotion.num_resamples": "100",
}
STEPS = 2 * 12 * 3


def train(run_dir: Path, world: str, *more: str, steps: int = STEPS) -> int:
    settings = [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]
    options = ["--total-steps", str(steps), "--num-envs", "2", "--threads", "1", "--eval-every", "1"]
    return main(["train", "-q", "--run-dir", str(run_dir), "--env", f"lanes:{world}", *options, *settings, *more])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run in lanes."""
    path = tmp_path_factory.mktemp("runs") / "lanes"
    assert train(path, "Lanes", "--mode", "ppo") in (0, 1)
    return path


def adapt(source: Path, output: Path, *more: str) -> int:
    return main(["policy", "adapt", str(source), "--output", str(output), "--env", "lanes:WideLanes", *more])


@pytest.fixture(scope="module")
def wide(run: Path) -> Path:
    """Its policy, adapted to wider lanes."""
    path = run.parent / "wide"
    assert adapt(run, path, "-q", "--prior", "0.05", "--reference-ticks", "60") == 0
    return path


def seen_by(spec: SimulationSpec, rows: int) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(3)
    return {name: rng.normal(size=(rows, *shape)).astype(np.float32) for name, shape in spec.observation_shapes.items()}


def test_what_comes_out_acts_as_before_but_for_the_new_action(run: Path, wide: Path) -> None:
    old, new = OnnxPolicy.load(run / "policy.onnx"), OnnxPolicy.load(wide / "policy.onnx")
    assert new.vocabulary == ("wait", "leap", "left", "right")
    seen = seen_by(WideLanes().spec, 200)
    before = {"cell": seen["cell"], "features": seen["features"][:, [1, 2]]}
    log_probs, values = new.act(seen, None)
    expected, expected_values = old.act(before, None)
    assert_array_equal(values, expected_values)
    # Shares among the old actions are as they were.
    kept = np.exp(log_probs[:, [0, 2, 3]].astype(np.float64))
    assert_allclose(kept / kept.sum(axis=1, keepdims=True), np.exp(expected), atol=1e-6)
    assert_array_equal(kept.argmax(axis=1), expected.argmax(axis=1))


def test_the_record_says_what_was_done(run: Path, wide: Path) -> None:
    record = AdaptedFile.read(wide / "adapted.json")
    group = record.groups["agents"]
    leap = group.actions["leap"]
    assert group.observations == ("beat", "features[ice]")
    assert (record.source, record.environment, record.reference) == (str(run), "lanes:WideLanes", None)
    assert record.source_weights_sha256 == initial_of_run(run).sha256
    assert record.weights_sha256 == InitialPolicy.read(wide / "initial").sha256
    # 60 ticks of 16 worlds; where the end is near there is no leap.
    assert record.reference_rows == {"agents": 960} and 0 < leap.rows < 960
    assert leap.prior == 0.05 and abs(leap.probability - 0.05) < 1e-6


def test_its_files_are_those_of_its_manifest(wide: Path, tmp_path: Path) -> None:
    assert is_adapted(wide) and set(read_adapted(wide).policies) == {"agents"}
    with pytest.raises(RunDirectoryError, match="expected the directory of a finished run, found an adapted policy"):
        read_run(wide)
    for name in ("policy.onnx", "initial/weights.safetensors", "adapted.json", "config.yaml"):
        copied = tmp_path / name.replace("/", "-")
        shutil.copytree(wide, copied)
        data = bytearray((copied / name).read_bytes())
        data[len(data) // 2] ^= 1
        (copied / name).write_bytes(bytes(data))
        with pytest.raises(RunDirectoryError, match="expected .* bytes with SHA-256"):
            read_adapted(copied)


def test_it_acts_at_once(wide: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--policy", str(wide), "--env", "lanes:WideLanes", "--ticks", "48", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sources"]["learned"] == 48
    assert main(["policy", "check", str(wide / "policy.onnx"), "-q"]) == 0


def test_the_same_comes_out_again(run: Path, wide: Path, tmp_path: Path) -> None:
    assert adapt(run, tmp_path / "again", "-q", "--prior", "0.05", "--reference-ticks", "60") == 0
    names = {path.relative_to(wide) for path in wide.rglob("*") if path.is_file()}
    assert names == {path.relative_to(tmp_path / "again") for path in (tmp_path / "again").rglob("*") if path.is_file()}
    for name in names:
        assert (wide / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


@pytest.mark.parametrize("world", ["Lanes", "WideLanes"])
def test_reference_rows_may_be_a_data_set_of_either_world(run: Path, wide: Path, tmp_path: Path, world: str) -> None:
    policy = run if world == "Lanes" else wide
    target, data = f"lanes:{world}", tmp_path / "data"
    record = ["run", "-q", "--policy", str(policy), "--env", target, "--ticks", "96", "--record", f"npz:{data}"]
    assert main(record) == 0
    (path,) = data.rglob("*.npz") if data.is_dir() else [data]
    assert adapt(run, tmp_path / "out", "-q", "--reference", str(path), "--prior", "leap=0.2") == 0
    found = AdaptedFile.read(tmp_path / "out" / "adapted.json")
    leap = found.groups["agents"].actions["leap"]
    assert found.reference == str(path) and found.reference_sha256 is not None
    assert found.reference_rows == {"agents": 96}
    # Rows of the old world do not know where a leap is legal.
    assert leap.rows == 96 if world == "Lanes" else 0 < leap.rows <= 96
    assert abs(leap.probability - 0.2) < 1e-6


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--prior", "1.5"], "--prior: expected P or KEY=P with P in (0, 1), got '1.5'"),
        (["--prior", "leap"], "--prior: expected P or KEY=P with P in (0, 1), got 'leap'"),
        (["--prior", "fly=0.1"], "--prior: `fly` is no new action; there are leap"),
        (["--rename", "left"], "--rename: expected NAME=NAME, got 'left'"),
        (["--rename", "hop=left"], "the policy has no action, observation or feature `hop` to be renamed"),
        (
            ["--env", "lanes:Lanes"],
            "nothing is to be adapted: the world has the observations and actions of the policy",
        ),
        (["--env", "town"], "the policy cannot be adapted to `town`: the action `left` is gone; the action `right` is"),
    ],
)
def test_what_does_not_fit_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert adapt(run, tmp_path / "out", *more) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_a_source_that_is_none_is_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for source, message in (
        (run / "policy.onnx", "a policy file can act, but not be trained on; name the directory of its run"),
        (tmp_path / "none", "expected a finished run or an adapted policy, found no directory"),
        (tmp_path, "expected a finished run or an adapted policy, found no manifest.json in it"),
    ):
        assert adapt(source, tmp_path / "out") == 2
        assert message in " ".join(capsys.readouterr().err.split())
    (tmp_path / "there").mkdir()
    assert adapt(run, tmp_path / "there") == 2
    assert "there: exists; name another one with --output" in capsys.readouterr().err


def test_an_adapted_policy_is_trained_on_and_judged(run: Path, wide: Path, tmp_path: Path) -> None:
    path = tmp_path / "on"
    settings = {key: value for key, value in TINY.items() if not key.startswith("network")}
    options = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    command = ["train", "-q", "--run-dir", str(path), "--env", "lanes:WideLanes", "--init-from", str(wide), *options]
    command += ["--mode", "anneal", "--total-steps", "240", "--num-envs", "2", "--threads", "1"]
    assert main([*command, "--set", "anneal.warmup_updates=1", "--set", "gates.kept_fraction=0"]) in (0, 1)
    begun = BegunFile.read(path / "begun.json")
    assert begun.initial is not None and begun.initial.path == str(wide)
    assert begun.initial.weights_sha256 == InitialPolicy.read(wide / "initial").sha256
    summary = read_run(path).summary
    assert summary.weights_sha256 != begun.initial.weights_sha256
    assert summary.clone_return_mean is not None and not summary.clone_accuracies
    stages = [json.loads(line)["stage"] for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert stages[0] == "warmup" and stages[-1] == "ppo"
    assert main(["evaluate", "-q", str(path), "--env", "lanes:WideLanes", "--episodes", "4"]) == 0
    # It can be adapted again, with nothing new in between: the blocks go on.
    assert InitialPolicy.read(wide / "initial").specs["agents"].blocks == initial_of_run(path).specs["agents"].blocks


@pytest.mark.parametrize(
    ("world", "more", "message"),
    [
        (
            "Lanes",
            [],
            "the initial policy has the actions ['wait', 'leap', 'left', 'right'], the world ['wait', 'left'",
        ),
        ("WideLanes", ["--set", "network.hidden_sizes=[9]"], "`network.hidden_sizes` is (9,), that of the initial"),
    ],
)
def test_a_run_that_the_policy_does_not_fit_is_refused(
    wide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], world: str, more: list[str], message: str
) -> None:
    path = tmp_path / "on"
    assert train(path, world, "--mode", "ppo", "--init-from", str(wide), *more) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not path.exists()


def test_worlds_are_what_they_are_meant_to_be() -> None:
    spec: Mapping[str, tuple[int, ...]] = WideLanes().spec.observation_shapes
    assert spec == {"features": (3,), "cell": (CELLS,), "beat": (2,)}
    assert replace(Lanes().spec, num_worlds=2, capacity=2) == Lanes(num_worlds=2).spec
