"""`townlet capture rollout` and `townlet run --record`: a town's steps as classic replay samples."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.cli.checks import require_empty
from townlet_runtime.cli.console import SUCCESS, CommandError, Console, Json, end_on_signals
from townlet_runtime.cli.worlds import load, seed_of
from townlet_runtime.config import Config, bridge_config, script_config, town_config
from townlet_runtime.core.loop import SimulationLoop
from townlet_runtime.core.runtime import PolicyRuntime
from townlet_runtime.errors import ConfigError
from townlet_runtime.policy.policy import Policy
from townlet_runtime.simulation.interface import SimulationSpec, schema_of
from townlet_runtime.town import Town
from townlet_runtime.town.config import AgentSpec, Needs, ObjectSpec
from townlet_runtime.town.observations import MAP_CHANNELS
from townlet_trajectory import ArtifactError, TrajectoryBatch, TrajectoryService
from townlet_trajectory.formats.captures.directory import DEFAULT_PREFIX, CaptureInfo, write_captures
from townlet_trajectory.formats.captures.sample import CaptureLayout
from townlet_trajectory.storage.json import JsonValue

MAX_ROWS = 2_000_000
"""Steps of agents that are kept in memory."""

# The original's files know no kind `work`: its scripted agents moved to work.
_CLASSIC_KINDS = {"work": "move"}
_AGENTS_PER_UNIT = 4.0
"""Agents in a cell of the map's channels `agents` and `reservations` where it is 1."""
# The original's features had slots for the others whom an agent knows best; the town's have none.
_NO_SOCIAL_SLOTS: Mapping[str, JsonValue] = {
    "configured_slots": 0,
    "slot_dim": 0,
    "aggregates": [],
    "filled_slots": 0,
    "relation_source": "none",
    "has_data": False,
}
_SEED_AGENTS = (
    AgentSpec(id="alice", position=(0, 0), needs=Needs(hunger=0.3, hygiene=0.4, energy=0.5), wallet=2.0),
    AgentSpec(id="bob", position=(1, 0), needs=Needs(hunger=0.6, hygiene=0.7, energy=0.8), wallet=3.0),
)
_SEED_STOVE = ObjectSpec(id="stove_1", type="stove", position=(0, 0))


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


def with_seed_agents(config: Config) -> Config:
    """Return `config` with alice, bob and a stove where its scenario places nobody; as it is where it does."""
    scenario = config.scenario
    if scenario.agents:
        return config
    has_stove = any(item.type == "stove" for item in scenario.objects)
    objects = scenario.objects if has_stove else (*scenario.objects, _SEED_STOVE)
    seeded = scenario.model_copy(update={"agents": _SEED_AGENTS, "objects": objects})
    return config.model_copy(update={"scenario": seeded})


def record_town(config: Config, *, ticks: int, seed: int) -> tuple[TrajectoryBatch, SimulationSpec]:
    """Let the town that `config` describes live for `ticks` by schedule and script; return all that happened.

    Args:
        config: of a town.
        ticks: at least 1.
        seed: of the town and of every draw.

    Returns:
        The trajectories of all agents, and the specification of the town.

    Raises:
        ConfigError: if the town cannot be, or does more than `MAX_ROWS` steps.
    """
    town = Town(town_config(config), num_worlds=1, script=script_config(config))
    rows = ticks * town.config.population
    if rows > MAX_ROWS:
        raise ConfigError(f"at most {MAX_ROWS:,} steps of agents are kept in memory, and these are {rows:,}")
    runtime = PolicyRuntime(
        town.spec,
        town.scripted("scripted"),
        config=bridge_config(config, ratio=0.0),
        policy=None,
        # The town always masks, and schema and mask must agree.
        service=TrajectoryService(schema_of(town.spec, masked=True), max_rows=MAX_ROWS, on_full="raise"),
        seed=seed,
        guardrails=town.guardrails(),
    )
    loop = SimulationLoop(town, runtime)
    loop.reset(seed)
    loop.run_for(ticks)
    return runtime.collect_trajectory(), town.spec


def capture_info(config: Config, *, path: Path | None, ticks: int, seed: int, policy: Policy | None) -> CaptureInfo:
    """Describe where a capture comes from; a scenario without a name has that of its file.

    Args:
        config: of the town.
        path: of the config's file; None: the built-in config.
        ticks: that were recorded.
        seed: of the town.
        policy: that acted; None: the script alone.
    """
    stem = None if path is None else path.stem
    return CaptureInfo(
        config_path=None if path is None else str(path),
        config_id=config.config_id,
        scenario_name=stem if config.scenario.name is None else config.scenario.name,
        scenario_description=config.scenario.description,
        ticks=ticks,
        seed=seed,
        policy_hash=None if policy is None else policy.digest,
        capture_timestamp=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def write_town_captures(
    folder: Path,
    batch: TrajectoryBatch,
    spec: SimulationSpec,
    *,
    policy: Policy | None,
    info: CaptureInfo,
    prefix: str = DEFAULT_PREFIX,
) -> Path:
    """Write one sample per trajectory of a town, and the manifest; return the manifest's path.

    Args:
        folder: created where missing; files of the same names are replaced.
        policy: says what the final observations are worth; None: nothing.
        prefix: of the file names.

    Raises:
        ArtifactError: if a file cannot be written.
    """
    layout = CaptureLayout(
        feature_names=spec.feature_names, map_channels=MAP_CHANNELS, action_texts=_action_texts(spec)
    )
    return write_captures(
        folder,
        batch,
        final_values=_final_values(batch, spec, policy),
        layout=layout,
        info=info,
        prefix=prefix,
        descriptions=_descriptions(batch),
    )


def _action_texts(spec: SimulationSpec) -> tuple[str, ...]:
    vocabulary = spec.vocabulary
    return tuple(
        json.dumps({"action": key, "kind": _CLASSIC_KINDS.get(kind, kind)}, sort_keys=True, separators=(",", ":"))
        for key, kind in zip(vocabulary.keys, vocabulary.kinds, strict=True)
    )


def _final_values(batch: TrajectoryBatch, spec: SimulationSpec, policy: Policy | None) -> NDArray[np.float32]:
    if policy is None:
        return np.zeros(len(batch), np.float32)
    observations = {name: batch.final_observations[name].astype(np.float32) for name in spec.observation_shapes}
    _, values = policy.act(observations, None)
    return np.zeros(len(batch), np.float32) if values is None else values


def _descriptions(batch: TrajectoryBatch) -> Sequence[Mapping[str, JsonValue]]:
    """What readers of the original's samples find in each beside the arrays, of the first observation."""
    surroundings = local_summaries(batch.observations["map"][batch.offsets[:-1]].astype(np.float32))
    numbers: dict[tuple[int, str], int] = {}
    return [
        {
            "variant": "hybrid",
            "embedding_slot": numbers.setdefault(agent, len(numbers)),
            "social_context": {**_NO_SOCIAL_SLOTS},
            "local_summary": {**surroundings[index]},
        }
        for index, agent in enumerate(zip(batch.worlds.tolist(), batch.agent_ids.tolist(), strict=True))
    ]


def local_summaries(maps: NDArray[np.float32]) -> list[dict[str, float]]:
    """Count what agents see around them.

    The distance is that to the nearest other agent in sight, in a straight line; the radius of sight where there is
    none.

    Args:
        maps: [B, 4, side, side] with the town's channels; the agent is in the middle.

    Returns:
        [B]; the keys of the original.
    """
    side = maps.shape[-1]
    radius, cells = side // 2, side * side
    agents, objects, reservations = maps[:, 1], maps[:, 2], maps[:, 3]
    offset = np.arange(side) - radius
    away = np.where(agents > 0.0, np.hypot(offset[:, None], offset), np.inf).min(axis=(1, 2))
    nearest = np.where(np.isfinite(away), away, float(radius))
    columns = {
        "agent_count": np.rint(agents.sum(axis=(1, 2)) * _AGENTS_PER_UNIT),
        "object_count": np.count_nonzero(objects, axis=(1, 2)),
        "reserved_tiles": np.count_nonzero(reservations, axis=(1, 2)),
        "radius": np.full(len(maps), radius),
    }
    columns |= {
        "agent_ratio": columns["agent_count"] / max(cells - 1, 1),
        "object_ratio": columns["object_count"] / cells,
        "reserved_ratio": columns["reserved_tiles"] / cells,
        "nearest_agent_distance": nearest,
        "nearest_agent_distance_norm": np.minimum(nearest / max(radius, 1), 1.0),
    }
    return [{name: float(column[row]) for name, column in columns.items()} for row in range(len(maps))]


def record_captures(
    folder: Path, batch: TrajectoryBatch, spec: SimulationSpec, *, policy: Policy | None, info: CaptureInfo
) -> Path:
    """Write one sample per trajectory and the manifest; return the manifest's path.

    Args:
        folder: must be empty still; nothing stays in it when it cannot be written.
        policy: says what the final observations are worth; None: nothing.
    """
    require_empty(folder)
    try:
        return write_town_captures(folder, batch, spec, policy=policy, info=info)
    except ArtifactError:
        # Samples without a manifest are no recording, and would refuse the next one.
        for path in folder.glob(f"{DEFAULT_PREFIX}_*"):
            path.unlink()
        raise
