"""The config of a plain world's runtime, and the parts that are made of it."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from townlet_behavior import (
    ActionVocabulary,
    AgentIntent,
    BridgeConfig,
    CommitmentConfig,
    Controller,
    ScheduledBehavior,
    ScriptedBehavior,
    Shift,
    WorldView,
)
from townlet_behavior.config import OnPolicyError
from townlet_runtime.config.load import config_from, load_config
from townlet_runtime.config.schema import Config
from townlet_runtime.config.town import bridge_config, script_config
from townlet_runtime.town.config import TownConfig
from townlet_trajectory.storage.json import JsonValue

log = logging.getLogger(__name__)

ConfigLike: TypeAlias = Config | Mapping[str, JsonValue] | str | os.PathLike[str]
"""A config, the content of a config file, or the path of one."""


def read_settings(config: ConfigLike) -> Config:
    """Return the checked config; keys without effect are logged as one warning.

    Raises:
        ConfigError: names the file, the key, and what was expected.
    """
    if isinstance(config, Config):
        return config
    loaded = config_from(dict(config), source="(config)") if isinstance(config, Mapping) else load_config(Path(config))
    if loaded.warning is not None:
        log.warning("%s", loaded.warning)
    return loaded.config


def seed_of(config: Config) -> int:
    """Return the seed of the scenario, else of the config, else 0."""
    said = config.seed if config.scenario.seed is None else config.scenario.seed
    return 0 if said is None else said


def shifts_of(config: Config) -> dict[str, Shift]:
    """Return when and where jobs begin, by name."""
    return {
        name: Shift(start_tick=job.start_tick, location=(0, 0) if job.location is None else job.location)
        for name, job in config.jobs.items()
    }


def scripted_behavior(config: Config) -> Controller[WorldView, AgentIntent]:
    """Return the scripted behavior with the thresholds, jobs and grid of a config, and its scenario's schedules."""
    script = ScriptedBehavior(
        script_config(config),
        jobs=shifts_of(config),
        chat_cooldown_ticks=config.social.chat_cooldown_ticks,
        relationships=config.social.relationships,
        grid_size=config.town["grid_size"],
    )
    schedules = {
        agent.id: [AgentIntent(**vars(intent)) for intent in agent.schedule]
        for agent in config.scenario.agents
        if agent.schedule
    }
    return ScheduledBehavior(script, schedules) if schedules else script


def plain_bridge_config(
    config: Config, vocabulary: ActionVocabulary, *, on_policy_error: OnPolicyError | None
) -> BridgeConfig:
    """Return the settings of the bridge at ratio 0, with the commitments of a plain world's own vocabulary.

    Args:
        config: of the runtime.
        vocabulary: whose kinds bind.
        on_policy_error: goes before the config; None: as the config says.
    """
    said = bridge_config(config, ratio=0.0, commitment=commitment_config(config, vocabulary))
    return said if on_policy_error is None else replace(said, on_policy_error=on_policy_error)


def commitment_config(config: Config, vocabulary: ActionVocabulary) -> CommitmentConfig:
    """Return for how many ticks a choice binds, by kind.

    A number in the config is that of every kind; a mapping changes the town's own lengths, and kinds that are in
    neither bind nothing. Waiting binds only where a mapping says so, and `blocked` never. Steps (`move:*`) and
    `release` are done in one tick.
    """
    said: int | Mapping[str, int] = config.town["option_ticks"]
    if isinstance(said, int):
        ticks = dict.fromkeys(vocabulary.kinds, said)
        ticks[vocabulary.kinds[vocabulary.wait]] = 0
    else:
        own = {**TownConfig().option_ticks, **said}
        ticks = {kind: own.get(kind, 0) for kind in vocabulary.kinds}
    for key, kind in zip(vocabulary.keys, vocabulary.kinds, strict=True):
        if kind == "release" or key.startswith("move:"):
            ticks[kind] = min(ticks[kind], 1)
        elif kind == "blocked":
            ticks[kind] = 0
    return CommitmentConfig(ticks=ticks)
