"""The commands on other people's environments: with a script, without one, with several groups, and on bad input."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import crossing
import gymnasium
import pytest
import walk
from crossing import Crossing
from small_envs import LOCK, Cart, Lock
from walk import CONTROLLER, NAME, SMALL

from townlet_runtime.cli import main
from townlet_runtime.config import load_config
from townlet_runtime.runs.directory import file_sha256
from townlet_runtime.runs.records import CloningFile, EvaluationFile, SummaryFile

FILES = {"begun.json", "config.yaml", "metrics.jsonl", "checkpoints", "policy.onnx", "evaluation.json", "summary.json"}
FILES |= {"policy.vectors.json", "report.html", "manifest.json"}
Train = Callable[..., tuple[Path, int]]

walk.register()


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Train:
    """Runs `townlet train` in a new directory; gives its path and the exit code."""

    def run(*more: str) -> tuple[Path, int]:
        run_dir = tmp_path_factory.mktemp("runs") / "run"
        return run_dir, main(["train", "--run-dir", str(run_dir), *SMALL, *more, "-q"])

    return run


@pytest.fixture(scope="module")
def without_script(train: Train) -> tuple[Path, int]:
    return train()


@pytest.fixture(scope="module")
def with_script(train: Train) -> tuple[Path, int]:
    return train("--controller", CONTROLLER)


def refusal(capsys: pytest.CaptureFixture[str], *command: str, code: int = 2) -> str:
    assert main(list(command)) == code
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = [line for line in err.splitlines() if line.startswith("townlet: error: ")]
    return line


def test_without_a_script_it_is_ppo_and_nobody_is_replaced(without_script: tuple[Path, int]) -> None:
    run_dir, code = without_script
    assert code == 0
    assert {path.name for path in run_dir.iterdir()} == FILES
    summary = SummaryFile.read(run_dir / "summary.json")
    assert (summary.mode, summary.env, summary.preset, summary.controller) == ("ppo", NAME, "default", None)
    assert (summary.promotion, list(summary.baseline_return_means), summary.improvement_mean) == (
        None,
        ["random"],
        None,
    )
    assert summary.policies_sha256 is None
    assert summary.policy_sha256 == file_sha256(run_dir / "policy.onnx")
    evaluation = EvaluationFile.read(run_dir / "evaluation.json")
    assert (evaluation.horizon, list(evaluation.final.baselines)) == (12, ["random"])
    assert not (run_dir / "cloning.json").exists() and summary.clone_accuracies == {}
    assert list(evaluation.history[0].baselines) == ["random"]


def test_with_a_script_it_is_an_anneal(with_script: tuple[Path, int]) -> None:
    run_dir, code = with_script
    assert code in (0, 1)
    assert {path.name for path in run_dir.iterdir()} == FILES | {"promotion.json", "cloning.json"}
    summary = SummaryFile.read(run_dir / "summary.json")
    assert (summary.mode, summary.controller) == ("anneal", CONTROLLER)
    assert summary.baseline_return_means["scripted"] == 1.0
    assert list(summary.baseline_return_means) == ["scripted", "random"] and summary.clone_return_mean is not None
    evaluation = EvaluationFile.read(run_dir / "evaluation.json")
    assert evaluation.final.normalized["scripted"] is not None


def test_the_config_of_a_run_says_where_it_was(
    without_script: tuple[Path, int], with_script: tuple[Path, int], capsys: pytest.CaptureFixture[str]
) -> None:
    for run_dir, _ in (without_script, with_script):
        loaded = load_config(run_dir / "config.yaml")
        assert loaded.warning is None
        # what a file must not name is not in it
        assert (loaded.config.environment.name, loaded.config.environment.controller) == (NAME, None)
    assert main(["run", "--policy", str(run_dir), "--ticks", "9", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["agents"], found["sources"]["scripted"]) == (1, 0)
    assert found["sources"]["learned"] > 0


def test_people_are_told_that_there_was_nobody_to_replace(
    without_script: tuple[Path, int], capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir, _ = without_script
    assert main(["train", "--resume", str(run_dir)]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith("ppo: ")
    assert [line.split()[0] for line in lines[3:5]] == ["learned", "random"]
    assert any(line.startswith("learned - random: ") for line in lines)
    assert f"no promotion: {NAME} has no script that the policy could replace" in lines
    assert max(map(len, lines[:-1])) <= 80
    assert err == f"{run_dir}: this run has finished; there is nothing to go on with\n"


def test_a_policy_meets_what_the_world_has(
    without_script: tuple[Path, int], with_script: tuple[Path, int], capsys: pytest.CaptureFixture[str]
) -> None:
    def scores(*arguments: str) -> dict[str, dict[str, float]]:
        assert main(["evaluate", *arguments, "--episodes", "3", "--json"]) == 0
        return json.loads(capsys.readouterr().out)["scores"]

    alone, taught = str(without_script[0]), str(with_script[0])
    assert scores(alone).keys() == {"learned", "random"}
    assert scores(alone)["random"]["normalized"] is None
    both = scores(taught, "--controller", CONTROLLER)
    assert both.keys() == {"learned", "scripted", "random"}
    assert (both["random"]["normalized"], both["scripted"]["normalized"]) == (0.0, 1.0)
    assert scores(taught, "--against", "random").keys() == {"learned", "random"}
    assert scores(alone, "--against", taught).keys() == {"learned", "other", "random"}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--against", "idle"], f"--against idle: expected a run directory or a behavior of `{NAME}`: random"),
        (["--against", "nobody"], "--against nobody: expected a run directory or a behavior of"),
        (["--controller", "walk:nothing"], "AttributeError"),
    ],
)
def test_what_a_policy_cannot_meet_is_refused(
    arguments: list[str], problem: str, without_script: tuple[Path, int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert problem in refusal(capsys, "evaluate", str(without_script[0]), *arguments)


def test_the_script_of_a_module_is_not_left_out_in_silence(
    with_script: tuple[Path, int], capsys: pytest.CaptureFixture[str]
) -> None:
    said = refusal(capsys, "evaluate", str(with_script[0]))
    assert said.endswith(f"add --controller {CONTROLLER}, or compare with --against random")


def test_a_world_is_run_by_its_script_or_by_chance(capsys: pytest.CaptureFixture[str]) -> None:
    def sources(*arguments: str) -> tuple[dict[str, int], str]:
        assert main(["run", "--env", NAME, "--ticks", "30", "--json", *arguments]) == 0
        out, err = capsys.readouterr()
        return json.loads(out)["sources"], err

    drawn, said = sources()
    assert drawn.keys() == {"scripted", "random", "external"} and drawn["random"] > 0
    assert said == f"{NAME} has no script, and no policy was named: actions are drawn\n"
    scripted, said = sources("--controller", CONTROLLER)
    assert scripted["scripted"] > 0 and scripted["learned"] == 0 and said == ""


def test_an_environment_that_a_module_registers_is_named_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = "import gymnasium, walk\ngymnasium.register('Late-v0', entry_point=walk.Walk, max_episode_steps=12)\n"
    (tmp_path / "late_worlds.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--env", "gymnasium:late_worlds:Late-v0", "--ticks", "30", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ticks"] == 30
    assert "`environment.name`: must be" in refusal(capsys, "run", "--set", "environment.name=gymnasium:a:Late-v0")


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("run --env gymnasium:nowhere:Walk-v0", "`gymnasium:nowhere:Walk-v0` cannot be imported: ModuleNotFound"),
        ("run --env gymnasium:Wlk-v0", "Gymnasium knows no environment 'Wlk-v0'; near it: gymnasium:Walk-v0"),
        ("run --env pettingzoo:nowhere.simple_v1", "no PettingZoo environment 'nowhere.simple_v1'"),
        ("run --env nowhere", "no world `nowhere` is registered"),
        ("run --env nowhere:at-all", "a config must not name code to import"),
        (f"run --env {NAME} --set environment.settings.nonsense=1", "unexpected keyword argument 'nonsense'"),
        (f"run --env {NAME} --set environment.controller={CONTROLLER}", "`environment.controller`: no controller"),
        (f"run --env {NAME} --controller nobody", "--controller: no controller `nobody` is registered"),
        (f"run --env {NAME} --controller walk:Nobody", "'walk:Nobody' cannot be imported: AttributeError"),
        (f"run --env {NAME} --controller walk:LENGTH", "must be a function"),
        (f"run --env {NAME} --guardrail nobody", "--guardrail: no guardrail `nobody` is registered"),
        (f"run --env {NAME} --render", f"--render: `{NAME}` does not render"),
        (f"run --env {NAME} --record captures:samples", "captures hold what a town shows"),
        (f"train --env {NAME} --mode anneal", f"mode anneal begins with a script, and `{NAME}` has none"),
        (
            f"train --env {NAME} --mode bc",
            "name one with --controller, recorded steps with --data, or train with --mode ppo",
        ),
        ("train --resume nowhere", "nowhere: expected the directory of a run, found no directory"),
    ],
)
def test_what_cannot_be_meant_is_one_line_and_nothing_is_written(
    command: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert problem in refusal(capsys, *command.split())
    assert list(tmp_path.iterdir()) == []


def test_a_ratio_needs_a_script_for_the_rest(
    without_script: tuple[Path, int], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", "--policy", str(without_script[0]), "--ratio", "0.5"]
    assert f"--ratio: `{NAME}` has no script" in refusal(capsys, *command)


def test_a_file_cannot_name_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(f"environment: {{name: '{NAME}', controller: '{CONTROLLER}'}}")
    assert "is registered" in refusal(capsys, "train", str(path))
    path.write_text("environment: {name: 'walk:Walk'}")
    assert f"{path}: `environment.name`: must be `town`" in refusal(capsys, "train", str(path))


def test_without_the_library_it_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def absent(*_: object) -> None:
        raise gymnasium.error.DependencyNotInstalled("Box2D is not installed")

    monkeypatch.setattr(walk.Walk, "__init__", absent)
    said = refusal(capsys, "run", "--env", NAME)
    assert said.endswith(f"`{NAME}` needs something that is not installed: Box2D is not installed")


def test_a_script_that_raises_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(capsys, "run", "--env", NAME, "--controller", "walk:failing", "-q", code=1)
    assert said == "townlet: error: the script raised ZeroDivisionError for 'agent': integer division or modulo by zero"


@pytest.mark.parametrize("command", ["run --ticks 99", "train"])
def test_an_environment_that_breaks_while_it_runs_is_code_1_and_named(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = ["--env", NAME, "--set", "environment.settings.breaks_at=3"]
    name, *more = command.split()
    run_dir = tmp_path / "run"
    training = ["--run-dir", str(run_dir), *SMALL] if name == "train" else []
    said = refusal(capsys, name, *training, *broken, *more, "-q", code=1)
    assert said.startswith(f"townlet: error: {NAME}, world ") and "expected finite numbers in `observation`" in said


def test_a_world_that_draws_text_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    lake = ["run", "--env", "gymnasium:FrozenLake-v1", "--ticks", "3", "--render"]
    assert "--set environment.settings.render_mode=ansi" in refusal(capsys, *lake)
    assert main([*lake, "--set", "environment.settings.render_mode=ansi"]) == 0
    assert "SFFF\nFHFH\nFFFH\nHFFG" in capsys.readouterr().out


@pytest.fixture
def census(monkeypatch: pytest.MonkeyPatch) -> walk.Census:
    """Counts the environments of a test."""
    counted = walk.Census()
    monkeypatch.setattr(walk.Walk, "census", counted)
    return counted


def test_no_command_has_more_worlds_open_than_it_was_asked_for_and_all_are_closed(
    tmp_path: Path, census: walk.Census
) -> None:
    run_dir = str(tmp_path / "run")
    assert main(["train", "--run-dir", run_dir, *SMALL, "-q"]) == 0
    # two to learn in, and two to play the ten episodes of an evaluation in
    assert (census.alive, census.most) == (0, 4)
    census.made = census.closed = census.most = 0
    assert main(["evaluate", run_dir, "--episodes", "9"]) == 0
    assert (census.alive, census.most) == (0, 2)
    census.made = census.closed = census.most = 0
    assert main(["run", "--env", NAME, "--ticks", "30"]) == 0
    assert (census.alive, census.most, census.made) == (0, 1, 1)


@pytest.mark.parametrize("command", ["run --ticks 99", "train"])
def test_worlds_are_closed_where_one_of_them_breaks(command: str, tmp_path: Path, census: walk.Census) -> None:
    name, *more = command.split()
    training = ["--run-dir", str(tmp_path / "run"), *SMALL] if name == "train" else []
    assert main([name, *training, "--env", NAME, "--set", "environment.settings.breaks_at=3", *more, "-q"]) == 1
    assert census.made > 0 and census.alive == 0


@pytest.mark.parametrize("when", [1, 20, 400])
def test_worlds_are_closed_where_somebody_interrupts(
    when: int, tmp_path: Path, census: walk.Census, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, steps = walk.Walk.step, 0

    def interrupted(self: walk.Walk, action: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == when:
            raise KeyboardInterrupt
        return step(self, action)

    monkeypatch.setattr(walk.Walk, "step", interrupted)
    with contextlib.suppress(KeyboardInterrupt):
        main(["train", "--run-dir", str(tmp_path / "run"), *SMALL, "-q"])
    assert steps == when and census.made > 0 and census.alive == 0


COUNTED = """
import signal
import sys
import walk
from townlet_runtime.cli import main

if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may ignore it, as nohup does
walk.register()
step = walk.Walk.step

def noted(self, action):
    if not noted.begun:
        print("begun", flush=True)
        noted.begun = True
    return step(self, action)

noted.begun = False
walk.Walk.step = noted
try:
    code = main(sys.argv[1:])
finally:
    print(walk.Walk.census.made, walk.Walk.census.alive, file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("command", ["run --ticks 100000000", "train"])
def test_worlds_are_closed_after_a_signal(command: str, number: signal.Signals, tmp_path: Path) -> None:
    name, *more = command.split()
    long = [part if part != "260" else "10000000" for part in SMALL]
    training = ["--run-dir", str(tmp_path / "run"), *long] if name == "train" else ["--env", NAME]
    process = subprocess.Popen(
        [sys.executable, "-c", COUNTED, name, *training, *more, "-q"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},  # where `walk` is
    )
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 128 + number, err
    made, alive = map(int, err.splitlines()[-1].split())
    assert made > 0 and alive == 0


def test_every_group_has_a_policy_and_a_place_in_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = ["--env", "crossing:Crossing"]
    run_dir = tmp_path / "run"
    assert main(["train", "--run-dir", str(run_dir), *SMALL, *world, "-q"]) in (0, 1)
    policies = {"policy-long.onnx", "policy-short.onnx"}
    vectors = {"policy-long.vectors.json", "policy-short.vectors.json"}
    names = FILES - {"policy.onnx", "policy.vectors.json"} | {"promotion.json", "cloning.json"} | policies | vectors
    assert {path.name for path in run_dir.iterdir()} == names
    summary = SummaryFile.read(run_dir / "summary.json")
    assert summary.policy_sha256 is None
    assert summary.policies_sha256 == {
        group: file_sha256(run_dir / f"policy-{group}.onnx") for group in ("long", "short")
    }
    assert CloningFile.read(run_dir / "cloning.json").results.keys() == {"long", "short"}
    report = (run_dir / "report.html").read_text()
    assert "<h2>KL divergence: long</h2>" in report and "<h2>KL divergence: short</h2>" in report
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert {row["group"] for row in rows} == {"long", "short"}

    for command in (["evaluate", str(run_dir)], ["run", "--policy", str(run_dir)]):
        said = refusal(capsys, *command)
        assert said == f"townlet: error: {run_dir}: begun with code that no file may name; add --env crossing:Crossing"
    monkeypatch.setattr(crossing, "Other", Crossing, raising=False)
    said = refusal(capsys, "evaluate", str(run_dir), "--env", "crossing:Other")
    assert said.endswith("begun with --env crossing:Crossing, which is crossing:Other now; say --env crossing:Crossing")
    with monkeypatch.context() as changed:
        specs = {group: replace(spec, option_ticks={}) for group, spec in Crossing(1).specs.items()}
        changed.setattr(Crossing, "specs", specs)
        for command in (["evaluate", str(run_dir)], ["run", "--policy", str(run_dir), "--ticks", "3"]):
            said = refusal(capsys, *command, *world)
            assert (
                "`crossing:Crossing`, group long is another one than the run was begun in: `option_ticks` was" in said
            )

    assert main(["evaluate", str(run_dir), "--episodes", "3", "--json", *world]) == 0
    assert json.loads(capsys.readouterr().out)["scores"].keys() == {"learned", "scripted", "idle"}
    assert main(["run", "--policy", str(run_dir), "--ticks", "9", "--json", *world]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["agents"] == 3 and found["sources"]["learned"] > 0
    said = refusal(capsys, "run", "--policy", str(run_dir / "policy-long.onnx"), *world)
    assert "made for the groups agents, the world has long, short; name the directory of a run" in said


@pytest.fixture
def carts_and_locks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "brake.py").write_text(BRAKE)
    gymnasium.register("Cart-v0", entry_point=Cart)
    gymnasium.register("Lock-v0", entry_point=Lock)
    yield
    del gymnasium.registry["Cart-v0"], gymnasium.registry["Lock-v0"]


BRAKE = """
from townlet_runtime import ObservationController


def brake(spec):
    return ObservationController(lambda observations, agent_id: [-1.0], spec.actions)


def dial(spec):
    return ObservationController(turn, spec.actions)


def turn(observations, agent_id):
    return [int(observations["tried_mask"].sum()), 1, 2]
"""
LOCK_SETTINGS = [f"environment.observation_kinds.{name}={kind}" for name, kind in LOCK.observation_kinds.items()]
LOCK_SETTINGS.append("environment.max_entities=3")


@pytest.mark.usefixtures("carts_and_locks")
@pytest.mark.parametrize(
    ("env", "controller", "settings"),
    [("gymnasium:Cart-v0", "brake:brake", []), ("gymnasium:Lock-v0", "brake:dial", LOCK_SETTINGS)],
)
def test_worlds_of_array_actions_are_run_by_chance_and_by_a_script(
    env: str, controller: str, settings: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", "--env", env, "--ticks", "3", "--json", *(part for each in settings for part in ("--set", each))]
    assert main(command) == 0
    by_chance = json.loads(capsys.readouterr().out)
    assert by_chance["sources"]["random"] == 3
    assert main([*command, "--controller", controller]) == 0
    out, err = capsys.readouterr()
    assert (json.loads(out)["sources"]["scripted"], err) == (3, "")
    if env == "gymnasium:Cart-v0":
        assert json.loads(out)["mean_reward"] == -1.0


@pytest.mark.usefixtures("carts_and_locks")
def test_an_observation_that_is_flattened_is_said_once_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["run", "--env", "gymnasium:Lock-v0", "--ticks", "3", "--set", "environment.max_entities=3"]
    assert main(command) == 0
    lines = capsys.readouterr().err.splitlines()
    told = [line for line in lines if line.startswith("townlet: warning: gymnasium:Lock-v0: ")]
    assert [line.split()[3] for line in told] == ["`board`", "`picture`"]
    assert main([*command, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("carts_and_locks")
@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("--env gymnasium:Lock-v0", r"expected a bound on the length of sequences (`environment.max_entities`)"),
        ("--env gymnasium:Cart-v0 --set environment.max_entities=0", "`environment.max_entities`: must be greater"),
        (
            "--env gymnasium:Cart-v0 --set environment.actions=both",
            "`environment.actions`: must be 'auto', 'joint' or 'parts'",
        ),
        (
            "--env gymnasium:Cart-v0 --set environment.observation_kinds.x=flat",
            "has no observation `x` (there are: obs",
        ),
        ("--env gymnasium:Cart-v0 --set environment.global_state=true", "is no environment of PettingZoo"),
    ],
)
def test_a_space_that_cannot_be_read_is_one_line(
    options: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert problem in refusal(capsys, "run", *options.split())
