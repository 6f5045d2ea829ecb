"""`townlet evaluate`: a policy and another behavior, on the same episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from townlet_runtime.cli.console import SUCCESS, CommandError, Console, Json, end_on_signals, table
from townlet_runtime.cli.episodes.options import NUM_RESAMPLES, RESAMPLING_SEED, EvaluateOptions
from townlet_runtime.cli.episodes.sharing import sharing_episodes
from townlet_runtime.cli.named_policy import NamedPolicy, load_policy, policy_of
from townlet_runtime.cli.world_options import require_begun_with, require_code, require_same_world
from townlet_runtime.cli.worlds import Worlds, load_of_run
from townlet_runtime.core.evaluator import Evaluator
from townlet_runtime.policy.onnx import FilePolicy
from townlet_runtime.runs.finished import read_run
from townlet_runtime.simulation.interface import SimulationSpec
from townlet_runtime.workers.evaluating import SharedEvaluator
from townlet_trajectory.evaluation.comparisons import PairedComparison, ScoreSummary, compare, normalized, summarize
from townlet_trajectory.evaluation.interfaces import HELD_OUT, AnyActor, EpisodeScores, Opponents
from townlet_trajectory.evaluation.results import LEARNED, RANDOM, SCRIPTED, zero_of

OTHER = "other"
"""Name of the policy of another run."""


def evaluate_run(options: EvaluateOptions, console: Console) -> int:
    """Play the episodes, print the comparison, and return the exit code."""
    console.mute_ticks()
    if options.output is not None:
        raise CommandError(f"--output {options.output}: of no effect without --matrix")
    # Before its files are compared with the manifest: a changed config is named by its key.
    config, begun = load_of_run(options.run_dir, options.world.overrides(), console)
    run = read_run(options.run_dir)
    if run.summary.env is None and options.world.env is None:
        raise CommandError(
            f"{options.run_dir}: learned from data alone, without a world; name one whose observations and actions are "
            "those of the data with --env"
        )
    needs_script = options.against in (None, SCRIPTED)
    require_code(
        options.run_dir, begun, options.world, script=needs_script, otherwise=", or compare with --against random"
    )
    worlds = Worlds.of(config, options.world)
    require_begun_with(options.run_dir, "env", begun.environment or worlds.environment, worlds.environment)
    named = {LEARNED: policy_of(run)}
    with closing(worlds.make_scored(1)) as one:
        require_same_world(options.run_dir, begun, one.specs)
        behaviors, bridge = one.behaviors, worlds.bridge(one.specs)
        against = _opponent(options.against, behaviors, worlds, named)
        opponents = named[LEARNED].opponents
        named[LEARNED].require_fit(one.specs)
        if OTHER in named:
            learning = {group: spec for group, spec in one.specs.items() if group not in opponents}
            named[OTHER] = _of_groups(named[OTHER], learning)
    zero = zero_of((*behaviors, RANDOM)) or RANDOM
    names = (LEARNED, against, *([SCRIPTED] if SCRIPTED in behaviors else []), zero)
    num_worlds: int = config.training["num_envs"]  # a run writes all settings of training out
    own = Evaluator(worlds.make_scored, config=bridge, seed=run.summary.seed, num_worlds=num_worlds)
    with (
        end_on_signals(),
        sharing_episodes(own, worlds.message(config), workers=options.workers) as evaluator,
    ):
        policies = {name: each.policies for name, each in named.items()}
        played = _play(evaluator, policies, tuple(dict.fromkeys(names)), options, console, opponents)
        found = comparison_of(played, against=against, zero=zero)
    acting = "sampled" if options.sample else "greedy"
    label = options.against or against
    record = comparison_record(found, run_dir=options.run_dir, against=label, acting=acting)
    console.result(record, comparison_lines(found, against=label, acting=acting))
    return SUCCESS


def _opponent(against: str | None, behaviors: Sequence[str], worlds: Worlds, named: dict[str, NamedPolicy]) -> str:
    """The name of the opponent: as `--against` says, else the script, else chance; a policy is added to `named`."""
    if against is None:
        return SCRIPTED if SCRIPTED in behaviors else RANDOM
    if against in (*behaviors, RANDOM):
        return against
    if not Path(against).is_dir():
        there_are = ", ".join([*behaviors, RANDOM])
        raise CommandError(
            f"--against {against}: expected a run directory or a behavior of `{worlds.environment}`: {there_are}"
        )
    named[OTHER] = load_policy(Path(against))
    return OTHER


def _of_groups(named: NamedPolicy, specs: Mapping[str, SimulationSpec]) -> NamedPolicy:
    """The policies of another run in the roles of `specs`.

    Raises:
        CommandError: names the first group that it has no policy for.
    """
    named = replace(named, opponents={})
    if named.policies.keys() == specs.keys():
        named.require_fit(specs)
        return named
    policies: dict[str, FilePolicy] = {}
    for group, spec in specs.items():
        policy = named.policy_for(group, spec)
        if policy is None:
            raise CommandError(f"{named.path}: has no policy that fits the group `{group}`, or several")
        policies[group] = policy
    return replace(named, policies=policies)


def _play(
    evaluator: Evaluator | SharedEvaluator,
    policies: Mapping[str, Mapping[str, AnyActor]],
    names: Sequence[str],
    options: EvaluateOptions,
    console: Console,
    opponents: Opponents,
) -> dict[str, EpisodeScores]:
    """The returns of every behavior on the same episodes, by its name, against the opponents of the run."""
    seeds = HELD_OUT + np.arange(options.episodes)
    played = {}
    with console.progress(total=len(names), unit="behaviors") as progress:
        for done, name in enumerate(names):
            progress.update("evaluate", done, name)
            played[name] = (
                evaluator.evaluate(policies[name], seeds=seeds, sample=options.sample, opponents=opponents)
                if name in policies
                else evaluator.baseline(name, seeds=seeds, opponents=opponents)
            )
        progress.update("evaluate", len(names))
    return played


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The scores of some behaviors on the same episodes."""

    against: str
    """The behavior that the policy is compared with: one of the names of `summaries`."""
    summaries: Mapping[str, ScoreSummary]
    """By name: the policy, its opponent, and the ends of the normalized scale."""
    normalized: Mapping[str, float | None]
    """Means on the scale where `zero` is 0 and the script is 1, by the same names; None where there is no scale."""
    zero: str
    """The behavior that is 0 on the normalized scale: one of the names of `summaries`."""
    difference: PairedComparison
    difference_normalized: float | None
    episodes: int
    first_seed: int


def comparison_of(scores: Mapping[str, EpisodeScores], *, against: str, zero: str) -> Comparison:
    """Compare the policy with `against`.

    Args:
        scores: the same episodes, by behavior; `learned`, `against` and `zero` are among them, and `scripted` where the
            world has a script.
        against: the opponent.
        zero: the behavior that is 0 on the normalized scale.

    Raises:
        EvaluationError: if the episodes cannot be compared.
    """
    bottom = scores[zero].mean
    top = scores[SCRIPTED].mean if SCRIPTED in scores else None
    difference = compare(scores[LEARNED], scores[against], seed=RESAMPLING_SEED, num_resamples=NUM_RESAMPLES)
    seeds = scores[LEARNED].seeds
    return Comparison(
        against=against,
        summaries={
            name: summarize(each, seed=RESAMPLING_SEED, num_resamples=NUM_RESAMPLES) for name, each in scores.items()
        },
        normalized={name: _normalized(each.mean, bottom, top) for name, each in scores.items()},
        zero=zero,
        difference=difference,
        difference_normalized=_normalized(bottom + difference.mean, bottom, top),
        episodes=len(seeds),
        first_seed=seeds[0],
    )


def _normalized(score: float, bottom: float, top: float | None) -> float | None:
    return None if top is None else normalized(score, bottom, top)


def comparison_record(found: Comparison, *, run_dir: Path, against: str, acting: str) -> dict[str, Json]:
    """Return the record that `--json` prints.

    Args:
        found: by `comparison_of`.
        run_dir: of the policy.
        against: the value of the option.
        acting: how the policy acted: `greedy` or `sampled`.
    """
    difference = found.difference
    return {
        "run_dir": str(run_dir),
        "against": against,
        "episodes": found.episodes,
        "first_seed": found.first_seed,
        "acting": acting,
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


def comparison_lines(found: Comparison, *, against: str, acting: str) -> list[str]:
    """Return the lines for people; see `comparison_record`."""
    rows = [
        (name, f"{each.mean:.3f}", f"{each.iqm:.3f}", _interval(each.ci, ""), _share(found.normalized[name], ""))
        for name, each in found.summaries.items()
    ]
    difference = found.difference
    name = f"{LEARNED} - {found.against}"
    share = _share(found.difference_normalized, "+")
    rows.append((name, f"{difference.mean:+.3f}", f"{difference.iqm:+.3f}", _interval(difference.ci, "+"), share))
    lines = [
        *table(("return", "mean", "IQM", "95 % interval", "normalized"), rows),
        f"{found.episodes} episodes, seeds from {found.first_seed}; {acting} actions"
        + (f"; normalized: {found.zero} 0, script 1" if SCRIPTED in found.summaries else ""),
    ]
    return lines if found.against == against else [*lines, f"{found.against}: {against}"]


def _interval(interval: tuple[float, float], sign: str) -> str:
    low, high = interval
    return f"{low:{sign}.3f} to {high:{sign}.3f}"


def _share(value: float | None, sign: str) -> str:
    return "-" if value is None else f"{value:{sign}.3f}"
