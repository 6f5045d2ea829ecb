"""Puts a run's records, plots and words on one page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from townlet_runtime.report.data import RunRecord
from townlet_runtime.report.palette import THEME
from townlet_runtime.report.scores import (
    ScoreRow,
    fixed,
    interval_text,
    number,
    score_rows,
    shared_decimals,
    zero_of,
)
from townlet_runtime.report.sections import Section, sections
from townlet_runtime.runs.records import EvaluationFile, Gate
from townlet_runtime.runs.strict_json import Interval
from townlet_runtime.runs.summary import RunSummaryFile
from townlet_runtime.town.picture import TownPicture

NOTHING = "–"
NO_SCRIPT = "This world has no script that the policy could replace, so there was nothing to decide."
_SECONDS_PER_MINUTE = 60


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A name and a value of the headline."""

    name: str
    value: str


@dataclass(frozen=True, kw_only=True)
class ScoreLine:
    """One line of the table of scores, as text."""

    policy: str
    mean: str
    iqm: str
    interval: str
    normalized: str


def render_page(run: RunRecord, *, town_picture: TownPicture | None) -> str:
    """Return the page; the same text for the same records."""
    environment = Environment(
        loader=PackageLoader("townlet_runtime", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    page_sections: tuple[Section, ...] = sections(run, town_picture)
    scores = score_rows(run.summary, run.evaluation)
    return environment.get_template("template.html.j2").render(
        title=_title(run.summary),
        decision=run.summary.promotion,
        reason=_reason(run),
        finding=_finding(run.summary, run.evaluation),
        facts=_facts(run.summary),
        scores=_score_lines(scores),
        scale=_scale(scores),
        zero=zero_of([row.policy for row in scores]),
        gates=_gates(run),
        promotion_facts=_promotion_facts(run),
        sections=page_sections,
        config=run.config,
        versions=run.summary.versions,
        light=Markup(_variables(0)),
        dark=Markup(_variables(1)),
    )


def _variables(column: int) -> str:
    return " ".join(f"--{role}: {colors[column]};" for role, colors in THEME.items())


def _title(summary: RunSummaryFile) -> str:
    return f"Townlet run: {summary.env}, {summary.mode}, seed {summary.seed}"


def _reason(run: RunRecord) -> str:
    if run.promotion is not None:
        return run.promotion.reason
    if run.evaluation is not None and run.evaluation.final.scripted is None:
        return NO_SCRIPT
    return "This run took no promotion decision."


def _finding(summary: RunSummaryFile, evaluation: EvaluationFile | None) -> str:
    """What the learned policy is worth beside the script, or beside chance in a world that has no script."""
    if summary.improvement_mean is not None and summary.improvement_ci is not None:
        zero = "random" if evaluation is not None and evaluation.final.idle is None else "idle"
        scale = ""
        if summary.improvement_normalized is not None:
            share = f"{100 * abs(summary.improvement_normalized):.0f} %"
            scale = f" That is {share} of the distance from the {zero} policy to the script."
        return _beside("the script", summary.improvement_mean, summary.improvement_ci, summary.eval_episodes) + scale
    if evaluation is None or evaluation.final.scripted is not None or "random" not in evaluation.final.paired:
        return ""
    paired = evaluation.final.paired["random"]
    return _beside("the random policy", paired.mean, paired.ci, summary.eval_episodes)


def _beside(other: str, mean: float, ci: Interval, episodes: int) -> str:
    more = "more" if mean >= 0 else "less"
    return (
        f"Over {episodes} episodes the learned policy returned {number(abs(mean))} {more} than {other} on the same "
        f"seeds (95 % interval of the difference: {interval_text(ci)})."
    )


def _facts(summary: RunSummaryFile) -> list[Fact]:
    speed = summary.env_steps_per_s
    values = {
        "mode": summary.mode,
        "world": summary.env,
        **({} if summary.controller is None else {"script": summary.controller}),
        "preset": summary.preset or NOTHING,
        "seed": str(summary.seed),
        "environment steps": f"{summary.env_steps:,}",
        "agent steps": f"{summary.agent_steps:,}",
        "wall time": _duration(summary.wall_time_s),
        "environment steps per second": NOTHING if speed is None else f"{speed:,.0f}",
        "threads": str(summary.threads),
        "acting in evaluation": summary.acting,
        "evaluation episodes": f"{summary.eval_episodes:,}",
    }
    return [Fact(name=name, value=value) for name, value in values.items()]


def _duration(seconds: float) -> str:
    if seconds < _SECONDS_PER_MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _SECONDS_PER_MINUTE)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _scale(rows: Sequence[ScoreRow]) -> str:
    """What the normalized scores mean; nothing where there are none."""
    if all(row.normalized is None for row in rows):
        return ""
    return f"Normalized: 0 is the {zero_of([row.policy for row in rows])} policy, 1 the script."


def _score_lines(rows: Sequence[ScoreRow]) -> list[ScoreLine]:
    decimals = shared_decimals(rows)
    return [
        ScoreLine(
            policy=row.policy,
            mean=fixed(row.score.mean, decimals),
            iqm=fixed(row.score.iqm, decimals),
            interval=" to ".join(fixed(bound, decimals) for bound in row.score.ci),
            normalized=NOTHING if row.normalized is None else fixed(row.normalized, 2),
        )
        for row in rows
    ]


def _gates(run: RunRecord) -> tuple[Gate, ...]:
    return () if run.promotion is None else run.promotion.gates


def _promotion_facts(run: RunRecord) -> list[Fact]:
    promotion = run.promotion
    if promotion is None:
        return []
    values: Mapping[str, str] = {
        "incumbent": promotion.incumbent,
        "candidate (SHA-256 of its weights)": promotion.candidate,
        "mean difference": _optional(promotion.mean_difference),
        "95 % interval": NOTHING if promotion.ci is None else interval_text(promotion.ci),
        "difference of the worst tenth": _optional(promotion.tail_difference),
        "allowed loss of the worst tenth": _optional(promotion.tail_margin),
    }
    return [Fact(name=name, value=value) for name, value in values.items()]


def _optional(value: float | None) -> str:
    return NOTHING if value is None else number(value)
