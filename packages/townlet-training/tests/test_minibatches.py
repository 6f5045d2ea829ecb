"""How rows, decisions and fragments are dealt out to minibatches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from acting import acted_kind
from kinds import network_of
from strategies import FOREIGN, KINDS, LENGTHS, acted_batch, make_network, replaced, spread_out

from townlet_training.learning.batch import LearnerBatch, prepare
from townlet_training.learning.minibatches import Minibatch, minibatches


def passes_of(batch: LearnerBatch, num_minibatches: int) -> list[list[Minibatch]]:
    """Three passes, of `num_minibatches` parts each."""
    generator = torch.Generator().manual_seed(0)
    parts = list(minibatches(batch, num_minibatches=num_minibatches, num_epochs=3, generator=generator))
    assert len(parts) == 3 * num_minibatches
    return [parts[first : first + num_minibatches] for first in range(0, len(parts), num_minibatches)]


@pytest.mark.parametrize("num_minibatches", [1, 3, 7])
def test_every_pass_sees_every_row_and_decision_once_and_in_an_order_of_its_own(num_minibatches: int) -> None:
    network = spread_out(make_network())
    acted = acted_batch(network, lengths=LENGTHS, kind=KINDS, ratio=0.5)
    batch = prepare(network, acted, discount=0.9, gae_lambda=0.9, min_ratio=0.1)
    passes = passes_of(batch, num_minibatches)
    orders = [torch.cat([part.rows for part in each]) for each in passes]
    decisions = [torch.cat([part.policy.position for part in each]) for each in passes]
    for order, decided in zip(orders, decisions, strict=True):
        assert order.sort().values.tolist() == list(range(len(batch.inputs)))
        assert decided.tolist() == [row for row in order.tolist() if row in batch.policy.position.tolist()]
    assert len({tuple(order.tolist()) for order in orders}) == 3
    # Columns stay beside each other.
    for part in (part for each in passes for part in each):
        where = torch.searchsorted(batch.policy.position, part.policy.position)
        assert torch.equal(part.policy.advantages, batch.policy.advantages[where])
        assert torch.equal(part.policy.actions, batch.policy.actions[where])
        assert part.num_valued == len(part.rows)


@pytest.mark.parametrize("kind", ["shared", "gru", "frames", "seeing"])
@pytest.mark.parametrize("num_minibatches", [1, 3])
def test_critic_and_policy_learn_from_the_same_rows_where_a_body_comes_first(kind: str, num_minibatches: int) -> None:
    network = network_of(kind)
    acted = acted_kind(network, kind, lengths=LENGTHS, foreign=0.4)
    batch = prepare(network, acted, discount=0.9, gae_lambda=0.9, min_ratio=0.1, sequence_length=3)
    valued = np.flatnonzero(acted.columns["kind"] != FOREIGN)
    remembers = batch.fragments is not None
    assert len(batch.inputs) == (acted.num_steps if remembers else len(valued))
    orders = set()
    for each in passes_of(batch, num_minibatches):
        seen, decided = [], []
        for part in each:
            learned = part.rows if part.valued is None else part.rows[part.valued]
            seen += learned.tolist()
            decided += part.policy.position.tolist()
            assert part.places is not None and part.rows[part.places].tolist() == part.policy.position.tolist()
            assert part.num_valued == len(learned) > 0
            if remembers:
                assert part.fragments is not None and int(part.fragments.offsets[-1]) == len(part.rows)
        expected = valued.tolist() if remembers else list(range(len(valued)))
        assert sorted(seen) == expected and sorted(decided) == batch.policy.position.tolist()
        orders.add(tuple(seen))
    assert len(orders) == 3


def test_a_fragment_of_foreign_rows_alone_is_not_dealt_out() -> None:
    network = network_of("gru")
    acted = acted_kind(network, "gru", lengths=(4, 4, 4))
    foreign = np.repeat([False, True, False], 4)
    batch = prepare(
        network, replaced(acted, foreign, kind=FOREIGN), discount=0.9, gae_lambda=0.9, min_ratio=0.1, sequence_length=2
    )
    assert batch.units.tolist() == [0, 1, 4, 5]
    for each in passes_of(batch, 4):
        assert sorted(row for part in each for row in part.rows.tolist()) == [0, 1, 2, 3, 8, 9, 10, 11]
