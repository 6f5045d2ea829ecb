"""`townlet evaluate --matrix`: every policy in the role of every group of agents, against every other one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from townlet_runtime.cli.console import SUCCESS, CommandError, Console, Json, end_on_signals, table
from townlet_runtime.cli.episodes.options import NUM_RESAMPLES, RESAMPLING_SEED, EvaluateOptions
from townlet_runtime.cli.episodes.sharing import sharing_episodes
from townlet_runtime.cli.named_policy import NamedPolicy, load_policy, policy_of
from townlet_runtime.cli.world_options import require_code, require_same_world
from townlet_runtime.cli.worlds import Worlds, load_of_run
from townlet_runtime.core.evaluator import Evaluator
from townlet_runtime.errors import require_report_extra
from townlet_runtime.runs.finished import read_run
from townlet_runtime.simulation.interface import GroupedSimulation, SimulationSpec
from townlet_runtime.workers.evaluating import SharedEvaluator
from townlet_trajectory.evaluation.cross_play import CrossPlay, MeanReturn, cross_play
from townlet_trajectory.evaluation.interfaces import HELD_OUT, AnyActor, EpisodeScores
from townlet_trajectory.evaluation.results import RANDOM, SCRIPTED
from townlet_trajectory.storage.files import write_bytes_atomic

Player = AnyActor | str
"""A policy, or the name of a behavior of the world."""


def evaluate_matrix(options: EvaluateOptions, console: Console) -> int:
    """Play every pair, print and draw the returns, and return the exit code."""
    console.mute_ticks()
    if options.against is not None:
        raise CommandError(f"--against {options.against}: of no effect with --matrix, where all policies meet")
    require_report_extra()
    config, begun = load_of_run(options.run_dir, options.world.overrides(), console)
    run = read_run(options.run_dir)
    require_code(options.run_dir, begun, options.world, script=SCRIPTED in _behaviors(options))
    worlds = Worlds.of(config, options.world)
    with closing(worlds.make_scored(1)) as one:
        if not options.world.groups:
            require_same_world(options.run_dir, begun, one.specs)
        if len(one.specs) < 2:
            raise CommandError(
                f"--matrix: `{worlds.environment}` has one group of agents, in which policies do not meet; "
                "split it with --group NAME=AGENTS"
            )
        specs, bridge = one.specs, worlds.bridge(one.specs)
        players = _players(options, policy_of(run), one)
    num_worlds: int = config.training["num_envs"]  # a run writes all settings of training out
    own = Evaluator(worlds.make_scored, config=bridge, seed=run.summary.seed, num_worlds=num_worlds)
    with (
        end_on_signals(),
        sharing_episodes(own, worlds.message(config), workers=options.workers) as evaluator,
    ):
        tables = _tables(evaluator, specs, players, options, console)
    path = options.output or options.run_dir.absolute().with_name(f"{options.run_dir.absolute().name}-matrix.png")
    from townlet_runtime.report.cross_play import cross_play_picture  # brings matplotlib

    write_bytes_atomic(path, cross_play_picture(tables))
    console.result(_record(tables, options, picture=path), _lines(tables, options))
    console.note(f"picture: {path}")
    return SUCCESS


def _behaviors(options: EvaluateOptions) -> list[str]:
    return [SCRIPTED if name == "script" else name for name in options.matrix]


def _players(
    options: EvaluateOptions, own: NamedPolicy, simulation: GroupedSimulation
) -> dict[str, Mapping[str, Player]]:
    """By name, who plays which group; groups that a policy was not made for are left out.

    Raises:
        CommandError: if a name is neither a behavior, a policy nor a run, stands twice, or fits no group.
    """
    specs = simulation.specs
    players: dict[str, Mapping[str, Player]] = {_label(options.run_dir): _roles(own, specs)}
    for given, name in zip(options.matrix, _behaviors(options), strict=True):
        roles: Mapping[str, Player]
        if name in (*simulation.behaviors, RANDOM):
            label, roles = name, dict.fromkeys(specs, name)
        elif not Path(given).exists():
            known = ", ".join([*simulation.behaviors, RANDOM])
            raise CommandError(f"--matrix {given}: expected a run directory, a policy file, or one of {known}")
        else:
            label, roles = _label(Path(given)), _roles(load_policy(Path(given)), specs)
            label = given if label in players else label
        if label in players:
            raise CommandError(f"--matrix {given}: is there twice")
        if not roles:
            raise CommandError(f"--matrix {given}: fits none of the groups {', '.join(specs)}")
        players[label] = roles
    return players


def _label(path: Path) -> str:
    return path.absolute().name


def _roles(named: NamedPolicy, specs: Mapping[str, SimulationSpec]) -> dict[str, Player]:
    found = {group: named.policy_for(group, spec) for group, spec in specs.items()}
    return {group: policy for group, policy in found.items() if policy is not None}


def _tables(
    evaluator: Evaluator | SharedEvaluator,
    specs: Mapping[str, SimulationSpec],
    players: Mapping[str, Mapping[str, Player]],
    options: EvaluateOptions,
    console: Console,
) -> list[CrossPlay]:
    """Play the episodes of every cast once: with two groups a pair serves the tables of both."""
    names, seeds = tuple(players), HELD_OUT + np.arange(options.episodes)
    wanted: dict[str, dict[tuple[int, int], tuple[str, ...]]] = {}
    for group in specs:
        pairs = {
            (i, j): tuple(one if own == group else other for own in specs)
            for i, one in enumerate(names)
            for j, other in enumerate(names)
        }
        wanted[group] = {
            pair: cast
            for pair, cast in pairs.items()
            if all(own in players[name] for own, name in zip(specs, cast, strict=True))
        }
    casts = list(dict.fromkeys(cast for pairs in wanted.values() for cast in pairs.values()))
    played: dict[tuple[str, ...], EpisodeScores] = {}
    with console.progress(total=len(casts), unit="casts") as progress:
        for done, cast in enumerate(casts):
            progress.update("evaluate", done, " / ".join(cast))
            roles = {group: players[name][group] for group, name in zip(specs, cast, strict=True)}
            played[cast] = evaluator.play(roles, seeds=seeds, sample=options.sample)
        progress.update("evaluate", len(casts))
    return [
        cross_play(
            group,
            names,
            {pair: played[cast].group_returns[group] for pair, cast in wanted[group].items()},
            seed=RESAMPLING_SEED,
            num_resamples=NUM_RESAMPLES,
        )
        for group in specs
    ]


def _record(tables: Sequence[CrossPlay], options: EvaluateOptions, *, picture: Path) -> dict[str, Json]:
    """The object that `--json` prints."""
    return {
        "run_dir": str(options.run_dir),
        "policies": [*tables[0].policies],
        "episodes": options.episodes,
        "first_seed": HELD_OUT,
        "acting": "sampled" if options.sample else "greedy",
        "groups": {
            one.group: {
                "returns": [[_numbers(cell) for cell in row] for row in one.returns],
                "standings": [_numbers(cell) for cell in one.standings],
            }
            for one in tables
        },
        "picture": str(picture),
    }


def _numbers(cell: MeanReturn | None) -> Json:
    return None if cell is None else {"mean": cell.mean, "ci": list(cell.ci)}


def _lines(tables: Sequence[CrossPlay], options: EvaluateOptions) -> list[str]:
    lines: list[str] = []
    for one in tables:
        header = (f"return of {one.group} played by", *(f"against {name}" for name in one.policies), "mean of others")
        rows = [
            (name, *(_cell(cell) for cell in row), _cell(standing))
            for name, row, standing in zip(one.policies, one.returns, one.standings, strict=True)
        ]
        lines += [*table(header, rows), ""]
    acting = "sampled" if options.sample else "greedy"
    return [
        *lines,
        f"{options.episodes} episodes each, seeds from {HELD_OUT}; {acting} actions; 95 % intervals are over episodes",
    ]


def _cell(cell: MeanReturn | None) -> str:
    return "-" if cell is None else f"{cell.mean:.3f} ({cell.ci[0]:.3f} to {cell.ci[1]:.3f})"
