"""The settings of a bridge."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .actions import ActionSpec, Box
from .commitment import CommitmentConfig
from .errors import ConfigError, StateError
from .vocabulary import ActionVocabulary

OnPolicyError = Literal["raise", "script"]
Blend = Literal["mixture", "switch"]

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
MAX_DELAY_TICKS = 64
"""Longest reaction delay: so many choices are remembered for every slot."""


@dataclass(frozen=True, kw_only=True)
class BridgeConfig:
    """Settings of a `BehaviorBridge`.

    Examples:
        >>> from townlet_behavior import CommitmentConfig
        >>> config = BridgeConfig(ratio=0.5, commitment=CommitmentConfig(ticks=15))
        >>> config.min_ratio, config.on_policy_error
        (0.1, 'raise')

    Raises:
        ConfigError: if a setting is out of its range.
    """

    ratio: float = 0.0
    """β: share of decisions given to the learned policy, clamped to [0, 1]; can be changed on the bridge."""
    min_ratio: float = 0.1
    """β_min in (0, 1]: below it decisions are recorded as foreign, because correcting for who chose would need weights
    above 1/β_min."""
    blend: Blend = "mixture"
    """`mixture`: a choice counts with its probability under script and policy together, so that every decision is
    learned from. `switch`: a choice of the policy counts with the policy's own probability, at every ratio, and one of
    the script is foreign. For numbers with a ratio between 0 and 1 it has to be `switch`."""
    commitment: CommitmentConfig = field(default_factory=CommitmentConfig)
    temperature: float = 1.0
    """τ > 0 of the policy's draws, π_τ ∝ π^(1/τ), of agents without one of their own."""
    delay_ticks: int = 0
    """Reaction delay in [0, 64] ticks of agents without one of their own; their steps are foreign to a learner."""
    handover_ticks: int = 0
    """Ticks over which the policy's share of an agent rises to its ratio again after a possessor has let it go."""
    on_policy_error: OnPolicyError = "raise"
    """The effect of unusable output of the policy: `raise` stops the tick; `script` lets the script decide for the
    agents concerned, logs a warning and counts them."""

    def __post_init__(self) -> None:
        clamped_ratio(self.ratio)
        if not 0.0 < self.min_ratio <= 1.0:
            raise ConfigError(f"`min_ratio` must be in (0, 1], got {self.min_ratio!r}")
        check_temperature(self.temperature)
        check_delay_ticks(self.delay_ticks)
        if self.handover_ticks < 0:
            raise ConfigError(f"`handover_ticks` must be at least 0, got {self.handover_ticks}")
        if self.blend not in get_args(Blend):
            raise ConfigError(f"`blend` must be 'mixture' or 'switch', got {self.blend!r}")
        if self.on_policy_error not in get_args(OnPolicyError):
            raise ConfigError(f"`on_policy_error` must be 'raise' or 'script', got {self.on_policy_error!r}")


def clamped_ratio(ratio: float) -> float:
    """Return `ratio`, moved into [0, 1].

    Raises:
        ConfigError: if it is not a number.
    """
    if math.isnan(ratio):
        raise ConfigError(f"`ratio` must be a number in [0, 1], got {ratio!r}")
    return min(max(float(ratio), 0.0), 1.0)


def check_temperature(temperature: float) -> float:
    """Return `temperature`.

    Raises:
        ConfigError: if it is not a positive number that float32 holds.
    """
    if not LOWEST_TEMPERATURE <= temperature <= HIGHEST_TEMPERATURE:
        raise ConfigError(f"`temperature` must be a number above 0, got {temperature!r}")
    return temperature


def check_delay_ticks(delay_ticks: int) -> int:
    """Return `delay_ticks`.

    Raises:
        ConfigError: if it is not in [0, 64].
    """
    if not 0 <= delay_ticks <= MAX_DELAY_TICKS:
        raise ConfigError(f"`delay_ticks` must be in [0, {MAX_DELAY_TICKS}], got {delay_ticks!r}")
    return delay_ticks


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The settings that a kind of action allows: options and delays are of a vocabulary, numbers are not mixed."""

    actions: ActionSpec
    blend: Blend

    def check_config(self, config: BridgeConfig) -> None:
        """Check the settings of a bridge.

        Raises:
            ConfigError: if the actions do not allow a setting; says why.
        """
        self.check(ratio=config.ratio, temperature=config.temperature, delay_ticks=config.delay_ticks)
        if config.handover_ticks and self._unmixed:
            raise ConfigError(f"`handover_ticks` must be 0, got {config.handover_ticks}, because the {_NO_MIXTURE}")
        if config.commitment.binds and not isinstance(self.actions, ActionVocabulary):
            raise ConfigError(f"`commitment` must bind no {type(self.actions).__name__} action, which is no option")

    def check(
        self,
        *,
        ratio: float | NDArray[np.float64] | None = None,
        temperature: float | NDArray[np.float32] | None = None,
        delay_ticks: int | NDArray[np.int64] | None = None,
    ) -> None:
        """Check settings of the bridge, or of its agents.

        Args:
            ratio: β, of one or [S], NaN where none is set; None: is not set.
            temperature: τ, of one or [S]; None: is not set.
            delay_ticks: of one or [S]; None: is not set.

        Raises:
            ConfigError: if the actions do not allow one; says why.
        """
        if isinstance(self.actions, ActionVocabulary):
            return
        kind, ratios = type(self.actions).__name__, np.array(math.nan if ratio is None else ratio)
        if self._unmixed and np.any((ratios > 0.0) & (ratios < 1.0)):
            raise ConfigError(f"`ratio` must be 0 or 1, got {ratio}, because the {_NO_MIXTURE}")
        if isinstance(self.actions, Box) and np.any(np.array(1.0 if temperature is None else temperature) != 1.0):
            raise ConfigError(f"`temperature` must be 1 for {kind} actions, got {temperature}")
        if np.any(np.array(0 if delay_ticks is None else delay_ticks)):
            raise ConfigError(f"`delay_ticks` must be 0 for {kind} actions, got {delay_ticks}")

    def check_saved(self, **settings: NDArray[Any]) -> None:
        """Check saved settings as `check` does; one that the actions do not allow is a `StateError`."""
        try:
            self.check(**settings)
        except ConfigError as error:
            raise StateError(f"saved {error}") from error

    @property
    def _unmixed(self) -> bool:
        return isinstance(self.actions, Box) and self.blend == "mixture"


_NO_MIXTURE = (
    "mixture of a script and a policy that draws numbers has no density: all of the script's share lies on one point;"
    " blend='switch' decides between them without mixing"
)
