"""A manifest for a folder of classic samples: which ones are worth keeping."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from townlet_trajectory.errors import ArtifactError
from townlet_trajectory.formats.captures.sample import decode_sample
from townlet_trajectory.storage.json import MAX_JSON_BYTES, JsonValue
from townlet_trajectory.storage.npz import MAX_NPZ_BYTES
from townlet_trajectory.storage.paths import read_below

DEFAULT_MIN_LENGTH = 10


def list_captures(
    folder: str | Path,
    *,
    relative_to: str | Path,
    min_length: int = DEFAULT_MIN_LENGTH,
    min_return: float | None = None,
) -> list[dict[str, JsonValue]]:
    """The samples of a folder as the entries of a manifest, by name; one is in memory at a time.

    Args:
        folder: pairs `NAME.npz` and `NAME.json`; folders in it are not looked at.
        relative_to: the folder that the paths of the entries are relative to: the manifest's, or the data root.
        min_length: an entry is `accepted` where its sample has at least this many steps,
        min_return: and its rewards add up to at least this.

    Returns:
        `{sample, meta, metrics {timesteps, reward_sum, mean_reward, done_count}, accepted}` for each sample.

    Raises:
        ArtifactError: if `folder` is not at or below `relative_to`, a sample lacks one of its files, or is damaged.
    """
    folder = Path(folder)
    try:
        below = folder.resolve().relative_to(Path(relative_to).resolve())
        names = sorted(os.listdir(folder))
    except ValueError as error:
        raise ArtifactError(folder, "path", f"expected a folder at or below {relative_to}") from error
    except OSError as error:
        raise ArtifactError(folder, "open", error.strerror or str(error)) from error
    entries = []
    for name in (name for name in names if name.endswith(".npz")):
        meta = f"{name.removesuffix('.npz')}.json"
        metrics = _metrics(folder, name, meta)
        good = metrics["timesteps"] >= min_length and (min_return is None or metrics["reward_sum"] >= min_return)
        entry: dict[str, JsonValue] = {
            "sample": (below / name).as_posix(),
            "meta": (below / meta).as_posix(),
            "metrics": {**metrics},
            "accepted": good,
        }
        entries.append(entry)
    return entries


def _metrics(folder: Path, name: str, meta: str) -> dict[str, int | float]:
    sample = decode_sample(
        read_below(folder, name, max_bytes=MAX_NPZ_BYTES, origin=folder),
        read_below(folder, meta, max_bytes=MAX_JSON_BYTES, origin=folder),
        npz_path=folder / name,
        description_path=folder / meta,
    )
    total = float(sample.rewards.sum(dtype=np.float64))
    return {
        "timesteps": len(sample),
        "reward_sum": total,
        "mean_reward": total / len(sample),
        "done_count": int(sample.dones.sum()),
    }
