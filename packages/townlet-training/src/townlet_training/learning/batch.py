"""What a PPO update needs of a batch, computed once, checked, before anything is learned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from townlet_training.errors import EmptyBatchError, StaleBatchError
from townlet_training.learning.advantages import Estimates, advantages_of, importance_weights
from townlet_training.learning.inputs import (
    encode_rows,
    log_probs_of,
    mask_rows,
    require_finite,
    require_same_actions,
    scaled_values_of,
)
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.distributions import entropy, log_prob_of
from townlet_trajectory import Kind, TrajectoryBatch

# log of the smallest normal float32: what is less likely than this has probability 0.
_LOG_ZERO = -87.0
_LOG_PROB_TOLERANCE = 1e-5


@dataclass(frozen=True, kw_only=True, eq=False)
class PolicyRows:
    """The P decisions whose action the policy could have chosen: what its loss is made of."""

    position: Tensor
    """[P] int64: their rows in `LearnerBatch.inputs`, ascending."""
    action_mask: Tensor | None
    """[P, A] bool."""
    actions: Tensor
    """[P] int64; the chosen ones, vetoed or not."""
    log_probs: Tensor
    """[P]; log π of the policy that acted."""
    weights: Tensor
    """[P]; w = π/μ."""
    advantages: Tensor
    """[P]; Â in reward units."""
    labels: Tensor
    """[P] int64; what the script proposed; where that is no label, the chosen action."""
    labelled: Tensor
    """[P], 1.0 where the script proposed a legal action, else 0.0."""

    def take(self, index: Tensor | slice) -> PolicyRows:
        """The rows at `index`, in that order."""
        return PolicyRows(
            position=self.position[index],
            action_mask=None if self.action_mask is None else self.action_mask[index],
            actions=self.actions[index],
            log_probs=self.log_probs[index],
            weights=self.weights[index],
            advantages=self.advantages[index],
            labels=self.labels[index],
            labelled=self.labelled[index],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class LearnerBatch:
    """The V rows that are not foreign, ready for the network, and the decisions among them."""

    inputs: Tensor
    """[V, F]; encoded observations."""
    scaled_values: Tensor
    """[V]; V of the policy that acted, in units of `value_scale`."""
    scaled_targets: Tensor
    """[V]; value targets in units of `value_scale`."""
    policy: PolicyRows
    num_decisions: int
    """All decisions, also those whose action the policy could not have chosen."""
    mean_entropy: float
    """Of the policy that acted, over the P policy rows; 0 without any."""
    explained_variance: float | None
    """1 - Var(v - V) / Var(v) over the V rows; None where the targets do not vary."""
    reward_advantage_corr: float | None
    """Pearson correlation of reward and Â over the policy rows; None where one does not vary."""


def prepare(
    network: ActorCritic, batch: TrajectoryBatch, *, discount: float, gae_lambda: float, min_ratio: float
) -> LearnerBatch:
    """Evaluate `batch` with the network that collected it, and check that it did.

    Raises:
        EmptyBatchError: if every row is foreign.
        NonFiniteError: if an output of the network or an estimate is not finite.
        ShapeError: if the batch is of another vocabulary or other observations.
        ActionMaskError: if a decision has no legal action.
        StaleBatchError: if a recorded `policy_log_prob` is not what the network says.
    """
    kind = batch.columns["kind"]
    learned = np.flatnonzero(kind != Kind.FOREIGN)
    if not learned.size:
        raise EmptyBatchError(f"all {batch.num_steps} rows are foreign; nothing to learn from")
    require_same_actions(network, batch)
    encoded = encode_rows(network, batch.observations, np.arange(batch.num_steps))
    final_inputs = encode_rows(network, batch.final_observations, np.arange(len(batch)))
    scaled_values = scaled_values_of(network, encoded)
    scale = network.value_scale.item()
    values = scaled_values.numpy().astype(np.float64) * scale
    final_values = scaled_values_of(network, final_inputs).numpy().astype(np.float64) * scale
    estimates = advantages_of(batch, values, final_values, discount=discount, lambda_=gae_lambda, min_ratio=min_ratio)
    decisions = np.flatnonzero(kind == Kind.DECISION)
    policy, mean_entropy = _policy_rows(network, batch, encoded, decisions, learned, estimates, min_ratio=min_ratio)
    targets = estimates.value_targets[learned]
    index = torch.from_numpy(learned)
    return LearnerBatch(
        inputs=encoded if len(index) == len(encoded) else encoded[index],
        scaled_values=scaled_values[index],
        scaled_targets=_float32("value targets", targets / scale),
        policy=policy,
        num_decisions=len(decisions),
        mean_entropy=mean_entropy,
        explained_variance=_explained_variance(values[learned], targets),
        reward_advantage_corr=_correlation(
            batch.rewards[learned[policy.position.numpy()]].astype(np.float64),
            policy.advantages.numpy().astype(np.float64),
        ),
    )


def _require_same_policy(
    batch: TrajectoryBatch,
    decisions: NDArray[np.int64],
    computed: NDArray[np.float32],
    recorded: NDArray[np.float64],
) -> None:
    """|log π recorded - log π computed| <= 1e-5 (1 + |log π computed|), impossible actions being equally impossible."""
    ours = np.maximum(computed.astype(np.float64), _LOG_ZERO)
    theirs = np.maximum(recorded, _LOG_ZERO)
    excess = np.abs(ours - theirs) / (1.0 + np.abs(ours))
    # A recorded NaN fails the comparison, and so must be the one that raises.
    if not (excess <= _LOG_PROB_TOLERANCE).all():
        worst = int(np.argmax(np.where(np.isnan(excess), np.inf, excess)))
        row = int(decisions[worst])
        trajectory = int(np.searchsorted(batch.offsets, row, side="right")) - 1
        raise StaleBatchError(
            f"row {row} (agent {batch.agent_ids[trajectory]!r}, tick {batch.ticks[row]}): recorded `policy_log_prob` "
            f"{recorded[worst]:.7g}, but this network says {computed[worst]:.7g}; another network collected this batch"
        )


def _policy_rows(
    network: ActorCritic,
    batch: TrajectoryBatch,
    encoded: Tensor,
    decisions: NDArray[np.int64],
    learned: NDArray[np.int64],
    estimates: Estimates,
    *,
    min_ratio: float,
) -> tuple[PolicyRows, float]:
    """Columns of the policy loss at those `decisions` [D] that the policy could have taken, and their mean entropy.

    `encoded` is [R, F]; the positions are those in `learned` [V].
    """
    action_mask = mask_rows(batch.observations, decisions)
    inputs = encoded if len(decisions) == len(encoded) else encoded[torch.from_numpy(decisions)]
    log_probs = log_probs_of(network, inputs, action_mask)
    actions = torch.from_numpy(batch.columns["chosen_action"][decisions])
    chosen_log_probs = log_prob_of(log_probs, actions)
    recorded = np.asarray(batch.columns["policy_log_prob"], np.float64)[decisions]
    _require_same_policy(batch, decisions, chosen_log_probs.numpy(), recorded)
    rho, _ = importance_weights(batch, min_ratio=min_ratio)
    expert = torch.from_numpy(batch.columns["expert_action"][decisions])
    labelled = expert >= 0
    if action_mask is not None:
        labelled &= log_prob_of(action_mask, expert.clamp(min=0))
    possible = torch.from_numpy(np.flatnonzero(recorded > _LOG_ZERO))
    rows = PolicyRows(
        position=torch.from_numpy(np.searchsorted(learned, decisions)),
        action_mask=action_mask,
        actions=actions,
        log_probs=chosen_log_probs,
        weights=torch.from_numpy(rho[decisions].astype(np.float32)),
        advantages=_float32("advantages", estimates.advantages[decisions]),
        labels=torch.where(labelled, expert, actions),
        labelled=labelled.to(torch.float32),
    )
    mean_entropy = entropy(log_probs[possible]).mean().item() if len(possible) else 0.0
    return rows.take(possible), mean_entropy


def _float32(stage: str, array: NDArray[np.floating]) -> Tensor:
    """`array` [N] as the network's numbers; `NonFiniteError` where they are too small for it."""
    with np.errstate(over="ignore"):
        narrow = array.astype(np.float32)
    require_finite(stage, narrow)
    return torch.from_numpy(narrow)


def _explained_variance(values: NDArray[np.float64], targets: NDArray[np.floating]) -> float | None:
    variance = float(np.var(targets))
    return 1.0 - float(np.var(targets - values)) / variance if variance > 0.0 else None


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float | None:
    if len(first) < 2:
        return None
    spread = float(np.std(first) * np.std(second))
    if spread == 0.0:
        return None
    return float(np.mean((first - first.mean()) * (second - second.mean()))) / spread
