"""`Ranks`: the other processes of a run that learns with several."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import distributed as dist

from townlet_training.errors import ConfigError, NonFiniteError, RankError
from townlet_training.learning.config import Device, PPOConfig
from townlet_training.learning.device import device_named
from townlet_training.learning.ranks.descent import SharedDescent
from townlet_training.learning.ranks.message import packed
from townlet_training.learning.ranks.peer import DONE, Link, Place, answer
from townlet_training.network.config import NetworkConfig
from townlet_training.network.spec import PolicySpec

if TYPE_CHECKING:
    from townlet_training.learning.descent import Descent
    from townlet_training.learning.loss import Objective
    from townlet_training.learning.optimizer import Optimizer
    from townlet_training.learning.ppo import UpdatePlan

TIMEOUT_S = 600.0
"""After so many seconds without the others a gradient step fails."""
_BEGIN_S = 120.0
"""At least, for all of them to begin."""
_END_S = 10.0
"""Given to a process that was killed, or has waited in vain."""
_SAY_S = 0.5
"""Given to one that failed, to say why."""
_LOOPBACK = {"linux": "lo", "darwin": "lo0"}


class Ranks:
    """Processes of this machine that make the updates of a run together with it, one GPU each where there are some.

    They begin with the first update. Rank 0 is the process of the run: it prepares the batch, and its weights are those
    that stay. The others are told everything of each update, so that a run which goes on from a checkpoint needs
    nothing of theirs.

    Args:
        count: of all ranks, at least 2.
        specs: of the groups that learn.
        network: config of all networks.
        config: of the optimizers.
        device: where they learn; on `cuda` each has a GPU of its own.
        timeout_s: after so many seconds without the others a step fails.

    Raises:
        ConfigError: if there are not as many devices.
    """

    def __init__(
        self,
        count: int,
        specs: Mapping[str, PolicySpec],
        network: NetworkConfig,
        config: PPOConfig,
        *,
        device: Device = "cpu",
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        kind = device_named(device).type
        there = {"cpu": count, "cuda": torch.cuda.device_count()}.get(kind, 1)
        if count > there:
            raise ConfigError(f"`num_learners` must be at most {there}, as there are devices of {kind}, got {count}")
        self._count, self._kind, self._timeout_s = count, kind, timeout_s
        self._told = specs, network, config
        self._links: list[tuple[BaseProcess, Link]] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @contextlib.contextmanager
    def sharing(
        self,
        group: str,
        own: Descent,
        objective: Objective,
        plan: UpdatePlan,
        *,
        optimizer: Optimizer,
        generator: torch.Generator,
    ) -> Iterator[Descent]:
        """Let all ranks make one update, whose steps are taken within the block.

        Args:
            group: that learns.
            own: the descent of this process.
            objective: of the update.
            plan: of the update.
            optimizer: of this process.
            generator: of the minibatches, in the state before them.

        Raises:
            RankError: if another rank has ended, failed, or does not answer; none is left then.
        """
        try:
            self._begin()
            self._tell(packed(group, objective, plan, optimizer, generator))
            try:
                yield SharedDescent(own, optimizer)
            except NonFiniteError:  # of the whole minibatch: all ranks have met it
                self._wait(self._timeout_s, "end its update")
                raise
            self._wait(self._timeout_s, "end its update")
        except RankError as error:
            blamed = self._blame(error)
            self.close()
            raise blamed from error
        except NonFiniteError:
            raise
        except BaseException:
            self.close()  # they are in the middle of an update
            raise

    def close(self) -> None:
        """End the other processes at once, whatever they do. They begin again with the next update."""
        for process, link in self._links:
            process.kill()
            process.join(_END_S)
            link.close()
        self._links = []
        if self._folder is not None:
            if dist.is_initialized():
                dist.destroy_process_group()
            self._folder.cleanup()
            self._folder = None

    def _begin(self) -> None:
        if self._links:
            return
        if dist.is_initialized():
            raise RankError("`torch.distributed` is in use by this process already: learn with `num_learners` 1")
        self._folder = tempfile.TemporaryDirectory(prefix="townlet-ranks-")
        place = Place(
            meeting=Path(self._folder.name) / "meeting",
            count=self._count,
            device=self._kind,
            threads=torch.get_num_threads(),
            timeout_s=self._timeout_s,
        )
        context = get_context("spawn")
        with _on_this_machine():
            for rank in range(1, self._count):
                link, theirs = context.Pipe()
                process = context.Process(
                    target=answer, args=(rank, place, theirs, *self._told), name=f"learner {rank}", daemon=True
                )
                process.start()
                theirs.close()
                self._links.append((process, link))
            self._wait(max(self._timeout_s, _BEGIN_S), "begin")
            try:
                place.join(0)
            except RuntimeError as error:
                raise RankError(f"{self._count} learners could not meet: {error}") from error

    def _tell(self, blocks: Sequence[bytes]) -> None:
        def send(link: Link) -> None:
            with contextlib.suppress(OSError):  # whoever has ended is missed at the first sum
                for block in blocks:
                    link.send_bytes(block)

        # In threads: one that hangs does not read, and would be waited for without an end.
        threads = [threading.Thread(target=send, args=(link,), daemon=True) for _, link in self._links]
        for thread in threads:
            thread.start()
        for rank, thread in enumerate(threads, start=1):
            thread.join(self._timeout_s)
            if thread.is_alive():
                raise RankError(f"rank {rank} of {self._count} learners does not read what it is told")

    def _wait(self, timeout_s: float, what: str) -> None:
        """Wait until all have done `what`."""
        for rank, (_, link) in enumerate(self._links, start=1):
            try:
                said = link.recv_bytes() if link.poll(timeout_s) else b"it takes too long"
            except (EOFError, OSError):
                said = b"it has ended"
            if said != DONE:
                raise RankError(
                    f"rank {rank} of {self._count} learners did not {what}: {said.decode(errors='replace')}"
                )

    def _blame(self, error: RankError) -> RankError:
        """Name the rank that failed first, as far as it can be known: all others lose their connection to it."""
        for rank, (_, link) in enumerate(self._links, start=1):
            with contextlib.suppress(OSError, EOFError):
                while link.poll(_SAY_S):
                    if (said := link.recv_bytes()) != DONE:
                        said_of = f"rank {rank} of {self._count} learners failed"
                        return RankError(f"{said_of}: {said.decode(errors='replace')}")
        for rank, (process, _) in enumerate(self._links, start=1):
            process.join(_SAY_S)
            if process.exitcode:
                return RankError(f"rank {rank} of {self._count} learners ended with code {process.exitcode}")
        # Whoever waited for a sum in vain has ended by itself.
        deadline = time.monotonic() + _END_S
        for process, _ in self._links:
            process.join(max(0.0, deadline - time.monotonic()))
        if hanging := [rank for rank, (process, _) in enumerate(self._links, start=1) if process.is_alive()]:
            ranks = "ranks" if len(hanging) > 1 else "rank"
            return RankError(
                f"{ranks} {', '.join(map(str, hanging))} of {self._count} learners did not come to a gradient step "
                f"within {self._timeout_s:g} s"
            )
        return error


@contextlib.contextmanager
def _on_this_machine() -> Iterator[None]:
    """Let gloo listen where other machines cannot reach it."""
    name, loopback = "GLOO_SOCKET_IFNAME", _LOOPBACK.get(sys.platform)
    if loopback is None or name in os.environ:
        yield
        return
    os.environ[name] = loopback
    try:
        yield
    finally:
        del os.environ[name]
