"""The plan of one run of `townlet train`: what its options and its config decide, before the trainer is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from townlet_runtime.cli.console import CommandError, Console
from townlet_runtime.cli.start import import_trainer
from townlet_runtime.cli.threads import AUTO_THREADS, usable_cpus
from townlet_runtime.cli.training.recording import place_named
from townlet_runtime.cli.training.run_options import RunOptions
from townlet_runtime.cli.training.schedule_options import ScheduleOptions
from townlet_runtime.cli.training.training_data import DataOptions as DataOptions
from townlet_runtime.cli.training.training_data import TrainingData, place_of
from townlet_runtime.cli.world_options import WorldOptions as WorldOptions
from townlet_runtime.cli.world_options import require_code, require_same_world
from townlet_runtime.cli.worlds import Worlds, load, load_of_run, option, seed_of
from townlet_runtime.config import Config, Override, is_scheduled, training_mode, training_settings, with_training
from townlet_runtime.runs.begun import BegunFile, recorded_at
from townlet_runtime.runs.directory import RUNS, default_run_dir, require_free
from townlet_runtime.simulation.interface import SimulationSpec
from townlet_runtime.workers.recording import RecordPlace
from townlet_trajectory.evaluation.results import SCRIPTED, Mode
from townlet_trajectory.storage.urls import Place, Url

if TYPE_CHECKING:
    from townlet_runtime.training import InitialPolicy, TrainingConfig

_SOURCE = "training.source"


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """The options of `townlet train`; None where one was not given."""

    threads: int | None
    """None: the rule; `AUTO_THREADS`: a measurement."""
    config: Path | None = None
    world: WorldOptions = field(default_factory=WorldOptions)
    mode: str | None = None
    total_steps: int | None = None
    num_envs: int | None = None
    seed: int | None = None
    run_dir: Path | None = None
    folder: Path = RUNS
    """Where a run without a `run_dir` gets one."""
    resume: Path | None = None
    init_from: Path | None = None
    eval_every: int | None = None
    preset: str | None = None
    settings: Sequence[str] = ()
    schedule: ScheduleOptions = field(default_factory=ScheduleOptions)
    data: DataOptions = field(default_factory=DataOptions)
    opponents: Sequence[str] = ()
    """`GROUP=POLICY`."""
    run: RunOptions = field(default_factory=RunOptions)
    compares: bool = True
    """Whether the policy is compared with the behaviors of the world, and tries to replace the script."""

    @property
    def urls(self) -> tuple[Url, ...]:
        """The URLs of data that were typed."""
        return (*(path for path in self.data.paths if isinstance(path, Url)), *self.schedule.urls)

    def overrides(self) -> list[Override]:
        """Return the overrides of the config that the options of their own name mean."""
        return [
            *self.world.overrides(),
            *option(_SOURCE, self.mode, "--mode"),
            *option("training.total_env_steps", self.total_steps, "--total-steps"),
            *option("training.num_envs", self.num_envs, "--num-envs"),
            *option("training.eval_every", self.eval_every, "--eval-every"),
            *option("seed", self.seed, "--seed"),
            *option("preset", self.preset, "--preset"),
            *self.run.overrides(),
            *self.schedule.overrides(),
            *map(_opponent, self.opponents),
        ]


def _opponent(text: str) -> Override:
    """The override that `--opponent GROUP=POLICY` means."""
    group, _, policy = text.partition("=")
    if not group or not policy:
        raise CommandError(f"--opponent {text}: expected GROUP=script, GROUP=past(k) or GROUP=FILE")
    return Override(path=("training", "groups", group, "policy"), value=policy, label=f"--opponent {text}")


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """One run as far as config and options decide it, without the trainer."""

    config: Config
    mode: Mode
    seed: int
    worlds: Worlds
    behaviors: tuple[str, ...]
    """Of the worlds."""
    specs: Mapping[str, SimulationSpec]
    """Of one world, by group of agents."""
    run_dir: Path
    named: bool
    """Whether `run_dir` was named; a default name that is taken gets a number."""
    begun: BegunFile | None
    """Of the run to resume; None for a new one."""
    init_from: Path | None
    """Directory of the policy that a new run begins with; None: a fresh one."""
    asked_threads: int | None
    """As in `TrainOptions`."""
    processes: int | None
    workers: int
    """That collect; 0: the process of the run does."""
    ray: str | None
    """Address of the cluster that the workers are on; None: they are processes of this machine."""
    worker_timeout: float
    """Seconds after which a worker that does not answer is replaced."""
    urls: tuple[Url, ...]
    """Of data, which were typed: what a file names is not opened."""
    manifest: Place | None
    """Of mode `bc`: `--bc-manifest`, or `training.bc.manifest`. The result is then printed as the original did."""
    named_world: bool
    """Whether the world was named, by an option or by the config, and is not the default."""
    compares: bool
    """As in `TrainOptions`."""
    page_port: int | None = None
    """Of the page on the run; None: there is none."""
    record: RecordPlace | None = None
    """Where what it collects is written; None: nowhere."""
    threads: int = 1
    """Of the learners, as `settings_of` settles them."""
    data: TrainingData | None = None
    """Recorded steps to clone; None: the script is cloned, or nothing."""

    @property
    def environment(self) -> str | None:
        """Name of the world that the policy is trained or judged in; None: there is none."""
        return None if self.data is not None and not self.data.fits else self.worlds.environment


def plan_of(options: TrainOptions, console: Console) -> TrainPlan:
    """Decide everything about a run that its options, its config and its world decide.

    Raises:
        CommandError, ConfigError: names the option or the key that is wrong.
    """
    if options.resume is None:
        config, begun = load(options.config, options.settings, options.overrides(), console).config, None
    else:
        config, begun = load_of_run(options.resume, (), console)
    if options.resume is not None and begun is not None:
        require_code(options.resume, begun, options.world)
    worlds = Worlds.of(config, options.world)
    # Built once for nothing but its refusals, its specifications and the names of its behaviors.
    with closing(worlds.make(1)) as one:
        behaviors, specs = one.behaviors, one.specs
    if options.resume is not None and begun is not None:
        require_same_world(options.resume, begun, specs)
    # The built-in config names a mode, but nobody asked for it.
    is_silent = options.config is None and options.resume is None and not _sets(options, _SOURCE)
    source = None if is_silent else config.training.get("source")
    meant = options.schedule.mode_of(source, named=options.mode is not None or options.resume is not None)
    is_alone = options.data.paths and is_silent
    mode = meant or ("bc" if is_alone and options.mode is None else _mode(config, behaviors))
    seed = seed_of(config) if options.seed is None else options.seed
    named = options.resume or options.run_dir
    run_dir = named or default_run_dir(options.folder, now=datetime.now(), mode=mode, seed=seed)
    if options.run_dir is not None and options.resume is None:
        require_free(options.run_dir)
    return TrainPlan(
        config=config,
        mode=mode,
        seed=seed,
        worlds=worlds,
        behaviors=behaviors,
        specs=specs,
        run_dir=run_dir,
        named=named is not None,
        begun=begun,
        init_from=options.init_from,
        asked_threads=options.threads,
        processes=options.run.processes,
        workers=options.run.workers,
        ray=options.run.ray,
        worker_timeout=options.run.worker_timeout,
        urls=options.urls,
        manifest=_manifest(options, config, begun) if mode == "bc" else None,
        named_world=_names_a_world(options, config, begun),
        page_port=options.run.page_port,
        record=recorded_at(place_named(options.run.record), begun, run_dir=run_dir),
        compares=options.compares,
    )


def _manifest(options: TrainOptions, config: Config, begun: BegunFile | None) -> Place | None:
    """The data that the config names, unless `--data` names others, now or when the run was begun."""
    named = config.training.get("bc_manifest")
    if named is None or options.data.paths:
        return None
    manifest = place_of(named, options.urls, name="--bc-manifest")
    return manifest if begun is None or [each.path for each in begun.data] == [str(manifest)] else None


def _names_a_world(options: TrainOptions, config: Config, begun: BegunFile | None) -> bool:
    if begun is not None:
        return begun.environment is not None
    in_file = options.config is not None and "name" in config.environment.model_fields_set
    return options.world.env is not None or _sets(options, "environment.name") or in_file


def _sets(options: TrainOptions, key: str) -> bool:
    return any(setting.startswith(f"{key}=") for setting in options.settings)


def _mode(config: Config, behaviors: Sequence[str]) -> Mode:
    """The mode that is trained in; PPO alone where none is named and there is no script to begin with."""
    mode = training_mode(config)
    is_silent = "source" not in config.training and not is_scheduled(config, mode)
    return "ppo" if is_silent and SCRIPTED not in behaviors else mode


def settings_of(plan: TrainPlan, initial: InitialPolicy | None = None) -> tuple[TrainPlan, TrainingConfig]:
    """Decide the settings of training completely; return the plan with its threads and all of them, and themselves."""
    import_trainer()
    from townlet_runtime.cli.training.run_starts import with_network
    from townlet_runtime.training_settings import preset_name_for, training_config, training_fields

    config = plan.config
    # A config of the town without a preset means the defaults of the file format.
    if config.preset is None and plan.worlds.towns is None:
        config = config.model_copy(update={"preset": preset_name_for(plan.worlds.environment)})
    training = training_config(
        training_settings(config),
        preset_name=config.preset,
        mode=plan.mode,
        seed=plan.seed,
        behaviors=plan.behaviors if plan.compares else (),
    )
    if initial is not None:
        training = with_network(config, training, initial)
    config = with_training(config, mode=plan.mode, seed=plan.seed, fields=training_fields(training))
    return replace(plan, config=config, threads=_threads(plan, training)), training


def _threads(plan: TrainPlan, training: TrainingConfig) -> int:
    from townlet_runtime.training import default_threads, measured_threads, policy_specs

    if plan.asked_threads not in (None, AUTO_THREADS):
        return plan.asked_threads
    specs, capacity = policy_specs(plan.specs, training.network), max(spec.capacity for spec in plan.specs.values())
    if plan.asked_threads is None:
        return default_threads(training, specs, capacity=capacity)
    return measured_threads(training, specs, capacity=capacity, cpus=usable_cpus())
