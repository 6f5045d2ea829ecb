"""Which episodes are played, by whom, and how often."""

from dataclasses import replace

import numpy as np
import pytest
from corridor import SPEC, CorridorEvaluator, agents, network, scores

from townlet_training.config import AnnealConfig, GatesConfig, TrainingConfig
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.planning import plan
from townlet_training.run import evaluator as evaluator_module
from townlet_training.run.evaluator import RunEvaluator
from townlet_training.run.monitor import Play
from townlet_training.run.state import RatioState, TrainingState
from townlet_trajectory.evaluation import comparisons, gates
from townlet_trajectory.evaluation.gates import GateResult, Verdict, episodes_to_fail
from townlet_trajectory.evaluation.interfaces import (
    EpisodeScores,
    final_seeds,
    promotion_seeds,
    ratio_seeds,
    selection_seeds,
)
from townlet_trajectory.evaluation.promotion import PromotionConfig
from townlet_trajectory.evaluation.results import CloneResult, EvaluationRecord

ALL = ("scripted", "nearest", "idle", "random")
CONFIG = TrainingConfig(
    baselines=ALL,
    seed=5,
    total_env_steps=1,
    eval_episodes=10,
    final_episodes=12,
    gates=GatesConfig(num_resamples=200),
    promotion=PromotionConfig(num_resamples=200),
)


def nothing() -> None:
    """Called before each evaluation."""


RETURNS = [1.0, 2.0, 3.0, 6.0, 3.0] * 2
FIRST = int(selection_seeds(1)[0])


def state_of(config: TrainingConfig = CONFIG, env_steps: int = 7) -> TrainingState:
    return TrainingState(
        config=config,
        specs={"agents": SPEC},
        notes={},
        stage="ppo",
        ratio=0.5,
        env_steps=env_steps,
        agent_steps=9,
        attempt=1,
        transitions={"agents": 0},
    )


def record_of(own: RunEvaluator, returns: list[float] = RETURNS, env_steps: int = 7) -> EvaluationRecord:
    return own.record(scores(returns, first_seed=FIRST), state_of(env_steps=env_steps), None)


def no_clone() -> dict[str, ActorCritic]:
    raise AssertionError("the clone need not play")


def test_baselines_of_selection_are_played_once() -> None:
    evaluator = CorridorEvaluator()
    own = RunEvaluator(evaluator, CONFIG, before_each=nothing)
    first = record_of(own)
    record_of(own)
    assert evaluator.asked == [(name, FIRST, 10) for name in ("scripted", "nearest", "idle")]
    assert (first.env_steps, first.agent_steps, first.stage, first.ratio, first.attempt) == (7, 9, "ppo", 0.5, 1)
    assert (first.return_mean, first.baselines["idle"]) == (3.0, 0.0)
    assert first.baselines["scripted"] > first.baselines["nearest"] > 0.0
    assert first.normalized == pytest.approx(3.0 / first.baselines["scripted"])
    assert first.return_ci[0] < 3.0 < first.return_ci[1]


def test_without_a_script_nothing_is_normalized() -> None:
    config = TrainingConfig(mode="ppo", seed=5, total_env_steps=1, eval_episodes=10, baselines=("idle", "random"))
    first = record_of(RunEvaluator(CorridorEvaluator(), config, before_each=nothing))
    assert (first.normalized, first.baselines) == (None, {"idle": 0.0})


def test_where_nobody_can_idle_acting_at_random_is_the_zero() -> None:
    evaluator = CorridorEvaluator()
    own = RunEvaluator(evaluator, replace(CONFIG, baselines=("scripted", "random")), before_each=nothing)
    first = record_of(own)
    assert evaluator.asked == [(name, FIRST, 10) for name in ("scripted", "random")]
    assert list(first.baselines) == ["scripted", "random"]
    script, chance = first.baselines["scripted"], first.baselines["random"]
    assert first.normalized == pytest.approx((3.0 - chance) / (script - chance))
    clone = scores([5.0, 6.0, 5.0, 4.0, 5.0] * 2, first_seed=FIRST)
    own.keep_clone(clone)
    gate = own.kept_score_gate(agents(network()), clone, no_clone, level=0.05, env_steps=1)
    # d = (5 - random) - 0.8 (5 - random) on average.
    assert f"mean {0.2 * (5.0 - chance):.6g} over 10 episodes" in gate.detail
    final = own.final(agents(network()), None)
    means = {name: each.mean for name, each in final.summaries.items()}
    share = (means["learned"] - means["random"]) / (means["scripted"] - means["random"])
    assert final.normalized["random"] == pytest.approx(share)


def test_an_evaluator_goes_on_from_the_state_of_another() -> None:
    first = RunEvaluator(CorridorEvaluator(), CONFIG, before_each=nothing)
    record_of(first)
    evaluator = CorridorEvaluator()
    second = RunEvaluator(evaluator, CONFIG, before_each=nothing)
    second.state = first.state
    assert record_of(second) == record_of(first)
    assert evaluator.asked == []


def test_the_gate_of_several_groups_fails_where_one_of_them_does() -> None:
    own = RunEvaluator(CorridorEvaluator(), CONFIG, before_each=nothing)
    good = CloneResult(
        epochs=(),
        best_epoch=1,
        accuracy=1.0,
        num_labels=9,
        num_held_out=100,
        num_forbidden=0,
        episode_accuracies=(1.0,) * 8,
    )
    bad = replace(good, episode_accuracies=(0.5,) * 8)
    alone = own.accuracy_gate({"agents": good}, level=0.05)
    assert (alone.name, alone.verdict, alone.detail[:14]) == ("clone_accuracy", Verdict.PASSED, "accuracy 1 in ")
    both = own.accuracy_gate({"speaker": good, "listener": bad}, level=0.05)
    assert (both.name, both.verdict) == ("clone_accuracy", Verdict.FAILED)
    assert "speaker: accuracy 1 in 8 episodes" in both.detail
    assert "; listener: accuracy 0.5 in 8 episodes" in both.detail


def test_the_final_score_is_of_other_episodes() -> None:
    evaluator = CorridorEvaluator()
    own = RunEvaluator(evaluator, CONFIG, before_each=nothing)
    final = own.final(agents(network(seed=1)), agents(network(seed=2)))
    block = final_seeds(12)
    names = ["policy", "policy", "scripted", "nearest", "idle", "random"]
    assert evaluator.asked == [(name, int(block[0]), 12) for name in names]
    assert list(final.summaries) == ["learned", "clone", "scripted", "nearest", "idle", "random"]
    assert list(final.paired) == list(final.baselines) == ["scripted", "nearest", "idle", "random"]
    np.testing.assert_array_equal(final.learned.seeds, block)
    script, idle = final.summaries["scripted"].mean, final.summaries["idle"].mean
    assert final.paired["idle"].mean == pytest.approx(final.learned.mean - idle)
    assert final.normalized["idle"] == pytest.approx((final.learned.mean - idle) / (script - idle))
    assert final.normalized["scripted"] == pytest.approx((final.learned.mean - script) / (script - idle))


def test_without_a_clone_there_is_none_in_the_final_score() -> None:
    final = RunEvaluator(CorridorEvaluator(), CONFIG, before_each=nothing).final(agents(network()), None)
    assert final.clone is None
    assert "clone" not in final.summaries


def test_what_is_left_at_the_end_is_what_is_played_there() -> None:
    config = replace(CONFIG, final_episodes=12, promotion=PromotionConfig(num_episodes=10, required_passes=2))
    own = RunEvaluator(CorridorEvaluator(), config, before_each=nothing)
    own.at_end = own.plays_at_end()
    passes = [Play("learned", 10), Play("scripted", 10)]
    baselines = [Play(name, 12) for name in config.baselines]
    assert own.at_end == [Play("learned", 12), Play("learned", 12), *baselines, *passes, *passes]
    own.final(agents(network()), agents(network()))
    assert own.at_end == [*passes, *passes]
    own.promotion_pass(agents(network()), promotion_seeds(5, 0, 10))
    assert own.at_end == passes
    assert RunEvaluator(None, config, before_each=nothing).plays_at_end() == []
    alone = RunEvaluator(CorridorEvaluator(), replace(config, mode="ppo", baselines=("idle",)), before_each=nothing)
    assert alone.plays_at_end() == [Play("learned", 12), Play("idle", 12)]


def test_a_ratio_is_moved_by_fresh_episodes_every_time() -> None:
    evaluator = CorridorEvaluator()
    anneal = AnnealConfig(adaptive_ratio=True, ratio_episodes=12, ratio_step=0.2, min_ratio=0.1)
    own = RunEvaluator(evaluator, replace(CONFIG, anneal=anneal), before_each=nothing)
    first = own.adapt_ratio(agents(network()), RatioState(ratio=0.5))
    # An untrained policy gets nowhere, and the script does: the upper bound is below the margin.
    assert (first.ratio, first.num_comparisons) == (0.3, 1)
    assert first.low is not None and first.mean is not None and first.high is not None
    assert first.low <= first.mean <= first.high < 0.0
    second = own.adapt_ratio(agents(network()), first)
    assert second.ratio == pytest.approx(0.1) and second.num_comparisons == 2
    played = [(seed, count) for player, seed, count in evaluator.asked if player == "policy"]
    assert [count for _, count in played] == [12, 12]
    blocks = [set(ratio_seeds(CONFIG.seed, number, 12).tolist()) for number in range(2)]
    assert [seed for seed, _ in played] == [min(block) for block in blocks]
    assert not blocks[0] & blocks[1] and not (blocks[0] | blocks[1]) & set(selection_seeds(1000).tolist())


def test_evaluations_and_comparisons_that_are_still_to_come_are_counted() -> None:
    anneal = AnnealConfig(clone_ticks=8, warmup_updates=1, blend_fraction=0.5, adaptive_ratio=True, ratio_episodes=12)
    config = replace(CONFIG, total_env_steps=4 * 8 * 8, num_envs=4, rollout_ticks=8, eval_every=1, anneal=anneal)
    own, schedule = RunEvaluator(CorridorEvaluator(), config, before_each=nothing), plan(config)
    assert (schedule.num_blend, schedule.num_ppo) == (3, 3)
    # After each of the six updates an evaluation of ten episodes; a comparison after two of them, as the third is
    # followed by no update of the blend.
    assert own.plays_until_then(schedule, 0) == [Play("learned", 60), Play("learned", 24), Play("scripted", 24)]
    assert own.plays_until_then(schedule, 2) == [Play("learned", 50), Play("learned", 12), Play("scripted", 12)]
    assert own.plays_until_then(schedule, 3) == [Play("learned", 40), Play("learned", 0), Play("scripted", 0)]
    assert own.plays_until_then(schedule, 7) == [Play("learned", 0), Play("learned", 0), Play("scripted", 0)]


def test_a_promotion_pass_pairs_the_policy_with_the_script() -> None:
    evaluator = CorridorEvaluator()
    block = promotion_seeds(5, 0, 8)
    comparison = RunEvaluator(evaluator, CONFIG, before_each=nothing).promotion_pass(agents(network()), block)
    assert evaluator.asked == [("policy", int(block[0]), 8), ("scripted", int(block[0]), 8)]
    assert comparison.num_episodes == 8
    # An untrained policy takes the most likely of three nearly equal actions, and gets nowhere.
    assert comparison.mean < 0.0


def kept_score(
    returns: list[float], evaluator: CorridorEvaluator, actor: ActorCritic, clone: ActorCritic
) -> tuple[GateResult, RunEvaluator]:
    own = RunEvaluator(evaluator, CONFIG, before_each=nothing)
    own.keep_clone(scores([5.0, 6.0, 5.0, 4.0, 5.0] * 2, first_seed=FIRST))
    ours = scores(returns, first_seed=FIRST)
    gate = own.kept_score_gate(agents(actor), ours, lambda: agents(clone), level=0.05, env_steps=96)
    return gate, own


class Playing(CorridorEvaluator):
    """Says what policies earn, by policy."""

    def __init__(self, earned: dict[ActorCritic, float]) -> None:
        super().__init__()
        self.earned = earned

    def evaluate(self, actors, *, seeds, sample: bool) -> EpisodeScores:
        self.asked.append((str(self.earned[actors["agents"]]), int(seeds[0]), len(seeds)))
        return EpisodeScores.of(returns=np.full(len(seeds), self.earned[actors["agents"]]), seeds=seeds)


def test_a_policy_that_kept_enough_passes_at_once() -> None:
    evaluator = Playing({})
    gate, _ = kept_score([9.0, 8.0, 9.0, 7.0, 8.0] * 2, evaluator, network(), network())
    assert (gate.name, gate.verdict) == ("kept_score_96", Verdict.PASSED)
    assert evaluator.asked == [("idle", FIRST, 10)]


@pytest.mark.parametrize(("earned", "verdict"), [(0.0, Verdict.FAILED), (30.0, Verdict.PASSED)])
def test_nothing_fails_before_there_are_enough_episodes(earned: float, verdict: Verdict) -> None:
    # On 10 episodes the policy earned little; with 72 the level can be held, and the other 62 decide.
    needed = episodes_to_fail(0.05)
    actor, clone = network(), network(seed=1)
    evaluator = Playing({actor: earned, clone: 5.0})
    gate, own = kept_score([0.0, 0.5, 0.0, 1.0, 0.0] * 2, evaluator, actor, clone)
    assert gate.verdict is verdict
    assert f"over {needed} episodes" in gate.detail
    more = (FIRST + 10, needed - 10)
    assert evaluator.asked == [("idle", FIRST, 10), (str(earned), *more), ("5.0", *more), ("idle", *more)]
    # What was played more is remembered, and changes no record.
    assert {name: len(each.seeds) for name, each in own.state.selection.items()} == {"clone": needed, "idle": needed}
    before = record_of(RunEvaluator(CorridorEvaluator(), CONFIG, before_each=nothing))
    assert record_of(own) == before


class Ahead(CorridorEvaluator):
    """Remembers what was announced."""

    def __init__(self) -> None:
        super().__init__()
        self.announced: list[tuple[str, int, int, bool]] = []

    def play_ahead(self, players, *, seeds, sample: bool) -> None:
        name = players if isinstance(players, str) else "policy"
        self.announced.append((name, int(seeds[0]), len(seeds), sample))


def test_baselines_are_announced_once_for_each_block_in_the_order_in_which_they_are_needed() -> None:
    evaluator = Ahead()
    own = RunEvaluator(evaluator, CONFIG, before_each=nothing)
    own.play_ahead()
    final, first, second = int(final_seeds(1)[0]), *(int(promotion_seeds(5, number, 100)[0]) for number in (0, 1))
    # The random policy is no zero of the scores where there is an idle one: evaluations do not look at it.
    announced = [(name, FIRST, 10, False) for name in ("scripted", "nearest", "idle")]
    announced += [(name, final, 12, False) for name in ALL]
    announced += [("scripted", first, 100, False), ("scripted", second, 100, False)]
    assert evaluator.announced == announced
    # That is what is asked for then.
    record_of(own)
    own.final(agents(network()), agents(network()))
    own.promotion_pass(agents(network()), promotion_seeds(5, 0, 100))
    asked = [each for each in evaluator.asked if each[0] != "policy"]
    assert asked == [each[:3] for each in announced[:-1]]


def test_a_resumed_run_announces_no_scores_that_it_has() -> None:
    evaluator, first = Ahead(), RunEvaluator(CorridorEvaluator(), CONFIG, before_each=nothing)
    record_of(first)
    own = RunEvaluator(evaluator, CONFIG, before_each=nothing)
    own.state = first.state
    own.play_ahead()
    assert FIRST not in {seed for _, seed, _, _ in evaluator.announced} and len(evaluator.announced) == 6


@pytest.mark.parametrize(("acting", "sample"), [("greedy", False), ("sampled", True)])
def test_the_final_episodes_of_the_clone_are_announced_as_they_are_played(acting, sample: bool) -> None:
    evaluator = Ahead()
    own = RunEvaluator(evaluator, replace(CONFIG, acting=acting), before_each=nothing)
    own.play_clone_ahead(lambda: agents(network()))
    assert evaluator.announced == [("policy", int(final_seeds(1)[0]), 12, sample)]


def test_an_evaluator_that_cannot_play_ahead_is_told_nothing() -> None:
    own = RunEvaluator(CorridorEvaluator(), CONFIG, before_each=nothing)
    own.play_ahead()
    own.play_clone_ahead(lambda: pytest.fail("no clone is built for nothing"))
    RunEvaluator(None, CONFIG, before_each=nothing).play_ahead()


@pytest.mark.parametrize(("acting", "sample"), [("greedy", False), ("sampled", True)])
def test_the_policy_is_judged_as_it_is_deployed(acting, sample: bool) -> None:
    asked = []

    class Listening(CorridorEvaluator):
        def evaluate(self, actors, *, seeds, sample: bool):
            asked.append(sample)
            return super().evaluate(actors, seeds=seeds, sample=sample)

    config = TrainingConfig(seed=5, total_env_steps=1, acting=acting)
    RunEvaluator(Listening(), config, before_each=nothing).scores(agents(network()), final_seeds(2))
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
        RunEvaluator(evaluator, CONFIG, before_each=ask).final(agents(network()), agents(network()))
    assert [name for name, _, _ in evaluator.asked] == ["policy", "policy", "scripted"]


def test_records_are_the_same_in_every_run_with_the_same_seed() -> None:
    first, second = (RunEvaluator(CorridorEvaluator(), CONFIG, before_each=nothing) for _ in range(2))
    assert record_of(first) == record_of(second)


def test_every_interval_of_a_run_has_resamples_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal returns have other intervals at the next evaluation, in another block, and in a run with another seed."""
    seeds: list[int] = []

    def noting(real):
        def noted(*args, seed: int, **kwargs):
            seeds.append(seed)
            return real(*args, seed=seed, **kwargs)

        return noted

    for module, name in (
        (evaluator_module, "mean_interval"),
        (comparisons, "mean_interval"),
        (comparisons, "difference_interval"),
        (gates, "mean_upper_bound"),
    ):
        monkeypatch.setattr(module, name, noting(vars(module)[name]))
    records = []
    for config in (CONFIG, replace(CONFIG, seed=6)):
        own = RunEvaluator(CorridorEvaluator(), config, before_each=nothing)
        kept = scores(RETURNS, first_seed=FIRST)
        own.keep_clone(kept)
        for env_steps in (7, 8):
            records.append(record_of(own, env_steps=env_steps))
            own.kept_score_gate(agents(network()), kept, no_clone, level=0.05, env_steps=env_steps)
        own.final(agents(network()), agents(network()))
        for number in range(2):
            own.promotion_pass(agents(network()), promotion_seeds(5, number, 10))
        clone = CloneResult(
            epochs=(),
            best_epoch=1,
            accuracy=1.0,
            num_labels=9,
            num_held_out=100,
            num_forbidden=0,
            episode_accuracies=(0.9, 1.0),
        )
        own.accuracy_gate({"speaker": clone, "listener": clone}, level=0.05)
    # In each run 2 records, 2 gates, 6 summaries, 4 comparisons, 2 passes, and 2 accuracies.
    assert len(seeds) == len(set(seeds)) == 2 * (2 + 2 + 6 + 4 + 2 + 2)
    assert len({record.return_ci for record in records}) == 4
