"""How many threads the learners compute with: by a rule, or by a measurement where one is asked for."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping

from townlet_runtime.simulation.interface import SimulationSpec
from townlet_runtime.training import TrainingConfig, policy_specs, products_of, use_threads

TWO_FROM = 2**30
"""Multiplications and additions of one minibatch from which on two threads are the default."""
_ROUNDS = 7
_GAIN = 0.9
"""More threads must take at most this share of the time of fewer."""


def default_threads(config: TrainingConfig, specs: Mapping[str, SimulationSpec]) -> int:
    """Return 2 where rows × weights of one minibatch are at least `TWO_FROM`, else 1.

    It follows from the network and the size of a minibatch alone, so that a seed gives the same run on every machine.
    A second thread halves the large products alone; it costs some 10 microseconds for each of the operations of a
    minibatch, and a second process that plays the episodes makes better use of a second core.

    Args:
        config: of the run.
        specs: of one world, by agent group.

    Returns:
        The number of threads.
    """
    return 2 if max(rows * weights for rows, weights in _sizes(config, specs)) >= TWO_FROM else 1


def measured_threads(config: TrainingConfig, specs: Mapping[str, SimulationSpec], *, cpus: int) -> int:
    """Measure the products of a minibatch with 1, 2, 4 .. threads, and return the best number.

    Another number counts as better where it takes 10 % less time, so that noise does not decide.

    Args:
        config: of the run.
        specs: of one world, by agent group.
        cpus: the most threads that are tried.

    Returns:
        The number of threads; those of the process are set to it.
    """
    best, seconds = 1, float("inf")
    number = 1
    while number <= cpus:
        use_threads(number)
        taken = statistics.median(_seconds(config, specs) for _ in range(_ROUNDS))
        if taken < _GAIN * seconds:
            best, seconds = number, taken
        number *= 2
    use_threads(best)
    return best


def _seconds(config: TrainingConfig, specs: Mapping[str, SimulationSpec]) -> float:
    began = time.perf_counter()
    for rows, weights in products_of(config, specs):
        ...
    return time.perf_counter() - began
