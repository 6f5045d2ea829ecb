"""Processes that learn together in whole runs, and what happens when one of them fails."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from acting import acted_kind
from corridor import SPEC, CorridorCollector, CorridorEvaluator
from kinds import GRU, SMALL, network_of
from pairs import SPECS as PAIR_SPECS
from pairs import PairCollector, PairEvaluator
from ranked import LENGTHS, acted, distance, learned, learner_of, ranks_of
from strategies import weights_of

from townlet_training.config import ONE_GROUP, AnnealConfig, GatesConfig, TrainingConfig
from townlet_training.errors import RankError
from townlet_training.learning.config import BCConfig, PPOConfig
from townlet_training.network.config import NetworkConfig
from townlet_training.network.spec import PolicySpec
from townlet_training.run.orchestrator import TrainingOrchestrator
from townlet_trajectory.evaluation.promotion import PromotionConfig

ANNEAL = TrainingConfig(
    seed=7,
    total_env_steps=4 * (24 + 8 * 6),
    num_envs=4,
    rollout_ticks=8,
    eval_every=2,
    eval_episodes=10,
    final_episodes=10,
    keep_checkpoints=1,
    num_learners=2,
    baselines=("scripted", "idle"),
    network=NetworkConfig(hidden_sizes=(4,)),
    ppo=PPOConfig(learning_rate=3e-3, num_minibatches=2, num_epochs=1),
    bc=BCConfig(num_epochs=2, learning_rate=3e-2),
    anneal=AnnealConfig(clone_ticks=24, warmup_updates=1, blend_fraction=0.4),
    gates=GatesConfig(clone_accuracy=0.1, kept_fraction=0.0, num_resamples=100),
    promotion=PromotionConfig(num_episodes=10, num_resamples=100),
)
"""24 ticks of cloning, 1 update of warm-up, 2 of blend, 3 of PPO alone."""


def run(
    config: TrainingConfig, folder: Path, *, pair: bool = False, stop_after: int | None = None, resume: bool = False
) -> str:
    """Train in corridors, of one group or two, and return the digest of the weights."""
    folder.mkdir(exist_ok=True)
    asked = iter(range(10**6))
    specs: Mapping[str, PolicySpec] = PAIR_SPECS if pair else {ONE_GROUP: SPEC}
    worlds = PairCollector(4, seed=3) if pair else CorridorCollector(4, seed=3)
    orchestrator = TrainingOrchestrator(
        config,
        worlds,
        PairEvaluator() if pair else CorridorEvaluator(),
        specs=specs,
        run_dir=folder,
        stop=lambda: stop_after is not None and next(asked) >= stop_after,
        resume=resume,
    )
    orchestrator.run()
    return orchestrator.learners.sha256()


def test_a_run_of_two_learners_comes_twice_to_the_same_also_when_it_was_broken_off(tmp_path: Path) -> None:
    unbroken = run(ANNEAL, tmp_path / "one")
    run(ANNEAL, tmp_path / "two", stop_after=9)
    assert run(ANNEAL, tmp_path / "two", resume=True) == unbroken
    alone = run(replace(ANNEAL, num_learners=1), tmp_path / "three")
    assert alone == run(replace(ANNEAL, num_learners=1), tmp_path / "four")


def test_two_groups_learn_with_the_same_processes(tmp_path: Path) -> None:
    config = replace(ANNEAL, mode="ppo", total_env_steps=4 * 8 * 4, baselines=("idle",))
    assert run(config, tmp_path / "one", pair=True) == run(config, tmp_path / "two", pair=True)


@pytest.mark.thorough
def test_three_ranks_with_a_memory_and_less_fragments_than_ranks() -> None:
    with closing(ranks_of(GRU, 3)) as ranks:
        alone, together, again = learned("gru", None), learned("gru", ranks), learned("gru", ranks)
    assert distance(alone, together) < 1e-4 < distance(alone, network_of("gru"))
    assert weights_of(together) == weights_of(again)


def test_a_rank_that_is_killed_is_named_and_the_next_update_begins_others() -> None:
    network, batch = acted("plain")
    with closing(ranks_of(SMALL)) as ranks:
        learner = learner_of(network, ranks)
        learner.update(batch)
        [(process, _)] = ranks._links
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        again = acted_kind(network, "plain", lengths=LENGTHS, foreign=0.25, seed=2)
        with pytest.raises(RankError, match="rank 1 of 2 learners ended with code -9"):
            learner.update(again)
        assert not ranks._links
        network, batch = acted("plain")
        learner = learner_of(network, ranks)
        assert learner.update(batch).num_updates == 6


@pytest.mark.parametrize("count", [2, 3])
def test_a_rank_that_hangs_is_named_and_waited_for_no_longer_than_was_said(count: int) -> None:
    network, batch = acted("plain")
    with closing(ranks_of(SMALL, count=count, timeout_s=3.0)) as ranks:
        learner = learner_of(network, ranks)
        learner.update(batch)
        process, _ = ranks._links[-1]
        os.kill(process.pid or 0, signal.SIGSTOP)
        named = f"rank {count - 1} of {count} learners did not come to a gradient step within 3 s"
        with pytest.raises(RankError, match=named):
            learner.update(acted_kind(network, "plain", lengths=LENGTHS, foreign=0.25, seed=2))
        assert not process.is_alive()


def test_what_a_rank_raises_is_told() -> None:
    network, batch = acted("clipped")
    with closing(ranks_of(SMALL)) as ranks:
        learner = learner_of(network, ranks)
        with pytest.raises(RankError, match="rank 1 of 2 learners failed: ShapeError: the weights are not those"):
            learner.update(batch)
