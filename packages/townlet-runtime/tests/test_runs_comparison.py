"""Groups of runs are compared with the script, with each other, or with a reference."""

from pathlib import Path

import pytest
from several_runs import change, write_runs

from townlet_runtime.runs.comparison import compare_groups, unit_words
from townlet_runtime.runs.groups import RunGroup, find_runs, group_runs


def groups(*folders: Path) -> list[RunGroup]:
    return group_runs(find_runs(folders))[0]


def test_one_group_is_compared_with_the_script(tmp_path: Path) -> None:
    write_runs(tmp_path, {0: 1.0, 1: 2.0, 2: 3.0})
    found = compare_groups(groups(tmp_path))
    (difference,) = found.differences
    base = found.groups[0].learned.means[0] - 1.0 - found.behaviors["scripted"]
    assert (difference.first, difference.second, difference.found.paired) == ("anneal", "scripted", True)
    assert difference.found.mean == pytest.approx(base + 2.0)
    # the differences of the seeds are base + 1, 2 and 3: t_2(0.975) / sqrt(3) = 2.484138
    assert difference.found.ci == pytest.approx((base + 2.0 - 2.484138, base + 2.0 + 2.484138), abs=1e-5)
    assert set(found.behaviors) == {"scripted", "nearest", "idle", "random"}


def test_several_groups_are_compared_with_the_first_too(tmp_path: Path) -> None:
    write_runs(tmp_path / "a", {0: 0.0, 1: 10.0})
    write_runs(tmp_path / "b", {0: 1.0, 1: 13.0}, settings=["ppo.clip_range=0.1"])
    found = compare_groups(groups(tmp_path / "a", tmp_path / "b"))
    first, second = (group.name for group in found.groups)
    named = [(each.first, each.second) for each in found.differences]
    assert named == [(first, "scripted"), (second, "scripted"), (second, first)]
    assert found.differences[2].found.mean == pytest.approx(2.0)
    assert found.differences[2].found.p_value is not None and found.differences[0].found.p_value is None


def test_a_reference_replaces_the_script(tmp_path: Path) -> None:
    old, new = write_runs(tmp_path / "old", {0: 0.0, 1: 5.0}), write_runs(tmp_path / "new", {0: 4.0, 1: 9.0})
    found = compare_groups(*group_runs(new, old))
    (difference,) = found.differences
    assert (difference.first, difference.second) == ("anneal in new", "anneal in old")
    assert (difference.found.mean, difference.found.ci) == (pytest.approx(4.0), pytest.approx((4.0, 4.0)))
    assert [summary.num_runs for summary in found.summaries] == [2, 2]


def test_without_a_script_there_is_chance(tmp_path: Path) -> None:
    paths = write_runs(tmp_path, {0: 0.0, 1: 5.0})

    def forget(content: dict[str, dict[str, dict[str, object]]]) -> None:
        for part in ("baselines", "summaries", "paired", "normalized"):
            for name in ("scripted", "nearest", "idle"):
                del content["final"][part][name]

    for path in paths:
        change(path, "evaluation.json", forget)
    assert [each.second for each in compare_groups(groups(tmp_path)).differences] == ["random"]


def test_few_runs_and_other_versions_are_said(tmp_path: Path) -> None:
    paths = write_runs(tmp_path, {0: 0.0, 1: 0.0, 2: 0.0, 3: 0.0})
    (few,) = compare_groups(groups(tmp_path)).warnings
    assert few.startswith("anneal: 4 runs; with fewer than 5 training seeds")
    write_runs(tmp_path, {4: 0.0})
    assert compare_groups(groups(tmp_path)).warnings == []
    change(paths[0], "summary.json", lambda content: content["versions"].update(numpy="1.0"))
    (versions,) = compare_groups(groups(tmp_path)).warnings
    assert versions.startswith("made with numpy 1.0 and ")


def test_the_unit_is_said(tmp_path: Path) -> None:
    write_runs(tmp_path, {0: 0.0})
    words = unit_words(compare_groups(groups(tmp_path)))
    assert words.startswith("The unit is the run") and "20 episodes of its policy (greedy actions" in words
