"""`townlet train --live`: the page on a run while it trains, with a world of its own by the policy of now."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from townlet_runtime.cli.console import CommandError, Console, StopFlag, one_line, stop_on_signals
from townlet_runtime.cli.reports.following import Tail
from townlet_runtime.cli.running.page import import_server
from townlet_runtime.errors import SimulationError
from townlet_runtime.runs.directory import METRICS
from townlet_trajectory.evaluation.results import SCRIPTED, RunSummary

if TYPE_CHECKING:
    from townlet_runtime.cli.training.plan import TrainOptions, TrainPlan
    from townlet_runtime.live.run_feed import RunFeed
    from townlet_runtime.live.stage import Stage
    from townlet_runtime.policy.onnx import FilePolicy
    from townlet_runtime.simulation.interface import GroupedSimulation
    from townlet_runtime.training import DaggerRun, Progress, ScheduledRun, TrainingOrchestrator, Understudies

HOST = "127.0.0.1"
SPEED, MOST_SPEED = 10.0, 60.0
"""Ticks a second of the page's world: first, and at most, because it shares the processor with the run."""
_BETWEEN_S = 0.5
"""Least time between two copies of the weights."""
_GRACE_S = 5.0
"""For a page that is loaded again after the run."""
_NAP_S, _PATIENCE_S = 0.2, 10.0


def require_live(options: TrainOptions, *, many: bool) -> None:
    """Refuse a page where there is no one run that it could be on.

    Args:
        options: of the command.
        many: whether there are several runs.

    Raises:
        CommandError: names the option.
    """
    if options.run.live_port is not None and not options.run.live:
        raise CommandError("--live-port: has no effect without --live")
    if options.run.live and many:
        raise CommandError("--live: shows one run, and --seeds trains several; leave one of them out")


class SeenRun:
    """Tells a page of a run. Its methods belong to the thread that trains, and wait for nobody.

    Args:
        stage: the page's world, which another thread runs.
        console: of the command.
    """

    def __init__(self, stage: Stage, console: Console) -> None:
        from townlet_runtime.live.run_feed import RunFeed

        self._stage, self._console = stage, console
        self._tail: Tail | None = None
        self.feed: RunFeed = RunFeed(lambda: [] if self._tail is None else (line.text for line in self._tail.look()))
        self._understudies: Understudies | None = None
        self._due = 0.0
        self._over = False

    def begin(
        self,
        run: TrainingOrchestrator | DaggerRun | ScheduledRun,
        run_dir: Path,
        opponents: Mapping[str, FilePolicy] = {},
    ) -> None:
        """Let the policies of a run, which is about to begin, act in the page's world.

        Args:
            run: that was prepared.
            run_dir: whose log is shown.
            opponents: policies of the groups that are played by one from a file.
        """
        from townlet_runtime.training import understudies

        copies = self._understudies = understudies(run)
        actors = {**opponents, **copies.actors}

        def act() -> None:
            for group, runtime in self._stage.runtimes.items():
                if group in actors:
                    runtime.set_policy(actors[group])
                    runtime.set_anneal_ratio(1.0)

        self._stage.call(act)
        self._tail = Tail(run_dir / METRICS, numbered=False)

    def progress(self, progress: Progress) -> None:
        """Tell how far the run is, and hand its policies over where somebody watches."""
        from townlet_runtime.live.run_feed import Told, evaluations_told

        self.feed.tell(
            Told(
                stage=progress.stage,
                ratio=progress.ratio,
                left_s=progress.seconds_left,
                evaluations=evaluations_told(progress.evaluations, progress.failure),
            )
        )
        self._hand_over()

    def row(self, values: Mapping[str, Any]) -> None:
        """Tell of a run that tells nothing but the lines of its log."""
        self.feed.tell_row(values)
        self._hand_over()

    def _hand_over(self, *, now: bool = False) -> None:
        if self._understudies is None or (not now and not self._is_due()):
            return
        self._understudies.take()
        self._stage.call(self._understudies.show)
        self._due = time.monotonic() + _BETWEEN_S

    def _is_due(self) -> bool:
        return self._stage.watchers > 0 and time.monotonic() >= self._due

    def end(self, summary: RunSummary) -> None:
        """Tell how the run ended, and show the policy that it ended with."""
        self.feed.end(summary)
        self._hand_over(now=True)
        self._over = not summary.interrupted

    def stay(self) -> None:
        """Wait until nobody has the page open, or a signal comes; not at all without a terminal, or after a signal."""
        if not self._over or not self._stage.watchers or not sys.stderr.isatty():
            return
        self._console.note("the run has ended; the page stays until it is closed, or until Ctrl-C")
        with stop_on_signals() as stop:
            self._wait(stop)

    def _wait(self, stop: StopFlag) -> None:
        seen = time.monotonic()
        while not stop() and time.monotonic() - seen < _GRACE_S:
            if self._stage.watchers:
                seen = time.monotonic()
            time.sleep(_NAP_S)


@contextmanager
def seen_live(plan: TrainPlan, console: Console, *, has_world: bool) -> Iterator[SeenRun | None]:
    """Serve a page on a run while the block trains; None where none was asked for.

    Args:
        plan: of the run.
        console: says where the page is.
        has_world: whether the policy is one for the world of the plan.

    Raises:
        MissingExtraError: if the extra `live` is not installed.
        CommandError: if the run has no world that could be shown.
        ConfigError: if nobody can listen at the port.
    """
    if plan.page_port is None:
        yield None
        return
    if not has_world:
        raise CommandError("--live: shows a world, and this run has none that its data fits; name one with --env")
    import_server()
    from townlet_runtime.live.desk import Desk
    from townlet_runtime.live.hub import Hub
    from townlet_runtime.live.serve import served

    worlds = plan.worlds
    simulation = worlds.make(1) if worlds.towns is None else worlds.shown(worlds.towns(1))
    with closing(simulation):
        stage = _stage_of(simulation, plan)
        seen = SeenRun(stage, console)
        hub = Hub(stage, Desk(stage, has_policy=SCRIPTED in simulation.behaviors), mode="training", feed=seen.feed)
        with served(hub, host=HOST, port=plan.page_port) as address, _running(stage, console):
            console.note(f"open {address}")
            yield seen
            seen.stay()


def _stage_of(simulation: GroupedSimulation, plan: TrainPlan) -> Stage:
    from townlet_runtime.live.stage import Stage

    # Until the policies are there the script acts, or chance.
    runtimes, _ = plan.worlds.by_script(simulation, seed=plan.seed, recorded=None)
    return Stage(simulation, runtimes, seed=plan.seed, speed=SPEED, most_speed=MOST_SPEED, waits=True)


@contextmanager
def _running(stage: Stage, console: Console) -> Iterator[None]:
    """Let the page's world live in a thread of its own: what goes wrong there does not end the run."""
    ended = threading.Event()

    def run() -> None:
        try:
            stage.run(ended.is_set)
        except Exception as error:  # of somebody's world, whatever it is
            console.trace(error)
            fault = error if isinstance(error, SimulationError) else SimulationError(f"{type(error).__name__}: {error}")
            console.warning(f"--live: the page's world has failed, and the run goes on: {one_line(fault)}")

    thread = threading.Thread(target=run, name="townlet-live-world", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_PATIENCE_S)
