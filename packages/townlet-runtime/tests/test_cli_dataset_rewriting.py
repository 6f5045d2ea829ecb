"""`townlet dataset convert`, `split`, `filter` and `label`: what they write can be opened and holds what it should."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
from dataset_samples import KITCHEN, RETURNS, Run, dataset_caller, save_town, town
from pyarrow import parquet

from townlet_runtime.cli import main
from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.formats.open import format_of, open_dataset


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return dataset_caller(capsys)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The working folder, with the dataset `town.npz` and the capture `cap` in it."""
    save_town(tmp_path / "town.npz")
    shutil.copytree(KITCHEN, tmp_path / "cap")
    with chdir(tmp_path):
        yield tmp_path


def read(path: Path | str) -> TrajectoryBatch:
    """All trajectories of a dataset."""
    with open_dataset(path) as opened:
        source = opened.source
        blocks = [source.load_block(block) for block in range(len(source.block_offsets) - 1)]
        return TrajectoryBatch.concatenate([TrajectoryBatch.empty(source.schema), *blocks])


def agents(path: Path | str) -> str:
    return "".join(sorted(read(path).agent_ids.tolist()))


@pytest.mark.parametrize(("to", "output"), [("shards", "new/shards"), ("npz", "new.npz"), ("minari", "all/town-v0")])
def test_converting_keeps_every_trajectory(to: str, output: str, folder: Path, run: Run) -> None:
    code, out, _ = run("convert", "town.npz", "--to", to, "--output", output)
    assert (code, out) == (0, f"Wrote 7 trajectories, 28 steps to {output}\n")
    assert format_of(output) == to
    found, expected = read(output), town()
    assert agents(output) == "abcdefg"
    np.testing.assert_array_equal(np.sort(found.rewards), np.sort(expected.rewards))


def test_parquet_has_a_row_for_each_step_and_names_of_features(folder: Path, run: Run) -> None:
    code, out, _ = run("convert", "cap", "--to", "parquet", "--output", "pq", "--json")
    assert (code, json.loads(out)) == (
        0,
        {"output": "pq", "form": "parquet", "trajectories": 2, "steps": 78, "left_out": []},
    )
    table = parquet.read_table(folder / "pq" / "steps.parquet")
    assert table.num_rows == 78
    assert {"features_need_hunger", "features_rivalry_max", "action_key", "decided_by"} <= {*table.column_names}
    assert set(table.column("agent_id").to_pylist()) == {"alice", "bob"}


def test_what_a_form_has_no_place_for_is_said(folder: Path, run: Run) -> None:
    code, _, err = run("convert", "cap", "--to", "npz", "--output", "cap.npz")
    assert code == 0
    assert err.splitlines()[-1] == "townlet: warning: npz has no place for seeds, notes of cap"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--to", "npz", "--output", "x"), "--output x: npz is one file, expected a name that ends in .npz"),
        (("--to", "csv", "--output", "x"), "`to` must be one of ('captures', 'npz', 'shards', 'minari', 'parquet')"),
        (("--to", "shards", "--output", "cap"), "cap: write: exists already"),
        (("--to", "captures", "--output", "x"), "--to captures: 6 of 7 trajectories were cut; name the worth"),
        (
            ("--to", "captures", "--output", "x", "--final-value", "inf"),
            "Invalid value for '--final-value': expected a finite number, got inf",
        ),
        (("--to", "captures", "--output", "x", "--final-value", "0"), "x: encode: names of features"),
    ],
)
def test_what_cannot_be_converted_is_one_line(words: tuple[str, ...], problem: str, folder: Path, run: Run) -> None:
    before = sorted(folder.iterdir())
    code, out, err = run("convert", "town.npz", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"townlet: error: {problem}")
    assert sorted(folder.iterdir()) == before


def test_a_capture_of_ours_comes_back_from_shards(folder: Path, run: Run) -> None:
    assert main(["run", "--ticks", "5", "--record", "mine", "--quiet"]) == 0
    assert run("convert", "mine", "--to", "shards", "--output", "shards")[0] == 0
    assert run("convert", "shards", "--to", "captures", "--output", "again", "--final-value", "0.5")[0] == 0
    found, expected = read("again"), read("mine")
    np.testing.assert_array_equal(found.rewards, expected.rewards)
    np.testing.assert_array_equal(found.columns["action"], expected.columns["action"])
    with np.load(next((folder / "again").glob("*.npz"))) as sample:
        assert sample["value_preds"][-1] == 0.5


def test_a_split_has_whole_episodes_on_each_side(folder: Path, run: Run) -> None:
    words = ("split", "town.npz", "--fraction", "0.4", "--seed", 3)
    code, out, _ = run(*words, "--output", "parts", "--json")
    said = json.loads(out)
    held_out = agents("parts/held-out")
    assert code == 0
    assert 0 < len(held_out) < 7
    assert sorted(agents("parts/train") + held_out) == [*RETURNS]
    assert (said["fraction"], said["seed"], said["form"]) == (0.4, 3, "shards")
    assert said["held-out"] == {
        "output": "parts/held-out",
        "total": 7,
        "accepted": len(held_out),
        "rejected": 7 - len(held_out),
        "steps": 4 * len(held_out),
    }
    # the same seed, in another form, is the same split; another seed is not
    code, out, _ = run(*words, "--to", "npz", "--output", "again")
    assert out.splitlines()[1] == f"Wrote {len(held_out)} trajectories, {4 * len(held_out)} steps to again/held-out.npz"
    assert agents("again/held-out.npz") == held_out
    sides = set()
    for seed in range(8):
        run("split", "town.npz", "--fraction", "0.4", "--seed", seed, "--output", f"s{seed}")
        sides.add(agents(f"s{seed}/held-out"))
    assert len(sides) > 1


def test_an_empty_side_is_said(folder: Path, run: Run) -> None:
    code, _, err = run("split", "town.npz", "--fraction", "1", "--output", "parts")
    assert (code, err) == (
        0,
        "townlet: warning: `train` is empty: there are few episodes, and all are on the other side\n",
    )
    assert (agents("parts/train"), agents("parts/held-out")) == ("", "abcdefg")


def test_a_split_replaces_nothing(folder: Path, run: Run) -> None:
    (folder / "parts" / "held-out").mkdir(parents=True)
    code, _, err = run("split", "town.npz", "--fraction", "0.4", "--output", "parts")
    assert (code, err) == (2, "townlet: error: --output parts: held-out exists already\n")
    assert [path.name for path in (folder / "parts").iterdir()] == ["held-out"]


@pytest.mark.parametrize("fraction", ["-0.1", "1.1", "nan", "half"])
def test_a_share_that_is_none_is_refused(fraction: str, folder: Path, run: Run) -> None:
    code, out, err = run("split", "town.npz", "--fraction", fraction, "--output", "parts")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "fraction" in err
    assert not (folder / "parts").exists()


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (("--min-return", "3"), "cdefg"),
        (("--max-return", "3"), "abc"),
        (("--min-return", "2", "--max-return", "5", "--agent", "c", "--agent", "g"), "c"),
        (("--min-length", "4"), "abcdefg"),
        (("--max-length", "4", "--agent", "a"), "a"),
        (("--min-share", "learned=0.5"), "abc"),
        (("--max-share", "learned=0.4", "--min-share", "scripted=1"), "defg"),
    ],
)
def test_a_filter_keeps_what_meets_every_condition(words: tuple[str, ...], kept: str, folder: Path, run: Run) -> None:
    code, out, _ = run("filter", "town.npz", *words, "--output", "kept")
    many = "7 trajectories"
    assert (code, out) == (
        0,
        f"Wrote {len(kept)} of {many}, {4 * len(kept)} steps to kept; {7 - len(kept)} left out\n",
    )
    assert agents("kept") == kept


def test_a_filter_by_tags_needs_all_of_them(folder: Path, run: Run) -> None:
    for meta in (folder / "cap").glob("rollout_sample_*_00*.json"):
        document = json.loads(meta.read_text(encoding="utf-8"))
        document["tags"] = ["day", "calm"] if "alice" in meta.name else ["day"]
        meta.write_text(json.dumps(document), encoding="utf-8")
    assert run("filter", "cap", "--tag", "day", "--tag", "calm", "--output", "calm")[0] == 0
    assert read("calm").agent_ids.tolist() == ["alice"]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), "expected a condition, as --min-length 10, got none"),
        (("--agent", "nobody"), "town.npz: none of 7 trajectories meets the conditions"),
        (("--min-length", "5", "--max-length", "3"), "`min_length` 5 is above `max_length` 3"),
        (("--min-return", "nan"), "Invalid value for '--min-return': expected a finite number, got nan"),
        (
            ("--min-share", "robot=0.5"),
            "--min-share robot=0.5: expected scripted, learned, external and a share from 0 to 1, as learned=0.5",
        ),
        (("--max-share", "learned"), "--max-share learned: expected scripted"),
        (("--max-share", "learned=nan"), "--max-share learned=nan: expected scripted"),
    ],
)
def test_a_condition_that_is_none_is_one_line(words: tuple[str, ...], problem: str, folder: Path, run: Run) -> None:
    code, out, err = run("filter", "town.npz", *words, "--output", "kept")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"townlet: error: {problem}")
    assert not (folder / "kept").exists()


def labels(path: Path | str) -> dict[str, str]:
    """The labels of a dataset, by agent."""
    return {one.agent_id: one.episode_label.name.lower() for one in read(path) if one.episode_label}


def test_labels_are_given_in_place_and_chosen_by(folder: Path, run: Run) -> None:
    code, out, err = run("label", "town.npz", "discard", "--agent", "b", "--agent", "g")
    assert (code, out, err) == (0, "Labelled 2 of 7 trajectories `discard` in town.npz\n", "")
    assert run("label", "town.npz", "success", "--min-return", "6")[0] == 0
    assert run("label", "town.npz", "failure", "--world", "0", "--episode", "0", "--episode", "2")[0] == 0
    expected = {"a": "failure", "b": "discard", "c": "failure", "f": "success", "g": "success"}
    assert labels("town.npz") == expected
    assert "\n  labels: 2 none, 2 success, 2 failure, 1 discard\n" in run("describe", "town.npz")[1]
    for words, kept in (
        (("--label", "success"), "fg"),
        (("--label", "success", "--label", "discard"), "bfg"),
        (("--without-label", "discard"), "acdefg"),
        (("--label", "none", "--label", "failure", "--without-label", "failure"), "de"),
    ):
        target = f"kept-{kept}"
        assert run("filter", "town.npz", *words, "--output", target)[0] == 0
        assert agents(target) == kept
    assert labels("kept-bfg") == {"b": "discard", "f": "success", "g": "success"}
    code, out, _ = run("label", "kept-bfg", "none", "--all", "--json")
    assert json.loads(out) == {"output": "kept-bfg", "label": "none", "total": 3, "labelled": 3}
    assert labels("kept-bfg") == {}


def test_labels_are_given_in_a_new_dataset_of_any_form(folder: Path, run: Run) -> None:
    assert run("convert", "town.npz", "--to", "minari", "--output", "all/town-v0")[0] == 0
    words = ("--agent", "c", "--output", "new.npz", "--to", "npz")
    code, out, _ = run("label", "all/town-v0", "failure", *words)
    assert (code, out) == (0, "Labelled 1 of 7 trajectories `failure` in new.npz\n")
    assert (labels("new.npz"), labels("all/town-v0")) == ({"c": "failure"}, {})
    assert agents("new.npz") == "abcdefg"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("town.npz", "discard"), "expected a condition, as --agent ID, or --all, got neither"),
        (("town.npz", "discard", "--all", "--agent", "a"), "expected a condition, as --agent ID, or --all, got both"),
        (("town.npz", "discard", "--agent", "z"), "town.npz: none of 7 trajectories meets the conditions"),
        (("town.npz", "bad", "--all"), "Invalid value for 'LABEL': 'bad' is not one of"),
        (("cap", "discard", "--all"), "cap: labels are changed in place in npz and shards alone: name a new dataset"),
        (("cap", "discard", "--agent", "z", "--output", "new"), "cap: none of 2 trajectories meets the conditions"),
    ],
)
def test_what_cannot_be_labelled_is_one_line(words: tuple[str, ...], problem: str, folder: Path, run: Run) -> None:
    code, out, err = run("label", *words)
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith(f"townlet: error: {problem}")
    assert labels("town.npz") == {}
    assert not (folder / "new").exists()
