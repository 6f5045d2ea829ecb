"""An evaluator that shares its episodes with worker processes, where `--workers` asks for some."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from townlet_behavior import BridgeConfig
from townlet_runtime.cli.training.run_options import WORKER_TIMEOUT_S
from townlet_runtime.config.dump import noted
from townlet_runtime.core.evaluator import Evaluator
from townlet_runtime.policy.file import verified_digest
from townlet_runtime.policy.onnx import FilePolicy, OnnxPolicy, RecurrentOnnxPolicy, policy_of
from townlet_runtime.workers.evaluating import SharedEvaluator
from townlet_runtime.workers.links import ProcessLink
from townlet_runtime.workers.messages import Message, read_message, write_message
from townlet_runtime.workers.pool import WorkerPool
from townlet_trajectory.evaluation.interfaces import AnyActor

if TYPE_CHECKING:
    from townlet_runtime.cli.worlds import Worlds
    from townlet_runtime.config import Config

COMMAND = [sys.executable, "-P", "-m", "townlet_runtime.cli.episodes.player"]


@contextmanager
def shared_evaluator(
    config: Config, worlds: Worlds, bridge: BridgeConfig, *, seed: int, workers: int
) -> Iterator[Evaluator | SharedEvaluator]:
    """Make the evaluator of a command, which has workers until the end of the block.

    Args:
        config: of the worlds, with all settings of training written out.
        worlds: that were made of it.
        bridge: as deployed.
        seed: of the policies' own draws.
        workers: processes that play beside this one.
    """
    num_worlds: int = config.training["num_envs"]
    own = Evaluator(worlds.make_scored, config=bridge, seed=seed, num_worlds=num_worlds)
    if not workers:
        yield own
        return
    message = {**worlds_message(config, worlds), "seed": seed, "num_worlds": num_worlds}
    pool = WorkerPool(lambda place: ProcessLink(COMMAND), workers, message, timeout_s=WORKER_TIMEOUT_S)
    try:
        yield SharedEvaluator(own, pool, packed=packed)
    finally:
        pool.close()


def worlds_message(config: Config, worlds: Worlds) -> Message:
    """Say in a message to a worker how worlds are built.

    Args:
        config: of the worlds, with everything that options changed in it.
        worlds: that were made of it.
    """
    return {"config": noted(config), "options": asdict(worlds.options)}


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
