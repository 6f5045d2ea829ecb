"""`townlet replay`: what one replay sample holds, and whether it is sound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from townlet_runtime.cli.console import SUCCESS, CommandError, Console, Json
from townlet_runtime.cli.reports.rewards import summarize_rewards
from townlet_trajectory.formats.captures.sample import ReplaySample, decode_sample
from townlet_trajectory.storage.json import MAX_JSON_BYTES
from townlet_trajectory.storage.npz import MAX_NPZ_BYTES
from townlet_trajectory.storage.paths import read_named

VALID = "Sample validation successful."
_SHOWN_FEATURES = (
    "need_hunger",
    "need_hygiene",
    "need_energy",
    "rivalry_max",
    "rivalry_avoid_count",
    "social_trust_mean",
    "social_rivalry_mean",
)
"""Shown to people where a sample has them; `--json` holds all."""


@dataclass(frozen=True, kw_only=True)
class ReplayOptions:
    """The options of `townlet replay`."""

    sample: Path
    meta: Path | None
    """None: the `.json` beside the sample."""
    telemetry: Path | None
    validate: bool


def replay_sample(options: ReplayOptions, console: Console) -> int:
    """Read a sample, print what it holds, or that it is valid, and return the exit code.

    Every sample is checked whole when it is read: its arrays, their lengths and numbers, its digest where it has one.

    Raises:
        CommandError: if the telemetry is of another agent.
        ArtifactError: if a file is missing, damaged or contradicts another.
    """
    meta = options.sample.with_suffix(".json") if options.meta is None else options.meta
    sample = decode_sample(
        read_named(options.sample, max_bytes=MAX_NPZ_BYTES),
        read_named(meta, max_bytes=MAX_JSON_BYTES),
        npz_path=options.sample,
        description_path=meta,
    )
    telemetry = None if options.telemetry is None else _told(options.telemetry, sample)
    features = _features(sample)
    record: dict[str, Json] = {
        "sample": str(options.sample),
        "valid": True,
        "timesteps": len(sample),
        "metadata": dict(sample.metadata),
        "features": features,
        "telemetry": telemetry,
    }
    lines = [VALID] if options.validate else [*_metadata_lines(sample), *_feature_lines(features)]
    if telemetry is not None:
        lines += ["Telemetry:", *(f"  {name}: {value}" for name, value in telemetry.items())]
    console.result(record, lines)
    return SUCCESS


def _features(sample: ReplaySample) -> dict[str, float]:
    """Return the named features of the first step."""
    return dict(zip(sample.feature_names, np.asarray(sample.features[0], np.float64).tolist(), strict=True))


def _metadata_lines(sample: ReplaySample) -> list[str]:
    metadata = sample.metadata
    lines = ["Observation metadata:", f"  variant: {metadata.get('variant')}"]
    lines += [f"  map_shape: {sample.map.shape[1:]}", f"  map_channels: {metadata.get('map_channels')}"]
    social = metadata.get("social_context")
    if isinstance(social, dict):
        lines += ["  social_context:", *(f"    {name}: {value}" for name, value in social.items())]
    return lines


def _feature_lines(features: Mapping[str, float]) -> list[str]:
    shown = [name for name in _SHOWN_FEATURES if name in features]
    return ["Named features, first step:", *(f"  {name}: {features[name]:.3f}" for name in shown)]


def _told(path: Path, sample: ReplaySample) -> dict[str, Json]:
    """Sum up what telemetry tells of the sample's agent.

    Args:
        path: of what `townlet run --telemetry-path` writes, or one JSON object or array of such objects.
        sample: whose agent is looked for.

    Raises:
        CommandError: if there are rewards, and none of the agent.
    """
    summary = summarize_rewards([path])
    agent = sample.metadata.get("agent_id")
    found = summary.agents.get(agent) if isinstance(agent, str) else None
    if found is None and summary.agents and isinstance(agent, str):
        raise CommandError(f"{path}: tells nothing of `{agent}`, the agent of {sample.path}")
    return {
        "records": summary.payloads,
        "agent_records": 0 if found is None else found.samples,
        "reward_sum": None if found is None else found.total,
    }
