"""Where random numbers come from: one run seed, a purpose each, and blocks of world seeds that never overlap."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from townlet_training.errors import ConfigError

ONE_GROUP = "agents"
"""Name of the agent group where there is only one."""

HELD_OUT = 2**31
"""Worlds with a seed below this are trained on; those from here on are only judged on."""
_SELECTION = HELD_OUT + 2**20
_PROMOTION = HELD_OUT + 2**24
_END = 2**32


def derive_seed(seed: int, purpose: str, index: int = 0) -> int:
    """A seed in [0, 2**63) of its own for each (`seed`, `purpose`, `index`): BLAKE2b-64 of their JSON, top 63 bits."""
    text = json.dumps([seed, purpose, index], separators=(",", ":"))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def group_seed(seed: int, purpose: str, group: str, index: int = 0) -> int:
    """`derive_seed` for one agent group; that of `ONE_GROUP` is the purpose's own."""
    return derive_seed(seed, purpose if group == ONE_GROUP else f"{purpose}/{group}", index)


@dataclass(frozen=True, kw_only=True)
class SeedBlock:
    """World seeds `first .. first + count - 1`, all of them held out from training."""

    first: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.count <= 2**20:
            raise ConfigError(f"a block of episodes must have 1 to {2**20} of them, got {self.count!r}")
        if not HELD_OUT <= self.first <= _END - self.count:
            raise ConfigError(f"held-out seeds must lie in [{HELD_OUT}, {_END}), got {self.first!r} + {self.count!r}")


def selection_block(count: int) -> SeedBlock:
    """The episodes that gates and the choice of a checkpoint look at, the same in every run."""
    return SeedBlock(first=_SELECTION, count=count)


def final_block(count: int) -> SeedBlock:
    """The episodes of the final score: 2**31 + i in every run, disjoint from those of selection."""
    return SeedBlock(first=HELD_OUT, count=count)


def promotion_block(seed: int, pass_number: int, count: int) -> SeedBlock:
    """The episodes of promotion pass `pass_number` >= 0 of a registry with this `seed`.

    Disjoint from selection and final episodes, and from every other of the registry's passes (until the blocks have
    all been used once: 2 billion episodes).
    """
    num_blocks = (_END - _PROMOTION) // count
    block = (derive_seed(seed, "promotion") + pass_number) % num_blocks
    return SeedBlock(first=_PROMOTION + block * count, count=count)
