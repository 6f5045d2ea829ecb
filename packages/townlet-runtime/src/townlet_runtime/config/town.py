"""What a config says about the town, as the town takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from townlet_behavior import BridgeConfig, ScriptedConfig
from townlet_behavior.commitment import CommitmentConfig
from townlet_runtime.config.schema import Config
from townlet_runtime.config.schema.world import AffordanceOverride, Economy
from townlet_runtime.errors import ConfigError
from townlet_runtime.town.config import (
    OBJECT_TYPES,
    AffordanceSpec,
    AgentSpec,
    JobSpec,
    ObjectSpec,
    ObjectType,
    QueueConfig,
    RewardConfig,
    TownConfig,
)

DEFAULT_EPISODE_TICKS = 1000


def town_config(config: Config) -> TownConfig:
    """Return the town that `config` describes.

    Raises:
        TownConfigError: if parts of it contradict each other.
        ConfigError: if an option kind is unknown.
    """
    town, hybrid = config.town, config.observations_config.hybrid
    decay = config.rewards.decay_rates
    types: dict[str, ObjectType] = {name: name for name in OBJECT_TYPES}
    return TownConfig(
        num_agents=town.agents,
        episode_ticks=town.episode_ticks or config.scenario.ticks or DEFAULT_EPISODE_TICKS,
        ticks_per_day=town.ticks_per_day or hybrid.time_ticks_per_day,
        grid_size=config.world.grid_size,
        local_window=town.local_window or hybrid.local_window,
        objects=tuple(
            ObjectSpec(id=item.id, type=types[item.type], position=item.position, places=item.places)
            for item in config.scenario.objects
            if item.type in types
        ),
        agents=tuple(
            AgentSpec(
                id=agent.id,
                position=agent.position,
                needs=(agent.needs.hunger, agent.needs.hygiene, agent.needs.energy),
                wallet=agent.wallet,
                job=agent.job,
            )
            for agent in config.scenario.agents
        ),
        jobs=tuple(
            JobSpec(
                name=name,
                start_tick=job.start_tick,
                end_tick=job.end_tick,
                wage_rate=job.wage_rate or config.economy.wage_income,
                lateness_penalty=job.lateness_penalty,
                location=job.location or (0, 0),
            )
            for name, job in config.jobs.items()
        ),
        needs_decay=(decay.hunger, decay.hygiene, decay.energy),
        affordances=_affordances(config),
        fridge_stock=town.fridge_stock,
        stove_stock=town.stove_stock,
        stove_stock_replenish=config.economy.stove_stock_replenish,
        delivery_ticks=town.delivery_ticks,
        rewards=_rewards(config),
        queue=QueueConfig(
            cooldown_ticks=config.queue_fairness.cooldown_ticks,
            ghost_step_after=config.queue_fairness.ghost_step_after,
            length_boost=config.conflict.rivalry.queue_length_boost,
        ),
        respawn_delay_ticks=config.lifecycle.respawn_delay_ticks,
        option_ticks=_option_ticks(config),
    )


def script_config(config: Config) -> ScriptedConfig:
    """Return the thresholds of the scripted behavior."""
    behavior = config.behavior
    return ScriptedConfig(
        hunger_threshold=behavior.hunger_threshold,
        hygiene_threshold=behavior.hygiene_threshold,
        energy_threshold=behavior.energy_threshold,
        job_arrival_buffer=behavior.job_arrival_buffer,
    )


def bridge_config(config: Config, *, ratio: float) -> BridgeConfig:
    """Return how the bridge decides; `ratio` is the share of decisions given to the policy."""
    said = None if config.ppo is None else config.ppo.min_ratio
    bridge = BridgeConfig(ratio=ratio, commitment=CommitmentConfig(ticks=_option_ticks(config)))
    return bridge if said is None else replace(bridge, min_ratio=said)


def _rewards(config: Config) -> RewardConfig:
    rewards, weights = config.rewards, config.rewards.needs_weights
    return RewardConfig(
        survival_tick=rewards.survival_tick,
        needs_penalty=rewards.needs_penalty,
        needs_weights=(weights.hunger, weights.hygiene, weights.energy),
        wage_rate=rewards.wage_rate,
        punctuality_bonus=rewards.punctuality_bonus,
        late_tick_penalty=config.employment.late_tick_penalty,
        faint_penalty=rewards.faint_penalty,
        clip_per_tick=rewards.clip.clip_per_tick,
        discount=rewards.discount,
    )


def _affordances(config: Config) -> Mapping[ObjectType, AffordanceSpec]:
    """The town's own, with the prices of `economy`, with what `town.affordances` says."""
    priced = dict(TownConfig().affordances)
    economy, overrides = config.economy, config.town.affordances
    priced["fridge"] = replace(priced["fridge"], cost=economy.meal_cost)
    priced["stove"] = _cooking(priced["stove"], economy)
    said: dict[ObjectType, AffordanceOverride] = {
        "fridge": overrides.fridge,
        "stove": overrides.stove,
        "shower": overrides.shower,
        "bed": overrides.bed,
    }
    return {name: _overridden(spec, said[name]) for name, spec in priced.items()}


def _cooking(stove: AffordanceSpec, economy: Economy) -> AffordanceSpec:
    hunger, _, _ = stove.effects
    effects = (hunger, -economy.cook_hygiene_cost, -economy.cook_energy_cost)
    return replace(stove, cost=economy.ingredients_cost, effects=effects)


def _overridden(spec: AffordanceSpec, said: AffordanceOverride) -> AffordanceSpec:
    hunger, hygiene, energy = spec.effects
    return AffordanceSpec(
        duration=spec.duration if said.duration is None else said.duration,
        effects=(
            hunger if said.effects.hunger is None else said.effects.hunger,
            hygiene if said.effects.hygiene is None else said.effects.hygiene,
            energy if said.effects.energy is None else said.effects.energy,
        ),
        cost=spec.cost if said.cost is None else said.cost,
        uses_stock=spec.uses_stock if said.uses_stock is None else said.uses_stock,
        meals_made=spec.meals_made if said.meals_made is None else said.meals_made,
    )


def _option_ticks(config: Config) -> Mapping[str, int]:
    """Commitment length by kind. A single length is that of every kind but `wait`; a mapping changes the town's own."""
    own, said = TownConfig().option_ticks, config.policy_runtime.option_commit_ticks
    if isinstance(said, int):
        return {kind: 0 if kind == "wait" else said for kind in own}
    unknown = sorted(set(said) - set(own))
    if unknown:
        raise ConfigError(
            f"expected kinds among {', '.join(own)}, got {', '.join(unknown)}", key="policy_runtime.option_commit_ticks"
        )
    return {**own, **said}
