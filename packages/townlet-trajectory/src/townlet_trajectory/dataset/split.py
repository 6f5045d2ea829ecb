"""Which trajectories of a source are learned from, chosen by and judged by: a function of a seed and their identity."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.split import episode_hash, unit_hash
from townlet_trajectory.data.table import TrajectoryTable, first_piece_of
from townlet_trajectory.errors import DatasetError


def trajectory_hash(seed: int, table: TrajectoryTable) -> NDArray[np.float64]:
    """A number in [0, 1) for each trajectory, uniform over trajectories; pieces of one have the number of the first.

    It depends on (seed, world, episode, agent id, first tick) alone. Returns [B].
    """
    first = first_piece_of(table)
    ids, which = np.unique(table.agent_ids[first], return_inverse=True)
    digests = [hashlib.blake2b(str(name).encode(errors="surrogatepass"), digest_size=8).digest() for name in ids]
    agents = np.frombuffer(b"".join(digests), "<u8")[which]
    return unit_hash(seed, table.worlds[first], table.episodes[first], agents, table.first_ticks[first])


SplitUnit = Literal["episodes", "trajectories"]


@dataclass(frozen=True, kw_only=True, eq=False)
class LearningSplit:
    """Trajectories by their use, as masks over a table. Each is in one part."""

    train: NDArray[np.bool_]
    """[B]; to learn from."""
    choose: NDArray[np.bool_]
    """[B]; to choose between what was learned."""
    judge: NDArray[np.bool_]
    """[B]; chooses nothing, and measures what was chosen."""


def split_for_learning(
    table: TrajectoryTable, *, choose: float, judge: float, seed: int, by: SplitUnit = "episodes"
) -> LearningSplit:
    """Split trajectories into those to learn from, to choose by and to judge by; nothing is loaded.

    A unit is in a part by its hash alone (`episode_hash`, `trajectory_hash`), so data that comes later moves nothing,
    and a unit to judge by stays one at every greater share.

    Args:
        table: of a source; pieces of one trajectory stay together.
        choose: share of the units to choose by, in [0, 1); 0: none.
        judge: share of the units to judge by, in [0, 1); 0: none. Both shares are together less than 1.
        seed: any integer.
        by: the unit that is in one part as a whole. Agents of an episode see each other, so trajectories know more of
            those they are judged by.

    Raises:
        DatasetError: if a share is out of range, or a part whose share is not 0 has no unit.
    """
    if not (choose >= 0.0 and judge >= 0.0 and choose + judge < 1.0):
        raise DatasetError(
            f"`choose` and `judge` must be at least 0 and less than 1 together, got {choose!r}, {judge!r}"
        )
    if by == "episodes":
        hashes = episode_hash(seed, table.worlds, table.episodes)
    elif by == "trajectories":
        hashes = trajectory_hash(seed, table)
    else:
        raise DatasetError(f"`by` must be `episodes` or `trajectories`, got {by!r}")
    judged, held_out = hashes < judge, hashes < judge + choose
    split = LearningSplit(train=~held_out, choose=held_out & ~judged, judge=judged)
    shares = {"train": 1.0 - choose - judge, "choose": choose, "judge": judge}
    counts = {name: len(np.unique(hashes[mask])) for name, mask in vars(split).items()}
    if empty := [name for name, count in counts.items() if shares[name] > 0.0 and not count]:
        raise DatasetError(
            f"{sum(counts.values())} {by} with seed {seed}, shares {shares}: no unit is in {empty} (counts {counts}); "
            f"give more {by}, greater shares, or another seed"
        )
    return split
