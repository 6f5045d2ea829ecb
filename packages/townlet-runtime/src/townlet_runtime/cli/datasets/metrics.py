"""`townlet dataset merge-metrics`: the figures of the samples of many captured scenarios in one file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from townlet_runtime.cli.console import SUCCESS, CommandError, Console
from townlet_trajectory.formats.captures.directory import DEFAULT_PREFIX, read_metrics
from townlet_trajectory.storage.files import make_directory, write_json_atomic
from townlet_trajectory.storage.json import MAX_JSON_BYTES, JsonValue, parse_object
from townlet_trajectory.storage.paths import read_named

METRICS_FILE = f"{DEFAULT_PREFIX}_metrics.json"
"""In the folder of a scenario."""
TEMPLATE = "_"
"""Beginning of the names of folders that are no scenarios."""

_Figures = dict[str, dict[str, float | None]]


@dataclass(frozen=True, kw_only=True)
class MergeOptions:
    """What `townlet dataset merge-metrics` was asked to do."""

    input_root: Path
    golden: Path | None
    """What is added to."""
    output: Path | None
    """What is written. None: `golden`."""
    include: tuple[str, ...]
    """Names of scenarios; empty: all."""
    allow_template: bool
    dry_run: bool


def merge_scenarios(options: MergeOptions, console: Console) -> int:
    """Merge the figures of scenarios into a file; return the exit code.

    Raises:
        CommandError: if there is no scenario, one that was named is not there, or no file is named to write.
    """
    target = options.golden if options.output is None else options.output
    found = scenarios_in(options.input_root, include=options.include, allow_template=options.allow_template)
    counts = {name: len(samples) for name, samples in found.items()}
    if options.dry_run:
        lines = ["Scenarios that would be merged:", *(f"- {name}: {count} samples" for name, count in counts.items())]
        console.result({"scenarios": counts, "output": None}, lines)
        return SUCCESS
    if target is None:
        raise CommandError("expected --golden FILE or --output FILE, got neither")
    base = target if options.golden is None else options.golden
    merged: dict[str, JsonValue] = _read(base) if os.path.lexists(base) else {}
    for name, samples in found.items():
        merged[name] = {sample: dict(sorted(figures.items())) for sample, figures in sorted(samples.items())}
    make_directory(target.parent)
    write_json_atomic(target, dict(sorted(merged.items())))
    lines = ["Merged scenarios:", *(f"- {name}: {count} samples -> {target}" for name, count in counts.items())]
    console.result({"scenarios": counts, "output": str(target)}, lines)
    return SUCCESS


def scenarios_in(root: Path, *, include: tuple[str, ...], allow_template: bool) -> dict[str, _Figures]:
    """Read the figures of the samples of each scenario below a folder, in the order of their names.

    Args:
        root: holds a folder for each scenario.
        include: names of scenarios; empty: all.
        allow_template: whether folders whose names begin with `TEMPLATE` are scenarios.

    Raises:
        CommandError: if there is none, or one that was named is not there.
        ArtifactError: if a file cannot be read or is damaged.
    """
    names = [name for name in sorted(os.listdir(root)) if (root / name / METRICS_FILE).is_file()]
    if not allow_template:
        names = [name for name in names if not name.startswith(TEMPLATE)]
    if missing := sorted(set(include) - set(names)):
        raise CommandError(f"--include {' '.join(missing)}: {root} holds {' '.join(names) or 'no scenario'}")
    if not names:
        raise CommandError(f"{root}: expected folders with {METRICS_FILE}, got none")
    return {name: read_metrics(root / name / METRICS_FILE) for name in names if not include or name in include}


def _read(path: Path) -> dict[str, JsonValue]:
    return parse_object(read_named(path, max_bytes=MAX_JSON_BYTES), path)
