"""Where a learner computes: on the CPU, or on a copy of the network elsewhere."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from townlet_training.errors import ConfigError
from townlet_training.network.weights import lay_side_by_side

if TYPE_CHECKING:
    from townlet_training.learning.config import Device
    from townlet_training.network.actor_critic import ActorCritic

_BEST_FIRST: tuple[Device, ...] = ("cuda", "mps", "cpu")


def device_named(name: Device) -> torch.device:
    """Return the device called `name`; `auto` is the first of cuda, mps and cpu that there is.

    Raises:
        ConfigError: if there is no such device; it names those that there are.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    available = [kind for kind in _BEST_FIRST if there[kind]]
    kind = available[0] if name == "auto" else name
    if kind not in available:
        raise ConfigError(f"`device` must be one of {', '.join(available)}, which are there, got {name}")
    return torch.device(kind)


class Placement:
    """A network, and its copy where it learns; on the CPU they are one.

    Attributes:
        learning: the copy.
    """

    def __init__(self, network: ActorCritic, device: torch.device) -> None:
        """`network` acts, on the CPU, and may be changed between two updates."""
        self._acting = network
        self.learning = network
        if device != network.value_scale.device:
            self.learning = copy.deepcopy(network).to(device)
            if device.type == "cpu":
                # A copy's parameters lie anywhere. Elsewhere they stay: cuDNN has placed those of gated units itself.
                lay_side_by_side(tuple(self.learning.parameters()))

    @contextlib.contextmanager
    def up_to_date(self) -> Iterator[ActorCritic]:
        """Learn on the copy, which begins with the weights and statistics of the acting network, and hands them back.

        They are handed back after an error too: the weights are those before the step that met it.
        """
        if self.learning is self._acting:
            yield self.learning
            return
        self.learning.load_state_dict(self._acting.state_dict())
        # Short floats would make log-probabilities differ from the recorded ones by more than a stale batch's.
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            try:
                yield self.learning
            finally:
                self._acting.load_state_dict(self.learning.state_dict())
