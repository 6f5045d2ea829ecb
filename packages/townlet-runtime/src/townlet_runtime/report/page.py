"""Puts a run's records, plots and words on one page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from townlet_runtime.report.data import ReportData
from townlet_runtime.report.palette import THEME, policy_roles
from townlet_runtime.report.scores import ScoreRow, fixed, interval_text, number, score_rows, shared_decimals
from townlet_runtime.report.sections import sections
from townlet_runtime.runs.records import NO_EVIDENCE, CloningFile, SummaryFile
from townlet_runtime.runs.strict_json import Interval
from townlet_runtime.town.picture import TownPicture
from townlet_trajectory.evaluation.comparisons import PairedComparison
from townlet_trajectory.evaluation.results import RANDOM, SCRIPTED, FinalEvaluation, zero_of

NOTHING = "–"
ONE_POLICY = (
    "The unit of these intervals is the episode of one trained policy; they say nothing about policies trained with "
    "other seeds, which townlet compare does."
)
NO_SCRIPT = "This world has no script that the policy could replace, so there was nothing to decide."


def render_page(run: ReportData, *, town_picture: TownPicture | None) -> str:
    """Return the page; the same text for the same records."""
    final, summary = None if run.evaluation is None else run.evaluation.final, run.summary
    scores = () if final is None else score_rows(final)
    zero = None if final is None else zero_of(final.baselines)
    scaled = any(row.normalized is not None for row in scores)
    return fill(
        "template.html.j2",
        title=f"Townlet run: {summary.env or 'no world'}, {summary.mode}, seed {summary.seed}",
        decision=summary.promotion,
        reason=_reason(run),
        finding=_of_the_clone(run.cloning) if final is None else _finding(summary, final),
        facts=_facts(summary),
        scores=_score_lines(scores),
        episodes=summary.eval_episodes,
        unit=ONE_POLICY,
        scale=f"Normalized: 0 is the {zero} policy, 1 the script." if scaled else "",
        zero=zero,
        gates=() if run.promotion is None else run.promotion.gates,
        promotion_facts=_promotion_facts(run),
        sections=sections(run, town_picture),
        config="The world of this run was made in Python." if run.config is None else run.config,
        versions=summary.versions,
    )


def fill(template: str, **values: object) -> str:
    """Return the text of a page: a template of this folder, the colours, and `values`."""
    environment = Environment(
        loader=PackageLoader("townlet_runtime", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    light, dark = (
        Markup(" ".join(f"--{role}: {colors[column]};" for role, colors in THEME.items())) for column in (0, 1)
    )
    return environment.get_template(template).render(light=light, dark=dark, **values)


def _reason(run: ReportData) -> str:
    if run.promotion is not None:
        return run.promotion.reason
    if run.evaluation is None:
        return NO_EVIDENCE
    return "This run took no promotion decision." if SCRIPTED in run.evaluation.final.baselines else NO_SCRIPT


def _of_the_clone(cloning: CloningFile | None) -> str:
    """The worth of a policy that was judged by held-out labels alone."""
    if cloning is None:
        return ""
    return f"The clone finds {100 * cloning.accuracy:.1f} % of the held-out choices most probable."


def _finding(summary: SummaryFile, final: FinalEvaluation) -> str:
    """The worth of the learned policy beside the script, or beside chance in a world that has no script."""
    if summary.improvement_mean is not None and summary.improvement_ci is not None:
        scale = ""
        if summary.improvement_normalized is not None:
            share = f"{100 * abs(summary.improvement_normalized):.0f} %"
            scale = f" That is {share} of the distance from the {zero_of(final.baselines)} policy to the script."
        return _beside("the script", summary.improvement_mean, summary.improvement_ci, summary.eval_episodes) + scale
    if RANDOM not in final.paired:
        return ""
    paired = final.paired[RANDOM]
    return _beside("the random policy", paired.mean, paired.ci, summary.eval_episodes)


def _beside(other: str, mean: float, ci: Interval, episodes: int) -> str:
    more = "more" if mean >= 0 else "less"
    return (
        f"Over {episodes} episodes the learned policy returned {number(abs(mean))} {more} than {other} on the same "
        f"seeds (95 % interval of the difference over these {episodes} episodes: {interval_text(ci)})."
    )


def _facts(summary: SummaryFile) -> dict[str, str]:
    speed = summary.env_steps_per_s
    return {
        "mode": summary.mode,
        "world": summary.env or NOTHING,
        **({} if summary.controller is None else {"script": summary.controller}),
        **({"guardrails": ", ".join(summary.guardrails)} if summary.guardrails else {}),
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


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _score_lines(rows: Sequence[ScoreRow]) -> list[dict[str, str]]:
    """The lines of the table as text; `role` is that of the colour."""
    decimals = shared_decimals(rows)
    roles = policy_roles([row.policy for row in rows])
    return [
        {
            "policy": row.policy,
            "role": roles[row.policy],
            "mean": fixed(row.score.mean, decimals),
            "iqm": fixed(row.score.iqm, decimals),
            "interval": " to ".join(fixed(bound, decimals) for bound in row.score.ci),
            "normalized": NOTHING if row.normalized is None else fixed(row.normalized, 2),
        }
        for row in rows
    ]


def _over_episodes(comparison: PairedComparison) -> str:
    return f"{interval_text(comparison.ci)}, over the {comparison.num_episodes} episodes of the pass"


def _promotion_facts(run: ReportData) -> dict[str, str]:
    if run.promotion is None:
        return {}
    latest = run.promotion.latest
    comparison = latest.comparison
    return {
        "incumbent": latest.incumbent,
        "candidate (SHA-256 of its weights)": latest.candidate,
        "mean difference": NOTHING if comparison is None else number(comparison.mean),
        "95 % interval": NOTHING if comparison is None else _over_episodes(comparison),
        "difference of the worst tenth": NOTHING if comparison is None else number(comparison.tail_difference),
        "allowed loss of the worst tenth": number(latest.tail_margin),
    }
