"""Random numbers as a pure function of seed, purpose, agent and tick: without state, order or a shared stream.

    mix(z) = SplitMix64's output for state z
    u      = top 53 bits of mix(mix(mix(mix(seed) + purpose) + key) + tick)

SplitMix64: Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators"; the constants are those of
Vigna's reference code (https://prng.di.unimi.it/splitmix64.c). Each input goes through the finalizer before the next
is added: with plain sums or XORs, (key, tick) and (key + 1, tick - 1) would draw the same number.
"""

from __future__ import annotations

import hashlib
import json
from enum import IntEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_MASK = (1 << 64) - 1
_GOLDEN_GAMMA = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB
_AHEAD = 256
"""Draws that are made at once, where agents are fewer."""


class Purpose(IntEnum):
    """Purposes of draws; draws for different purposes are independent.

    `PARTS` and `NUMBERS` begin a row of purposes, which is one `int` for each draw of an action.
    """

    BLEND = 1
    """The coin between script and policy."""
    POLICY = 2
    """The policy's own action."""
    PARTS = 1 << 16
    """The policy's own choice in each part of a `MultiDiscrete` action: `PARTS + k` in part k."""
    NUMBERS = 1 << 17
    """The policy's own numbers of a `Box` action: `NUMBERS + 2 * k` and `NUMBERS + 2 * k + 1` for number k."""


def draw_keys(world_seed: int, agent_id: str) -> np.uint64:
    """Return the key of one agent's draws.

    It is the BLAKE2b-64 (little-endian) of the canonical JSON of `[world_seed, agent_id]`.
    """
    text = json.dumps([world_seed, agent_id], separators=(",", ":"), ensure_ascii=True)
    return np.uint64(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little"))


def mix(z: int) -> int:
    """Return SplitMix64's output for the state `z` (64 bits, wrapping)."""
    z = (z + _GOLDEN_GAMMA) & _MASK
    z = ((z ^ (z >> 30)) * _FIRST) & _MASK
    z = ((z ^ (z >> 27)) * _SECOND) & _MASK
    return z ^ (z >> 31)


def uniforms(seed: int, purpose: int, keys: NDArray[np.uint64], tick: int) -> NDArray[np.float64]:
    """Draw one number in [0, 1) per agent.

    Args:
        seed: of the run, taken modulo 2^64.
        purpose: of the numbers; see `Purpose`.
        keys: [N]; see `draw_keys`.
        tick: the global tick, which never restarts.

    Returns:
        [N] float64. Row i depends on `keys[i]` alone, not on who else is there.
    """
    return _stream(seed, purpose).of(keys, tick & _MASK)


class _Stream:
    """The draws of one seed and purpose.

    Agents stay for many ticks, and a draw is the same whenever it is made. So those of some ticks ahead are made at
    once while the agents are few, which costs as much as those of one tick: at ten agents it is a tenth of the price.
    """

    def __init__(self, number: int) -> None:
        self._number = np.array(number, np.uint64)
        self._agents: tuple[bytes, NDArray[np.uint64]] = b"", np.empty(0, np.uint64)
        """Keys, and mix(mix(mix(seed) + purpose) + key) of each."""
        self._ahead: tuple[bytes, int, NDArray[np.float64]] = b"", 0, np.empty((0, 0))
        """Keys, first tick, and draws [T, N] of T ticks."""

    def of(self, keys: NDArray[np.uint64], tick: int) -> NDArray[np.float64]:
        """The draws of a tick [N]."""
        given = keys.tobytes()
        agents, first, draws = self._ahead
        if given != agents or not first <= tick < first + len(draws):
            self._ahead = _, first, draws = given, tick, self._made(keys, given, tick)
        row: NDArray[np.float64] = draws[tick - first].copy()
        return row

    def _made(self, keys: NDArray[np.uint64], given: bytes, tick: int) -> NDArray[np.float64]:
        agents, mixed = self._agents
        if given != agents:
            mixed = _mixed(keys + self._number)
            self._agents = given, mixed
        num_ticks = max(1, _AHEAD // max(1, len(keys)))
        bits = _mixed(mixed + (np.arange(num_ticks, dtype=np.uint64)[:, None] + np.array(tick, np.uint64)))
        bits >>= _ELEVEN
        return bits.astype(np.float64) * 2.0**-53


@lru_cache(maxsize=128)
def _stream(seed: int, purpose: int) -> _Stream:
    return _Stream(mix((mix(seed & _MASK) + purpose) & _MASK))


# Arrays of one element convert faster than Python integers or numpy scalars, and these run every tick.
_GAMMA_ARRAY, _FIRST_ARRAY, _SECOND_ARRAY, _THIRTY, _TWENTY_SEVEN, _THIRTY_ONE, _ELEVEN = (
    np.array(value, np.uint64) for value in (_GOLDEN_GAMMA, _FIRST, _SECOND, 30, 27, 31, 11)
)


def _mixed(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """`mix` of every element; array arithmetic wraps by itself."""
    z = z + _GAMMA_ARRAY
    z ^= z >> _THIRTY
    z *= _FIRST_ARRAY
    z ^= z >> _TWENTY_SEVEN
    z *= _SECOND_ARRAY
    z ^= z >> _THIRTY_ONE
    return z
