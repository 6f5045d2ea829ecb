"""Build the settings of town, script and bridge from a config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from townlet_behavior import BridgeConfig, ScriptedConfig
from townlet_behavior.commitment import CommitmentConfig
from townlet_runtime.config.affordances import affordance_specs
from townlet_runtime.config.schema import Config
from townlet_runtime.errors import TownConfigError
from townlet_runtime.town.config import JobSpec, TownConfig


def town_config(config: Config) -> TownConfig:
    """Return the town that `config` describes.

    Raises:
        TownConfigError: if parts of it contradict each other.
    """
    settings: dict[str, Any] = dict(config.town)
    said = config.town["episode_ticks"] or config.scenario.ticks or TownConfig.episode_ticks
    bound = config.environment.max_episode_ticks
    settings |= {
        "episode_ticks": said if bound is None else min(said, bound),
        "affordances": affordance_specs(config),
        "option_ticks": _option_ticks(config),
    }
    return TownConfig(
        **settings,
        objects=config.scenario.objects,
        agents=config.scenario.agents,
        jobs=_jobs(config),
        rewards=config.rewards,
        queue=config.queue,
        rivalry=config.rivalry,
        social=config.social,
        personality=config.personality,
        lifecycle=config.lifecycle,
    )


def script_config(config: Config) -> ScriptedConfig:
    """Return the thresholds of the scripted behavior, and whether characters change them."""
    characters = config.personality
    return replace(
        config.behavior,
        personality_profiles=characters.profiles,
        reward_multipliers=characters.reward_multipliers,
    )


def bridge_config(config: Config, *, ratio: float) -> BridgeConfig:
    """Return the settings of the bridge; `ratio` is the share of decisions given to the policy."""
    bridge = BridgeConfig(ratio=ratio, commitment=CommitmentConfig(ticks=_option_ticks(config)))
    return replace(bridge, min_ratio=config.ppo.get("min_ratio", bridge.min_ratio))


def _jobs(config: Config) -> tuple[JobSpec, ...]:
    return tuple(
        JobSpec(
            name=name,
            start_tick=job.start_tick,
            end_tick=job.end_tick,
            wage_rate=job.wage_rate or config.economy.wage_income,
            lateness_penalty=job.lateness_penalty,
            location=job.location or (0, 0),
        )
        for name, job in config.jobs.items()
    )


def _option_ticks(config: Config) -> Mapping[str, int]:
    """Commitment length by kind. A single length is that of every kind but `wait`; a mapping changes the town's own."""
    own: Mapping[str, int] = TownConfig().option_ticks
    said: int | Mapping[str, int] = config.town["option_ticks"]
    if isinstance(said, int):
        return {kind: 0 if kind == "wait" else said for kind in own}
    unknown = sorted(set(said) - set(own))
    if unknown:
        raise TownConfigError(f"expected kinds among {', '.join(own)}, got {', '.join(unknown)}", key="option_ticks")
    return {**own, **said}
