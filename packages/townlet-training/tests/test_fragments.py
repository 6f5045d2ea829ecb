"""Fragments of trajectories: cut, picked, stepped through, and evaluated in parts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from acting import acted_kind, without_memory_of_others
from hypothesis import given
from hypothesis import strategies as st
from kinds import network_of

from townlet_training.errors import ShapeError
from townlet_training.learning import fragments as module
from townlet_training.learning.fragments import (
    cut,
    features_of,
    first_states,
    picked,
    recorded_fragments,
    stepped_fragments,
)
from townlet_training.learning.rows import encode_rows
from townlet_training.network.memory import Fragments

LENGTHS = (7, 1, 12, 5)


def test_trajectories_are_cut_from_the_front() -> None:
    offsets = np.array([0, 7, 8, 12])
    assert cut(offsets, 3).tolist() == [0, 3, 6, 7, 8, 11, 12]
    assert cut(offsets, 7).tolist() == cut(offsets, None).tolist() == [0, 7, 8, 12]
    assert cut(np.array([0]), 3).tolist() == [0]


lengths = st.lists(st.integers(1, 12), min_size=1, max_size=6)


@given(lengths, st.integers(1, 14))
def test_no_fragment_is_longer_or_crosses_an_end_and_none_could_be_longer(sizes: list[int], longest: int) -> None:
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    found = cut(offsets, longest)
    assert set(offsets) <= set(found) and (np.diff(found) >= 1).all() and np.diff(found).max() <= longest
    for first, last in pairwise(found):
        assert last - first == longest or last in offsets


@given(lengths, st.data())
def test_picked_rows_are_those_of_the_fragments_in_their_order(sizes: list[int], data: st.DataObject) -> None:
    offsets = torch.tensor([0, *np.cumsum(sizes)])
    index = data.draw(st.lists(st.integers(0, len(sizes) - 1), max_size=8))
    rows, within = picked(offsets, torch.tensor(index, dtype=torch.int64))
    expected = [list(range(int(offsets[one]), int(offsets[one + 1]))) for one in index]
    assert rows.tolist() == [row for each in expected for row in each]
    assert within.tolist() == [0, *np.cumsum([len(each) for each in expected]).tolist()]


@pytest.mark.parametrize("kind", ["gru", "frames", "seeing_central_gru"])
@pytest.mark.parametrize("length", [1, 3, None])
def test_a_memory_steps_to_where_it_was_when_it_acted(kind: str, length: int | None) -> None:
    network = network_of(kind)
    batch = acted_kind(network, kind, lengths=LENGTHS)
    encoded = encode_rows(network, batch.observations, np.arange(batch.num_steps))
    recorded = recorded_fragments(network, batch, longest=length)
    stepped = stepped_fragments(network, encoded, batch.offsets, first_states(network, batch), longest=length)
    assert recorded is not None and recorded.offsets.tolist() == stepped.offsets.tolist()
    assert torch.allclose(recorded.states, stepped.states, rtol=1e-5, atol=1e-5)
    assert bool(stepped.states.any())


def test_a_memory_that_nobody_recorded_begins_with_zeros() -> None:
    network = network_of("gru")
    batch = acted_kind(network, "gru", lengths=LENGTHS)
    assert first_states(network, batch).tolist() == batch.columns["policy_state"][batch.offsets[:-1]].tolist()
    forgotten = first_states(network, without_memory_of_others(batch))
    assert forgotten.shape == (4, network.state_size) and not bool(forgotten.any())
    # That of another network is not this one's.
    assert not bool(first_states(network_of("frames"), batch).any())


def test_a_network_without_memory_has_no_fragments() -> None:
    network = network_of("plain")
    assert recorded_fragments(network, acted_kind(network, "plain", lengths=LENGTHS), longest=3) is None


def test_states_that_are_missing_or_of_another_memory_are_refused() -> None:
    network = network_of("gru")
    batch = acted_kind(network, "gru", lengths=LENGTHS)
    with pytest.raises(ShapeError, match=r"a network with memory needs `policy_state` of \(12,\), got None"):
        recorded_fragments(network, without_memory_of_others(batch), longest=None)
    frames = network_of("frames")
    with pytest.raises(ShapeError, match=r"`policy_state` of \(\d+,\), got \(12,\)"):
        recorded_fragments(frames, batch, longest=None)


@pytest.mark.parametrize("kind", ["gru", "frames", "shared", "seeing", "plain"])
def test_rows_evaluated_in_parts_are_those_evaluated_at_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of(kind)
    batch = acted_kind(network, kind, lengths=LENGTHS)
    encoded = encode_rows(network, batch.observations, np.arange(batch.num_steps))
    fragments: Fragments | None = recorded_fragments(network, batch, longest=4)
    whole = features_of(network, encoded, fragments)
    monkeypatch.setattr(module, "CHUNK", 6)
    parts = features_of(network, encoded, fragments)
    assert torch.allclose(whole.policy, parts.policy, atol=1e-6) and torch.allclose(
        whole.critic, parts.critic, atol=1e-6
    )
    assert (whole.states is None) == (parts.states is None) == (fragments is None)
    if whole.states is not None and parts.states is not None:
        assert torch.allclose(whole.states, parts.states, atol=1e-6)
