"""The data of a report: the records of a finished run, its training log by column, and the text of its config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from townlet_runtime.runs.directory import CONFIG
from townlet_runtime.runs.finished import FinishedRun
from townlet_runtime.runs.records import CloningFile, EvaluationFile, PromotionFile, SummaryFile
from townlet_runtime.runs.strict_json import OPEN, ReportError, parse_record, read_bytes
from townlet_runtime.simulation.interface import AGENTS
from townlet_trajectory.storage.json import JsonValue, parse_object
from townlet_trajectory.storage.yaml import parse_yaml

Column = NDArray[np.float64]
"""[U], one number per logged update; NaN where the log says null."""


@dataclass(frozen=True, kw_only=True)
class MetricsRow:
    """The part of one line of `metrics.jsonl` that the report shows; a line may hold more."""

    __pydantic_config__ = OPEN

    epoch: float
    stage: str
    env_steps: float
    """Since the run began, as `agent_steps`."""
    agent_steps: float
    ratio: float | None
    decision_share_learned: float | None
    tick_share_scripted: float | None
    tick_share_learned: float | None
    tick_share_external: float | None
    loss_policy: float | None
    loss_value: float | None
    loss_entropy: float | None
    loss_total: float | None
    kl_divergence: float | None
    batch_entropy_mean: float | None
    faint_events: float | None = None
    """Of the town, as the three below; None in other worlds."""
    late_ticks: float | None = None
    meal_events: float | None = None
    queue_conflict_events: float | None = None
    group: str | None = None
    """Group of agents; None where a run has one."""
    own_events: Mapping[str, float | None] = field(default_factory=dict)
    """The keys `events/NAME` of the line, by name."""
    reward_terms: Mapping[str, float | None] = field(default_factory=dict)
    """The keys `reward/TERM` of the line, by term: means per agent-tick."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Metrics:
    """The training log of one group of agents by column."""

    rows: tuple[MetricsRow, ...]
    """At least one; `env_steps` and `agent_steps` never fall."""

    def __post_init__(self) -> None:
        for index in range(1, len(self.rows)):
            before, after = self.rows[index - 1], self.rows[index]
            if after.env_steps < before.env_steps or after.agent_steps < before.agent_steps:
                expected = f"counts that never fall, at least {before.env_steps} and {before.agent_steps}"
                came = f"{after.env_steps} and {after.agent_steps}"
                where = f"line {index + 1}" if after.group is None else f"line {index + 1} of `{after.group}`"
                raise ReportError("metrics.jsonl", key=f"{where}: env_steps, agent_steps", expected=expected, came=came)

    def column(self, value: Callable[[MetricsRow], float | None]) -> Column:
        """Return `value` of each row, [U]; NaN for None."""
        return np.array([value(row) for row in self.rows], dtype=np.float64)

    @property
    def steps(self) -> Column:
        """[U]; environment steps since the run began."""
        return self.column(lambda row: row.env_steps)

    @property
    def stage_rows(self) -> tuple[slice, ...]:
        """The rows of each stage, in order."""
        begins = [i for i, row in enumerate(self.rows) if i == 0 or row.stage != self.rows[i - 1].stage]
        return tuple(slice(begin, end) for begin, end in zip(begins, [*begins[1:], len(self.rows)], strict=True))

    @property
    def stage_starts(self) -> tuple[tuple[str, float], ...]:
        """(stage, environment steps at its first row), in order."""
        first = [self.rows[rows.start] for rows in self.stage_rows]
        return tuple((row.stage, row.env_steps) for row in first)

    def per_thousand_agent_ticks(self, value: Callable[[MetricsRow], float | None]) -> Column:
        """Return a count per update as a rate per 1,000 agent ticks, [U].

            rate_u = 1000 c_u (e_u - e_{u-1}) / (n_u - n_{u-1})

        with n the agent steps since the run began and e the number of the update, so that a log of every k-th update
        gives the same rates. NaN for the first row, which nothing precedes, and where no agent step was taken.
        """
        updates = np.maximum(np.diff(self.column(lambda row: row.epoch)), 1.0)
        ticks = np.diff(self.column(lambda row: row.agent_steps)) / updates
        rates = np.full(len(self.rows), np.nan)
        np.divide(1000.0 * self.column(value)[1:], ticks, out=rates[1:], where=ticks > 0)
        return rates


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportData:
    """Everything that the report is made from."""

    summary: SummaryFile
    cloning: CloningFile | None
    evaluation: EvaluationFile | None
    promotion: PromotionFile | None
    metrics: Mapping[str, Metrics]
    """By group of agents (`agents` where there is one), in the order of the log; empty: no update was logged."""
    config: str | None
    """Text of `config.yaml`."""

    @property
    def eval_episodes(self) -> int | None:
        """Episodes of each evaluation during the run; None where the config does not say it, or there is none."""
        content = None if self.config is None else parse_yaml(self.config.encode(), CONFIG)
        training = content.get("training") if isinstance(content, dict) else None
        said = training.get("eval_episodes") if isinstance(training, dict) else None
        return said if isinstance(said, int) else None


def read_data(run: FinishedRun) -> ReportData:
    """Read the training log and the config of a run, and put them beside its records.

    Raises:
        ReportError: names file, key, what was expected and what came.
    """
    return ReportData(
        summary=run.summary,
        cloning=run.cloning,
        evaluation=run.evaluation,
        promotion=run.promotion,
        metrics={} if run.metrics is None else _read_metrics(run.metrics),
        config=None if run.config is None else _read_text(run.config),
    )


def _read_text(path: Path) -> str:
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise ReportError(path, key="(text)", expected="UTF-8", came=str(error)) from error


def _read_metrics(path: Path) -> dict[str, Metrics]:
    lines = read_bytes(path).split(b"\n")
    if lines[-1]:
        raise ReportError(path, key=f"line {len(lines)}", expected="a line end", came="the end of the file")
    adapter = TypeAdapter(MetricsRow)
    rows: dict[str, list[MetricsRow]] = {}
    for number, line in enumerate(lines[:-1], start=1):
        row = parse_record(adapter, line, file=path, where=f"line {number}: ")
        own = parse_object(line, path)
        row = replace(row, own_events=_below(own, "events/"), reward_terms=_below(own, "reward/"))
        rows.setdefault(AGENTS if row.group is None else row.group, []).append(row)
    return {group: Metrics(rows=tuple(each)) for group, each in rows.items()}


def _below(line: Mapping[str, JsonValue], prefix: str) -> dict[str, float | None]:
    """The numbers of a line whose keys begin with `prefix`, by the rest of the key."""
    found = {key.removeprefix(prefix): value for key, value in line.items() if key.startswith(prefix)}
    return {name: float(value) if isinstance(value, int | float) else None for name, value in found.items()}
