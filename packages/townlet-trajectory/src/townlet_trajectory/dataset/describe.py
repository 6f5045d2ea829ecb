"""A dataset at a glance: how much there is, how long, how good, what was done and who decided it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.moments import Moments
from townlet_trajectory.data.schema import ArraySpec
from townlet_trajectory.data.statistics import BatchStatistics, returns_of
from townlet_trajectory.data.trajectory_ids import sums_of_wholes, whole_of_piece
from townlet_trajectory.dataset.description import DatasetDescription, spread
from townlet_trajectory.dataset.info import DatasetInfo
from townlet_trajectory.dataset.source import TrajectorySource, block_bounds
from townlet_trajectory.dataset.text_histogram import WIDTH, Bar, bar_lines, binned, short
from townlet_trajectory.errors import DatasetError
from townlet_trajectory.formats.open import open_dataset
from townlet_trajectory.storage.json import printable

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
