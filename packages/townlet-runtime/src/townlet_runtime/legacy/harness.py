"""The original's training classes, over the bodies of the commands."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from townlet_runtime.cli.commands.capture import Origin, record_world, with_seed_agents, write_recording
from townlet_runtime.cli.console import CommandError, ResultKeeper
from townlet_runtime.cli.recording import parse_target
from townlet_runtime.cli.training.plan import TrainOptions
from townlet_runtime.cli.training.schedule_options import ScheduleOptions
from townlet_runtime.cli.world_options import WorldOptions
from townlet_runtime.cli.worlds import Worlds
from townlet_runtime.config import Config, dump_config
from townlet_runtime.plain.settings import ConfigLike, read_settings, seed_of
from townlet_runtime.runs.directory import METRICS
from townlet_runtime.simulation.interface import AGENTS
from townlet_trajectory import PromotionRegistry, TrajectoryBatch
from townlet_trajectory.evaluation.anneal_results import reasons_of, status_of
from townlet_trajectory.formats.captures.directory import DEFAULT_PREFIX
from townlet_trajectory.storage.json import JsonValue, parse_object
from townlet_trajectory.storage.yaml import dump_yaml

log = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]


class _Silent(ResultKeeper):
    """Keeps the result of a command, and logs warnings."""

    def __init__(self) -> None:
        # Not as `Console` begins: that sets up the log of a whole process.
        self.json, self.verbose, self.quiet = True, False, True

    def warning(self, message: str) -> None:
        log.warning("%s", message)


@dataclass(frozen=True, kw_only=True)
class LastPromotion:
    """Where the policy of the last schedule stands; what is live is kept by `PromotionRegistry`."""

    values: Mapping[str, JsonValue] = field(default_factory=dict)

    def snapshot(self) -> dict[str, JsonValue]:
        """Return it by the original's keys; empty before the first schedule."""
        return dict(self.values)


class PolicyTrainingOrchestrator:
    """Trains in the town, or on records, as the original's class of this name did.

    Each training leaves a run directory. What takes its place: `townlet train`, and
    `townlet_training.TrainingOrchestrator` for worlds of your own.

    Args:
        config: a `Config`, the content of a config file, or its path.
        run_dir: folder of the run directories.

    Raises:
        ConfigError: if the config is wrong.
    """

    def __init__(self, config: ConfigLike, *, run_dir: PathLike = "runs") -> None:
        _warn(type(self).__name__, "`townlet train`, or townlet_training.TrainingOrchestrator")
        self._settings = read_settings(config)
        self._config = config
        self._folder = Path(run_dir)
        self._status: str | None = None
        self._promotion = LastPromotion()
        self.last_run_dir: Path | None = None
        """Directory of the last run; None before the first."""

    @property
    def last_anneal_status(self) -> str | None:
        """`PASS`, `HOLD` or `FAIL` of the last schedule; None before the first."""
        return self._status

    @property
    def promotion(self) -> LastPromotion:
        """Where the policy of the last schedule stands."""
        return self._promotion

    def run_replay_dataset(self, dataset_config: PathLike) -> dict[str, float]:
        """Return what the last batch of a record holds; nothing is trained.

        Args:
            dataset_config: a manifest, or any other data set.
        """
        record = self._train("replay", ScheduleOptions(replay_manifest=Path(dataset_config)))
        return dict(record["batches"][-1])

    def capture_rollout(
        self,
        ticks: int,
        auto_seed_agents: bool = False,
        output_dir: PathLike | None = None,
        prefix: str = DEFAULT_PREFIX,
        compress: bool = True,
    ) -> TrajectoryBatch:
        """Let the town live by its script, and return all that happened.

        Args:
            ticks: to live, at least 1.
            auto_seed_agents: if no agent is placed, add alice, bob and a stove.
            output_dir: to write a capture to; None: nothing is written.
            prefix: of the names of its files.
            compress: of no effect: samples are always compressed.
        """
        config = with_seed_agents(self._settings) if auto_seed_agents else self._settings
        worlds = Worlds.of(config, WorldOptions())
        if worlds.towns is None:
            raise CommandError(f"expected the town, got {worlds.environment}")
        seed = seed_of(config)
        batches, specs, policies = record_world(worlds, ticks=ticks, seed=seed)
        if output_dir is not None:
            path = None if isinstance(self._config, Config | Mapping) else Path(self._config)
            origin = Origin(config=config, path=path, worlds=worlds, policies=policies, ticks=ticks, seed=seed)
            write_recording(parse_target(os.fspath(output_dir)), batches, specs, origin, prefix=prefix)
        return batches[AGENTS]

    def run_rollout_ppo(
        self,
        ticks: int,
        batch_size: int = 1,
        auto_seed_agents: bool = False,
        output_dir: PathLike | None = None,
        epochs: int = 1,
        log_path: PathLike | None = None,
        log_frequency: int = 1,
        max_log_entries: int | None = None,
    ) -> dict[str, Any]:
        """Train on rollouts of the policy itself, and return the last line of the log.

        Args:
            ticks: of each rollout.
            batch_size: trajectories in a batch.
            auto_seed_agents: if no agent is placed, add alice, bob and a stove.
            output_dir: to write the last rollout to, as a capture; None: it is not written.
            epochs: updates, each on a rollout of its own.
            log_path: to append the log's lines to; None: the run directory alone has them.
            log_frequency: write every so-many-th line only.
            max_log_entries: lines of a file; None: no bound.
        """
        options = ScheduleOptions(
            rollout_ticks=ticks,
            replay_batch_size=batch_size,
            rollout_auto_seed_agents=auto_seed_agents,
            rollout_save_dir=_path(output_dir),
            epochs=epochs,
            ppo_log=_path(log_path),
            ppo_log_frequency=log_frequency,
            ppo_log_max_entries=max_log_entries,
        )
        return _last_line(self._train("rollout", options))

    def run_bc_training(self, *, manifest: PathLike | None = None) -> dict[str, Any]:
        """Clone a record, and return `loss`, held-out `accuracy`, `mode` and `manifest`.

        Args:
            manifest: or any other data set; None: `training.bc.manifest` of the config.
        """
        named = self._settings.training.get("bc_manifest") if manifest is None else manifest
        if named is None:
            raise CommandError("expected a manifest to clone, as an argument or as `training.bc.manifest`")
        record = self._train("bc", ScheduleOptions(bc_manifest=Path(named)))
        return {name: record[name] for name in ("loss", "accuracy", "mode", "manifest")}

    def run_anneal(
        self,
        *,
        dataset_config: PathLike | None = None,
        log_dir: PathLike | None = None,
        bc_manifest: PathLike | None = None,
    ) -> list[dict[str, Any]]:
        """Carry out the schedule of the config, and return the results of its stages.

        Args:
            dataset_config: record for PPO; None: `training.replay_manifest` of the config.
            log_dir: to write `anneal_results.json` to; None: it is not written.
            bc_manifest: data to clone; None: `training.bc.manifest` of the config.
        """
        if not self._settings.schedule.get("stages"):
            raise CommandError("expected stages in `training.anneal_schedule`, got none")
        with TemporaryDirectory() as unwanted:
            options = ScheduleOptions(
                replay_manifest=_path(dataset_config),
                bc_manifest=_path(bc_manifest),
                anneal_log_dir=Path(unwanted) if log_dir is None else Path(log_dir),
            )
            record = self._train("anneal", options)
        self._status = record["status"]
        self._promotion = LastPromotion(values=record["promotion"])
        return [dict(stage) for stage in record["results"]]

    def run_ppo(
        self,
        dataset_config: PathLike,
        epochs: int = 1,
        log_path: PathLike | None = None,
        log_frequency: int = 1,
        max_log_entries: int | None = None,
    ) -> dict[str, Any]:
        """Train on a record, and return the last line of the log.

        Args:
            dataset_config: a manifest, or any other data set.
            epochs: updates.
            log_path: to append the log's lines to; None: the run directory alone has them.
            log_frequency: write every so-many-th line only.
            max_log_entries: lines of a file; None: no bound.
        """
        options = ScheduleOptions(
            replay_manifest=Path(dataset_config),
            train_ppo=True,
            epochs=epochs,
            ppo_log=_path(log_path),
            ppo_log_frequency=log_frequency,
            ppo_log_max_entries=max_log_entries,
        )
        return _last_line(self._train("replay", options))

    def evaluate_anneal_results(self, results: Sequence[Mapping[str, JsonValue]]) -> str:
        """Return `PASS`, `HOLD` or `FAIL`, as it follows from the stages of a schedule."""
        return str(status_of(reasons_of(results, "(results)")))

    def _train(self, mode: str, schedule: ScheduleOptions) -> Mapping[str, Any]:
        """Carry out `townlet train`, and return its JSON."""
        from townlet_runtime.cli.commands.train import train_policy  # what captures alone has no need of it

        console = _Silent()
        with TemporaryDirectory() as folder:
            options = TrainOptions(
                config=self._file(Path(folder)),
                mode=mode,
                folder=self._folder,
                threads=None,
                schedule=schedule,
            )
            train_policy(options, console)
        record: Mapping[str, Any] = console.kept or {}
        if "run_dir" in record:
            self.last_run_dir = Path(record["run_dir"])
        return record

    def _file(self, folder: Path) -> Path:
        """The config as a file, made in `folder` where it came as anything else."""
        if not isinstance(self._config, Config | Mapping):
            return Path(self._config)
        path = folder / "config.yaml"
        text = dump_config(self._config) if isinstance(self._config, Config) else dump_yaml(dict(self._config))
        path.write_text(text, encoding="utf-8")
        return path


class TrainingHarness(PolicyTrainingOrchestrator):
    """The older name of `PolicyTrainingOrchestrator`."""


class PromotionManager(PromotionRegistry):
    """The old name of `PromotionRegistry`.

    Args:
        path: directory of the registry.
        clock: tells seconds since 1970.
    """

    def __init__(self, path: str | Path, *, clock: Callable[[], float] = time.time) -> None:
        _warn("PromotionManager", "townlet_trajectory.PromotionRegistry")
        super().__init__(path, clock=clock)


def _warn(name: str, replacement: str) -> None:
    warnings.warn(
        f"{name} is deprecated: use {replacement}; it goes in townlet-runtime 0.3", DeprecationWarning, stacklevel=3
    )


def _path(path: PathLike | None) -> Path | None:
    return None if path is None else Path(path)


def _last_line(record: Mapping[str, Any]) -> dict[str, Any]:
    path = Path(record["run_dir"]) / METRICS
    *_, last = path.read_bytes().splitlines()
    return parse_object(last, path)
