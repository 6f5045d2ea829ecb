"""Records of other policies, as PPO learns from them: who decided, how likely that was, and how likely it is now.

A record knows μ, the probability that the policy which acted gave its action. PPO on it is the decoupled objective
(Hilton et al. 2022, arXiv:2110.00641, eq. 3): the clip range is around π, the network as it is when the update begins,
and w = min(1/β_min, π/μ) corrects for who acted. Advantages and value targets are those of `advantages_of`, V-trace
with the same weights (Espeholt et al. 2018, arXiv:1802.01561, eq. 1), from the network's own V.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from townlet_training.errors import EmptyBatchError, NonFiniteError, ShapeError
from townlet_training.learning.fragments import POLICY_STATE, features_of, first_states, stepped_fragments
from townlet_training.learning.objective import agent_and_tick, return_scale
from townlet_training.learning.rows import (
    action_rows,
    encode_rows,
    mask_rows,
    params_of,
    require_actions,
    require_same_actions,
    side_by_side,
)
from townlet_training.network.memory import Fragments
from townlet_trajectory import ArraySpec, Box, Kind, Source, TrajectoryBatch, default_decision_columns
from townlet_trajectory.data.statistics import RunningMoments

if TYPE_CHECKING:
    from townlet_training.network.actor_critic import ActorCritic

CLASSIC_LOG_PROBS = "old_log_probs"
"""Column of a classic capture: log-probabilities of a network that did not act, and yet the only μ that there is."""

_OURS = ("kind", "chosen_action", "expert_action", "behavior_log_prob")
_SCRIPT_ALONE = ("source", "possessed", "ratio")


def is_classic(batch: TrajectoryBatch) -> bool:
    """Whether `batch` is of a classic capture of the original, which says neither who decided nor what was proposed."""
    return CLASSIC_LOG_PROBS in batch.columns and "behavior_log_prob" not in batch.columns


def as_decided_by(network: ActorCritic, batch: TrajectoryBatch) -> TrajectoryBatch:
    """Return the record `batch` with π of `network` beside the μ that acted: `policy_log_prob` is the network's.

        log μ_t = `behavior_log_prob`   where a blend with known probabilities decided
        log μ_t = 0                     where the script alone decided: it is sure of its proposal
        log μ_t = `old_log_probs`       in a classic capture, every row of which is a decision without a label

    Rows that were forced, or decided in a way that no probability describes, stay as they are. A memory steps through
    the record as the network has it now, from the state that was recorded at a trajectory's first row, else from 0.

    Args:
        network: that is to learn from the record.
        batch: R rows of any policies.

    Returns:
        The same rows, such that `prepare` takes them for a batch that `network` collected within a blend.

    Raises:
        ShapeError: if the batch is of other actions or observations, or does not say μ.
        ActionMaskError: if a decision has no legal action.
        NonFiniteError: if the μ of a decision is not finite, or an output of the network.
    """
    require_same_actions(network, batch)
    columns = decisions_of(batch)
    rows = np.flatnonzero(columns["kind"] == Kind.DECISION)
    behavior = np.asarray(columns["behavior_log_prob"], np.float64)[rows]
    if not np.isfinite(behavior).all():
        row = rows[np.argmin(np.isfinite(behavior))]
        raise NonFiniteError("log-probabilities of the record", f"row {row} ({agent_and_tick(batch, row)})")
    chosen = action_rows(batch, columns["chosen_action"], rows)
    require_actions("chosen_action", batch, chosen, rows)
    known, specs = dict(columns), default_decision_columns(batch.schema.actions)
    policy = np.zeros(batch.num_steps, np.float32)
    if network.state_size:
        inputs = encode_rows(network, batch.observations, np.arange(batch.num_steps))
        first = first_states(network, batch)
        known[POLICY_STATE] = stepped_fragments(network, inputs, batch.offsets, first, longest=1).states.cpu().numpy()
        specs[POLICY_STATE] = ArraySpec("float32", (network.state_size,))
        whole = features_of(network, inputs, Fragments(torch.tensor(batch.offsets), first))
        features = whole.policy[torch.from_numpy(rows)]
    else:
        features = features_of(network, encode_rows(network, batch.observations, rows), None).policy
    if len(rows):
        params = params_of(network, features, mask_rows(network, batch.observations, rows))
        actions = torch.from_numpy(chosen).to(params.device)
        policy[rows] = network.distribution.log_prob(params, actions).cpu().numpy()
    known["policy_log_prob"] = policy
    decisions = {**batch.schema.decisions, **{name: specs[name] for name in known}}
    return replace(
        batch,
        schema=replace(batch.schema, decisions=decisions),
        columns={**batch.columns, **{name: column.astype(specs[name].numpy_dtype) for name, column in known.items()}},
    )


def decisions_of(batch: TrajectoryBatch) -> Mapping[str, NDArray[np.generic]]:
    """Return the columns `kind`, `chosen_action`, `expert_action` and `behavior_log_prob` [R] that `batch` amounts to.

    Raises:
        ShapeError: if it holds neither them nor those of a classic capture.
    """
    columns = batch.columns
    if is_classic(batch) and "action" in columns:
        return {
            "kind": np.full(batch.num_steps, Kind.DECISION, np.int8),
            "chosen_action": columns["action"],
            "expert_action": np.full(batch.num_steps, -1),
            "behavior_log_prob": columns[CLASSIC_LOG_PROBS],
        }
    if missing := [name for name in _OURS if name not in columns]:
        raise ShapeError(
            f"PPO needs the probability that a record's actions had: the columns {missing} are missing, or `action` and"
            f" `{CLASSIC_LOG_PROBS}` of a classic capture; the batch has {sorted(columns)}"
        )
    found: dict[str, NDArray[np.generic]] = {name: columns[name] for name in _OURS}
    if all(name in columns for name in _SCRIPT_ALONE):
        # At ratio 0 the blend is the script, whose μ of its own proposal is 1; the column holds the 0 of log 1.
        alone = (columns["kind"] == Kind.FOREIGN) & (columns["source"] == Source.SCRIPTED)
        alone &= np.logical_not(columns["possessed"])
        same = columns["chosen_action"] == columns["expert_action"]
        alone &= (columns["ratio"] == 0.0) & side_by_side(same).all(axis=1)
        # Of numbers π is a density, and has no ratio to a probability of 1.
        alone &= not isinstance(batch.schema.actions, Box)
        found["kind"] = np.where(alone, np.int8(Kind.DECISION), columns["kind"])
        found["behavior_log_prob"] = np.where(alone, np.float32(0.0), columns["behavior_log_prob"])
    return found


def freeze_to_record(
    network: ActorCritic, batches: Iterable[TrajectoryBatch], *, discount: float, normalizer: bool
) -> None:
    """Fit the normalization of observations and the unit of values to a record in parts, where the config says so.

        scale² = Σ n_i scale_i² / Σ n_i   of parts with n_i rows; see `return_scale`

    Args:
        network: whose buffers are set.
        batches: the parts of the record, each of whole trajectories.
        discount: of the returns that give the unit.
        normalizer: whether the observations are fitted too; they are not where a clone was fitted to them.

    Raises:
        EmptyBatchError: if there is no row.
        ShapeError: if an input is missing or has another shape.
    """
    moments = {name: RunningMoments(shape) for name, shape in network.input_shapes.items()}
    squares, num_rows = 0.0, 0
    for batch in batches:
        num_rows += batch.num_steps
        if batch.rewards.any():
            squares += batch.num_steps * return_scale(batch, discount=discount) ** 2
        for name, running in moments.items():
            if name not in batch.observations:
                raise ShapeError(f"the record lacks the observation `{name}`, it has {sorted(batch.observations)}")
            running.add(np.asarray(batch.observations[name], np.float32))
    if not num_rows:
        raise EmptyBatchError("the statistics of a record need at least one row")
    if normalizer and network.config.normalize_observations != "none":
        network.set_moments({name: running.moments for name, running in moments.items()})
    if network.config.value_scale != "none" and not network.keeps_statistics:
        network.fit_value_scale(float(np.sqrt(squares / num_rows)) or 1.0, num_rows=num_rows)
