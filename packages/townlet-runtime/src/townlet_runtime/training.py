"""Trains policies in worlds of the runtime, or of your own; the only module that imports townlet_training or torch.

from townlet_runtime.training import TrainingConfig, train

summary = train(Orchard, TrainingConfig(seed=0, total_env_steps=100_000, num_envs=8), "runs/orchard")
print(summary.final.summaries["learned"].mean, summary.policies["agents"].path)
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from townlet_behavior import BridgeConfig
from townlet_runtime.core.evaluator import Evaluator, MakeSimulation
from townlet_runtime.errors import MissingExtraError, RunDirectoryError
from townlet_runtime.policy.onnx import FilePolicy
from townlet_runtime.policy.policy import commitment_of
from townlet_runtime.runs.begun import BegunFile
from townlet_runtime.runs.directory import BEGUN, CHECKPOINTS, INITIAL
from townlet_runtime.runs.recorded import RecordedData, opened_record
from townlet_runtime.simulation.interface import GroupedSimulation, Simulation, SimulationSpec, first_spec
from townlet_runtime.simulation.recorded import recorded_actions
from townlet_runtime.training_files import as_can_be, claimed, group_of_data, made_by, opponents_of, write_records
from townlet_runtime.training_workers import begun_workers
from townlet_runtime.training_worlds import AnyCollector, Workers, collector_of, made_record, worlds_of
from townlet_runtime.workers.defaults import WORKER_TIMEOUT_S
from townlet_runtime.workers.evaluating import SharedEvaluator
from townlet_runtime.workers.policies import packed_beside
from townlet_runtime.workers.recording import RunRecord
from townlet_trajectory import Box
from townlet_trajectory.dataset.source import TrajectorySource
from townlet_trajectory.evaluation.results import RunSummary
from townlet_trajectory.storage.urls import Url

try:
    import torch

    from townlet_training.config import GroupConfig, TrainingConfig
    from townlet_training.distil.config import DistilConfig
    from townlet_training.distil.dagger import DaggerRun
    from townlet_training.distil.run import DistilProgress, DistilRun
    from townlet_training.errors import ConfigError as TrainingConfigError
    from townlet_training.errors import TrainingError
    from townlet_training.learning.device import device_named
    from townlet_training.network.actor_critic import ActorCritic
    from townlet_training.network.config import NetworkConfig
    from townlet_training.network.export.onnx_export import export_policy
    from townlet_training.network.spec import PolicySpec
    from townlet_training.presets import PRESETS, preset, preset_for
    from townlet_training.run.adapting import (
        AdaptedGroup,
        AddedAction,
        ReferenceRows,
        adapted_groups,
        adapted_policy,
        reference_rows,
        set_priors,
    )
    from townlet_training.run.agent_groups import Understudies
    from townlet_training.run.checkpoint import CheckpointStore, read_checkpoint
    from townlet_training.run.initial import InitialPolicy, initial_of_run, packed_actors
    from townlet_training.run.metrics import MetricsRow
    from townlet_training.run.monitor import Progress
    from townlet_training.run.orchestrator import TrainingOrchestrator
    from townlet_training.run.state import EarlierTotal, TrainingState
    from townlet_training.scheduled.data import Record, RunWorlds, record_seed
    from townlet_training.scheduled.results import ScheduleOutcome
    from townlet_training.scheduled.run import ScheduledRun
    from townlet_training.threads import default_threads, measured_threads
except ModuleNotFoundError as error:
    if error.name not in {"townlet_training", "torch", "safetensors", "scipy", "onnx", "onnxscript"}:
        raise
    raise MissingExtraError(f"training needs `{error.name}`: install 'townlet-runtime[training]'") from error

__all__ = [
    "AdaptedGroup",
    "AddedAction",
    "CheckpointStore",
    "DaggerRun",
    "DistilConfig",
    "DistilProgress",
    "DistilRun",
    "EarlierTotal",
    "GroupConfig",
    "InitialPolicy",
    "MetricsRow",
    "PolicySpec",
    "Progress",
    "Record",
    "ReferenceRows",
    "RunSummary",
    "RunWorlds",
    "ScheduleOutcome",
    "ScheduledRun",
    "TrainingConfig",
    "TrainingConfigError",
    "TrainingError",
    "TrainingOrchestrator",
    "Understudies",
    "adapted_groups",
    "adapted_policy",
    "copied_initial",
    "default_threads",
    "device_note",
    "export_policy",
    "initial_of_run",
    "measured_threads",
    "newest_state",
    "policy_specs",
    "prepare_run",
    "preset",
    "preset_for",
    "preset_names",
    "read_checkpoint",
    "record_seed",
    "reference_rows",
    "set_priors",
    "spec_of_data",
    "state_sizes",
    "train",
    "understudies",
    "use_threads",
]

log = logging.getLogger(__name__)


def _ignore(_: Progress) -> None:
    """Show no progress."""


def train(
    make: Callable[[int], Simulation | GroupedSimulation] | None,
    config: TrainingConfig,
    run_dir: Path | str,
    *,
    data: Sequence[Path | str | TrajectorySource] = (),
    bridge: BridgeConfig | None = None,
    on_progress: Callable[[Progress], None] = _ignore,
    stop: Callable[[], bool] = bool,
    resume: bool = False,
    initial: InitialPolicy | None = None,
    workers: int = 0,
    worker_timeout_s: float = WORKER_TIMEOUT_S,
    record: Path | str | Url | None = None,
) -> RunSummary:
    """Train a policy in worlds of your own, judge it on episodes of their own, export it, and return the scores.

    Args:
        make: builds so many parallel worlds, to train in and for each evaluation, which are closed at their end; as
            `SplitGroups` of several agent groups. None: the clone of `data` is judged by what is held out of it.
        config: of the run; `groups` says who plays them, `baselines` are behaviors of the simulation, and `random`.
            Without a behavior `scripted`, `anneal` becomes `ppo` and missing baselines are left out, with a warning.
        run_dir: missing or empty; gets policy (`OnnxPolicy.load` acts without torch), scores, log, checkpoints and at
            last a manifest of them. With `resume` the directory of the run to go on with.
        data: recorded steps of any format, as paths or sources, to clone in the place of the script.
        bridge: how script and policy are blended; its ratio is ignored. None: the defaults.
        on_progress: called after every update and evaluation.
        stop: asked before every collection and evaluation; true ends the run there, with a checkpoint.
        resume: go on with the run in `run_dir`, which must have been begun with the same arguments.
        initial: the policy that the run begins with, network and all; copied into `run_dir`. None: a fresh one.
        workers: processes that collect, unit by unit, and must find `make`. No result depends on them.
        worker_timeout_s: after so many seconds, more than 0, a worker that does not answer is replaced.
        record: where all that is collected is written as shards, a directory or a URL. None: nowhere, or as before.

    Raises:
        SimulationError: if the simulation breaks what `townlet_runtime.simulation.interface` promises.
        RunDirectoryError: if `run_dir` is not empty, or in use.
        TrainingError, ArtifactError: if nothing can be learned from collections or data, or a run cannot be resumed.
    """
    path, threads, bridge = Path(run_dir), torch.get_num_threads(), bridge or BridgeConfig()
    with ExitStack() as opened:
        records = [opened.enter_context(opened_record(each, warn=log.warning)) for each in data]
        worlds = [] if make is None else worlds_of(config, partial(made_by, make), opened, elsewhere=workers > 0)
        first, initial = next(iter(worlds), None), copied_initial(path) if resume else initial
        config = as_can_be(config, first, initial)
        opponents = opponents_of(config, first, kept=path if resume else None)
        kept = made_record(record, config, first, path, opened, resume=resume, clones=bool(records))
        steps = {group_of_data(config, first): records} if records else None
        begin = partial(begun_workers, make, config, bridge, threads=threads, timeout_s=worker_timeout_s)
        prepare = partial(prepare_run, config, worlds, partial(made_by, make), run_dir=path, resume=resume, stop=stop)
        prepare = partial(prepare, bridge=bridge, on_progress=on_progress, data=steps, opponents=opponents)
        with claimed(path, threads, opponents, initial, resume=resume, record=kept):
            begun = begin(count=workers, opened=opened, record=kept)
            orchestrator = prepare(initial=initial, record=kept, workers=begun)
        summary = orchestrator.run()
    if not summary.interrupted:
        write_records(path, summary, config, None if first is None else first_spec(first), threads)
    return summary


def preset_names() -> tuple[str, ...]:
    """Return the name of every preset."""
    return tuple(each.name for each in PRESETS)


def understudies(run: TrainingOrchestrator | DaggerRun | ScheduledRun) -> Understudies:
    """Return copies of the networks of a run, which has not begun, for a thread that acts while it trains."""
    return Understudies(run.learners)


def use_threads(threads: int) -> None:
    """Let torch compute with so many threads, in the whole process."""
    torch.set_num_threads(threads)


def prepare_run(
    config: TrainingConfig,
    worlds: Sequence[GroupedSimulation],
    make_scored: MakeSimulation,
    *,
    bridge: BridgeConfig,
    run_dir: Path,
    on_progress: Callable[[Progress], None],
    stop: Callable[[], bool],
    resume: bool,
    notes: Mapping[str, str] = {},
    data: Mapping[str, Sequence[RecordedData]] | None = None,
    opponents: Mapping[str, FilePolicy] = {},
    initial: InitialPolicy | None = None,
    earlier_totals: Sequence[EarlierTotal] = (),
    workers: Workers | None = None,
    record: RunRecord | None = None,
) -> TrainingOrchestrator | DaggerRun:
    """Prepare a run of townlet_training, to be started with its `run`; nothing is collected or written yet.

    Args:
        config: of the run; in mode `dagger` it is one of `DaggerRun`.
        worlds: to train in, of each unit; one world where workers collect. Empty: `data` is cloned and judged.
        make_scored: builds the worlds of an evaluation.
        bridge: how script and policy are blended; its ratio is ignored.
        run_dir: an existing directory.
        on_progress: as of `train`.
        stop: as of `train`.
        notes: settings beside `config` that must be the same when the run is resumed, by name.
        resume: go on with the run in `run_dir`.
        data: recorded steps that each agent group is cloned from; None: what the script does.
        opponents: the policies of the groups that are played by one from a file, of `frozen_opponents`.
        initial: the policy that it begins with; None: a fresh one.
        earlier_totals: of world steps, before the run was extended.
        workers: processes beside this one, which were told of the worlds.
        record: where what is collected is written; workers were told of it too. None: nowhere.

    Raises:
        SimulationError: if the worlds lack a baseline, a script or a group of `config`, or are not as many as it says.
    """
    specs = _specs_of(worlds, data, config, initial)
    collector, evaluator = _in_worlds(config, worlds, make_scored, bridge, specs, workers, record)
    make: Callable[..., TrainingOrchestrator | DaggerRun] = DaggerRun
    if config.mode != "dagger":
        weights = None if initial is None else initial.weights
        make = partial(TrainingOrchestrator, initial=weights, earlier_totals=earlier_totals)
    return make(
        config,
        collector,
        evaluator,
        specs=specs,
        frozen=opponents,
        run_dir=run_dir,
        data=_sources(data),
        on_progress=on_progress,
        stop=stop,
        notes={**notes, **device_note(config)},
        resume=resume,
    )


def _in_worlds(
    config: TrainingConfig,
    worlds: Sequence[GroupedSimulation],
    make: MakeSimulation,
    bridge: BridgeConfig,
    specs: Mapping[str, PolicySpec],
    workers: Workers | None,
    record: RunRecord | None,
) -> tuple[AnyCollector | None, Evaluator | SharedEvaluator | None]:
    """Make the collector and the evaluator of a run; none of both without worlds."""
    if not worlds:
        return None, None
    packed = partial(packed_beside, networks=partial(packed_actors, specs))
    pool = workers.pool if workers is not None and workers.collect else None
    sizes = state_sizes(specs, config.network)
    collector = collector_of(config, worlds, bridge, sizes, pool=pool, packed=packed, record=record)
    own = Evaluator(make, config=bridge, seed=config.seed, num_worlds=config.num_envs)
    if workers is None:
        return collector, own
    return collector, SharedEvaluator(own, workers.pool, packed=packed)


def device_note(config: TrainingConfig) -> dict[str, str]:
    """Return where the learners compute, for `resume` to compare; nothing on the CPU.

    Raises:
        TrainingError: if there is no such device.
    """
    device = device_named(config.device).type
    return {} if device == "cpu" else {"device": device}


def _specs_of(
    worlds: Sequence[GroupedSimulation],
    data: Mapping[str, Sequence[RecordedData]] | None,
    config: TrainingConfig,
    initial: InitialPolicy | None,
) -> dict[str, PolicySpec]:
    specs = {group: spec_of_data(records[0]) for group, records in (data or {}).items()}
    if worlds:
        specs = policy_specs(worlds[0].specs, config.network)
    return specs if initial is None else initial.fitting(specs)


def policy_specs(specs: Mapping[str, SimulationSpec], network: NetworkConfig) -> dict[str, PolicySpec]:
    """Return what policies with such a network see and do in a world of `specs`, by agent group."""
    return {group: _spec_of(each, network) for group, each in specs.items()}


def state_sizes(specs: Mapping[str, PolicySpec], network: NetworkConfig) -> dict[str, int]:
    """Return the numbers of memory that an agent has, by the agent groups of `specs` whose network remembers."""
    drawn = torch.Generator().manual_seed(0)  # for nothing but the shape
    sizes = {group: ActorCritic.of(spec, network, generator=drawn).state_size for group, spec in specs.items()}
    return {group: size for group, size in sizes.items() if size}


def copied_initial(run_dir: Path) -> InitialPolicy | None:
    """Read the copy of the policy that the run in `run_dir` began with; None where it began with a fresh one.

    Raises:
        RunDirectoryError: if the copy is not of the weights that were noted.
        TrainingError: if it is missing or damaged.
    """
    begun = BegunFile.read(run_dir / BEGUN)
    if begun.initial is None:
        return None
    initial = InitialPolicy.read(run_dir / INITIAL)
    if initial.sha256 != begun.initial.weights_sha256:
        expected = f"expected the weights {begun.initial.weights_sha256} of {BEGUN}"
        raise RunDirectoryError(run_dir / INITIAL, f"{expected}, found {initial.sha256}")
    return initial


def _sources(data: Mapping[str, Sequence[RecordedData]] | None) -> dict[str, list[TrajectorySource]] | None:
    return None if data is None else {group: [each.source for each in records] for group, records in data.items()}


def spec_of_data(data: RecordedData) -> PolicySpec:
    """Return what a policy sees and does that is made for recorded steps alone."""
    return PolicySpec(
        world=f"data:{data.name}",
        vocabulary=data.vocabulary,
        observation_shapes=data.observation_shapes,
        feature_names=data.feature_names,
    )


def _spec_of(spec: SimulationSpec, network: NetworkConfig) -> PolicySpec:
    actions = recorded_actions(spec)
    return PolicySpec(
        world=spec.name,
        vocabulary=spec.vocabulary.keys,
        observation_shapes=spec.observation_shapes,
        feature_names=spec.feature_names,
        commitment=commitment_of(spec),
        actions=actions,
        distribution=network.distribution if isinstance(actions, Box) else "",
        critic_shapes=spec.critic_shapes,
        observation_kinds=spec.observation_kinds,
    )


def newest_state(run_dir: Path) -> TrainingState | None:
    """Read the state in the newest checkpoint of the run in `run_dir`; None where there is none.

    Raises:
        TrainingError: if its newest checkpoint is damaged.
    """
    newest = CheckpointStore(run_dir / CHECKPOINTS, keep_last=1).newest()
    return None if newest is None else read_checkpoint(newest).state
