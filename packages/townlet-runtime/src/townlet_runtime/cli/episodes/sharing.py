"""An evaluator that shares its episodes with worker processes, where `--workers` asks for some."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from townlet_runtime.cli.training.run_options import WORKER_TIMEOUT_S
from townlet_runtime.policy.file import verified_digest
from townlet_runtime.policy.onnx import FilePolicy, OnnxPolicy, RecurrentOnnxPolicy, policy_of
from townlet_runtime.workers.evaluating import SharedEvaluator
from townlet_runtime.workers.links import ProcessLink
from townlet_runtime.workers.messages import Message, read_message, write_message
from townlet_runtime.workers.pool import WorkerPool
from townlet_trajectory.evaluation.interfaces import AnyActor

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
        yield SharedEvaluator(own, pool, packed=packed)
    finally:
        pool.close()


def packed(actors: Mapping[str, AnyActor]) -> bytes | None:
    """Turn policies into bytes, group by group; None where one of them has no file."""
    if not all(isinstance(actor, OnnxPolicy | RecurrentOnnxPolicy) for actor in actors.values()):
        return None
    files = {
        group: actor.data for group, actor in actors.items() if isinstance(actor, OnnxPolicy | RecurrentOnnxPolicy)
    }
    stream = io.BytesIO()
    write_message(stream, {"sizes": {group: len(data) for group, data in files.items()}}, list(files.values()))
    return stream.getvalue()


def unpacked(data: bytes) -> dict[str, FilePolicy]:
    """Make the same policies again; see `packed`.

    Raises:
        PolicyFileError: if one is damaged.
    """
    read = read_message(io.BytesIO(data))
    assert read is not None, "policies end before their last byte"
    message, files = read
    policies, begin = {}, 0
    for group, size in message["sizes"].items():
        one, path = files[begin : begin + size], Path(f"policy of {group}")
        policies[group] = policy_of(one, verified_digest(one, path), path)
        begin += size
    return policies
