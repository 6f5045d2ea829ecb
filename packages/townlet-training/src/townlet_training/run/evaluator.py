"""Evaluations of a run: which episodes, compared with whom, and what follows for gates, final score and promotion."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from townlet_training.config import TrainingConfig
from townlet_training.errors import TrainingError
from townlet_training.groups import group_seed
from townlet_training.planning import Schedule, adapted_ratio
from townlet_training.run.monitor import Play, RunClock
from townlet_training.run.state import EvaluatorState, RatioState, TrainingState
from townlet_trajectory.evaluation.comparisons import (
    PairedComparison,
    compare,
    difference_interval,
    mean_interval,
    normalized,
    summarize,
)
from townlet_trajectory.evaluation.gates import (
    GateResult,
    Verdict,
    accuracy_gate,
    episodes_to_fail,
    every_group,
    excess_gain,
    floor_gate,
)
from townlet_trajectory.evaluation.interfaces import (
    Actor,
    EpisodeScores,
    Evaluator,
    derive_seed,
    final_seeds,
    promotion_seeds,
    ratio_seeds,
    selection_seeds,
)
from townlet_trajectory.evaluation.results import (
    CLONE,
    LEARNED,
    SCRIPTED,
    ZEROS,
    CloneResult,
    EvaluationRecord,
    FinalEvaluation,
    zero_of,
)

log = logging.getLogger(__name__)

POLICY_NAME = "policy.onnx"

Actors = Mapping[str, Actor]
"""One for each agent group."""
Seeds = NDArray[np.int64]
_RATIO_LEVEL = 0.1
"""Chance that a bound of the comparison that moves a ratio is on the wrong side of the mean."""


@runtime_checkable
class AheadEvaluator(Protocol):
    """An evaluator that can play episodes before they are asked for, beside what else goes on."""

    def play_ahead(self, players: Mapping[str, Actor] | str, *, seeds: NDArray[np.int64], sample: bool) -> None:
        """Begin what `evaluate` or `baseline` will be asked for; they answer as they would without.

        Args:
            players: policies, as they are now, or the name of a behavior.
            seeds: [n], all that will be asked for at once.
            sample: as of `evaluate`; false for a behavior.
        """


class RunEvaluator:
    """Asks an `Evaluator` for scores, each baseline once per block of episodes, and draws conclusions from them.

    Attributes:
        state: scores to compare with; they are kept in checkpoints.
        at_end: episodes of the final score and of the promotion that are still to be played, once these have begun.
    """

    def __init__(
        self,
        evaluator: Evaluator | None,
        config: TrainingConfig,
        *,
        before_each: Callable[[], None],
        opponents: Callable[[], str] = str,
        clock: RunClock | None = None,
    ) -> None:
        """Remember the arguments.

        Args:
            evaluator: plays the episodes; None in a run without a world.
            config: of the run.
            before_each: called before every evaluation; an exception of it ends the run there.
            opponents: tells a digest of the opponents at the moment, where they change: scores against others are
                not compared with.
            clock: measures how long episodes take; None: nobody asks.
        """
        self.state = EvaluatorState()
        self.at_end: list[Play] = []
        self._clock = clock or RunClock()
        self._evaluator = evaluator
        self._config = config
        self._before_each = before_each
        self._opponents = opponents
        self._zero = zero_of(config.baselines)
        # A zero that is not that of the scores says nothing in an evaluation.
        self._names_of_selection = [name for name in config.baselines if name not in ZEROS or name == self._zero]

    @property
    def has_world(self) -> bool:
        """Whether there is a world to play in."""
        return self._evaluator is not None

    def scores(self, actors: Actors, seeds: Seeds) -> EpisodeScores:
        """Let `actors` play the episodes of `seeds` [n], acting as deployed."""
        sample = self._config.acting == "sampled"
        return self._played(LEARNED, seeds, lambda world: world.evaluate(actors, seeds=seeds, sample=sample))

    def baseline(self, name: str, seeds: Seeds) -> EpisodeScores:
        """Let a behavior without weights play the episodes of `seeds` [n]."""
        return self._played(name, seeds, lambda world: world.baseline(name, seeds=seeds))

    def play_ahead(self) -> None:
        """Announce the episodes of the baselines, which nothing of the run changes, to an evaluator that can use it.

        In the order in which they are needed: those of selection that are not known yet, of the final score, and of
        the passes of the promotion, where each of them is better.
        """
        if not isinstance(self._evaluator, AheadEvaluator):
            return
        config, passes = self._config, self._config.promotion
        selection = selection_seeds(config.eval_episodes)
        blocks = [(name, selection) for name in self._names_of_selection if name not in self._kept_scores()]
        blocks += [(name, final_seeds(config.final_episodes)) for name in config.baselines]
        if SCRIPTED in config.baselines:
            numbers = range(passes.required_passes)
            blocks += [(SCRIPTED, promotion_seeds(config.seed, number, passes.num_episodes)) for number in numbers]
        for name, seeds in blocks:
            self._evaluator.play_ahead(name, seeds=seeds, sample=False)

    def play_clone_ahead(self, clone: Callable[[], Actors]) -> None:
        """Announce the episodes of the clone in the final score; its weights stay as they are."""
        if isinstance(self._evaluator, AheadEvaluator):
            seeds, sample = final_seeds(self._config.final_episodes), self._config.acting == "sampled"
            self._evaluator.play_ahead(clone(), seeds=seeds, sample=sample)

    def selection_scores(self, actors: Actors) -> EpisodeScores:
        """Let `actors` play the episodes that gates and the choice of a checkpoint look at."""
        with self._clock.measure("evaluation"):
            return self.scores(actors, selection_seeds(self._config.eval_episodes))

    def keep_clone(self, scores: EpisodeScores) -> None:
        """Remember the clone's `selection_scores` for the gates to come."""
        self._kept_scores()[CLONE] = scores

    def record(self, scores: EpisodeScores, state: TrainingState, gate: GateResult | None) -> EvaluationRecord:
        """Compare the `selection_scores` of the policy with those of the baselines.

        Args:
            scores: of the policy as `state` says.
            state: of the run.
            gate: the result of the gate that looked at the same policy, if there was one.

        Returns:
            The record for the run's history.
        """
        with self._clock.measure("evaluation"):
            count = len(scores.seeds)
            means = {name: self._baseline_of_selection(name, count).mean for name in self._names_of_selection}
            interval = mean_interval(
                scores.returns,
                level=0.05,
                seed=self._interval_seed("selection", state.env_steps),
                num_resamples=self._config.gates.num_resamples,
            )
        return EvaluationRecord(
            env_steps=state.env_steps,
            agent_steps=state.agent_steps,
            stage=state.stage,
            ratio=state.ratio,
            attempt=state.attempt,
            return_mean=scores.mean,
            return_ci=interval,
            normalized=None if self._zero is None else self._share_of_gain(scores.mean - means[self._zero], means),
            baselines=means,
            gate=gate,
        )

    def accuracy_gate(self, results: Mapping[str, CloneResult], *, level: float) -> GateResult:
        """Judge whether the clone of every agent group resembles the script in the episodes that chose nothing."""
        return every_group(
            {
                group: accuracy_gate(
                    "clone_accuracy",
                    np.array(result.episode_accuracies),
                    threshold=self._config.gates.clone_accuracy,
                    level=level,
                    seed=group_seed(self._config.seed, "interval/accuracy", group),
                )
                for group, result in results.items()
            }
        )

    def kept_score_gate(
        self, actors: Actors, scores: EpisodeScores, clone: Callable[[], Actors], *, level: float, env_steps: int
    ) -> GateResult:
        """Judge whether the policy kept enough of its clone's gain over the zero of the scores.

        Where it would fail on too few episodes to say so at `level`, all three play more of them first.

        Args:
            actors: the policy.
            scores: its `selection_scores`.
            clone: builds the clone; called if it has to play.
            level: of this gate, in (0, 1).
            env_steps: world steps of the run, for the name of the gate.

        Returns:
            Passed or failed.
        """
        with self._clock.measure("evaluation"):
            gate = self._kept_score(scores, clone, level=level, env_steps=env_steps)
            if gate.verdict is Verdict.NOT_ENOUGH_EVIDENCE:
                log.info("gate %s: %s", gate.name, gate.detail)
                more = selection_seeds(episodes_to_fail(level))[len(scores.seeds) :]
                scores = scores.followed_by(self.scores(actors, more))
                gate = self._kept_score(scores, clone, level=level, env_steps=env_steps)
            return gate

    def adapt_ratio(self, actors: Actors, before: RatioState) -> RatioState:
        """Compare the policy with the script on fresh episodes, and move the ratio of the blend by what they say.

        Args:
            actors: the policy.
            before: where the ratio stands.

        Returns:
            Where it stands then; see `adapted_ratio`.
        """
        config, anneal, number = self._config, self._config.anneal, before.num_comparisons
        seeds = ratio_seeds(config.seed, number, anneal.ratio_episodes)
        zero = next(name for name in ZEROS if name in config.baselines)
        with self._clock.measure("evaluation"):
            differences = np.subtract(self.scores(actors, seeds).returns, self.baseline(SCRIPTED, seeds).returns)
            script, nothing = (
                self._baseline_of_selection(name, config.eval_episodes).mean for name in (SCRIPTED, zero)
            )
            low, high = difference_interval(
                differences,
                level=2.0 * _RATIO_LEVEL,
                seed=self._interval_seed("ratio", number),
                num_resamples=config.gates.num_resamples,
            )
        margin = anneal.ratio_margin * max(0.0, script - nothing)
        ratio = adapted_ratio(before.ratio, (low, high), margin=margin, anneal=anneal)
        log.info(
            "ratio %.3g -> %.3g: policy - script in [%.6g, %.6g], margin %.6g", before.ratio, ratio, low, high, margin
        )
        return RatioState(ratio=ratio, num_comparisons=number + 1, mean=float(differences.mean()), low=low, high=high)

    def _kept_score(
        self, scores: EpisodeScores, clone: Callable[[], Actors], *, level: float, env_steps: int
    ) -> GateResult:
        count = len(scores.seeds)
        reference = self._of_selection(CLONE, count, lambda seeds: self.scores(clone(), seeds))
        zero = next(name for name in ZEROS if name in self._config.baselines)
        fraction = self._config.gates.kept_fraction
        return floor_gate(
            f"kept_score_{env_steps}",
            excess_gain(scores, reference, self._baseline_of_selection(zero, count), fraction=fraction),
            level=level,
            seed=self._interval_seed("kept_score", env_steps),
        )

    def final(self, actors: Actors, clone: Actors | None) -> FinalEvaluation:
        """Score `actors`, their clone and every baseline on the episodes of the final score."""
        seeds = final_seeds(self._config.final_episodes)
        learned = self.scores(actors, seeds)
        cloned = None if clone is None else self.scores(clone, seeds)
        baselines = {name: self.baseline(name, seeds) for name in self._config.baselines}
        judged = {LEARNED: learned, **({} if cloned is None else {CLONE: cloned}), **baselines}
        num_resamples = self._config.promotion.num_resamples
        paired = {
            name: compare(learned, baseline, seed=self._interval_seed(f"paired/{name}"), num_resamples=num_resamples)
            for name, baseline in baselines.items()
        }
        means = {name: baseline.mean for name, baseline in baselines.items()}
        return FinalEvaluation(
            learned=learned,
            clone=cloned,
            baselines=baselines,
            summaries={
                name: summarize(scores, seed=self._interval_seed(f"final/{name}"), num_resamples=num_resamples)
                for name, scores in judged.items()
            },
            paired=paired,
            normalized={name: self._share_of_gain(each.mean, means) for name, each in paired.items()},
        )

    def promotion_pass(self, actors: Actors, seeds: Seeds) -> PairedComparison:
        """Compare `actors` with the script on the fresh episodes of `seeds` [n]."""
        return compare(
            self.scores(actors, seeds),
            self.baseline(SCRIPTED, seeds),
            seed=self._interval_seed("promotion", int(seeds[0])),
            num_resamples=self._config.promotion.num_resamples,
        )

    def _baseline_of_selection(self, name: str, count: int) -> EpisodeScores:
        return self._of_selection(name, count, partial(self.baseline, name))

    def _of_selection(self, name: str, count: int, play: Callable[[Seeds], EpisodeScores]) -> EpisodeScores:
        """Return the scores of `name` on the first `count` episodes of selection; those that are missing are played."""
        selection = self._kept_scores()
        known = selection.get(name)
        num_known = 0 if known is None else len(known.seeds)
        if known is None or num_known < count:
            missing = play(selection_seeds(count)[num_known:])
            known = missing if known is None else known.followed_by(missing)
            selection[name] = known
        return known.first(count)

    def _kept_scores(self) -> dict[str, EpisodeScores]:
        """Scores against the opponents of the moment, by behavior."""
        opponents = self._opponents()
        if self.state.opponents != opponents:
            self.state.selection.clear()
            self.state.opponents = opponents
        return self.state.selection

    def _share_of_gain(self, difference: float, means: Mapping[str, float]) -> float | None:
        """Return `difference` of two returns as a share of the script's gain over the zero."""
        if self._zero is None or SCRIPTED not in means:
            return None
        return normalized(difference, 0.0, means[SCRIPTED] - means[self._zero])

    def plays_until_then(self, schedule: Schedule, num_done: int) -> list[Play]:
        """Return the episodes of evaluations, and of comparisons for an adaptive ratio, after `num_done` updates."""
        config, after = self._config, range(num_done + 1, schedule.num_updates + 1)
        evaluated = [done for done in after if schedule.evaluates_after(done)]
        plays = [Play(LEARNED, len(evaluated) * config.eval_episodes)]
        if config.adapts_ratio:
            compared = sum(map(schedule.blends_after, evaluated)) * config.anneal.ratio_episodes
            plays += [Play(LEARNED, compared), Play(SCRIPTED, compared)]
        return plays

    def plays_at_end(self) -> list[Play]:
        """Return the episodes of the final score, that of a clone included, and if no pass fails of the promotion."""
        if not self.has_world:
            return []
        config, passes = self._config, self._config.promotion
        final = [LEARNED, *([] if config.mode == "ppo" else [LEARNED]), *config.baselines]
        promotes = SCRIPTED in config.baselines
        compared = [LEARNED, SCRIPTED] * passes.required_passes if promotes else []
        return [Play(name, config.final_episodes) for name in final] + [
            Play(name, passes.num_episodes) for name in compared
        ]

    def _played(self, player: str, seeds: Seeds, play: Callable[[Evaluator], EpisodeScores]) -> EpisodeScores:
        world, done = self._world(), Play(player, len(seeds))
        with self._clock.measure_play(done):
            scores = play(world)
        if done in self.at_end:
            self.at_end.remove(done)
        return scores

    def _world(self) -> Evaluator:
        """Return the evaluator, which is about to be asked.

        Raises:
            TrainingError: in a run without a world.
        """
        self._before_each()
        if self._evaluator is None:
            raise TrainingError("this run has no world to play episodes in")
        return self._evaluator

    def _interval_seed(self, purpose: str, index: int = 0) -> int:
        """Derive the seed of one interval: no other of the run has it, and a resumed run has the same."""
        return derive_seed(self._config.seed, f"interval/{purpose}", index)
