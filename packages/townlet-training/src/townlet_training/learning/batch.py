"""A batch of experience as tensors: encoded, evaluated by the network that collected it, weighted and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from townlet_training.errors import EmptyBatchError, NonFiniteError, ShapeError, StaleBatchError
from townlet_training.learning.objective import (
    Estimates,
    advantages_of,
    agent_and_tick,
    importance_weights,
    largest_reward,
    return_scale,
    truncated_share,
)
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.distributions import require_legal_action
from townlet_training.network.features import Features
from townlet_trajectory import ACTION_MASK, Kind, StepBatch, TrajectoryBatch

_READ = ("kind", "chosen_action", "expert_action", "policy_log_prob", "behavior_log_prob")
CHUNK = 4096
"""Rows evaluated at once: the hidden layers of all rows of a batch would fill the memory."""
# log of the smallest normal float32: an action that is less likely than this has probability 0.
_LOG_ZERO = -87.0
_LOG_PROB_TOLERANCE = 1e-5


class PolicyRows(NamedTuple):
    """The P decisions whose action the policy could have chosen: the rows of its loss."""

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
    """[P] int64; the script's proposal; where that is no label, the chosen action."""
    labelled: Tensor
    """[P], 1.0 where the script proposed a legal action, else 0.0."""

    def take(self, index: Tensor | slice) -> PolicyRows:
        """The rows at `index`, in that order."""
        mask = None if self.action_mask is None else self.action_mask[index]
        columns = {name: column[index] for name, column in self._asdict().items() if name != "action_mask"}
        return PolicyRows(action_mask=mask, **columns)


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


def prepare(
    network: ActorCritic, batch: TrajectoryBatch, *, discount: float, gae_lambda: float, min_ratio: float
) -> LearnerBatch:
    """Evaluate `batch` with the network that collected it, and check that it did.

    Args:
        network: the policy that acted, unchanged since.
        batch: R rows of B trajectories, with the columns of a settled decision.
        discount: γ in [0, 1].
        gae_lambda: λ in [0, 1].
        min_ratio: β_min in (0, 1].

    Returns:
        The tensors that stay the same in all passes of an update.

    Raises:
        EmptyBatchError: if every row is foreign.
        NonFiniteError: if an output of the network or an estimate is not finite.
        ShapeError: if the batch is of another vocabulary or other observations, or lacks a column.
        ActionMaskError: if a decision has no legal action.
        StaleBatchError: if a recorded `policy_log_prob` differs from the network's.
    """
    require_columns(batch, *_READ, otherwise="; records of other policies are for `PPOLearner.replay`")
    kind = batch.columns["kind"]
    learned = np.flatnonzero(kind != Kind.FOREIGN)
    if not learned.size:
        raise EmptyBatchError(f"all {batch.num_steps} rows are foreign; nothing to learn from")
    require_same_actions(network, batch)
    encoded = encode_rows(network, batch.observations, np.arange(batch.num_steps))
    final = encode_rows(network, batch.final_observations, np.arange(len(batch)))
    features = features_of(network, encoded)
    scaled_values = scaled_values_of(network, features.critic)
    scale = network.value_scale.item()
    values = scaled_values.numpy().astype(np.float64) * scale
    final_values = scaled_values_of(network, features_of(network, final).critic).numpy().astype(np.float64) * scale
    estimates = advantages_of(batch, values, final_values, discount=discount, lambda_=gae_lambda, min_ratio=min_ratio)
    extremes = _extremes(batch, estimates, scale)
    decisions = np.flatnonzero(kind == Kind.DECISION)
    policy, mean_entropy = _policy_rows(
        network,
        batch,
        features.policy,
        decisions,
        position=np.searchsorted(learned, decisions),
        weights=importance_weights(batch, min_ratio=min_ratio)[0][decisions],
        advantages=_float32("advantages", estimates.advantages[decisions], extremes),
    )
    targets = estimates.value_targets[learned]
    index = torch.from_numpy(learned)
    return LearnerBatch(
        inputs=encoded if len(index) == len(encoded) else encoded[index],
        scaled_values=scaled_values[index],
        scaled_targets=_float32("value targets", targets / scale, extremes),
        policy=policy,
        num_decisions=len(decisions),
        truncated_share=truncated_share(batch, min_ratio=min_ratio),
        mean_entropy=mean_entropy,
        explained_variance=_explained_variance(values[learned], targets),
        reward_advantage_corr=_correlation(batch.rewards[learned[policy.position.numpy()]], policy.advantages.numpy()),
        extremes=extremes,
    )


def require_columns(batch: TrajectoryBatch | StepBatch, *names: str, otherwise: str = "") -> None:
    """Raise `ShapeError`, whose message ends with `otherwise`, if `batch` lacks one of the decision columns `names`."""
    if missing := [name for name in names if name not in batch.columns]:
        raise ShapeError(f"a learner needs the columns {missing}, the batch has {sorted(batch.columns)}{otherwise}")


def require_same_actions(network: ActorCritic, batch: TrajectoryBatch | StepBatch) -> None:
    """Raise `ShapeError` unless the network has one output for every action of the batch's vocabulary."""
    if len(batch.schema.vocabulary) != network.num_actions:
        raise ShapeError(f"the network has {network.num_actions} actions, the batch {len(batch.schema.vocabulary)}")


def require_actions(
    name: str, batch: TrajectoryBatch | StepBatch, actions: NDArray[np.int64], rows: NDArray[np.int64]
) -> None:
    """Check that `actions` are in the vocabulary of `batch`.

    Args:
        name: of the actions, for the error.
        batch: of R rows.
        actions: [N].
        rows: [N]; the rows of `batch` at which they stand.

    Raises:
        ShapeError: if one is not; it names the first.
    """
    wrong = np.flatnonzero((actions < 0) | (actions >= len(batch.schema.vocabulary)))
    if wrong.size:
        action, row, end = actions[wrong[0]], rows[wrong[0]], len(batch.schema.vocabulary)
        raise ShapeError(f"`{name}` must be in [0, {end}), got {action} in row {row} ({_place(batch, row)})")


def _place(batch: TrajectoryBatch | StepBatch, row: np.integer) -> str:
    if isinstance(batch, StepBatch):
        return f"step {batch.steps[row]} of the record, tick {batch.ticks[row]}"
    return agent_and_tick(batch, row)


def encode_rows(
    network: ActorCritic, observations: Mapping[str, NDArray[np.generic]], rows: NDArray[np.int64]
) -> Tensor:
    """Encode the observations at `rows` [N]: [N, F].

    Args:
        network: whose inputs are wanted; other observations are ignored.
        observations: each [R, ...].
        rows: [N] int64.

    Raises:
        ShapeError: if an input is missing or has another shape.
    """
    names = network.input_shapes.keys() & observations.keys()
    with torch.no_grad():
        return network.encode({name: torch.from_numpy(observations[name][rows]) for name in names})


def mask_rows(observations: Mapping[str, NDArray[np.generic]], rows: NDArray[np.int64]) -> Tensor | None:
    """Return the action mask [N, A] at `rows` [N] int64, None if the observations hold none.

    Raises:
        ActionMaskError: if one of them has no legal action.
    """
    if ACTION_MASK not in observations:
        return None
    mask = np.asarray(observations[ACTION_MASK], np.bool_)[rows]
    require_legal_action(mask, shape=mask.shape)
    return torch.from_numpy(mask)


def features_of(network: ActorCritic, encoded: Tensor) -> Features:
    """Evaluate the body of the network without gradient, on `encoded` [R, F]."""
    with torch.no_grad():
        return network.body(encoded)


def scaled_values_of(network: ActorCritic, features: Tensor) -> Tensor:
    """Evaluate the critic without gradient: V / `value_scale` [N] of its features [N, Fc].

    Raises:
        NonFiniteError: if one is not finite.
    """
    with torch.no_grad():
        values = torch.cat([network.scaled_values(chunk) for chunk in torch.split(features, CHUNK)])
    _require_finite("values", values)
    return values


def params_of(network: ActorCritic, features: Tensor, action_mask: Tensor | None) -> Tensor:
    """Evaluate the policy without gradient.

    Args:
        network: the policy.
        features: of the policy, [N, Fp].
        action_mask: [N, ...] bool, with a legal action in each row; None if all are.

    Returns:
        Parameters of π(·|s) [N, P].

    Raises:
        NonFiniteError: if an output is not finite, that of a forbidden action too.
    """
    with torch.no_grad():
        outputs = torch.cat([network.outputs(chunk) for chunk in torch.split(features, CHUNK)])
        _require_finite("log-probabilities", outputs)
        return network.distribution.params(outputs, action_mask)


def _policy_rows(
    network: ActorCritic,
    batch: TrajectoryBatch,
    features: Tensor,
    decisions: NDArray[np.int64],
    *,
    position: NDArray[np.int64],
    weights: NDArray[np.float64],
    advantages: Tensor,
) -> tuple[PolicyRows, float]:
    """Those of the `decisions` [D] that the policy could have taken, and their mean entropy.

    `features` are [R, Fp], `decisions` are rows of them; the other columns are [D].
    """
    chosen, proposed = (np.asarray(batch.columns[f"{who}_action"], np.int64)[decisions] for who in ("chosen", "expert"))
    require_actions("chosen_action", batch, chosen, decisions)
    require_actions("expert_action", batch, np.maximum(proposed, 0), decisions)  # -1 is no proposal
    actions, expert = torch.from_numpy(chosen), torch.from_numpy(proposed)
    action_mask = mask_rows(batch.observations, decisions)
    inputs = features if len(decisions) == len(features) else features[torch.from_numpy(decisions)]
    params = params_of(network, inputs, action_mask)
    acted = network.distribution.log_prob(params, actions)
    recorded = np.asarray(batch.columns["policy_log_prob"], np.float64)[decisions]
    _require_same_policy(batch, decisions, acted.numpy(), recorded)
    labelled = expert >= 0
    if action_mask is not None:
        labelled &= network.distribution.allows(action_mask, expert.clamp(min=0))
    possible = torch.from_numpy(np.flatnonzero(recorded > _LOG_ZERO))
    rows = PolicyRows(
        position=torch.from_numpy(position),
        action_mask=action_mask,
        actions=actions,
        log_probs=acted,
        weights=torch.from_numpy(weights.astype(np.float32)),
        advantages=advantages,
        labels=torch.where(labelled, expert, actions),
        labelled=labelled.to(torch.float32),
    )
    entropies = network.distribution.entropy(params[possible])
    return rows.take(possible), entropies.mean().item() if len(possible) else 0.0


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


def _require_finite(stage: str, outputs: Tensor) -> None:
    """Raise `NonFiniteError`, naming `stage` and the first row, if `outputs` [N, ...] hold a NaN or an infinity."""
    finite = torch.isfinite(outputs)
    if not finite.all():
        raise NonFiniteError(stage, f"row {finite.logical_not().nonzero()[0, 0]} of {len(outputs)} is not finite")


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
