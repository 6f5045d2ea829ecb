"""The gradient of the loss on a minibatch, in one of two ways; `descent_of` decides.

`ClosedForm`: trunks, value loss and the loss of actions that are indices by their equations, in numpy. What is left,
bodies before the trunks and Gaussians, is differentiated by torch. `Autograd`: all of it by torch, on any device, of
trunks that inputs or actions were added to.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from townlet_training.learning.loss import Objective, PolicyTerms, Terms, value_slopes
from townlet_training.learning.rows import side_by_side
from townlet_training.network.gradients import TrunkGradient
from townlet_training.network.trunk import Floats
from townlet_training.network.weights import aligned

if TYPE_CHECKING:
    from townlet_training.learning.minibatches import Minibatch
    from townlet_training.learning.optimizer import Optimizer
    from townlet_training.network.actor_critic import ActorCritic

_LOWEST = np.finfo(np.float32).min
_ZERO = np.float32(0.0)


class Descent(Protocol):
    """Evaluates the loss on a minibatch, and then its gradient."""

    def evaluate(self, minibatch: Minibatch, *, critic_only: bool) -> Terms[float]:
        """Terms of the loss; see `Objective.terms`. Parts of the gradient may be written by this already."""

    def differentiate(self) -> Sequence[str]:
        """Write the gradient of the loss that was evaluated last where the optimizer reads it, once.

        Returns:
            Names of the parameters that have one.
        """


def descent_of(objective: Objective, optimizer: Optimizer) -> Descent:
    """Choose how the gradients of an update are computed; `optimizer` is that of all parameters of the network."""
    network = objective.network
    is_here = network.value_scale.device.type == "cpu"
    if is_here and network.policy.is_plain and network.critic.is_plain:
        return ClosedForm(objective, optimizer)
    return Autograd(objective, optimizer)


class Autograd:
    """The gradient as torch finds it."""

    _loss: Tensor

    def __init__(self, objective: Objective, optimizer: Optimizer) -> None:
        """See `descent_of`."""
        self._objective, self._optimizer = objective, optimizer

    def evaluate(self, minibatch: Minibatch, *, critic_only: bool) -> Terms[float]:
        """See `Descent`."""
        terms = self._objective.terms(minibatch, critic_only=critic_only)
        self._loss = terms.total_loss
        return Terms(*torch.stack(terms).tolist())

    def differentiate(self) -> Sequence[str]:
        """See `Descent`."""
        return self._optimizer.differentiate([self._loss])


class Decisions(NamedTuple):
    """N decisions in numpy, about actions that are indices; as `PolicyRows`."""

    is_forbidden: NDArray[np.bool_] | None
    """[N, Σ A_k]; None if everything is legal."""
    actions: NDArray[np.int64]
    """[N, K], among the columns of all K parts side by side, as the labels."""
    log_probs: Floats
    weights: Floats
    advantages: Floats
    """As the loss has them, times w; with `normalize_advantages: minibatch`, in reward units."""
    labels: NDArray[np.int64] | None
    """None without any in the batch."""
    labelled: Floats | None

    @classmethod
    def of(cls, objective: Objective) -> Decisions:
        """Make those of a whole batch."""
        rows, sizes = objective.batch.policy, objective.network.distribution.part_sizes
        starts = np.array([0, *accumulate(sizes[:-1])])
        weights, advantages = rows.weights.numpy(), rows.advantages
        if objective.config.normalize_advantages != "minibatch":
            advantages = objective.normalized(advantages) * rows.weights
        return cls(
            is_forbidden=None if rows.action_mask is None else ~rows.action_mask.numpy(),
            actions=side_by_side(rows.actions.numpy()) + starts,
            log_probs=rows.log_probs.numpy(),
            weights=weights,
            advantages=advantages.numpy(),
            labels=side_by_side(rows.labels.numpy()) + starts if objective.has_labels else None,
            labelled=rows.labelled.numpy() if objective.has_labels else None,
        )

    def take(self, index: NDArray[np.int64]) -> Decisions:
        """The decisions at `index`, in that order."""
        return Decisions(
            None if self.is_forbidden is None else self.is_forbidden.take(index, axis=0),
            self.actions.take(index, axis=0),
            self.log_probs.take(index),
            self.weights.take(index),
            self.advantages.take(index),
            None if self.labels is None else self.labels.take(index, axis=0),
            None if self.labelled is None else self.labelled.take(index),
        )


class ClosedForm:
    """The gradient by its equations: those of `TrunkGradient`, `value_slopes` and `discrete_slopes`."""

    _value_slopes: Floats
    _policy_slopes: Floats | None
    """None where the policy does not learn."""

    def __init__(self, objective: Objective, optimizer: Optimizer) -> None:
        """See `descent_of`."""
        network, batch = objective.network, objective.batch
        self._objective, self._network, self._optimizer = objective, network, optimizer
        is_tanh = network.config.activation == "tanh"
        self._policy, self._critic = (
            TrunkGradient(trunk, optimizer.gradients_of(name), is_tanh=is_tanh)
            for name, trunk in (("policy.", network.policy), ("critic.", network.critic))
        )
        self._trunk_names = [name for name in optimizer.gradients if not name.startswith("front.")]
        self._critic_names = [name for name in self._trunk_names if name.startswith("critic.")]
        self._inputs = batch.inputs.numpy()
        self._targets, self._values = batch.scaled_targets.numpy(), batch.scaled_values.numpy()
        self._position = batch.policy.position.numpy()
        self._decisions = Decisions.of(objective) if network.distribution.part_sizes else None
        self._features: tuple[Tensor | None, Tensor | None] = None, None
        self._gathered = [np.empty((0, 0), np.float32)] * 2

    def evaluate(self, minibatch: Minibatch, *, critic_only: bool) -> Terms[float]:
        """See `Descent`."""
        objective, config = self._objective, self._objective.config
        policy_inputs, critic_inputs, valued = self._read(minibatch, critic_only=critic_only)
        value_loss, self._value_slopes = value_slopes(
            self._critic.outputs(critic_inputs),
            self._targets.take(valued),
            self._values.take(valued),
            value_clip=config.value_clip,
            value_loss_coef=config.value_loss_coef,
            num_rows=minibatch.whole.num_valued,
        )
        if policy_inputs is None:
            self._policy_slopes = None
            nothing = objective.no_decision(minibatch, critic_only=critic_only)
            return objective.joined(value_loss, nothing, alone=True)
        outputs = self._policy.outputs(policy_inputs)
        if self._decisions is None:
            policy, self._policy_slopes = self._autograd_slopes(outputs, minibatch)
        else:
            decided = self._decisions.take(minibatch.decided.numpy())
            policy, self._policy_slopes = discrete_slopes(objective, outputs, decided, minibatch)
        return objective.joined(value_loss, policy)

    def _read(self, minibatch: Minibatch, *, critic_only: bool) -> tuple[Floats | None, Floats, NDArray[np.int64]]:
        """Inputs of both trunks, and the rows of the critic's; those of the policy are None where it does not learn."""
        if self._network.front is not None:
            with torch.set_grad_enabled(self._network.has_body):
                policy, critic, rows = self._objective.features(minibatch, critic_only=critic_only)
            self._features = policy, critic
            return None if policy is None else policy.detach().numpy(), critic.detach().numpy(), rows.numpy()
        valued, decided = minibatch.rows.numpy(), minibatch.decided.numpy()
        critic_inputs = self._take(valued, 0)
        if critic_only or not len(decided):
            return None, critic_inputs, valued
        if self._objective.are_same_rows(minibatch):
            return critic_inputs, critic_inputs, valued
        return self._take(self._position.take(decided), 1), critic_inputs, valued

    def _take(self, rows: NDArray[np.int64], number: int) -> Floats:
        if len(self._gathered[number]) < len(rows):
            self._gathered[number] = np.empty((len(rows), self._inputs.shape[1]), np.float32)
        # Into memory that is there already, and without the check of the indices, which would copy once more.
        return self._inputs.take(rows, axis=0, out=self._gathered[number][: len(rows)], mode="clip")

    def _autograd_slopes(self, outputs: Floats, minibatch: Minibatch) -> tuple[PolicyTerms[float], Floats]:
        """As of `discrete_slopes`, of numbers."""
        head = torch.from_numpy(outputs).requires_grad_()
        terms = self._objective.policy_terms(self._network.completed(head), minibatch)
        slopes = head_slopes(self._network, self._optimizer, self._objective.policy_total(terms), head)
        return PolicyTerms(*torch.stack(terms).tolist()), slopes

    def differentiate(self) -> Sequence[str]:
        """See `Descent`."""
        policy_features, critic_features = self._features
        self._features = None, None
        names, parts = self._critic_names, [(self._critic, self._value_slopes, critic_features)]
        if self._policy_slopes is not None:
            names = self._trunk_names
            parts.append((self._policy, self._policy_slopes, policy_features))
        ends, descending = list[Tensor](), list[Tensor]()
        for trunk, slopes, features in parts:
            goes_on = features is not None and features.requires_grad
            before = trunk.descend(slopes, to_inputs=goes_on)
            if features is not None and before is not None:
                ends.append(features)
                descending.append(aligned(before))
        if not ends:
            return names
        return [*names, *self._optimizer.differentiate(ends, descending)]


def head_slopes(network: ActorCritic, optimizer: Optimizer, loss: Tensor, head: Tensor) -> Floats:
    """Differentiate a loss of what the policy's head says, and of a Gaussian's deviations, by torch.

    Args:
        network: that learns.
        optimizer: gets the gradient of the deviations, where there are some.
        loss: a scalar.
        head: on which it depends, [N, H].

    Returns:
        Its slopes [N, H].
    """
    spread = network.policy_log_std
    slopes, *rest = torch.autograd.grad(loss, [head] if spread is None else [head, spread])
    if rest:
        optimizer.gradients["policy_log_std"].copy_(rest[0])
    found: Floats = slopes.numpy()
    return found


def discrete_slopes(
    objective: Objective, outputs: Floats, rows: Decisions, minibatch: Minibatch | None = None
) -> tuple[PolicyTerms[float], Floats]:
    """Terms of the decisions where actions are indices, and the slopes of their loss.

        g = ∂loss/∂log π(a) = -w Â r / D   where r Â <= clip(r, 1 ± ε) Â, else 0
        k = ∂loss/∂log π(label) = -κ labelled / L
        ∂loss/∂z_b = π_b (c (log π_b + H) / N - g - k) + g 1[b = a] + k 1[b = label]            for each part

    z are the outputs, c is the coefficient of the entropy H of a part. A forbidden action has π = 0, and so no slope.
    Of a share of a minibatch, N in the denominator is that of the whole.

    Args:
        objective: of the update, which has D, L, ε, c and κ.
        outputs: z [N, Σ A_k] of the policy, before any mask.
        rows: the N decisions, at least one.
        minibatch: that has these decisions; None: they are a whole one's.

    Returns:
        As of `Objective.policy_terms`, and slopes [N, Σ A_k].
    """
    config = objective.config
    num_rows = len(outputs) if minibatch is None else len(minibatch.whole.decided)
    # Actions first: sums over them are then sums of whole rows, which take a fifth of the time.
    log_probs = np.ascontiguousarray(outputs.T)
    if rows.is_forbidden is not None:
        np.copyto(log_probs, _LOWEST, where=rows.is_forbidden.T)
    softmax = _normalized(log_probs, objective.network.distribution.part_sizes)
    chosen = _places(rows.actions)
    gains = rows.advantages
    if config.normalize_advantages == "minibatch":
        whole = None if minibatch is None else objective.advantages_of_whole(minibatch)
        gains = objective.normalized(torch.from_numpy(gains), whole=whole).numpy() * rows.weights

    log_ratios = _picked(log_probs, chosen)
    log_ratios -= rows.log_probs
    ratios = np.exp(log_ratios)
    clipped = np.minimum(np.maximum(ratios, np.float32(1.0 - config.clip_range)), np.float32(1.0 + config.clip_range))
    unclipped = ratios * gains
    least = np.minimum(unclipped, clipped * gains)
    labels, log_labels = [], 0.0
    if rows.labels is not None and rows.labelled is not None:
        labels = _places(rows.labels)
        log_labels = float(np.dot(_picked(log_probs, labels), rows.labelled))
    terms = PolicyTerms(
        policy_loss=-float(np.add.reduce(least)) / objective.decisions_per_minibatch,
        entropy=float(np.add.reduce(softmax.entropies, axis=None)) / num_rows,
        kickstart_loss=-log_labels / objective.labels_per_minibatch,
        kl=float(np.dot(rows.weights, np.expm1(log_ratios) - log_ratios)) / num_rows,
        clip_fraction=np.count_nonzero(clipped != ratios) / num_rows,
    )

    pull = np.where(unclipped == least, unclipped, _ZERO)
    pulls = [(chosen, pull * np.float32(-1.0 / objective.decisions_per_minibatch))]
    if labels and rows.labelled is not None:
        pulls.append((labels, rows.labelled * np.float32(-objective.kickstart_coef / objective.labels_per_minibatch)))
    return terms, _joint_slopes(softmax, pulls, np.float32(config.entropy_coef / num_rows))


_Pull: TypeAlias = tuple[list[NDArray[np.int64]], Floats]
"""Of some log-probabilities, where they are, for each part, and the slopes of the loss [N]."""


class _Softmax(NamedTuple):
    """Distributions over the values of K parts, actions first."""

    parts: list[slice]
    log_probs: Floats
    """[Σ A_k, N]."""
    probs: Floats
    entropies: Floats
    """[K, N]."""


def _joint_slopes(softmax: _Softmax, pulls: Sequence[_Pull], coef: np.float32) -> Floats:
    """Add up the slopes of some log-probabilities, and of entropies with `coef`, in place: [N, Σ A_k]."""
    parts, slopes, probs, entropies = softmax
    entropies *= coef
    for _, pull in pulls:
        entropies -= pull
    slopes *= coef
    for part, others in zip(parts, entropies, strict=True):
        slopes[part] += others
    slopes *= probs
    for places, pull in pulls:
        for place in places:
            slopes.reshape(-1)[place] += pull
    return slopes.T


def cross_entropy_slopes(
    outputs: Floats, is_forbidden: NDArray[np.bool_] | None, actions: NDArray[np.int64], *, sizes: Sequence[int]
) -> tuple[float, Floats]:
    """Mean cross-entropy of labels where actions are indices, and its slopes.

        loss = mean -log π(a)            ∂loss/∂z_b = (π_b - 1[b = a]) / N            of parts the sum

    Args:
        outputs: z [N, Σ A_k] of the policy, before any mask.
        is_forbidden: [N, Σ A_k]; None if everything is legal.
        actions: a [N, K], among the columns of all K parts side by side.
        sizes: A_k of each part.

    Returns:
        The loss, and slopes [N, Σ A_k].
    """
    log_probs = np.ascontiguousarray(outputs.T)
    if is_forbidden is not None:
        np.copyto(log_probs, _LOWEST, where=is_forbidden.T)
    slopes = _normalized(log_probs, sizes).probs
    places = _places(actions)
    for place in places:
        slopes.reshape(-1)[place] -= 1.0
    slopes *= np.float32(1.0 / len(outputs))
    return -float(np.add.reduce(_picked(log_probs, places))) / len(outputs), slopes.T


def _normalized(logits: Floats, sizes: Sequence[int]) -> _Softmax:
    """Turn `logits` [Σ A_k, N] into log-probabilities, in place."""
    parts = [slice(*pair) for pair in pairwise((0, *accumulate(sizes)))]
    probs, entropies = np.empty_like(logits), np.empty((len(parts), logits.shape[1]), np.float32)
    for part, entropy in zip(parts, entropies, strict=True):
        own, shares = logits[part], probs[part]
        own -= np.maximum.reduce(own, axis=0)
        np.exp(own, out=shares)
        total = np.add.reduce(shares, axis=0)
        shares /= total
        own -= np.log(total)
        np.maximum(own, _LOWEST, out=own)
        np.add.reduce(shares * own, axis=0, out=entropy)
    return _Softmax(parts, logits, probs, np.negative(entropies, out=entropies))


def _places(actions: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return for each part where `actions` [N, K] are in a flat array [Σ A_k · N], each [N]."""
    rows = np.arange(len(actions))
    return [column * len(actions) + rows for column in actions.T]


def _picked(log_probs: Floats, places: Sequence[NDArray[np.int64]]) -> Floats:
    """Return the sum over all parts of the log-probabilities [N] at `places`."""
    flat = log_probs.reshape(-1)
    picked: Floats = flat.take(places[0])
    for place in places[1:]:
        picked += flat.take(place)
    return picked
