"""`townlet promote rehearse`: a whole schedule on one data set, and the decision that it comes to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from townlet_runtime.cli.console import GATE_FAILED, SUCCESS, CommandError, Console, ResultKeeper
from townlet_runtime.cli.training.plan import TrainOptions
from townlet_runtime.cli.training.schedule_options import ScheduleOptions
from townlet_runtime.cli.training.training_data import place_of
from townlet_runtime.config import load_config
from townlet_runtime.runs.directory import require_writable
from townlet_trajectory.evaluation.anneal_results import decide_anneal
from townlet_trajectory.storage.files import make_directory, write_json_atomic
from townlet_trajectory.storage.json import MAX_JSON_BYTES, JsonValue, parse_json
from townlet_trajectory.storage.paths import read_named
from townlet_trajectory.storage.urls import Place

SCHEDULE = "[{cycle: 0, mode: bc}, {cycle: 1, mode: ppo, epochs: 2}, {cycle: 2, mode: ppo, epochs: 1}]"
"""Of a config that has none."""
_FLAGS = ("loss", "queue", "intensity")


@dataclass(frozen=True, kw_only=True)
class RehearsalOptions:
    """The options of `townlet promote rehearse`."""

    config: Path | None
    manifest: Place | None
    """None: the one that the config names."""
    log_dir: Path
    summary: Path
    run_dir: Path | None
    """None: a new folder in `log_dir`."""
    exit_on_failure: bool
    threads: int | None


def rehearse(options: RehearsalOptions, console: Console) -> int:
    """Train by the schedule, write and print the summary, and return the exit code.

    Raises:
        CommandError: if there is no data set, a config names a URL, or a stage has nothing to learn from.
        ConfigError: if the config is wrong.
        ArtifactError: if a file cannot be read or written.
    """
    from townlet_runtime.cli.commands.train import train_policy
    from townlet_runtime.cli.commands.train_schedule import RESULTS

    require_writable(options.log_dir)
    require_writable(options.summary.parent)
    keeper = ResultKeeper(json=console.json, verbose=console.verbose, quiet=console.quiet)
    code = train_policy(_train_options(options), keeper)
    if keeper.kept is None:
        return code  # a signal has come, and the run says how to go on
    source = options.log_dir / RESULTS
    results = parse_json(read_named(source, max_bytes=MAX_JSON_BYTES), source)
    promotion = parse_json(json.dumps(keeper.kept["promotion"], allow_nan=False).encode(), source)
    summary = rehearsal_summary(results, promotion, source=source)
    make_directory(options.summary.parent)
    write_json_atomic(options.summary, summary)
    console.result(summary, json.dumps(summary, indent=2).splitlines())
    return GATE_FAILED if options.exit_on_failure and summary["status"] != "PASS" else SUCCESS


def rehearsal_summary(results: JsonValue, promotion: JsonValue, *, source: Path) -> dict[str, JsonValue]:
    """Return the summary of a rehearsal; nothing in it is taken from a claim.

    Args:
        results: the stages, as `anneal_results.json` holds them.
        promotion: where the policy stands.
        source: of the results, for errors.
    """
    decision = decide_anneal({"results": results, "promotion": promotion}, source)
    clones = [one for one in decision.results if one["mode"] == "bc"]
    updates = [one for one in decision.results if one["mode"] == "ppo"]
    flags = {f"{name}_flag": any(one.get(f"anneal_{name}_flag") is True for one in updates) for name in _FLAGS}
    return {
        "status": decision.status.upper(),
        "results": results,
        "promotion": promotion,
        "bc": dict(clones[-1]) if clones else None,
        "ppo": dict(updates[-1]) if updates else None,
        "bc_passed": not any(reason.startswith("bc_stage_failed") for reason in decision.reasons),
        **flags,
        "decision": str(decision.decision),
        "candidate_ready": decision.candidate_ready,
        "reasons": [*decision.reasons],
    }


def _train_options(options: RehearsalOptions) -> TrainOptions:
    said = load_config(options.config).config
    settings = () if said.schedule.get("stages") else (f"training.anneal_schedule={SCHEDULE}",)
    manifest = options.manifest
    if manifest is None:
        named = said.training.get("bc_manifest") or said.training.get("replay_manifest")
        if named is None:
            raise CommandError("a rehearsal learns from a data set: name it with --manifest, or `training.bc.manifest`")
        manifest = place_of(named, (), name="--manifest")
    return TrainOptions(
        config=options.config,
        mode="anneal",
        run_dir=options.run_dir,
        folder=options.log_dir,
        threads=options.threads,
        settings=settings,
        schedule=ScheduleOptions(replay_manifest=manifest, bc_manifest=manifest, anneal_log_dir=options.log_dir),
    )
