"""A run as seen from outside: its progress, the time that its parts took, and the request to stop."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from townlet_training.run.state import TrainingState
from townlet_trajectory.evaluation.results import Stage


class Interrupted(Exception):
    """The run was asked to stop."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Progress of a run, for those who watch it."""

    stage: Stage | Literal["judge"]
    """Of the plan, or `judge` while the result is exported and judged."""
    env_steps: int
    total_env_steps: int
    env_steps_per_s: float
    """Over the run so far, evaluations included."""
    seconds_left: float
    """Until `total_env_steps`, at that rate."""
    last_return: float | None
    """Mean return of the last evaluation."""


class RunClock:
    """Monotonic seconds: of the run, and by part."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._before = 0.0
        self._parts: dict[str, float] = {}

    @property
    def elapsed(self) -> float:
        """Seconds since the clock was made, and those before the run was resumed."""
        return self._before + time.perf_counter() - self._began

    @property
    def parts(self) -> dict[str, float]:
        """Seconds by part, in the order in which the parts began."""
        return dict(self._parts)

    def resume(self, elapsed: float, parts: Mapping[str, float]) -> None:
        """Count on from `elapsed` seconds of the same run, and from `parts` of them."""
        self._before = elapsed
        self._parts = dict(parts)

    @contextlib.contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Add the time that the block takes to `part`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._parts[part] = self._parts.get(part, 0.0) + time.perf_counter() - began

    def progress(
        self, *, stage: Stage | Literal["judge"], env_steps: int, total_env_steps: int, last_return: float | None
    ) -> Progress:
        """Compute the progress of the run.

        Args:
            stage: of the plan, or `judge`.
            env_steps: world steps made.
            total_env_steps: of the whole run.
            last_return: mean return of the last evaluation.

        Returns:
            The progress, at the rate of the run so far.
        """
        rate = env_steps / max(self.elapsed, 1e-9)
        return Progress(
            stage=stage,
            env_steps=env_steps,
            total_env_steps=total_env_steps,
            env_steps_per_s=rate,
            seconds_left=max(0, total_env_steps - env_steps) / max(rate, 1e-9),
            last_return=last_return,
        )


def ignore(progress: Progress) -> None:
    """Watch nothing."""


class RunMonitor:
    """Reports the progress of a run to those who watch it, and ends the run where they ask it to stop.

    Attributes:
        clock: of the run.
        scoring: whether the result is exported and judged by now.
    """

    def __init__(self, *, on_progress: Callable[[Progress], None], stop: Callable[[], bool]) -> None:
        """Remember the arguments.

        Args:
            on_progress: called with every report.
            stop: asked whether the run should end.
        """
        self.clock = RunClock()
        self.scoring = False
        self._on_progress = on_progress
        self._stop = stop

    def report(self, state: TrainingState) -> None:
        """Report the progress of the run that `state` is of."""
        evaluations = state.history.evaluations
        self._on_progress(
            self.clock.progress(
                stage="judge" if self.scoring else state.stage,
                env_steps=state.env_steps,
                total_env_steps=state.config.total_env_steps,
                last_return=evaluations[-1].return_mean if evaluations else None,
            )
        )

    def before_evaluation(self, state: TrainingState) -> None:
        """Report where the result is judged by now; raise `Interrupted` if the run was asked to stop."""
        if self.scoring:
            self.report(state)
        self.stop_if_asked()

    def stop_if_asked(self) -> None:
        """Raise `Interrupted` if the run was asked to stop."""
        if self._stop():
            raise Interrupted
