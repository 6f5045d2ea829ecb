"""`townlet capture rollout` and `townlet run --record`: the steps of a world, those of a town as classic samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.cli.capturing.surroundings import descriptions_of
from townlet_runtime.cli.console import SUCCESS, CommandError, Console, Json, end_on_signals
from townlet_runtime.cli.recording import (
    CAPTURES,
    FileTarget,
    Target,
    require_room,
)
from townlet_runtime.cli.world_options import WorldOptions
from townlet_runtime.cli.worlds import Worlds, load, seed_of
from townlet_runtime.config import Config
from townlet_runtime.config.dump import noted
from townlet_runtime.core.loop import GroupedLoop
from townlet_runtime.policy.onnx import RecurrentOnnxPolicy
from townlet_runtime.policy.policy import MadeForSpec, Policy
from townlet_runtime.runs.directory import require_empty
from townlet_runtime.simulation.interface import AGENTS, SimulationSpec
from townlet_runtime.simulation.recorded import POLICY_STATE
from townlet_runtime.town.config import AgentSpec, Needs, ObjectSpec
from townlet_runtime.town.observations import MAP_CHANNELS
from townlet_trajectory import ArtifactError, DatasetInfo, TrajectoryBatch
from townlet_trajectory.evaluation.interfaces import training_seeds
from townlet_trajectory.evaluation.results import LEARNED, SCRIPTED
from townlet_trajectory.formats.captures.directory import DEFAULT_PREFIX, CaptureInfo, write_captures
from townlet_trajectory.formats.captures.sample import CaptureLayout
from townlet_trajectory.storage.folders import local_path
from townlet_trajectory.storage.json import JsonValue, canonical_json

# The original's files know no kind `work`: its scripted agents moved to work.
_CLASSIC_KINDS = {"work": "move"}
_SEED_AGENTS = (
    AgentSpec(id="alice", position=(0, 0), needs=Needs(hunger=0.3, hygiene=0.4, energy=0.5), wallet=2.0),
    AgentSpec(id="bob", position=(1, 0), needs=Needs(hunger=0.6, hygiene=0.7, energy=0.8), wallet=3.0),
)
_SEED_STOVE = ObjectSpec(id="stove_1", type="stove", position=(0, 0))


@dataclass(frozen=True, kw_only=True)
class RolloutOptions:
    """The options of `townlet capture rollout`."""

    config: Path | None
    world: WorldOptions
    ticks: int
    output: Target
    prefix: str
    auto_seed_agents: bool
    agent_id: str | None


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a recording comes from."""

    config: Config
    path: Path | None
    """Of the config's file; None: the built-in config."""
    worlds: Worlds
    policies: Mapping[str, MadeForSpec] | None
    """That acted, by group of agents; None: the script alone."""
    ticks: int
    seed: int
    hashes: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    """By group, the policies that acted one after the other; a recorded `policy_number` is a place among them."""


@dataclass(frozen=True, kw_only=True)
class Captured:
    """What `capture_world` has written."""

    samples: int
    ticks: int
    places: Sequence[str]
    """The manifest of captures, else a place for each group."""

    def record(self) -> dict[str, Json]:
        """Return it as JSON."""
        record: dict[str, Json] = {"samples": self.samples, "ticks": self.ticks, "manifest": self.places[0]}
        return record if len(self.places) == 1 else {**record, "files": self.places}


def capture_rollout(options: RolloutOptions, console: Console) -> int:
    """Live, write the capture, print the number of samples, and return the exit code.

    Raises:
        ConfigError: if the config is wrong.
        CommandError, ArtifactError: as `capture_world`.
    """
    found = capture_world(load(options.config, (), options.world.overrides(), console).config, options, console)
    console.result(found.record(), [f"Captured {found.samples} replay samples to {options.output.place}"])
    return SUCCESS


def capture_world(config: Config, options: RolloutOptions, console: Console) -> Captured:
    """Let the world of a config live, and write what happened.

    Args:
        config: of `options.config`.
        options: of the capture.
        console: says what is odd.

    Raises:
        CommandError: if there is no such agent, or an option of the town is given for another world.
        ArtifactError: if the capture cannot be written.
    """
    worlds = Worlds.of(config, options.world)
    if options.auto_seed_agents:
        if worlds.towns is None:
            raise CommandError(f"--auto-seed-agents: is for the town, and the world is `{worlds.environment}`")
        config = with_seed_agents(config)
        worlds = Worlds.of(config, options.world)
    options.output.require(worlds.environment, is_town=worlds.towns is not None)
    ticks, seed = config.scenario.ticks or options.ticks, seed_of(config)
    with end_on_signals():
        batches, specs, policies = record_world(worlds, ticks=ticks, seed=seed)
        if policies is not None:
            console.note(f"{worlds.environment} has no script: actions are drawn")
        if options.agent_id is not None:
            batches = _only(batches, options.agent_id)
        origin = Origin(config=config, path=options.config, worlds=worlds, policies=policies, ticks=ticks, seed=seed)
        places = write_recording(options.output, batches, specs, origin, prefix=options.prefix)
    return Captured(samples=sum(map(len, batches.values())), ticks=ticks, places=places)


def _only(batches: Mapping[str, TrajectoryBatch], agent_id: str) -> dict[str, TrajectoryBatch]:
    """The trajectories of one agent, by the groups that it is in."""
    chosen = {group: batch.select((batch.agent_ids == agent_id).nonzero()[0]) for group, batch in batches.items()}
    found = {group: batch for group, batch in chosen.items() if len(batch)}
    if not found:
        present = ", ".join(sorted({str(one) for batch in batches.values() for one in batch.agent_ids.tolist()}))
        raise CommandError(f"--agent-id {agent_id}: nobody of this name was there, only {present}")
    return found


def with_seed_agents(config: Config) -> Config:
    """Return `config` with alice, bob and a stove where its scenario places nobody; as it is where it does."""
    scenario = config.scenario
    if scenario.agents:
        return config
    has_stove = any(item.type == "stove" for item in scenario.objects)
    objects = scenario.objects if has_stove else (*scenario.objects, _SEED_STOVE)
    seeded = scenario.model_copy(update={"agents": _SEED_AGENTS, "objects": objects})
    return config.model_copy(update={"scenario": seeded})


def record_world(
    worlds: Worlds, *, ticks: int, seed: int, behavior: str = SCRIPTED
) -> tuple[dict[str, TrajectoryBatch], Mapping[str, SimulationSpec], Mapping[str, MadeForSpec] | None]:
    """Let a world live by its script, or by drawn actions where it has none; return all that happened.

    Args:
        worlds: builds it.
        ticks: at least 1.
        seed: of the world and of every draw.
        behavior: that decides, by its name in the world.

    Returns:
        The trajectories of all agents, and the specifications, by group; the policies that drew, None with a script.

    Raises:
        ConfigError: if the world cannot be built, or there may be more than `MAX_ROWS` steps.
    """
    with closing(worlds.make(1)) as simulation:
        specs = simulation.specs
        require_room(ticks, specs, option="--ticks", remedy="it")
        observed = simulation.reset(seeds=training_seeds(seed, 1))
        runtimes, policies = worlds.by_script(simulation, seed=seed, recorded=observed, behavior=behavior)
        for group, runtime in runtimes.items():
            runtime.begin(observed[group], tick=0)
        GroupedLoop(simulation, runtimes).run_for(ticks)
        return {group: runtime.collect_trajectory() for group, runtime in runtimes.items()}, specs, policies


def write_recording(
    target: Target,
    batches: Mapping[str, TrajectoryBatch],
    specs: Mapping[str, SimulationSpec],
    origin: Origin,
    *,
    prefix: str = "",
) -> list[str]:
    """Write a recording where it is to go: a town's as captures unless another format is named.

    Args:
        target: a folder or a sink.
        batches: by group of agents.
        specs: of the world, by group of agents.
        origin: where it comes from.
        prefix: beginning of every file name; empty: the format's own, and nothing stays of captures that fail.

    Returns:
        The manifest of captures, else a place for each group.

    Raises:
        ConfigError: if a sink cannot be opened.
        ArtifactError: if a file cannot be written.
    """
    is_town = origin.worlds.towns is not None
    if isinstance(target, FileTarget) and (target.format == CAPTURES or (is_town and target.format is None)):
        return [
            str(
                _write_captures(
                    local_path(target.folder, _LOCAL), batches[AGENTS], specs[AGENTS], origin, prefix=prefix
                )
            )
        ]
    before = f"{prefix}_" if prefix else ""
    return [str(target.write(batch, _info(origin, group), prefix=before)) for group, batch in batches.items()]


_LOCAL = "captures are files of this machine"


def _write_captures(folder: Path, batch: TrajectoryBatch, spec: SimulationSpec, origin: Origin, *, prefix: str) -> Path:
    policy = None if origin.policies is None else origin.policies[AGENTS]
    info = capture_info(origin.config, path=origin.path, ticks=origin.ticks, seed=origin.seed, policy=policy)
    if prefix:
        return write_town_captures(folder, batch, spec, policy=policy, info=info, prefix=prefix)
    return record_captures(folder, batch, spec, policy=policy, info=info)


def _info(origin: Origin, group: str) -> DatasetInfo:
    """Describe where the trajectories of one group come from, in any format but captures."""
    policy = None if origin.policies is None else origin.policies[group]
    digest = None if policy is None else policy.digest
    notes: dict[str, JsonValue] = {
        "environment": origin.worlds.environment,
        "controller": origin.worlds.controller,
        "guardrails": [*origin.worlds.guardrails],
        "config_id": origin.config.config_id,
        "config": noted(origin.config),
        "ticks": origin.ticks,
    }
    if len(hashes := origin.hashes.get(group, ())) > 1:
        notes["policies"] = list[JsonValue](hashes)
    return DatasetInfo(
        group=group, seeds={"world": origin.seed}, policies={} if digest is None else {LEARNED: digest}, notes=notes
    )


def capture_info(
    config: Config, *, path: Path | None, ticks: int, seed: int, policy: MadeForSpec | None
) -> CaptureInfo:
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
    policy: MadeForSpec | None,
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
    return write_captures(
        folder,
        batch,
        final_values=_final_values(batch, spec, policy),
        layout=town_layout(spec),
        info=info,
        prefix=prefix,
        descriptions=descriptions_of(batch),
    )


def town_layout(spec: SimulationSpec) -> CaptureLayout:
    """Return what the numbers of a town's samples mean."""
    return CaptureLayout(feature_names=spec.feature_names, map_channels=MAP_CHANNELS, action_texts=_action_texts(spec))


def _action_texts(spec: SimulationSpec) -> tuple[str, ...]:
    """Each action in the original's keys, and its own; the object is the type that is asked for."""
    return tuple(
        canonical_json(
            {
                "action": key,
                "affordance": None,
                "blocked": False,
                "kind": _CLASSIC_KINDS.get(kind, kind),
                "object": key.split(":")[1] if kind == "request" else None,
            }
        ).decode()
        for key, kind in zip(spec.vocabulary.keys, spec.vocabulary.kinds, strict=True)
    )


def _final_values(batch: TrajectoryBatch, spec: SimulationSpec, policy: MadeForSpec | None) -> NDArray[np.float32]:
    """What the final observations are worth, [B]; to a policy with memory, after what it saw last."""
    if not isinstance(policy, Policy):
        return np.zeros(len(batch), np.float32)
    observations = {name: batch.final_observations[name].astype(np.float32) for name in spec.observation_shapes}
    if isinstance(policy, RecurrentOnnxPolicy):
        last = batch.offsets[1:] - 1
        seen = {name: batch.observations[name][last].astype(np.float32) for name in spec.observation_shapes}
        remembered = np.asarray(batch.columns[POLICY_STATE][last], np.float32)
        *_, remembered = policy.act(seen, None, remembered)
        _, values, _ = policy.act(observations, None, remembered)
    else:
        _, values = policy.act(observations, None)
    return np.zeros(len(batch), np.float32) if values is None else values


def record_captures(
    folder: Path, batch: TrajectoryBatch, spec: SimulationSpec, *, policy: MadeForSpec | None, info: CaptureInfo
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
