"""Which side of a train / held-out split an episode is on: a pure function of its numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.errors import ShapeError

_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB), np.uint64(0x9E3779B97F4A7C15))


def episode_hash(seed: int, worlds: NDArray[np.int64], episodes: NDArray[np.int64]) -> NDArray[np.float64]:
    """A number in [0, 1) for each episode, uniform over episodes; an episode is held out where it is below a fraction.

    It depends on (seed, world, episode) alone: data that is added later moves nothing, and what is held out at one
    fraction stays so at every greater one.

    Args:
        seed: any integer; taken modulo 2^64.
        worlds: [B].
        episodes: [B]; number of the world's episode.

    Returns:
        [B].
    """
    return unit_hash(seed, worlds, episodes)


def unit_hash(seed: int, *keys: NDArray[np.int64] | NDArray[np.uint64]) -> NDArray[np.float64]:
    """A number in [0, 1) for each row of at least one key [B], uniform over rows: a function of the seed and the keys,
    in their order."""
    hashes = np.full(len(keys[0]), seed % (1 << 64), np.uint64)
    for numbers in keys:
        hashes = _mix(_mix(hashes) + numbers.astype(np.uint64))
    return (_mix(hashes) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def is_held_out(
    fraction: float, *, seed: int, worlds: NDArray[np.int64], episodes: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Decide for each episode [B] whether it is held out, with probability `fraction`; see `episode_hash`.

    Raises `ShapeError` if `fraction` is not in [0, 1].
    """
    if not 0.0 <= fraction <= 1.0:
        raise ShapeError(f"`fraction` must be in [0, 1], got {fraction!r}")
    return episode_hash(seed, worlds, episodes) < fraction


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finalizer (Steele, Lea & Flood 2014)."""
    values = values + _MIX[2]
    values = (values ^ (values >> np.uint64(30))) * _MIX[0]
    values = (values ^ (values >> np.uint64(27))) * _MIX[1]
    return values ^ (values >> np.uint64(31))
