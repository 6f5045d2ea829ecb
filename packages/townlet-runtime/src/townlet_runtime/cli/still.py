"""A still of the town for the report: how the learned policy lives in it."""

from __future__ import annotations

from pathlib import Path

from townlet_runtime.cli.worlds import Towns
from townlet_runtime.config import Config, bridge_config, script_config, town_config
from townlet_runtime.core.loop import SimulationLoop
from townlet_runtime.core.runtime import PolicyRuntime
from townlet_runtime.policy.onnx import OnnxPolicy
from townlet_runtime.report import TownPicture
from townlet_runtime.runs.directory import POLICY
from townlet_runtime.town.render import town_picture

_TICK = 200
"""At which the still is taken: the town is settled, and no day is over."""


def picture_of(run_dir: Path, config: Config, *, seed: int) -> TownPicture | None:
    """Let the policy of `run_dir` act alone in one town for a while, and draw the town; None for another world."""
    if not config.environment.is_town:
        return None
    town = Towns(town=town_config(config), script=script_config(config))(1)
    runtime = PolicyRuntime(
        town.spec,
        town.scripted("scripted"),
        config=bridge_config(config, ratio=1.0),
        policy=OnnxPolicy.load(run_dir / POLICY),
        service=None,
        seed=seed,
        greedy=True,
        guardrails=town.guardrails(),
    )
    loop = SimulationLoop(town, runtime)
    loop.reset(seed)
    ticks = min(_TICK, town.spec.episode_ticks - 1)
    if ticks > 0:
        loop.run_for(ticks)
    return town_picture(town, title=f"the learned policy at tick {ticks}")
