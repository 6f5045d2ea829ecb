"""How many threads a run computes with: a rule, and a measurement for those who ask for it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from townlet_training.config import TrainingConfig
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.spec import PolicySpec

TWO_FROM = 2**30
"""Rows × weights of one minibatch from which on two threads are the default.

On two idle cores torch's products take 0.51 to 0.63 of the time with two threads, from 2^24 rows × weights on; on busy
ones two threads took several times as long. The products of plain networks are numpy's, which has one thread.
"""
_MAX_ROWS = 2**14
"""That a measurement computes with: more do not change which number is best."""
_ROUNDS = 9
_GAIN = 0.9


def default_threads(config: TrainingConfig, specs: Mapping[str, PolicySpec], *, capacity: int) -> int:
    """Return 2 where rows × weights of a minibatch are at least `TWO_FROM`, else 1.

    The number follows from the network and the size of a minibatch alone, never from the machine or a measurement: one
    seed gives the same run everywhere.

    Args:
        config: of the run.
        specs: by agent group.
        capacity: agents that one world may hold.

    Returns:
        The number of threads.
    """
    rows = _rows_of(config, capacity)
    return 2 if max(rows * sum(map(Tensor.numel, matrices)) for matrices in _matrices(config, specs)) >= TWO_FROM else 1


def measured_threads(config: TrainingConfig, specs: Mapping[str, PolicySpec], *, capacity: int, cpus: int) -> int:
    """Measure the matrix products of a minibatch with 1, 2, 4 .. threads, and return the best number.

    More threads are better where they take 10 % less time: noise is not to decide.

    Args:
        config: of the run.
        specs: by agent group.
        capacity: agents that one world may hold.
        cpus: the most threads that are tried.

    Returns:
        The number of threads. That of the process is as before.
    """
    before, rows = torch.get_num_threads(), min(_rows_of(config, capacity), _MAX_ROWS)
    matrices = [matrix for group in _matrices(config, specs) for matrix in group]
    best, least, number = 1, float("inf"), 1
    try:
        while number <= cpus:
            torch.set_num_threads(number)
            seconds = statistics.median(_seconds_of_products(matrices, rows) for _ in range(_ROUNDS))
            if seconds < _GAIN * least:
                best, least = number, seconds
            number *= 2
    finally:
        torch.set_num_threads(before)
    return best


def _rows_of(config: TrainingConfig, capacity: int) -> int:
    """Rows of one minibatch, where every place of every world is taken."""
    if config.mode in ("bc", "dagger"):
        return config.bc.batch_size
    rows = config.num_envs * config.rollout_ticks * capacity
    return -(-rows // config.ppo.minibatches_of(rows))


def _matrices(config: TrainingConfig, specs: Mapping[str, PolicySpec]) -> Iterator[list[Tensor]]:
    """Yield the weights of each group's network that products are made with, as matrices."""
    for spec in specs.values():
        network = ActorCritic.of(spec, config.network, generator=torch.Generator().manual_seed(0))
        yield [each.detach().flatten(start_dim=1) for each in network.parameters() if each.ndim > 1]


def _seconds_of_products(matrices: list[Tensor], rows: int) -> float:
    """Time the three products that each matrix [P, F] has in a gradient step, with `rows` rows."""
    inputs = {matrix.shape[1]: torch.ones(rows, matrix.shape[1]) for matrix in matrices}
    began = time.perf_counter()
    for matrix in matrices:
        outputs = torch.tanh(inputs[matrix.shape[1]] @ matrix.T)
        outputs.T @ inputs[matrix.shape[1]]
        outputs @ matrix
    return time.perf_counter() - began
