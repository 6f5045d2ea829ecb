"""How many threads: a rule of the network and the minibatch alone, or a measurement."""

from dataclasses import replace

import pytest
import torch
from corridor import SPEC

from townlet_training import threads as module
from townlet_training.config import ONE_GROUP, TrainingConfig
from townlet_training.learning.config import BCConfig, PPOConfig
from townlet_training.network.config import NetworkConfig
from townlet_training.threads import TWO_FROM, default_threads, measured_threads

SPECS = {ONE_GROUP: SPEC}
WIDTH = 1024
WEIGHTS = 2 * (9 * WIDTH + WIDTH * WIDTH) + 3 * WIDTH + WIDTH
"""Of two trunks with nine inputs (five cells, four of the clock), and heads of three actions and one value."""
CONFIG = TrainingConfig(
    mode="ppo",
    seed=0,
    num_envs=4,
    rollout_ticks=64,
    network=NetworkConfig(hidden_sizes=(WIDTH, WIDTH)),
    ppo=PPOConfig(num_minibatches=2),
)
"""Minibatches of 4 x 64 / 2 = 128 rows for every agent of a world."""


def test_two_threads_from_so_many_products_on() -> None:
    agents = -(-TWO_FROM // (128 * WEIGHTS))
    assert default_threads(CONFIG, SPECS, capacity=agents) == 2
    assert default_threads(CONFIG, SPECS, capacity=agents - 1) == 1


def test_the_rows_are_those_of_one_minibatch() -> None:
    rows = -(-TWO_FROM // WEIGHTS)
    sized = replace(CONFIG, ppo=PPOConfig(minibatch_size=rows), rollout_ticks=rows)
    assert default_threads(sized, SPECS, capacity=1) == 2
    assert default_threads(replace(sized, ppo=PPOConfig(minibatch_size=rows // 2)), SPECS, capacity=1) == 1
    clone = replace(CONFIG, mode="bc", bc=BCConfig(batch_size=rows))
    assert default_threads(clone, SPECS, capacity=1) == 2
    assert default_threads(replace(clone, bc=BCConfig(batch_size=rows - 1)), SPECS, capacity=1000) == 1


def test_neither_machine_nor_process_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    for number in (1, 3):
        torch.set_num_threads(number)
        assert default_threads(TrainingConfig(seed=0), SPECS, capacity=10) == 1
        assert torch.get_num_threads() == number
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("seconds", "cpus", "best"),
    [
        ({1: 1.0, 2: 0.5, 4: 0.3}, 4, 4),
        ({1: 1.0, 2: 0.5, 4: 0.3}, 3, 2),
        ({1: 1.0, 2: 0.95, 4: 0.92}, 4, 1),
        ({1: 1.0, 2: 1.4, 4: 0.8}, 4, 4),
        ({1: 1.0}, 1, 1),
    ],
)
def test_the_fastest_number_is_taken_where_it_gains_a_tenth(
    seconds: dict[int, float], cpus: int, best: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: set[int] = set()

    def timed(matrices: list[torch.Tensor], number: int) -> float:
        rows.add(number)
        assert sum(map(torch.Tensor.numel, matrices)) == WEIGHTS
        return seconds[torch.get_num_threads()]

    monkeypatch.setattr(module, "_seconds_of_products", timed)
    before = torch.get_num_threads()
    assert measured_threads(CONFIG, SPECS, capacity=3, cpus=cpus) == best
    assert torch.get_num_threads() == before and rows == {384}


def test_a_real_measurement_ends_with_a_number_that_was_tried() -> None:
    small = replace(CONFIG, network=NetworkConfig(hidden_sizes=(16,)))
    assert measured_threads(small, SPECS, capacity=1, cpus=2) in (1, 2)
