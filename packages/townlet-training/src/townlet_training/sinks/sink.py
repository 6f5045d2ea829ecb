"""The sinks of one run: what they are asked to write, by the names that RL has for it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

from townlet_training.errors import ConfigError, TrainingError
from townlet_training.sinks.episodes import EpisodeWindow
from townlet_trajectory.evaluation.interfaces import Collected
from townlet_trajectory.evaluation.results import EvaluationRecord
from townlet_trajectory.storage.entry_points import load_registered, registered_names

GROUP = "townlet.metrics"
"""Entry point group: functions of a run directory, and of `begun_at`, that return a `MetricsSink`."""

RL_NAMES: Mapping[str, str] = {
    "loss_policy": "train/policy_gradient_loss",
    "loss_value": "train/value_loss",
    "loss_total": "train/loss",
    "kl_divergence": "train/approx_kl",
    "clip_fraction": "train/clip_fraction",
    "explained_variance": "train/explained_variance",
    "lr": "train/learning_rate",
    "updates": "train/n_updates",
    "grad_norm": "train/grad_norm",
    "env_steps": "time/total_timesteps",
    "env_steps_per_s": "time/fps",
    "wall_time_s": "time/time_elapsed",
}
"""By key of the log, the name in Stable-Baselines3. `train/entropy_loss` is the entropy with its sign changed."""
OWN = "townlet/"
"""Beginning of the names of other keys."""
OWN_KEYS = (
    "ratio",
    "decision_share_learned",
    "tick_share_learned",
    "tick_share_scripted",
    "vetoes",
    "kickstart_coef",
    "loss_kickstart",
    "num_decisions",
    "truncated_share",
    "reward_mean",
)
BY_NAME = ("events/", "reward/")
"""Beginnings of keys that are handed on as they are."""


class MetricsSink(Protocol):
    """Takes the metrics of one run as they come."""

    def write(self, values: Mapping[str, float], *, step: int) -> None:
        """Take numbers of one moment.

        Args:
            values: finite, by name, such as `train/approx_kl`.
            step: world steps so far. What a broken run wrote of later ones comes again when it is resumed.
        """
        ...

    def close(self) -> None:
        """Write the rest; nothing comes after that."""
        ...


class RunSinks:
    """The sinks of one run, open between `begin` and the end of the `with` block.

    Args:
        names: of sinks in the entry point group `townlet.metrics`.
        run_dir: of the run.

    Raises:
        ConfigError: if no package registered one of them.
        RegistrationError: if one cannot be imported.
    """

    def __init__(self, names: Sequence[str], run_dir: Path) -> None:
        self._run_dir = run_dir
        self._makers = {name: _maker(name) for name in names}
        self._sinks: dict[str, MetricsSink] = {}
        self._windows: dict[str, EpisodeWindow] = {}
        self._resumed = False

    def __enter__(self) -> RunSinks:
        """Open nothing yet: `begin` does."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close every sink."""
        for name, sink in self._sinks.items():
            with _blamed(name):
                sink.close()
        self._sinks.clear()

    def begin(self, *, begun_at: int) -> None:
        """Open the sinks of a run that has made `begun_at` world steps.

        Raises:
            TrainingError: names a sink that cannot be opened.
        """
        self._resumed = begun_at > 0
        for name, make in self._makers.items():
            with _blamed(name):
                self._sinks[name] = make(self._run_dir, begun_at=begun_at)

    def update(self, lines: Sequence[Mapping[str, object]], collected: Collected | None) -> None:
        """Write the lines of one update, one of each agent group.

        Args:
            lines: of the log.
            collected: what was learned from; None: recorded steps.

        Raises:
            TrainingError: names a sink that fails.
        """
        for line in lines if self._sinks else ():
            group = line.get("group")
            values = rl_values(line)
            if collected is not None:
                batches = collected.batches
                batch = next(iter(batches.values())) if group is None else batches[str(group)]
                window = self._windows.setdefault(str(group), EpisodeWindow(resumed=self._resumed))
                window.add(batch)
                values |= window.means
            prefix = "" if group is None else f"{group}/"
            self._write({f"{prefix}{name}": value for name, value in values.items()}, int(str(line["env_steps"])))

    def evaluation(self, record: EvaluationRecord) -> None:
        """Write the scores of an evaluation."""
        values = {"eval/mean_reward": record.return_mean, f"{OWN}eval_ratio": record.ratio}
        if record.normalized is not None:
            values["eval/normalized"] = record.normalized
        self._write(values, record.env_steps)

    def _write(self, values: Mapping[str, float], step: int) -> None:
        for name, sink in self._sinks.items():
            with _blamed(name):
                sink.write(values, step=step)


def rl_values(line: Mapping[str, object]) -> dict[str, float]:
    """Return the numbers of a line of the log by the names of RL; what is null is left out."""
    named = {**RL_NAMES, **{key: f"{OWN}{key}" for key in OWN_KEYS}}
    named |= {key: key for key in line if key.startswith(BY_NAME)}
    found = {name: float(value) for key, name in named.items() if isinstance(value := line.get(key), int | float)}
    entropy = line.get("loss_entropy")
    if isinstance(entropy, int | float):
        found["train/entropy_loss"] = -float(entropy)
    return {name: value for name, value in found.items() if math.isfinite(value)}


class _Maker(Protocol):
    def __call__(self, run_dir: Path, /, *, begun_at: int) -> MetricsSink: ...


def _maker(name: str) -> _Maker:
    found = load_registered(GROUP, name)
    if found is None:
        known = ", ".join(registered_names(GROUP)) or "none"
        raise ConfigError(f"no sink of metrics `{name}` is registered in `{GROUP}` (there are: {known})")
    if not callable(found):
        raise ConfigError(f"the sink of metrics `{name}` must be a function of a run directory, got {found!r:.80}")
    make: _Maker = found
    return make


@contextlib.contextmanager
def _blamed(name: str) -> Iterator[None]:
    """Name the sink in whatever its own code raises."""
    try:
        yield
    except TrainingError:
        raise
    except Exception as error:  # somebody else's code
        raise TrainingError(f"the sink of metrics `{name}`: {type(error).__name__}: {error}") from error
