"""Whether a run that is to be taken up is the one that was begun."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import JsonValue, TypeAdapter

from townlet_training.config import PolicySpec, TrainingConfig
from townlet_training.errors import ResumeError
from townlet_training.run.checkpoint import Checkpoint

_CONFIG = TypeAdapter(TrainingConfig)
_SPECS = TypeAdapter(Mapping[str, PolicySpec])


def require_same_run(
    checkpoint: Checkpoint,
    *,
    config: TrainingConfig,
    specs: Mapping[str, PolicySpec],
    notes: Mapping[str, str],
    run_dir: Path,
) -> None:
    """Raise `ResumeError`, naming a setting that differs, unless `checkpoint` is of the run that these describe.

    Args:
        run_dir: for the error.
    """
    given = _settings(config, specs, notes)
    found = _settings(checkpoint.run.config, checkpoint.state.specs, checkpoint.run.notes)
    for name, ours, theirs in _differences(given, found, ""):
        raise ResumeError(
            f"{run_dir} holds a run with `{name}` {theirs!r:.120}, not {ours!r:.120}: it goes on with the settings it "
            "began with, or not at all"
        )


def _settings(
    config: TrainingConfig, specs: Mapping[str, PolicySpec], notes: Mapping[str, str]
) -> dict[str, JsonValue]:
    settings: dict[str, JsonValue] = _CONFIG.dump_python(config, mode="json")
    return settings | {"specs": _SPECS.dump_python(specs, mode="json"), "notes": dict(notes)}


def _differences(ours: JsonValue, theirs: JsonValue, name: str) -> Iterator[tuple[str, JsonValue, JsonValue]]:
    """What is not the same in two settings, by dotted name; None for what is missing."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys()):
            yield from _differences(ours.get(key), theirs.get(key), f"{name}.{key}" if name else key)
    elif ours != theirs:
        yield name, ours, theirs
