"""The student of a distillation: labels it keeps, states it chooses, and fits that follow from labels and seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from corridor import RIGHT, WAIT, CorridorCollector, agents, network
from teaching import ClockTeacher

from townlet_training.config import ONE_GROUP
from townlet_training.distil.agreement import decision_rows
from townlet_training.distil.config import DistilConfig
from townlet_training.distil.student import Student, labelled
from townlet_training.errors import EmptyBatchError
from townlet_training.learning.config import BCConfig, LabelFilter
from townlet_training.learning.labels import labels
from townlet_training.network.weights import weights_sha256
from townlet_trajectory import TrajectoryBatch

CONFIG = DistilConfig(labels_per_round=8, most_per_episode=0.25, num_steps=60)
BC = BCConfig(learning_rate=1e-2, num_epochs=2, batch_size=8)


def met(seed: int = 1, num_ticks: int = 30) -> TrajectoryBatch:
    return CorridorCollector(4, seed=seed).collect(None, num_ticks=num_ticks, ratio=0.0).batches[ONE_GROUP]


def student(config: DistilConfig = CONFIG, seed: int = 3) -> Student:
    net = network(seed=0)
    net.fit_normalizer(met())
    return Student(net, config, BC, seed=seed)


def test_answers_become_labels_and_nothing_else_is_kept() -> None:
    batch = met()
    demonstrated = replace(batch, columns={**batch.columns, "demonstrated": np.ones(batch.num_steps, np.bool_)})
    rows = np.array([2, 3, 7, 40])
    kept = labelled(demonstrated, rows, np.array([RIGHT, -1, WAIT, RIGHT]))
    found = labels(kept)
    assert kept.num_steps == 3 and found.rows.tolist() == [0, 1, 2] and found.actions.tolist() == [RIGHT, WAIT, RIGHT]
    assert labels(kept, only=LabelFilter(proposers=("teacher",))).rows.tolist() == [0, 1, 2]
    assert kept.schema.proposers == ("teacher",) and not kept.columns["demonstrated"].any()
    assert np.array_equal(kept.observations["cell"], batch.observations["cell"][[2, 7, 40]])
    assert kept.ticks.tolist() == batch.ticks[[2, 7, 40]].tolist()


def test_a_round_asks_about_different_states_and_never_again_about_the_same() -> None:
    batch, pupil = met(), student()
    rows = decision_rows(batch)
    first = pupil.chosen(batch, rows, number=1)
    assert len(first) == len({*map(tuple, seen(batch, first))}) == 8
    pupil.labels.append(labelled(batch, first, np.full(len(first), RIGHT)))
    pupil.fit(number=1)
    second = pupil.chosen(batch, rows, number=2)
    assert not {*map(tuple, seen(batch, first))} & {*map(tuple, seen(batch, second))}


def seen(batch: TrajectoryBatch, rows: np.ndarray) -> list[list[float]]:  # type: ignore[type-arg]
    """What is seen at some rows."""
    shown = np.concatenate([batch.observations[name][rows] for name in ("cell", "clock")], axis=1)
    return [*map(list, shown.tolist())]


def test_uniform_questions_are_drawn_from_all_decisions() -> None:
    batch, pupil = met(), student(replace(CONFIG, strategy="uniform"))
    rows = decision_rows(batch)
    drawn = [pupil.chosen(batch, rows, number=number) for number in range(1, 60)]
    assert all(len(set(each.tolist())) == 8 for each in drawn)
    # Of 59 rounds of 8 out of 120 rows nearly all are drawn: (1 - 8/120)^59 = 1.7 % are left out.
    assert len(np.unique(np.concatenate(drawn))) > 0.9 * len(rows)


def test_the_unsure_and_the_differing_states_are_asked_about() -> None:
    batch = met(num_ticks=48)
    rows = decision_rows(batch)
    sharp = replace(CONFIG, sharpness=1e6, most_per_episode=1.0, grain=0.01)
    pupil = student(replace(sharp, strategy="disagree"))
    # It has learned to go right whatever the clock says; the script waits on every other tick.
    pupil.labels.append(labelled(batch, rows, np.full(len(rows), RIGHT)))
    pupil.fit(number=1)
    pupil.labels.clear()
    asked = pupil.chosen(batch, rows, number=2)
    assert (batch.columns["expert_action"][asked] == WAIT).all() and len(asked) == 8
    unsure = student(sharp)
    unsure.labels.append(
        labelled(batch, rows, np.where(batch.observations["cell"][rows].argmax(axis=1) == 0, -1, RIGHT))
    )
    unsure.fit(number=1)
    unsure.labels.clear()
    assert (batch.observations["cell"][unsure.chosen(batch, rows, number=2)[:4]].argmax(axis=1) == 0).any()


def test_weights_follow_from_labels_and_seed_alone() -> None:
    batch = met()
    rows = decision_rows(batch)
    given = labelled(batch, rows, ClockTeacher().label(batch, rows).actions)
    one, two = student(), student()
    one.labels.append(given)
    result = one.fit(number=2)
    assert result.num_labels == len(rows) and len(result.epochs) == max(2, -(-60 // -(-len(rows) // 8)))
    # Another round in between leaves no trace.
    two.labels.append(labelled(batch, rows[:9], np.full(9, WAIT)))
    two.fit(number=1)
    two.labels[:] = [given]
    two.fit(number=2)
    assert weights_sha256(one.network) == weights_sha256(two.network)
    two.fit(number=3)
    assert weights_sha256(one.network) != weights_sha256(two.network)
    assert result.accuracy == 1.0


def test_without_an_answer_there_is_nothing_to_learn() -> None:
    batch, pupil = met(), student()
    pupil.labels.append(labelled(batch, np.array([0, 1]), np.array([-1, -1])))
    with pytest.raises(EmptyBatchError, match="the teacher gave no legal answer"):
        pupil.fit(number=1)


def test_the_student_that_plays_is_the_one_that_was_fitted() -> None:
    batch, pupil = met(), student()
    rows = decision_rows(batch)
    pupil.labels.append(labelled(batch, rows, np.full(len(rows), WAIT)))
    pupil.fit(number=1)
    played = CorridorCollector(2, seed=5).collect(agents(pupil.network), num_ticks=20, ratio=1.0).batches[ONE_GROUP]
    assert (played.columns["action"] == WAIT).mean() >= 0.9
