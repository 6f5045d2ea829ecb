"""The actions that a batch gives to imitate, and how they are dealt out to a learner, in memory or streamed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from townlet_training.errors import ConfigError, EmptyBatchError
from townlet_training.learning.config import BCConfig, LabelFilter, LabelKind
from townlet_training.learning.fragments import first_states, picked, stepped_fragments
from townlet_training.learning.rows import (
    Actions,
    action_rows,
    encode_rows,
    is_given,
    is_proposed,
    legal_at,
    mask_rows,
    require_actions,
    require_columns,
    require_same_actions,
    side_by_side,
)
from townlet_training.network.memory import Fragments
from townlet_trajectory import (
    ACTION_MASK,
    Box,
    Kind,
    Source,
    StepBatch,
    TrajectoryBatch,
    TrajectoryDataset,
    TrajectorySchema,
)
from townlet_trajectory.data.labels import labels_named

if TYPE_CHECKING:
    from townlet_training.network.actor_critic import ActorCritic


class Labels(NamedTuple):
    """The labelled rows of a batch, and their labels."""

    rows: NDArray[np.int64]
    """[L], ascending."""
    actions: Actions
    """[L], or [L, K] of array actions; the script's proposal, or the executed action."""
    num_forbidden: int
    """Labels that were dropped because the action mask forbids them."""


EVERY_LABEL = LabelFilter()
"""All labels but those of discarded episodes."""


def labels(
    batch: TrajectoryBatch | StepBatch,
    *,
    which: LabelKind = "proposed",
    use_masks: bool = True,
    only: LabelFilter = EVERY_LABEL,
) -> Labels:
    """Find the actions to imitate: the script's proposals and demonstrations, or every executed action.

    `proposed`: on demonstrated rows the label is the executed action (HG-DAgger, Kelly et al. 2019, arXiv:1810.02890).
    On the other decision and foreign rows it is the script's proposal, independent of who acted and of vetoes (DAgger,
    Ross et al. 2011, arXiv:1011.0686). On forced rows nothing was decided, and -1 is no proposal. In a batch without
    the column `expert_action`, such as a classic capture, every row is a demonstration.

    `executed`: the executed action of every row, whoever decided, forced ones too.

    `docs/mathematics.md` has a table of what is given for each kind of row.

    Args:
        batch: R rows.
        which: `proposed` or `executed`.
        use_masks: whether an action that the mask of its row forbids is dropped.
        only: which of these labels are given.

    Returns:
        The labelled rows in their order.

    Raises:
        ShapeError: if the batch lacks a column, or a label is not in its vocabulary.
        ConfigError: if nobody of `only.proposers` is among the proposers of the batch.
    """
    columns, spec = batch.columns, batch.schema.actions
    require_columns(batch, "action")
    actions = action_rows(batch, columns["action"], slice(None))
    # Numbers have no value that means none.
    given = np.full(len(actions), True) if isinstance(spec, Box) else is_given(actions)
    if which == "proposed" and "expert_action" in columns:
        require_columns(batch, "kind", "demonstrated")
        demonstrated = np.asarray(columns["demonstrated"], np.bool_)
        given = np.where(demonstrated, given, is_proposed(batch) & (columns["kind"] != Kind.FORCED))
        own = demonstrated if spec is None else demonstrated[:, None]
        actions = np.where(own, actions, action_rows(batch, columns["expert_action"], slice(None)))
    rows = np.flatnonzero(given & _passes(batch, only, which))
    require_actions("label", batch, actions[rows], rows)
    mask = batch.observations.get(ACTION_MASK) if use_masks else None
    legal = np.full(len(rows), True) if mask is None else legal_at(batch.schema, mask[rows], actions[rows])
    kept = rows[legal]
    return Labels(kept, actions[kept], len(rows) - len(kept))


def labels_of(config: BCConfig, batch: TrajectoryBatch | StepBatch) -> Labels:
    """Find the labels of `batch` that `config` asks for; see `labels`."""
    return labels(batch, which=config.labels, use_masks=config.use_masks, only=config.label_filter)


def _passes(batch: TrajectoryBatch | StepBatch, only: LabelFilter, which: LabelKind) -> NDArray[np.bool_]:
    """Return which rows [R] pass every filter of `only`."""
    columns = batch.columns
    passes = np.full(len(columns["action"]), True)
    if isinstance(batch, TrajectoryBatch):
        said = np.isin(batch.episode_labels, [*map(int, labels_named(only.episode_labels))])
        passes &= np.repeat(said, batch.lengths)
    if only.sources is not None:
        require_columns(batch, "source")
        passes &= np.isin(columns["source"], [Source[name.upper()] for name in only.sources])
    if only.demonstrated is not None:
        passes &= _demonstrated(batch) == only.demonstrated
    if only.proposers is not None:
        passes &= ~_is_proposal(batch, which) | _is_proposed_by(batch, only.proposers)
    return passes


def _demonstrated(batch: TrajectoryBatch | StepBatch) -> NDArray[np.bool_]:
    """[R]; of a record without proposals, every row."""
    if "expert_action" not in batch.columns:
        return np.full(len(batch.columns["action"]), True)
    require_columns(batch, "demonstrated")
    return np.asarray(batch.columns["demonstrated"], np.bool_)


def _is_proposal(batch: TrajectoryBatch | StepBatch, which: LabelKind) -> NDArray[np.bool_]:
    """Return whether the label of each row [R] is what somebody proposed, not what a policy or a possessor did."""
    if which == "proposed":
        return ~_demonstrated(batch)
    require_columns(batch, "source")
    is_scripted: NDArray[np.bool_] = batch.columns["source"] == Source.SCRIPTED
    return is_scripted


def _is_proposed_by(batch: TrajectoryBatch | StepBatch, names: Sequence[str]) -> NDArray[np.bool_]:
    """Return whether the proposal of each row [R] is of one of the proposers `names`."""
    known = batch.schema.proposers
    if not set(names) & set(known):
        raise ConfigError(f"`proposers` must be among those of the record, {', '.join(known) or 'none'}, got {names}")
    require_columns(batch, "proposer")
    return np.isin(batch.columns["proposer"], [code for code, name in enumerate(known) if name in names])


def class_sizes(schema: TrajectorySchema) -> tuple[int, ...]:
    """Return the number of classes of each part, (A,) of one choice among A actions; of numbers, ()."""
    if isinstance(schema.actions, Box):
        return ()
    return (len(schema.vocabulary),) if schema.actions is None else schema.actions.sizes


def class_counts(schema: TrajectorySchema, actions: Actions) -> NDArray[np.int64]:
    """Count the labels `actions` [L] or [L, K] of each class, [Σ A_k] of all parts; of numbers, [0]."""
    sizes = class_sizes(schema)
    if not sizes:
        return np.zeros(0, np.int64)
    columns = side_by_side(actions.astype(np.int64)) + np.cumsum((0, *sizes[:-1]))
    return np.bincount(columns.ravel(), minlength=sum(sizes))


class Labelled(NamedTuple):
    """L labels and their observations, ready for the network."""

    inputs: Tensor
    """[L, F]; encoded observations. For a memory [M, F], of all rows of its fragments."""
    action_mask: Tensor | None
    """[L, A] bool."""
    actions: Tensor
    """[L] int64, or [L, K] of array actions."""
    places: Tensor | None = None
    """[L] int64, of the labels among the rows of `inputs`, which then are those of `fragments`; None: they are rows."""
    fragments: Fragments | None = None
    """What a memory goes through."""

    def labelled(self, features: Tensor) -> Tensor:
        """Of the features of all rows of `inputs`, those of the labels: [L, Fp]."""
        return features if self.places is None else features.index_select(0, self.places.to(features.device))

    def take(self, index: Tensor | slice) -> Labelled:
        mask = None if self.action_mask is None else self.action_mask[index]
        return Labelled(self.inputs[index], mask, self.actions[index])

    @staticmethod
    def joined(parts: Sequence[Labelled]) -> Labelled:
        masks = [part.action_mask for part in parts if part.action_mask is not None]
        return Labelled(
            torch.cat([part.inputs for part in parts]),
            torch.cat(masks) if masks else None,
            torch.cat([part.actions for part in parts]),
        )


class LabelSource(Protocol):
    """Labels to learn from or to judge by."""

    num_labels: int
    num_forbidden: int
    counts: NDArray[np.int64]
    """[Σ A_k], labels of each class; of numbers, none."""
    schema: TrajectorySchema

    def require_labels(self) -> None:
        """Count the labels. Raises `EmptyBatchError` if there is none."""

    def shuffled(self, size: int, *, epoch: int, generator: torch.Generator) -> Iterator[Labelled]:
        """All labels in the order of one epoch, in parts, the last with what is left.

        Args:
            size: labels of a part.
            epoch: from 0.
            generator: of the order, where labels are in memory.
        """

    def ordered(self, size: int) -> Iterator[Labelled]:
        """All labels in an order that stays the same, likewise."""


class BatchLabels:
    """The labels of a batch, encoded once."""

    def __init__(
        self, network: ActorCritic, batch: TrajectoryBatch, found: Labels, config: BCConfig, *, name: str
    ) -> None:
        require_same_actions(network, batch)
        self.num_labels, self.num_forbidden = len(found.rows), found.num_forbidden
        self.schema, self.counts = batch.schema, class_counts(batch.schema, found.actions)
        self._all = encoded_labels(network, batch, found, use_masks=config.use_masks)
        self._name, self._num_rows = name, batch.num_steps

    def require_labels(self) -> None:
        _require_labels(self._name, self.num_labels, self._num_rows, self.num_forbidden)

    def shuffled(self, size: int, *, epoch: int, generator: torch.Generator) -> Iterator[Labelled]:
        """See `LabelSource.shuffled`."""
        return map(self._all.take, torch.split(torch.randperm(self.num_labels, generator=generator), size))

    def ordered(self, size: int) -> Iterator[Labelled]:
        return (self._all.take(slice(first, first + size)) for first in range(0, self.num_labels, size))


class SequenceLabels(BatchLabels):
    """The labels of a batch for a network with memory, dealt out by whole fragments.

    A fragment begins with the state to which the network has come at the beginning of the pass.
    """

    def __init__(
        self, network: ActorCritic, batch: TrajectoryBatch, found: Labels, config: BCConfig, *, name: str
    ) -> None:
        super().__init__(network, batch, found, config, name=name)
        self._network, self._longest = network, config.sequence_length
        self._inputs = encode_rows(network, batch.observations, np.arange(batch.num_steps))
        self._label_of_row = torch.full((batch.num_steps,), -1)
        self._label_of_row[torch.from_numpy(found.rows)] = torch.arange(self.num_labels)
        self._trajectories, self._first = batch.offsets, first_states(network, batch)

    def shuffled(self, size: int, *, epoch: int, generator: torch.Generator) -> Iterator[Labelled]:
        """See `LabelSource.shuffled`."""
        fragments = stepped_fragments(
            self._network, self._inputs, self._trajectories, self._first, longest=self._longest
        )
        before = torch.cat([torch.zeros(1, dtype=torch.int64), (self._label_of_row >= 0).cumsum(0)])
        counts = before[fragments.offsets].diff()
        taught = counts.nonzero().squeeze(1)
        order = taught[torch.randperm(len(taught), generator=generator)]
        part = (counts[order].cumsum(0) - 1) // size
        return (self._part(fragments, order[part == number]) for number in part.unique())

    def ordered(self, size: int) -> Iterator[Labelled]:
        yield self._part(Fragments(torch.tensor(self._trajectories), self._first), torch.arange(len(self._first)))

    def _part(self, fragments: Fragments, index: Tensor) -> Labelled:
        rows, offsets = picked(fragments.offsets, index)
        label = self._label_of_row[rows]
        places = (label >= 0).nonzero().squeeze(1)
        return self._all.take(label[places])._replace(
            inputs=self._inputs[rows], places=places, fragments=Fragments(offsets, fragments.states[index])
        )


class StreamedLabels:
    """The labels of a dataset, found and encoded anew in each pass."""

    def __init__(
        self, network: ActorCritic, dataset: TrajectoryDataset[StepBatch], config: BCConfig, *, name: str
    ) -> None:
        self.num_labels = self.num_forbidden = 0
        self.schema = dataset.schema
        self.counts = np.zeros(sum(class_sizes(dataset.schema)), np.int64)
        self._network, self._dataset, self._config, self._name = network, dataset, config, name

    def require_labels(self) -> None:
        for batch in opened(self._dataset).epoch(0):
            found = labels_of(self._config, batch)
            require_same_actions(self._network, batch)
            self.num_labels += len(found.rows)
            self.counts += class_counts(batch.schema, found.actions)
            self.num_forbidden += found.num_forbidden
        _require_labels(self._name, self.num_labels, self._dataset.num_units, self.num_forbidden)

    def shuffled(self, size: int, *, epoch: int, generator: torch.Generator) -> Iterator[Labelled]:
        """See `LabelSource.shuffled`."""
        return _regrouped(self._parts(epoch), size)

    def ordered(self, size: int) -> Iterator[Labelled]:
        return _regrouped(self._parts(0), size)

    def _parts(self, epoch: int) -> Iterator[Labelled]:
        for batch in opened(self._dataset).epoch(epoch):
            found = labels_of(self._config, batch)
            yield encoded_labels(self._network, batch, found, use_masks=self._config.use_masks)


def opened(dataset: TrajectoryDataset[StepBatch]) -> TrajectoryDataset[StepBatch]:
    """Return `dataset`; where memory is bounded, one of the same batches that lets its window go with itself."""
    if dataset.reader.options.memory_budget_bytes is None:
        return dataset
    return dataset.restricted(np.ones(len(dataset.table), np.bool_))


def _regrouped(parts: Iterable[Labelled], size: int) -> Iterator[Labelled]:
    """Hand the labels of `parts` on in their order, `size` at a time, the last with what is left."""
    kept: list[Labelled] = []
    num_kept = 0
    for part in parts:
        kept.append(part)
        num_kept += len(part.actions)
        if num_kept >= size:
            rest = Labelled.joined(kept)
            whole = num_kept - num_kept % size
            yield from (rest.take(slice(first, first + size)) for first in range(0, whole, size))
            kept, num_kept = [rest.take(slice(whole, None))], num_kept - whole
    if num_kept:
        yield Labelled.joined(kept)


def label_source(
    network: ActorCritic, rows: TrajectoryBatch | TrajectoryDataset[StepBatch], config: BCConfig, *, name: str
) -> LabelSource:
    """Make the source of the labels that `config` asks for.

    Args:
        network: that is to learn from them.
        rows: a batch, which is encoded at once, or a dataset, which is streamed.
        config: of the fit.
        name: of the rows, for errors.

    Raises:
        ShapeError: if a batch is of other actions, or lacks a column.
        ConfigError: if a dataset of single steps is to teach a memory.
    """
    if isinstance(rows, TrajectoryBatch):
        found, kind = labels_of(config, rows), SequenceLabels if network.state_size else BatchLabels
        return kind(network, rows, found, config, name=name)
    if network.state_size:
        raise ConfigError(f"a network with memory clones whole trajectories, `{name}` is streamed in single steps")
    return StreamedLabels(network, rows, config, name=name)


def _require_labels(name: str, num_labels: int, num_rows: int, num_forbidden: int) -> None:
    if not num_labels:
        raise EmptyBatchError(
            f"`{name}` has no label in {num_rows} rows ({num_forbidden} are forbidden by the action mask)"
        )


def encoded_labels(
    network: ActorCritic, batch: TrajectoryBatch | StepBatch, found: Labels, *, use_masks: bool
) -> Labelled:
    """Encode the labelled rows of `batch`.

    Args:
        network: whose inputs they become.
        batch: of R rows.
        found: its labels.
        use_masks: whether the masks of their rows are kept.

    Raises:
        ShapeError: if an input is missing or has another shape.
        ActionMaskError: if a labelled row has no legal action.
    """
    return Labelled(
        inputs=encode_rows(network, batch.observations, found.rows),
        action_mask=mask_rows(network, batch.observations, found.rows) if use_masks else None,
        actions=torch.from_numpy(found.actions).to(network.value_scale.device),
    )
