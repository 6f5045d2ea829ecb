"""Batches to test with: written out by hand, acted by a network, or drawn by Hypothesis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st
from numpy.typing import NDArray

from townlet_training.learning.ppo import PPOConfig, PPOLearner
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.config import NetworkConfig
from townlet_trajectory import ArraySpec, Kind, TrajectoryBatch, TrajectorySchema, default_decision_columns

DECISION, FORCED, FOREIGN = (int(kind) for kind in (Kind.DECISION, Kind.FORCED, Kind.FOREIGN))


def batch_of(
    *,
    lengths: Sequence[int],
    rewards: Sequence[float] | NDArray[np.floating],
    terminated: Sequence[bool] | NDArray[np.bool_],
    num_actions: int = 2,
    observations: Mapping[str, NDArray[np.generic]] | None = None,
    final_observations: Mapping[str, NDArray[np.generic]] | None = None,
    **columns: Sequence[float] | NDArray[np.generic],
) -> TrajectoryBatch:
    """Trajectories of `lengths`, agent `a<i>` each, ticks from 10 · i; columns that are not given are zeros."""
    num_rows, size = sum(lengths), len(lengths)
    seen = observations or {"features": np.zeros((num_rows, 1), np.float32)}
    final = final_observations or {name: np.zeros_like(array[:size]) for name, array in seen.items()}
    agent_ids = np.empty(size, object)
    agent_ids[:] = [f"a{index}" for index in range(size)]
    specs = default_decision_columns()
    return TrajectoryBatch(
        schema=TrajectorySchema(
            observations={name: ArraySpec(array.dtype.name, array.shape[1:]) for name, array in seen.items()},
            decisions=specs,
            vocabulary=tuple(f"action{index}" for index in range(num_actions)),
        ),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        observations=seen,
        final_observations=final,
        columns={
            name: np.asarray(columns.get(name, np.zeros(num_rows)), spec.numpy_dtype) for name, spec in specs.items()
        },
        rewards=np.asarray(rewards, np.float32),
        ticks=np.concatenate([10 * index + np.arange(length) for index, length in enumerate(lengths)]).astype(np.int64),
        terminated=np.asarray(terminated, np.bool_),
        truncated=~np.asarray(terminated, np.bool_),
        agent_ids=agent_ids,
        worlds=np.zeros(size, np.int64),
        episodes=np.zeros(size, np.int64),
    )


def replaced(
    batch: TrajectoryBatch, rows: NDArray[np.bool_], **columns: float | Sequence[float] | NDArray[np.generic]
) -> TrajectoryBatch:
    """`batch` with other values of `columns` (or `rewards`) at `rows` [R] bool."""
    changed = {name: array.copy() for name, array in batch.columns.items()}
    rewards = batch.rewards.copy()
    for name, value in columns.items():
        target = rewards if name == "rewards" else changed[name]
        target[rows] = value
    return TrajectoryBatch(
        schema=batch.schema,
        offsets=batch.offsets,
        observations=batch.observations,
        final_observations=batch.final_observations,
        columns=changed,
        rewards=rewards,
        ticks=batch.ticks,
        terminated=batch.terminated,
        truncated=batch.truncated,
        agent_ids=batch.agent_ids,
        worlds=batch.worlds,
        episodes=batch.episodes,
    )


def make_network(
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    num_actions: int = 4,
    hidden_sizes: tuple[int, ...] = (16, 16),
    seed: int = 0,
) -> ActorCritic:
    """A small network; inputs `features` (5) and `map` (2, 3) if not told otherwise."""
    return ActorCritic(
        {"features": (5,), "map": (2, 3)} if shapes is None else shapes,
        num_actions,
        NetworkConfig(hidden_sizes=hidden_sizes),
        generator=torch.Generator().manual_seed(seed),
    )


def spread_out(network: ActorCritic, *, seed: int = 1) -> ActorCritic:
    """Make the policy of `network` far from uniform."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.policy.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=generator))
    return network


def acted_batch(
    network: ActorCritic,
    *,
    lengths: Sequence[int],
    ratio: float = 1.0,
    seed: int = 0,
    masked: bool = False,
    kind: NDArray[np.int8] | None = None,
    terminated: Sequence[bool] | None = None,
) -> TrajectoryBatch:
    """What `network` and a script that proposes at random do in a world of random observations and rewards.

    Where the mask forbids what the script proposes, the script proposes it nevertheless.
    """
    rng = np.random.default_rng(seed)
    num_rows, num_actions = sum(lengths), network.num_actions
    rows = np.arange(num_rows)
    seen = _random_observations(network, rng, num_rows)
    mask = rng.random((num_rows, num_actions)) < 0.6 if masked else np.ones((num_rows, num_actions), np.bool_)
    mask[rows, rng.integers(num_actions, size=num_rows)] = True
    log_probs, values = network.act(seen, mask)
    # Gumbel's trick: the argmax of log π + noise is a sample of π.
    learned = np.where(mask, log_probs + rng.gumbel(size=mask.shape), -np.inf).argmax(axis=1)
    expert = rng.integers(num_actions, size=num_rows)
    chosen = np.where(rng.random(num_rows) < ratio, learned, expert)
    kind = np.zeros(num_rows, np.int8) if kind is None else kind
    policy_log_prob = log_probs[rows, chosen].astype(np.float64)
    with np.errstate(divide="ignore"):
        behavior_log_prob = np.log(ratio * np.exp(policy_log_prob) + (1.0 - ratio) * (chosen == expert))
    decided = kind == DECISION
    observations: dict[str, NDArray[np.generic]] = {**seen}
    final: dict[str, NDArray[np.generic]] = {**_random_observations(network, rng, len(lengths))}
    if masked:
        observations["action_mask"] = mask
        final["action_mask"] = np.zeros((len(lengths), num_actions), np.bool_)
    return batch_of(
        lengths=lengths,
        rewards=rng.normal(size=num_rows),
        terminated=rng.random(len(lengths)) < 0.5 if terminated is None else terminated,
        num_actions=num_actions,
        observations=observations,
        final_observations=final,
        action=chosen,
        chosen_action=chosen,
        kind=kind,
        expert_action=expert,
        policy_log_prob=np.where(decided, policy_log_prob, 0.0),
        behavior_log_prob=np.where(decided, behavior_log_prob, 0.0),
        value=values,
        ratio=np.full(num_rows, ratio),
    )


def _random_observations(
    network: ActorCritic, rng: np.random.Generator, num_rows: int
) -> dict[str, NDArray[np.float32]]:
    return {
        name: rng.normal(size=(num_rows, *shape)).astype(np.float32)
        for name, shape in network.observation_shapes.items()
    }


@dataclass(frozen=True, kw_only=True, eq=False)
class Valued:
    """A batch, and what a critic says of it."""

    batch: TrajectoryBatch
    values: NDArray[np.float64]
    """[R]."""
    final_values: NDArray[np.float64]
    """[B]."""


@st.composite
def valued_batches(
    draw: st.DrawFn, *, kinds: Sequence[int] = (DECISION, FORCED, FOREIGN), on_policy: bool = False
) -> Valued:
    """Trajectories of unequal lengths with every way to begin, go on and end; cut anywhere, inside commitments too."""
    lengths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=5))
    num_rows = sum(lengths)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = np.array(draw(st.lists(st.sampled_from(kinds), min_size=num_rows, max_size=num_rows)), np.int8)
    ratio = np.where(on_policy, 1.0, rng.uniform(0.1, 1.0, num_rows))
    policy = rng.uniform(1e-3, 1.0, num_rows)
    behavior = ratio * policy + (1.0 - ratio) * (rng.random(num_rows) < 0.5)
    decided = kind == DECISION
    batch = batch_of(
        lengths=lengths,
        rewards=rng.normal(size=num_rows),
        terminated=draw(st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths))),
        kind=kind,
        policy_log_prob=np.where(decided, np.log(policy), 0.0),
        behavior_log_prob=np.where(decided, np.log(behavior), 0.0),
    )
    return Valued(batch=batch, values=rng.normal(size=num_rows), final_values=rng.normal(size=len(lengths)))


PLAIN = PPOConfig(
    num_epochs=1, num_minibatches=1, normalize_advantages=False, discount=0.5, gae_lambda=0.0, entropy_coef=0.0
)
LENGTHS = (7, 1, 12, 5)
KINDS = np.random.default_rng(9).choice([DECISION, DECISION, FORCED, FOREIGN], sum(LENGTHS)).astype(np.int8)


def learner_of(network: ActorCritic, config: PPOConfig, *, seed: int = 0) -> PPOLearner:
    return PPOLearner(network, config=config, generator=torch.Generator().manual_seed(seed))


def blank_network() -> ActorCritic:
    """Two actions, both of probability 1/2 everywhere; every state is worth 0."""
    network = make_network(shapes={"features": (1,)}, num_actions=2)
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
    return network


def weights_of(network: ActorCritic) -> list[bytes]:
    return [weight.detach().numpy().tobytes() for weight in network.parameters()]


def blended_pair() -> TrajectoryBatch:
    """Two one-step trajectories, β = 0.5: the script agrees (μ = 3/4, w = 2/3), and does not (μ = 1/4, w = 2)."""
    return batch_of(
        lengths=[1, 1],
        rewards=[1.0, 3.0],
        terminated=[True, True],
        chosen_action=[0, 1],
        expert_action=[0, 0],
        policy_log_prob=[math.log(0.5), math.log(0.5)],
        behavior_log_prob=[math.log(0.75), math.log(0.25)],
    )
