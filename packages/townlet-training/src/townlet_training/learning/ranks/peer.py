"""The side of another process: it makes every update that it is told of, with its share of each minibatch."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import torch
from torch import distributed as dist

from townlet_training.errors import NonFiniteError, RankError
from townlet_training.learning.config import PPOConfig
from townlet_training.learning.descent import descent_of
from townlet_training.learning.ppo import gradient_steps, optimizer_of
from townlet_training.learning.ranks.descent import SharedDescent
from townlet_training.learning.ranks.message import Update, unpacked
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.config import NetworkConfig
from townlet_training.network.spec import PolicySpec
from townlet_training.network.weights import set_weights

DONE = b"done"
"""Said when a process has begun, and after each update; anything else is an error."""


class Link(Protocol):
    """An end of a pipe, which `multiprocessing` has a class of for each system."""

    def send_bytes(self, buf: bytes, /) -> None: ...

    def recv_bytes(self) -> bytes: ...

    def poll(self, timeout: float | None, /) -> bool: ...

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the processes of a group meet, and how they compute."""

    meeting: Path
    """A file that all of them can reach, and nobody else."""
    count: int
    device: str
    """`cpu` or `cuda`; rank r learns on the GPU of that number."""
    threads: int
    timeout_s: float

    def join(self, rank: int) -> torch.device:
        """Meet the others; return the device of this rank."""
        device = torch.device(self.device, rank) if self.device != "cpu" else torch.device("cpu")
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group(
            "gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl",
            init_method=self.meeting.as_uri(),
            rank=rank,
            world_size=self.count,
            timeout=timedelta(seconds=self.timeout_s),
        )
        return device


class Peer:
    """A rank above 0.

    Args:
        device: where it learns.
        specs: of the groups that learn.
        network: config of all networks.
        config: of the optimizers.
    """

    def __init__(
        self, device: torch.device, specs: Mapping[str, PolicySpec], network: NetworkConfig, config: PPOConfig
    ) -> None:
        drawn = torch.Generator().manual_seed(0)  # what is drawn is overwritten
        self._networks = {
            group: ActorCritic.of(spec, network, generator=drawn).to(device) for group, spec in specs.items()
        }
        self._optimizers = {group: optimizer_of(each, config) for group, each in self._networks.items()}

    def make(self, update: Update) -> None:
        """Make an update, from the weights and moments that come with it."""
        network, optimizer = self._networks[update.group], self._optimizers[update.group]
        set_weights(network, update.weights)
        optimizer.load_state_dict(update.moments)
        generator = torch.Generator()
        generator.set_state(update.generator)
        objective = update.plan.objective(network, update.batch)
        optimizer.set_learning_rate(*update.plan.rates)
        descent = SharedDescent(descent_of(objective, optimizer), optimizer)
        gradient_steps(objective, descent, optimizer, update.plan, generator)


def answer(
    rank: int,
    place: Place,
    told: Link,
    specs: Mapping[str, PolicySpec],
    network: NetworkConfig,
    config: PPOConfig,
) -> None:
    """Make one update after the other, until the connection ends or one fails.

    Args:
        rank: of this process.
        place: where it meets the others.
        told: the process of rank 0.
        specs: of the groups that learn.
        network: config of all networks.
        config: of the optimizers.
    """
    # Ctrl-C is for the run, which ends this process when it has saved what there is.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(place.threads)
    try:
        told.send_bytes(DONE)
        device = place.join(rank)
        peer = Peer(device, specs, network, config)
        while True:
            try:
                said, block = told.recv_bytes(), told.recv_bytes()
            except EOFError:
                return
            try:
                peer.make(unpacked(said, block, device))
            except NonFiniteError:
                pass  # of the whole minibatch: every rank has met it
            told.send_bytes(DONE)
    except RankError:
        return  # another one failed
    except Exception as error:  # told to whoever waits, in words
        told.send_bytes(f"{type(error).__name__}: {error}".encode())
