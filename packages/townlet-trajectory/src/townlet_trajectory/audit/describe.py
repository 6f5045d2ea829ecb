"""A dataset at a glance: its size, lengths, returns, actions and deciders, as figures and as text of 80 columns."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.audit.words import WIDTH
from townlet_trajectory.audit.words import short as short
from townlet_trajectory.data.actions import Box, MultiDiscrete
from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.schema import EpisodeLabel, Kind, Source, schema_document
from townlet_trajectory.data.statistics import BatchStatistics, Moments, returns_of
from townlet_trajectory.data.table import labels_of_wholes, sums_of_wholes, whole_of_piece
from townlet_trajectory.data.trajectory import frozen
from townlet_trajectory.dataset.info import DatasetInfo
from townlet_trajectory.dataset.source import TrajectorySource, blocks_of
from townlet_trajectory.errors import DatasetError
from townlet_trajectory.formats.open import open_dataset
from townlet_trajectory.storage.json import JsonValue, printable
from townlet_trajectory.storage.urls import Url, name_of_place

QUANTILES = {"min": 0, "p10": 10, "median": 50, "p90": 90, "max": 100}
"""Percentiles that are given of lengths and returns."""
MAX_BINS = 8
MAX_ACTIONS = 12
"""Actions that the text shows; the rest are one line."""

_LABEL_WIDTH = 36
_BAR_WIDTH = 32
_FIGURES_WIDTH = 21
_SAME = 1e-9
"""Numbers that differ by this share of their size are shown as one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DatasetDescription:
    """Content of a dataset of at least one step. Pieces of one trajectory count once, except in `statistics`."""

    name: str
    info: DatasetInfo | None
    """Where the dataset came from, if it says so."""
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
    episode_labels: NDArray[np.int8]
    """[W]; what was said of the episode of each."""
    statistics: BatchStatistics
    """Of all blocks, pieces counted one by one."""

    def __post_init__(self) -> None:
        shapes = self.lengths.shape, self.returns.shape, self.episode_labels.shape
        if not len(self.lengths) or len(set(shapes)) > 1:
            raise DatasetError(f"expected [W] lengths, returns and labels, got {shapes}")
        for name in ("lengths", "returns", "episode_labels"):
            object.__setattr__(self, name, frozen(vars(self)[name]))

    @property
    def ends(self) -> dict[str, int]:
        """How whole trajectories end."""
        terminated, truncated = self.statistics.num_terminated, self.statistics.num_truncated
        going = len(self.lengths) - terminated - truncated
        return {"terminated": terminated, "truncated": truncated, "go on": going}

    @property
    def labels(self) -> dict[str, int]:
        """Whole trajectories by what was said of their episode."""
        return _named(
            dict(enumerate(np.bincount(self.episode_labels, minlength=len(EpisodeLabel)).tolist())), EpisodeLabel
        )

    @property
    def actions(self) -> dict[str, int]:
        """Steps by action that was taken, the most frequent first; empty where actions are not discrete."""
        return _by_text(self.statistics.schema.vocabulary, self.statistics.actions, "action")

    @property
    def unused_actions(self) -> list[str]:
        """Actions of the vocabulary that were never taken."""
        used = self.statistics.actions
        return [text for code, text in enumerate(self.statistics.schema.vocabulary) if code not in used]

    @property
    def parts(self) -> dict[str, dict[str, int]]:
        """Steps by value of each part of the executed action, the most frequent first; empty where it has no parts."""
        actions = self.statistics.schema.actions
        if not isinstance(actions, MultiDiscrete):
            return {}
        return {part: _by_text(actions.parts[part], counts, "value") for part, counts in self.statistics.parts.items()}

    @property
    def numbers(self) -> dict[str, dict[str, float]]:
        """Mean, standard deviation, least and greatest of each number of the executed action; empty without numbers."""
        actions, moments = self.statistics.schema.actions, self.statistics.columns.get("action")
        if not isinstance(actions, Box) or moments is None or not moments.count:
            return {}
        return {
            name: {figure: float(values[place]) for figure, values in zip(_FIGURES, _arrays_of(moments), strict=True)}
            for place, name in enumerate(actions.names)
        }

    @property
    def sources(self) -> dict[str, int]:
        """Steps by who decided; empty without the column `source`."""
        return _named(self.statistics.sources, Source)

    @property
    def kinds(self) -> dict[str, int]:
        """Steps by what they are to a learner; empty without the column `kind`."""
        return _named(self.statistics.kinds, Kind)

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
            "labels": {**self.labels},
            "lengths": {**spread(self.lengths)},
            "returns": {**spread(self.returns)},
            "rewards": _moments(figures.rewards),
            "actions": {**self.actions},
            "unused_actions": [*self.unused_actions],
            **({"parts": {part: {**counts} for part, counts in self.parts.items()}} if self.parts else {}),
            **({"numbers": {name: {**figures} for name, figures in self.numbers.items()}} if self.numbers else {}),
            "sources": {**self.sources},
            "kinds": {**self.kinds},
            "flags": {**figures.flags},
            "columns": {name: _moments(moments) for name, moments in figures.columns.items()},
            "observations": schema_document(figures.schema)["observations"],
        }


def describe_dataset(
    dataset: TrajectorySource | str | Path | Url, *, name: str = "dataset", data_root: str | Path = "."
) -> DatasetDescription:
    """Describe a source, or a path of any format that `open_dataset` opens; one block is in memory at a time.

    Args:
        dataset: what to read.
        name: what to call a source; a path has its own name.
        data_root: where samples that are not below a capture's manifest are looked for: the working folder, unless said
            otherwise.

    Returns:
        The figures; `text_of` shows them.

    Raises:
        DatasetError: if there is no trajectory.
        ArtifactError: if something cannot be read.
        MissingExtraError: if a path needs an extra that is not installed.
    """
    if isinstance(dataset, str | Path | Url):
        with open_dataset(dataset, data_root=data_root) as opened:
            return _describe(opened.source, name_of_place(dataset), opened.info)
    return _describe(dataset, name, None)


def text_of(description: DatasetDescription) -> str:
    """Format a description for people, 80 columns wide."""
    figures = description.statistics
    sections = [
        _head(description),
        _numbers("Steps of a trajectory", description.lengths.astype(np.float64)),
        _numbers("Return of a trajectory", description.returns),
        _actions(description),
        *(_section(f"Part {part} of the action", counts) for part, counts in description.parts.items()),
        _numbers_of_actions(description),
        _section("Who decided", description.sources),
        _section("What the steps are to a learner", description.kinds),
        _section("Steps that are", figures.flags, total=figures.num_steps),
        _columns({"reward": figures.rewards, **figures.columns}),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def spread(values: NDArray[np.int64] | NDArray[np.float64]) -> dict[str, float]:
    """Quantiles (numbers that are there, not between two) and mean of [W] numbers."""
    quantiles = np.percentile(values, [*QUANTILES.values()], method="inverted_cdf")
    return {**dict(zip(QUANTILES, map(float, quantiles), strict=True)), "mean": float(values.mean())}


def histogram(values: NDArray[np.float64], *, max_bins: int = MAX_BINS) -> list[tuple[str, int]]:
    """Count numbers in bins of equal width, from the least to the greatest; bins of whole numbers are whole.

    Args:
        values: [N], at most 1e300 in size, N at least 1.
        max_bins: at least 1.

    Returns:
        Label and count of each bin: `first to last` of whole numbers, else the two edges.
    """
    low, high = float(values.min()), float(values.max())
    if high - low <= _SAME * max(abs(low), abs(high)):
        return [(short(low), len(values))]
    # Beyond 2^50 the edges of whole bins could be rounded.
    whole = bool(np.all((values == np.round(values)) & (np.abs(values) < 2.0**50)))
    if whole:
        width = math.ceil((high - low + 1.0) / max_bins)
        max_bins = math.ceil((high - low + 1.0) / width)
        high = low + max_bins * width
    counts, edges = np.histogram(values, bins=max_bins, range=(low, high))
    last = edges[1:] - 1.0 if whole else edges[1:]
    spans = [(short(float(first)), short(float(end))) for first, end in zip(edges[:-1], last, strict=True)]
    labels = [first if first == end else f"{first} to {end}" for first, end in spans]
    return list(zip(labels, counts.tolist(), strict=True))


def bar_lines(bars: Iterable[tuple[str, int]], *, total: int | None = None, right: bool = False) -> list[str]:
    """Draw a line for each bar: label, bar, share, count.

    Args:
        bars: label and count of each; at least one.
        total: what shares are of, and what a full bar stands for. None: the sum of all, and the greatest of them.
        right: whether labels stand at the right, as numbers do.
    """
    labels, counts = zip(*((printable(label), count) for label, count in bars), strict=True)
    most, total = total or max(counts) or 1, total or sum(counts) or 1
    width = min(_LABEL_WIDTH, max(map(len, labels)))
    room = min(_BAR_WIDTH, WIDTH - _FIGURES_WIDTH - width - 4)
    lines = []
    for label, count in zip(labels, counts, strict=True):
        cut = label if len(label) <= width else f"{label[: width - 1]}…"
        # A hair where there is something, and less than half a block of it.
        bar = "█" * round(count / most * room) or ("▏" if count else "")
        lines.append(f"  {cut:{'>' if right else '<'}{width}}  {bar:<{room}}{count / total:>8.1%}{count:>13,}")
    return lines


def _describe(source: TrajectorySource, name: str, info: DatasetInfo | None) -> DatasetDescription:
    table = source.table
    if not len(table):
        raise DatasetError(f"{name}: there is no trajectory to describe")
    returns = np.zeros(len(table), np.float64)
    statistics = BatchStatistics.of(TrajectoryBatch.empty(source.schema))
    for block, first, stop in blocks_of(source):
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
        num_blocks=len(source.block_offsets) - 1,
        lengths=sums_of_wholes(wholes, table.lengths).astype(np.int64),
        returns=sums_of_wholes(wholes, returns),
        episode_labels=labels_of_wholes(table)[np.unique(wholes, return_index=True)[1]],
        statistics=statistics,
    )


def _head(description: DatasetDescription) -> list[str]:
    figures, info, count = description.statistics, description.info, len(description.lengths)
    shapes = {name: (spec.dtype, ",".join(map(str, spec.shape))) for name, spec in figures.schema.observations.items()}
    pieces = f" in {_many(figures.num_trajectories, 'piece')}" if figures.num_trajectories > count else ""
    said = {
        "": (
            f"{count:,} {'trajectory' if count == 1 else 'trajectories'}{pieces}, {_many(figures.num_steps, 'step')}, "
            f"{_many(description.num_agents, 'agent')}, {_many(description.num_episodes, 'episode')} of "
            f"{_many(description.num_worlds, 'world')}, {_many(description.num_blocks, 'block')}"
        ),
        "ends: ": ", ".join(f"{number:,} {end}" for end, number in description.ends.items() if number),
        **(
            {"labels: ": ", ".join(f"{number:,} {label}" for label, number in description.labels.items() if number)}
            if description.episode_labels.any()
            else {}
        ),
        "observations: ": ", ".join(
            f"{name} {dtype}[{shape}]" if shape else f"{name} {dtype}" for name, (dtype, shape) in shapes.items()
        ),
    }
    if info is not None:
        said |= {
            "group: ": info.group,
            "tags: ": ", ".join(info.tags),
            "seeds: ": ", ".join(f"{name} {seed}" for name, seed in info.seeds.items()),
            "policies: ": ", ".join(f"{name} {digest[:12]}" for name, digest in info.policies.items()),
        }
    lines = [printable(description.name)]
    for label, text in said.items():
        lines += _wrapped(printable(text), label)
    return lines


def _wrapped(text: str, label: str = "") -> list[str]:
    indent = " " * (2 + len(label))
    return textwrap.wrap(text, WIDTH, initial_indent=f"  {label}", subsequent_indent=indent, break_long_words=False)


def _numbers(title: str, values: NDArray[np.float64]) -> list[str]:
    figures = ", ".join(f"{name} {short(value)}" for name, value in spread(values).items())
    return [title, *bar_lines(histogram(values), right=True), *_wrapped(figures)]


def _actions(description: DatasetDescription) -> list[str]:
    bars = list(description.actions.items())
    if rest := bars[MAX_ACTIONS:]:
        bars[MAX_ACTIONS:] = [(f"({len(rest)} others)", sum(count for _, count in rest))]
    unused, size = len(description.unused_actions), len(description.statistics.schema.vocabulary)
    return _section(f"Actions ({f'{unused} of {size} never taken' if unused else f'all {size} taken'})", dict(bars))


def _numbers_of_actions(description: DatasetDescription) -> list[str]:
    numbers = description.numbers
    return _table("Numbers of the action", numbers) if numbers else []


def _section(title: str, counts: Mapping[str, int], *, total: int | None = None) -> list[str]:
    return [title, *bar_lines(counts.items(), total=total)] if counts else []


def _columns(rows: Mapping[str, Moments]) -> list[str]:
    plain = {name: moments for name, moments in rows.items() if moments.count and not moments.mean.shape}
    return _table("Columns", {name: _figures(moments) for name, moments in plain.items()})


def _table(title: str, rows: Mapping[str, Mapping[str, float]]) -> list[str]:
    width = max(max(map(len, rows)), len(title) - 2)
    lines = [f"{title:<{width + 2}}{'mean':>12}{'deviation':>12}{'least':>12}{'greatest':>12}"]
    for name, figures in rows.items():
        cells = "".join(f"{short(figure):>12}" for figure in figures.values())
        lines.append(f"  {printable(name):<{width}}{cells}")
    return lines


def _many(count: int, one: str) -> str:
    return f"{count:,} {one}" if count == 1 else f"{count:,} {one}s"


def _named(counts: Mapping[int, int], codes: type[IntEnum]) -> dict[str, int]:
    """Counts by the name of each code, in the order of the codes; codes that mean nothing by their number."""
    named = {code.name.lower(): counts[code] for code in codes if code in counts}
    return named | {f"code {number}": count for number, count in counts.items() if number not in [*codes]}


def _by_text(texts: Sequence[str], counts: Mapping[int, int], what: str) -> dict[str, int]:
    """Counts by the text of each index, the most frequent first; indices without one by their number."""
    known = dict(enumerate(texts))
    named = {known.get(code, f"{what} {code}"): count for code, count in counts.items()}
    return dict(sorted(named.items(), key=lambda pair: -pair[1]))


_FIGURES = ("mean", "std", "min", "max")


def _arrays_of(moments: Moments) -> tuple[NDArray[np.float64], ...]:
    return moments.mean, moments.std, moments.minimum, moments.maximum


def _figures(moments: Moments) -> dict[str, float]:
    return dict(zip(_FIGURES, map(float, _arrays_of(moments)), strict=True))


def _moments(moments: Moments) -> JsonValue:
    """Null where no number is finite, or a row is more than one number."""
    if not moments.count or moments.mean.shape:
        return None
    figures = {name: value if np.isfinite(value) else None for name, value in _figures(moments).items()}
    return {"count": moments.count, **figures}
