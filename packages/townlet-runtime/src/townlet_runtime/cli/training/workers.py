"""The workers of `townlet train`: who has some, and what they are told."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from townlet_runtime.cli.console import CommandError
from townlet_runtime.cli.threads import default_processes
from townlet_runtime.training_worlds import Workers
from townlet_runtime.workers.links import ProcessLink
from townlet_runtime.workers.messages import Message
from townlet_runtime.workers.pool import WorkerPool

if TYPE_CHECKING:
    from townlet_runtime.cli.training.plan import TrainPlan
    from townlet_runtime.training import TrainingConfig

COMMAND = [sys.executable, "-P", "-m", "townlet_runtime.cli.training.worker"]
WORTH_TICKS = 50_000
"""World ticks of the final score from which on a second process is worth its beginning, which takes seconds."""


def workers_of(plan: TrainPlan, training: TrainingConfig) -> Workers | None:
    """Begin the workers of a run; None where its own process does everything.

    Workers collect where `--workers` asks for them, or a run collects ahead. Else there may be one that plays episodes
    beside this process: where `--processes 2` asks for it; unless that is said, where the CPUs carry it and there is
    enough to play. A run without a world has none.

    Args:
        plan: of the run, with its config written out.
        training: its settings.

    Returns:
        Workers whose pool is to be closed.

    Raises:
        CommandError: if workers are asked for, and the run has no world.
    """
    # Somebody has to collect while this process learns.
    count = plan.workers or min(training.collect_ahead, 1)
    if plan.ray is not None and not plan.workers:
        raise CommandError(f"--ray {plan.ray}: say with --workers how many workers the cluster is to have")
    asked = f"--workers {plan.workers}" if plan.workers else f"training.collect_ahead={training.collect_ahead}"
    if count and plan.environment is None:
        raise CommandError(f"{asked}: the run has no world to collect in")
    size = count or (0 if plan.environment is None else _players(plan, training))
    if not size:
        return None
    if count and plan.ray is not None:
        return Workers(pool=_on_cluster(plan.ray, size, plan), collect=True)
    pool = WorkerPool(lambda place: ProcessLink(COMMAND), size, _worlds_of(plan), timeout_s=plan.worker_timeout)
    return Workers(pool=pool, collect=count > 0)


def _on_cluster(address: str, size: int, plan: TrainPlan) -> WorkerPool:
    from townlet_runtime.cli.training.worker import workplace
    from townlet_runtime.workers.ray_cluster import RayCluster

    cluster = RayCluster(address, num_cpus=size, place=workplace)
    return WorkerPool(
        lambda place: cluster.link(),
        size,
        _worlds_of(plan),
        timeout_s=plan.worker_timeout,
        shares_memory=False,
        on_close=cluster.close,
    )


def _players(plan: TrainPlan, training: TrainingConfig) -> int:
    """How many processes play episodes beside that of the run."""
    ticks = (len(training.baselines) + 2) * training.final_episodes
    ticks *= max(spec.episode_ticks for spec in plan.specs.values())
    processes = plan.processes
    if processes is None:
        processes = default_processes(plan.threads) if ticks >= WORTH_TICKS else 1
    return processes - 1


def _worlds_of(plan: TrainPlan) -> Message:
    """The first message to a worker."""
    return {
        **plan.worlds.message(plan.config),
        "mode": plan.mode,
        "seed": plan.seed,
        "behaviors": plan.behaviors if plan.compares else (),
        "threads": plan.threads,
        "record": None if plan.record is None else plan.record.message(),
    }
