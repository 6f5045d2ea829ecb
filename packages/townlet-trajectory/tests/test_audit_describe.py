"""A dataset at a glance: figures by hand, and a text that fits a terminal."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import NUMBERS, PARTS, any_batches, array_batch, array_schema, make_trajectory

from townlet_trajectory import ArraySpec, EpisodeLabel, Kind, Source, Trajectory, TrajectoryBatch, TrajectorySchema
from townlet_trajectory.audit.describe import WIDTH, bar_lines, describe_dataset, histogram, text_of
from townlet_trajectory.dataset.info import DatasetInfo
from townlet_trajectory.dataset.labelled import Relabelled
from townlet_trajectory.dataset.source import BatchSource
from townlet_trajectory.errors import DatasetError

SCHEMA = TrajectorySchema(
    observations={"features": ArraySpec("float32", (2,)), "clock": ArraySpec("int64")},
    decisions={
        "action": ArraySpec("int64"),
        "kind": ArraySpec("int8"),
        "source": ArraySpec("int8"),
        "vetoed": ArraySpec("bool"),
        "value": ArraySpec("float32"),
    },
    vocabulary=("wait", "eat", "chat"),
)


def trajectory(actions: list[int], **identity: object) -> Trajectory:
    steps = len(actions)
    plain = make_trajectory(0, steps, **identity)
    return replace(
        plain,
        schema=SCHEMA,
        observations={
            "features": np.zeros((steps + 1, 2), np.float32),
            "clock": np.arange(steps + 1),
        },
        columns={
            "action": np.array(actions),
            "kind": np.full(steps, Kind.DECISION, np.int8),
            "source": np.array([Source.LEARNED if action else Source.SCRIPTED for action in actions], np.int8),
            "vetoed": np.arange(steps) == 0,
            "value": np.full(steps, np.nan, np.float32),
        },
        rewards=np.full(steps, 0.5, np.float32),
    )


@pytest.fixture
def source() -> BatchSource:
    """Alice, 6 steps in two pieces, and bob, 2 steps, in another world."""
    alice, bob = trajectory([0, 1, 0, 0, 0, 0], terminated=True), trajectory([1, 0], agent_id="bob", world=3)
    return BatchSource(TrajectoryBatch.from_trajectories([alice[0:4], bob, alice[4:6]]), rows_per_block=4)


def test_the_document_by_hand(source: BatchSource) -> None:
    document = describe_dataset(source, name="town").document()
    assert document == json.loads(json.dumps(document, allow_nan=False))
    quantiles = {"min": 2.0, "p10": 2.0, "median": 2.0, "p90": 6.0, "max": 6.0, "mean": 4.0}
    assert document == {
        "name": "town",
        "info": None,
        "num_trajectories": 2,
        "num_pieces": 3,
        "num_steps": 8,
        "num_agents": 2,
        "num_worlds": 2,
        "num_episodes": 2,
        "num_blocks": 2,
        "ends": {"terminated": 1, "truncated": 0, "go on": 1},
        "labels": {"none": 2, "success": 0, "failure": 0, "discard": 0},
        "lengths": quantiles,
        "returns": {name: value / 2 for name, value in quantiles.items()},
        "rewards": {"count": 8, "mean": 0.5, "std": 0.0, "min": 0.5, "max": 0.5},
        "actions": {"wait": 6, "eat": 2},
        "unused_actions": ["chat"],
        "sources": {"scripted": 6, "learned": 2},
        "kinds": {"decision": 8},
        "flags": {"vetoed": 2},
        "columns": {"value": None},
        "observations": {
            "features": {"dtype": "float32", "shape": [2]},
            "clock": {"dtype": "int64", "shape": []},
        },
    }


def test_the_text_by_hand(source: BatchSource) -> None:
    description = describe_dataset(source, name="town")
    info = DatasetInfo(tags=("idle", "late"), seeds={"town": 7}, policies={"new": "ab" * 32})
    assert text_of(replace(description, info=info)).splitlines() == [
        "town",
        "  2 trajectories in 3 pieces, 8 steps, 2 agents, 2 episodes of 2 worlds, 2",
        "  blocks",
        "  ends: 1 terminated, 1 go on",
        "  observations: features float32[2], clock int64",
        "  group: agents",
        "  tags: idle, late",
        "  seeds: town 7",
        "  policies: new abababababab",
        "",
        "Steps of a trajectory",
        "  2  ████████████████████████████████   50.0%            1",
        "  3                                      0.0%            0",
        "  4                                      0.0%            0",
        "  5                                      0.0%            0",
        "  6  ████████████████████████████████   50.0%            1",
        "  min 2, p10 2, median 2, p90 6, max 6, mean 4",
        "",
        "Return of a trajectory",
        "  1  ████████████████████████████████   50.0%            1",
        "  2                                      0.0%            0",
        "  3  ████████████████████████████████   50.0%            1",
        "  min 1, p10 1, median 1, p90 3, max 3, mean 2",
        "",
        "Actions (1 of 3 never taken)",
        "  wait  ████████████████████████████████   75.0%            6",
        "  eat   ███████████                        25.0%            2",
        "",
        "Who decided",
        "  scripted  ████████████████████████████████   75.0%            6",
        "  learned   ███████████                        25.0%            2",
        "",
        "What the steps are to a learner",
        "  decision  ████████████████████████████████  100.0%            8",
        "",
        "Steps that are",
        "  vetoed  ████████                           25.0%            2",
        "",
        "Columns         mean   deviation       least    greatest",
        "  reward         0.5           0         0.5         0.5",
    ]


def test_labels_are_those_of_wholes(source: BatchSource) -> None:
    # Three pieces: the first and the last are alice's, and what is said last of her holds.
    labels = np.array([EpisodeLabel.SUCCESS, EpisodeLabel.NONE, EpisodeLabel.DISCARD], np.int8)
    description = describe_dataset(Relabelled(source, labels), name="town")
    assert description.labels == {"none": 1, "success": 0, "failure": 0, "discard": 1}
    assert text_of(description).splitlines()[3:5] == ["  ends: 1 terminated, 1 go on", "  labels: 1 none, 1 discard"]


def test_an_empty_dataset_has_nothing_to_describe() -> None:
    with pytest.raises(DatasetError, match="dataset: there is no trajectory"):
        describe_dataset(BatchSource(TrajectoryBatch.empty(SCHEMA)))


def test_many_actions_are_one_line() -> None:
    vocabulary = tuple(f"go_to:{number}" for number in range(40))
    schema = replace(SCHEMA, vocabulary=vocabulary)
    base = trajectory([0, *range(30)])
    source = BatchSource(TrajectoryBatch.from_trajectories([replace(base, schema=schema)]))
    lines = text_of(describe_dataset(source)).splitlines()
    first = lines.index("Actions (10 of 40 never taken)")
    assert lines[first + 1].startswith("  go_to:0 ")
    assert lines[first + 13].split()[:2] == ["(18", "others)"]
    assert lines[first + 14] == ""


@given(any_batches(), st.integers(1, 9))
def test_anything_can_be_described_however_it_is_cut_into_blocks(batch: TrajectoryBatch, rows: int) -> None:
    if not len(batch):
        return
    description = describe_dataset(BatchSource(batch, rows_per_block=rows))
    json.dumps(description.document(), allow_nan=False)
    assert all(len(line) <= 80 for line in text_of(description).splitlines()[1:])
    whole = describe_dataset(BatchSource(batch))
    assert {**description.document(), "num_blocks": 1}.keys() == whole.document().keys()
    assert (description.actions, description.sources, description.kinds, description.ends) == (
        whole.actions,
        whole.sources,
        whole.kinds,
        whole.ends,
    )
    np.testing.assert_array_equal(description.lengths, whole.lengths)
    np.testing.assert_array_equal(description.returns, whole.returns)


def bins(values: list[float], max_bins: int = 8) -> list[tuple[str, int]]:
    return histogram(np.array(values, np.float64), max_bins=max_bins)


def test_whole_numbers_are_in_whole_bins() -> None:
    assert bins([1, 2, 2, 4]) == [("1", 1), ("2", 2), ("3", 0), ("4", 1)]
    # 57 numbers in 8 bins: 8 in each, and 3 + 8 · 8 - 1 = 66.
    assert bins([3, 25, 29, 30, 59]) == [
        ("3 to 10", 1),
        ("11 to 18", 0),
        ("19 to 26", 1),
        ("27 to 34", 2),
        ("35 to 42", 0),
        ("43 to 50", 0),
        ("51 to 58", 0),
        ("59 to 66", 1),
    ]


def test_other_numbers_are_in_bins_of_equal_width() -> None:
    assert bins([-0.5, 0.0, 0.1, 1.5], max_bins=4) == [
        ("-0.5 to 0", 1),
        ("0 to 0.5", 2),
        ("0.5 to 1", 0),
        ("1 to 1.5", 1),
    ]
    assert bins([1500.5, 9500.5], max_bins=2) == [("1500 to 5500", 1), ("5500 to 9500", 1)]


def test_equal_numbers_are_one_bin() -> None:
    assert bins([7, 7, 7]) == [("7", 3)]
    assert bins([-0.25, -0.25]) == [("-0.25", 2)]
    assert bins([0.1, np.nextafter(0.1, 1.0)]) == [("0.1", 2)]
    assert bins([0.0, -0.0]) == [("0", 2)]


def test_bars_by_hand() -> None:
    lines = bar_lines([("wait", 750), ("eat", 249), ("go", 1)])
    assert lines == [
        "  wait  " + "█" * 32 + "   75.0%          750",
        "  eat   " + "█" * 11 + " " * 21 + "   24.9%          249",
        "  go    " + "▏" + " " * 31 + "    0.1%            1",
    ]


def test_bars_of_a_total() -> None:
    (line,) = bar_lines([("vetoed", 5)], total=10)
    assert line == "  vetoed  " + "█" * 16 + " " * 16 + "   50.0%            5"


def test_nothing_has_no_bar() -> None:
    assert bar_lines([("none", 0)]) == ["  none  " + " " * 32 + "    0.0%            0"]


def test_long_labels_are_cut_and_the_bars_shrink() -> None:
    lines = bar_lines([("a" * 50, 10**9), ("b", 1)])
    assert all(len(line) == WIDTH for line in lines)
    assert lines[0].startswith("  " + "a" * 35 + "…  ██")


@given(
    st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=50) | st.lists(st.integers(-(10**9), 10**9), min_size=1),
    st.integers(2, 12),
)
def test_every_number_is_in_one_of_at_most_as_many_bins(values: list[float], max_bins: int) -> None:
    bars = bins(values, max_bins)
    assert sum(count for _, count in bars) == len(values)
    assert 1 <= len(bars) <= max_bins
    assert bars[0][1] and bars[-1][1]
    assert all(len(line) <= WIDTH for line in bar_lines(bars, right=True))


def test_parts_and_numbers_are_shown() -> None:
    parts = array_batch(array_schema(PARTS), (2, 2), seed=1)
    executed = np.array([[0, 1], [2, 1], [2, 0], [2, 1]])
    description = describe_dataset(BatchSource(replace(parts, columns={**parts.columns, "action": executed})))
    assert description.parts == {"move": {"south": 3, "stay": 1}, "hand": {"closed": 3, "open": 1}}
    document = json.loads(json.dumps(description.document(), allow_nan=False))
    assert document["parts"] == description.parts and "numbers" not in document
    text = text_of(description)
    assert "Part move of the action" in text and "south" in text and "Actions (" not in text
    numbers = array_batch(array_schema(NUMBERS), (2,), seed=1)
    drawn = np.array([[0, 1], [1, 2]], np.float32)
    description = describe_dataset(BatchSource(replace(numbers, columns={**numbers.columns, "action": drawn})))
    assert description.numbers == {
        "steer": {"mean": 0.5, "std": 0.5, "min": 0.0, "max": 1.0},
        "throttle": {"mean": 1.5, "std": 0.5, "min": 1.0, "max": 2.0},
    }
    assert json.loads(json.dumps(description.document()))["numbers"] == description.numbers
    lines = text_of(description).splitlines()
    at = lines.index(next(line for line in lines if line.startswith("Numbers of the action")))
    assert lines[at + 1].split() == ["steer", "0.5", "0.5", "0", "1"]
    assert all(len(line) <= WIDTH for line in lines)
