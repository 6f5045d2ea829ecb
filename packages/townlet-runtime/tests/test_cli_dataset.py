"""`townlet dataset audit`, `curate`, `merge-metrics`, `describe` and `outliers`: what they print, write and refuse."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import chdir
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from dataset_samples import KITCHEN, Run, dataset_caller, save_town

from townlet_trajectory.formats.captures.manifest import sample_digest
from townlet_trajectory.formats.open import open_dataset

pytestmark = pytest.mark.filterwarnings("ignore::townlet_trajectory.formats.captures.directory.UnnamedActionsWarning")
FIGURES = {
    *("action_blocked_ratio", "action_entropy", "action_nonzero", "action_total", "action_unknown_count"),
    *("lateness_mean", "log_prob_mean", "reward_mean", "reward_sum", "rivalry_avoid_count_max"),
    *("rivalry_avoid_count_mean", "rivalry_max_max", "rivalry_max_mean", "timesteps", "value_pred_last"),
}
"""Of each sample, as the original wrote them."""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return dataset_caller(capsys)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The working folder, with a capture `cap` in it."""
    shutil.copytree(KITCHEN, tmp_path / "cap")
    with chdir(tmp_path):
        yield tmp_path


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def make_catalogue(folder: Path) -> None:
    """A catalogue of one dataset: the samples of `cap`."""
    entries, checksums = [], {}
    for npz in sorted((folder / "cap").glob("*.npz")):
        meta = npz.with_suffix(".json")
        paths = {"sample": f"cap/{npz.name}", "meta": f"cap/{meta.name}"}
        entries.append(paths)
        checksums[npz.stem] = {**paths, "sha256": sample_digest(npz.read_bytes(), meta.read_bytes())}
    for other in (*(folder / "cap").glob("*_manifest.json"), *(folder / "cap").glob("*_metrics.json")):
        other.unlink()
    write(folder / "lists" / "kitchen_manifest.json", entries)
    write(folder / "lists" / "kitchen_checksums.json", checksums)
    paths = {"manifest": "lists/kitchen_manifest.json", "checksums": "lists/kitchen_checksums.json"}
    write(folder / "versions.json", {"kitchen": {**paths, "captures_dir": "cap", "status": "active"}})


def test_an_audit_of_a_catalogue_prints_the_keys_of_the_original(folder: Path, run: Run) -> None:
    make_catalogue(folder)
    code, out, err = run("audit", "--versions", "versions.json")
    report = json.loads(out)
    assert (code, err) == (0, "")
    assert report.keys() == {"versions_path", "datasets", "failures", "warnings", "timestamp"}
    assert (report["versions_path"], report["failures"], report["warnings"]) == ("versions.json", 0, 0)
    datetime.strptime(report["timestamp"], "%Y-%m-%dT%H:%M:%SZ")
    (kitchen,) = report["datasets"]
    assert {"name", "status", "manifest", "checksums", "captures", "findings", "sample_count"} <= kitchen.keys()
    assert (kitchen["status"], kitchen["sample_count"], kitchen["findings"]) == ("PASS", 2, [])


def test_a_sample_that_was_changed_fails_the_audit(folder: Path, run: Run) -> None:
    make_catalogue(folder)
    changed = folder / "cap" / "rollout_sample_bob_002.json"
    changed.write_bytes(changed.read_bytes() + b"\n")
    code, out, _ = run("audit", "--versions", "versions.json")
    assert code == 0
    (kitchen,) = json.loads(out)["datasets"]
    assert kitchen["status"] == "FAIL"
    assert ["rollout_sample_bob_002.npz: expected SHA-256" in text for text in kitchen["findings"]] == [True]
    assert run("audit", "--versions", "versions.json", "--exit-on-failure")[0] == 1


def test_a_captures_folder_that_is_missing_is_a_failure(folder: Path, run: Run) -> None:
    """The original turned FAIL into WARN here, and ended with 0."""
    write(folder / "bad.json", {"x": {"manifest": "nope", "checksums": "nope", "captures_dir": "nope"}})
    code, out, _ = run("audit", "--versions", "bad.json", "--exit-on-failure")
    report = json.loads(out)
    assert (code, report["failures"], report["warnings"]) == (1, 1, 0)
    assert report["datasets"][0]["status"] == "FAIL"
    assert any("Captures dir missing: nope" in text for text in report["datasets"][0]["findings"])


def test_paths_of_a_catalogue_are_relative_to_the_data_root(folder: Path, run: Run) -> None:
    make_catalogue(folder)
    (folder / "elsewhere").mkdir()
    with chdir(folder / "elsewhere"):
        assert json.loads(run("audit", "--versions", "../versions.json")[1])["failures"] == 1
        code, out, _ = run("audit", "--versions", "../versions.json", "--data-root", folder)
    assert (code, json.loads(out)["failures"]) == (0, 0)


def test_a_catalogue_that_is_missing_is_one_line(folder: Path, run: Run) -> None:
    assert run("audit", "--versions", "nope.json") == (2, "", "townlet: error: nope.json: open: " + _NO_FILE)


_NO_FILE = "No such file or directory\n"


@pytest.mark.parametrize(("words", "came"), [((), "neither"), (("cap", "--versions", "versions.json"), "both")])
def test_one_thing_is_audited(words: tuple[str, ...], came: str, folder: Path, run: Run) -> None:
    code, _, err = run("audit", *words)
    assert (code, err) == (2, f"townlet: error: expected DATASET or --versions FILE, got {came}\n")


def test_one_dataset_is_audited_in_words_or_json(folder: Path, run: Run) -> None:
    code, out, err = run("audit", "cap")
    assert (code, out.splitlines()[0]) == (0, "PASS  cap  (2 samples)")
    assert "constant-reward: rewards: always -0.2" in out
    assert err.startswith("townlet: warning: cap/rollout_sample_manifest.json: 2 of 2 samples do not say")
    assert json.loads(run("audit", "cap", "--json")[1])["datasets"][0]["name"] == "cap"
    assert run("audit", "cap", "--quiet") == (0, "", "")


def test_curating_lists_every_sample_with_its_figures(folder: Path, run: Run) -> None:
    code, out, err = run("curate", "cap", "--output", "cur/manifest.json", "--min-timesteps", 10, "--min-reward", -100)
    assert (code, json.loads(out), err) == (0, {"total": 2, "accepted": 2, "rejected": 0}, "")
    entries = json.loads((folder / "cur" / "manifest.json").read_text(encoding="utf-8"))
    assert [entry["sample"] for entry in entries] == [
        "cap/rollout_sample_alice_001.npz",
        "cap/rollout_sample_bob_002.npz",
    ]
    assert entries[0] == {
        "sample": "cap/rollout_sample_alice_001.npz",
        "meta": "cap/rollout_sample_alice_001.json",
        # 40 rewards of -0.2 in float32
        "metrics": {
            "timesteps": 40,
            "reward_sum": pytest.approx(-8.0),
            "mean_reward": pytest.approx(-0.2),
            "done_count": 0,
        },
        "accepted": True,
    }
    with open_dataset(folder / "cur" / "manifest.json") as opened:
        assert len(opened.source.table) == 2


@pytest.mark.parametrize(
    ("words", "accepted"),
    [
        (("--min-timesteps", 40), 2),
        (("--min-timesteps", 41), 0),
        (("--min-reward", -7.9), 0),
        (("--min-reward", -9), 2),
    ],
)
def test_samples_that_are_short_or_poor_are_not_accepted(
    words: tuple[object, ...], accepted: int, folder: Path, run: Run
) -> None:
    code, out, _ = run("curate", "cap", "--output", "manifest.json", *words)
    assert (code, json.loads(out)) == (0, {"total": 2, "accepted": accepted, "rejected": 2 - accepted})
    entries = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert [entry["accepted"] for entry in entries] == [accepted > 0] * 2


@pytest.mark.parametrize(
    ("place", "samples", "output", "root"),
    [
        (".", "cap", "cur/m.json", "."),
        ("cur", "../cap", "../m.json", ".."),
        ("cur", "../cap", "m.json", ".."),
    ],
)
def test_what_is_curated_can_be_read(place: str, samples: str, output: str, root: str, folder: Path, run: Run) -> None:
    """No path is absolute or leaves its root, wherever the command runs."""
    (folder / "cur").mkdir()
    with chdir(folder / place):
        for absolute in (False, True):
            names = [str(Path(name).resolve()) if absolute else name for name in (samples, output)]
            code, _, err = run("curate", names[0], "--output", names[1])
            assert code == 0
            assert ("name it as --data-root" in err) is (output == "m.json")
            entries = json.loads(Path(output).read_text(encoding="utf-8"))
            assert entries[0]["sample"] == "cap/rollout_sample_alice_001.npz"
            with open_dataset(output, data_root=root) as opened:
                assert len(opened.source.table) == 2


def test_what_cannot_be_curated_is_named(folder: Path, run: Run) -> None:
    (folder / "cap" / "rollout_sample_bob_002.json").unlink()
    code, _, err = run("curate", "cap", "--output", "m.json")
    assert code == 2
    assert "rollout_sample_bob_002.json" in err
    assert not (folder / "m.json").exists()
    code, _, err = run("curate", "cap", "--output", "m.json", "--min-reward", "nan")
    assert code == 2 and "Invalid value for '--min-reward': expected a finite number, got nan" in err
    (folder / "none").mkdir()
    code, out, err = run("curate", "none", "--output", "m.json")
    assert (code, json.loads(out)["total"]) == (0, 0)
    assert "no sample" in err


@pytest.fixture
def suite(folder: Path) -> Path:
    """Captures of two scenarios, and a template."""
    for name in ("kitchen_breakfast", "queue_conflict", "_template"):
        shutil.copytree(KITCHEN, folder / "suite" / name)
    (folder / "suite" / "empty").mkdir()
    return folder


def read(path: str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def test_merging_adds_to_the_golden_file(suite: Path, run: Run) -> None:
    write(suite / "golden.json", {"zoo": {"old.npz": {"timesteps": 3.0}}, "queue_conflict": {"gone.npz": {}}})
    code, out, _ = run("merge-metrics", "suite", "--golden", "golden.json")
    assert (code, out.splitlines()) == (
        0,
        [
            "Merged scenarios:",
            "- kitchen_breakfast: 2 samples -> golden.json",
            "- queue_conflict: 2 samples -> golden.json",
        ],
    )
    golden = read("golden.json")
    assert [*golden] == ["kitchen_breakfast", "queue_conflict", "zoo"]
    assert golden["zoo"] == {"old.npz": {"timesteps": 3.0}}
    assert [*golden["queue_conflict"]] == ["rollout_sample_alice_001.npz", "rollout_sample_bob_002.npz"]
    figures = golden["kitchen_breakfast"]["rollout_sample_alice_001.npz"]
    assert [*figures] == sorted(FIGURES)
    assert (figures["timesteps"], figures["reward_sum"]) == (40.0, -8.0)


def test_another_file_can_be_written(suite: Path, run: Run) -> None:
    write(suite / "golden.json", {"zoo": {}})
    before = (suite / "golden.json").read_bytes()
    words = ("suite", "--golden", "golden.json", "--include", "queue_conflict")
    code, out, _ = run("merge-metrics", *words, "--output", "new/out.json", "--json")
    assert (code, json.loads(out)) == (0, {"scenarios": {"queue_conflict": 2}, "output": "new/out.json"})
    assert (suite / "golden.json").read_bytes() == before
    assert [*read("new/out.json")] == ["queue_conflict", "zoo"]
    # without a golden file, what is in the output is kept
    run("merge-metrics", "suite", "--output", "new/out.json", "--include", "kitchen_breakfast")
    assert [*read("new/out.json")] == ["kitchen_breakfast", "queue_conflict", "zoo"]


def test_a_dry_run_writes_nothing(suite: Path, run: Run) -> None:
    words = ("merge-metrics", "suite", "--golden", "golden.json", "--dry-run", "--include", "queue_conflict")
    assert run(*words) == (0, "Scenarios that would be merged:\n- queue_conflict: 2 samples\n", "")
    assert not (suite / "golden.json").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("suite", "--output", "o.json", "--include", "kitchen_breakfast", "_template", "--allow-template"),
        ("--allow-template", "--include", "kitchen_breakfast", "_template", "--output", "o.json", "suite"),
        ("suite", "--include=_template", "--include", "kitchen_breakfast", "--allow-template", "--output", "o.json"),
    ],
)
def test_several_scenarios_are_included_as_in_the_original(words: tuple[str, ...], suite: Path, run: Run) -> None:
    assert run("merge-metrics", *words)[0] == 0
    assert [*read("o.json")] == ["_template", "kitchen_breakfast"]


def test_include_without_names_is_all(suite: Path, run: Run) -> None:
    assert run("merge-metrics", "suite", "--include", "--output", "o.json")[0] == 0
    assert [*read("o.json")] == ["kitchen_breakfast", "queue_conflict"]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("suite",), "expected --golden FILE or --output FILE, got neither"),
        (
            ("suite", "--output", "o.json", "--include", "_template"),
            "--include _template: suite holds kitchen_breakfast queue_conflict",
        ),
        (("cap", "--output", "o.json"), "cap: expected folders with rollout_sample_metrics.json, got none"),
        (("nope", "--output", "o.json"), "nope: No such file or directory"),
        (("suite", "--golden", "list.json"), "list.json: parse: "),
    ],
)
def test_what_cannot_be_merged_is_one_line(words: tuple[str, ...], problem: str, suite: Path, run: Run) -> None:
    write(suite / "list.json", [1])
    code, out, err = run("merge-metrics", *words)
    assert (code, out) == (2, "")
    assert err.startswith(f"townlet: error: {problem}")
    assert err.count("\n") == 1
    assert not (suite / "o.json").exists()


def test_metrics_that_are_no_numbers_are_refused(suite: Path, run: Run) -> None:
    write(suite / "suite" / "queue_conflict" / "rollout_sample_metrics.json", {"a.npz": {"reward_sum": "much"}})
    code, _, err = run("merge-metrics", "suite", "--output", "o.json")
    assert code == 2
    assert "`reward_sum` must be a number or null, got 'much'" in err


def test_a_dataset_is_described_in_words_or_json(folder: Path, run: Run) -> None:
    code, out, _ = run("describe", "cap")
    assert code == 0
    # 40 rows of each are 39 steps: the last observation of the original's ends the one before it
    assert out.splitlines()[:2] == [
        "cap",
        "  2 trajectories, 78 steps, 2 agents, 2 episodes of 1 world, 2 blocks",
    ]
    assert max(map(len, out.splitlines())) <= 80
    found = json.loads(run("describe", "cap", "--json")[1])
    assert (found["num_trajectories"], found["num_steps"], found["lengths"]["max"]) == (2, 78, 39.0)


def test_the_outliers_of_a_dataset_are_named_with_their_reasons(folder: Path, run: Run) -> None:
    save_town(folder / "town.npz")
    code, out, _ = run("outliers", "town.npz", "--top", 2)
    assert (code, out.splitlines()) == (
        0,
        [
            "town.npz: 7 trajectories, compared in 5 figures",
            "beyond 3.5 deviations (scaled median absolute ones) in one of them: 1",
            "   1  g (world 0, episode 6, from tick 0, 4 steps)",
            "      return 100: 32.38 deviations above the median, 4",
            "   2  a (world 0, episode 0, from tick 0, 4 steps)",
            "      return 1: 1.012 deviations below the median, 4",
        ],
    )
    found = json.loads(run("outliers", "town.npz", "--json")[1])
    assert [one["agent_id"] for one in found["outliers"]] == ["g", "a", "b", "f", "c", "e"]
    assert found["outliers"][0]["reasons"] == [
        {"figure": "return", "value": 100.0, "median": 4.0, "deviations": pytest.approx(0.6745 * 96 / 2)}
    ]
    assert (found["num_beyond"], found["limit"]) == (1, 3.5)


def test_outliers_need_others_to_differ_from(folder: Path, run: Run) -> None:
    code, out, err = run("outliers", "cap", "--quiet")
    assert (code, out) == (2, "")
    assert err == "townlet: error: cap: outliers need three trajectories or more, got 2\n"


@pytest.mark.parametrize("command", ["describe", "outliers"])
def test_a_path_of_no_format_is_one_line(command: str, folder: Path, run: Run) -> None:
    code, out, err = run(command, "nope")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("townlet: error: nope: open: expected a batch (*.npz)")
