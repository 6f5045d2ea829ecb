"""Evaluations of a run: which episodes, against whom, and what they say about gates and the final score."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from townlet_training.anneal import Stage
from townlet_training.bc import BCResult
from townlet_training.collect import Actor
from townlet_training.config import TrainingConfig
from townlet_training.evaluation import (
    EpisodeScores,
    Evaluator,
    PairedComparison,
    compare,
    mean_interval,
    normalized,
    summarize,
)
from townlet_training.gates import GateResult, accuracy_gate, excess_gain, floor_gate
from townlet_training.records import EvaluationRecord, FinalEvaluation
from townlet_training.seeds import SeedBlock, derive_seed, final_block, selection_block

SCRIPTED = "scripted"
IDLE = "idle"


class Judge:
    """Asks the evaluator for scores, each baseline once per block of episodes, and draws conclusions from them."""

    def __init__(self, evaluator: Evaluator, config: TrainingConfig, *, before_each: Callable[[], None]) -> None:
        """`before_each` is called before every evaluation, and may raise to end the run there."""
        self._evaluator = evaluator
        self._config = config
        self._before_each = before_each
        self._selection = selection_block(config.eval_episodes)
        self._selection_baselines: Mapping[str, EpisodeScores] | None = None
        self._num_intervals = 0

    def scores(self, actor: Actor, block: SeedBlock) -> EpisodeScores:
        """Let `actor` play the episodes of `block`, acting as deployed."""
        self._before_each()
        return self._evaluator.evaluate(
            actor, num_episodes=block.count, first_seed=block.first, sample=self._config.acting == "sampled"
        )

    def baseline(self, name: str, block: SeedBlock) -> EpisodeScores:
        """Score a behavior without weights on the episodes of `block`."""
        self._before_each()
        return self._evaluator.baseline(name, num_episodes=block.count, first_seed=block.first)

    def selection_scores(self, actor: Actor) -> EpisodeScores:
        """Scores on the episodes that gates and the choice of a checkpoint look at."""
        return self.scores(actor, self._selection)

    def record(
        self,
        scores: EpisodeScores,
        *,
        env_steps: int,
        agent_steps: int,
        stage: Stage,
        ratio: float,
        attempt: int,
        gate: GateResult | None,
    ) -> EvaluationRecord:
        """Put `scores` of the selection episodes beside those of the baselines."""
        means = {name: baseline.mean for name, baseline in self._baselines_of_selection().items()}
        return EvaluationRecord(
            env_steps=env_steps,
            agent_steps=agent_steps,
            stage=stage,
            ratio=ratio,
            attempt=attempt,
            return_mean=scores.mean,
            return_ci=mean_interval(
                scores.returns,
                level=0.05,
                seed=self._resampling_seed(),
                num_resamples=self._config.gates.num_resamples,
            ),
            normalized=_normalized(scores.mean, means),
            scripted_mean=means.get(SCRIPTED),
            nearest_mean=means.get("nearest"),
            idle_mean=means.get(IDLE),
            gate=gate,
        )

    def accuracy_gate(self, result: BCResult, *, level: float) -> GateResult:
        """Whether the clone resembles the script on the held-out episodes."""
        return accuracy_gate(
            "clone_accuracy",
            accuracy=result.accuracy,
            num_labels=result.num_held_out,
            threshold=self._config.gates.clone_accuracy,
            level=level,
        )

    def kept_score_gate(
        self, scores: EpisodeScores, clone: EpisodeScores, *, level: float, env_steps: int
    ) -> GateResult:
        """Whether the policy still has enough of what its clone earned beyond idling, on the selection episodes."""
        gates = self._config.gates
        differences = excess_gain(scores, clone, self._baselines_of_selection()[IDLE], fraction=gates.kept_fraction)
        return floor_gate(
            f"kept_score_{env_steps}",
            differences,
            level=level,
            seed=self._resampling_seed(),
            num_resamples=gates.num_resamples,
        )

    def final(self, actor: Actor, clone: Actor | None) -> FinalEvaluation:
        """Score `actor`, its clone and every baseline on the episodes of the final score."""
        block = final_block(self._config.final_episodes)
        learned = self.scores(actor, block)
        cloned = None if clone is None else self.scores(clone, block)
        baselines = {name: self.baseline(name, block) for name in self._config.baselines}
        judged = {"learned": learned, **({} if cloned is None else {"clone": cloned}), **baselines}
        num_resamples = self._config.promotion.num_resamples
        paired = {
            name: compare(learned, baseline, seed=self._resampling_seed(), num_resamples=num_resamples)
            for name, baseline in baselines.items()
        }
        means = {name: baseline.mean for name, baseline in baselines.items()}
        return FinalEvaluation(
            learned=learned,
            clone=cloned,
            baselines=baselines,
            summaries={
                name: summarize(scores, seed=self._resampling_seed(), num_resamples=num_resamples)
                for name, scores in judged.items()
            },
            paired=paired,
            normalized={name: _share_of_gain(comparison.mean, means) for name, comparison in paired.items()},
        )

    def promotion_pass(self, actor: Actor, block: SeedBlock) -> PairedComparison:
        """Compare `actor` with the script on the fresh episodes of `block`."""
        return compare(
            self.scores(actor, block),
            self.baseline(SCRIPTED, block),
            seed=self._resampling_seed(),
            num_resamples=self._config.promotion.num_resamples,
        )

    def _baselines_of_selection(self) -> Mapping[str, EpisodeScores]:
        if self._selection_baselines is None:
            self._selection_baselines = {
                name: self.baseline(name, self._selection) for name in self._config.baselines if name != "random"
            }
        return self._selection_baselines

    def _resampling_seed(self) -> int:
        """A seed of its own for each interval, the same in each run with the same seed."""
        self._num_intervals += 1
        return derive_seed(self._config.seed, "interval", self._num_intervals)


def _normalized(score: float, means: Mapping[str, float]) -> float | None:
    if SCRIPTED not in means or IDLE not in means:
        return None
    return normalized(score, means[IDLE], means[SCRIPTED])


def _share_of_gain(difference: float, means: Mapping[str, float]) -> float | None:
    """`difference` of two scores as a share of script minus idle: what `normalized` gives for a score that much above
    idling."""
    if SCRIPTED not in means or IDLE not in means:
        return None
    return normalized(means[IDLE] + difference, means[IDLE], means[SCRIPTED])
