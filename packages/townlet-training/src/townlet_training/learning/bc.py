"""Behavior cloning of the script, of demonstrations, and of recorded steps of any form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from townlet_training.errors import ConfigError
from townlet_training.learning.config import BCConfig, Device
from townlet_training.learning.descent import cross_entropy_slopes, head_slopes
from townlet_training.learning.device import Placement, device_named
from townlet_training.learning.fragments import features_of
from townlet_training.learning.labels import (
    Labelled,
    LabelSource,
    SequenceLabels,
    class_sizes,
    encoded_labels,
    label_source,
    labels_of,
)
from townlet_training.learning.objective import balanced_weights, weighted_cross_entropy
from townlet_training.learning.optimizer import Optimizer
from townlet_training.learning.rows import CHUNK, params_of, side_by_side
from townlet_training.network.gradients import TrunkGradient
from townlet_training.network.weights import aligned
from townlet_trajectory import StepBatch, TrajectoryBatch, TrajectoryDataset
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
            learned = label_source(network, train, self._config, name="train")
            judged = label_source(network, held_out, self._config, name="held_out")
            learned.require_labels()
            judged.require_labels()
            return self._fit(network, learned, judged, on_epoch)

    def _fit(
        self,
        network: ActorCritic,
        learned: LabelSource,
        judged: LabelSource,
        on_epoch: Callable[[CloneEpoch], None],
    ) -> CloneResult:
        parameters = network.policy_parameters
        optimizer = Optimizer(
            parameters,
            learning_rate=self._config.learning_rate,
            weight_decay=self._config.weight_decay,
            eps=_ADAM_EPS,
        )
        imitation = _Imitation(network, optimizer, learned, self._config)
        epochs, best, best_score = list[CloneEpoch](), 0, (-1.0, 0.0)
        best_weights: dict[str, Tensor] = {}
        for epoch in range(1, self._config.num_epochs + 1):
            loss = self._pass(learned, imitation, optimizer, epoch)
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

    def _pass(self, labelled: LabelSource, imitation: _Imitation, optimizer: Optimizer, epoch: int) -> float:
        """Learn from every label once, in a new order; their mean loss."""
        origin = f"cloning, epoch {epoch} of {self._config.num_epochs}, learning rate {self._config.learning_rate:g}"
        total = 0.0
        # A number that is too large stops the pass in `Optimizer.step`; numpy would warn of it, torch does not.
        with np.errstate(all="ignore"):
            for part in labelled.shuffled(self._config.batch_size, epoch=epoch - 1, generator=self._generator):
                if noise := self._config.input_noise:
                    # To first order a penalty on the slope of the loss: Bishop 1995, Training with Noise is Equivalent
                    # to Tikhonov Regularization.
                    shifts = noise * torch.randn(part.inputs.shape, generator=self._generator)
                    part = part._replace(inputs=part.inputs + shifts.to(part.inputs.device))
                loss, moved = imitation.differentiate(part)
                optimizer.step(loss, origin, moved)
                total += loss * len(part.actions)
        return total / labelled.num_labels


class _Imitation:
    """Cross-entropy of labels, with weights of classes where asked, and its gradient.

    The trunk is differentiated by its equations, and so is the loss where actions are indices without weights; what is
    left, and everything of a network on a device or with added blocks, by torch.
    """

    def __init__(self, network: ActorCritic, optimizer: Optimizer, labelled: LabelSource, config: BCConfig) -> None:
        """Raises `ConfigError` if numbers are to have weights of classes."""
        self._network, self._optimizer = network, optimizer
        self._sizes = class_sizes(labelled.schema)
        self._weights: Tensor | None = None
        if config.class_weights != "none":
            if not self._sizes:
                raise ConfigError(f"`class_weights` are of choices, not of numbers, got {config.class_weights}")
            balanced = balanced_weights(labelled.counts, self._sizes).astype(np.float32)
            self._weights = torch.from_numpy(balanced).to(network.value_scale.device)
        self._starts = np.array([0, *accumulate(self._sizes[:-1])])
        self._trunk: TrunkGradient | None = None
        if network.value_scale.device.type == "cpu" and network.policy.is_plain:
            is_tanh = network.config.activation == "tanh"
            self._trunk = TrunkGradient(network.policy, optimizer.gradients_of("policy."), is_tanh=is_tanh)
        self._names = [name for name in optimizer.gradients if not name.startswith("front.")]

    def differentiate(self, part: Labelled) -> tuple[float, Sequence[str]]:
        """Write the gradient of the mean loss of `part`; return that loss, and the names of what has a gradient."""
        with torch.set_grad_enabled(self._trunk is None or self._network.has_body):
            features = part.labelled(self._network.body(part.inputs, part.fragments).policy)
        if self._trunk is None:
            loss = self._loss(self._network.outputs(features), part)
            return loss.item(), self._optimizer.differentiate([loss])
        outputs = self._trunk.outputs(features.detach().numpy())
        if self._sizes and self._weights is None:
            mean, slopes = cross_entropy_slopes(
                outputs,
                None if part.action_mask is None else np.logical_not(part.action_mask.numpy()),
                side_by_side(part.actions.numpy()) + self._starts,
                sizes=self._sizes,
            )
        else:
            head = torch.from_numpy(outputs).requires_grad_()
            loss = self._loss(self._network.completed(head), part)
            mean, slopes = loss.item(), head_slopes(self._network, self._optimizer, loss, head)
        before = self._trunk.descend(slopes, to_inputs=features.requires_grad)
        if before is None:
            return mean, self._names
        return mean, [*self._names, *self._optimizer.differentiate([features], [aligned(before)])]

    def _loss(self, outputs: Tensor, part: Labelled) -> Tensor:
        distribution = self._network.distribution
        params = distribution.params(outputs, part.action_mask)
        if self._weights is None:
            return -distribution.log_prob(params, part.actions).mean()
        return weighted_cross_entropy(params, part.actions, self._weights, sizes=self._sizes).mean()


def right_labels(
    network: ActorCritic, batch: TrajectoryBatch | StepBatch, config: BCConfig
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Compare the labels of `batch` with the actions that the network takes without drawing.

    Args:
        network: whose actions are compared; with a memory, it steps through the trajectories.
        batch: of states.
        config: which labels, and whether masks count.

    Returns:
        The labelled rows [L], and whether the label is the action taken [L], as of `Distribution.agrees`.

    Raises:
        ConfigError: if a network with memory is to be judged by single steps.
    """
    found = labels_of(config, batch)
    if not network.state_size:
        part = encoded_labels(network, batch, found, use_masks=config.use_masks)
    elif isinstance(batch, TrajectoryBatch):
        part = next(SequenceLabels(network, batch, found, config, name="judge").ordered(1))
    else:
        raise ConfigError("a network with memory is judged by whole trajectories, got single steps")
    params = params_of(network, _features(network, part), part.action_mask)
    return found.rows, network.distribution.agrees(params, part.actions).cpu().numpy()


def _features(network: ActorCritic, part: Labelled) -> Tensor:
    return part.labelled(features_of(network, part.inputs, part.fragments).policy)


def _judge(network: ActorCritic, labelled: LabelSource) -> tuple[float, float]:
    """Share of the labels that are the action taken without drawing, and their mean log-probability."""
    num_hits, sums = 0, 0.0
    for part in labelled.ordered(CHUNK):
        params = params_of(network, _features(network, part), part.action_mask)
        num_hits += int(network.distribution.agrees(params, part.actions).sum())
        sums += network.distribution.log_prob(params, part.actions).cpu().double().sum().item()
    return num_hits / labelled.num_labels, sums / labelled.num_labels
