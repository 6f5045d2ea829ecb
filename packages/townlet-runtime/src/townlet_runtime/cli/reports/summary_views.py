"""The summary of a training log as text and as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from townlet_runtime.cli.reports.records import is_number, shown
from townlet_runtime.cli.reports.summary import Delta, LogSummary
from townlet_runtime.cli.reports.watched import EVENTS, LATER_EVENTS
from townlet_trajectory.storage.json import JsonValue

_DIGITS = {"loss_total": 6, "kl_divergence": 6, "grad_norm": 6, "chat_quality_mean": 3}
"""Decimals of extremes; others have one."""


def text_lines(summary: LogSummary) -> list[str]:
    """Return the summary for people."""

    def latest(name: str, key: str, digits: int) -> str:
        return f"{name}={shown(summary.latest[key], digits)}"

    def extremes(key: str) -> str:
        least, greatest = summary.extremes[key].least, summary.extremes[key].greatest
        return f"{key}[min={shown(least, 6)}, max={shown(greatest, 6)}]"

    indent = " " * len("Latest metrics")
    parts = [
        ("Latest metrics: ", [latest(key, key, 6) for key in ("loss_total", "kl_divergence", "grad_norm")]),
        (
            indent,
            [
                latest("entropy_mean", "batch_entropy_mean", 6),
                latest("reward_adv_corr", "reward_advantage_corr", 6),
                f"{latest('epoch_duration', 'epoch_duration_sec', 4)}s",
            ],
        ),
        *([(indent, [latest("rollout_ticks", "rollout_ticks", 0)])] if summary.latest["rollout_ticks"] else []),
        *_events_text(latest, summary),
        ("Extremes: ", [extremes(key) for key in ("loss_total", "kl_divergence", "grad_norm")]),
    ]
    return [
        f"Epochs analysed: {summary.epochs} (mode={summary.data_mode}, cycle_id={summary.cycle_id})",
        *(heading + ", ".join(said) for heading, said in parts),
        *_anneal_text(summary),
        *(["Baseline drift:"] if summary.drift else []),
        *(
            f"  {key}: delta={each.delta:+.6f} ({_percent(each)})"
            for key, each in ({} if summary.drift is None else summary.drift).items()
        ),
    ]


def _events_text(latest: Callable[[str, str, int], str], summary: LogSummary) -> list[tuple[str, list[str]]]:
    """The lines of events; none for a world that counts none."""
    if not _counts_events(summary):
        return []
    return [
        (
            "Queue conflicts: ",
            [
                latest("events", "queue_conflict_events", 1),
                latest("intensity_sum", "queue_conflict_intensity_sum", 2),
            ],
        ),
        (
            "Social interactions: ",
            [
                latest("shared_meals", "shared_meal_events", 1),
                latest("late_help", "late_help_events", 1),
                latest("shift_takeovers", "shift_takeover_events", 1),
                latest("chat_success", "chat_success_events", 1),
                latest("chat_failure", "chat_failure_events", 1),
                latest("chat_quality_mean", "chat_quality_mean", 3),
            ],
        ),
        (
            "Hygiene & rest: ",
            [
                latest("utility_outages", "utility_outage_events", 1),
                latest("showers", "shower_complete_events", 1),
                latest("sleeps", "sleep_complete_events", 1),
            ],
        ),
    ]


def _counts_events(summary: LogSummary) -> bool:
    return any(summary.latest[key] is not None for key in EVENTS)


def _anneal_text(summary: LogSummary) -> list[str]:
    if summary.anneal is None:
        return []
    said = summary.anneal
    return [
        f"Anneal status: stage={said['stage']} cycle={_number(said['cycle'], 1)}, dataset={said['dataset']}, "
        f"bc_accuracy={_number(said['bc_accuracy'], 3)} (threshold={_number(said['bc_threshold'], 3)}), "
        f"passed={said['bc_passed']}",
        f"Anneal drift flags: loss={said['loss_flag']}, queue={said['queue_flag']}, intensity={said['intensity_flag']}",
    ]


def markdown_lines(summary: LogSummary) -> list[str]:
    """Return the summary as Markdown."""
    latest = summary.latest
    metrics = ", ".join(
        f"`{name}={shown(latest[key], 6)}`"
        for name, key in (
            ("loss_total", "loss_total"),
            ("kl_divergence", "kl_divergence"),
            ("grad_norm", "grad_norm"),
            ("entropy_mean", "batch_entropy_mean"),
            ("reward_adv_corr", "reward_advantage_corr"),
        )
    )
    duration, ticks = shown(latest["epoch_duration_sec"], 4), shown(latest["rollout_ticks"], 0)
    conflicts, intensity = shown(latest["queue_conflict_events"], 1), shown(latest["queue_conflict_intensity_sum"], 2)
    rows = [
        (key, shown(each.least, _DIGITS.get(key, 1)), shown(each.greatest, _DIGITS.get(key, 1)))
        for key, each in summary.extremes.items()
        if _counts_events(summary) or key not in (*EVENTS, *LATER_EVENTS)
    ]
    events = [f"- Queue conflicts: `{conflicts}` events (intensity sum `{intensity}`)"]
    return [
        "### PPO Telemetry Summary",
        "",
        f"- Epochs analysed: **{summary.epochs}**",
        f"- Data mode: **{summary.data_mode}** (cycle `{summary.cycle_id}`)",
        f"- Latest metrics: {metrics}",
        f"- Epoch duration: `{duration}s`, roll-out ticks: `{ticks}`",
        *(events if _counts_events(summary) else []),
        *_anneal_markdown(summary),
        "",
        *markdown_table(("Metric", "Min", "Max"), rows),
        *_drift_markdown(summary),
    ]


def _anneal_markdown(summary: LogSummary) -> list[str]:
    if summary.anneal is None:
        return []
    said = summary.anneal
    return [
        f"- Anneal status: stage `{said['stage']}`, cycle `{_number(said['cycle'], 1)}`, dataset `{said['dataset']}`, "
        f"bc_accuracy `{_number(said['bc_accuracy'], 3)}` (threshold `{_number(said['bc_threshold'], 3)}`), "
        f"passed `{said['bc_passed']}`",
        f"- Anneal drift flags: loss `{said['loss_flag']}`, queue `{said['queue_flag']}`, "
        f"intensity `{said['intensity_flag']}`",
    ]


def _drift_markdown(summary: LogSummary) -> list[str]:
    if not summary.drift:
        return []
    rows = [(key, f"{each.delta:+.6f}", _percent(each)) for key, each in summary.drift.items()]
    return ["", "#### Baseline Drift", "", *markdown_table(("Key", "Delta", "Percent"), rows)]


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table in Markdown."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _percent(each: Delta) -> str:
    return "n/a" if each.percent is None else f"{each.percent:+.2f}%"


def _number(value: JsonValue, digits: int) -> str:
    return f"{value:.{digits}f}" if is_number(value) else "n/a"
