"""The page `docs/how-to/analyse.md`: its queries say what numpy says of the same trajectories."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest

from townlet_trajectory import Kind, Source, TrajectoryBatch
from townlet_trajectory.data.pieces import joined
from townlet_trajectory.formats.minari.reader import from_minari
from townlet_trajectory.formats.shards.reader import read_shards

PAGE = Path(__file__).resolve().parent.parent / "docs" / "how-to" / "analyse.md"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which the page's code runs."""
    folder = tmp_path_factory.mktemp("analyse")
    with contextlib.chdir(folder):
        yield folder


@pytest.fixture(scope="module")
def page(recorded: Path) -> dict[str, object]:
    """What the page's code leaves behind."""
    names: dict[str, object] = {}
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL))
    exec(compile(code, str(PAGE), "exec"), names)
    assert (recorded / "recorded" / "manifest.json").is_file()
    return names


@pytest.fixture(scope="module")
def batch(page: dict[str, object], recorded: Path) -> TrajectoryBatch:
    assert page
    return read_shards(recorded / "recorded")


def test_who_decided_what(page: dict[str, object], batch: TrajectoryBatch) -> None:
    table = page["who_decided_what"]
    assert isinstance(table, pl.DataFrame)
    decided = zip(batch.columns["source"].tolist(), batch.columns["action"].tolist(), strict=True)
    keys = [(Source(source).name.lower(), batch.schema.vocabulary[action]) for source, action in decided]
    assert {(source, name): steps for source, name, steps, _ in table.rows()} == Counter(keys)
    means = {(source, name): reward for source, name, _, reward in table.rows()}
    for key in set(keys):
        rows = [index for index, other in enumerate(keys) if other == key]
        assert means[key] == pytest.approx(batch.rewards[rows].mean(), rel=1e-4, abs=1e-6)


def test_the_ratio_is_a_share_of_decisions(page: dict[str, object], batch: TrajectoryBatch) -> None:
    learned = batch.columns["source"] == Source.LEARNED
    expected = {
        kind.name.lower(): learned[batch.columns["kind"] == kind].mean() for kind in (Kind.DECISION, Kind.FORCED)
    }
    assert page["by_kind"] == pytest.approx(expected)


def test_return_of_every_agent_and_episode(page: dict[str, object], batch: TrajectoryBatch) -> None:
    table = page["per_agent"]
    assert isinstance(table, pl.DataFrame)
    returns: Counter[tuple[int, int, str]] = Counter()
    for trajectory in batch:
        key = (trajectory.world, trajectory.episode, trajectory.agent_id)
        returns[key] += float(trajectory.rewards.sum(dtype=np.float64))
    rows = table.select("world", "episode", pl.col("agent_id").cast(pl.String), "return").rows()
    assert {tuple(row[:3]): row[3] for row in rows} == pytest.approx(dict(returns), rel=1e-4, abs=1e-5)


def test_vetoes(page: dict[str, object], batch: TrajectoryBatch) -> None:
    table = page["vetoes"]
    assert isinstance(table, pd.DataFrame)
    rows = np.flatnonzero(batch.columns["vetoed"])
    reasons = ("", "action_mask", "chat_rival", "queue_rival")
    keys = [
        (
            reasons[batch.columns["veto_reason"][row]],
            batch.schema.vocabulary[batch.columns["chosen_action"][row]],
            int(batch.columns["source"][row]),
        )
        for row in rows
    ]
    found = table[["reason", "wanted", "source", "steps"]].itertuples(index=False)
    assert {(reason, wanted, source): steps for reason, wanted, source, steps in found} == Counter(keys)


def test_how_lives_ended(page: dict[str, object], batch: TrajectoryBatch) -> None:
    table = page["ends"]
    assert isinstance(table, pd.DataFrame)
    for world, steps, fainted, cut in table.itertuples(index=False):
        here = batch.worlds == world
        assert steps == batch.lengths[here].sum()
        assert (fainted, cut) == (batch.terminated[here].sum(), batch.truncated[here].sum())


def test_what_the_page_wrote_for_minari_is_what_was_recorded(
    page: dict[str, object], batch: TrajectoryBatch, recorded: Path
) -> None:
    assert page["done"]
    whole, written = joined(batch), from_minari(recorded / "datasets" / "town-v0")
    assert (len(written), written.num_steps) == (len(whole), whole.num_steps)
    assert written.rewards.sum() == pytest.approx(whole.rewards.sum(), rel=1e-5)


def test_tensors_in_every_tool(recorded: Path, batch: TrajectoryBatch) -> None:
    path = recorded / "recorded" / "steps-000000.arrow"
    for name in ("features", "map"):
        column = f"observations.{name}"
        tensor = pl.read_ipc(path, columns=[column])[column].to_numpy()
        expected = batch.observations[name][: len(tensor)]
        np.testing.assert_array_equal(tensor, expected)
        frame = pd.read_feather(path, columns=[column])
        flat = [np.concatenate([np.ravel(part) for part in _leaves(row)]) for row in frame[column].iloc[:5]]
        np.testing.assert_array_equal(np.stack(flat), expected[:5].reshape(5, -1))


def test_duckdb_indexes_into_a_tensor(recorded: Path, batch: TrajectoryBatch) -> None:
    import pyarrow.dataset

    steps = pyarrow.dataset.dataset(str(recorded / "recorded" / "steps-000000.arrow"), format="ipc")
    assert steps is not None
    values = duckdb.sql('SELECT "observations.map"[2][3][4] AS cell FROM steps').fetchnumpy()["cell"]
    np.testing.assert_array_equal(values, batch.observations["map"][: len(values), 1, 2, 3])


def _leaves(value: object) -> Iterator[object]:
    """The arrays of numbers within pandas' nested arrays of objects."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        for part in value:
            yield from _leaves(part)
    else:
        yield value
