"""Rows of a batch as a network takes them: what is checked of columns, actions and masks."""

from __future__ import annotations

import numpy as np
import pytest
from acting import acted_kind
from kinds import KINDS, network_of
from strategies import batch_of

from townlet_training.errors import ActionMaskError, ShapeError
from townlet_training.learning.rows import (
    encode_rows,
    is_given,
    is_proposed,
    legal_at,
    mask_rows,
    require_actions,
    require_columns,
    require_same_actions,
    side_by_side,
)


def test_an_index_is_given_unless_it_is_minus_one() -> None:
    assert is_given(np.array([0, -1, 2])).tolist() == [True, False, True]
    assert is_given(np.array([[0, 1], [-1, -1], [-1, 0]])).tolist() == [True, False, True]
    assert is_given(np.empty((0, 2), np.int64)).tolist() == is_given(np.empty(0, np.int64)).tolist() == []


def test_one_choice_has_one_part() -> None:
    assert side_by_side(np.array([3, 4])).tolist() == [[3], [4]]
    assert side_by_side(np.array([[3, 4]])).tolist() == [[3, 4]]


def test_proposals_of_numbers_are_those_with_a_proposer() -> None:
    numbers = acted_kind(network_of("clipped"), "clipped", lengths=(5,))
    assert is_proposed(numbers).tolist() == [True, True, True, False, True]
    parts = acted_kind(network_of("parts"), "parts", lengths=(5,))
    assert is_proposed(parts).tolist() == [True, True, True, False, True]


def test_a_mask_allows_a_whole_where_it_allows_every_part() -> None:
    parts = acted_kind(network_of("parts"), "parts", lengths=(2,)).schema
    mask = np.array([[True, False, True, True, False], [True, True, True, False, True]])
    assert legal_at(parts, mask, np.array([[2, 0], [2, 1]])).tolist() == [True, True]
    assert legal_at(parts, mask, np.array([[1, 0], [2, 0]])).tolist() == [False, False]
    plain = batch_of(lengths=[2], rewards=[0, 0], terminated=[True], num_actions=3).schema
    assert legal_at(plain, mask[:, :3], np.array([1, 2])).tolist() == [False, True]


@pytest.mark.parametrize(
    ("kind", "actions", "expected"),
    [
        ("plain", [0, 3], r"`it` must be in \[0, 3\), got 3 in row 4 \(agent 'a0', tick 4\)"),
        ("plain", [-1, 0], r"`it` must be in \[0, 3\), got -1 in row 2"),
        ("parts", [[2, 1], [0, 2]], r"`it` must be below \[3, 2\], and at least 0, got \[0 2\] in row 4"),
        ("parts", [[-1, 1], [0, 1]], r"`it` must be below \[3, 2\], and at least 0, got \[-1  1\] in row 2"),
        ("clipped", [[0.0, 9.0], [np.inf, 1.0]], r"`it` must be finite, got \[inf  1.\] in row 4"),
    ],
)
def test_an_action_that_is_none_is_named(kind: str, actions: list[float], expected: str) -> None:
    batch = acted_kind(network_of(kind), kind, lengths=(5,))
    with pytest.raises(ShapeError, match=expected):
        require_actions("it", batch, np.array(actions), np.array([2, 4]))
    # Nothing stands in no row.
    require_actions("it", batch, np.array(actions)[:0], np.empty(0, np.int64))


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_takes_the_rows_that_it_acted_in(kind: str) -> None:
    network = network_of(kind)
    batch = acted_kind(network, kind, lengths=(5, 2))
    require_same_actions(network, batch)
    rows = np.array([6, 0])
    assert encode_rows(network, batch.observations, rows).shape[0] == 2
    mask = mask_rows(network, batch.observations, rows)
    assert (mask is None) == bool(network.distribution.name)
    if mask is not None:
        assert mask.tolist() == batch.observations["action_mask"][rows].tolist()


def test_a_mask_without_a_legal_value_in_a_part_is_refused() -> None:
    network = network_of("parts")
    mask = np.array([[True, True, True, False, False]])
    with pytest.raises(ActionMaskError, match="no legal action in part 1 of row 0"):
        mask_rows(network, {"action_mask": mask}, np.array([0]))


def test_columns_that_are_missing_are_named() -> None:
    batch = batch_of(lengths=[1], rewards=[0], terminated=[True])
    require_columns(batch, "kind", "action")
    with pytest.raises(ShapeError, match=r"a learner needs the columns \['mood'\], the batch has .*; go and look"):
        require_columns(batch, "kind", "mood", otherwise="; go and look")
