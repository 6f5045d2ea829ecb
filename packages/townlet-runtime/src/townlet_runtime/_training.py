"""Worlds as training sees them. The only module that may import townlet_training or torch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TypeAlias

from pydantic import TypeAdapter, ValidationError

from townlet_behavior import SavedState
from townlet_runtime.core.collector import SimulationCollector
from townlet_runtime.core.evaluator import RANDOM, EpisodeReturns, SimulationEvaluator
from townlet_runtime.errors import ConfigError, MissingExtraError
from townlet_runtime.policy.policy import SimulationActor
from townlet_runtime.runs.directory import CHECKPOINTS
from townlet_runtime.simulation.interface import SimulationSpec

try:
    import torch

    from townlet_training import (
        BASELINES,
        Actor,
        BCResult,
        CheckpointStore,
        Collected,
        EpisodeScores,
        FinalEvaluation,
        PairedComparison,
        PolicySpec,
        Progress,
        RunSummary,
        ScoreSummary,
        TrainingConfig,
        TrainingError,
        TrainingOrchestrator,
        compare,
        normalized,
        preset,
        preset_for,
        read_checkpoint,
        summarize,
    )
    from townlet_training.errors import ConfigError as TrainingConfigError
except ModuleNotFoundError as error:
    if error.name not in {"townlet_training", "torch", "safetensors", "scipy", "onnx", "onnxscript"}:
        raise
    raise MissingExtraError(f"training needs `{error.name}`: install 'townlet-runtime[training]'") from error

__all__ = [
    "BCResult",
    "EpisodeScores",
    "FinalEvaluation",
    "PairedComparison",
    "Progress",
    "RunSummary",
    "ScoreSummary",
    "Standing",
    "TrainingCollector",
    "TrainingConfig",
    "TrainingError",
    "TrainingEvaluator",
    "compare",
    "normalized",
    "orchestrator_of",
    "preset_name_for",
    "standing_of",
    "summarize",
    "training_config",
    "training_fields",
]

Setting: TypeAlias = bool | int | float | str | tuple[int, ...] | None
Nested: TypeAlias = "dict[str, Setting | tuple[str, ...] | Nested]"

_LABELS = frozenset({"name", "source"})
"""Fields of a preset that are no settings."""


class TrainingCollector:
    """A `SimulationCollector` as a `townlet_training.Collector`."""

    def __init__(self, collector: SimulationCollector) -> None:
        self._collector = collector

    def collect(self, actors: Mapping[str, Actor] | None, *, num_ticks: int, ratio: float) -> Collected:
        """See `townlet_training.Collector.collect`."""
        policies = None if actors is None else _policies(actors, self._collector.specs)
        collection = self._collector.collect(policies, num_ticks=num_ticks, ratio=ratio)
        report = collection.report
        return Collected(
            batches=collection.batches,
            events=report.events,
            decisions_by_source=report.decisions_by_source,
            ticks_by_source=report.ticks_by_source,
            vetoes=report.vetoes,
            env_steps=collection.env_steps,
            agent_steps=report.agent_ticks,
        )

    def save_state(self) -> SavedState | None:
        """See `townlet_training.Collector.save_state`."""
        return self._collector.save_state()

    def restore(self, state: SavedState) -> None:
        """See `townlet_training.Collector.restore`."""
        self._collector.restore(state)


class TrainingEvaluator:
    """A `SimulationEvaluator` as a `townlet_training.Evaluator`.

    Args:
        evaluator: plays the episodes.
        specs: of the simulation that the networks were built for, by group.
    """

    def __init__(self, evaluator: SimulationEvaluator, specs: Mapping[str, SimulationSpec]) -> None:
        self._evaluator = evaluator
        self._specs = specs

    def evaluate(
        self, actors: Mapping[str, Actor], *, num_episodes: int, first_seed: int, sample: bool
    ) -> EpisodeScores:
        """See `townlet_training.Evaluator.evaluate`."""
        policies = _policies(actors, self._specs)
        return _scores(
            self._evaluator.evaluate(policies, num_episodes=num_episodes, first_seed=first_seed, sample=sample)
        )

    def baseline(self, name: str, *, num_episodes: int, first_seed: int) -> EpisodeScores:
        """See `townlet_training.Evaluator.baseline`."""
        return _scores(self._evaluator.baseline(name, num_episodes=num_episodes, first_seed=first_seed))


def _policies(actors: Mapping[str, Actor], specs: Mapping[str, SimulationSpec]) -> dict[str, SimulationActor]:
    return {group: SimulationActor(actor=actor, spec=specs[group]) for group, actor in actors.items()}


def _scores(episodes: EpisodeReturns) -> EpisodeScores:
    return EpisodeScores(returns=episodes.returns, events=episodes.events, seeds=episodes.seeds)


def preset_name_for(world: str) -> str:
    """Return the name of the preset made for `world`, else of the one for any world."""
    own = preset_for(world)
    return preset("default").name if own is None else own.name


def training_config(
    settings: Mapping[str, Setting], *, preset_name: str | None, mode: str, seed: int, behaviors: Collection[str]
) -> TrainingConfig:
    """Return the config of a run: the preset, changed by `settings`.

    Args:
        settings: values by dotted field of `TrainingConfig`.
        preset_name: None: townlet_training's own defaults.
        behaviors: that the world knows; the policy is compared with them, and with chance.

    Raises:
        ConfigError: if there is no such preset, or a value is out of range.
    """
    baselines = tuple(name for name in BASELINES if name in behaviors or name == RANDOM)
    content: Nested = {"mode": mode, "seed": seed, "baselines": baselines}
    try:
        if preset_name is not None:
            start = dict(_leaves(preset(preset_name)))
            settings = {**{name: value for name, value in start.items() if name not in _LABELS}, **settings}
        for name, value in settings.items():
            _put(content, name.split("."), value)
        return TypeAdapter(TrainingConfig).validate_python(content)
    except TrainingConfigError as error:
        raise ConfigError(str(error), key="preset") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        problem = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
        raise ConfigError(problem, key=".".join(map(str, first["loc"])) or None) from error


def orchestrator_of(
    config: TrainingConfig,
    collector: SimulationCollector,
    evaluator: SimulationEvaluator,
    *,
    run_dir: Path,
    threads: int,
    on_progress: Callable[[Progress], None],
    stop: Callable[[], bool],
    notes: Mapping[str, str],
    resume: bool,
) -> TrainingOrchestrator:
    """Prepare a run of townlet_training in worlds of the runtime; `TrainingOrchestrator` says more.

    Args:
        threads: that torch computes with, in the whole process.
    """
    torch.set_num_threads(threads)
    specs = collector.specs
    return TrainingOrchestrator(
        config,
        TrainingCollector(collector),
        TrainingEvaluator(evaluator, specs),
        specs={
            group: PolicySpec(
                world=spec.name, vocabulary=spec.vocabulary.keys, observation_shapes=spec.observation_shapes
            )
            for group, spec in specs.items()
        },
        run_dir=run_dir,
        on_progress=on_progress,
        stop=stop,
        notes=notes,
        resume=resume,
    )


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a run that was broken off stands."""

    env_steps: int
    stage: str
    prepared: bool
    """Whether anything was learned that it can go on from; else it begins again."""


def standing_of(run_dir: Path) -> Standing | None:
    """Read where the run in `run_dir` stands; None where it has not begun.

    Raises:
        TrainingError: if its newest checkpoint is damaged.
    """
    newest = CheckpointStore(run_dir / CHECKPOINTS, keep_last=1).newest()
    if newest is None:
        return None
    checkpoint = read_checkpoint(newest)
    state, run = checkpoint.state, checkpoint.run
    return Standing(env_steps=state.env_steps, stage=state.stage, prepared=run.course.prepared)


def training_fields(config: TrainingConfig) -> dict[str, Setting]:
    """Return every setting of `config` by dotted field."""
    return dict(_leaves(config))


def _leaves(record: object, prefix: str = "") -> Iterator[tuple[str, Setting]]:
    if not is_dataclass(record):
        return
    for field in fields(record):
        value = getattr(record, field.name)
        if is_dataclass(value):
            yield from _leaves(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", value


def _put(content: Nested, path: list[str], value: Setting) -> None:
    first, *rest = path
    if not rest:
        content[first] = value
        return
    inner = content.setdefault(first, {})
    if not isinstance(inner, dict):
        raise ConfigError(f"`{first}` holds no settings of its own")
    _put(inner, rest, value)
