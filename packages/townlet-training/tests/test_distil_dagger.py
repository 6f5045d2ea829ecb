"""DAgger in corridors: what is met, who labels it, what a round gains, and that it goes on where it was broken off."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corridor import SPEC, CorridorCollector, CorridorEvaluator, scripted

from townlet_training.config import ONE_GROUP, DaggerConfig, GatesConfig, TrainingConfig
from townlet_training.distil.dagger import ROUNDS_NAME, DaggerRun
from townlet_training.errors import ConfigError, ResumeError
from townlet_training.learning.config import BCConfig
from townlet_training.network.config import NetworkConfig
from townlet_training.run.orchestrator import TrainingOrchestrator
from townlet_trajectory import Kind
from townlet_trajectory.dataset.source import BatchSource
from townlet_trajectory.evaluation.promotion import PromotionConfig
from townlet_trajectory.evaluation.results import RunSummary
from townlet_trajectory.formats.batch_file import load_batch

CONFIG = TrainingConfig(
    mode="dagger",
    seed=5,
    num_envs=4,
    eval_episodes=10,
    final_episodes=10,
    baselines=("scripted", "idle"),
    network=NetworkConfig(hidden_sizes=(8,)),
    bc=BCConfig(num_epochs=2, learning_rate=3e-2),
    dagger=DaggerConfig(rounds=3, ticks=48),
    gates=GatesConfig(clone_accuracy=0.1, num_resamples=100),
    promotion=PromotionConfig(num_episodes=10, num_resamples=100),
)


def run(path: Path, config: TrainingConfig = CONFIG, **changes: Any) -> RunSummary:
    path.mkdir(exist_ok=True)
    collector = changes.pop("collector", None) or CorridorCollector(config.num_envs, seed=config.seed)
    return DaggerRun(config, collector, CorridorEvaluator(), specs={ONE_GROUP: SPEC}, run_dir=path, **changes).run()


@pytest.mark.parametrize(
    ("schedule", "shares"),
    [("first", [1.0, 0.0, 0.0]), ("linear", [1.0, 0.5, 0.0]), ("exponential", [1.0, 0.25, 0.0625])],
)
def test_shares_of_the_script_by_hand(schedule: Any, shares: list[float]) -> None:
    config = DaggerConfig(rounds=3, beta_schedule=schedule, beta=0.25)
    assert [config.script_share(number) for number in (1, 2, 3)] == shares
    assert DaggerConfig(rounds=1, beta_schedule=schedule).script_share(1) == 1.0


def test_every_state_of_a_round_is_labelled_by_the_script_whoever_decided(tmp_path: Path) -> None:
    collector = CorridorCollector(4, seed=5)
    summary = run(tmp_path, replace(CONFIG, dagger=replace(CONFIG.dagger, beta_schedule="linear")), collector=collector)
    assert collector.ratios == [0.0, 0.5, 1.0]
    for number, done in enumerate(summary.rounds, start=1):
        batch = load_batch(tmp_path / ROUNDS_NAME / f"round-{number:03}-agents.npz")
        assert batch.num_steps == done.num_states == 4 * 48
        decided = batch.columns["kind"] != Kind.FORCED
        expected = scripted({name: np.asarray(array) for name, array in batch.observations.items()})
        assert decided.any() and np.array_equal(batch.columns["expert_action"][decided], expected[decided])
    assert [done.env_steps for done in summary.rounds] == [192, 384, 576]


def test_rounds_learn_from_all_that_came_before(tmp_path: Path) -> None:
    rounds = run(tmp_path).rounds
    assert rounds[0].num_labels < rounds[1].num_labels < rounds[2].num_labels
    assert rounds[0].agreement_before is None and 0.0 <= (rounds[1].agreement_before or -1.0) <= 1.0
    assert rounds[0].gained is None
    assert rounds[2].gained == pytest.approx(rounds[2].return_mean - rounds[1].return_mean)


def test_the_first_round_is_behavior_cloning(tmp_path: Path) -> None:
    """A clone of the same states, as recorded ones, has the same weights."""
    one = replace(CONFIG, dagger=replace(CONFIG.dagger, rounds=1))
    summary = run(tmp_path / "dagger", one)
    (tmp_path / "bc").mkdir()
    batch = load_batch(tmp_path / "dagger" / ROUNDS_NAME / "round-001-agents.npz")
    cloned = TrainingOrchestrator(
        replace(one, mode="bc"),
        None,
        None,
        specs={ONE_GROUP: SPEC},
        run_dir=tmp_path / "bc",
        data={ONE_GROUP: [BatchSource(batch)]},
    ).run()
    assert summary.clone is not None and cloned.clone is not None
    assert summary.clone.results == cloned.clone.results


def test_the_result_is_the_best_round_and_is_compared_with_the_first(tmp_path: Path) -> None:
    summary = run(tmp_path)
    best = max(summary.rounds, key=lambda done: done.return_mean)
    assert summary.checkpoint.name == f"step-{best.env_steps:09d}"
    assert summary.final is not None and summary.final.clone is not None
    assert summary.clone is not None and summary.clone.env_steps == summary.rounds[0].env_steps
    assert [record.return_mean for record in summary.history] == [done.return_mean for done in summary.rounds]


@pytest.mark.parametrize("anew", [True, False])
def test_a_run_that_was_broken_off_comes_to_the_same(tmp_path: Path, anew: bool) -> None:
    config = replace(CONFIG, dagger=replace(CONFIG.dagger, anew=anew))
    whole = run(tmp_path / "whole", config)
    for moment in (2, 5, 8, 11, 14):
        asked = iter([False] * moment + [True])
        path = tmp_path / f"broken-{moment}"
        broken = run(path, config, stop=lambda asked=asked: next(asked, True))
        assert broken.interrupted
        again = run(path, config, resume=True)
        assert (again.weights_sha256, again.rounds) == (whole.weights_sha256, whole.rounds)
        assert again.final == whole.final
        shutil.rmtree(path)


def test_states_that_were_exchanged_are_refused(tmp_path: Path) -> None:
    asked = iter([False] * 8 + [True])
    run(tmp_path, stop=lambda: next(asked, True))
    first, second = (tmp_path / ROUNDS_NAME / f"round-00{number}-agents.npz" for number in (1, 2))
    shutil.copy(second, first)
    with pytest.raises(ResumeError, match="not the states of round 1"):
        run(tmp_path, resume=True)


def test_recorded_steps_are_learned_from_in_every_round(tmp_path: Path) -> None:
    alone = run(tmp_path / "alone")
    record = BatchSource(CorridorCollector(4, seed=99).collect(None, num_ticks=48, ratio=0.0).batches[ONE_GROUP])
    both = run(tmp_path / "both", data={ONE_GROUP: [record]})
    extra = [more.num_labels - less.num_labels for more, less in zip(both.rounds, alone.rounds, strict=True)]
    assert all(count > 0 for count in extra)


def test_a_clone_that_is_not_accurate_enough_ends_in_a_failure(tmp_path: Path) -> None:
    """A learning rate of almost nothing leaves a fresh network, which is right about a third of the time."""
    bc, dagger = BCConfig(num_epochs=1, learning_rate=1e-9), DaggerConfig(rounds=1, ticks=480)
    summary = run(tmp_path, replace(CONFIG, bc=bc, dagger=dagger, gates=GatesConfig(clone_accuracy=0.99)))
    assert summary.failure is not None and summary.failure.startswith("clone_accuracy")


def test_other_modes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="of mode `dagger`, got `bc`"):
        run(tmp_path, replace(CONFIG, mode="bc"))
    worlds = CorridorCollector(4, seed=5), CorridorEvaluator()
    with pytest.raises(ConfigError, match="mode `dagger` is for `DaggerRun`"):
        TrainingOrchestrator(CONFIG, *worlds, specs={ONE_GROUP: SPEC}, run_dir=tmp_path)
    with pytest.raises(ConfigError, match="without a collector"):
        DaggerRun(CONFIG, None, None, specs={ONE_GROUP: SPEC}, run_dir=tmp_path)
