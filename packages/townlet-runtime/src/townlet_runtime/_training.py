"""Worlds as training sees them. The only module that may import townlet_training or torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TypeAlias

from pydantic import TypeAdapter, ValidationError

from townlet_runtime.core.collector import Collector
from townlet_runtime.core.evaluator import RANDOM, Evaluator
from townlet_runtime.errors import ConfigError, MissingExtraError
from townlet_runtime.runs.directory import CHECKPOINTS
from townlet_trajectory.storage.json import JsonValue

try:
    import torch

    from townlet_training import (
        CheckpointStore,
        PolicySpec,
        Progress,
        TrainingConfig,
        TrainingError,
        TrainingOrchestrator,
        preset,
        preset_for,
        read_checkpoint,
    )
    from townlet_training.errors import ConfigError as TrainingConfigError
except ModuleNotFoundError as error:
    if error.name not in {"townlet_training", "torch", "safetensors", "scipy", "onnx", "onnxscript"}:
        raise
    raise MissingExtraError(f"training needs `{error.name}`: install 'townlet-runtime[training]'") from error

__all__ = [
    "Progress",
    "Standing",
    "TrainingConfig",
    "TrainingError",
    "orchestrator_of",
    "preset_name_for",
    "settings_schema",
    "standing_of",
    "training_config",
    "training_fields",
]

Setting: TypeAlias = bool | int | float | str | tuple[int, ...] | None
Nested: TypeAlias = "dict[str, Setting | tuple[str, ...] | Nested]"

CONTRACT = "contract"
"""The preset that holds the defaults of the config file format."""
_LABELS = frozenset({"name", "source"})
"""Fields of a preset that are no settings."""


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
        preset_name: None: the defaults of the config file format.
        behaviors: that the world knows; the policy is compared with them, and with chance.

    Raises:
        ConfigError: if there is no such preset, or a value is out of range.
    """
    baselines = (*behaviors, RANDOM)
    content: Nested = {"mode": mode, "seed": seed, "baselines": baselines}
    try:
        start = dict(_leaves(preset(CONTRACT if preset_name is None else preset_name)))
        settings = {**{name: value for name, value in start.items() if name not in _LABELS}, **settings}
        for name, value in settings.items():
            _put(content, name.split("."), value)
        return TypeAdapter(TrainingConfig).validate_python(content)
    except TrainingConfigError as error:
        raise ConfigError(str(error), key="preset") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        problem = first["msg"].removeprefix("Value error, ")
        if first["type"] != "value_error":
            problem = f"{problem.replace('Input should be', 'must be', 1)}, got {first['input']!r}"
        raise ConfigError(problem, key=".".join(map(str, first["loc"])) or None) from error


def orchestrator_of(
    config: TrainingConfig,
    collector: Collector,
    evaluator: Evaluator,
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
        collector,
        evaluator,
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
    state = read_checkpoint(newest).state
    return Standing(env_steps=state.env_steps, stage=state.stage, prepared=state.history.prepared)


def settings_schema() -> str:
    """Return the JSON schema of `TrainingConfig`; `townlet_runtime.config` keeps a copy, to be read without torch."""
    return json.dumps(_without_prose(TypeAdapter(TrainingConfig).json_schema()), indent=1)


def _without_prose(schema: JsonValue) -> JsonValue:
    if isinstance(schema, list):
        return [_without_prose(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _without_prose(part) for key, part in schema.items() if key not in ("title", "description")}


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
