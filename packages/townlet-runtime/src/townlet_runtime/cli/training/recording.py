"""The option `--record` of `townlet train`: where a run records what it collects, and what refuses it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from townlet_runtime.cli.console import CommandError
from townlet_runtime.cli.recording import SHARDS, SinkTarget, parse_target
from townlet_runtime.config.dump import noted
from townlet_runtime.runs.directory import require_writable
from townlet_trajectory import DatasetInfo
from townlet_trajectory.storage.urls import Place, Url

if TYPE_CHECKING:
    from townlet_runtime.cli.training.plan import TrainPlan
    from townlet_runtime.training import TrainingConfig
    from townlet_runtime.workers.recording import RunRecord


def place_named(text: str | None) -> Place | None:
    """Parse the value of `--record`: `DIR`, `shards:DIR` or a URL; None where it was not given.

    Raises:
        CommandError: if another format or a sink is named.
        ArtifactError: if a URL is none that is opened.
    """
    if text is None:
        return None
    target = parse_target(text)
    if isinstance(target, SinkTarget) or target.format not in (None, SHARDS):
        form = f"the sink `{target.name}`" if isinstance(target, SinkTarget) else target.format
        raise CommandError(f"--record {target.place}: what a run collects is written as shards, got {form}")
    return target.folder


def of_seed(text: str | None, seed: int) -> list[str]:
    """Return the option for one of several runs, as it is typed: each records in a folder of its own."""
    place = place_named(text)
    if place is None:
        return []
    own = place / f"seed-{seed}"
    return ["--record", own.text if isinstance(own, Url) else str(own)]


def shown(text: str | None) -> list[str]:
    """Return the option as it can be shown: of a URL without what may be secret."""
    place = place_named(text)
    return [] if place is None else ["--record", str(place)]


def record_of_run(plan: TrainPlan, training: TrainingConfig, opened: ExitStack) -> RunRecord | None:
    """Make the record of a run; nothing is written yet.

    Args:
        plan: of the run, with its config written out.
        training: its settings.
        opened: lists what was collected where its block ends without an exception; workers must have ended by then.

    Returns:
        The record; None where nothing is recorded.

    Raises:
        CommandError: if the run collects nothing.
        SimulationError: if there are more collections or units than a dataset can list.
        ArtifactError, RunDirectoryError: if the place of a new record holds one, or cannot be written to.
    """
    if plan.record is None:
        return None
    from townlet_runtime.training_worlds import record_of

    place = plan.record.place
    if plan.environment is None:
        raise CommandError(f"--record {place}: the run has no world to collect in")
    if plan.mode == "bc" and plan.data is not None:
        raise CommandError(f"--record {place}: mode bc clones --data, and collects nothing")
    info = DatasetInfo(
        notes={
            "environment": plan.worlds.environment,
            "controller": plan.worlds.controller,
            "guardrails": [*plan.worlds.guardrails],
            "config_id": plan.config.config_id,
            "config": noted(plan.config),
        }
    )
    record = record_of(training, plan.record, plan.specs, info=info)
    if plan.begun is None:
        if not isinstance(place, Url):
            require_writable(place)
        record.require_free()
    return opened.enter_context(record)
