"""Recorded steps as a learner of labels takes them: one view of some sources, split by use, read within a budget."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from townlet_training.errors import ConfigError, EmptyBatchError
from townlet_training.learning.config import BCConfig
from townlet_trajectory import StepBatch, TrajectoryBatch, TrajectoryDataset, TrajectorySchema, TrajectorySource
from townlet_trajectory.data.labels import labels_named
from townlet_trajectory.data.pieces import split_where
from townlet_trajectory.data.ragged import offsets_of
from townlet_trajectory.data.schema import Array
from townlet_trajectory.data.split import episode_hash, unit_hash
from townlet_trajectory.data.table import TrajectoryTable, trajectory_hash
from townlet_trajectory.dataset.canonical import CanonicalOrder
from townlet_trajectory.dataset.classic import ClassicColumns
from townlet_trajectory.dataset.labelled import with_labels
from townlet_trajectory.dataset.memory import BATCHES_HELD, block_memory, step_bytes
from townlet_trajectory.dataset.source import ChainedSource
from townlet_trajectory.errors import MemoryBudgetError
from townlet_trajectory.evaluation.results import Mode

log = logging.getLogger(__name__)

_READ_BYTES, _MAX_READ_STEPS = 4 << 20, 4096
"""Steps that are handed out together: about so many bytes, or a sixteenth of the budget, and at most so many."""
_PARTS = 3
"""Datasets that each hold what they read."""
_SLICES = 10
"""Parts in time of each trajectory, where there are too few trajectories to hold some of them out."""


RecordedData = Mapping[str, Sequence[TrajectorySource]]
"""Recorded steps by agent group."""


def require_origin(
    mode: Mode, data: RecordedData | None, groups: Set[str], *, has_world: bool, begins_trained: bool = False
) -> None:
    """Refuse a run that has nothing to learn from, or data that it has no use for.

    Args:
        mode: of the run.
        data: recorded steps to clone; None: there are none.
        groups: names of the agent groups.
        has_world: whether there are worlds to train and to be judged in.
        begins_trained: whether the run begins with a policy.

    Raises:
        ConfigError: says what is missing, or of no use.
    """
    if mode == "anneal" and data is not None and begins_trained:
        raise ConfigError("mode `anneal` begins with a clone of `data` or with a policy, not with both")
    if mode == "ppo" and data is not None:
        raise ConfigError("mode `ppo` learns from what its own policy does: it has no use for `data`")
    if not has_world and (mode != "bc" or data is None):
        raise ConfigError(f"without a collector and an evaluator a run is one of mode `bc` with `data`, got `{mode}`")
    if data is None:
        return
    if data.keys() != groups:
        raise ConfigError(f"`data` must be of the agent groups {sorted(groups)}, got {sorted(data)}")
    for group, sources in data.items():
        if not sources:
            raise ConfigError(f"`data` of agent group `{group}` must be at least one source, got none")


def fingerprints(data: RecordedData | None) -> dict[str, str]:
    """Return what tells the content of `data` from any other, by `data.GROUP`."""
    by_group = {} if data is None else data
    return {f"data.{group}": " ".join(each.fingerprint for each in sources) for group, sources in by_group.items()}


@dataclass(frozen=True, kw_only=True, eq=False)
class LearningSplit:
    """Trajectories by their use, as masks over a table. Each is in one part."""

    train: NDArray[np.bool_]
    """[B]; to learn from."""
    choose: NDArray[np.bool_]
    """[B]; to choose between what was learned."""
    judge: NDArray[np.bool_]
    """[B]; chooses nothing, and measures what was chosen."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedSteps:
    """Steps to clone, in three datasets by their use. They share files, and nothing in memory."""

    train: TrajectoryDataset[StepBatch]
    choose: TrajectoryDataset[StepBatch]
    """They choose the epoch whose weights are kept."""
    judge: TrajectoryDataset[StepBatch]
    """They choose nothing, and are judged by."""
    units: NDArray[np.int64]
    """[B] over the table of the datasets; number of the episode, trajectory or slice that is held out as a whole."""

    @property
    def parts(self) -> tuple[TrajectoryDataset[StepBatch], ...]:
        """All three."""
        return self.train, self.choose, self.judge

    @classmethod
    def of(
        cls, sources: Sequence[TrajectorySource], config: BCConfig, *, held_out: float, split_seed: int, order_seed: int
    ) -> RecordedSteps:
        """Split the steps of `sources`.

        The unit of `config.split` is held out as a whole. Where there are fewer than three of them, trajectories are,
        and where there are fewer than three of those, tenths of each in time: both are said in a warning.

        Args:
            sources: at least one; which worlds have equal numbers in two of them makes no difference.
            config: labels, masks, order of rows, split and memory budget.
            held_out: share of the units, in (0, 1), that nothing is learned from; two thirds of them judge, the others
                choose. Each use gets at least one.
            split_seed: of the order in which units are held out.
            order_seed: of the order in which steps are handed out.

        Returns:
            The three datasets. Where three times the steps are within the memory budget, they stay in memory and are
            shuffled as a whole.

        Raises:
            EmptyBatchError: if there are fewer than three steps.
            DatasetError, SchemaError: if there is no source, or the schemas differ.
            ConfigError: if one block of a source is too much for `bc.memory_budget_mb`; says how much is enough.
        """
        source, units = split_source(view_of(sources, config), config, seed=split_seed)
        split = split_units(units, fraction=held_out)
        budget = config.memory_budget_bytes
        read_bytes = min(_READ_BYTES, budget // 16)
        num_steps = min(_MAX_READ_STEPS, max(1, read_bytes // step_bytes(source.schema)))
        held = _PARTS * int(block_memory(source).held.sum())
        try:
            dataset = TrajectoryDataset(
                source,
                batch_size=num_steps,
                seed=order_seed,
                memory_budget_bytes=None if held <= budget else budget,
            )
        except MemoryBudgetError as error:
            # A larger budget has larger batches.
            enough = (error.needed_bytes + BATCHES_HELD * _READ_BYTES >> 20) + 1
            raise ConfigError(
                f"`bc.memory_budget_mb` is {config.memory_budget_mb}, and {enough} is enough: {error.reason}"
            ) from error
        return cls(
            train=dataset.restricted(split.train),
            choose=dataset.restricted(split.choose),
            judge=dataset.restricted(split.judge),
            units=units,
        )


def view_of(sources: Sequence[TrajectorySource], config: BCConfig) -> TrajectorySource:
    """Show sources as one, with the columns and in the order that `config` asks for.

    With `executed` labels and no masks, columns beyond the classic form are left out, so that sources of different
    forms go together. Trajectories that were labelled `discard` are left out, unless `config` names other labels.

    Raises:
        EmptyBatchError: if no trajectory has one of the labels.
        DatasetError, SchemaError: if there is no source, or the schemas differ.
    """
    shown: list[TrajectorySource] = []
    num_worlds = 0
    for source in sources:
        own = _OwnWorlds(source, num_worlds) if num_worlds else source
        shown.append(with_labels(own, labels_named(config.episode_labels)))
        num_worlds += int(source.table.worlds.max(initial=-1)) + 1
    if num_worlds and not any(len(each.table) for each in shown):
        raise EmptyBatchError(
            "there is nothing to learn from: `bc.episode_labels` leaves out every recorded trajectory"
        )
    if config.labels == "executed" and not config.use_masks:
        shown = [ClassicColumns(source) for source in shown]
    whole = shown[0] if len(shown) == 1 else ChainedSource(shown)
    return CanonicalOrder(whole) if config.row_order == "canonical" else whole


def split_units(units: NDArray[np.int64], *, fraction: float) -> LearningSplit:
    """Split units by their use.

    Args:
        units: [B]; numbers 0 .. U - 1 of at least three units, those that are held out first.
        fraction: share of the units, in (0, 1), that nothing is learned from; two thirds of them judge, the others
            choose. Each use gets at least one.

    Returns:
        Masks [B]; all trajectories of a unit have one use.
    """
    num_units = int(units.max()) + 1
    num_held_out = min(max(2, round(fraction * num_units)), num_units - 1)
    num_judge = max(1, round(2 * num_held_out / 3))
    judge, train = units < num_judge, units >= num_held_out
    return LearningSplit(train=train, choose=~train & ~judge, judge=judge)


def split_source(
    source: TrajectorySource, config: BCConfig, *, seed: int
) -> tuple[TrajectorySource, NDArray[np.int64]]:
    """Number the units of a source that are held out as wholes.

    Args:
        source: of recorded steps.
        config: has the unit; where there are too few of it, smaller ones are taken.
        seed: of the order in which units are held out.

    Returns:
        The source, cut up where units are smaller than its trajectories, and the number of the unit of each [B].

    Raises:
        EmptyBatchError: if there are fewer than three steps.
    """
    source, hashes = _units_of(source, config, seed=seed)
    numbers, units = np.unique(hashes, return_inverse=True)
    if len(numbers) < 3:
        raise EmptyBatchError(
            f"{source.table.lengths.sum()} recorded steps cannot be split into those to learn from, to choose by "
            "and to judge by"
        )
    return source, units.astype(np.int64, copy=False)


def _units_of(source: TrajectorySource, config: BCConfig, *, seed: int) -> tuple[TrajectorySource, NDArray[np.float64]]:
    """Return the source, and a number in [0, 1) for each of its trajectories [B] that is equal within a unit."""
    table = source.table
    by_trajectory = trajectory_hash(seed, table)
    if config.split == "episodes":
        by_episode = episode_hash(seed, table.worlds, table.episodes)
        if (num_episodes := len(np.unique(by_episode))) >= 3:
            return source, by_episode
        if len(np.unique(by_trajectory)) >= 3:
            log.warning(
                "the record has %d episodes: whole trajectories are held out, which know more of those learned from",
                num_episodes,
            )
    if (num_trajectories := len(np.unique(by_trajectory))) >= 3:
        return source, by_trajectory
    log.warning(
        "the record has %d trajectories: tenths of each in time are held out, which know more of those learned from",
        num_trajectories,
    )
    slices = _Slices(source)
    return slices, unit_hash(seed, np.arange(len(slices.table)))


class _OwnWorlds:
    """A source whose worlds have numbers of their own among those of other sources."""

    def __init__(self, source: TrajectorySource, first_world: int) -> None:
        self._source, self._first_world = source, first_world
        self.schema: TrajectorySchema = source.schema
        self.table: TrajectoryTable = replace(source.table, worlds=source.table.worlds + first_world)
        self.block_offsets, self.encoded_bytes = source.block_offsets, source.encoded_bytes

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"worlds {self._first_world} {self._source.fingerprint}".encode()).hexdigest()

    def load_block(self, block: int) -> TrajectoryBatch:
        batch = self._source.load_block(block)
        return replace(batch, worlds=batch.worlds + self._first_world)

    def decision_column(self, block: int, name: str) -> Array:
        return self._source.decision_column(block, name)


class _Slices:
    """A source whose trajectories are cut into tenths in time, or into single steps where they have fewer."""

    def __init__(self, source: TrajectorySource) -> None:
        self._source = source
        lengths = source.table.lengths
        self._size = -(-lengths // _SLICES)
        """[B]; steps of a slice of each trajectory, but the last."""
        counts = -(-lengths // self._size)
        first = np.repeat(offsets_of(counts)[:-1], counts)
        whole = np.repeat(np.arange(len(lengths)), counts)
        begin = (np.arange(len(whole)) - first) * self._size[whole]
        is_last = np.diff(whole, append=-1) != 0
        table = source.table
        self.schema: TrajectorySchema = source.schema
        self.table: TrajectoryTable = TrajectoryTable(
            agent_ids=table.agent_ids[whole],
            worlds=table.worlds[whole],
            episodes=table.episodes[whole],
            first_ticks=table.first_ticks[whole] + begin,
            lengths=np.minimum(self._size[whole], lengths[whole] - begin),
            terminated=table.terminated[whole] & is_last,
            truncated=table.truncated[whole] & is_last,
            episode_labels=table.episode_labels[whole],
        )
        self.block_offsets: NDArray[np.int64] = offsets_of(counts)[source.block_offsets]
        self.encoded_bytes = source.encoded_bytes

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"slices {_SLICES} {self._source.fingerprint}".encode()).hexdigest()

    def load_block(self, block: int) -> TrajectoryBatch:
        batch = self._source.load_block(block)
        first, stop = self._source.block_offsets[block : block + 2]
        inside = np.arange(batch.num_steps) - np.repeat(batch.offsets[:-1], batch.lengths)
        return split_where(batch, inside % np.repeat(self._size[first:stop], batch.lengths) == 0)

    def decision_column(self, block: int, name: str) -> Array:
        return self._source.decision_column(block, name)
