"""`townlet train --seeds`: runs that differ in their seed, each in a process of its own, and their comparison."""

from __future__ import annotations

import heapq
import math
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from townlet_behavior.errors import BehaviorError
from townlet_runtime.cli.console import (
    SUCCESS,
    CommandError,
    Console,
    Json,
    duration,
    one_line,
    signalled,
    stop_on_signals,
)
from townlet_runtime.cli.options import SeedList
from townlet_runtime.cli.threads import AUTO_THREADS, default_jobs, default_processes
from townlet_runtime.cli.training.plan import TrainOptions
from townlet_runtime.cli.training.recording import of_seed, shown
from townlet_runtime.cli.training.seen import require_live
from townlet_runtime.cli.views.comparison import compare_named, comparison_lines, comparison_record
from townlet_runtime.cli.worlds import Worlds, load
from townlet_runtime.errors import TownletError, require_report_extra
from townlet_runtime.runs.directory import CONFIG, MANIFEST
from townlet_trajectory.errors import TrajectoryError

_POLL_S = 0.5
_DONE = re.compile(r": ([\d,]+) of ([\d,]+) ")
"""Units done and all of them, in a line of progress."""
_LEFT = re.compile(r", (?:(\d+) h )?(?:(\d+) min )?(?:(\d+) s )?left\b")
"""Hours, minutes and seconds that are left, in such a line."""
_ONE_PLACE = ("--anneal-log-dir", "--ppo-log", "--rollout-save-dir")
"""Options that name a place to write to beside the run directory."""
_TAIL = 1 << 14
"""Bytes of a log that its last lines are looked for in."""
_WIDTH = 80


@dataclass(frozen=True, kw_only=True)
class _Command:
    """What was asked for."""

    train: TrainOptions
    """Of each run, and the folder of all of them as directory."""
    seeds: SeedList
    jobs: int | None
    """None: the default."""
    arguments: Sequence[str]
    """The options that each run is given, as they are typed."""

    @property
    def threads(self) -> list[str]:
        """The threads of each run as they are typed; nothing where the rule holds."""
        asked = self.train.threads
        return [] if asked is None else ["--threads", "auto" if asked == AUTO_THREADS else str(asked)]

    @property
    def places(self) -> int:
        """Runs that are alive at once."""
        return default_jobs(self.train.threads) if self.jobs is None else self.jobs


@dataclass(kw_only=True)
class SeedRun:
    """One of the runs, from the moment on at which it is waited for."""

    seed: int
    path: Path
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    code: int | None = None
    """Its exit code; None: not ended, or not begun."""
    begun: float = math.nan
    took: float = 0.0
    """Seconds, once it has ended."""

    @property
    def log(self) -> Path:
        """What it printed."""
        return self.path.with_name(f"{self.path.name}.log")

    @property
    def finished(self) -> bool:
        """Whether its directory is complete."""
        return (self.path / MANIFEST).exists()


@dataclass(kw_only=True)
class SeedPool:
    """The runs, of which so many are alive at once; each is waited for by a thread."""

    runs: Sequence[SeedRun]
    jobs: int
    unchanged: Callable[[], bool]
    """Whether the config file is still what it was."""
    stopped: bool = field(default=False)

    def start(self, run: SeedRun) -> None:
        """Carry one run out, unless the end was asked for before."""
        if self.stopped:
            return
        run.begun = time.monotonic()
        with run.log.open("ab") as log:
            if not self.unchanged():
                log.write(b"townlet: error: the config was changed while other runs were going; not begun\n")
                run.code = 2
                return
            # In a session of its own, for Ctrl-C in a terminal to reach this process alone, which passes it on once.
            run.process = subprocess.Popen(
                run.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        if self.stopped:
            run.process.terminate()
        number = run.process.wait()
        run.code = number if number >= 0 else signalled(-number)
        run.took = time.monotonic() - run.begun

    def stop(self) -> None:
        """Ask every run to end where it can be resumed, and begin no other."""
        self.stopped = True
        for run in self.runs:
            if run.process is not None and run.code is None:
                run.process.terminate()

    def kill(self) -> None:
        """End every run at once; its newest checkpoint stays."""
        self.stopped = True
        for run in self.runs:
            if run.process is not None and run.code is None:
                run.process.kill()


def train_one_or_many(
    train: TrainOptions, seeds: SeedList | None, jobs: int | None, arguments: Sequence[str], console: Console
) -> int:
    """Train one run, or with each of `seeds`; then print the comparison, and return the worst of the exit codes.

    Args:
        train: the options of each run; its directory is that of all of them.
        seeds: of the runs; None: one run, with the seed of `train`.
        jobs: runs side by side; None: as many as the CPUs carry.
        arguments: the options that each run is given, as they are typed.
        console: prints.

    Raises:
        CommandError: if an option contradicts another one.
    """
    require_live(train, many=seeds is not None)
    if seeds is None and jobs is None:
        from townlet_runtime.cli.commands.train import train_policy

        return train_policy(train, console)
    if seeds is None:
        raise CommandError("--jobs: runs side by side are those of --seeds; leave it out")
    if train.seed is not None:
        raise CommandError(f"--seed {train.seed}: --seeds names all of them; leave it out")
    if len(seeds.seeds) > 1 and (shared := [each for each in arguments if each in _ONE_PLACE]):
        raise CommandError(f"{shared[0]}: several runs would write to the same place; leave it out")
    options = _Command(train=train, seeds=seeds, jobs=jobs, arguments=arguments)
    # Refused once, before any run is begun.
    worlds = Worlds.of(load(train.config, train.settings, train.overrides(), console).config, train.world)
    worlds.make(1).close()
    require_report_extra()
    folder = _folder(train, seeds)
    folder.mkdir(parents=True, exist_ok=True)
    runs = [_run(options, folder, seed) for seed in seeds.seeds]
    waiting = [run for run in runs if not run.finished]
    pool = SeedPool(runs=waiting, jobs=options.places, unchanged=_unchanged(train.config))
    with stop_on_signals() as stop, console.lines() as show:
        carry_out(pool, stop, show)
    if stop():
        left = [run.seed for run in runs if not run.finished]
        console.note(f"stopped with {len(runs) - len(left)} of {len(runs)} runs finished; the others can be resumed")
        console.note(f"go on with: {_resume_command(options, folder)}")
        return stop.code
    return _finish(runs, folder, console)


def _folder(train: TrainOptions, seeds: SeedList) -> Path:
    """The folder of the runs: that to go on with, or one that is free.

    Raises:
        CommandError: if it holds a single run.
    """
    if train.resume is not None:
        if (train.resume / CONFIG).exists():
            raise CommandError(f"--resume {train.resume}: the directory of one run, not of several; leave --seeds out")
        return train.resume
    if train.run_dir is not None:
        return train.run_dir
    return Path("runs") / f"{datetime.now():%Y%m%d-%H%M%S}-seeds-{seeds.text}"


def _run(options: _Command, folder: Path, seed: int) -> SeedRun:
    path = folder / f"seed-{seed}"
    command = [sys.executable, "-P", "-m", "townlet_runtime", "train"]
    if (path / CONFIG).exists():
        command += ["--resume", str(path)]
    else:
        config = [] if options.train.config is None else [str(options.train.config)]
        command += [*config, "--run-dir", str(path), "--seed", str(seed)]
    command += [*options.threads, *options.arguments, *of_seed(options.train.run.record, seed)]
    if "--processes" not in options.arguments:
        command += ["--processes", str(default_processes((options.train.threads or 1) * options.places))]
    return SeedRun(seed=seed, path=path, command=command)


def _unchanged(config: Path | None) -> Callable[[], bool]:
    before = None if config is None else config.read_bytes()
    return lambda: config is None or config.read_bytes() == before


def carry_out(pool: SeedPool, stop: Callable[[], bool], show: Callable[[Sequence[str]], None]) -> None:
    """Keep `jobs` runs alive until all have ended, or until the end is asked for.

    Args:
        pool: the runs, and how many are alive at once.
        stop: asked repeatedly; once true, runs that are alive are told to end, and no other is begun.
        show: called repeatedly, with a line for each run that is alive and one for all of them.
    """
    with ThreadPoolExecutor(max_workers=pool.jobs) as threads:
        pending: set[Future[None]] = {threads.submit(pool.start, run) for run in pool.runs}
        try:
            while pending:
                ended, pending = wait(pending, timeout=_POLL_S)
                for each in ended:
                    each.result()
                if stop() and not pool.stopped:
                    pool.stop()
                show(progress_lines(pool.runs, pool.jobs, time.monotonic()))
        except BaseException:
            pool.kill()
            raise


def progress_lines(runs: Sequence[SeedRun], jobs: int, now: float) -> list[str]:
    """Return a line for each run that is alive, and one for all of them.

    Args:
        runs: all of them.
        jobs: how many are alive at once.
        now: as `time.monotonic`.
    """
    alive = [run for run in runs if run.process is not None and run.code is None]
    ended = sum(run.code is not None for run in runs)
    lines = [f"seed {run.seed}: {_newest(run.log)}"[:_WIDTH] for run in alive]
    left = time_left(
        ended=[run.took for run in runs if run.code is not None and run.took > 0.0],
        alive=[(now - run.begun, _share(run.log, now - run.begun)) for run in alive],
        waiting=len(runs) - ended - len(alive),
        jobs=jobs,
    )
    words = "" if left is None else f", about {duration(left)} left"
    return [*lines, f"{ended} of {len(runs)} runs ended{words}"]


def time_left(*, ended: Sequence[float], alive: Sequence[tuple[float, float]], waiting: int, jobs: int) -> float | None:
    """Estimate the seconds until the last of some runs ends, each of which takes as long as those before.

    A run that is alive takes (seconds so far) / (share done), and one that waits as long as the mean of all others; it
    begins where the first of `jobs` places gets free.

    Args:
        ended: seconds that each of the runs took that have ended.
        alive: seconds so far, and share that is done, in [0, 1], of each run that is alive.
        waiting: runs that have not begun.
        jobs: places.

    Returns:
        The estimate; None where nothing is known yet of a run that is alive.
    """
    if any(share <= 0.0 for _, share in alive):
        return None
    whole = [so_far / share for so_far, share in alive]
    known = [*ended, *whole]
    places = [total - so_far for total, (so_far, _) in zip(whole, alive, strict=True)]
    places += [0.0] * (min(jobs, waiting + len(alive)) - len(places))
    heapq.heapify(places)
    for _ in range(waiting):
        if not known:
            return None
        heapq.heapreplace(places, places[0] + sum(known) / len(known))
    return max(places, default=0.0)


def _share(log: Path, so_far: float) -> float:
    """Return the share of a run that is done after `so_far` seconds, by its newest line of progress.

    It is that of the time, where the line says how much of it is left; else that of the steps. Without a line it is 0.
    """
    for line in reversed(_lines(log)):
        if found := _DONE.search(line):
            if left := _LEFT.search(line):
                hours, minutes, seconds = (int(number or 0) for number in left.groups())
                rest = 3600 * hours + 60 * minutes + seconds
                return so_far / (so_far + rest) if so_far > 0.0 else 0.0
            done, total = (int(number.replace(",", "")) for number in found.groups())
            return done / total if total > 0 else 0.0
    return 0.0


def _newest(log: Path) -> str:
    """The newest line of progress; before the first, the newest line of any kind."""
    lines = _lines(log)
    return next((line for line in reversed(lines) if _DONE.search(line)), lines[-1] if lines else "begins")


def _lines(log: Path) -> list[str]:
    """The last lines of a log that say something."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - _TAIL))
            text = stream.read().decode(errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()]


def _resume_command(options: _Command, folder: Path) -> str:
    """The command that goes on with all runs; with all options, as a run may not have begun, and no file names code."""
    config = [] if options.train.config is None else [str(options.train.config)]
    jobs = [] if options.jobs is None else ["--jobs", str(options.jobs)]
    parts = ["townlet", "train", *config, "--resume", str(folder), "--seeds", options.seeds.text, *jobs]
    return shlex.join([*parts, *options.threads, *options.arguments, *shown(options.train.run.record)])


def _finish(runs: Sequence[SeedRun], folder: Path, console: Console) -> int:
    """Name the runs that failed, print the comparison of the others, and return the worst exit code."""
    for run in runs:
        if run.code is not None and run.code >= _FAILED:
            console.warning(f"seed {run.seed} failed with exit code {run.code}: {_reason(run)}")
    finished = [run.path for run in runs if run.finished]
    comparison: Json = None
    lines = []
    if finished:
        try:
            found = compare_named(finished, ())
        except (TownletError, BehaviorError, TrajectoryError) as error:
            console.warning(f"no comparison: {one_line(error)}")
        else:
            comparison, lines = comparison_record(found), comparison_lines(found)
            for warning in found.warnings:
                console.warning(warning)
    record: dict[str, Json] = {
        "run_dir": str(folder),
        "runs": [{"seed": run.seed, "run_dir": str(run.path), "exit_code": run.code or SUCCESS} for run in runs],
        "comparison": comparison,
    }
    console.result(record, [*lines, *([""] if lines else []), f"runs: {folder}"])
    return max((run.code or SUCCESS for run in runs), default=SUCCESS)


_FAILED = 2
"""Least exit code of a run that has no results; 1 says that it ended with a policy that was not promoted."""


def _reason(run: SeedRun) -> str:
    errors = [line for line in _lines(run.log) if line.startswith("townlet: error: ")]
    return f"{errors[-1].removeprefix('townlet: error: ')}; see {run.log}" if errors else f"see {run.log}"


def require_seeds(folder: Path) -> None:
    """Refuse to resume a folder of runs as one run.

    Raises:
        CommandError: says how the runs in it are resumed.
    """
    if not (folder / CONFIG).exists() and any(folder.glob(f"seed-*/{CONFIG}")):
        raise CommandError(
            f"--resume {folder}: a folder of several runs; say --seeds, and the options that they were begun with"
        )
