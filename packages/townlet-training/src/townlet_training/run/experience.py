"""The experience of a run: collected, counted, and gone on with where a resumed run was interrupted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from townlet_training.errors import ConfigError, ResumeError, TrainingError
from townlet_training.run.checkpoint import Checkpoint, SavedWorlds
from townlet_training.run.state import TrainingState
from townlet_trajectory.evaluation.interfaces import Actor, AheadCollector, Collected, Collector


class RunExperience:
    """Asks the collector of a run for its rows. The worlds of a resumed run are restored before its first collection:
    a run that is only to be scored again needs none."""

    def __init__(self, collector: Collector | None, *, run_dir: Path) -> None:
        """`run_dir` is named in errors; without a `collector` nothing can be collected."""
        self._collector = collector
        self._run_dir = run_dir
        self._resumed: Checkpoint | None = None
        """Its worlds have still to be restored."""

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on with the worlds of `checkpoint`."""
        self._resumed = checkpoint

    def save_state(self) -> SavedWorlds | None:
        """Return the state of the worlds; None where they cannot be saved, or where there are none."""
        if self._resumed is not None:
            return self._resumed.worlds
        return None if self._collector is None else self._collector.save_state()

    def collect(
        self,
        state: TrainingState,
        actors: Mapping[str, Actor] | None,
        *,
        num_ticks: int,
        ratios: Sequence[float],
    ) -> Collected:
        """Collect, and count the steps in `state`.

        Args:
            state: of the run.
            actors: policy of each agent group; None where the script acts alone.
            num_ticks: of every world.
            ratios: share of decisions that is given to the policy; then those of the collections that come next, which
                may begin now.

        Returns:
            The rows of all agent groups.

        Raises:
            ConfigError: if the collector does not have the configured worlds and groups, or cannot begin ahead.
            ResumeError: if the run was resumed, but its worlds could not be saved.
            TrainingError: if the run has no world.
        """
        if self._collector is None:
            raise TrainingError("this run has no world to collect in")
        if self._resumed is not None:
            if self._resumed.worlds is None:
                raise ResumeError(f"{self._run_dir}: the worlds of this run cannot be saved, so it cannot go on")
            self._collector.restore(self._resumed.worlds)
            self._resumed = None
        ratio, *ahead = ratios
        if not ahead:
            collected = self._collector.collect(actors, num_ticks=num_ticks, ratio=ratio)
        elif isinstance(self._collector, AheadCollector):
            collected = self._collector.collect(actors, num_ticks=num_ticks, ratio=ratio, ahead=ahead)
        else:
            raise ConfigError(f"`collect_ahead` needs a collector that can, got {type(self._collector).__name__}")
        state.count_collection(collected, num_ticks=num_ticks, ratio=ratio)
        return collected
