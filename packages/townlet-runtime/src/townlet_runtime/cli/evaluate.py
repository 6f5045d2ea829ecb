"""`townlet evaluate`: a policy and another behavior, on the same episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from townlet_runtime.cli.checks import BASELINES
from townlet_runtime.cli.console import Console
from townlet_runtime.cli.exits import SUCCESS, CommandError, end_on_signals
from townlet_runtime.cli.named_policy import load_policy, policy_of
from townlet_runtime.cli.worlds import Worlds, is_module, load, world_options
from townlet_runtime.core.evaluator import Evaluator
from townlet_runtime.policy.policy import Policy
from townlet_runtime.runs.finished import FinishedRun, read_run
from townlet_trajectory.evaluation.scores import EpisodeScores

FIRST_SEED = 2**31
LEARNED, OTHER, SCRIPTED, IDLE, RANDOM = "learned", "other", "scripted", "idle", "random"
"""What the behaviors are called; `other` is the policy of another run."""


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """The options of `townlet evaluate`; None where one was not given."""

    run_dir: Path
    controller: str | None
    against: str | None
    episodes: int
    sample: bool


def evaluate_run(options: EvaluateOptions, console: Console) -> int:
    """Play the episodes, print the comparison, and return the exit code."""
    console.mute_ticks()
    run = read_run(options.run_dir)
    _require_controller(run, options)
    named = {LEARNED: policy_of(run)}
    if options.against is not None and options.against not in BASELINES:
        named[OTHER] = load_policy(Path(options.against))
    config = load(run.config, (), world_options(None, options.controller), console).config
    worlds = Worlds.of(config, options.controller)
    one = worlds.make_scored(1)
    against = _opponent(options.against, one.behaviors, worlds)
    for each in named.values():
        each.require_fit(one.specs)
    # Not before everything that can be refused was: what compares takes seconds to import.
    from townlet_runtime.cli.comparison import comparison_lines, comparison_of, comparison_record

    evaluator = Evaluator(worlds.make_scored, config=worlds.bridge, seed=run.summary.seed)
    zero = IDLE if IDLE in one.behaviors else RANDOM
    names = (LEARNED, against, *([SCRIPTED] if SCRIPTED in one.behaviors else []), zero)
    with end_on_signals():
        policies = {name: each.policies for name, each in named.items()}
        played = _play(evaluator, policies, tuple(dict.fromkeys(names)), options, console)
        found = comparison_of(played, against=against, zero=zero)
    acting = "sampled" if options.sample else "greedy"
    label = options.against or against
    record = comparison_record(found, run_dir=options.run_dir, against=label, acting=acting)
    console.result(record, comparison_lines(found, against=label, acting=acting))
    return SUCCESS


def _require_controller(run: FinishedRun, options: EvaluateOptions) -> None:
    """Refuse to leave out in silence the script that the run had."""
    controller = run.summary.controller
    needs_script = options.against in (None, SCRIPTED)
    if controller is not None and is_module(controller) and options.controller is None and needs_script:
        raise CommandError(
            f"{run.path}: its script was {controller}: name it with --controller {controller}, "
            "or compare with --against random"
        )


def _opponent(named: str | None, behaviors: Sequence[str], worlds: Worlds) -> str:
    """What the policy meets: what was named, else the script, else chance."""
    if named is None:
        return SCRIPTED if SCRIPTED in behaviors else RANDOM
    if named not in BASELINES:
        return OTHER
    if named not in behaviors and named != RANDOM:
        there_are = ", ".join([*behaviors, RANDOM])
        raise CommandError(f"--against {named}: `{worlds.environment}` has no such behavior; there are {there_are}")
    return named


def _play(
    evaluator: Evaluator,
    policies: Mapping[str, Mapping[str, Policy]],
    names: Sequence[str],
    options: EvaluateOptions,
    console: Console,
) -> dict[str, EpisodeScores]:
    """The returns of every behavior on the same episodes, by its name."""
    seeds = FIRST_SEED + np.arange(options.episodes)
    played = {}
    with console.progress(total=len(names), unit="behaviors") as progress:
        for done, name in enumerate(names):
            progress.update("evaluate", done, name)
            played[name] = (
                evaluator.evaluate(policies[name], seeds=seeds, sample=options.sample)
                if name in policies
                else evaluator.baseline(name, seeds=seeds)
            )
        progress.update("evaluate", len(names))
    return played
