"""Runs that differ in their seed alone are one group; those that cannot be compared are named."""

from pathlib import Path

import pytest
from several_runs import change, write_run, write_runs

from townlet_runtime.errors import RunDirectoryError
from townlet_runtime.runs.groups import find_runs, group_runs, other_versions


def test_runs_that_differ_in_their_seed_are_one_group(tmp_path: Path) -> None:
    paths = write_runs(tmp_path, {4: 1.0, 0: 2.0, 11: 3.0})
    (group,), references = group_runs(paths)
    assert references == []
    assert (group.name, dict(group.settings), group.learned.seeds) == ("anneal", {}, (0, 4, 11))
    base = group.learned.means - [2.0, 1.0, 3.0]
    assert base == pytest.approx([base[0]] * 3)
    assert group.behavior("scripted").means == pytest.approx([182.09585] * 3)


def test_groups_are_named_by_what_differs(tmp_path: Path) -> None:
    write_runs(tmp_path / "a", {0: 0.0}, settings=["ppo.learning_rate=0.001"])
    write_runs(tmp_path / "b", {0: 0.0}, settings=["ppo.learning_rate=0.002"])
    groups, _ = group_runs(find_runs([tmp_path / "b", tmp_path / "a"]))
    assert [group.name for group in groups] == ["learning_rate=0.002", "learning_rate=0.001"]
    assert [dict(group.settings) for group in groups] == [{"ppo.learning_rate": 0.002}, {"ppo.learning_rate": 0.001}]


def test_a_mode_needs_no_key(tmp_path: Path) -> None:
    write_runs(tmp_path / "a", {0: 0.0}, settings=["training.source=anneal"])
    (ppo,) = write_runs(tmp_path / "b", {0: 0.0}, settings=["training.source=ppo"])
    change(ppo, "summary.json", lambda content: content.update(mode="ppo"))
    groups, _ = group_runs(find_runs([tmp_path / "a", tmp_path / "b"]))
    assert [group.name for group in groups] == ["anneal", "ppo"]


def test_a_name_says_two_keys_and_counts_the_others(tmp_path: Path) -> None:
    more = ["ppo.learning_rate=0.001", "ppo.clip_range=0.1", "bc.learning_rate=0.01"]
    write_run(tmp_path / "a", seed=0, settings=more)
    write_run(tmp_path / "b", seed=0)
    groups, _ = group_runs([tmp_path / "a", tmp_path / "b"])
    assert len(groups[0].settings) == 3
    assert groups[0].name.count("=") == 2 and groups[0].name.endswith(" +1")
    # keys of two sections that end alike are said in full
    assert "learning_rate=" not in groups[0].name.replace("ppo.learning_rate=", "").replace("bc.learning_rate=", "")
    assert "not stated" in groups[1].name


def test_another_script_is_another_way_to_train(tmp_path: Path) -> None:
    write_run(tmp_path / "a", seed=0)
    write_run(tmp_path / "b", seed=0, begun={"controller": "careful"})
    groups, _ = group_runs([tmp_path / "a", tmp_path / "b"])
    assert [group.name for group in groups] == ["controller=not stated", "controller=careful"]


def test_threads_do_not_tell_runs_apart(tmp_path: Path) -> None:
    write_run(tmp_path / "a", seed=0)
    write_run(tmp_path / "b", seed=1, begun={"threads": 2})
    assert len(group_runs([tmp_path / "a", tmp_path / "b"])[0]) == 1


def test_runs_made_in_python_are_told_apart_by_what_is_known(tmp_path: Path) -> None:
    nothing = {"config": None, "config_sha256": None, "environment": None}
    for seed, name in enumerate("abc"):
        write_run(tmp_path / name, seed=seed, begun=nothing)
    change(tmp_path / "c", "summary.json", lambda content: content.update(env_steps=5))
    groups, _ = group_runs([tmp_path / name for name in "abc"])
    assert [group.learned.seeds for group in groups] == [(0, 1), (2,)]
    assert groups[1].name == "total_env_steps=5"


def test_a_reference_is_a_group_of_its_own(tmp_path: Path) -> None:
    old, new = write_runs(tmp_path / "old", {0: 0.0, 1: 0.0}), write_runs(tmp_path / "new", {0: 1.0, 1: 2.0})
    groups, references = group_runs(new, old)
    assert [group.name for group in (*groups, *references)] == ["anneal in new", "anneal in old"]
    groups, references = group_runs(new, new)
    assert [group.name for group in (*groups, *references)] == ["anneal in new #1", "anneal in new #2"]


def test_a_folder_stands_for_the_runs_in_it(tmp_path: Path) -> None:
    paths = write_runs(tmp_path / "many", {0: 0.0, 1: 0.0})
    (tmp_path / "many" / "seed-0.log").write_text("a log")
    (tmp_path / "many" / "notes").mkdir()
    assert find_runs([tmp_path / "many"]) == paths
    assert find_runs([paths[1]]) == [paths[1]]


def test_what_is_no_finished_run_is_named(tmp_path: Path) -> None:
    paths = write_runs(tmp_path / "many", {0: 0.0, 1: 0.0})
    (paths[1] / "manifest.json").unlink()
    with pytest.raises(RunDirectoryError, match=r"seed-1: expected the directory of a finished run, found no manifest"):
        find_runs([tmp_path / "many"])
    with pytest.raises(RunDirectoryError, match="nowhere: expected the directory of a finished run, found no dir"):
        find_runs([tmp_path / "nowhere"])


def test_a_seed_counts_once(tmp_path: Path) -> None:
    write_run(tmp_path / "a", seed=3)
    write_run(tmp_path / "b", seed=3)
    with pytest.raises(RunDirectoryError, match=r"b: has the settings and the seed 3 of .*a: a seed counts once"):
        group_runs([tmp_path / "a", tmp_path / "b"])


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("town.agents=4", r"`town.num_agents` is 4, there 3"),
        ("rewards.survival_tick=0.005", r"`rewards.survival_tick` is 0.005, there"),
        ("queue.cooldown_ticks=7", r"`queue.cooldown_ticks` is 7, there"),
    ],
)
def test_another_world_is_named_by_its_key(setting: str, problem: str, tmp_path: Path) -> None:
    write_run(tmp_path / "a", seed=0)
    write_run(tmp_path / "b", seed=1, settings=[setting])
    with pytest.raises(RunDirectoryError, match=rf"b: another world than that of .*a: {problem}"):
        group_runs([tmp_path / "a", tmp_path / "b"])


def test_other_scores_are_named(tmp_path: Path) -> None:
    write_run(tmp_path / "a", seed=0)
    for name, record, how, problem in (
        ("b", "summary.json", lambda content: content.update(env="garden"), "the world garden, there town"),
        ("c", "evaluation.json", lambda content: content.update(horizon=5), "episodes of 5 ticks, there 1000 ticks"),
        ("d", "evaluation.json", lambda content: content.update(acting="sampled"), "sampled, there greedy"),
    ):
        change(write_run(tmp_path / name, seed=1), record, how)
        with pytest.raises(RunDirectoryError, match=f"{name}: cannot be compared with .*a: .*{problem}"):
            group_runs([tmp_path / "a", tmp_path / name])


def test_other_final_episodes_are_named(tmp_path: Path) -> None:
    write_run(tmp_path / "a", seed=0)
    other = write_run(tmp_path / "b", seed=1)

    def move(content: dict[str, dict[str, dict[str, object]]]) -> None:
        final = content["final"]
        for scores in (final["learned"], final["clone"], *final["baselines"].values()):
            scores["seeds"] = [seed + 1 for seed in scores["seeds"]]

    change(other, "evaluation.json", move)
    with pytest.raises(RunDirectoryError, match=r"b: cannot be compared with .*a: final episodes with seeds \d+ to"):
        group_runs([tmp_path / "a", other])


def test_software_of_several_versions_is_named(tmp_path: Path) -> None:
    paths = write_runs(tmp_path, {0: 0.0, 1: 0.0})
    groups, _ = group_runs(paths)
    assert other_versions(groups) == {}
    change(paths[1], "summary.json", lambda content: content["versions"].update(torch="9.9"))
    found = other_versions(group_runs(paths)[0])
    assert list(found) == ["torch"] and found["torch"][1] == "9.9"


def test_a_run_without_a_world_has_no_scores(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", seed=0)

    def forget(content: dict[str, object]) -> None:
        none = "env eval_return_mean eval_return_iqm eval_return_ci".split()
        content.update(dict.fromkeys(none), promotion=None, baseline_return_means={}, eval_episodes=0)
        content.update(dict.fromkeys(("improvement_mean", "improvement_ci", "improvement_normalized")))

    (run / "evaluation.json").unlink()
    (run / "promotion.json").unlink()
    change(run, "summary.json", forget)
    with pytest.raises(RunDirectoryError, match="a: has no scores that could be compared: it was trained without a"):
        group_runs([run])
