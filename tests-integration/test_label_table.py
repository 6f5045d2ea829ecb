"""The table of `docs/mathematics.md` about labels says what `labels` gives, for every combination of its columns."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from townlet_training.learning.config import LabelFilter, LabelKind
from townlet_training.learning.labels import labels
from townlet_trajectory import ArraySpec, Kind, Source, TrajectoryBatch, TrajectorySchema, default_decision_columns
from townlet_trajectory.data.schema import EpisodeLabel

PAGE = Path(__file__).resolve().parent.parent / "docs" / "mathematics.md"
HEADER = "| kind | source | proposer | demonstrated |"
VALUES = {
    "kind": tuple(kind.name.lower() for kind in Kind),
    "source": tuple(source.name.lower() for source in Source),
    "proposer": ("none", "fallback", "mind"),
    "demonstrated": ("no", "yes"),
    "episode": tuple(label.name.lower() for label in EpisodeLabel),
}
ASKED: tuple[tuple[LabelKind, LabelFilter], ...] = (
    ("proposed", LabelFilter()),
    ("proposed", LabelFilter(proposers=("mind",))),
    ("proposed", LabelFilter(sources=("learned",))),
    ("proposed", LabelFilter(demonstrated=True)),
    ("proposed", LabelFilter(episode_labels=("success",))),
    ("executed", LabelFilter()),
    ("executed", LabelFilter(proposers=("mind",))),
)
"""The columns behind the combinations, in their order."""
EXECUTED, PROPOSED = 0, 1
SIGNS = {"–": None, "A": EXECUTED, "P": PROPOSED}

Combination = tuple[str, ...]


def table() -> list[list[str]]:
    """The cells of the table, without its header."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith(HEADER))
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines[begin + 2 :])
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def combinations(cells: list[str]) -> list[Combination]:
    """The combinations that a row of the table is about."""
    meant = [VALUES[name] if cell == "any" else cell.split(", ") for name, cell in zip(VALUES, cells, strict=False)]
    assert all(set(values) <= set(VALUES[name]) for name, values in zip(VALUES, meant, strict=True)), cells
    return list(itertools.product(*meant))


def batch_of(rows: list[Combination]) -> TrajectoryBatch:
    """Trajectories of one row, in which action 0 was carried out, and action 1 proposed, if anything was."""
    columns = {name: np.zeros(len(rows), spec.numpy_dtype) for name, spec in default_decision_columns().items()}
    columns["kind"][:] = [VALUES["kind"].index(row[0]) for row in rows]
    columns["source"][:] = [VALUES["source"].index(row[1]) for row in rows]
    columns["proposer"][:] = [VALUES["proposer"].index(row[2]) - 1 for row in rows]
    columns["expert_action"][:] = [-1 if row[2] == "none" else PROPOSED for row in rows]
    columns["demonstrated"][:] = [row[3] == "yes" for row in rows]
    return TrajectoryBatch(
        schema=TrajectorySchema(
            observations={"x": ArraySpec("float32")},
            decisions=default_decision_columns(),
            vocabulary=("executed", "proposed"),
            proposers=("fallback", "mind"),
        ),
        offsets=np.arange(len(rows) + 1),
        observations={"x": np.zeros(len(rows), np.float32)},
        final_observations={"x": np.zeros(len(rows), np.float32)},
        columns=columns,
        rewards=np.zeros(len(rows), np.float32),
        ticks=np.arange(len(rows)),
        terminated=np.ones(len(rows), np.bool_),
        truncated=np.zeros(len(rows), np.bool_),
        agent_ids=np.full(len(rows), "anna", object),
        worlds=np.zeros(len(rows), np.int64),
        episodes=np.arange(len(rows)),
        episode_labels=np.array([VALUES["episode"].index(row[4]) for row in rows], np.int8),
    )


def test_the_table_names_every_combination_once() -> None:
    named = [each for row in table() for each in combinations(row)]
    assert sorted(named) == sorted(itertools.product(*VALUES.values()))


@pytest.mark.parametrize("row", table(), ids=lambda row: "-".join(row[:5]).replace(" ", ""))
def test_a_row_of_the_table(row: list[str]) -> None:
    rows = combinations(row)
    batch = batch_of(rows)
    for sign, (which, only) in zip(row[5:], ASKED, strict=True):
        found = labels(batch, which=which, only=only)
        given = dict(zip(found.rows.tolist(), found.actions.tolist(), strict=True))
        assert [given.get(number) for number in range(len(rows))] == [SIGNS[sign]] * len(rows), (sign, which, only)
