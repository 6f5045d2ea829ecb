"""An evaluator that shares its episodes with worker processes, where `--workers` asks for some."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from townlet_runtime.workers.defaults import WORKER_TIMEOUT_S
from townlet_runtime.workers.evaluating import SharedEvaluator
from townlet_runtime.workers.links import ProcessLink
from townlet_runtime.workers.messages import Message
from townlet_runtime.workers.policies import packed_files
from townlet_runtime.workers.pool import WorkerPool

if TYPE_CHECKING:
    from townlet_runtime.core.evaluator import Evaluator

COMMAND = [sys.executable, "-P", "-m", "townlet_runtime.cli.episodes.player"]


@contextmanager
def sharing_episodes(own: Evaluator, worlds: Message, *, workers: int) -> Iterator[Evaluator | SharedEvaluator]:
    """Let workers play beside this process until the end of the block.

    Args:
        own: the evaluator of this process.
        worlds: that it plays in, as a worker is told them.
        workers: processes; 0: this one plays everything.
    """
    if not workers:
        yield own
        return
    message = {**worlds, "seed": own.seed, "num_worlds": own.num_worlds}
    pool = WorkerPool(lambda place: ProcessLink(COMMAND), workers, message, timeout_s=WORKER_TIMEOUT_S)
    try:
        yield SharedEvaluator(own, pool, packed=packed_files)
    finally:
        pool.close()
