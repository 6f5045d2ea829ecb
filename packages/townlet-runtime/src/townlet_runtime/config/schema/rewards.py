"""`rewards`: coefficients of the reward."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from townlet_runtime.config.schema.base import NO_EFFECT, Section


class NeedsWeights(Section):
    """How much each unmet need weighs."""

    hunger: float = Field(1.0, ge=0.5, le=2.0)
    hygiene: float = Field(0.6, ge=0.2, le=1.0)
    energy: float = Field(0.8, ge=0.4, le=1.5)


class DecayRates(Section):
    """How fast each need falls, per tick. Keys beyond these are accepted and have no effect."""

    model_config = {"extra": "allow"}
    __pydantic_extra__: dict[str, float] = Field(init=False)

    hunger: float = Field(0.01, ge=0.0, le=1.0)
    hygiene: float = Field(0.005, ge=0.0, le=1.0)
    energy: float = Field(0.008, ge=0.0, le=1.0)


class SocialRewards(Section):
    """Rewards of what agents are to each other, by the stages of `features.stages.social_rewards`."""

    C1_chat_base: float = Field(0.01, ge=0.0, le=0.05)
    """Of a chat."""
    C1_coeff_trust: float = Field(0.3, ge=0.0, le=1.0)
    """More for each unit of trust in the partner."""
    C1_coeff_fam: float = Field(0.2, ge=0.0, le=1.0)
    """More for each unit of familiarity."""
    C2_avoid_conflict: float = Field(0.005, ge=0.0, le=0.02)
    """For keeping out of a rival's way."""


class RewardClip(Section):
    """Bounds of the reward."""

    clip_per_tick: float = Field(0.2, ge=0.01, le=1.0)
    clip_per_episode: Annotated[float, Field(ge=1.0, le=200.0), NO_EFFECT] = 50.0
    no_positive_within_death_ticks: Annotated[int, Field(ge=0, le=200), NO_EFFECT] = 10


class Rewards(Section):
    """`rewards`; the town's documentation has the formula."""

    needs_weights: NeedsWeights = NeedsWeights()
    decay_rates: DecayRates = DecayRates()
    needs_penalty: float = Field(0.01, ge=0.0, le=1.0)
    """Per tick with every need at 0."""
    punctuality_bonus: float = Field(0.05, ge=0.0, le=0.1)
    """For being at work when the shift begins."""
    wage_rate: float = Field(0.01, ge=0.0, le=0.05)
    """Per tick worked."""
    survival_tick: float = Field(0.002, ge=0.0, le=0.01)
    faint_penalty: float = Field(-1.0, ge=-5.0, le=0.0)
    discount: float = Field(0.99, ge=0.0, lt=1.0)
    """γ for which leaving early must not pay."""
    eviction_penalty: Annotated[float, Field(ge=-5.0, le=0.0), NO_EFFECT] = -2.0
    social: SocialRewards = SocialRewards()
    clip: RewardClip = RewardClip()
