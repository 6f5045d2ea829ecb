"""The rules by which `benchmarks/learning` judges and keeps what runs came to."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks" / "learning"


@pytest.fixture(scope="module")
def learning() -> Iterator[SimpleNamespace]:
    """The modules of the folder, which import one another by their short names."""
    names = ("demonstrations", "items", "results", "run", "worlds")
    sys.path.insert(0, str(FOLDER))
    try:
        yield SimpleNamespace(**{name: __import__(name) for name in names})
    finally:
        sys.path.remove(str(FOLDER))
        for name in names:
            sys.modules.pop(name, None)


def result(learned: float, *later: float, clone: float = 100.0) -> dict[str, object]:
    evaluations = [[0, "clone", clone], *([i, "ppo", mean] for i, mean in enumerate(later))]
    return {"means": {"learned": learned, "scripted": 100.0, "random": 20.0}, "evaluations": evaluations}


@pytest.mark.parametrize(("measure", "figure"), [("return", 60.0), ("gain", -40.0), ("normalized", 0.5)])
def test_a_run_is_measured_by_what_its_target_is_about(learning: SimpleNamespace, measure: str, figure: float) -> None:
    item = replace(learning.items.ITEMS[0], target=learning.items.Target(measure=measure))
    assert learning.run.measured(item, result(60.0)) == figure


@pytest.mark.parametrize(
    ("bound", "figures", "failure"),
    [
        ({"mean_at_least": 3.0}, [1.0, 4.0], "mean 2.5 < 3"),
        ({"mean_at_least": 2.5}, [1.0, 4.0], None),
        ({"mean_at_most": 2.0}, [1.0, 4.0], "mean 2.5 > 2"),
        ({"each_at_least": 1.5}, [1.0, 4.0], "one 1 < 1.5"),
        # by hand: mean 2, s = 1, t_2(0.975) = 4.303, so 2 ± 2.484
        ({"low_above": 0.0}, [1.0, 2.0, 3.0], "interval not above 0"),
        ({"low_above": -0.5}, [1.0, 2.0, 3.0], None),
        ({"low_above": 0.0}, [7.0], "interval not above 0"),
        ({"kept": 0.8}, [1.0], "an evaluation was 0.79 of the clone's < 0.8"),
        ({"kept": 0.79}, [1.0], None),
    ],
)
def test_every_bound_of_a_target_can_be_missed(
    learning: SimpleNamespace, bound: dict[str, float], figures: list[float], failure: str | None
) -> None:
    target = learning.items.Target(**bound)
    found = learning.run.missed(target, figures, [result(0.0, 120.0, 79.0) for _ in figures])
    assert found == ([] if failure is None else [failure])


def test_a_target_holds_only_of_all_its_seeds(learning: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    item = replace(learning.items.ITEMS[0], target=learning.items.Target(mean_at_least=50.0))
    runs = {seed: {**result(60.0), "digest": "of other sources"} for seed in (0, 1)}
    assert learning.run.report(item, [0, 1], runs)
    assert "60 to 60" in capsys.readouterr().out
    assert not learning.run.report(item, [0, 1, 2], runs)
    assert "there is no run of the seeds [2]" in capsys.readouterr().out
    assert not learning.run.report(item, [0], {})


def test_a_list_of_seeds_may_have_ranges(learning: SimpleNamespace) -> None:
    assert learning.run.seeds_of("0-2,7") == [0, 1, 2, 7]


def test_a_result_is_of_the_settings_and_not_of_the_title(learning: SimpleNamespace) -> None:
    item, digest = learning.items.ITEMS[0], learning.results.digest_of
    assert digest(replace(item, title="other", target=learning.items.Target(), seeds="9")) == digest(item)
    assert digest(replace(item, settings={**item.settings, "ppo.discount": 0.5})) != digest(item)
    assert digest(replace(item, steps=item.steps + 1)) != digest(item)


def test_a_comment_makes_no_result_old_and_a_number_does(
    learning: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, results = tmp_path / "one.py", learning.results
    monkeypatch.setattr(results, "PACKAGES", tmp_path)
    monkeypatch.setattr(results, "SOURCES", ("*.py",))

    def digest(text: str) -> str:
        source.write_text(text, encoding="utf-8")
        return str(results.sources_as_they_are())

    first = digest('"""What it is."""\nx = 1\n\ndef f():\n    """Do."""\n    return x\n')
    assert digest('"""Other words."""\nx = 1  # one\ndef f():\n    """Do it."""\n    return x\n') == first
    assert digest('"""What it is."""\nx = 2\n\ndef f():\n    """Do."""\n    return x\n') != first


def test_every_source_pattern_names_files(learning: SimpleNamespace) -> None:
    empty = [each for each in learning.results.SOURCES if not list(learning.results.PACKAGES.glob(each))]
    assert empty == []


def test_a_kept_result_replaces_that_of_its_seed(
    learning: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item, results = learning.items.ITEMS[0], learning.results
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    for seed, learned in ((10, 1.0), (2, 2.0), (10, 3.0)):
        results.keep(item, seed, result(learned))
    kept = json.loads((tmp_path / f"{item.name}.json").read_text(encoding="utf-8"))
    assert [(seed, each["means"]["learned"]) for seed, each in kept.items()] == [("2", 2.0), ("10", 3.0)]
    assert results.kept(item) == kept


def test_the_noisy_script_draws_three_decisions_in_ten(learning: SimpleNamespace) -> None:
    worlds, rng = learning.worlds, np.random.default_rng(0)
    script = worlds.NoisyLander(
        SimpleNamespace(name="lander", vocabulary=("none", "left", "main", "right"), actions=None)
    )
    seen = rng.normal(size=(4000, 8)).astype(np.float32)
    ids = np.array(["pilot"] * len(seen), object)
    view = SimpleNamespace(slots=np.arange(len(seen)), agent_ids=ids, observations={"observation": seen})
    proposed = script.propose(view)
    # three of four draws differ from the heuristic's own action: 0.225 ± 3 · 0.0066
    changed = float(np.mean(proposed != script._heuristic.propose(view)))
    assert 0.205 < changed < 0.245
    assert np.array_equal(proposed, script.propose(view))


def test_demonstrations_are_one_whole_episode_of_each_world(learning: SimpleNamespace, tmp_path: Path) -> None:
    from townlet_trajectory import load_batch

    learning.demonstrations.record("gymnasium:LunarLander-v3", tmp_path / "three.npz", episodes=3, seed=1)
    batch = load_batch(tmp_path / "three.npz")
    assert sorted(batch.worlds.tolist()) == [0, 1, 2]
    assert (batch.terminated | batch.truncated).all()
    assert (batch.columns["expert_action"] >= 0).all()
