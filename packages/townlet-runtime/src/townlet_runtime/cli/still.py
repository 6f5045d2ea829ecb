"""A still of the town for the report: how the learned policy lives in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from townlet_behavior import BridgeConfig
from townlet_runtime.cli.worlds import Worlds
from townlet_runtime.loop import SimulationLoop
from townlet_runtime.policies import OnnxPolicy
from townlet_runtime.report import TownPicture
from townlet_runtime.rundir import POLICY
from townlet_runtime.runtime import PolicyRuntime
from townlet_runtime.town.render import town_picture

_TICK = 200
"""At which the still is taken: the town is settled, and no day is over."""


def picture_of(run_dir: Path, worlds: Worlds, *, bridge: BridgeConfig, seed: int) -> TownPicture:
    """Let the policy of `run_dir` act alone in one town for a while, and draw the town."""
    town = worlds(1)
    runtime = PolicyRuntime(
        town.spec,
        town.scripted("scripted"),
        config=replace(bridge, ratio=1.0),
        policy=OnnxPolicy.load(run_dir / POLICY),
        service=None,
        seed=seed,
        greedy=True,
    )
    loop = SimulationLoop(town, runtime)
    loop.reset(seed)
    ticks = min(_TICK, town.spec.episode_ticks - 1)
    if ticks > 0:
        loop.run_for(ticks)
    return town_picture(town, title=f"the learned policy at tick {ticks}")
