"""Sums up the parts of the reward in the telemetry of a run: `reward_breakdown` of each tick, by agent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from townlet_runtime.cli.console import Json
from townlet_runtime.cli.reports.records import LogRecord, RecordError, is_number, parse_line
from townlet_runtime.cli.reports.summary_views import markdown_table
from townlet_trajectory.storage.files import MAX_LOG_BYTES
from townlet_trajectory.storage.json import parse_json
from townlet_trajectory.storage.paths import read_named

BREAKDOWN = "reward_breakdown"
TOTAL = "total"
LINES = (".jsonl", ".ndjson")
"""Ends of the names of files with one object a line; others hold one object, or a list of them."""
_SHOWN_SOURCES = 3


@dataclass(kw_only=True)
class Component:
    """What a part of the reward was, over all agents and ticks."""

    count: int = 0
    total: float = 0.0
    least: float = 0.0
    greatest: float = 0.0

    def add(self, value: float) -> None:
        """Count one more number."""
        self.least, self.greatest = (
            (min(self.least, value), max(self.greatest, value)) if self.count else (value, value)
        )
        self.count += 1
        self.total += value

    @property
    def mean(self) -> float:
        """Of what was counted; at least one number was."""
        return self.total / self.count


@dataclass(kw_only=True)
class AgentRewards:
    """The rewards of one agent."""

    samples: int = 0
    total: float = 0.0
    """Sum of the part `total`."""
    latest: Mapping[str, float] = field(default_factory=dict)
    """Parts of the last sample."""

    @property
    def mean(self) -> float:
        """Mean total of a sample; at least one was counted."""
        return self.total / self.samples


@dataclass(kw_only=True)
class RewardSummary:
    """The parts of the reward in some telemetry."""

    payloads: int = 0
    with_rewards: int = 0
    components: dict[str, Component] = field(default_factory=dict)
    agents: dict[str, AgentRewards] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    """Where no rewards were, by file and line."""

    def add(self, payload: LogRecord, source: str) -> None:
        """Count the rewards of one payload; `source` says where it stands."""
        self.payloads += 1
        breakdown = payload.get(BREAKDOWN)
        of_agents = breakdown.items() if isinstance(breakdown, dict) else ()
        found = [(agent, parts) for agent, parts in of_agents if isinstance(parts, dict)]
        if not found:
            self.missing.append(source)
            return
        self.with_rewards += 1
        for agent, parts in found:
            numbers = {key: float(value) for key, value in parts.items() if is_number(value)}
            if numbers:
                self._add_agent(agent, numbers)

    def _add_agent(self, agent: str, parts: Mapping[str, float]) -> None:
        for key, value in parts.items():
            self.components.setdefault(key, Component()).add(value)
        one = self.agents.setdefault(agent, AgentRewards())
        one.samples += 1
        one.total += parts.get(TOTAL, 0.0)
        one.latest = parts

    def record(self, only: Sequence[str]) -> dict[str, Json]:
        """Return the summary with the keys of `--json`; `only`: agents that are listed, empty: all."""
        return {
            "agents": {
                name: {
                    "latest": dict(sorted(one.latest.items())),
                    "samples": one.samples,
                    "total_mean": one.mean,
                    "total_sum": one.total,
                }
                for name, one in sorted(self.agents.items())
                if not only or name in only
            },
            "agents_seen": len(self.agents),
            "components": {
                name: {"count": one.count, "max": one.greatest, "mean": one.mean, "min": one.least}
                for name, one in sorted(self.components.items())
            },
            "missing_sources": self.missing,
            "payloads": self.payloads,
            "records_with_reward_breakdown": self.with_rewards,
        }


def summarize_rewards(paths: Sequence[Path]) -> RewardSummary:
    """Sum up the telemetry of some files.

    Raises:
        ArtifactError: if a file cannot be read, or is no JSON.
        RecordError: if something else stands in the place of an object.
    """
    summary = RewardSummary()
    for path in paths:
        for payload, source in _payloads(path):
            summary.add(payload, source)
    return summary


def _payloads(path: Path) -> Iterator[tuple[LogRecord, str]]:
    data = read_named(path, max_bytes=MAX_LOG_BYTES)
    if path.suffix.lower() in LINES:
        for number, line in enumerate(BytesIO(data), start=1):
            if line.strip():
                yield parse_line(line, path, number), f"{path}:{number}"
        return
    document = parse_json(data, path)
    if isinstance(document, dict):
        yield document, str(path)
    elif isinstance(document, list):
        for index, each in enumerate(document):
            if not isinstance(each, dict):
                raise RecordError(f"{path}[{index}]: expected a JSON object, got {type(each).__name__}")
            yield each, f"{path}[{index}]"
    else:
        raise RecordError(f"{path}: expected a JSON object or a list of them, got {type(document).__name__}")


def reward_lines(summary: RewardSummary, only: Sequence[str], *, top: int) -> list[str]:
    """Return the summary for people.

    Args:
        summary: of some telemetry.
        only: agents that are listed; empty: those with the least and the greatest means.
        top: how many of each.
    """
    lines = [
        f"Payloads processed: {summary.payloads} | records with reward_breakdown: {summary.with_rewards}",
        f"Agents observed: {len(summary.agents)}",
    ]
    if summary.components:
        lines.append("Component summary (mean over samples):")
        lines += [
            f"  - {name}: mean={one.mean:.6f} (min={one.least:.6f}, max={one.greatest:.6f}, samples={one.count})"
            for name, one in sorted(summary.components.items())
        ]
    else:
        lines.append("Component summary: no reward breakdown entries found.")
    for heading, said in _agent_lists(summary, only, _TEXT, top=top):
        lines += [f"{heading}:", *(f"  - {each}" for each in said)]
    if summary.missing:
        more = len(summary.missing) - _SHOWN_SOURCES
        preview = ", ".join(summary.missing[:_SHOWN_SOURCES]) + (f", … ({more} more)" if more > 0 else "")
        lines.append(f"Payloads without reward_breakdown: {len(summary.missing)} :: {preview}")
    return lines


def reward_markdown(summary: RewardSummary, only: Sequence[str], *, top: int) -> list[str]:
    """Return the summary as Markdown.

    Args:
        summary: of some telemetry.
        only: agents that are listed; empty: those with the least and the greatest means.
        top: how many of each.
    """
    rows = [
        (name, *(f"{value:.6f}" for value in (one.mean, one.least, one.greatest)), str(one.count))
        for name, one in sorted(summary.components.items())
    ]
    lines = [
        f"**Payloads** | {summary.payloads}",
        f"**Records** | {summary.with_rewards}",
        f"**Agents Observed** | {len(summary.agents)}",
        "",
        *markdown_table(("Component", "Mean", "Min", "Max", "Samples"), rows),
    ]
    for heading, said in _agent_lists(summary, only, _MARKDOWN, top=top):
        lines += ["", f"**{heading}**", *(f"- {each}" for each in said)]
    return lines


@dataclass(frozen=True, kw_only=True)
class _Style:
    """How agents are listed."""

    only: str
    """Heading of those that were asked for."""
    worst: str
    best: str
    part: str
    """Form of a part of a reward."""
    join: str
    """Between an agent and its last parts."""


_TEXT = _Style(
    only="Filtered agents",
    worst="Top negative average totals",
    best="Top positive average totals",
    part="{}={:.6f}",
    join=" :: ",
)
_MARKDOWN = _Style(
    only="Filtered Agents",
    worst="Top Negative Totals",
    best="Top Positive Totals",
    part="`{}={:.6f}`",
    join=" — ",
)


def _agent_lists(
    summary: RewardSummary, only: Sequence[str], style: _Style, *, top: int
) -> list[tuple[str, list[str]]]:
    """The lists of agents with their headings."""

    def said(name: str) -> str:
        one = summary.agents[name]
        return f"{name}: avg_total={one.mean:.6f} (samples={one.samples})"

    def detailed(name: str) -> str:
        if name not in summary.agents:
            return f"{name}: no samples"
        parts = sorted(summary.agents[name].latest.items())
        return f"{said(name)}{style.join}{', '.join(style.part.format(key, value) for key, value in parts)}"

    if only:
        return [(style.only, [detailed(name) for name in sorted(set(only))])]
    ranked = sorted(sorted(summary.agents), key=lambda name: summary.agents[name].mean)
    if not ranked:
        return []
    return [
        (style.worst, [said(name) for name in ranked[:top]]),
        (style.best, [said(name) for name in reversed(ranked[-top:])]),
    ]
