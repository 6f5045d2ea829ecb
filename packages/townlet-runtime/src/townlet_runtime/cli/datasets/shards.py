"""`townlet dataset info`: what the manifests of a dataset of shards say, read without its steps."""

from __future__ import annotations

from townlet_runtime.cli.console import SUCCESS, Console, Json
from townlet_trajectory.formats.shards.reader import PartsReader, open_shards
from townlet_trajectory.storage.urls import Place

MAX_LINES = 20
"""Parts that the text names; `--json` has all."""


def show_info(dataset: Place, console: Console) -> int:
    """Show what a dataset says of itself; return the exit code.

    Args:
        dataset: a path or URL of shards.
        console: to print with.

    Raises:
        ArtifactError: if there is none, or a manifest is damaged.
        MissingExtraError: if what opens it is not installed.
    """
    source = open_shards(dataset)
    parts = {name: reader.num_steps for name, reader in source.parts.items()} if isinstance(source, PartsReader) else {}
    num_trajectories, num_shards = int(source.block_offsets[-1]), len(source.encoded_bytes)
    num_bytes = int(source.encoded_bytes.sum())
    record: dict[str, Json] = {
        "dataset": str(dataset),
        "sha256": source.fingerprint,
        "steps": source.num_steps,
        "trajectories": num_trajectories,
        "shards": num_shards,
        "bytes": num_bytes,
        "parts": {**parts},
        "unfinished": [*source.unfinished],
        "info": source.info.document(),
    }
    lines = [
        f"{dataset}: {source.num_steps:,} steps, {num_trajectories:,} trajectories and pieces",
        f"  shards: {num_shards:,}, {num_bytes:,} bytes",
        f"  group: {source.info.group}",
        f"  sha256: {source.fingerprint}",
    ]
    if parts:
        lines.append(f"  parts: {len(parts):,}")
        lines += [f"    {name}: {steps:,} steps" for name, steps in [*parts.items()][:MAX_LINES]]
        lines += [f"    and {len(parts) - MAX_LINES:,} more"] if len(parts) > MAX_LINES else []
    lines += [f"  not finished, and not read: {name}" for name in source.unfinished[:MAX_LINES]]
    console.result(record, lines)
    return SUCCESS
