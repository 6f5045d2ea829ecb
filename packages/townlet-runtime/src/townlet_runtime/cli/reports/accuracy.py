"""Sums up the accuracies of clones: a JSON object, or a list of them, with `accuracy`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from townlet_runtime.cli.console import CommandError
from townlet_runtime.cli.reports.summary_views import markdown_table
from townlet_trajectory.storage.json import MAX_JSON_BYTES, JsonValue, parse_json
from townlet_trajectory.storage.paths import read_named

ACCURACY = "accuracy"
MODE = "mode"
CLONE = "bc"


def read_accuracies(path: Path) -> list[float]:
    """Read the accuracy of each entry; stages of a schedule that cloned nothing have none.

    Raises:
        ArtifactError: if the file cannot be read, or is no JSON.
        CommandError: names an entry without an accuracy.
    """
    document = parse_json(read_named(path, max_bytes=MAX_JSON_BYTES), path)
    entries: Sequence[JsonValue] = document if isinstance(document, list) else [document]
    found: list[float] = []
    for index, entry in enumerate(entries):
        where = f"{path}[{index}]" if isinstance(document, list) else str(path)
        if not isinstance(entry, dict):
            raise CommandError(f"{where}: expected a JSON object, got {type(entry).__name__}")
        value = entry.get(ACCURACY)
        if value is None and entry.get(MODE, CLONE) != CLONE:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
            raise CommandError(f"{where}: `{ACCURACY}`: expected a share in [0, 1], got {value!r:.80}")
        found.append(float(value))
    return found


def accuracy_summary(accuracies: Sequence[float]) -> dict[str, float]:
    """Return how many there are, their mean and the least of them; zeros where there is none."""
    count = len(accuracies)
    return {
        "count": float(count),
        "mean_accuracy": sum(accuracies) / count if count else 0.0,
        "min_accuracy": min(accuracies, default=0.0),
    }


def accuracy_markdown(summary: Mapping[str, float]) -> list[str]:
    """Return the summary as a table in Markdown."""
    return markdown_table(("Metric", "Value"), [(key, f"{value:.4f}") for key, value in summary.items()])
