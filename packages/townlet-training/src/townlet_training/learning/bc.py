"""Behavior cloning of the script, of demonstrations, and of recorded steps of any form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from townlet_training.errors import ConfigError, EmptyBatchError
from townlet_training.learning.config import BCConfig, Device
from townlet_training.learning.device import Placement, device_named
from townlet_training.learning.fragments import features_of, first_states, picked, stepped_fragments
from townlet_training.learning.labels import Labels, class_counts, class_sizes, labels_of
from townlet_training.learning.objective import balanced_weights, weighted_cross_entropy
from townlet_training.learning.optimizer import Optimizer
from townlet_training.learning.rows import CHUNK, encode_rows, mask_rows, params_of, require_same_actions
from townlet_training.network.features import Fragments
from townlet_trajectory import StepBatch, TrajectoryBatch, TrajectoryDataset, TrajectorySchema
from townlet_trajectory.evaluation.results import CloneEpoch, CloneResult

if TYPE_CHECKING:
    from townlet_training.network.actor_critic import ActorCritic

# The default of Adam (Kingma & Ba 2015, arXiv:1412.6980).
_ADAM_EPS = 1e-8


class BCLearner:
    """Fits a network's policy to labels; its critic is left alone. Draws only from its generator.

    A network with memory learns from whole trajectories, also through rows without a label.

    Examples:
        >>> import numpy as np, torch
        >>> from townlet_training import ActorCritic, BCConfig, BCLearner, NetworkConfig
        >>> from townlet_trajectory import ArraySpec, Trajectory, TrajectoryBatch, TrajectorySchema
        >>> schema = TrajectorySchema(
        ...     observations={"cell": ArraySpec("float32", (2,))},
        ...     decisions={"action": ArraySpec("int64")},
        ...     vocabulary=("left", "right"),
        ... )
        >>> walk = Trajectory(
        ...     schema=schema, observations={"cell": np.eye(2, dtype=np.float32)[[0, 1, 0]]},
        ...     columns={"action": np.array([1, 0])}, rewards=np.zeros(2, np.float32), ticks=np.arange(2),
        ...     terminated=True, truncated=False, agent_id="anna", world=0, episode=0,
        ... )
        >>> batch = TrajectoryBatch.from_trajectories([walk])
        >>> generator = torch.Generator().manual_seed(0)
        >>> network = ActorCritic({"cell": (2,)}, 2, NetworkConfig(hidden_sizes=(8,)), generator=generator)
        >>> learner = BCLearner(network, config=BCConfig(learning_rate=1e-2), generator=generator)
        >>> learner.fit(batch, batch).accuracy
        1.0
    """

    def __init__(
        self, network: ActorCritic, *, config: BCConfig, generator: torch.Generator, device: Device = "cpu"
    ) -> None:
        """Take over `network`, which is fitted from the weights that it has.

        Args:
            network: which acts, on the CPU.
            config: of the fit.
            generator: of orders and noise, on the CPU.
            device: where a copy of the network learns; its weights are handed back at the end of a fit.

        Raises:
            ConfigError: if there is no such device.
        """
        self._placement = Placement(network, device_named(device))
        self._config = config
        self._generator = generator

    def fit(
        self,
        train: TrajectoryBatch | TrajectoryDataset[StepBatch],
        held_out: TrajectoryBatch | TrajectoryDataset[StepBatch],
        *,
        on_epoch: Callable[[CloneEpoch], None] = lambda epoch: None,
    ) -> CloneResult:
        """Minimize the cross-entropy of the labels of `train`; keep the weights that did best on `held_out`.

        The two should hold different episodes: agents of one episode see each other. A dataset is streamed, in the
        order of its epochs: the labels of a batch of it are found and learned from before the next one is read.
        One with a memory budget is read anew in each pass, so that two of them never hold their windows at once.

        Args:
            train: rows to learn from.
            held_out: rows that choose the epoch and measure its accuracy.
            on_epoch: called after every pass; an exception of it ends the cloning, with the weights of that pass.

        Returns:
            Accuracy by epoch, and the counts of labels.

        Raises:
            EmptyBatchError: if a batch or dataset has no label.
            ConfigError: if numbers are to have weights of classes, or a dataset is to teach a memory.
            ShapeError: if it is of other actions or observations, or lacks a column.
            ActionMaskError: if a labelled row has no legal action.
            NonFiniteError: if an output, loss or gradient is not finite; the weights are those before that step.
            ArtifactError: if a file of a dataset cannot be read.
        """
        with self._placement.up_to_date() as network:
            learned = _source(network, train, self._config, name="train")
            judged = _source(network, held_out, self._config, name="held_out")
            learned.require_labels()
            judged.require_labels()
            return self._fit(network, learned, judged, on_epoch)

    def _fit(
        self,
        network: ActorCritic,
        learned: _LabelSource,
        judged: _LabelSource,
        on_epoch: Callable[[CloneEpoch], None],
    ) -> CloneResult:
        parameters = network.policy_parameters
        optimizer = Optimizer(
            parameters,
            learning_rate=self._config.learning_rate,
            weight_decay=self._config.weight_decay,
            eps=_ADAM_EPS,
        )
        errors_of = _errors_of(network, learned, self._config)
        epochs, best, best_score = list[CloneEpoch](), 0, (-1.0, 0.0)
        best_weights: dict[str, Tensor] = {}
        for epoch in range(1, self._config.num_epochs + 1):
            loss = self._pass(network, learned, errors_of, optimizer, epoch)
            score = _judge(network, judged)
            epochs.append(CloneEpoch(epoch=epoch, loss=loss, held_out_accuracy=score[0]))
            on_epoch(epochs[-1])
            if score > best_score:
                best, best_score = epoch, score
                best_weights = {name: weight.detach().clone() for name, weight in parameters.items()}
        with torch.no_grad():
            for name, weight in parameters.items():
                weight.copy_(best_weights[name])
        return CloneResult(
            epochs=tuple(epochs),
            best_epoch=best,
            accuracy=best_score[0],
            num_labels=learned.num_labels,
            num_held_out=judged.num_labels,
            num_forbidden=learned.num_forbidden + judged.num_forbidden,
        )

    def _pass(
        self,
        network: ActorCritic,
        labelled: _LabelSource,
        errors_of: Callable[[Tensor, Tensor], Tensor],
        optimizer: Optimizer,
        epoch: int,
    ) -> float:
        """Learn from every label once, in a new order; their mean loss."""
        origin = f"cloning, epoch {epoch} of {self._config.num_epochs}, learning rate {self._config.learning_rate:g}"
        losses = []
        for part in labelled.shuffled(self._config.batch_size, epoch=epoch - 1, generator=self._generator):
            inputs = part.inputs
            if noise := self._config.input_noise:
                # To first order a penalty on the slope of the loss: Bishop 1995, Training with Noise is Equivalent to
                # Tikhonov Regularization.
                inputs = inputs + noise * torch.randn(inputs.shape, generator=self._generator).to(inputs.device)
            features = part.labelled(network.body(inputs, part.fragments).policy)
            errors = errors_of(network.params(features, part.action_mask), part.actions)
            optimizer.step(errors.mean(), origin)
            losses.append(errors.detach().sum())
        return torch.stack(losses).cpu().double().sum().item() / labelled.num_labels


def _errors_of(network: ActorCritic, labelled: _LabelSource, config: BCConfig) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss [L] as a function of parameters [L, P] and labels: cross-entropy, with weights where asked."""
    if config.class_weights == "none":
        return lambda params, actions: -network.distribution.log_prob(params, actions)
    sizes = class_sizes(labelled.schema)
    if not sizes:
        raise ConfigError(f"`class_weights` are of choices, not of numbers, got {config.class_weights}")
    balanced = balanced_weights(labelled.counts, sizes).astype(np.float32)
    weights = torch.from_numpy(balanced).to(network.value_scale.device)
    return lambda params, actions: weighted_cross_entropy(params, actions, weights, sizes=sizes)


class _Labelled(NamedTuple):
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

    def take(self, index: Tensor | slice) -> _Labelled:
        mask = None if self.action_mask is None else self.action_mask[index]
        return _Labelled(self.inputs[index], mask, self.actions[index])

    @staticmethod
    def joined(parts: Sequence[_Labelled]) -> _Labelled:
        masks = [part.action_mask for part in parts if part.action_mask is not None]
        return _Labelled(
            torch.cat([part.inputs for part in parts]),
            torch.cat(masks) if masks else None,
            torch.cat([part.actions for part in parts]),
        )


class _LabelSource(Protocol):
    """Labels to learn from or to judge by."""

    num_labels: int
    num_forbidden: int
    counts: NDArray[np.int64]
    """[Σ A_k], labels of each class; of numbers, none."""
    schema: TrajectorySchema

    def require_labels(self) -> None:
        """Count the labels. Raises `EmptyBatchError` if there is none."""

    def shuffled(self, size: int, *, epoch: int, generator: torch.Generator) -> Iterator[_Labelled]:
        """All labels in the order of epoch `epoch`, in parts of `size`, the last with what is left."""

    def ordered(self, size: int) -> Iterator[_Labelled]:
        """All labels in an order that stays the same, likewise."""


class _BatchLabels:
    """The labels of a batch, encoded once."""

    def __init__(self, network: ActorCritic, batch: TrajectoryBatch, config: BCConfig, *, name: str) -> None:
        found = labels_of(config, batch)
        require_same_actions(network, batch)
        self.num_labels, self.num_forbidden = len(found.rows), found.num_forbidden
        self.schema, self.counts = batch.schema, class_counts(batch.schema, found.actions)
        self._all = _encoded(network, batch, found, use_masks=config.use_masks)
        self._name, self._num_rows = name, batch.num_steps

    def require_labels(self) -> None:
        _require_labels(self._name, self.num_labels, self._num_rows, self.num_forbidden)

    def shuffled(self, size: int, *, epoch: int, generator: torch.Generator) -> Iterator[_Labelled]:
        return map(self._all.take, torch.split(torch.randperm(self.num_labels, generator=generator), size))

    def ordered(self, size: int) -> Iterator[_Labelled]:
        return (self._all.take(slice(first, first + size)) for first in range(0, self.num_labels, size))


class _SequenceLabels(_BatchLabels):
    """The labels of a batch for a network with memory, dealt out by whole fragments.

    A fragment begins with the state to which the network has come at the beginning of the pass.
    """

    def __init__(self, network: ActorCritic, batch: TrajectoryBatch, config: BCConfig, *, name: str) -> None:
        super().__init__(network, batch, config, name=name)
        self._network, self._longest = network, config.sequence_length
        self._inputs = encode_rows(network, batch.observations, np.arange(batch.num_steps))
        self._label_of_row = torch.full((batch.num_steps,), -1)
        self._label_of_row[torch.from_numpy(labels_of(config, batch).rows)] = torch.arange(self.num_labels)
        self._trajectories, self._first = batch.offsets, first_states(network, batch)

    def shuffled(self, size: int, *, epoch: int, generator: torch.Generator) -> Iterator[_Labelled]:
        fragments = stepped_fragments(
            self._network, self._inputs, self._trajectories, self._first, longest=self._longest
        )
        before = torch.cat([torch.zeros(1, dtype=torch.int64), (self._label_of_row >= 0).cumsum(0)])
        counts = before[fragments.offsets].diff()
        taught = counts.nonzero().squeeze(1)
        order = taught[torch.randperm(len(taught), generator=generator)]
        part = (counts[order].cumsum(0) - 1) // size
        return (self._part(fragments, order[part == number]) for number in part.unique())

    def ordered(self, size: int) -> Iterator[_Labelled]:
        whole = Fragments(torch.tensor(self._trajectories), self._first)
        yield self._part(whole, torch.arange(len(self._first)))

    def _part(self, fragments: Fragments, index: Tensor) -> _Labelled:
        rows, offsets = picked(fragments.offsets, index)
        label = self._label_of_row[rows]
        places = (label >= 0).nonzero().squeeze(1)
        return self._all.take(label[places])._replace(
            inputs=self._inputs[rows], places=places, fragments=Fragments(offsets, fragments.states[index])
        )


class _StreamedLabels:
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

    def shuffled(self, size: int, *, epoch: int, generator: torch.Generator) -> Iterator[_Labelled]:
        return _regrouped(self._parts(epoch), size)

    def ordered(self, size: int) -> Iterator[_Labelled]:
        return _regrouped(self._parts(0), size)

    def _parts(self, epoch: int) -> Iterator[_Labelled]:
        for batch in opened(self._dataset).epoch(epoch):
            found = labels_of(self._config, batch)
            yield _encoded(self._network, batch, found, use_masks=self._config.use_masks)


def opened(dataset: TrajectoryDataset[StepBatch]) -> TrajectoryDataset[StepBatch]:
    """Return `dataset`; where memory is bounded, one of the same batches that lets its window go with itself."""
    if dataset.reader.options.memory_budget_bytes is None:
        return dataset
    return dataset.restricted(np.ones(len(dataset.table), np.bool_))


def _regrouped(parts: Iterable[_Labelled], size: int) -> Iterator[_Labelled]:
    """Hand the labels of `parts` on in their order, `size` at a time, the last with what is left."""
    kept: list[_Labelled] = []
    num_kept = 0
    for part in parts:
        kept.append(part)
        num_kept += len(part.actions)
        if num_kept >= size:
            rest = _Labelled.joined(kept)
            whole = num_kept - num_kept % size
            yield from (rest.take(slice(first, first + size)) for first in range(0, whole, size))
            kept, num_kept = [rest.take(slice(whole, None))], num_kept - whole
    if num_kept:
        yield _Labelled.joined(kept)


def _source(
    network: ActorCritic, rows: TrajectoryBatch | TrajectoryDataset[StepBatch], config: BCConfig, *, name: str
) -> _LabelSource:
    if isinstance(rows, TrajectoryBatch):
        kind = _SequenceLabels if network.state_size else _BatchLabels
        return kind(network, rows, config, name=name)
    if network.state_size:
        raise ConfigError(f"a network with memory clones whole trajectories, `{name}` is streamed in single steps")
    return _StreamedLabels(network, rows, config, name=name)


def _require_labels(name: str, num_labels: int, num_rows: int, num_forbidden: int) -> None:
    if not num_labels:
        raise EmptyBatchError(
            f"`{name}` has no label in {num_rows} rows ({num_forbidden} are forbidden by the action mask)"
        )


def _encoded(network: ActorCritic, batch: TrajectoryBatch | StepBatch, found: Labels, *, use_masks: bool) -> _Labelled:
    return _Labelled(
        inputs=encode_rows(network, batch.observations, found.rows),
        action_mask=mask_rows(network, batch.observations, found.rows) if use_masks else None,
        actions=torch.from_numpy(found.actions).to(network.value_scale.device),
    )


def _judge(network: ActorCritic, labelled: _LabelSource) -> tuple[float, float]:
    """Share of the labels that are the action taken without drawing, and their mean log-probability."""
    num_hits, sums = 0, 0.0
    for part in labelled.ordered(CHUNK):
        features = part.labelled(features_of(network, part.inputs, part.fragments).policy)
        params = params_of(network, features, part.action_mask)
        num_hits += int(network.distribution.agrees(params, part.actions).sum())
        sums += network.distribution.log_prob(params, part.actions).cpu().double().sum().item()
    return num_hits / labelled.num_labels, sums / labelled.num_labels
