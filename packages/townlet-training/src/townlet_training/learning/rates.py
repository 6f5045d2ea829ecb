"""A learning rate that follows from how far an update moved the policy."""

from __future__ import annotations

import math

from townlet_training.errors import ConfigError

LOWEST_RATE = 1e-6
HIGHEST_RATE = 1e-2
_FACTOR = 1.5
_BAND = 2.0


def kl_adapted(learning_rate: float, kl: float, *, target: float) -> float:
    """Adapt a learning rate to the divergence of an update.

    That of RSL-RL, the learner of Isaac Gym and Isaac Lab (`PPO.update`, schedule `adaptive`; Rudin et al. 2022,
    arXiv:2109.11978). Schulman et al. 2017, arXiv:1707.06347, section 4, adapt the coefficient of a penalty so.

        η' = min(1e-2, 1.5 η)   where KL < target / 2
        η' = max(1e-6, η / 1.5)   where KL > 2 target
        η' = η                   in between

    Args:
        learning_rate: η of the update, in [1e-6, 1e-2].
        kl: KL(π ‖ π_θ) of the policies before and after it, in nats, at least 0.
        target: of the divergence, above 0.

    Returns:
        η' of the next update, in [1e-6, 1e-2].

    Raises:
        ConfigError: if the rate is out of range, or the divergence is no number.
    """
    if not LOWEST_RATE <= learning_rate <= HIGHEST_RATE:
        raise ConfigError(f"`learning_rate` must be in [{LOWEST_RATE:g}, {HIGHEST_RATE:g}], got {learning_rate!r}")
    if math.isnan(kl) or not 0.0 < target < math.inf:
        raise ConfigError(f"`kl` must be a number and `target` finite and above 0, got {kl!r} and {target!r}")
    if kl < target / _BAND:
        return min(HIGHEST_RATE, learning_rate * _FACTOR)
    if kl > target * _BAND:
        return max(LOWEST_RATE, learning_rate / _FACTOR)
    return learning_rate
