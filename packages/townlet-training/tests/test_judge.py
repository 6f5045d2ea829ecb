"""Which episodes are played, by whom, and how often."""

from dataclasses import replace

import numpy as np
import pytest
from corridor import CorridorEvaluator, agents, network, scores

from townlet_training.config import GatesConfig, TrainingConfig
from townlet_training.run.evaluator import Judge
from townlet_trajectory.evaluation.promotion import PromotionConfig
from townlet_trajectory.evaluation.results import CloneResult, EvaluationRecord
from townlet_trajectory.evaluation.seeds import final_seeds, promotion_seeds, selection_seeds

ALL = ("scripted", "nearest", "idle", "random")
CONFIG = TrainingConfig(
    baselines=ALL,
    seed=5,
    total_env_steps=1,
    eval_episodes=4,
    final_episodes=6,
    gates=GatesConfig(num_resamples=200),
    promotion=PromotionConfig(num_resamples=200),
)


def nothing() -> None:
    """Called before each evaluation."""


def record_of(judge: Judge, returns: list[float]) -> EvaluationRecord:
    return judge.record(scores(returns), env_steps=7, agent_steps=9, stage="ppo", ratio=0.5, attempt=1, gate=None)


def test_baselines_of_selection_are_played_once() -> None:
    evaluator = CorridorEvaluator()
    judge = Judge(evaluator, CONFIG, before_each=nothing)
    first = record_of(judge, [1.0, 2.0, 3.0, 6.0])
    record_of(judge, [1.0, 2.0, 3.0, 6.0])
    seed = int(selection_seeds(4)[0])
    assert evaluator.asked == [(name, seed, 4) for name in ("scripted", "nearest", "idle")]
    assert (first.env_steps, first.agent_steps, first.stage, first.ratio, first.attempt) == (7, 9, "ppo", 0.5, 1)
    assert (first.return_mean, first.baselines["idle"]) == (3.0, 0.0)
    assert first.baselines["scripted"] > first.baselines["nearest"] > 0.0
    assert first.normalized == pytest.approx(3.0 / first.baselines["scripted"])
    assert first.return_ci[0] < 3.0 < first.return_ci[1]


def test_without_a_script_nothing_is_normalized() -> None:
    config = TrainingConfig(mode="ppo", seed=5, total_env_steps=1, eval_episodes=4, baselines=("idle", "random"))
    first = record_of(Judge(CorridorEvaluator(), config, before_each=nothing), [1.0, 2.0, 3.0, 6.0])
    assert (first.normalized, first.baselines) == (None, {"idle": 0.0})


def test_where_nobody_can_idle_acting_at_random_is_the_zero() -> None:
    evaluator = CorridorEvaluator()
    judge = Judge(evaluator, replace(CONFIG, baselines=("scripted", "random")), before_each=nothing)
    first = record_of(judge, [1.0, 2.0, 3.0, 6.0])
    seed = int(selection_seeds(4)[0])
    assert evaluator.asked == [(name, seed, 4) for name in ("scripted", "random")]
    assert list(first.baselines) == ["scripted", "random"]
    script, chance = first.baselines["scripted"], first.baselines["random"]
    assert first.normalized == pytest.approx((3.0 - chance) / (script - chance))
    clone = scores([5.0, 6.0, 5.0, 4.0], first_seed=seed)
    gate = judge.kept_score_gate(clone, clone, level=0.05, env_steps=1)
    # d = (5 - random) - 0.8 (5 - random) on average.
    assert f"mean {0.2 * (5.0 - chance):.6g} over 4 episodes" in gate.detail
    final = judge.final(agents(network()), None)
    means = {name: each.mean for name, each in final.summaries.items()}
    share = (means["learned"] - means["random"]) / (means["scripted"] - means["random"])
    assert final.normalized["random"] == pytest.approx(share)


def test_a_judge_goes_on_as_another_left_off() -> None:
    first = Judge(CorridorEvaluator(), CONFIG, before_each=nothing)
    returns = [1.0, 2.0, 3.0, 6.0]
    record_of(first, returns)
    memory = first.memory
    evaluator = CorridorEvaluator()
    second = Judge(evaluator, CONFIG, before_each=nothing)
    second.take_up(memory)
    assert second.memory == memory
    assert record_of(second, returns) == record_of(first, returns)
    assert evaluator.asked == []


def test_the_gate_of_several_groups_fails_where_one_of_them_does() -> None:
    judge = Judge(CorridorEvaluator(), CONFIG, before_each=nothing)
    good = CloneResult(epochs=(), best_epoch=1, accuracy=1.0, num_labels=9, num_held_out=100, num_forbidden=0)
    bad = replace(good, accuracy=0.5)
    alone = judge.accuracy_gate({"agents": good}, level=0.05)
    assert (alone.name, alone.passed, alone.detail[:14]) == ("clone_accuracy", True, "accuracy 1 on ")
    both = judge.accuracy_gate({"speaker": good, "listener": bad}, level=0.05)
    assert (both.name, both.passed) == ("clone_accuracy", False)
    assert "speaker: accuracy 1 on 100 labels" in both.detail
    assert "; listener: accuracy 0.5 on 100 labels" in both.detail


def test_the_final_score_is_of_other_episodes() -> None:
    evaluator = CorridorEvaluator()
    judge = Judge(evaluator, CONFIG, before_each=nothing)
    final = judge.final(agents(network(seed=1)), agents(network(seed=2)))
    block = final_seeds(6)
    names = ["policy", "policy", "scripted", "nearest", "idle", "random"]
    assert evaluator.asked == [(name, int(block[0]), 6) for name in names]
    assert list(final.summaries) == ["learned", "clone", "scripted", "nearest", "idle", "random"]
    assert list(final.paired) == list(final.baselines) == ["scripted", "nearest", "idle", "random"]
    np.testing.assert_array_equal(final.learned.seeds, block)
    script, idle = final.summaries["scripted"].mean, final.summaries["idle"].mean
    assert final.paired["idle"].mean == pytest.approx(final.learned.mean - idle)
    assert final.normalized["idle"] == pytest.approx((final.learned.mean - idle) / (script - idle))
    assert final.normalized["scripted"] == pytest.approx((final.learned.mean - script) / (script - idle))


def test_without_a_clone_there_is_none_in_the_final_score() -> None:
    final = Judge(CorridorEvaluator(), CONFIG, before_each=nothing).final(agents(network()), None)
    assert final.clone is None
    assert "clone" not in final.summaries


def test_a_promotion_pass_pairs_the_policy_with_the_script() -> None:
    evaluator = CorridorEvaluator()
    block = promotion_seeds(5, 0, 8)
    comparison = Judge(evaluator, CONFIG, before_each=nothing).promotion_pass(agents(network()), block)
    assert evaluator.asked == [("policy", int(block[0]), 8), ("scripted", int(block[0]), 8)]
    assert comparison.num_episodes == 8
    # An untrained policy takes the most likely of three nearly equal actions, and gets nowhere.
    assert comparison.mean < 0.0


@pytest.mark.parametrize(("returns", "passed"), [([0.1, 0.2, 0.1, 0.0], False), ([9.0, 8.0, 9.0, 7.0], True)])
def test_the_gate_compares_with_the_clone(returns: list[float], passed: bool) -> None:
    judge = Judge(CorridorEvaluator(), CONFIG, before_each=nothing)
    first = int(selection_seeds(4)[0])
    clone = scores([5.0, 6.0, 5.0, 4.0], first_seed=first)
    gate = judge.kept_score_gate(scores(returns, first_seed=first), clone, level=0.05, env_steps=96)
    assert (gate.name, gate.passed) == ("kept_score_96", passed)


@pytest.mark.parametrize(("acting", "sample"), [("greedy", False), ("sampled", True)])
def test_the_policy_is_judged_as_it_is_deployed(acting, sample: bool) -> None:
    asked = []

    class Listening(CorridorEvaluator):
        def evaluate(self, actors, *, seeds, sample: bool):
            asked.append(sample)
            return super().evaluate(actors, seeds=seeds, sample=sample)

    config = TrainingConfig(seed=5, total_env_steps=1, acting=acting)
    Judge(Listening(), config, before_each=nothing).scores(agents(network()), final_seeds(2))
    assert asked == [sample]


def test_someone_is_asked_before_every_evaluation() -> None:
    class Enough(Exception):
        pass

    left = [3]

    def ask() -> None:
        if left[0] == 0:
            raise Enough
        left[0] -= 1

    evaluator = CorridorEvaluator()
    with pytest.raises(Enough):
        Judge(evaluator, CONFIG, before_each=ask).final(agents(network()), agents(network()))
    assert [name for name, _, _ in evaluator.asked] == ["policy", "policy", "scripted"]


def test_intervals_are_the_same_in_every_run_with_the_same_seed() -> None:
    first, second = (Judge(CorridorEvaluator(), CONFIG, before_each=nothing) for _ in range(2))
    returns = [1.0, 2.0, 3.0, 6.0]
    assert record_of(first, returns) == record_of(second, returns)
    assert record_of(first, returns).return_ci != record_of(second, [0.0, 0.0, 1.0, 9.0]).return_ci
