"""Seeds: one of its own for every purpose of a run, and world seeds for training and judging that never meet."""

from __future__ import annotations

import hashlib
import json

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.errors import EvaluationError

HELD_OUT = 2**31
"""Worlds with a seed below this are trained on; those from here on are only judged on."""
_SELECTION = HELD_OUT + 2**20
_PROMOTION = HELD_OUT + 2**24
_END = 2**32


def derive_seed(seed: int, purpose: str, index: int = 0) -> int:
    """Derive a seed for one use: BLAKE2b-64 of the JSON of [seed, purpose, index], top 63 bits.

    Args:
        seed: of the run.
        purpose: of the use; uses with different purposes share nothing.
        index: of the use among those with this purpose.

    Returns:
        A seed in [0, 2**63).
    """
    text = json.dumps([seed, purpose, index], separators=(",", ":"))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def training_seeds(seed: int, count: int) -> NDArray[np.int64]:
    """Derive the seeds of `count` worlds to train in: [count] in [0, `HELD_OUT`), each from (seed, "world", index)."""
    seeds = [derive_seed(seed, "world", index) % HELD_OUT for index in range(_block_size(count))]
    return np.array(seeds, np.int64)


def selection_seeds(count: int) -> NDArray[np.int64]:
    """Return the seeds [count] of the episodes that gates and the choice of a checkpoint look at, equal in all runs."""
    return _SELECTION + np.arange(_block_size(count))


def final_seeds(count: int) -> NDArray[np.int64]:
    """Return the seeds [count] of the episodes of the final score: 2**31 + i in every run."""
    return HELD_OUT + np.arange(_block_size(count))


def promotion_seeds(seed: int, pass_number: int, count: int) -> NDArray[np.int64]:
    """Derive the seeds [count] of the episodes of one promotion pass.

    They are disjoint from those of selection, of the final score, and of every other pass with this `seed` (until the
    blocks have all been used once: 2 billion episodes).

    Args:
        seed: of the registry.
        pass_number: at least 0.
        count: episodes of a pass, 1 to 2**20.
    """
    num_blocks = (_END - _PROMOTION) // _block_size(count)
    block = (derive_seed(seed, "promotion") + pass_number) % num_blocks
    return _PROMOTION + block * count + np.arange(count)


def _block_size(count: int) -> int:
    if not 1 <= count <= 2**20:
        raise EvaluationError(f"a block of seeds must have 1 to {2**20} of them, got {count!r}")
    return count
