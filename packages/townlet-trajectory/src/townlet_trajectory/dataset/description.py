"""What is in a dataset, as figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.moments import Moments
from townlet_trajectory.data.schema import Kind, Source
from townlet_trajectory.data.statistics import BatchStatistics
from townlet_trajectory.data.trajectory import frozen
from townlet_trajectory.dataset.info import DatasetInfo
from townlet_trajectory.errors import DatasetError
from townlet_trajectory.storage.json import JsonValue

QUANTILES = {"min": 0, "p10": 10, "median": 50, "p90": 90, "max": 100}
"""Percentiles that are given of lengths and returns."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DatasetDescription:
    """What is in a dataset of at least one step. Pieces of one trajectory count once, except in `statistics`."""

    name: str
    info: DatasetInfo | None
    """What the dataset says of itself, where it says anything."""
    num_agents: int
    """Different agent ids."""
    num_worlds: int
    num_episodes: int
    """Different pairs of world and episode."""
    num_blocks: int
    lengths: NDArray[np.int64]
    """[W]; steps of each whole trajectory."""
    returns: NDArray[np.float64]
    """[W]; sum of the rewards of each."""
    statistics: BatchStatistics
    """Of all blocks, pieces counted one by one."""

    def __post_init__(self) -> None:
        if not len(self.lengths) or self.lengths.shape != self.returns.shape:
            raise DatasetError(f"expected [W] lengths and returns, got {self.lengths.shape} and {self.returns.shape}")
        object.__setattr__(self, "lengths", frozen(self.lengths))
        object.__setattr__(self, "returns", frozen(self.returns))

    @property
    def ends(self) -> dict[str, int]:
        """How whole trajectories end."""
        figures = self.statistics
        ended = figures.num_terminated + figures.num_truncated
        return {
            "terminated": figures.num_terminated,
            "truncated": figures.num_truncated,
            "go on": len(self.lengths) - ended,
        }

    @property
    def actions(self) -> dict[str, int]:
        """Steps by action that was taken, the most frequent first; empty where actions are not discrete."""
        texts = self.statistics.schema.vocabulary
        named = {
            (texts[code] if 0 <= code < len(texts) else f"action {code}"): count
            for code, count in self.statistics.actions.items()
        }
        return dict(sorted(named.items(), key=lambda pair: -pair[1]))

    @property
    def unused_actions(self) -> list[str]:
        """Actions of the vocabulary that were never taken."""
        used = self.statistics.actions
        return [text for code, text in enumerate(self.statistics.schema.vocabulary) if code not in used]

    @property
    def sources(self) -> dict[str, int]:
        """Steps by who decided; empty without the column `source`."""
        return _named(self.statistics.sources, {int(code): code for code in Source})

    @property
    def kinds(self) -> dict[str, int]:
        """Steps by what they are to a learner; empty without the column `kind`."""
        return _named(self.statistics.kinds, {int(code): code for code in Kind})

    def document(self) -> dict[str, JsonValue]:
        """As JSON; all numbers are finite, null where there is none."""
        figures = self.statistics
        return {
            "name": self.name,
            "info": None if self.info is None else self.info.document(),
            "num_trajectories": len(self.lengths),
            "num_pieces": figures.num_trajectories,
            "num_steps": figures.num_steps,
            "num_agents": self.num_agents,
            "num_worlds": self.num_worlds,
            "num_episodes": self.num_episodes,
            "num_blocks": self.num_blocks,
            "ends": {**self.ends},
            "lengths": {**spread(self.lengths)},
            "returns": {**spread(self.returns)},
            "rewards": _moments(figures.rewards),
            "actions": {**self.actions},
            "unused_actions": [*self.unused_actions],
            "sources": {**self.sources},
            "kinds": {**self.kinds},
            "flags": {**figures.flags},
            "columns": {name: _moments(moments) for name, moments in figures.columns.items()},
            "observations": {
                name: {"dtype": spec.dtype, "shape": [*spec.shape]}
                for name, spec in figures.schema.observations.items()
            },
        }


def spread(values: NDArray[np.int64] | NDArray[np.float64]) -> dict[str, float]:
    """Quantiles (numbers that are there, not between two) and mean of [W] numbers."""
    quantiles = np.percentile(values, [*QUANTILES.values()], method="inverted_cdf")
    return {**dict(zip(QUANTILES, map(float, quantiles), strict=True)), "mean": float(values.mean())}


def _named(counts: Mapping[int, int], codes: Mapping[int, IntEnum]) -> dict[str, int]:
    """Counts by the name of each code, in the order of the codes; codes that mean nothing by their number."""
    named = {code.name.lower(): counts[number] for number, code in codes.items() if number in counts}
    return named | {f"code {number}": count for number, count in counts.items() if number not in codes}


def _moments(moments: Moments) -> JsonValue:
    """Null where no number is finite, or a row is more than one number."""
    if not moments.count or moments.mean.shape:
        return None
    figures = {
        "mean": float(moments.mean),
        "std": float(moments.std),
        "min": float(moments.minimum),
        "max": float(moments.maximum),
    }
    return {"count": moments.count, **{name: value if np.isfinite(value) else None for name, value in figures.items()}}
