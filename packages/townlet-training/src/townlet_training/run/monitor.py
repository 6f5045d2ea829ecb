"""A run as seen from outside: its progress, the time that its parts took, and the request to stop."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from townlet_training.run.state import Played, TrainingState
from townlet_trajectory.evaluation.gates import GateResult
from townlet_trajectory.evaluation.results import EvaluationRecord, Stage


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
    seconds_left: float | None
    """Until the result is judged: updates, evaluations and the episodes of the end, each at the pace of those before.
    None until there was an update, and an evaluation."""
    last_return: float | None
    """Mean return of the last evaluation."""
    ratio: float
    """Of the last collection: the policy's share of the decisions."""
    evaluations: tuple[EvaluationRecord, ...]
    """So far, with their gates, in the order in which they were made."""
    failure: GateResult | None
    """The gate that ended the run; None: none has."""


class Play(NamedTuple):
    """Episodes that somebody is to play."""

    player: str
    """`learned` for every policy with weights, else the name of a behavior."""
    episodes: int


@dataclass(frozen=True, kw_only=True)
class WorkLeft:
    """What is left of a run as it is planned: no gate fails, and no pass of a promotion ends it early."""

    updates: int
    """Of equal length; of a round of DAgger, as many as its number, because it learns from those before too."""
    plays: Sequence[Play]


UPDATE_PARTS = ("warmup", "anneal", "ppo", "round")
"""Parts of a run's time that its updates take."""


class RunClock:
    """Monotonic seconds: of the run, by part, and of the episodes that were played.

    Attributes:
        played: by player, the episodes so far.
    """

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._before = 0.0
        self._parts: dict[str, float] = {}
        self.played: dict[str, Played] = {}

    @property
    def elapsed(self) -> float:
        """Seconds since the clock was made, and those before the run was resumed."""
        return self._before + time.perf_counter() - self._began

    @property
    def parts(self) -> dict[str, float]:
        """Seconds by part, in the order in which the parts began."""
        return dict(self._parts)

    def resume(self, state: TrainingState) -> None:
        """Count on from the seconds and episodes of the same run that `state` holds."""
        self._before, self._parts, self.played = state.elapsed, dict(state.timings), dict(state.played)

    def note(self, state: TrainingState) -> None:
        """Note the seconds and episodes so far in `state`, which is about to be saved."""
        state.elapsed, state.timings, state.played = self.elapsed, self.parts, dict(self.played)

    @contextlib.contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Add the time that the block takes to `part`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._parts[part] = self._parts.get(part, 0.0) + time.perf_counter() - began

    @contextlib.contextmanager
    def measure_play(self, play: Play) -> Iterator[None]:
        """Count the episodes of `play`, and the time that the block takes to play them."""
        began = time.perf_counter()
        yield
        before = self.played.get(play.player, Played())
        self.played[play.player] = Played(
            episodes=before.episodes + play.episodes, seconds=before.seconds + time.perf_counter() - began
        )

    def seconds_of(self, left: WorkLeft, *, num_updates: int) -> float | None:
        """Estimate the time of what is left.

            updates × (seconds / updates so far) + Σ episodes × (seconds / episodes of their player so far)

        A player that has not played takes as long as the mean of the others.

        Args:
            left: of the run.
            num_updates: that were made so far.

        Returns:
            Seconds; None where nothing is known yet of updates, or of episodes, that are left.
        """
        updating = sum(self._parts.get(part, 0.0) for part in UPDATE_PARTS)
        every = Played(
            episodes=sum(each.episodes for each in self.played.values()),
            seconds=sum(each.seconds for each in self.played.values()),
        )
        if (left.updates and not num_updates) or (left.plays and not every.episodes):
            return None
        playing = 0.0
        for player, episodes in left.plays:
            known = self.played.get(player, every)
            playing += episodes * known.seconds / known.episodes
        return left.updates * updating / max(num_updates, 1) + playing


def ignore(progress: Progress) -> None:
    """Watch nothing."""


class RunMonitor:
    """Reports the progress of a run to those who watch it, and ends the run where they ask it to stop.

    Attributes:
        clock: of the run.
        scoring: whether the result is exported and judged by now.
    """

    def __init__(
        self,
        *,
        on_progress: Callable[[Progress], None],
        stop: Callable[[], bool],
        left: Callable[[], WorkLeft],
    ) -> None:
        """Remember the arguments.

        Args:
            on_progress: called with every report.
            stop: asked whether the run should end.
            left: tells what is left of the run.
        """
        self.clock = RunClock()
        self.scoring = False
        self._on_progress = on_progress
        self._stop = stop
        self._left = left

    def report(self, state: TrainingState) -> None:
        """Report the progress of the run that `state` is of."""
        evaluations = state.history.evaluations
        self._on_progress(
            Progress(
                stage="judge" if self.scoring else state.stage,
                env_steps=state.env_steps,
                total_env_steps=state.config.planned_env_steps,
                env_steps_per_s=state.env_steps / max(self.clock.elapsed, 1e-9),
                seconds_left=self.clock.seconds_of(self._left(), num_updates=state.num_updates),
                last_return=evaluations[-1].return_mean if evaluations else None,
                ratio=state.ratio,
                evaluations=evaluations,
                failure=state.history.failure,
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
