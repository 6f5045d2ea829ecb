"""`townlet evaluate`: a policy and another behavior, on the same episodes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from townlet_runtime._training import (
    EpisodeScores,
    PairedComparison,
    ScoreSummary,
    TrainingError,
    compare,
    normalized,
    summarize,
)
from townlet_runtime.cli.console import Console, Json, Progress, table
from townlet_runtime.cli.exits import SUCCESS, CommandError, StopFlag, stop_on_signals
from townlet_runtime.cli.worlds import Worlds, load, load_policy
from townlet_runtime.config import bridge_config
from townlet_runtime.errors import RunDirectoryError
from townlet_runtime.evaluate import EpisodeReturns, SimulationEvaluator
from townlet_runtime.policies import OnnxPolicy
from townlet_runtime.rundir import read_run

FIRST_SEED = 2**31
BASELINES = ("scripted", "nearest", "idle")
NUM_RESAMPLES = 10_000
LEARNED, SCRIPTED, IDLE = "learned", "scripted", "idle"
_RESAMPLING_SEED = 0


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """The options of `townlet evaluate`."""

    run_dir: Path
    against: str
    episodes: int
    sample: bool


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What the episodes said."""

    summaries: dict[str, ScoreSummary]
    """By name: the policy, what it was compared with, and the ends of the normalized scale."""
    normalized: dict[str, float | None]
    """Means on the scale where idling is 0 and the script is 1, by the same names."""
    difference: PairedComparison
    difference_normalized: float | None


class _Stopped(Exception):
    """A signal asked for an end."""


def evaluate_run(options: EvaluateOptions, console: Console) -> int:
    """Play the episodes, print the comparison, and return the exit code."""
    console.mute_ticks()
    run = read_run(options.run_dir)
    policy = OnnxPolicy.load(run.policy)
    other = None if options.against in BASELINES else _other_policy(options.against)
    config = load(run.config, (), (), console).config
    evaluator = SimulationEvaluator(Worlds.of(config), config=bridge_config(config, ratio=1.0), seed=run.summary.seed)
    names = [LEARNED, options.against, *(name for name in (SCRIPTED, IDLE) if name != options.against)]
    with stop_on_signals() as stop, console.progress(total=len(names), unit="behaviors") as progress:
        player = _Player(evaluator, options, stop, progress)
        try:
            scores = {LEARNED: player.policy(policy)}
            scores[options.against] = player.baseline(options.against) if other is None else player.policy(other)
            for name in names[2:]:
                scores[name] = player.baseline(name)
        except _Stopped:
            return stop.code
    try:
        found = _compared(scores, options.against)
    except TrainingError as error:
        raise CommandError(str(error)) from error
    console.result(_record(found, options), _lines(found, options))
    return SUCCESS


def _other_policy(against: str) -> OnnxPolicy:
    path = Path(against)
    if not path.is_dir():
        raise RunDirectoryError(path, f"expected a run directory or one of {', '.join(BASELINES)} after --against")
    return load_policy(path).policy


class _Player:
    """Plays the same episodes with one behavior after the other."""

    def __init__(
        self, evaluator: SimulationEvaluator, options: EvaluateOptions, stop: StopFlag, progress: Progress
    ) -> None:
        self._evaluator = evaluator
        self._options = options
        self._stop = stop
        self._progress = progress
        self._done = 0

    def policy(self, policy: OnnxPolicy) -> EpisodeScores:
        """Scores of a policy acting alone."""
        episodes = self._options.episodes
        return self._scores(
            self._evaluator.evaluate(policy, num_episodes=episodes, first_seed=FIRST_SEED, sample=self._options.sample)
        )

    def baseline(self, name: str) -> EpisodeScores:
        """Scores of a script."""
        return self._scores(self._evaluator.baseline(name, num_episodes=self._options.episodes, first_seed=FIRST_SEED))

    def _scores(self, episodes: EpisodeReturns) -> EpisodeScores:
        if self._stop():
            raise _Stopped
        self._done += 1
        self._progress.update("evaluate", self._done)
        return EpisodeScores(returns=episodes.returns, events=episodes.events, seeds=episodes.seeds)


def _compared(scores: dict[str, EpisodeScores], against: str) -> Comparison:
    idle, script = scores[IDLE].mean, scores[SCRIPTED].mean
    difference = compare(scores[LEARNED], scores[against], seed=_RESAMPLING_SEED, num_resamples=NUM_RESAMPLES)
    return Comparison(
        summaries={
            name: summarize(each, seed=_RESAMPLING_SEED, num_resamples=NUM_RESAMPLES) for name, each in scores.items()
        },
        normalized={name: normalized(each.mean, idle, script) for name, each in scores.items()},
        difference=difference,
        difference_normalized=normalized(idle + difference.mean, idle, script),
    )


def _record(found: Comparison, options: EvaluateOptions) -> dict[str, Json]:
    difference = found.difference
    return {
        "run_dir": str(options.run_dir),
        "against": options.against,
        "episodes": options.episodes,
        "first_seed": FIRST_SEED,
        "acting": "sampled" if options.sample else "greedy",
        "scores": {
            name: {"mean": each.mean, "iqm": each.iqm, "ci": list(each.ci), "normalized": found.normalized[name]}
            for name, each in found.summaries.items()
        },
        "difference": {
            "mean": difference.mean,
            "iqm": difference.iqm,
            "ci": list(difference.ci),
            "normalized": found.difference_normalized,
        },
    }


def _lines(found: Comparison, options: EvaluateOptions) -> list[str]:
    rows = [
        (name, f"{each.mean:.3f}", f"{each.iqm:.3f}", _interval(each.ci), _share(found.normalized[name]))
        for name, each in found.summaries.items()
    ]
    difference = found.difference
    rows.append(
        (
            f"{LEARNED} - {options.against}",
            f"{difference.mean:+.3f}",
            f"{difference.iqm:+.3f}",
            _interval(difference.ci),
            _share(found.difference_normalized),
        )
    )
    acting = "drawn" if options.sample else "most probable"
    return [
        *table(("return", "mean", "IQM", "95 % interval", "normalized"), rows),
        f"{options.episodes} episodes with seeds from {FIRST_SEED}, {acting} actions; normalized: idle 0, script 1",
    ]


def _interval(interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{low:.3f} to {high:.3f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
