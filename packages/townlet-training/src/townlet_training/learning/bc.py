"""Behavior cloning of the script, and of demonstrations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from townlet_training.errors import EmptyBatchError
from townlet_training.learning.batch import (
    encode_rows,
    log_probs_of,
    mask_rows,
    require_actions,
    require_columns,
    require_same_actions,
)
from townlet_training.learning.config import BCConfig
from townlet_training.learning.optimizer import Optimizer
from townlet_training.network.actor_critic import ActorCritic, log_prob_of
from townlet_trajectory import ACTION_MASK, Kind, TrajectoryBatch
from townlet_trajectory.evaluation.results import CloneEpoch, CloneResult

# The default of Adam (Kingma & Ba 2015, arXiv:1412.6980).
_ADAM_EPS = 1e-8


class Labels(NamedTuple):
    """The labelled rows of a batch, and their labels."""

    rows: NDArray[np.int64]
    """[L], ascending."""
    actions: NDArray[np.int64]
    """[L]; the script's proposal, or the action of a demonstration."""
    num_forbidden: int
    """Labels that were dropped because the action mask forbids them."""


def labels(batch: TrajectoryBatch) -> Labels:
    """Find the actions to imitate: demonstrations, and the script's proposals.

    On demonstrated rows the label is the executed action (HG-DAgger, Kelly et al. 2019, arXiv:1810.02890). On the other
    decision and foreign rows it is the script's proposal, independent of who acted and of vetoes (DAgger, Ross et al.
    2011, arXiv:1011.0686). On forced rows nothing was decided, and -1 is no proposal. In a batch without the column
    `expert_action`, such as a classic capture, every row is a demonstration. An action that the mask forbids is no
    label.

    Raises:
        ShapeError: if the batch lacks a column, or a label is not in its vocabulary.
    """
    columns = batch.columns
    require_columns(batch, "action")
    actions = np.asarray(columns["action"], np.int64)
    if "expert_action" in columns:
        require_columns(batch, "kind", "demonstrated")
        proposed = np.where(columns["kind"] == Kind.FORCED, -1, columns["expert_action"])
        actions = np.where(columns["demonstrated"], actions, proposed.astype(np.int64))
    rows = np.flatnonzero(actions >= 0)
    require_actions("label", batch, actions[rows], rows)
    mask = batch.observations.get(ACTION_MASK)
    legal = np.full(len(rows), True) if mask is None else mask[rows, actions[rows]]
    kept = rows[legal]
    return Labels(kept, actions[kept], len(rows) - len(kept))


class BCLearner:
    """Fits a network's policy to labels; its critic is left alone. Draws only from its generator.

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

    def __init__(self, network: ActorCritic, *, config: BCConfig, generator: torch.Generator) -> None:
        self._network = network
        self._config = config
        self._generator = generator

    def fit(
        self,
        train: TrajectoryBatch,
        held_out: TrajectoryBatch,
        *,
        on_epoch: Callable[[CloneEpoch], None] = lambda epoch: None,
    ) -> CloneResult:
        """Minimize the cross-entropy of the labels of `train`; keep the weights that did best on `held_out`.

        The two should hold different episodes: agents of one episode see each other.

        Args:
            train: rows to learn from.
            held_out: rows that choose the epoch and measure its accuracy.
            on_epoch: called after every pass; an exception of it ends the cloning, with the weights of that pass.

        Returns:
            Accuracy by epoch, and the counts of labels.

        Raises:
            EmptyBatchError: if a batch has no label.
            ShapeError: if a batch is of another vocabulary or other observations, or lacks a column.
            ActionMaskError: if a labelled row has no legal action.
            NonFiniteError: if an output, loss or gradient is not finite; the weights are those before that step.
        """
        found, found_held_out = labels(train), labels(held_out)
        learned = _labelled(self._network, train, found, name="train")
        judged = _labelled(self._network, held_out, found_held_out, name="held_out")
        parameters = dict(self._network.policy.named_parameters())
        optimizer = Optimizer(
            parameters,
            learning_rate=self._config.learning_rate,
            weight_decay=self._config.weight_decay,
            eps=_ADAM_EPS,
        )
        epochs: list[CloneEpoch] = []
        best, best_score = 0, (-1.0, 0.0)
        best_weights: dict[str, Tensor] = {}
        for epoch in range(1, self._config.num_epochs + 1):
            loss = self._pass(learned, optimizer, epoch)
            score = _judge(self._network, judged)
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
            num_labels=len(found.rows),
            num_held_out=len(found_held_out.rows),
            num_forbidden=found.num_forbidden + found_held_out.num_forbidden,
        )

    def _pass(self, labelled: _Labelled, optimizer: Optimizer, epoch: int) -> float:
        """Learn from every label once, in a new order; their mean loss."""
        origin = f"cloning, epoch {epoch} of {self._config.num_epochs}, learning rate {self._config.learning_rate:g}"
        order = torch.randperm(len(labelled.actions), generator=self._generator)
        losses = []
        for part in torch.split(order, self._config.batch_size):
            mask = None if labelled.action_mask is None else labelled.action_mask[part]
            log_probs = self._network.log_probs(labelled.inputs[part], mask)
            errors = -log_prob_of(log_probs, labelled.actions[part])
            optimizer.step(errors.mean(), origin)
            losses.append(errors.detach().sum())
        return torch.stack(losses).double().sum().item() / len(order)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Labelled:
    """L labels and their observations, ready for the network."""

    inputs: Tensor
    """[L, F]; encoded observations."""
    action_mask: Tensor | None
    """[L, A] bool."""
    actions: Tensor
    """[L] int64."""


def _labelled(network: ActorCritic, batch: TrajectoryBatch, found: Labels, *, name: str) -> _Labelled:
    if not found.rows.size:
        raise EmptyBatchError(
            f"`{name}` has no label in {batch.num_steps} rows ({found.num_forbidden} are forbidden by the action mask)"
        )
    require_same_actions(network, batch)
    return _Labelled(
        inputs=encode_rows(network, batch.observations, found.rows),
        action_mask=mask_rows(batch.observations, found.rows),
        actions=torch.from_numpy(found.actions),
    )


def _judge(network: ActorCritic, labelled: _Labelled) -> tuple[float, float]:
    """Share of the labels that are the most likely action, and their mean log-probability."""
    log_probs = log_probs_of(network, labelled.inputs, labelled.action_mask)
    hits = log_probs.argmax(dim=-1) == labelled.actions
    return hits.double().mean().item(), log_prob_of(log_probs, labelled.actions).double().mean().item()
