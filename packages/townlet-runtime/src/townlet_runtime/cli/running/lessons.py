"""How what a person did is learned from: the commands, as they are typed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from townlet_runtime.cli.recording import CAPTURES, FileTarget
from townlet_runtime.cli.world_options import WorldOptions

if TYPE_CHECKING:
    from townlet_runtime.cli.running.setup import PreparedWorld, RunOptions
    from townlet_trajectory import TrajectoryBatch


def learning_commands(
    options: RunOptions, world: PreparedWorld, batches: Mapping[str, TrajectoryBatch], places: Sequence[str]
) -> list[str]:
    """Return the commands that clone what a person demonstrated, one for each group of agents that it was for.

    Args:
        options: that the world was made by.
        world: that was recorded.
        batches: that were written, by group.
        places: where: the manifest of captures, else a place for each group.

    Returns:
        Empty where nobody demonstrated anything, or a sink took it.
    """
    target = options.record
    if not isinstance(target, FileTarget):
        return []
    captures = target.format == CAPTURES or (target.format is None and world.town is not None)
    found = [str(target.folder)] * len(batches) if captures else places
    shown = [place for batch, place in zip(batches.values(), found, strict=True) if batch.columns["demonstrated"].any()]
    return [shlex.join(["townlet", "train", *_world(options, world), "--mode", "bc", "--data", one]) for one in shown]


def _world(options: RunOptions, world: PreparedWorld) -> list[str]:
    """The words that name the world; none of one with several groups, which a clone of one group does not fit."""
    if len(world.simulation.specs) > 1:
        return []
    code, given = world.worlds.options.code(), options.world
    named = WorldOptions(
        env=given.env or code.env,
        controller=given.controller or code.controller,
        guardrails=given.guardrails or code.guardrails,
    )
    path = [] if world.path is None else [str(world.path)]
    return [*path, *shlex.split(named.typed()), *(word for one in options.settings for word in ("--set", one))]
