"""Clones of recorded steps by command: the same steps in any form, without a world, and gone on with."""

from pathlib import Path

import numpy as np
import pytest

from townlet_runtime.cli import main
from townlet_runtime.cli.console import CommandError
from townlet_runtime.cli.training.schedule_options import ScheduleOptions
from townlet_runtime.cli.training.training_data import DataOptions, data_of, place_of
from townlet_runtime.config import Config
from townlet_runtime.runs.begun import BegunFile
from townlet_runtime.runs.records import SummaryFile
from townlet_trajectory import ArraySpec, TrajectoryBatch, TrajectorySchema
from townlet_trajectory.formats.batch_file import save_batch
from townlet_trajectory.formats.convert import convert
from townlet_trajectory.storage.urls import Url, named_place

TOWN = ("--set", "town.agents=3", "--set", "town.episode_ticks=40")
SMALL = (
    "--set",
    "training.final_episodes=10",
    "--set",
    "training.eval_episodes=10",
    "--set",
    "network.hidden_sizes=[8]",
)
SMALL += ("--set", "bc.num_epochs=2", "--set", "gates.num_resamples=100", "--set", "promotion.num_episodes=10")
CLASSIC = ("--set", "bc.labels=executed", "--set", "bc.use_masks=false")
CLASSIC += ("--set", "bc.split=trajectories", "--set", "bc.row_order=canonical")
FORMS = {"captures": "captures", "shards": "shards/agents", "minari": "minari/agents-v0", "npz": "npz/agents.npz"}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same 120 ticks of a town in every form."""
    folder = tmp_path_factory.mktemp("recorded")
    for form in FORMS:
        record = f"{form}:{folder / form}"
        assert main(["run", *TOWN, "--ticks", "120", "--seed", "3", "--record", record, "-q"]) == 0
    return folder


def train(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["train", *arguments, "--threads", "1"])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_same_steps_in_any_form_make_the_same_clone(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digests = {}
    for form, place in FORMS.items():
        # The steps fit the town, so that the clone is judged there.
        run_dir = tmp_path / form
        arguments = ("--data", str(recorded / place), *TOWN, *SMALL, *CLASSIC, "--run-dir", str(run_dir))
        code, _, err = train(capsys, *arguments, "-q")
        assert code in (0, 1), err
        summary = SummaryFile.read(run_dir / "summary.json")
        assert (summary.mode, summary.env, summary.env_steps) == ("bc", "town", 0)
        digests[form] = summary.weights_sha256
    assert len(set(digests.values())) == 1, digests


def levers(path: Path, *, seed: int = 0) -> Path:
    """Write a record that fits no world: the second lever is pulled where the light is on."""
    rng = np.random.default_rng(seed)
    light = rng.integers(0, 2, (60, 1)).astype(np.float32)
    schema = TrajectorySchema(
        observations={"light": ArraySpec("float32", (1,))},
        decisions={"action": ArraySpec("int64")},
        vocabulary=("first", "second"),
    )
    batch = TrajectoryBatch(
        schema=schema,
        offsets=np.arange(0, 61, 10),
        observations={"light": light},
        final_observations={"light": light[:6].copy()},
        columns={"action": light[:, 0].astype(np.int64)},
        rewards=np.zeros(60, np.float32),
        ticks=np.tile(np.arange(10), 6),
        terminated=np.ones(6, np.bool_),
        truncated=np.zeros(6, np.bool_),
        agent_ids=np.array(["anna"] * 6, object),
        worlds=np.zeros(6, np.int64),
        episodes=np.arange(6),
    )
    save_batch(path, batch)
    return path


def test_data_that_fit_no_world_are_cloned_without_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, run_dir = levers(tmp_path / "levers.npz"), tmp_path / "run"
    code, out, err = train(capsys, "--data", str(data), *SMALL, "--set", "bc.num_epochs=40", "--run-dir", str(run_dir))
    assert "does not fit `town`" in err and "the clone is judged by held-out steps alone" in err
    assert code == 0 and "no promotion: no evidence: the policy fits no world" in out
    summary = SummaryFile.read(run_dir / "summary.json")
    assert (summary.mode, summary.env, summary.clone_accuracies) == ("bc", None, {"agents": 1.0})
    assert not (run_dir / "evaluation.json").exists() and (run_dir / "cloning.json").exists()
    begun = BegunFile.read(run_dir / "begun.json")
    assert (begun.environment, begun.specs, [each.path for each in begun.data]) == (None, None, [str(data)])
    assert main(["policy", "check", str(run_dir / "policy.onnx"), "-q"]) == 0
    assert main(["evaluate", str(run_dir), "-q"]) == 2
    assert "learned from data alone, without a world; name one" in capsys.readouterr().err
    assert main(["evaluate", str(run_dir), "--env", "town", "-q"]) == 2
    assert "does not fit `town`" in capsys.readouterr().err
    assert main(["run", "--policy", str(run_dir), "-q"]) == 2
    assert "does not fit `town`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--mode", "ppo"), "mode ppo learns from what its own policy does"),
        (("--mode", "anneal"), "does not fit `town`"),
        (("--env", "town"), "or train without a world: leave it out"),
    ],
)
def test_data_that_cannot_be_used_are_refused_before_a_directory_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    data = levers(tmp_path / "levers.npz")
    code, _, err = train(capsys, "--data", str(data), *arguments, "--run-dir", str(tmp_path / "run"), "-q")
    assert code == 2 and message in err
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_with_the_data_that_it_was_begun_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, run_dir = levers(tmp_path / "levers.npz"), tmp_path / "run"
    assert train(capsys, "--data", str(data), *SMALL, "--run-dir", str(run_dir), "-q")[0] in (0, 1)
    whole = SummaryFile.read(run_dir / "summary.json")
    for name in ("manifest.json", "summary.json", "report.html"):
        (run_dir / name).unlink()
    other = levers(tmp_path / "other.npz", seed=1)
    code, _, err = train(capsys, "--resume", str(run_dir), "--data", str(other), "-q")
    assert code == 2 and f"{other}: not the data that the run was begun with: fingerprint " in err
    code, _, err = train(capsys, "--resume", str(run_dir), "--data", str(data), "--data", str(other), "-q")
    assert code == 2 and f"the run was begun with 1 ({data}), got 2" in err
    assert train(capsys, "--resume", str(run_dir), "-q")[0] in (0, 1)
    assert SummaryFile.read(run_dir / "summary.json").weights_sha256 == whole.weights_sha256


def test_a_url_keeps_its_secrets_and_no_file_has_them() -> None:
    url = Url("s3://ann:s3cret@host/recorded")
    options = ScheduleOptions(replay_manifest=url, bc_manifest=url)
    values = [each.value for each in options.overrides()]
    assert values == ["s3://host/recorded"] * 2
    assert place_of("s3://host/recorded", options.urls, name="--data") is url
    assert place_of("recorded/agents", options.urls, name="--data") == Path("recorded/agents")
    with pytest.raises(CommandError, match="s3://host/other: name it again, --data URL"):
        place_of("s3://host/other", options.urls, name="--data")


def test_a_url_is_opened_where_it_was_typed_alone(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a run notes of its data is a file, and no file makes a connection."""
    pytest.importorskip("fsspec")
    convert(recorded / FORMS["shards"], "memory://recorded", to="shards")
    run_dir = tmp_path / "run"
    arguments = ("--data", "memory://recorded", *TOWN, *SMALL, "--run-dir", str(run_dir))
    code, _, err = train(capsys, *arguments, "-q")
    assert code in (0, 1), err
    begun = BegunFile.read(run_dir / "begun.json")
    assert begun.data[0].path == "memory://recorded"
    with pytest.raises(CommandError, match="memory://recorded: name it again, --data URL; one that a file names"):
        data_of(DataOptions(), Config(), "bc", begun)
    again = DataOptions(paths=(named_place("memory://recorded"),))
    assert data_of(again, Config(), "bc", begun) == again
