"""Results of a training run: the lines and the JSON that `townlet train` ends with, and the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from townlet_runtime.adapters.equipped import Equipment
from townlet_runtime.cli.console import Console, Json, duration, one_line, table
from townlet_runtime.cli.named_policy import policy_of
from townlet_runtime.cli.worlds import Towns
from townlet_runtime.config import Config, bridge_config, script_config, town_config
from townlet_runtime.core.loop import GroupedLoop, runtimes_of
from townlet_runtime.report.writing import write_report
from townlet_runtime.runs.directory import REPORT
from townlet_runtime.runs.finished import FinishedRun, read_run, write_manifest
from townlet_runtime.runs.records import NO_EVIDENCE, ROUND_HEAD, CloningFile, SummaryFile, round_rows
from townlet_runtime.simulation.one_group import OneGroup
from townlet_runtime.simulation.script import script_side
from townlet_runtime.simulation.split_groups import split_named
from townlet_runtime.town.picture import TownPicture
from townlet_runtime.town.render import town_picture
from townlet_trajectory.evaluation.results import CLONE, LEARNED, CloneRecord, FinalEvaluation
from townlet_trajectory.storage.urls import Place

_TICK = 200
"""Tick of the picture in the report: the town is settled, and no day is over."""


def show_results(run: FinishedRun, console: Console, *, failure: str | None = None) -> None:
    """Print the scores and the decision of a run, as lines for people or as `summary.json` with the run's place.

    Args:
        run: as `read_run` returns it.
        console: prints.
        failure: the gate that stopped a run without a promotion decision, in words.
    """
    record: Mapping[str, Json] = {"run_dir": str(run.path), **run.summary.values()}
    reason = failure if run.promotion is None else run.promotion.reason
    console.result(record, _lines(run, reason))


def show_clone(clone: CloneRecord, manifest: Place, run_dir: Path, console: Console) -> None:
    """Print a clone as the original did: `loss`, held-out `accuracy`, `mode` and `manifest`, as one JSON object.

    Args:
        clone: whose worst agent group is shown.
        manifest: that it was made from, as it was given.
        run_dir: of the run, which `--json` names too.
        console: prints.
    """
    results = clone.results.values()
    record: dict[str, Json] = {
        "loss": max(each.epochs[each.best_epoch - 1].loss for each in results),
        "accuracy": min(each.accuracy for each in results),
        "mode": "bc",
        "manifest": str(manifest),
    }
    console.result({**record, "run_dir": str(run_dir)}, json.dumps(record, indent=2).splitlines())


def draw_report(
    run: FinishedRun, config: Config, console: Console, *, equipment: Equipment | None = None
) -> FinishedRun:
    """Draw the report of a run that has none, and list it in the run's manifest; read the run again.

    A report that cannot be drawn is a warning: the run itself has finished.

    Args:
        run: as `read_run` returns it.
        config: that the run was begun with.
        console: prints the warning.
        equipment: script and guardrails that were named; None: none.

    Returns:
        The run, with its report if that could be drawn.
    """
    if run.has_report:
        return run
    try:
        write_report(run, town_picture=picture_of(run, config, equipment))
        write_manifest(run.path)
    except Exception as error:
        # Not one of a list: plots of foreign names and numbers can fail in every way that a drawing library can.
        console.trace(error)
        console.warning(f"no report was written: {type(error).__name__}: {one_line(error)}")
    return read_run(run.path)


def picture_of(run: FinishedRun, config: Config, equipment: Equipment | None) -> TownPicture | None:
    """Let the policy act alone in one town for a while, and draw the town.

    Args:
        run: as `read_run` returns it.
        config: that the run was begun with.
        equipment: script and guardrails that were named; None: none.

    Returns:
        A still of the town; None for another world, or none.
    """
    if run.summary.env is None or not config.environment.is_town:
        return None
    town = Towns(town=town_config(config), script=script_config(config))(1)
    simulation = split_named((equipment or Equipment()).of(OneGroup(town)), config.environment.groups or {})
    named = policy_of(run)
    runtimes = runtimes_of(
        simulation,
        script_side(simulation),
        config=bridge_config(config, ratio=1.0),
        policies=named.playing,
        services=None,
        seed=run.summary.seed,
        greedy=True,
        drawn=named.opponents,
    )
    loop = GroupedLoop(simulation, runtimes)
    loop.reset(run.summary.seed)
    ticks = min(_TICK, town.spec.episode_ticks - 1)
    if ticks > 0:
        loop.run_for(ticks)
    return town_picture(town, title=f"the learned policy at tick {ticks}")


def _lines(run: FinishedRun, reason: str | None) -> list[str]:
    record = run.summary
    lines = [f"{record.mode}: {record.env_steps:,} env steps in {duration(record.wall_time_s)}"]
    if run.cloning is not None:
        lines += ["", *_clone_lines(run.cloning)]
    if record.rounds:
        lines += ["", *table(ROUND_HEAD, round_rows(record.rounds))]
    if run.evaluation is not None:
        lines += ["", *_score_lines(record, run.evaluation.final)]
    lines += ["", _decision(run, reason)]
    return [*lines, f"report: {run.path / REPORT}"] if run.has_report else lines


def _clone_lines(cloning: CloningFile) -> list[str]:
    rows = [
        (group, f"{result.num_labels:,}", f"{result.best_epoch} of {len(result.epochs)}", f"{result.accuracy:.4f}")
        for group, result in cloning.results.items()
    ]
    return table(("clone of", "labels", "epoch kept", "held-out accuracy"), rows)


def _score_lines(record: SummaryFile, final: FinalEvaluation) -> list[str]:
    means = {LEARNED: final.summaries[LEARNED].mean, **record.baseline_return_means}
    if record.clone_return_mean is not None:
        means[CLONE] = record.clone_return_mean
    lines = [
        *table(
            (f"mean return of {record.eval_episodes} episodes", ""),
            [(name, f"{mean:.3f}") for name, mean in means.items()],
        ),
        "",
    ]
    for name, paired in final.paired.items():
        low, high = paired.ci
        share = final.normalized[name]
        scaled = "" if share is None else f", {share:+.3f} normalized"
        lines.append(f"learned - {name}: {paired.mean:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}{scaled}")
    if final.paired:
        lines.append(f"intervals are over {record.eval_episodes} episodes of this policy; over seeds: townlet compare")
    return lines


def _decision(run: FinishedRun, reason: str | None) -> str:
    if run.summary.promotion is not None:
        return f"{run.summary.promotion}: {reason}"
    if reason is not None:
        return f"stopped: {reason}"
    if run.summary.env is None:
        return f"no promotion: {NO_EVIDENCE}"
    return f"no promotion: {run.summary.env} has no script that the policy could replace"
