import json
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from finished_run import town_policy, write_finished_run
from onnx_files import card, policy_file

from townlet_runtime.cli import main
from townlet_runtime.cli.running import run as module
from townlet_runtime.cli.worlds import Towns
from townlet_runtime.town import Town, TownConfig

SCENARIO = Path(__file__).parent / "data" / "scenarios" / "kitchen_breakfast.yaml"
KEYS = [
    "ticks",
    "agents",
    "ticks_per_s",
    "agent_decisions_per_s",
    "sources",
    "mean_reward",
    "reward_terms",
    "events",
    "vetoes",
    "policy_errors",
]


def result(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    """What `townlet run --json` prints; nothing else may be on standard output."""
    assert main(["run", "--json", *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == KEYS
    return found


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["run", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("townlet: error: ") and err.count("\n") == 1
    return err


def test_the_script_lives_in_the_town(capsys: pytest.CaptureFixture[str]) -> None:
    found = result(capsys, "--ticks", "30", "--set", "town.agents=50")
    assert (found["ticks"], found["agents"]) == (30, 50)
    assert found["sources"] == {"scripted": 1500, "learned": 0, "external": 0}
    assert found["agent_decisions_per_s"] == pytest.approx(50 * found["ticks_per_s"])


def test_what_it_came_to_is_told_in_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--ticks", "20"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Completed 20 ticks in ")
    assert lines[1].startswith("10 agents, ") and lines[1].endswith("agent-decisions/s")
    assert lines[4].split() == ["scripted", "200", "100.0", "%"]


def test_a_scenario_says_who_and_how_long(capsys: pytest.CaptureFixture[str]) -> None:
    found = result(capsys, str(SCENARIO))
    assert (found["ticks"], found["agents"]) == (40, 2)


def test_the_same_seed_gives_the_same_run(capsys: pytest.CaptureFixture[str]) -> None:
    rewards = [result(capsys, "--ticks", "200", "--seed", seed)["mean_reward"] for seed in ("3", "3", "4")]
    assert rewards[0] == rewards[1] != rewards[2]
    assert result(capsys, "--ticks", "200", "--set", "seed=3")["mean_reward"] == rewards[0]


def test_a_policy_takes_its_share_of_the_decisions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir = write_finished_run(tmp_path / "run")
    alone = result(capsys, "--policy", str(run_dir), "--ticks", "40")
    assert (alone["agents"], alone["sources"]) == (3, {"scripted": 0, "learned": 120, "external": 0})
    half = result(capsys, "--policy", str(run_dir), "--ticks", "40", "--ratio", "0.5")["sources"]
    assert half["scripted"] > 0 and half["learned"] > 0  # type: ignore[index]
    none = result(
        capsys, "--policy", str(run_dir / "policy.onnx"), "--ticks", "5", "--ratio", "0", "--set", "town.agents=4"
    )
    assert none["sources"] == {"scripted": 20, "learned": 0, "external": 0}


def test_a_policy_acts_without_torch(tmp_path: Path) -> None:
    run_dir = write_finished_run(tmp_path / "run")
    script = f"""
import sys
from townlet_runtime.cli import main
code = main(["run", "--policy", {str(run_dir)!r}, "--ticks", "5", "--json"])
raise SystemExit("torch was imported" if "torch" in sys.modules else code)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sources"]["learned"] == 15


def test_damaged_and_foreign_policies_are_refused_by_name(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "p.onnx"
    data = bytearray(town_policy())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert f"{path}: expected SHA-256" in refusal(capsys, "--policy", str(path))
    path.write_bytes(b"not a policy")
    assert "foreign" in refusal(capsys, "--policy", str(path))
    path.write_bytes(policy_file(np.zeros((8, 4), np.float32), np.zeros(8, np.float32), card()))
    assert "the policy does not fit `town`" in refusal(capsys, "--policy", str(path), "--env", "town")
    assert refusal(capsys, "--policy", str(path)) == (
        f"townlet: error: {path}: made for the world `corridor`, which no installed package registers; "
        "name it with --env MODULE:NAME\n"
    )
    assert "expected a readable policy file" in refusal(capsys, "--policy", str(tmp_path / "absent.onnx"))
    assert "expected the directory of a finished run" in refusal(capsys, "--policy", str(tmp_path))


def test_unusable_output_of_the_policy_ends_the_run_or_leaves_the_script_to_decide(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "p.onnx"
    # Nothing times infinity: the logits are no numbers.
    path.write_bytes(policy_file(np.full((8, 4), np.inf, np.float32), np.zeros(8, np.float32), card()))
    command = ["run", "--env", "townlet_runtime.testing:Corridor", "--policy", str(path), "--ticks", "30"]
    assert main(command) == 1
    assert "1 of 1 agents cannot be decided for" in capsys.readouterr().err.splitlines()[-1]
    assert main([*command, "--set", "policy.on_policy_error=script", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["policy_errors"] > 0
    assert found["sources"]["scripted"] >= found["policy_errors"]
    assert main([*command, "--set", "policy.on_policy_error=script"]) == 0
    assert f"{found['policy_errors']} by the script in place of unusable output" in capsys.readouterr().out


@pytest.mark.parametrize("world", ["evil_code:world", "gymnasium:evil_code:Evil-v0"])
def test_a_policy_file_cannot_name_code(
    world: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "evil_code.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "p.onnx"
    path.write_bytes(policy_file(np.zeros((8, 4), np.float32), np.zeros(8, np.float32), card(world=world)))
    assert refusal(capsys, "--policy", str(path)) == (
        f"townlet: error: {path}: made for the world `{world}`, which no installed package registers; "
        f"name it with --env {world}\n"
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--ratio", "0.5"], "needs a policy"),
        (["--ratio", "1.5"], "expected a share in [0, 1], got 1.5"),
        (["--ratio", "nan"], "expected a share in [0, 1], got nan"),
        (["--json", "--render"], "--render"),
        (["nowhere.yaml"], "nowhere.yaml: cannot read it"),
        (["--set", "town.agnts=3"], "`town.agnts`: unknown key; the nearest known key is `town.agents`"),
        (["--set", "world.grid_size=[1, 1]"], "grid_size"),
    ],
)
def test_bad_input_is_one_line_that_names_it(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert problem in refusal(capsys, *arguments)


def test_the_town_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--ticks", "3", "--render", "--set", "world.grid_size=[6, 5]"]) == 0
    frame = capsys.readouterr().out.split("\n\n")[0].splitlines()
    assert frame[0].startswith("tick")
    assert all(len(line.split()) == 6 for line in frame[1:6])


def test_a_signal_ends_the_run_and_what_was_done_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(Town):
        def step(self, actions):
            signal.raise_signal(signal.SIGTERM)
            return super().step(actions)

    monkeypatch.setattr(Towns, "__call__", lambda self, num_worlds: Interrupted(TownConfig(), num_worlds=1))
    monkeypatch.setattr(module, "_CHUNK_TICKS", 1)
    assert main(["run", "--ticks", "1000", "--json"]) == 143
    assert json.loads(capsys.readouterr().out)["ticks"] == 1


def test_a_disk_that_is_full_is_one_line_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    folder = tmp_path / "samples"
    done = subprocess.run(
        [sys.executable, "-m", "townlet_runtime", "run", "--ticks", "30", "--record", str(folder)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"townlet: error: {folder}")
    assert done.stderr.count("\n") == 1
    assert list(folder.iterdir()) == []


def test_a_pace_lets_ticks_begin_when_they_are_due(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    naps: list[float] = []
    now = [100.0]

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(module.time, "sleep", sleep)
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    assert main(["run", "--quiet", "--ticks", "3", "--ticks-per-second", "4"]) == 0
    # a tick every 0.25 s, in naps of at most 0.1 s
    assert naps == pytest.approx([0.1, 0.1, 0.05] * 3)
    assert refusal(capsys, "--ticks-per-second", "0").endswith("--ticks-per-second: expected more than 0, got 0.0\n")


def test_a_signal_is_heard_while_a_tick_is_waited_for() -> None:
    pace = module._Pace(1e-6, lambda: True)  # type: ignore[arg-type]
    pace.wait(1)
