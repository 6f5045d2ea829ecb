"""Which rows of a batch are labels."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from acting import acted_kind
from kinds import NUMBERS, PARTS, network_of
from strategies import DECISION, FORCED, FOREIGN, batch_of, replaced

from townlet_training.errors import ConfigError, ShapeError
from townlet_training.learning.config import LabelFilter, LabelKind, LabelSource
from townlet_training.learning.labels import class_counts, class_sizes, labels
from townlet_trajectory import Kind, Source, TrajectoryBatch


def test_which_rows_are_labels_by_hand() -> None:
    mask = np.ones((8, 3), np.bool_)
    mask[4, 2] = mask[6, 1] = False
    batch = batch_of(
        lengths=[8],
        rewards=np.zeros(8),
        terminated=[True],
        num_actions=3,
        observations={"features": np.zeros((8, 1), np.float32), "action_mask": mask},
        #     decision, forced, foreign, no proposal, forbidden, demonstrated, demonstrated but forbidden, vetoed
        kind=[DECISION, FORCED, FOREIGN, DECISION, DECISION, FOREIGN, FOREIGN, DECISION],
        expert_action=[1, 1, 2, -1, 2, 0, 0, 2],
        demonstrated=[False, False, False, False, False, True, True, False],
        action=[0, 1, 0, 0, 0, 1, 1, 0],
        vetoed=[False, False, False, False, False, False, False, True],
    )
    rows, actions, num_forbidden = labels(batch)
    assert rows.tolist() == [0, 2, 5, 7]
    assert actions.tolist() == [1, 2, 1, 2]
    assert num_forbidden == 2


PROPOSERS = ("script", "mind")
ROWS = list(itertools.product(Kind, Source, (-1, 0, 1), (False, True)))
"""Every combination of kind, source, proposer and demonstrated: [R]."""


def every_row() -> TrajectoryBatch:
    """In each row action 0 was carried out, and action 1 proposed, if anything was."""
    batch = batch_of(
        lengths=[len(ROWS)],
        rewards=np.zeros(len(ROWS)),
        terminated=[True],
        kind=[row[0] for row in ROWS],
        source=[row[1] for row in ROWS],
        proposer=[row[2] for row in ROWS],
        expert_action=[-1 if row[2] < 0 else 1 for row in ROWS],
        demonstrated=[row[3] for row in ROWS],
    )
    return dataclasses.replace(batch, schema=dataclasses.replace(batch.schema, proposers=PROPOSERS))


def label_by_hand(row: tuple[Kind, Source, int, bool], which: LabelKind, only: LabelFilter) -> int | None:
    """The label of one row, word for word as the filters are described."""
    kind, source, proposer, demonstrated = row
    if only.sources is not None and source.name.lower() not in only.sources:
        return None
    if only.demonstrated is not None and demonstrated != only.demonstrated:
        return None
    named = only.proposers is None or (proposer >= 0 and PROPOSERS[proposer] in only.proposers)
    if which == "executed":
        return 0 if named or source != Source.SCRIPTED else None
    if demonstrated:
        return 0
    return 1 if named and proposer >= 0 and kind != Kind.FORCED else None


@pytest.mark.parametrize("which", ["proposed", "executed"])
@pytest.mark.parametrize("sources", [None, ("scripted",), ("learned", "external")])
@pytest.mark.parametrize("proposers", [None, ("mind",), ("mind", "script"), ("mind", "somebody else")])
@pytest.mark.parametrize("demonstrated", [None, True, False])
def test_filters_give_the_labels_of_every_combination(
    which: LabelKind,
    sources: tuple[LabelSource, ...] | None,
    proposers: tuple[str, ...] | None,
    demonstrated: bool | None,
) -> None:
    only = LabelFilter(sources=sources, proposers=proposers, demonstrated=demonstrated)
    found = labels(every_row(), which=which, only=only)
    expected = [label_by_hand(row, which, only) for row in ROWS]
    assert found.rows.tolist() == [row for row, label in enumerate(expected) if label is not None]
    assert found.actions.tolist() == [label for label in expected if label is not None]


def test_a_mind_is_learned_from_without_its_fallback_and_demonstrations_stay() -> None:
    batch = batch_of(
        lengths=[5],
        rewards=np.zeros(5),
        terminated=[True],
        num_actions=3,
        #        fallback, mind, demonstrated, nothing proposed, forced with the mind's proposal
        kind=[DECISION, DECISION, FOREIGN, DECISION, FORCED],
        proposer=[0, 1, 0, -1, 1],
        expert_action=[1, 2, 1, -1, 2],
        demonstrated=[False, False, True, False, False],
        action=[0, 0, 0, 0, 0],
    )
    batch = dataclasses.replace(batch, schema=dataclasses.replace(batch.schema, proposers=("fallback", "mind")))
    assert [part.tolist() for part in labels(batch)[:2]] == [[0, 1, 2], [1, 2, 0]]
    mind = LabelFilter(proposers=("mind",))
    assert [part.tolist() for part in labels(batch, only=mind)[:2]] == [[1, 2], [2, 0]]
    alone = LabelFilter(proposers=("mind",), demonstrated=False)
    assert [part.tolist() for part in labels(batch, only=alone)[:2]] == [[1], [2]]


def test_a_discarded_episode_teaches_nothing_unless_it_is_asked_for() -> None:
    batch = batch_of(lengths=[2, 1, 1, 2], rewards=np.zeros(6), terminated=[True] * 4, expert_action=np.ones(6))
    said = dataclasses.replace(batch, episode_labels=np.array([0, 3, 1, 2], np.int8))
    assert labels(batch).rows.tolist() == [0, 1, 2, 3, 4, 5]
    assert labels(said).rows.tolist() == [0, 1, 3, 4, 5]
    assert labels(said, only=LabelFilter(episode_labels=("success", "discard"))).rows.tolist() == [2, 3]


def test_a_proposer_that_nobody_was_is_an_error() -> None:
    expected = r"`proposers` must be among those of the record, script, mind, got \('minde',\)"
    with pytest.raises(ConfigError, match=expected):
        labels(every_row(), only=LabelFilter(proposers=("minde",)))
    without = batch_of(lengths=[1], rewards=[0], terminated=[True])
    with pytest.raises(ConfigError, match="those of the record, none"):
        labels(without, only=LabelFilter(proposers=("mind",)))


def test_without_a_mask_nothing_is_forbidden() -> None:
    batch = batch_of(lengths=[2], rewards=[0, 0], terminated=[True], expert_action=[1, -1])
    assert [part.tolist() for part in labels(batch)[:2]] == [[0], [1]] and labels(batch).num_forbidden == 0


def test_executed_actions_are_labels_of_every_row() -> None:
    mask = np.ones((3, 3), np.bool_)
    mask[1, 2] = False
    batch = batch_of(
        lengths=[3],
        rewards=np.zeros(3),
        terminated=[True],
        num_actions=3,
        observations={"features": np.zeros((3, 1), np.float32), "action_mask": mask},
        kind=[DECISION, FORCED, FOREIGN],
        expert_action=[1, 1, -1],
        action=[0, 2, 1],
    )
    assert [part.tolist() for part in labels(batch, which="executed")[:2]] == [[0, 2], [0, 1]]
    assert labels(batch, which="executed").num_forbidden == 1
    assert labels(batch, which="executed", use_masks=False).actions.tolist() == [0, 2, 1]
    assert labels(batch, use_masks=False).rows.tolist() == [0]


def test_labels_of_parts_are_whole_and_legal_in_every_part() -> None:
    # Sizes 3 and 2: of the mask's five columns the last two are those of the second part.
    batch = acted_kind(network_of("parts"), "parts", lengths=(5,))
    mask = np.ones((5, 5), np.bool_)
    mask[1, 2] = mask[2, 3] = False
    batch = dataclasses.replace(batch, observations={**batch.observations, "action_mask": mask})
    expert = [[2, 1], [2, 0], [1, 0], [-1, -1], [0, 1]]
    everywhere = np.full(5, True)
    given = replaced(batch, everywhere, expert_action=expert, demonstrated=[False] * 4 + [True], action=[[1, 1]] * 5)
    rows, actions, num_forbidden = labels(given)
    assert rows.tolist() == [0, 4] and actions.tolist() == [[2, 1], [1, 1]] and num_forbidden == 2
    assert labels(given, use_masks=False).rows.tolist() == [0, 1, 2, 4]
    assert labels(given, which="executed").actions.tolist() == [[1, 1]] * 5
    assert class_sizes(batch.schema) == PARTS.sizes == (3, 2)
    assert class_counts(batch.schema, np.array([[2, 1], [1, 1]])).tolist() == [0, 1, 1, 0, 2]
    with pytest.raises(ShapeError, match=r"`label` must be below \[3, 2\], and at least 0, got \[0 2\] in row 4"):
        labels(replaced(given, everywhere, action=[[0, 2]] * 5))
    with pytest.raises(ShapeError, match=r"`label` must be below \[3, 2\], and at least 0, got \[-1  1\] in row 0"):
        labels(replaced(given, everywhere, expert_action=[[-1, 1]] * 5))


def test_labels_of_numbers_are_known_by_their_proposer() -> None:
    batch = acted_kind(network_of("clipped"), "clipped", lengths=(4,))
    everywhere = np.full(4, True)
    expert = np.array([[0.5, 1.0], [0.0, 0.0], [0.0, 0.0], [-1.0, 2.0]], np.float32)
    given = replaced(
        batch,
        everywhere,
        expert_action=expert,
        proposer=[0, -1, 0, 0],
        kind=[DECISION, DECISION, FOREIGN, FORCED],
        action=np.ones((4, 2)),
    )
    rows, actions, num_forbidden = labels(given)
    assert rows.tolist() == [0, 2] and actions.tolist() == [[0.5, 1.0], [0.0, 0.0]] and num_forbidden == 0
    assert labels(given, which="executed").rows.tolist() == [0, 1, 2, 3]
    demonstrated = replaced(given, everywhere, demonstrated=[False, True, False, False])
    assert labels(demonstrated).actions.tolist() == [[0.5, 1.0], [1.0, 1.0], [0.0, 0.0]]
    assert class_sizes(batch.schema) == () and class_counts(batch.schema, actions).tolist() == []
    assert batch.schema.actions == NUMBERS
    with pytest.raises(ShapeError, match=r"`label` must be finite, got \[nan nan\] in row 0"):
        labels(replaced(given, everywhere, expert_action=np.nan))
    anonymous = dataclasses.replace(
        batch,
        schema=dataclasses.replace(
            batch.schema, decisions={name: spec for name, spec in batch.schema.decisions.items() if name != "proposer"}
        ),
        columns={name: column for name, column in batch.columns.items() if name != "proposer"},
    )
    with pytest.raises(ShapeError, match=r"a learner needs the columns \['proposer'\]"):
        labels(anonymous)
