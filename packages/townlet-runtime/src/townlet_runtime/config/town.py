"""What a config says about the town, as the town takes it."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace

from townlet_behavior import BridgeConfig, ScriptedConfig
from townlet_behavior.commitment import CommitmentConfig
from townlet_runtime.config.schema import Config
from townlet_runtime.config.schema.world import Intent
from townlet_runtime.config.town_affordances import affordance_specs
from townlet_runtime.errors import ConfigError
from townlet_runtime.town.config import (
    OBJECT_TYPES,
    AgentSpec,
    JobSpec,
    LifecycleConfig,
    NeedsDecay,
    NeedsWeights,
    ObjectSpec,
    ObjectType,
    PersonalityConfig,
    QueueConfig,
    RewardConfig,
    RivalryConfig,
    ScheduledIntent,
    SocialConfig,
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
        episode_ticks=_episode_ticks(config),
        ticks_per_day=town.ticks_per_day or hybrid.time_ticks_per_day,
        grid_size=config.world.grid_size,
        local_window=town.local_window or hybrid.local_window,
        objects=tuple(
            ObjectSpec(id=item.id, type=types[item.type], position=item.position, places=item.places)
            for item in config.scenario.objects
            if item.type in types
        ),
        agents=_agents(config),
        jobs=_jobs(config),
        needs_decay=NeedsDecay(decay.hunger, decay.hygiene, decay.energy),
        affordances=affordance_specs(config),
        fridge_stock=town.fridge_stock,
        stove_stock=town.stove_stock,
        stove_stock_replenish=config.economy.stove_stock_replenish,
        delivery_ticks=town.delivery_ticks,
        rewards=_rewards(config),
        queue=QueueConfig(
            cooldown_ticks=config.queue_fairness.cooldown_ticks,
            ghost_step_after=config.queue_fairness.ghost_step_after,
        ),
        rivalry=RivalryConfig(**config.conflict.rivalry.model_dump()),
        social=_social(config),
        personality=PersonalityConfig(
            distribution=config.personalities.distribution,
            overrides=config.personalities.overrides,
            profiles=config.features.behavior.personality_profiles,
            reward_multipliers=config.features.behavior.reward_multipliers,
        ),
        lifecycle=LifecycleConfig(**config.lifecycle.model_dump()),
        option_ticks=_option_ticks(config),
    )


def script_config(config: Config) -> ScriptedConfig:
    """Return the thresholds of the scripted behavior, and whether characters change them."""
    behavior, characters = config.behavior, config.features.behavior
    return ScriptedConfig(
        hunger_threshold=behavior.hunger_threshold,
        hygiene_threshold=behavior.hygiene_threshold,
        energy_threshold=behavior.energy_threshold,
        job_arrival_buffer=behavior.job_arrival_buffer,
        personality_profiles=characters.personality_profiles,
        reward_multipliers=characters.reward_multipliers,
    )


def bridge_config(config: Config, *, ratio: float) -> BridgeConfig:
    """Return how the bridge decides; `ratio` is the share of decisions given to the policy."""
    said = None if config.ppo is None else config.ppo.min_ratio
    bridge = BridgeConfig(ratio=ratio, commitment=CommitmentConfig(ticks=_option_ticks(config)))
    return bridge if said is None else replace(bridge, min_ratio=said)


def _episode_ticks(config: Config) -> int:
    said = config.town.episode_ticks or config.scenario.ticks or DEFAULT_EPISODE_TICKS
    bound = config.environment.max_episode_ticks
    return said if bound is None else min(said, bound)


def _agents(config: Config) -> tuple[AgentSpec, ...]:
    unplaced = {item.id for item in config.scenario.objects if item.type not in OBJECT_TYPES}
    return tuple(
        AgentSpec(
            id=agent.id,
            position=agent.position,
            needs=(agent.needs.hunger, agent.needs.hygiene, agent.needs.energy),
            wallet=agent.wallet,
            job=agent.job,
            personality_profile=agent.personality_profile,
            schedule=tuple(_intent(intent, unplaced) for intent in agent.schedule),
        )
        for agent in config.scenario.agents
    )


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


def _intent(intent: Intent, unplaced: Container[str]) -> ScheduledIntent:
    """An entry of a schedule; what it wants of an object that the town does not have becomes a tick of waiting."""
    if intent.object_id in unplaced:
        return ScheduledIntent(kind="wait")
    return ScheduledIntent(
        kind=intent.kind,
        object_id=intent.object_id,
        affordance_id=intent.affordance_id,
        position=intent.position,
        target_agent=intent.target_agent,
        blocked=intent.blocked,
    )


def _social(config: Config) -> SocialConfig:
    rewards, town = config.rewards.social, config.town
    override, stages = config.training.social_reward_stage_override, config.features.stages
    return SocialConfig(
        relationships=stages.relationships != "OFF",
        social_rewards=stages.social_rewards if override is None else override,
        chat_base=rewards.C1_chat_base,
        coeff_trust=rewards.C1_coeff_trust,
        coeff_familiarity=rewards.C1_coeff_fam,
        avoid_conflict=rewards.C2_avoid_conflict,
        chat_cooldown_ticks=town.chat_cooldown_ticks,
        takeover_ticks=town.takeover_ticks,
        max_edges=town.max_relationships,
    )


def _rewards(config: Config) -> RewardConfig:
    rewards, weights = config.rewards, config.rewards.needs_weights
    return RewardConfig(
        survival_tick=rewards.survival_tick,
        needs_penalty=rewards.needs_penalty,
        needs_weights=NeedsWeights(weights.hunger, weights.hygiene, weights.energy),
        wage_rate=rewards.wage_rate,
        punctuality_bonus=rewards.punctuality_bonus,
        late_tick_penalty=config.employment.late_tick_penalty,
        faint_penalty=rewards.faint_penalty,
        clip_per_tick=rewards.clip.clip_per_tick,
        discount=rewards.discount,
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
