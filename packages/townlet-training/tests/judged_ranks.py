"""A process of two: the gradient of its share by torch's `DistributedDataParallel`, and by `SharedDescent`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from acting import acted_kind
from kinds import network_of
from safetensors.torch import save_file
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from townlet_training.learning.batch import prepare
from townlet_training.learning.config import PPOConfig
from townlet_training.learning.descent import descent_of
from townlet_training.learning.loss import Objective
from townlet_training.learning.minibatches import Minibatch, minibatches
from townlet_training.learning.ppo import optimizer_of
from townlet_training.learning.ranks.descent import SharedDescent

COUNT = 2


class Loss(nn.Module):
    """The loss of a share, as a module, since that is what is wrapped."""

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.network, self._objective = objective.network, objective

    def forward(self, minibatch: Minibatch) -> Tensor:
        """The total, times the ranks: the wrapper takes the mean of the gradients, and the terms are summands."""
        return COUNT * self._objective.terms(minibatch, critic_only=False).total_loss


def judge(rank: int, folder: str, kinds: Sequence[str]) -> None:
    """Write both gradients of this rank to `folder`, for networks of these kinds."""
    torch.set_num_threads(1)
    meeting = (Path(folder) / "meeting").as_uri()
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=COUNT)
    for kind in kinds:
        ours, theirs = _gradients(kind, rank)
        save_file(ours, Path(folder) / f"{kind}-ours-{rank}.safetensors")
        save_file(theirs, Path(folder) / f"{kind}-theirs-{rank}.safetensors")
    dist.destroy_process_group()


def _gradients(kind: str, rank: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    network = network_of(kind)
    config = PPOConfig(entropy_coef=0.05, normalize_advantages="minibatch")
    acted = acted_kind(network, kind, lengths=(11, 6, 9), foreign=0.2, seed=5)
    batch = prepare(network, acted, discount=0.9, gae_lambda=0.8, min_ratio=0.1, sequence_length=3)
    objective = Objective(network, batch, config=config, num_minibatches=1, kickstart_coef=0.3)
    generator = torch.Generator().manual_seed(0)
    [minibatch] = minibatches(batch, num_minibatches=1, num_epochs=1, generator=generator)

    optimizer = optimizer_of(network, config)
    shared = SharedDescent(descent_of(objective, optimizer), optimizer)
    shared.evaluate(minibatch, critic_only=False)
    ours = {name: optimizer.gradients[name].clone() for name in shared.differentiate()}

    wrapped = DistributedDataParallel(Loss(objective))
    wrapped(minibatch.share(rank, COUNT)).backward()
    grads = {name: weight.grad for name, weight in network.named_parameters()}
    return ours, {name: grad.contiguous() for name, grad in grads.items() if grad is not None}
