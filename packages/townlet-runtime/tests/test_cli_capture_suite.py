"""Captures of several configs: folders, lines, what is tried again, and what is not."""

import json
from pathlib import Path

import pytest

from townlet_runtime.cli import main
from townlet_runtime.cli.capturing import suite as module
from townlet_runtime.cli.capturing.suite import is_worth_retrying
from townlet_runtime.errors import ConfigError, EnvironmentFaultError
from townlet_trajectory.errors import ArtifactError, CaptureError
from townlet_trajectory.formats.captures.directory import read_captures

SCENARIOS = Path(__file__).parent / "data" / "scenarios"
KITCHEN, QUEUE = SCENARIOS / "kitchen_breakfast.yaml", SCENARIOS / "queue_conflict.yaml"
FILES = [
    "kitchen_breakfast/rollout_sample_alice_001.json",
    "kitchen_breakfast/rollout_sample_alice_001.npz",
    "kitchen_breakfast/rollout_sample_bob_002.json",
    "kitchen_breakfast/rollout_sample_bob_002.npz",
    "kitchen_breakfast/rollout_sample_manifest.json",
    "kitchen_breakfast/rollout_sample_metrics.json",
    "queue_conflict/rollout_sample_anna_001.json",
    "queue_conflict/rollout_sample_anna_001.npz",
    "queue_conflict/rollout_sample_ben_002.json",
    "queue_conflict/rollout_sample_ben_002.npz",
    "queue_conflict/rollout_sample_cara_003.json",
    "queue_conflict/rollout_sample_cara_003.npz",
    "queue_conflict/rollout_sample_manifest.json",
    "queue_conflict/rollout_sample_metrics.json",
]
"""Of the original's call with the same configs."""
FLAKY = """
from lanes import Lanes
from townlet_runtime.errors import EnvironmentFaultError

class Flaky(Lanes):
    tries = 0

    def reset(self, *, seeds):
        Flaky.tries += 1
        if Flaky.tries < 3:
            raise EnvironmentFaultError("flaky", f"no answer, try {Flaky.tries}")
        return super().reset(seeds=seeds)
"""


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.01)


@pytest.fixture
def flaky(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config whose world answers at the third try."""
    (tmp_path / "flaky_lanes.py").write_text(FLAKY)
    monkeypatch.syspath_prepend(str(tmp_path))
    config = tmp_path / "one.yaml"
    config.write_text("config_id: one")
    yield config
    import flaky_lanes  # type: ignore[import-not-found]

    flaky_lanes.Flaky.tries = 0


def test_each_config_gets_a_folder_of_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "suite"
    assert main(["capture", "suite", str(KITCHEN), str(QUEUE), "--output-root", str(root)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"Captured 2 replay samples to {root / 'kitchen_breakfast'}",
        f"Captured 3 replay samples to {root / 'queue_conflict'}",
    ]
    assert files_in(root) == FILES
    capture = read_captures(root / "queue_conflict" / "rollout_sample_manifest.json")
    assert capture.metadata["config_path"] == str(QUEUE) and len(capture.samples[0]) == 80


def test_options_are_those_of_a_single_capture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "empty.yaml"
    config.write_text("config_id: empty")
    options = ["--ticks", "4", "--auto-seed-agents", "--agent-filter", "bob", "--compress", "--json"]
    assert main(["capture", "suite", str(config), "--output-root", str(tmp_path), *options]) == 0
    (found,) = json.loads(capsys.readouterr().out)["captures"]
    assert found == {
        "config": str(config),
        "output": str(tmp_path / "empty"),
        "attempts": 1,
        "error": None,
        "samples": 1,
        "ticks": 4,
        "manifest": str(tmp_path / "empty" / "rollout_sample_manifest.json"),
    }


@pytest.mark.usefixtures("prompt")
def test_a_world_that_failed_is_tried_again(tmp_path: Path, flaky: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--env", "flaky_lanes:Flaky", "--ticks", "5", "--retries", "3", "--json"]
    assert main(["capture", "suite", str(flaky), "--output-root", str(tmp_path), *options]) == 0
    out, err = capsys.readouterr()
    (found,) = json.loads(out)["captures"]
    assert (found["attempts"], found["error"], found["samples"]) == (3, None, 1)
    assert "no answer, try 1; attempt 2 of 3 in 0.01 s" in err and "try 2; attempt 3 of 3 in 0.02 s" in err


@pytest.mark.usefixtures("prompt")
def test_the_number_of_attempts_is_kept_to(tmp_path: Path, flaky: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--env", "flaky_lanes:Flaky", "--ticks", "5", "--retries", "2", "--json"]
    assert main(["capture", "suite", str(flaky), "--output-root", str(tmp_path), *options]) == 2
    out, err = capsys.readouterr()
    (found,) = json.loads(out)["captures"]
    assert found["attempts"] == 2 and "samples" not in found and "try 2" in found["error"]
    assert err.splitlines()[-1].startswith(f"townlet: error: {flaky}: ")


@pytest.mark.usefixtures("prompt")
def test_one_that_fails_keeps_no_other_from_being_captured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--output-root", str(tmp_path), "--agent-filter", "bob", "--retries", "3", "--json"]
    assert main(["capture", "suite", str(QUEUE), str(KITCHEN), *options]) == 2
    first, second = json.loads(capsys.readouterr().out)["captures"]
    # There is no bob in the queue, and there will be none at a second try.
    assert (first["attempts"], second["attempts"], second["samples"]) == (1, 1, 1)
    assert first["error"].endswith("--agent-id bob: nobody of this name was there, only anna, ben, cara")


def test_what_the_system_did_not_do_is_worth_another_attempt_and_what_is_wrong_is_not() -> None:
    path = Path("captures")
    assert is_worth_retrying(OSError(28, "No space left on device"))
    assert is_worth_retrying(ArtifactError(path, "lock", "in use"))
    assert is_worth_retrying(ArtifactError(path, "write", "No space left on device"))
    assert is_worth_retrying(EnvironmentFaultError("gymnasium:Walk-v0", "no answer"))
    assert not is_worth_retrying(ArtifactError(path, "encode", "numbers must be finite"))
    assert not is_worth_retrying(CaptureError(path, "write", "no classic form"))
    assert not is_worth_retrying(ConfigError("unknown key"))


def test_nothing_is_captured_where_something_is_wrong_from_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, other = tmp_path / "suite", tmp_path / "queue_conflict.yaml"
    other.write_text(QUEUE.read_text())
    for wrong, problem in (
        (["nowhere.yaml"], "nowhere.yaml: cannot read it"),
        ([str(other)], "both would be captured to queue_conflict"),
        (["--retries", "0"], "'--retries'"),
    ):
        assert main(["capture", "suite", str(QUEUE), *wrong, "--output-root", str(root)]) == 2
        assert problem in capsys.readouterr().err
    assert not root.exists()
    assert main(["capture", "suite"]) == 2
    assert "CONFIG" in capsys.readouterr().err
