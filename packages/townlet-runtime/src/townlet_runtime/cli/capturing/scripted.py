"""`townlet capture scripted`: what the agents of a town do by a behavior that is named, as samples with tags."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from townlet_runtime.cli.capturing.surroundings import descriptions_of
from townlet_runtime.cli.commands.capture import capture_info, record_world, town_layout, with_seed_agents
from townlet_runtime.cli.console import SUCCESS, CommandError, Console, Json, end_on_signals
from townlet_runtime.cli.worlds import Worlds, load, seed_of
from townlet_runtime.config import Config
from townlet_runtime.runs.directory import require_writable
from townlet_runtime.simulation.interface import AGENTS, SimulationSpec
from townlet_runtime.town.behaviors import BEHAVIORS
from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.formats.captures.directory import CaptureInfo
from townlet_trajectory.formats.captures.sample import encode_sample
from townlet_trajectory.storage.files import DirectoryLock, make_directory, write_bytes_atomic
from townlet_trajectory.storage.paths import escaped


@dataclass(frozen=True, kw_only=True)
class ScriptedOptions:
    """The options of `townlet capture scripted`."""

    config: Path | None
    scenario: str
    """Name of a behavior of the town."""
    ticks: int
    output: Path
    tags: tuple[str, ...]
    """Empty: the behavior's name."""


def capture_scripted(options: ScriptedOptions, console: Console) -> int:
    """Let all agents live by one behavior, write a sample of each, and return the exit code.

    Agents that the scenario gives a schedule live by the behavior too: it is what the samples are named by. Where the
    scenario places nobody, alice, bob and a stove are added.

    Raises:
        CommandError: if there is no such behavior, or the world is no town.
        ConfigError: if the config is wrong.
        ArtifactError: if a sample cannot be written.
    """
    if options.scenario not in BEHAVIORS:
        raise CommandError(
            f"--scenario {options.scenario}: expected a behavior of the town ({', '.join(BEHAVIORS)}); it is no name "
            "of a scenario"
        )
    config = _without_schedules(with_seed_agents(load(options.config, (), (), console).config))
    worlds = Worlds.of(config)
    if worlds.towns is None:
        raise CommandError(f"scripted samples are of the town, and the world is `{worlds.environment}`")
    require_writable(options.output)
    seed = seed_of(config)
    info = replace(
        capture_info(config, path=options.config, ticks=options.ticks, seed=seed, policy=None),
        scenario_name=options.scenario,
    )
    with end_on_signals():
        batches, specs, _ = record_world(worlds, ticks=options.ticks, seed=seed, behavior=options.scenario)
        names = _write(options, batches[AGENTS], specs[AGENTS], info)
    record: dict[str, Json] = {"samples": len(names), "ticks": options.ticks, "files": names}
    if console.json:
        console.result(record, ())
    else:
        console.note(f"captured {len(names)} samples to {options.output}")
    return SUCCESS


def _without_schedules(config: Config) -> Config:
    agents = tuple(replace(agent, schedule=()) for agent in config.scenario.agents)
    return config.model_copy(update={"scenario": config.scenario.model_copy(update={"agents": agents})})


def _write(options: ScriptedOptions, batch: TrajectoryBatch, spec: SimulationSpec, info: CaptureInfo) -> Sequence[str]:
    """Write `SCENARIO_AGENT.npz` and `.json` of each trajectory; those of a later life of an agent end in a number."""
    layout, own, lives = town_layout(spec), descriptions_of(batch), Counter[str]()
    names: list[str] = []
    make_directory(options.output)
    with DirectoryLock(options.output):
        for index in range(len(batch)):
            trajectory = batch.trajectory(index)
            lives[trajectory.agent_id] += 1
            later = f"_{life:03d}" if (life := lives[trajectory.agent_id]) > 1 else ""
            path = options.output / f"{options.scenario}_{escaped(trajectory.agent_id)}{later}.npz"
            npz, description, _ = encode_sample(
                trajectory,
                final_value=0.0,
                layout=layout,
                info=info.document(),
                own=own[index],
                npz_path=path,
                tags=options.tags or (options.scenario,),
            )
            write_bytes_atomic(path, npz)
            write_bytes_atomic(path.with_suffix(".json"), description)
            names.append(path.name)
    return names
