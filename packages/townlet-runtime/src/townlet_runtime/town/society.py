"""How the inhabitants of a town get on with each other, who they are, and how they come and go. Frozen."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, is_dataclass
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, Literal, cast, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from townlet_behavior.personality import PROFILES
from townlet_runtime.errors import TownConfigError

SocialStage = Literal["OFF", "C1", "C2", "C3"]
"""Stages of social rewards; each has what those before it have."""
PROFILE_NAMES = tuple(profile.name for profile in PROFILES)

# Ceilings keep every product of ticks × agents × worlds, and every array size made of one, below 2**63.
Ticks = Annotated[int, Field(ge=1, le=10**9)]
Delay = Annotated[int, Field(ge=0, le=10**5)]
"""Ticks."""
Edges = Annotated[int, Field(ge=1, le=32)]
"""Others that an agent keeps in mind; every agent has an array of so many."""
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Boost = Annotated[float, Field(ge=0.0, le=5.0)]


@dataclass(frozen=True, kw_only=True)
class SocialConfig:
    """Trust, familiarity, chats, and what they earn; `townlet_runtime.town.rewards` has the formula."""

    relationships: bool = True
    """Whether there are trust, familiarity, chats, shared meals and help at all. Rivalry there always is."""
    social_rewards: SocialStage = "C1"
    """What is rewarded: `C1` a chat, to who speaks; `C2` also leaving a rival's side; `C3` also listening to a chat."""
    chat_base: Annotated[float, Field(ge=0.0, le=0.05)] = 0.01
    """Reward of a chat of quality 1 among strangers."""
    coeff_trust: Share = 0.3
    coeff_familiarity: Share = 0.2
    avoid_conflict: Annotated[float, Field(ge=0.0, le=0.02)] = 0.005
    chat_cooldown_ticks: Annotated[int, Field(ge=0, le=10**9)] = 30
    """Ticks from one chat of an agent to its next."""
    takeover_ticks: Ticks = 30
    """Ticks of a shift after which a colleague takes over from an agent that has not come yet."""
    max_edges: Edges = 6
    """Others that an agent keeps in mind as trusted or familiar: the closest ones."""

    def __post_init__(self) -> None:
        check_settings(self, "social")


@dataclass(frozen=True, kw_only=True)
class RivalryConfig:
    """How rivalry grows by conflicts at the objects, fades, and from where on somebody is avoided."""

    increment_per_conflict: Share = 0.15
    """Rivalry that a conflict of intensity 1 adds, on both sides."""
    decay_per_tick: Share = 0.005
    min_value: Share = 0.0
    """Rivalry fades down to this."""
    max_value: Share = 1.0
    avoid_threshold: Share = 0.7
    """Rivalry from which on the other is avoided."""
    eviction_threshold: Share = 0.05
    """A rivalry that is below it is forgotten."""
    max_edges: Edges = 6
    """Rivals that an agent keeps in mind: the worst ones."""
    ghost_step_boost: Boost = 1.5
    """Intensity of taking over a turn that its holder let go stale."""
    handover_boost: Boost = 0.4
    """Intensity of taking over a turn that its holder has given up or used."""
    queue_length_boost: Annotated[float, Field(ge=0.0, le=2.0)] = 0.25
    """What every further agent in line adds to a conflict's intensity."""

    def __post_init__(self) -> None:
        check_settings(self, "rivalry")
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
        check_settings(self, "personality")
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

    respawn_delay_ticks: Delay = 50
    """Ticks after which an agent that has fainted is back."""
    departure_rate: Share = 0.0002
    """Chance of an agent to leave on a journey, per tick."""
    away_ticks: Delay = 50
    """Ticks after which a traveller is back."""

    def __post_init__(self) -> None:
        check_settings(self, "lifecycle")


def check_profile(name: str, *, key: str) -> None:
    """Refuse a profile that does not exist.

    Raises:
        TownConfigError: naming `key`.
    """
    if name not in PROFILE_NAMES:
        raise TownConfigError(f"expected one of {', '.join(PROFILE_NAMES)}, got {name!r}", key=key)


def check_settings(record: object, section: str | None = None) -> None:
    """Check every field of a dataclass against the type and range in its annotation, where alone they are declared.

    Args:
        record: called by its `__post_init__`.
        section: that errors put before the name of the field.

    Raises:
        TownConfigError: names the first field that has another type or is out of range, and what was expected.
    """
    # mypy takes the hash of a class for that of its instances.
    for name, adapter in _adapters(cast(Hashable, type(record))).items():
        value = vars(record)[name]
        try:
            # Of mappings, pydantic takes nothing but a dict when it is strict.
            adapter.validate_python(dict(value) if isinstance(value, Mapping) else value, strict=True)
        except ValidationError as error:
            expected = error.errors(include_url=False)[0]["msg"].removeprefix("Input should be ")
            key = name if section is None else f"{section}.{name}"
            raise TownConfigError(f"must be {expected}, got {value!r}", key=key) from error


@cache
def _adapters(record: Hashable) -> Mapping[str, TypeAdapter[Any]]:
    """By field. A record inside of the record has checked itself, so only its type is looked at."""
    finite = ConfigDict(allow_inf_nan=False)
    hints = get_type_hints(record, include_extras=True)
    return {name: TypeAdapter(hint, config=None if is_dataclass(hint) else finite) for name, hint in hints.items()}
