"""`townlet evaluate`: a policy and another behavior, on the same episodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from townlet_runtime.acting import Policy
from townlet_runtime.cli.checks import BASELINES
from townlet_runtime.cli.console import Console
from townlet_runtime.cli.exits import SUCCESS, end_on_signals
from townlet_runtime.cli.named_policy import load_policy, policy_of
from townlet_runtime.cli.worlds import Worlds, load
from townlet_runtime.config import bridge_config
from townlet_runtime.evaluate import EpisodeReturns, SimulationEvaluator
from townlet_runtime.finished import read_run

FIRST_SEED = 2**31
LEARNED, OTHER, SCRIPTED, IDLE = "learned", "other", "scripted", "idle"
"""What the behaviors are called; `other` is the policy of another run."""


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """The options of `townlet evaluate`."""

    run_dir: Path
    against: str
    episodes: int
    sample: bool


def evaluate_run(options: EvaluateOptions, console: Console) -> int:
    """Play the episodes, print the comparison, and return the exit code."""
    console.mute_ticks()
    run = read_run(options.run_dir)
    named = {LEARNED: policy_of(run)}
    against = options.against
    if against not in BASELINES:
        against = OTHER
        named[OTHER] = load_policy(Path(options.against))
    config = load(run.config, (), (), console).config
    worlds = Worlds.of(config)
    spec = worlds(1).spec
    for each in named.values():
        each.require_fit(spec)
    # Not before everything that can be refused was: what compares takes seconds to import.
    from townlet_runtime.cli.comparison import comparison_lines, comparison_of, comparison_record

    evaluator = SimulationEvaluator(worlds, config=bridge_config(config, ratio=1.0), seed=run.summary.seed)
    with end_on_signals():
        played = _play(evaluator, {name: each.policy for name, each in named.items()}, against, options, console)
        found = comparison_of(played, against=against)
    acting = "sampled" if options.sample else "greedy"
    record = comparison_record(found, run_dir=options.run_dir, against=options.against, acting=acting)
    console.result(record, comparison_lines(found, against=options.against, acting=acting))
    return SUCCESS


def _play(
    evaluator: SimulationEvaluator,
    policies: Mapping[str, Policy],
    against: str,
    options: EvaluateOptions,
    console: Console,
) -> dict[str, EpisodeReturns]:
    """The returns of every behavior on the same episodes, by its name."""
    names = tuple(dict.fromkeys((LEARNED, against, SCRIPTED, IDLE)))
    episodes = options.episodes
    played = {}
    with console.progress(total=len(names), unit="behaviors") as progress:
        for done, name in enumerate(names):
            progress.update("evaluate", done, name)
            played[name] = (
                evaluator.evaluate(policies[name], num_episodes=episodes, first_seed=FIRST_SEED, sample=options.sample)
                if name in policies
                else evaluator.baseline(name, num_episodes=episodes, first_seed=FIRST_SEED)
            )
        progress.update("evaluate", len(names))
    return played
