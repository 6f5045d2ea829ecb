"""`townlet capture rollout`: what a town does by schedule and script, as a capture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from townlet_runtime.cli.capture_files import capture_info, record_town, with_seed_agents, write_town_captures
from townlet_runtime.cli.console import Console, Json
from townlet_runtime.cli.exits import SUCCESS, CommandError, end_on_signals
from townlet_runtime.cli.worlds import load, seed_of
from townlet_trajectory import TrajectoryBatch


@dataclass(frozen=True, kw_only=True)
class RolloutOptions:
    """The options of `townlet capture rollout`."""

    config: Path
    ticks: int
    output: Path
    prefix: str
    auto_seed_agents: bool
    agent_id: str | None


def capture_rollout(options: RolloutOptions, console: Console) -> int:
    """Live, write the capture, print what it came to, and return the exit code.

    Raises:
        CommandError: if the config is of another environment than the town, or there is no such agent.
        ConfigError: if the config is wrong.
        ArtifactError: if the capture cannot be written.
    """
    config = load(options.config, (), (), console).config
    if not config.environment.is_town:
        raise CommandError(f"{options.config}: only the town can be captured, and this is {config.environment.name}")
    if options.auto_seed_agents:
        config = with_seed_agents(config)
    ticks, seed = config.scenario.ticks or options.ticks, seed_of(config)
    with end_on_signals():
        batch, spec = record_town(config, ticks=ticks, seed=seed)
        if options.agent_id is not None:
            batch = _only(batch, options.agent_id)
        info = capture_info(config, path=options.config, ticks=ticks, seed=seed, policy=None)
        manifest = write_town_captures(options.output, batch, spec, policy=None, info=info, prefix=options.prefix)
    record: dict[str, Json] = {"samples": len(batch), "ticks": ticks, "manifest": str(manifest)}
    console.result(record, [f"Captured {len(batch)} replay samples to {options.output}"])
    return SUCCESS


def _only(batch: TrajectoryBatch, agent_id: str) -> TrajectoryBatch:
    """The trajectories of one agent."""
    chosen = (batch.agent_ids == agent_id).nonzero()[0]
    if not chosen.size:
        present = ", ".join(np.unique(batch.agent_ids.astype(str)).tolist())
        raise CommandError(f"--agent-id {agent_id}: nobody of this name was there, only {present}")
    return batch.select(chosen)
