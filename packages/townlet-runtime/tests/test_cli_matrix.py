"""Groups and opponents by command: a split town against the script, a frozen policy and an earlier self."""

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path

import pytest
from tiny_run import arguments, trained

from townlet_runtime.cli import main
from townlet_runtime.config import config_from
from townlet_runtime.core.evaluator import Evaluator
from townlet_runtime.errors import ConfigError
from townlet_runtime.runs.begun import BegunFile
from townlet_runtime.runs.finished import read_run
from townlet_runtime.workers.pool import WorkerPool

pytestmark = pytest.mark.usefixtures("undrawn")

HALF = ["--group", "half=0.5"]


@cache
def run_against(opponent: str) -> Path:
    """A run in a split town whose `half` learns, or meets its earlier self."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    run_dir = folder / "one"
    assert main(arguments(run_dir, "-q", *HALF, "--opponent", opponent)) in (0, 1)
    return run_dir


def test_against_the_script_only_the_other_group_learns_and_is_exported() -> None:
    run = read_run(run_against("agents=script"))
    assert run.policies.keys() == {"half"}
    assert run.opponents == {"agents": None}
    scores = run.evaluation.final.learned
    assert scores.group_returns.keys() == {"half", "agents"}
    assert scores.returns == scores.group_returns["half"]
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert {line["group"] for line in lines} == {"half"}
    # decisions of the script's group would halve the share; ticks may still be of what the script began before
    full = [line for line in lines if line["ratio"] == 1.0]
    assert {line["decision_share_learned"] for line in full} == {1.0}
    assert all(line["tick_share_learned"] > 0.9 for line in full)


def test_a_frozen_opponent_is_kept_noted_and_unchanged(capsys: pytest.CaptureFixture[str]) -> None:
    source, _ = trained()
    run_dir = run_against(f"agents={source}")
    policy = (source / "policy.onnx").read_bytes()
    assert (run_dir / "opponent-agents.onnx").read_bytes() == policy
    noted = BegunFile.read(run_dir / "begun.json").opponents_sha256
    assert noted == {"agents": read_run(source).summary.policy_sha256} == read_run(run_dir).summary.opponents_sha256
    # half of the town met another opponent than the script, and came to other weights
    assert read_run(run_dir).summary.weights_sha256 != read_run(run_against("agents=script")).summary.weights_sha256
    assert main(["run", "--policy", str(run_dir), "--ticks", "5", "--json"]) == 0
    sources = json.loads(capsys.readouterr().out)["sources"]
    assert (sources["learned"], sources["scripted"]) == (15, 0)


def test_a_run_directory_with_another_opponent_than_noted_does_not_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, _ = trained()
    run_dir = shutil.copytree(run_against(f"agents={source}"), tmp_path / "one")
    (run_dir / "manifest.json").unlink()
    begun = json.loads((run_dir / "begun.json").read_text())
    begun["opponents_sha256"]["agents"] = "0" * 64
    (run_dir / "begun.json").write_text(json.dumps(begun))
    assert main(["train", "--resume", str(run_dir), "-q"]) == 2
    assert "expected the opponent that the run was begun with, SHA-256 000" in capsys.readouterr().err


def test_an_earlier_self_is_exported_as_it_was_met_in_the_end() -> None:
    run = read_run(run_against("half=past(2)"))
    assert run.policies.keys() == {"agents"}
    assert run.path / "policy.onnx" == run.policies["agents"]
    earlier = run.opponents["half"]
    assert earlier is not None
    assert earlier.read_bytes() != run.policies["agents"].read_bytes()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--opponent", "agents"], "--opponent agents: expected GROUP=script, GROUP=past(k) or GROUP=FILE"),
        (["--opponent", "agents=script"], "expected a group that learns, got opponents of all of ['agents']"),
        ([*HALF, "--opponent", "nobody=script"], "`groups` must be of half, agents, got nobody"),
        ([*HALF, "--opponent", "half=past"], "must be past(k) or past(GROUP, k)"),
        ([*HALF, "--opponent", "half=no/such"], "`training.groups.half.policy`: expected learn, script, past(k)"),
        (["--group", "half"], "--group half: expected NAME=NUMBER, NAME=SHARE or NAME=PATTERN,PATTERN"),
        (["--group", "half=9"], "`environment.groups`: group `half`: expected 1 to 3 more places, got 9"),
        (["--group", "a b=1"], "environment.groups"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    options: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(tmp_path / "run", "-q", *options)) == 2
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_config_says_the_same_as_the_options() -> None:
    content = {
        "environment": {"groups": {"half": 0.5, "named": ["agent_01", "agent_1*"], "two": 2}},
        "training": {"groups": {"half": {"policy": "past(named, 3)"}, "two": {}}},
    }
    config = config_from(content, source="a.yaml").config
    assert config.environment.groups == {"half": 0.5, "named": ("agent_01", "agent_1*"), "two": 2}
    assert config.training["groups"] == {"half": {"policy": "past(named, 3)"}, "two": {}}
    with pytest.raises(ConfigError, match="a.yaml: `training.groups.half.polic`: unknown key"):
        config_from({"training": {"groups": {"half": {"polic": "script"}}}}, source="a.yaml")


def test_every_policy_meets_every_other_in_every_role(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir, whole = run_against("agents=script"), trained()[0]
    policy = shutil.copy(run_dir / "policy-half.onnx", tmp_path / "copy.onnx")
    picture = tmp_path / "matrix.png"
    options = ["--matrix", "script", "--matrix", str(policy), "--episodes", "2", "--output", str(picture)]
    assert main(["evaluate", str(run_dir), *options, "--matrix", "random", "--json", "-q"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["policies"] == ["one", "scripted", "copy.onnx", "random"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    for group in ("half", "agents"):
        returns = found["groups"][group]["returns"]
        # a copy of a policy does what the policy does, in either role
        assert returns[0] == returns[2]
        assert [row[0] for row in returns] == [row[2] for row in returns]
        means = [cell["mean"] for column, cell in enumerate(returns[1]) if column != 1]
        assert found["groups"][group]["standings"][1]["mean"] == pytest.approx(sum(means) / 3)
    # a town that was not split is split now, and its one policy plays both halves
    assert main(["evaluate", str(whole), *HALF, *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("return of half played by  against one  against scripted") or "played by" in lines[0]
    assert lines[-1] == "2 episodes each, seeds from 2147483648; greedy actions; 95 % intervals are over episodes"


def printed(capsys: pytest.CaptureFixture[str], *command: str) -> dict[str, object]:
    assert main([*command, "--episodes", "4", "--json", "-q"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("more", [[], ["--sample"]])
def test_a_matrix_that_workers_play_is_the_same(
    more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir, picture = run_against("agents=script"), str(tmp_path / "matrix.png")
    command = ["evaluate", str(run_dir), "--matrix", "script", "--matrix", "random", "--output", picture, *more]
    alone = printed(capsys, *command)
    # This process plays nothing, but waits for the workers.
    monkeypatch.setattr(WorkerPool, "take", lambda self, tasks: None)
    monkeypatch.setattr(Evaluator, "_score", None)
    assert printed(capsys, *command, "--workers", "2") == alone


@pytest.mark.parametrize("opponent", ["agents=script", "agents=FILE", "half=past(2)"])
def test_workers_meet_the_opponents_of_a_run(
    opponent: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = run_against(opponent.replace("FILE", str(trained()[0])))
    alone = printed(capsys, "evaluate", str(run_dir))
    monkeypatch.setattr(WorkerPool, "take", lambda self, tasks: None)
    monkeypatch.setattr(Evaluator, "_score", None)
    assert printed(capsys, "evaluate", str(run_dir), "--workers", "1") == alone


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--matrix", "script"], "has one group of agents, in which policies do not meet; split it with --group"),
        ([*HALF, "--matrix", "clever"], "--matrix clever: expected a run directory, a policy file, or one of scripted"),
        ([*HALF, "--matrix", "script", "--matrix", "scripted"], "--matrix scripted: is there twice"),
        ([*HALF, "--matrix", "script", "--against", "random"], "--against random: of no effect with --matrix"),
        (["--output", "a.png"], "--output a.png: of no effect without --matrix"),
    ],
)
def test_a_matrix_that_cannot_be_is_refused(
    options: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(trained()[0]), "--episodes", "2", "-q", *options]) == 2
    assert problem in capsys.readouterr().err
