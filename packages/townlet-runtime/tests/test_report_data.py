"""A run directory becomes one record, or an error that names the place."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from report_samples import copy_run, data_of, edit_line

from townlet_runtime.report.data import Metrics, MetricsRow
from townlet_runtime.runs.strict_json import ReportError


def test_events_and_parts_of_the_reward_have_the_names_of_the_world(tmp_path: Path) -> None:
    path = copy_run(tmp_path / "run")
    first, *others = (path / "metrics.jsonl").read_text().splitlines()
    line = {**json.loads(first), "events/picked": 3.0, "events/spilled": None, "reward/fruit": 0.25}
    (path / "metrics.jsonl").write_text("\n".join([json.dumps(line), *others]) + "\n")
    row = data_of(path).metrics["agents"].rows[0]
    assert (row.own_events, row.reward_terms) == ({"picked": 3.0, "spilled": None}, {"fruit": 0.25})


def rows(**columns: list[float | str | None]) -> Metrics:
    """A log whose `columns` are given; the other numbers are null."""
    nothing = {field.name: None for field in dataclasses.fields(MetricsRow)}
    length = len(next(iter(columns.values())))
    filled = {"epoch": list(range(1, length + 1)), "stage": ["ppo"] * length, "env_steps": [0.0] * length}
    filled |= {"agent_steps": [0.0] * length} | columns
    return Metrics(rows=tuple(MetricsRow(**nothing | {k: v[i] for k, v in filled.items()}) for i in range(length)))


def test_the_sample_is_read() -> None:
    run = data_of()
    assert run.summary.seed == 7
    (metrics,) = run.metrics.values()
    assert list(run.metrics) == ["agents"]
    assert len(metrics.rows) == 24
    assert [stage for stage, _ in metrics.stage_starts] == ["warmup", "anneal", "ppo"]
    assert run.config.startswith("mode: anneal\n")


def test_a_mode_may_have_no_log(tmp_path: Path) -> None:
    run = copy_run(tmp_path / "run")
    (run / "metrics.jsonl").unlink()
    assert data_of(run).metrics == {}
    (run / "metrics.jsonl").touch()
    assert data_of(run).metrics == {}


def test_a_config_that_is_no_text_is_refused(tmp_path: Path) -> None:
    run = copy_run(tmp_path / "run")
    (run / "config.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ReportError, match=r"config.yaml: `\(text\)`: expected UTF-8"):
        data_of(run)


@pytest.mark.parametrize(
    ("change", "key", "expected"),
    [
        (lambda row: row.pop("loss_policy"), "line 3: loss_policy", "a value"),
        (lambda row: row.update(kl_divergence=float("nan")), "line 3: kl_divergence", "a finite number"),
        (lambda row: row.update(ratio="half"), "line 3: ratio", "a valid number"),
        (lambda row: row.update(grad_norm=float("inf")), "line 3: (text)", "strict JSON"),
        (lambda row: row.update(env_steps=1), "line 3: env_steps, agent_steps", None),
    ],
)
def test_a_damaged_line_is_named(
    tmp_path: Path, change: Callable[[object], object], key: str, expected: str | None
) -> None:
    run = copy_run(tmp_path / "run")
    edit_line(run / "metrics.jsonl", 3, change)
    with pytest.raises(ReportError) as caught:
        data_of(run)
    assert caught.value.key == key
    assert expected is None or caught.value.expected == expected


def test_a_line_may_say_more_and_null(tmp_path: Path) -> None:
    run = copy_run(tmp_path / "run")
    edit_line(run / "metrics.jsonl", 3, lambda row: row.update(new_key=1.5, loss_total=None))
    metrics = data_of(run).metrics["agents"]
    assert np.isnan(metrics.column(lambda row: row.loss_total)).tolist() == [False, False, True] + [False] * 21


@pytest.mark.parametrize("damage", [lambda text: text[:-1], lambda text: text + "\n", lambda text: text + "{"])
def test_a_torn_or_empty_line_is_refused(tmp_path: Path, damage: Callable[[str], str]) -> None:
    run = copy_run(tmp_path / "run")
    path = run / "metrics.jsonl"
    path.write_text(damage(path.read_text()))
    with pytest.raises(ReportError, match=r"metrics.jsonl: `line 2[45]"):
        data_of(run)


def test_rates_by_hand() -> None:
    # 5 faints in 2,000 agent ticks = 2.5 per 1,000; 3 in 500 = 6; no tick: no rate.
    metrics = rows(agent_steps=[1000, 3000, 3500, 3500], faint_events=[9, 5, 3, 1])
    rates = metrics.per_thousand_agent_ticks(lambda row: row.faint_events)
    np.testing.assert_allclose(rates, [np.nan, 2.5, 6.0, np.nan])


def test_a_log_of_every_tenth_update_gives_the_same_rates() -> None:
    # 4 faints in one update of 1,000 agent ticks, although ten updates lie between two lines.
    metrics = rows(epoch=[10, 20], agent_steps=[10_000, 20_000], faint_events=[4, 4])
    np.testing.assert_allclose(metrics.per_thousand_agent_ticks(lambda row: row.faint_events), [np.nan, 4.0])


def test_stages_are_runs_of_equal_names() -> None:
    metrics = rows(stage=["a", "a", "b", "a"], env_steps=[1, 2, 3, 4])
    assert metrics.stage_rows == (slice(0, 2), slice(2, 3), slice(3, 4))
    assert metrics.stage_starts == (("a", 1), ("b", 3), ("a", 4))
