"""Two processes that learn together, for as long as these tests take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest
from kinds import SMALL, network_of
from ranked import CONFIG, acted, distance, learned, learner_of, ranks_of
from strategies import weights_of

from townlet_training.errors import NonFiniteError
from townlet_training.learning.ranks.processes import Ranks


@pytest.fixture(scope="module")
def pair() -> Iterator[Ranks]:
    with closing(ranks_of(SMALL)) as ranks:
        yield ranks


@pytest.mark.parametrize("kind", ["plain", "parts", "clipped", "central", "seeing"])
def test_two_ranks_learn_what_one_learns_and_twice_the_same(kind: str, pair: Ranks) -> None:
    alone, together, again = learned(kind, None), learned(kind, pair), learned(kind, pair)
    # Moments are divided by their own size, so that rounding may move a weight by a share of a step.
    assert distance(alone, together) < 1e-4 < distance(alone, network_of(kind))
    assert weights_of(together) == weights_of(again)


def test_an_update_stops_early_at_every_rank(pair: Ranks) -> None:
    for ranks in (None, pair):
        network, batch = acted("plain")
        config = replace(CONFIG, learning_rate=0.05, target_kl=0.001)
        learner = learner_of(network, ranks, config)
        update = learner.update(batch)
        assert update.stopped_early and 0 < update.num_updates < 6
    assert weights_of(learned("plain", pair)) == weights_of(learned("plain", pair))  # and they all go on


def test_a_number_that_is_not_finite_stops_all_ranks_and_leaves_them_ready(pair: Ranks) -> None:
    network, batch = acted("plain")
    learner = learner_of(network, pair)
    before = weights_of(network)
    with pytest.raises(NonFiniteError, match="loss"):
        learner.update(batch, kickstart_coef=1e300)
    assert weights_of(network) == before
    assert learner.update(batch).num_updates == 6
