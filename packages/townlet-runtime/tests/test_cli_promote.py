"""Candidates come in by evidence, releases go back, and every answer is there for people and for programs."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_run import arguments, trained

from townlet_runtime.cli import main
from townlet_runtime.cli import promotion as module
from townlet_runtime.core.evaluator import Evaluator
from townlet_runtime.workers.pool import WorkerPool
from townlet_trajectory.evaluation.comparisons import PairedComparison
from townlet_trajectory.evaluation.gates import GateResult, Verdict
from townlet_trajectory.evaluation.registry import PromotionRegistry

BETTER = PairedComparison(num_episodes=10, mean=1.5, ci=(1.0, 2.0), iqm=1.5, candidate_tail=4.0, incumbent_tail=3.0)
KEYS = (
    "state pass_streak required_passes candidate_ready candidate_ready_tick last_result last_evaluated_tick "
    "current_release initial_release candidate history"
).split()


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    return tmp_path / "registry"


@pytest.fixture
def winning(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Let every candidate win; the seeds of both sides of each pass."""
    seeds: list[list[int]] = []

    def compare(ours, theirs, **_) -> PairedComparison:
        assert ours.seeds == theirs.seeds
        seeds.append(list(ours.seeds))
        return BETTER

    monkeypatch.setattr(module, "compare", compare)
    return seeds


def promote(registry: Path, *arguments: str) -> int:
    return main(["promote", *arguments, "--registry", str(registry)])


def answer(capsys: pytest.CaptureFixture[str], registry: Path, *arguments: str, code: int = 0) -> dict:
    capsys.readouterr()
    assert promote(registry, *arguments, "--json") == code
    return json.loads(capsys.readouterr().out)


def test_a_real_candidate_is_compared_with_the_script_on_seeds_of_its_own(
    registry: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir, _ = trained()
    code = promote(registry, "candidate", str(run_dir))
    lines = capsys.readouterr().out.splitlines()
    decision = lines[-2].split(":")[0]
    assert code == {"PROMOTE": 0, "HOLD": 1, "FAIL": 2}[decision]
    assert lines[0].split()[1:] == ["-", "scripted", "mean", "95", "%", "interval", "worst", "tenth"]
    assert lines[1].startswith("pass 1") and max(map(len, lines[:2])) <= 80
    state = PromotionRegistry(registry).state()
    (one, *_) = state.passes
    assert (one.incumbent, state.settings.behavior, state.settings.config_id) == ("scripted", "scripted", "town")
    assert one.result is not None and one.result.comparison is not None
    # The same pass, played by hand.
    seeds = one.first_seed + np.arange(10)
    with module._arena(PromotionRegistry(registry), module.WorldOptions()) as arena:
        ours = arena.evaluator.evaluate(arena.read(one.candidate).policies, seeds=seeds, sample=False)
        theirs = arena.evaluator.baseline("scripted", seeds=seeds)
    assert one.result.comparison.mean == pytest.approx(ours.mean - theirs.mean)
    records = module.PromotionRegistry(registry)._journal.records
    evidence = next(each for each in records if each.event == "evaluated").content.object("evidence")
    assert (evidence["acting"], evidence["incumbent_acting"]) == ("greedy", None)
    assert isinstance(evidence["versions"], dict) and "numpy" in evidence["versions"]
    begun = json.loads((run_dir / "begun.json").read_text())
    assert evidence["world_sha256"] == begun["config_sha256"]


def test_passes_that_workers_play_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir, _ = trained()
    code = promote(tmp_path / "alone", "candidate", str(run_dir), "--json")
    alone = json.loads(capsys.readouterr().out)
    # This process plays nothing, but waits for the worker.
    monkeypatch.setattr(WorkerPool, "take", lambda self, tasks: None)
    monkeypatch.setattr(Evaluator, "wave", None)
    assert promote(tmp_path / "shared", "candidate", str(run_dir), "--json", "--workers", "1") == code
    shared = json.loads(capsys.readouterr().out)
    assert (shared["candidate"], shared["passes"]) == (alone["candidate"], alone["passes"])
    assert alone["passes"]


def test_a_candidate_that_wins_is_promoted_and_acts(
    registry: Path, winning: list[list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir, _ = trained()
    found = answer(capsys, registry, "candidate", str(run_dir), "--dry-run")
    assert (found["decision"], found["status"], found["promoted"], found["reasons"]) == ("PROMOTE", "pass", False, [])
    assert list(found["promotion"]) == KEYS and found["promotion"]["state"] == "ready"
    assert len({seed for block in winning for seed in block}) == 20
    # It has passed: no further pass is played.
    found = answer(capsys, registry, "candidate", str(run_dir))
    assert (found["promoted"], found["passes"], found["incumbent"], len(winning)) == (True, [], "scripted", 2)
    digest = found["candidate"]
    assert found["promotion"]["current_release"] == {
        "config_id": "town",
        "checkpoint": f"releases/{digest}",
        "policy_hash": digest,
    }
    assert promote(registry, "candidate", str(run_dir)) == 2
    assert "is live already" in capsys.readouterr().err
    for name in ("", ":champion", f":{digest[:10]}"):
        assert main(["run", "--policy", f"{registry}{name}", "--ticks", "3", "--json"]) == 0
        counts = json.loads(capsys.readouterr().out)
        assert (counts["sources"]["learned"], counts["agents"]) == (9, 3)
    assert main(["evaluate", str(run_dir), "--against", str(registry), "--episodes", "10", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["difference"]["ci"] == [0.0, 0.0]


def test_a_candidate_meets_the_champion_and_releases_go_back_one_by_one(
    registry: Path, winning: list[list[int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir, _ = trained()
    first = answer(capsys, registry, "candidate", str(run_dir))["candidate"]
    other = tmp_path / "other"
    assert main([*arguments(other), "-q", "--seed", "9"]) in (0, 1)
    found = answer(capsys, registry, "candidate", str(other))
    second = found["candidate"]
    assert (found["incumbent"], found["promoted"], len(winning)) == (first, True, 4)
    assert len({seed for block in winning for seed in block}) == 40
    found = answer(capsys, registry, "alias", "stable", first)
    assert found["aliases"] == {"stable": first, "champion": second}
    assert found["releases"][second]["run"] == str(other)
    assert answer(capsys, registry, "rollback", "--yes", "--from", "champion")["promotion"]["state"] == "monitoring"
    assert promote(registry, "rollback", "--from", second) == 2
    assert "is no longer live" in capsys.readouterr().err
    swap = ("swap", second[:9], "--reason", "r", "--by", "me", "--yes")
    assert answer(capsys, registry, *swap)["aliases"]["champion"] == second
    for expected in (first, "scripted"):
        assert answer(capsys, registry, "rollback", "--yes")["aliases"]["champion"] == expected
    assert promote(registry, "rollback") == 2
    assert "nothing was before it" in capsys.readouterr().err
    events = answer(capsys, registry, "history")["history"]
    expected = ["promoted", "promoted", "rollback", "manual_swap", "rollback", "rollback"]
    assert [one["event"] for one in events] == expected
    assert answer(capsys, registry, "live", "--after", "1")["live"][0]["release"] == "scripted"
    assert answer(capsys, registry, "live", "--after", str(events[0]["tick"]))["live"][0]["release"] == first
    assert answer(capsys, registry, "live", "--at", "2001-02-03")["live"] == []
    assert answer(capsys, registry, "live", "--at", "9e9")["live"][0]["release"] == "scripted"
    assert answer(capsys, registry, "prune")["removed"] == [second]
    assert main(["run", "--policy", f"{registry}:stable", "--ticks", "2", "-q"]) == 0
    assert main(["run", "--policy", str(registry), "--ticks", "2"]) == 2
    assert "no release is live, `scripted` acts; leave --policy out" in capsys.readouterr().err


def test_at_a_terminal_a_candidate_that_has_passed_needs_a_word(
    registry: Path, winning: list[list[int]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir, _ = trained()
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    found = answer(capsys, registry, "candidate", str(run_dir), code=1)
    assert (found["decision"], found["promoted"], found["promotion"]["state"]) == ("PROMOTE", False, "ready")
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert promote(registry, "candidate", str(run_dir)) == 0
    digest = PromotionRegistry(registry).state().live
    assert f"scripted is live. Replace it by {digest[:12]}? [y/N]: " in capsys.readouterr().err
    assert len(winning) == 2


def test_a_failed_gate_comes_first(
    registry: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir, _ = trained()
    gate = GateResult(name="kept", verdict=Verdict.FAILED, detail="low")
    real = module.read_run

    def with_gate(path: Path):
        run = real(path)
        object.__setattr__(run.promotion, "gates", (gate,))
        return run

    monkeypatch.setattr(module, "read_run", with_gate)
    found = answer(capsys, registry, "candidate", str(run_dir), code=2)
    assert (found["decision"], found["reasons"], found["passes"][0]["outcome"]) == (
        "FAIL",
        ["gate kept failed: low"],
        "gated",
    )
    assert promote(registry, "candidate", str(run_dir), "--dry-run") == 0
    assert "FAIL: gate kept failed: low" in capsys.readouterr().out


def test_people_get_tables(registry: Path, winning: list[list[int]], capsys: pytest.CaptureFixture[str]) -> None:
    run_dir, _ = trained()
    assert promote(registry, "candidate", str(run_dir)) == 0
    lines = capsys.readouterr().out.splitlines()
    digest = PromotionRegistry(registry).state().live
    assert lines[-2] == (
        "PROMOTE: better than scripted in 2 passes in a row: mean difference 1.5, 95 % interval [1, 2]"
    )
    assert lines[-1] == f"live: {digest[:12]} (the candidate)"
    assert promote(registry, "swap", "scripted", "--reason", "\x1b[31m\nred", "--by", "me", "-y") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("monitoring: scripted is live since 20")
    assert lines[1:3] == [
        "candidate: " + f"{digest[:12]}, 0 of 2 passes in a row",
        "2 passes of 10 episodes so far, 8 records",
    ]
    assert promote(registry, "history") == 0
    out = capsys.readouterr().out
    assert "me; \\u001b[31m\\u000ared" in out and "\x1b" not in out
    assert [line.split()[0] for line in out.splitlines()] == ["record", "1", "7", "8"]
    assert promote(registry, "live") == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("scripted ")
    assert promote(registry, "status", "-q") == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["status"], "No such file"),
        (["candidate", "nowhere"], "nowhere: expected the directory of a finished run"),
        (["live", "--at", "noon"], "--at noon: expected a time"),
        (["live", "--at", "nan"], "--at nan: expected a time"),
        (["live", "--at", "1", "--after", "1"], "townlet: error: --at 1 and --after 1 exclude each other"),
        (["swap", "nobody", "--reason", "r", "--by", "b"], "'nobody' means 0 releases"),
        (["swap", "scripted", "--reason", "r"], "--by"),
        (["alias", "champion", "scripted"], "an alias is other than"),
        (["alias", "a", "scripted"], "there is no release 'scripted'"),
        (["live", "--after", "99"], "there are the records 1 to 1, got 99"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r"
    if arguments != ["status"]:
        run_dir, _ = trained()
        begun = module.BegunFile.read(run_dir / "begun.json")
        module.create_registry(path, module.read_run(run_dir), begun, module.WorldOptions(), seed=0)
    assert promote(path, *arguments) == 2
    assert problem in capsys.readouterr().err


def test_a_damaged_registry_is_refused(registry: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir, _ = trained()
    promote(registry, "candidate", str(run_dir))
    path = registry / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b"unproven", b"unproven").replace(b'"seed":0', b'"seed":1'))
    capsys.readouterr()
    for command in (["promote", "status", "--registry", str(registry)], ["run", "--policy", str(registry)]):
        assert main(command) == 2
        assert "does not follow the line before it" in capsys.readouterr().err


def test_the_command_needs_neither_the_trainer_nor_torch() -> None:
    code = "import sys, townlet_runtime.cli.promotion, townlet_runtime.cli.views.registry_views; "
    code += "raise SystemExit(str({'torch', 'townlet_training'} & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
