"""Learners of several ranks, and what they learn."""

from __future__ import annotations

import torch
from acting import acted_kind
from kinds import KINDS, network_of

from townlet_training.learning.config import PPOConfig
from townlet_training.learning.ppo import PPOLearner
from townlet_training.learning.ranks.processes import Ranks
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.config import NetworkConfig
from townlet_trajectory import TrajectoryBatch

LENGTHS = (11, 1, 6, 9, 4)
CONFIG = PPOConfig(learning_rate=1e-3, num_minibatches=3, num_epochs=2, entropy_coef=0.05, sequence_length=3)


def acted(kind: str, seed: int = 1) -> tuple[ActorCritic, TrajectoryBatch]:
    network = network_of(kind)
    return network, acted_kind(network, kind, lengths=LENGTHS, foreign=0.25, seed=seed)


def ranks_of(network: NetworkConfig, count: int = 2, timeout_s: float = 60.0, config: PPOConfig = CONFIG) -> Ranks:
    kinds = [kind for kind, (_, own) in KINDS.items() if own == network]
    specs = {kind: KINDS[kind][0] for kind in kinds}
    return Ranks(count, specs, network=network, config=config, timeout_s=timeout_s)


def learner_of(
    network: ActorCritic, ranks: Ranks | None, config: PPOConfig = CONFIG, kind: str = "plain"
) -> PPOLearner:
    generator = torch.Generator().manual_seed(0)
    return PPOLearner(network, config=config, generator=generator, ranks=ranks, group=kind)


def learned(kind: str, ranks: Ranks | None) -> ActorCritic:
    """The network after a warm-up, an update and a second one, with other rows."""
    network, batch = acted(kind)
    learner = learner_of(network, ranks, kind=kind)
    warmed = learner.warm_up(batch)
    assert warmed.policy_loss == 0.0 and warmed.num_updates == 6
    first = learner.update(acted_kind(network, kind, lengths=LENGTHS, foreign=0.25, seed=2), kickstart_coef=0.2)
    assert first.num_updates == 6 and first.kl_max >= 0.0
    learner.update(acted_kind(network, kind, lengths=(2, 1), foreign=0.0, seed=3), learning_rate=5e-4)
    return network


def distance(one: ActorCritic, other: ActorCritic) -> float:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max(float((first - second).detach().abs().max()) for first, second in pairs)
