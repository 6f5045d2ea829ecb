"""How the inhabitants of a town get on with each other, who they are, and how they come and go. Frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

from townlet_behavior.personality import PROFILES
from townlet_runtime.errors import TownConfigError

SocialStage = Literal["OFF", "C1", "C2", "C3"]
PROFILE_NAMES = tuple(profile.name for profile in PROFILES)


@dataclass(frozen=True, kw_only=True)
class SocialConfig:
    """Trust, familiarity, chats, and what they earn; `townlet_runtime.town.rewards` has the formula."""

    relationships: bool = True
    """Whether there are trust, familiarity, chats, shared meals and help at all. Rivalry there always is."""
    social_rewards: SocialStage = "C1"
    """What is rewarded: `C1` a chat, to who speaks; `C2` also leaving a rival's side; `C3` also listening to a chat."""
    chat_base: float = 0.01
    """Reward of a chat of quality 1 among strangers."""
    coeff_trust: float = 0.3
    coeff_familiarity: float = 0.2
    avoid_conflict: float = 0.005
    chat_cooldown_ticks: int = 30
    """Ticks from one chat of an agent to its next."""
    takeover_ticks: int = 30
    """Ticks of a shift after which a colleague takes over from an agent that has not come yet."""
    max_edges: int = 6
    """Others that an agent keeps in mind as trusted or familiar: the closest ones."""

    def __post_init__(self) -> None:
        if self.social_rewards not in get_args(SocialStage):
            raise TownConfigError(
                f"expected OFF, C1, C2 or C3, got {self.social_rewards!r}", key="social.social_rewards"
            )
        _check_range("social", self, ("chat_base", "coeff_trust", "coeff_familiarity", "avoid_conflict"), upper=1.0)
        _check_counts("social", self, {"chat_cooldown_ticks": 0, "takeover_ticks": 1, "max_edges": 1})


@dataclass(frozen=True, kw_only=True)
class RivalryConfig:
    """How rivalry grows by conflicts at the objects, fades, and from where on somebody is avoided."""

    increment_per_conflict: float = 0.15
    """Rivalry that a conflict of intensity 1 adds, on both sides."""
    decay_per_tick: float = 0.005
    min_value: float = 0.0
    """Rivalry fades down to this."""
    max_value: float = 1.0
    avoid_threshold: float = 0.7
    """Rivalry from which on the other is avoided."""
    eviction_threshold: float = 0.05
    """A rivalry that is below it is forgotten."""
    max_edges: int = 6
    """Rivals that an agent keeps in mind: the worst ones."""
    ghost_step_boost: float = 1.5
    """Intensity of taking over a turn that its holder let go stale."""
    handover_boost: float = 0.4
    """Intensity of taking over a turn that its holder has given up or used."""
    queue_length_boost: float = 0.25
    """What every further agent in line adds to a conflict's intensity."""

    def __post_init__(self) -> None:
        shares = ("increment_per_conflict", "decay_per_tick", "min_value", "max_value", "avoid_threshold")
        _check_range("rivalry", self, (*shares, "eviction_threshold"), upper=1.0)
        _check_range("rivalry", self, ("ghost_step_boost", "handover_boost", "queue_length_boost"), upper=10.0)
        _check_counts("rivalry", self, {"max_edges": 1})
        if self.min_value > self.max_value:
            raise TownConfigError(
                f"expected at most `max_value` {self.max_value}, got {self.min_value}", key="rivalry.min_value"
            )


def _everybody_balanced() -> Mapping[str, float]:
    return MappingProxyType({"balanced": 1.0})


def _no_overrides() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class PersonalityConfig:
    """Which profile of `townlet_behavior.personality.PROFILES` an agent has, and what profiles change."""

    distribution: Mapping[str, float] = field(default_factory=_everybody_balanced)
    """Relative weights by profile; agents draw theirs. Empty: everybody is balanced."""
    overrides: Mapping[str, str] = field(default_factory=_no_overrides)
    """Profile by agent id; a scenario's own word for an agent goes before."""
    profiles: bool = False
    """Whether profiles act: on leaving for work, on chats, on whom to avoid."""
    reward_multipliers: bool = False
    """Whether profiles change from where on a need presses."""

    def __post_init__(self) -> None:
        for key, names in (("distribution", self.distribution), ("overrides", self.overrides.values())):
            for name in names:
                check_profile(name, key=f"personality.{key}")
        weights = self.distribution.values()
        if weights and (min(weights) < 0.0 or sum(weights) <= 0.0):
            raise TownConfigError(
                f"expected weights of at least 0 and a sum above 0, got {dict(self.distribution)}",
                key="personality.distribution",
            )


@dataclass(frozen=True, kw_only=True)
class LifecycleConfig:
    """Who leaves, and when it is back: under the same id, rested, with the same job, character and relations."""

    respawn_delay_ticks: int = 50
    """Ticks after which an agent that has fainted is back."""
    departure_rate: float = 0.0002
    """Chance of an agent to leave on a journey, per tick."""
    away_ticks: int = 50
    """Ticks after which a traveller is back."""

    def __post_init__(self) -> None:
        _check_range("lifecycle", self, ("departure_rate",), upper=1.0)
        _check_counts("lifecycle", self, {"respawn_delay_ticks": 0, "away_ticks": 0})


def check_profile(name: str, *, key: str) -> None:
    """Refuse a profile that does not exist.

    Raises:
        TownConfigError: naming `key`.
    """
    if name not in PROFILE_NAMES:
        raise TownConfigError(f"expected one of {', '.join(PROFILE_NAMES)}, got {name!r}", key=key)


def _check_range(section: str, config: object, names: tuple[str, ...], *, upper: float) -> None:
    for name in names:
        value: float = vars(config)[name]
        if not 0.0 <= value <= upper:
            raise TownConfigError(f"expected a number in [0, {upper:g}], got {value!r}", key=f"{section}.{name}")


def _check_counts(section: str, config: object, least: Mapping[str, int]) -> None:
    for name, minimum in least.items():
        value: int = vars(config)[name]
        if value < minimum:
            raise TownConfigError(f"expected at least {minimum}, got {value!r}", key=f"{section}.{name}")
