"""A dataset at a glance: how much there is, how long, how good, what was done and who decided it."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.moments import Moments
from townlet_trajectory.data.schema import ArraySpec, Kind, Source
from townlet_trajectory.data.statistics import BatchStatistics, returns_of
from townlet_trajectory.data.trajectory import frozen
from townlet_trajectory.data.trajectory_ids import sums_of_wholes, whole_of_piece
from townlet_trajectory.dataset.info import DatasetInfo
from townlet_trajectory.dataset.source import TrajectorySource, block_bounds
from townlet_trajectory.errors import DatasetError
from townlet_trajectory.formats.open import open_dataset
from townlet_trajectory.storage.json import JsonValue, printable

MAX_BINS = 8
MAX_ACTIONS = 12
"""Actions that the text shows; the rest are one line."""


def describe_dataset(
    dataset: TrajectorySource | str | Path, *, name: str = "dataset", data_root: str | Path | None = None
) -> DatasetDescription:
    """Describe a source, or a path of any format that `open_dataset` opens; one block is in memory at a time.

    Args:
        dataset: what to read.
        name: what to call a source; a path has its own name.
        data_root: where samples that are not below a capture's manifest are looked for. None: nowhere.

    Raises:
        DatasetError: if there is no trajectory.
        ArtifactError: if something cannot be read.
        MissingExtraError: if a path needs an extra that is not installed.
    """
    if isinstance(dataset, str | Path):
        with open_dataset(dataset, data_root=data_root) as opened:
            return _describe(opened.source, Path(dataset).resolve().name, opened.info)
    return _describe(dataset, name, None)


def text_of(description: DatasetDescription) -> str:
    """The description for people, 80 columns wide."""
    figures = description.statistics
    sections = [
        _head(description),
        _numbers("Steps of a trajectory", description.lengths.astype(np.float64)),
        _numbers("Return of a trajectory", description.returns),
        _actions(description),
        _counts("Who decided", description.sources),
        _counts("What the steps are to a learner", description.kinds),
        _flags(figures.flags, figures.num_steps),
        _columns({"reward": figures.rewards, **figures.columns}),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _describe(source: TrajectorySource, name: str, info: DatasetInfo | None) -> DatasetDescription:
    table = source.table
    if not len(table):
        raise DatasetError(f"{name}: there is no trajectory to describe")
    returns = np.zeros(len(table), np.float64)
    statistics = BatchStatistics.of(TrajectoryBatch.empty(source.schema))
    num_blocks = len(source.block_offsets) - 1
    for block in range(num_blocks):
        first, stop = block_bounds(source, block)
        batch = source.load_block(block)
        returns[first:stop] = returns_of(batch)
        statistics = statistics.merged(BatchStatistics.of(batch))
    wholes = whole_of_piece(table)
    return DatasetDescription(
        name=name,
        info=info,
        num_agents=len(set(table.agent_ids.tolist())),
        num_worlds=len(np.unique(table.worlds)),
        num_episodes=len(np.unique(np.column_stack((table.worlds, table.episodes)), axis=0)),
        num_blocks=num_blocks,
        lengths=sums_of_wholes(wholes, table.lengths).astype(np.int64),
        returns=sums_of_wholes(wholes, returns),
        statistics=statistics,
    )


def _head(description: DatasetDescription) -> list[str]:
    figures = description.statistics
    count = len(description.lengths)
    pieces = f" in {_many(figures.num_trajectories, 'piece')}" if figures.num_trajectories > count else ""
    specs = figures.schema.observations
    said = {
        "": (
            f"{count:,} {'trajectory' if count == 1 else 'trajectories'}{pieces}, {_many(figures.num_steps, 'step')}, "
            f"{_many(description.num_agents, 'agent')}, {_many(description.num_episodes, 'episode')} of "
            f"{_many(description.num_worlds, 'world')}, {_many(description.num_blocks, 'block')}"
        ),
        "ends: ": ", ".join(f"{number:,} {end}" for end, number in description.ends.items() if number),
        "observations: ": ", ".join(f"{name} {_shape(spec)}" for name, spec in specs.items()),
    }
    if description.info is not None:
        info = description.info
        said |= {
            "group: ": info.group,
            "tags: ": ", ".join(info.tags),
            "seeds: ": ", ".join(f"{name} {seed}" for name, seed in info.seeds.items()),
            "policies: ": ", ".join(f"{name} {digest[:12]}" for name, digest in info.policies.items()),
        }
    lines = [printable(description.name)]
    for label, text in said.items():
        if text:
            indent = " " * (2 + len(label))
            lines += textwrap.wrap(
                printable(text), WIDTH, initial_indent=f"  {label}", subsequent_indent=indent, break_long_words=False
            )
    return lines


def _numbers(title: str, values: NDArray[np.float64]) -> list[str]:
    figures = ", ".join(f"{name} {short(value)}" for name, value in spread(values).items())
    said = textwrap.wrap(figures, WIDTH, initial_indent="  ", subsequent_indent="  ")
    return [title, *bar_lines(binned(values, max_bins=MAX_BINS), right=True), *said]


def _actions(description: DatasetDescription) -> list[str]:
    bars = [Bar(label=text, count=count) for text, count in description.actions.items()]
    if not bars:
        return []
    shown, rest = bars[:MAX_ACTIONS], bars[MAX_ACTIONS:]
    if rest:
        shown.append(Bar(label=f"({len(rest)} others)", count=sum(bar.count for bar in rest)))
    unused = len(description.unused_actions)
    size = len(description.statistics.schema.vocabulary)
    return [f"Actions ({f'{unused} of {size} never taken' if unused else f'all {size} taken'})", *bar_lines(shown)]


def _counts(title: str, counts: Mapping[str, int]) -> list[str]:
    return [title, *bar_lines([Bar(label=name, count=count) for name, count in counts.items()])] if counts else []


def _flags(flags: Mapping[str, int], num_steps: int) -> list[str]:
    """The flags of the steps, against all steps."""
    bars = [Bar(label=name, count=count) for name, count in flags.items()]
    return ["Steps that are", *bar_lines(bars, total=num_steps)] if bars else []


def _columns(rows: Mapping[str, Moments]) -> list[str]:
    plain = {name: moments for name, moments in rows.items() if moments.count and not moments.mean.shape}
    width = max(map(len, plain))
    lines = [f"{'Columns':<{width + 2}}{'mean':>12}{'deviation':>12}{'least':>12}{'greatest':>12}"]
    for name, moments in plain.items():
        figures = (moments.mean, moments.std, moments.minimum, moments.maximum)
        lines.append(f"  {name:<{width}}" + "".join(f"{short(float(figure)):>12}" for figure in figures))
    return lines


def _shape(spec: ArraySpec) -> str:
    return f"{spec.dtype}[{','.join(map(str, spec.shape))}]" if spec.shape else spec.dtype


def _many(count: int, one: str) -> str:
    return f"{count:,} {one}" if count == 1 else f"{count:,} {one}s"


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


WIDTH = 80

_LABEL_WIDTH = 36
_BAR_WIDTH = 32
_FIGURES_WIDTH = 21
_LEAST_SPAN = 1e-300
"""Numbers that are nearer together are equal."""
_STEPS = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One line of a histogram."""

    label: str
    count: int


def binned(values: NDArray[np.float64], *, max_bins: int) -> list[Bar]:
    """Numbers in bins of equal width whose edges are round (1, 2 or 5 times a power of ten).

    Args:
        values: [N], at most 1e300 in size, N at least 1. Where all are whole numbers, so are the edges.
        max_bins: at least 2.

    Returns:
        One bar for each bin from the least to the greatest value, `first to last` of whole numbers, else `from ..`.
    """
    low, high = float(values.min()), float(values.max())
    whole = bool(np.all(values == np.round(values)))
    if high - low < _LEAST_SPAN:
        return [Bar(label=_number(low, 0 if whole else 3), count=len(values))]
    step = _round_step((high - low) / (max_bins - 1))
    if whole:
        step = max(1.0, step)
    # The span may begin and end within a bin: then there is one more than it is long.
    while math.floor(high / step) - math.floor(low / step) >= max_bins:
        step = _round_step(1.5 * step)
    first = math.floor(low / step)
    places = np.floor(values / step).astype(np.int64) - first
    counts = np.bincount(places)
    decimals = max(0, -math.floor(math.log10(step)))
    labels = [
        _span(round((first + place) * step, decimals), step, whole=whole, decimals=decimals)
        for place in range(len(counts))
    ]
    return [Bar(label=label, count=int(count)) for label, count in zip(labels, counts, strict=True)]


def bar_lines(bars: Sequence[Bar], *, total: int | None = None, right: bool = False) -> list[str]:
    """A line for each bar: label, bar, share, count.

    Args:
        bars: at least one.
        total: what shares are of, and what a full bar stands for. None: the sum of all, and the greatest of them.
        right: whether labels stand at the right, as numbers do.
    """
    most = total or max(bar.count for bar in bars) or 1
    total = total or sum(bar.count for bar in bars) or 1
    labels = [printable(bar.label) for bar in bars]
    width = min(_LABEL_WIDTH, max(map(len, labels)))
    room = min(_BAR_WIDTH, WIDTH - _FIGURES_WIDTH - width - 4)
    return [
        f"  {_fitted(label, width, right=right)}  {_bar(bar.count / most, room):<{room}}"
        f"{bar.count / total:>8.1%}{bar.count:>13,}"
        for label, bar in zip(labels, bars, strict=True)
    ]


def _bar(share: float, room: int) -> str:
    """Full blocks; a hair where there is something, and less than half a block of it."""
    blocks = round(share * room)
    return "█" * blocks if blocks or not share else "▏"


def _fitted(label: str, width: int, *, right: bool) -> str:
    cut = label if len(label) <= width else f"{label[: width - 1]}…"
    return cut.rjust(width) if right else cut.ljust(width)


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in _STEPS if factor * power >= least * (1.0 - 1e-9))


def _span(low: float, step: float, *, whole: bool, decimals: int) -> str:
    if not whole:
        return f"{_number(low, decimals)} to {_number(low + step, decimals)}"
    return _number(low, 0) if step == 1.0 else f"{_number(low, 0)} to {_number(low + step - 1.0, 0)}"


def short(value: float) -> str:
    """Four digits, or all of a whole number of at most ten; no -0."""
    return _number(value, 0) if value.is_integer() else f"{value:.4g}"


def _number(value: float, decimals: int) -> str:
    """With separators; numbers that are too long for a label in powers of ten."""
    text = f"{value + 0.0:,.{decimals}f}"
    return text if len(text) <= 13 else f"{value:.4g}"
