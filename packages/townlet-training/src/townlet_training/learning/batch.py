"""A batch of experience as tensors: encoded, evaluated by the network that collected it, weighted and checked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from townlet_training.errors import EmptyBatchError, NonFiniteError, StaleBatchError
from townlet_training.learning.fragments import features_of, recorded_fragments, states_of
from townlet_training.learning.objective import (
    Estimates,
    advantages_of,
    agent_and_tick,
    importance_weights,
    largest_reward,
    return_scale,
    truncated_share,
)
from townlet_training.learning.rows import (
    action_rows,
    at_rows,
    encode_rows,
    is_proposed,
    mask_rows,
    params_of,
    require_actions,
    require_columns,
    require_same_actions,
    scaled_values_of,
)
from townlet_training.network.memory import Fragments
from townlet_trajectory import Kind, TrajectoryBatch

if TYPE_CHECKING:
    from townlet_training.network.actor_critic import ActorCritic

_READ = ("kind", "chosen_action", "expert_action", "policy_log_prob", "behavior_log_prob")
# log of the smallest normal float32: an action, or value of a part, that is less likely than this has probability 0.
_LOG_ZERO = -87.0
_LOG_PROB_TOLERANCE = 1e-5


class PolicyRows(NamedTuple):
    """The P decisions whose action the policy could have chosen: the rows of its loss."""

    position: Tensor
    """[P] int64: their rows in `LearnerBatch.inputs`, ascending."""
    action_mask: Tensor | None
    """[P, A] bool, or [P, Σ A_k] of all parts."""
    actions: Tensor
    """[P] int64, or [P, K] of array actions; the chosen ones, vetoed or not."""
    log_probs: Tensor
    """[P]; log π of the policy that acted."""
    weights: Tensor
    """[P]; w = π/μ."""
    advantages: Tensor
    """[P]; Â in reward units."""
    labels: Tensor
    """As `actions`; the script's proposal; where that is no label, the chosen action."""
    labelled: Tensor
    """[P], 1.0 where the script proposed a legal action, else 0.0."""

    def take(self, index: Tensor) -> PolicyRows:
        """The rows at `index`, which is on the CPU, in that order."""
        mask = None if self.action_mask is None else at_rows(self.action_mask, index)
        columns = {name: at_rows(column, index) for name, column in self._asdict().items() if name != "action_mask"}
        return PolicyRows(action_mask=mask, **columns)


@dataclass(frozen=True, kw_only=True, eq=False)
class LearnerBatch:
    """The V rows that are not foreign, ready for the network, and the decisions among them.

    A memory goes through all rows: then the foreign ones are there too, and teach nothing.
    """

    inputs: Tensor
    """[V, F], with a memory [R, F]; encoded observations."""
    scaled_values: Tensor
    """Beside them; V of the policy that acted, in units of `value_scale`."""
    scaled_targets: Tensor
    """Beside them; value targets in units of `value_scale`."""
    is_valued: Tensor
    """Beside them, bool; whether the critic learns from the row."""
    policy: PolicyRows
    fragments: Fragments | None
    """What a memory goes through at once, with its states; None without one."""
    is_shared: bool
    """Whether critic and policy share weights, so that they learn from the same rows at a time."""
    num_decisions: int
    """All decisions, also those whose action the policy could not have chosen."""
    truncated_share: float
    """Share of them whose weight π/μ was truncated to 1/β_min."""
    mean_entropy: float
    """Of the policy that acted, over the P policy rows, in nats; 0 without any."""
    explained_variance: float | None
    """1 - Var(v - V) / Var(v) over the V rows; None where the targets do not vary."""
    reward_advantage_corr: float | None
    """Pearson correlation of reward and Â over the policy rows; None where one does not vary."""
    extremes: str
    """The largest reward, advantage and value target, in words, for the error about a number that is not finite."""

    @property
    def num_valued(self) -> int:
        """V."""
        return int(self.is_valued.sum())

    @property
    def units(self) -> Tensor:
        """What is dealt out to minibatches, int64: rows, or the fragments with something to learn from."""
        if self.fragments is None:
            return torch.arange(len(self.inputs))
        before = torch.cat([torch.zeros(1, dtype=torch.int64), self.is_valued.cumsum(0)])
        return before[self.fragments.offsets].diff().nonzero().squeeze(1)


def prepare(
    network: ActorCritic,
    batch: TrajectoryBatch,
    *,
    discount: float,
    gae_lambda: float,
    min_ratio: float,
    sequence_length: int | None = None,
) -> LearnerBatch:
    """Evaluate `batch` with the network that collected it, and check that it did.

    Args:
        network: the policy that acted, unchanged since.
        batch: R rows of B trajectories, with the columns of a settled decision.
        discount: γ in [0, 1].
        gae_lambda: λ in [0, 1].
        min_ratio: β_min in (0, 1].
        sequence_length: rows of a trajectory that a memory goes through at once; None: all.

    Returns:
        The tensors that stay the same in all passes of an update.

    Raises:
        EmptyBatchError: if every row is foreign.
        NonFiniteError: if an output of the network or an estimate is not finite.
        ShapeError: if the batch is of other actions, observations or states, or lacks a column.
        ActionMaskError: if a decision has no legal action.
        StaleBatchError: if a recorded `policy_log_prob` differs from the network's.
    """
    learned, kind = _learned_rows(batch), batch.columns["kind"]
    require_same_actions(network, batch)
    evaluated = _evaluated(network, batch, longest=sequence_length)
    scale = network.value_scale.item()
    values, final_values = evaluated.in_units_of(scale)
    estimates = advantages_of(batch, values, final_values, discount=discount, lambda_=gae_lambda, min_ratio=min_ratio)
    extremes = _extremes(batch, estimates, scale)
    kept = learned if evaluated.fragments is None else np.arange(batch.num_steps)
    advantages, weights = estimates.advantages, importance_weights(batch, min_ratio=min_ratio)[0]
    policy, mean_entropy = _policy_rows(
        network, batch, evaluated.features, kept, weights=weights, advantages=advantages, extremes=extremes
    )
    targets, index, inputs = estimates.value_targets, torch.from_numpy(kept), evaluated.inputs
    rewards = batch.rewards[kept[policy.position.numpy()]]
    return LearnerBatch(
        inputs=inputs if len(index) == len(inputs) else inputs[index],
        scaled_values=evaluated.scaled_values[index],
        scaled_targets=_float32("value targets", targets[kept] / scale, extremes).to(inputs.device),
        is_valued=torch.from_numpy(kind[kept] != Kind.FOREIGN),
        policy=policy,
        fragments=evaluated.fragments,
        is_shared=network.has_body or evaluated.fragments is not None,
        num_decisions=int(np.count_nonzero(kind == Kind.DECISION)),
        truncated_share=truncated_share(batch, min_ratio=min_ratio),
        mean_entropy=mean_entropy,
        explained_variance=_explained_variance(values[learned], targets[learned]),
        reward_advantage_corr=_correlation(rewards, policy.advantages.cpu().numpy()),
        extremes=extremes,
    )


def _learned_rows(batch: TrajectoryBatch) -> NDArray[np.int64]:
    """Return the rows [V] that are not foreign, of a batch that has what a learner reads."""
    require_columns(batch, *_READ, otherwise="; records of other policies are for `PPOLearner.replay`")
    learned = np.flatnonzero(batch.columns["kind"] != Kind.FOREIGN)
    if not learned.size:
        raise EmptyBatchError(f"all {batch.num_steps} rows are foreign; nothing to learn from")
    return learned


class _Evaluated(NamedTuple):
    """All rows of a batch as the network that acted sees them."""

    inputs: Tensor
    """[R, F]."""
    fragments: Fragments | None
    features: Tensor
    """[R, Fp] of the policy."""
    scaled_values: Tensor
    """[R]; V / `value_scale`."""
    final_values: Tensor
    """[B]; of the final observations, with the state after the last row of each trajectory."""

    def in_units_of(self, scale: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """V [R] and V of the final observations [B], in reward units."""
        values, final = (each.cpu().numpy() for each in (self.scaled_values, self.final_values))
        return values.astype(np.float64) * scale, final.astype(np.float64) * scale


def _evaluated(network: ActorCritic, batch: TrajectoryBatch, *, longest: int | None) -> _Evaluated:
    inputs = encode_rows(network, batch.observations, np.arange(batch.num_steps))
    final_inputs = encode_rows(network, batch.final_observations, np.arange(len(batch)))
    fragments, single_steps = recorded_fragments(network, batch, longest=longest), None
    features = features_of(network, inputs, fragments)
    if fragments is not None:
        last = np.searchsorted(fragments.offsets.numpy(), batch.offsets[1:]) - 1
        single_steps = Fragments(torch.arange(len(batch) + 1), states_of(features)[torch.from_numpy(last)])
    final_features = features_of(network, final_inputs, single_steps)
    return _Evaluated(
        inputs=inputs,
        fragments=fragments,
        features=features.policy,
        scaled_values=scaled_values_of(network, features.critic),
        final_values=scaled_values_of(network, final_features.critic),
    )


def _policy_rows(
    network: ActorCritic,
    batch: TrajectoryBatch,
    features: Tensor,
    kept: NDArray[np.int64],
    *,
    weights: NDArray[np.float64],
    advantages: NDArray[np.floating],
    extremes: str,
) -> tuple[PolicyRows, float]:
    """Those of the D decisions that the policy could have taken, and their mean entropy.

    `features` are [R, Fp], and so are the other columns; `kept` are the rows of `LearnerBatch.inputs`.
    """
    decisions = np.flatnonzero(batch.columns["kind"] == Kind.DECISION)
    device, distribution = features.device, network.distribution
    labelled = is_proposed(batch)[decisions]
    chosen = action_rows(batch, batch.columns["chosen_action"], decisions)
    expert = action_rows(batch, batch.columns["expert_action"], decisions)
    expert = np.where(labelled if chosen.ndim == 1 else labelled[:, None], expert, chosen)
    require_actions("chosen_action", batch, chosen, decisions)
    require_actions("expert_action", batch, expert, decisions)
    actions, labels = torch.from_numpy(chosen).to(device), torch.from_numpy(expert).to(device)
    action_mask = mask_rows(network, batch.observations, decisions)
    inputs = features if len(decisions) == len(features) else features[torch.from_numpy(decisions)]
    params = params_of(network, inputs, action_mask)
    acted = distribution.log_prob(params, actions)
    recorded = np.asarray(batch.columns["policy_log_prob"], np.float64)[decisions]
    # Of a density no logarithm is that of 0, and of K parts it is the sum.
    floor = -np.inf if distribution.name else _LOG_ZERO * math.prod(chosen.shape[1:])
    _require_same_policy(batch, decisions, acted.cpu().numpy(), recorded, floor=floor)
    is_label = torch.from_numpy(labelled).to(device)
    if action_mask is not None:
        is_label &= distribution.allows(action_mask, labels)
    possible = torch.from_numpy(np.flatnonzero(recorded > floor))
    rows = PolicyRows(
        position=torch.from_numpy(np.searchsorted(kept, decisions)),
        action_mask=action_mask,
        actions=actions,
        log_probs=acted,
        weights=torch.from_numpy(weights[decisions].astype(np.float32)).to(device),
        advantages=_float32("advantages", advantages[decisions], extremes).to(device),
        labels=torch.where(is_label if chosen.ndim == 1 else is_label[:, None], labels, actions),
        labelled=is_label.to(torch.float32),
    )
    entropies = distribution.entropy(params[possible])
    return rows.take(possible), entropies.mean().item() if len(possible) else 0.0


def _require_same_policy(
    batch: TrajectoryBatch,
    decisions: NDArray[np.int64],
    computed: NDArray[np.float32],
    recorded: NDArray[np.float64],
    *,
    floor: float,
) -> None:
    """|log π recorded - log π computed| <= 1e-5 (1 + |log π computed|), impossible actions being equally impossible.

    `floor` is the log-probability of those.
    """
    ours = np.maximum(computed.astype(np.float64), floor)
    theirs = np.maximum(recorded, floor)
    excess = np.abs(ours - theirs) / (1.0 + np.abs(ours))
    # A recorded NaN fails the comparison, and so must be the one that raises.
    if not (excess <= _LOG_PROB_TOLERANCE).all():
        worst = int(np.argmax(np.where(np.isnan(excess), np.inf, excess)))
        raise StaleBatchError(
            f"row {decisions[worst]} ({agent_and_tick(batch, decisions[worst])}): recorded `policy_log_prob` "
            f"{recorded[worst]:.7g}, but this network says {computed[worst]:.7g}; another network collected this batch"
        )


def _extremes(batch: TrajectoryBatch, estimates: Estimates, scale: float) -> str:
    advantage, target = (
        column[np.argmax(np.abs(column))] for column in (estimates.advantages, estimates.value_targets)
    )
    return (
        f"{largest_reward(batch)}, the largest advantage {advantage:.3g}, the largest value target {target:.3g}, the "
        f"value scale {scale:.3g}"
    )


def _float32(stage: str, array: NDArray[np.floating], extremes: str) -> Tensor:
    """`array` [N] as the network's numbers; `NonFiniteError` where they are too small for it."""
    with np.errstate(over="ignore"):
        narrow = array.astype(np.float32)
    if not np.isfinite(narrow).all():
        raise NonFiniteError(stage, f"not all of them are finite in float32; {extremes}")
    return torch.from_numpy(narrow)


def _explained_variance(values: NDArray[np.float64], targets: NDArray[np.floating]) -> float | None:
    variance = float(np.var(targets))
    return 1.0 - float(np.var(targets - values)) / variance if variance > 0.0 else None


def _correlation(rewards: NDArray[np.float32], advantages: NDArray[np.float32]) -> float | None:
    if len(rewards) < 2:
        return None
    first, second = rewards.astype(np.float64), advantages.astype(np.float64)
    spread = float(np.std(first) * np.std(second))
    if spread == 0.0:
        return None
    return float(np.mean((first - first.mean()) * (second - second.mean()))) / spread


def freeze_statistics(network: ActorCritic, batch: TrajectoryBatch, *, discount: float) -> None:
    """Fit the normalization of observations and the unit of values to `batch`, where the network's config says so.

    Nothing changes frozen ones afterwards; running ones go on from here by `update_statistics`. Of a network that
    `keeps_statistics`, only the normalization of inputs that no weight reads is fitted.

    Args:
        network: whose buffers are set.
        batch: the rows to fit to; none that the network is judged by.
        discount: of the returns that give the unit.
    """
    if network.config.normalize_observations != "none":
        network.fit_normalizer(batch)
    freeze_value_scale(network, batch, discount=discount)


def freeze_value_scale(network: ActorCritic, batch: TrajectoryBatch, *, discount: float) -> None:
    """Fit the unit of values to `batch`, where the network's config says so.

    Args:
        network: whose unit is set, unless it `keeps_statistics`.
        batch: the rows to fit to.
        discount: of the returns that give the unit.
    """
    if network.config.value_scale != "none" and not network.keeps_statistics:
        network.fit_value_scale(return_scale(batch, discount=discount), num_rows=batch.num_steps)


def update_statistics(network: ActorCritic, batch: TrajectoryBatch, *, discount: float) -> None:
    """Renew the statistics that are `running` by the rows of `batch`, after the update that learned from them.

    Args:
        network: whose buffers are renewed; its values stay what they were.
        batch: the rows of a cycle; none: nothing changes.
        discount: of the returns that give the unit of the values.

    Raises:
        NonFiniteError: if the returns are too large for float32.
    """
    if batch.num_steps and network.has_running_statistics:
        network.update_statistics(batch, return_scale=return_scale(batch, discount=discount))
