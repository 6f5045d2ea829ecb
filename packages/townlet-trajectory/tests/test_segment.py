"""Scalars lie column after column within a tick, aligned, and are read back in the order of the rows."""

import numpy as np
from strategies import SCHEMA

from townlet_trajectory import ArraySpec, TrajectorySchema
from townlet_trajectory.recording.roster import NOBODY
from townlet_trajectory.recording.segment import Segment, scalar_layout_of

MIXED = TrajectorySchema(
    observations={"x": ArraySpec("float32")},
    decisions={
        "flag": ArraySpec("bool"),
        "half": ArraySpec("int16"),
        "logits": ArraySpec("float32", (2,)),
        "number": ArraySpec("int64"),
    },
    vocabulary=(),
)


def test_layout_by_hand() -> None:
    layout = scalar_layout_of(MIXED)
    # Widest first: 8 bytes, 2, 1; the reward at the next multiple of 4; a row ends at a multiple of 8.
    assert layout.columns == {
        "number": (0, np.dtype("int64")),
        "half": (8, np.dtype("int16")),
        "flag": (10, np.dtype("bool")),
    }
    assert (layout.reward, layout.row_bytes) == (12, 16)


def test_the_default_columns_waste_little() -> None:
    layout = scalar_layout_of(SCHEMA)
    used = sum(spec.row_bytes for spec in SCHEMA.decisions.values()) + 4
    assert (layout.row_bytes, used) == (88, 83)


def test_scalars_are_column_after_column_within_a_tick() -> None:
    layout = scalar_layout_of(MIXED)
    segment = Segment(MIXED, layout, 5)
    assert segment.tensors["x"].shape == (5,)
    assert segment.tensors["logits"].shape == (5, 2)
    assert segment.kept().column("number").tolist() == segment.kept().rewards().tolist() == []
    for first, size in ((0, 2), (2, 3)):
        values = np.arange(first, first + size)
        block = values.astype(np.int64).tobytes() + values.astype(np.int16).tobytes() + (values % 2 == 1).tobytes()
        segment.scalars[16 * first : 16 * first + len(block)] = block
        at = 16 * first + 12 * size
        segment.scalars[at : at + 4 * size] = values.astype(np.float32).tobytes()
        segment.ticks.append((7, size, first, NOBODY))
    for kept in (slice(0, 5), slice(2, 5)):
        expected = np.arange(5)[kept].tolist()
        rows = segment.kept()
        assert rows.column("number").tolist() == rows.column("half").tolist() == expected
        assert rows.column("flag").tolist() == [value % 2 == 1 for value in expected]
        assert rows.rewards().tolist() == expected
        assert len(rows.column("x")) == len(expected)
        segment.ticks.popleft()
