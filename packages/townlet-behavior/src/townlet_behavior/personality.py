"""Characters: profiles that change when an agent sets off for work, its chats, whom it avoids, and when needs press.

They act only where a config switches them on: `work_affinity`, `chat_preference` and `conflict_tolerance` together, and
`need_multipliers` apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A character; 1 everywhere is the balanced one."""

    name: str
    work_affinity: float = 1.0
    """The arrival buffer is multiplied by it: above 1 the agent sets off earlier."""
    chat_preference: float = 1.0
    """The quality of chats is multiplied by it, within 0.5 to 1.5 (`chat_quality`)."""
    conflict_tolerance: float = 1.0
    """The rivalry from which on somebody is avoided is divided by it, and at most 1. Avoidance is the world's own."""
    need_multipliers: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Of the thresholds of hunger, hygiene and energy: above 1 the need presses earlier, below 1 later."""


PROFILES = (
    Profile(name="balanced"),
    Profile(name="industrious", work_affinity=1.4, need_multipliers=(1.0, 1.0, 0.9)),
    Profile(name="socialite", chat_preference=1.3, need_multipliers=(1.0, 1.1, 1.0)),
    Profile(name="stoic", conflict_tolerance=0.6, need_multipliers=(0.95, 1.0, 1.0)),
)
"""All characters. A world names an agent's by its index in this tuple."""

BALANCED = 0
"""Index of the profile of agents that nothing is said about."""

CHAT_PREFERENCE = np.array([profile.chat_preference for profile in PROFILES])
"""[P]; by profile, as `chat_quality` wants it."""


def arrival_buffers(buffer: int) -> NDArray[np.int64]:
    """Ticks before a shift at which each profile sets off.

        round(buffer · work_affinity), halves to the even number

    Args:
        buffer: of the balanced one, in ticks.

    Returns:
        [P].
    """
    return np.rint([buffer * profile.work_affinity for profile in PROFILES]).astype(np.int64)


def need_thresholds(thresholds: tuple[float, float, float]) -> NDArray[np.float32]:
    """Below which a need of each profile presses.

        min(1, threshold_k · need_multiplier_k)

    Args:
        thresholds: of the balanced one: hunger, hygiene, energy, in [0, 1].

    Returns:
        [P, 3].
    """
    multipliers = np.array([profile.need_multipliers for profile in PROFILES])
    scaled: NDArray[np.float64] = np.minimum(np.array(thresholds) * multipliers, 1.0)
    return scaled.astype(np.float32)


def avoid_thresholds(threshold: float) -> NDArray[np.float64]:
    """Rivalry from which on each profile avoids somebody, for worlds in which characters act.

        min(1, threshold / conflict_tolerance)

    Args:
        threshold: of the balanced one, in [0, 1].

    Returns:
        [P].
    """
    return np.minimum([threshold / profile.conflict_tolerance for profile in PROFILES], 1.0)
