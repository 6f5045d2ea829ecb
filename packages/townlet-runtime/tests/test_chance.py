"""Actions by chance are legal, spread over all that is, and as likely as they are said to be."""

from dataclasses import replace

import numpy as np
import pytest
from boats import NUMBERS, Boats
from boats import Kind as Kinds
from garden import Garden

from townlet_runtime.simulation.chance import random_actions, random_proposals
from townlet_runtime.simulation.interface import AGENTS
from townlet_runtime.simulation.one_group import OneGroup


def test_indices_are_drawn_among_the_legal_ones() -> None:
    garden, generator = Garden(num_worlds=50), np.random.default_rng(1)
    seen = OneGroup(garden).reset(seeds=np.arange(50))[AGENTS]
    drawn = random_actions(garden.spec, seen, generator)
    assert drawn.shape == (100,)
    assert set(drawn.tolist()) == {0, 1}
    mask = np.tile(np.array([[False, True]]), (100, 1))
    proposals = random_proposals(garden.spec, replace(seen, action_mask=mask), generator)
    assert set(proposals.actions.tolist()) == {1}
    assert proposals.log_probs is not None
    np.testing.assert_allclose(np.exp(proposals.log_probs), np.tile([[0.0, 1.0]], (100, 1)))


def test_each_part_is_drawn_among_its_legal_values() -> None:
    boats, generator = Boats("parts", num_worlds=40, masked=True), np.random.default_rng(1)
    seen = OneGroup(boats).reset(seeds=np.arange(40))[AGENTS]
    assert seen.action_mask is not None
    mask = seen.action_mask.copy()
    mask[:, 0] = False
    drawn = random_proposals(boats.spec, replace(seen, action_mask=mask), generator)
    rows = np.arange(len(mask))
    assert mask[rows, drawn.actions[:, 0]].all()
    assert mask[rows, 3 + drawn.actions[:, 1]].all()
    assert {tuple(one) for one in drawn.actions.tolist()} == {(1, 0), (1, 1), (2, 0), (2, 1)}
    assert drawn.log_probs is not None
    east, north = np.exp(drawn.log_probs[:, :3]), np.exp(drawn.log_probs[:, 3:])
    np.testing.assert_allclose(east, mask[:, :3] / mask[:, :3].sum(axis=1, keepdims=True), rtol=1e-6)
    np.testing.assert_allclose(north, mask[:, 3:] / mask[:, 3:].sum(axis=1, keepdims=True), rtol=1e-6)


def test_numbers_are_drawn_evenly_within_their_bounds() -> None:
    boats, generator = Boats("numbers", num_worlds=400), np.random.default_rng(1)
    seen = OneGroup(boats).reset(seeds=np.arange(400))[AGENTS]
    drawn = random_proposals(boats.spec, seen, generator)
    low, high = NUMBERS.bounds
    assert drawn.actions.dtype == np.float32
    assert ((drawn.actions >= low) & (drawn.actions <= high)).all()
    shares = np.sort((drawn.actions - low) / (high - low), axis=0)
    even = (np.arange(len(shares)) + 0.5) / len(shares)
    assert np.abs(shares - even[:, None]).max() < 1.95 / np.sqrt(len(shares))
    assert drawn.drawn_log_probs is not None
    np.testing.assert_allclose(drawn.drawn_log_probs, -np.log(1.0 * 0.75), rtol=1e-6)


@pytest.mark.parametrize("kind", ["numbers", "parts"])
def test_the_same_generator_draws_the_same(kind: Kinds) -> None:
    boats = Boats(kind)
    seen = OneGroup(boats).reset(seeds=np.arange(2))[AGENTS]
    one, other = (random_actions(boats.spec, seen, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(one, other)
