"""Evaluations of a run: which episodes, against whom, and what they say about gates and the final score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from townlet_training.config import TrainingConfig
from townlet_trajectory.evaluation.comparisons import PairedComparison, compare, normalized, summarize
from townlet_trajectory.evaluation.gates import GateResult, accuracy_gate, every_group, excess_gain, floor_gate
from townlet_trajectory.evaluation.interfaces import Actor, Evaluator
from townlet_trajectory.evaluation.intervals import mean_interval
from townlet_trajectory.evaluation.results import CloneResult, EvaluationRecord, FinalEvaluation, Stage
from townlet_trajectory.evaluation.scores import EpisodeScores
from townlet_trajectory.evaluation.seeds import derive_seed, final_seeds, selection_seeds

SCRIPTED = "scripted"
_ZEROS = ("idle", "random")
"""What earns nothing: the first of them that a world has is the zero of its scores."""


@dataclass(frozen=True, kw_only=True)
class JudgeMemory:
    """What later judgments depend on."""

    num_intervals: int = 0
    """Bootstrap intervals that were drawn."""
    baselines: Mapping[str, EpisodeScores] | None = None
    """On the episodes of selection; None until they are asked for."""


class Judge:
    """Asks the evaluator for scores, each baseline once per block of episodes, and draws conclusions from them."""

    def __init__(self, evaluator: Evaluator, config: TrainingConfig, *, before_each: Callable[[], None]) -> None:
        """`before_each` is called before every evaluation, and may raise to end the run there."""
        self._evaluator = evaluator
        self._config = config
        self._before_each = before_each
        self._selection = selection_seeds(config.eval_episodes)
        self._selection_baselines: Mapping[str, EpisodeScores] | None = None
        self._num_intervals = 0
        self._zero = next((name for name in _ZEROS if name in config.baselines), None)

    @property
    def memory(self) -> JudgeMemory:
        """What a judge that is to go on from here has to take up."""
        return JudgeMemory(num_intervals=self._num_intervals, baselines=self._selection_baselines)

    def take_up(self, memory: JudgeMemory) -> None:
        """Go on as the judge whose `memory` this is."""
        self._num_intervals = memory.num_intervals
        self._selection_baselines = memory.baselines

    def scores(self, actors: Mapping[str, Actor], seeds: NDArray[np.int64]) -> EpisodeScores:
        """Let `actors`, one for each agent group, play the episodes of `seeds`, acting as deployed."""
        self._before_each()
        return self._evaluator.evaluate(actors, seeds=seeds, sample=self._config.acting == "sampled")

    def baseline(self, name: str, seeds: NDArray[np.int64]) -> EpisodeScores:
        """Score a behavior without weights on the episodes of `seeds`."""
        self._before_each()
        return self._evaluator.baseline(name, seeds=seeds)

    def selection_scores(self, actors: Mapping[str, Actor]) -> EpisodeScores:
        """Scores on the episodes that gates and the choice of a checkpoint look at."""
        return self.scores(actors, self._selection)

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
            normalized=self._normalized(scores.mean, means),
            baselines=means,
            gate=gate,
        )

    def accuracy_gate(self, results: Mapping[str, CloneResult], *, level: float) -> GateResult:
        """Whether the clone of every agent group resembles the script on the held-out episodes."""
        return every_group(
            {
                group: accuracy_gate(
                    "clone_accuracy",
                    accuracy=result.accuracy,
                    num_labels=result.num_held_out,
                    threshold=self._config.gates.clone_accuracy,
                    level=level,
                )
                for group, result in results.items()
            }
        )

    def kept_score_gate(
        self, scores: EpisodeScores, clone: EpisodeScores, *, level: float, env_steps: int
    ) -> GateResult:
        """Whether the policy still has enough of what its clone earned beyond idling, on the selection episodes."""
        gates = self._config.gates
        baselines = self._baselines_of_selection()
        zero = next(baselines[name] for name in _ZEROS if name in baselines)
        differences = excess_gain(scores, clone, zero, fraction=gates.kept_fraction)
        return floor_gate(
            f"kept_score_{env_steps}",
            differences,
            level=level,
            seed=self._resampling_seed(),
            num_resamples=gates.num_resamples,
        )

    def final(self, actors: Mapping[str, Actor], clone: Mapping[str, Actor] | None) -> FinalEvaluation:
        """Score `actors`, their clone and every baseline on the episodes of the final score."""
        seeds = final_seeds(self._config.final_episodes)
        learned = self.scores(actors, seeds)
        cloned = None if clone is None else self.scores(clone, seeds)
        baselines = {name: self.baseline(name, seeds) for name in self._config.baselines}
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
            normalized={name: self._share_of_gain(comparison.mean, means) for name, comparison in paired.items()},
        )

    def promotion_pass(self, actors: Mapping[str, Actor], seeds: NDArray[np.int64]) -> PairedComparison:
        """Compare `actors` with the script on the fresh episodes of `seeds`."""
        return compare(
            self.scores(actors, seeds),
            self.baseline(SCRIPTED, seeds),
            seed=self._resampling_seed(),
            num_resamples=self._config.promotion.num_resamples,
        )

    def _baselines_of_selection(self) -> Mapping[str, EpisodeScores]:
        if self._selection_baselines is None:
            names = [name for name in self._config.baselines if name != "random" or name == self._zero]
            self._selection_baselines = {name: self.baseline(name, self._selection) for name in names}
        return self._selection_baselines

    def _normalized(self, score: float, means: Mapping[str, float]) -> float | None:
        if self._zero is None or SCRIPTED not in means:
            return None
        return normalized(score, means[self._zero], means[SCRIPTED])

    def _share_of_gain(self, difference: float, means: Mapping[str, float]) -> float | None:
        """`difference` of two scores as a share of script minus zero: what `normalized` gives for a score that much
        above the zero."""
        if self._zero is None or SCRIPTED not in means:
            return None
        return normalized(means[self._zero] + difference, means[self._zero], means[SCRIPTED])

    def _resampling_seed(self) -> int:
        """A seed of its own for each interval, the same in each run with the same seed."""
        self._num_intervals += 1
        return derive_seed(self._config.seed, "interval", self._num_intervals)
