"""Worlds as training sees them. The only module that may import townlet_training or torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TypeAlias

from pydantic import TypeAdapter, ValidationError

from townlet_runtime.acting import SimulationActor
from townlet_runtime.collector import SimulationCollector
from townlet_runtime.errors import ConfigError, MissingExtraError
from townlet_runtime.evaluate import EpisodeReturns, SimulationEvaluator
from townlet_runtime.simulation import SimulationSpec

try:
    import torch

    from townlet_training import (
        Actor,
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
        summarize,
    )
    from townlet_training.errors import ConfigError as TrainingConfigError
except ModuleNotFoundError as error:
    if error.name not in {"townlet_training", "torch", "safetensors", "scipy", "onnx", "onnxscript"}:
        raise
    raise MissingExtraError(f"training needs `{error.name}`: install 'townlet-runtime[training]'") from error

__all__ = [
    "EpisodeScores",
    "FinalEvaluation",
    "PairedComparison",
    "Progress",
    "RunSummary",
    "ScoreSummary",
    "TrainingCollector",
    "TrainingConfig",
    "TrainingError",
    "TrainingEvaluator",
    "compare",
    "normalized",
    "orchestrator_of",
    "summarize",
    "training_config",
    "training_fields",
]

Setting: TypeAlias = bool | int | float | str | tuple[int, ...] | None
Nested: TypeAlias = "dict[str, Setting | Nested]"


class TrainingCollector:
    """A `SimulationCollector` as a `townlet_training.Collector`."""

    def __init__(self, collector: SimulationCollector) -> None:
        self._collector = collector

    def collect(self, actor: Actor | None, *, num_ticks: int, ratio: float) -> Collected:
        """See `townlet_training.Collector.collect`."""
        policy = None if actor is None else SimulationActor(actor=actor, spec=self._collector.spec)
        collection = self._collector.collect(policy, num_ticks=num_ticks, ratio=ratio)
        report = collection.report
        return Collected(
            batch=collection.batch,
            events=report.events,
            decisions_by_source=report.decisions_by_source,
            ticks_by_source=report.ticks_by_source,
            vetoes=report.vetoes,
            env_steps=collection.env_steps,
            agent_steps=report.agent_ticks,
        )


class TrainingEvaluator:
    """A `SimulationEvaluator` as a `townlet_training.Evaluator`.

    Args:
        evaluator: plays the episodes.
        spec: of the simulation that the network was built for.
    """

    def __init__(self, evaluator: SimulationEvaluator, spec: SimulationSpec) -> None:
        self._evaluator = evaluator
        self._spec = spec

    def evaluate(self, actor: Actor, *, num_episodes: int, first_seed: int, sample: bool) -> EpisodeScores:
        """See `townlet_training.Evaluator.evaluate`."""
        policy = SimulationActor(actor=actor, spec=self._spec)
        return _scores(
            self._evaluator.evaluate(policy, num_episodes=num_episodes, first_seed=first_seed, sample=sample)
        )

    def baseline(self, name: str, *, num_episodes: int, first_seed: int) -> EpisodeScores:
        """See `townlet_training.Evaluator.baseline`."""
        return _scores(self._evaluator.baseline(name, num_episodes=num_episodes, first_seed=first_seed))


def _scores(episodes: EpisodeReturns) -> EpisodeScores:
    return EpisodeScores(returns=episodes.returns, events=episodes.events, seeds=episodes.seeds)


def training_config(
    settings: Mapping[str, Setting], *, preset_name: str | None, mode: str, seed: int
) -> TrainingConfig:
    """Return the config of a run: the preset, changed by `settings`.

    Args:
        settings: values by dotted field of `TrainingConfig`.
        preset_name: None: townlet_training's own defaults.

    Raises:
        ConfigError: if there is no such preset, or a value is out of range.
    """
    content: Nested = {"mode": mode, "seed": seed}
    try:
        if preset_name is not None:
            chosen = preset(preset_name)
            start = {
                **{f"network.{name}": value for name, value in _leaves(chosen.network)},
                **{f"ppo.{name}": value for name, value in _leaves(chosen.ppo)},
                "num_envs": chosen.num_envs,
                "rollout_ticks": chosen.rollout_ticks,
            }
            settings = {**start, **settings}
        for name, value in settings.items():
            _put(content, name.split("."), value)
        return TypeAdapter(TrainingConfig).validate_python(content)
    except TrainingConfigError as error:
        raise ConfigError(str(error), key="preset") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        problem = first["msg"].removeprefix("Value error, ")
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
) -> TrainingOrchestrator:
    """Prepare a run of townlet_training in worlds of the runtime; `TrainingOrchestrator` says more.

    Args:
        threads: that torch computes with, in the whole process.
    """
    torch.set_num_threads(threads)
    spec = collector.spec
    return TrainingOrchestrator(
        config,
        TrainingCollector(collector),
        TrainingEvaluator(evaluator, spec),
        spec=PolicySpec(world=spec.name, vocabulary=spec.vocabulary.keys, observation_shapes=spec.observation_shapes),
        run_dir=run_dir,
        on_progress=on_progress,
        stop=stop,
    )


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
