"""What each plot says; how it looks is for eyes."""

from __future__ import annotations

import dataclasses
import html
import re

import numpy as np
import pytest
from report_samples import data_of

from townlet_runtime.report.data import Metrics
from townlet_runtime.report.plots import (
    EVENTS,
    clone_plot,
    entropy_plot,
    events_of,
    events_plot,
    kl_plot,
    losses_plot,
    paired_plot,
    return_plot,
    shares_plot,
)
from townlet_runtime.report.scores import differences
from townlet_trajectory.evaluation.results import EvaluationRecord
from townlet_trajectory.storage.json import printable


def metrics() -> Metrics:
    return data_of().metrics["agents"]


def history() -> tuple[EvaluationRecord, ...]:
    return data_of().evaluation.history


def with_baselines(**means: float) -> list[EvaluationRecord]:
    return [dataclasses.replace(point, baselines=means) for point in history()]


def words(svg: str) -> list[str]:
    return re.findall(r">([^<>]+)</text>", svg)


def changed(**values: float | None) -> Metrics:
    return Metrics(rows=tuple(dataclasses.replace(row, **values) for row in metrics().rows))


def test_return_names_its_lines_and_stages() -> None:
    shown = words(return_plot(history(), metrics()))
    assert {"learned", "scripted", "nearest", "anneal", "ppo", "environment steps"} <= set(shown)


def test_an_idle_policy_far_below_is_said_not_drawn() -> None:
    svg = return_plot(history(), None)
    assert any(word.startswith("idle: \N{MINUS SIGN}4") and "below this scale" in word for word in words(svg))
    assert "idle" in words(return_plot(with_baselines(idle=150.0, scripted=180.0), None))


def test_where_nobody_idles_chance_is_the_lower_end() -> None:
    assert "random" in words(return_plot(with_baselines(random=150.0), None))
    far = words(return_plot(with_baselines(random=-5000.0), None))
    assert any(word.startswith("random: \N{MINUS SIGN}5,000") and "below this scale" in word for word in far)


def test_a_world_without_yardsticks_shows_the_learned_policy_alone() -> None:
    shown = words(return_plot(with_baselines()[:1], None))
    assert "learned" in shown
    assert not {"scripted", "nearest", "idle"} & set(shown)


@pytest.mark.parametrize("name", ["$x_{", "lone \ud800", "<i>", "line\nfeed"])
def test_stages_and_behaviors_of_any_name_are_drawn(name: str) -> None:
    points = [dataclasses.replace(point, stage=name) for point in with_baselines(**{name: 190.0})]
    shown = words(return_plot(points, None))
    assert shown.count(html.escape(printable(name), quote=False)) == 2


def test_shares_are_labelled_by_source() -> None:
    shown = words(shares_plot(metrics()))
    assert {"ratio asked for", "learned, real", "learned 100%", "scripted 0%"} <= set(shown)
    assert not any(word.startswith("external") for word in shown)
    possessed = changed(tick_share_learned=0.5, tick_share_scripted=0.3, tick_share_external=0.2)
    assert {"learned 50%", "scripted 30%", "external 20%"} <= set(words(shares_plot(possessed)))


def test_null_shares_leave_a_gap() -> None:
    nothing = changed(ratio=None, decision_share_learned=None, tick_share_learned=None, tick_share_scripted=None,
                      tick_share_external=None)  # fmt: skip
    assert "Of agent ticks" in words(shares_plot(nothing))


def test_clone_ends_with_its_accuracy() -> None:
    clone = data_of().cloning
    assert clone is not None
    epochs = clone.results["agents"].epochs
    assert "91.7%" in words(clone_plot(epochs))
    assert "41.0%" in words(clone_plot(epochs[:1]))


def test_panels_have_their_titles() -> None:
    assert {"Policy loss", "Value loss", "Entropy (loss_entropy)", "Total loss"} <= set(words(losses_plot(metrics())))
    town = events_of(metrics(), is_town=True)
    assert {"Faints", "Late ticks", "Meals", "Queue conflicts"} <= set(words(town_events_plot(metrics())))
    assert [title for title, _ in town] == ["Faints", "Late ticks", "Meals", "Queue conflicts"]


def test_another_world_has_panels_of_its_own_events() -> None:
    counts = {"fruit_picked": 4.0, "spilled": 2.0, "never": None}
    own = Metrics(rows=tuple(dataclasses.replace(row, own_events=counts) for row in metrics().rows))
    events = events_of(own, is_town=False)
    assert [(title, value(own.rows[0])) for title, value in events] == [
        ("fruit picked", 4.0), ("spilled", 2.0), ("never", None)
    ]  # fmt: skip
    found = words(events_plot(own, events, label="Events"))
    assert {"fruit picked", "spilled", "never"} <= set(found) and "Faints" not in found
    assert len(events_of(replace_events(own, dict.fromkeys("abcdef", 1.0)), is_town=False)) == 4
    assert events_of(replace_events(own, {"never": None}), is_town=False) == ()
    assert events_of(replace_events(own, {}), is_town=False) == ()


def replace_events(log: Metrics, events: dict[str, float | None]) -> Metrics:
    return Metrics(rows=tuple(dataclasses.replace(row, own_events=events) for row in log.rows))


def town_events_plot(log: Metrics) -> str:
    return events_plot(log, EVENTS, label="Town events")


def test_kl_and_entropy_have_units() -> None:
    assert "KL divergence (nats)" in words(kl_plot(metrics()))
    assert "entropy (nats)" in words(entropy_plot(metrics()))


@pytest.mark.parametrize("plot", [kl_plot, town_events_plot, losses_plot])
def test_one_update_is_enough(plot: object) -> None:
    assert callable(plot)
    assert plot(Metrics(rows=metrics().rows[:1])).endswith("</svg>")


def test_a_long_log_is_drawn_faintly_below_its_mean() -> None:
    long = Metrics(rows=metrics().rows[:1] * 50)
    assert "opacity: 0.4" in kl_plot(long)
    assert "opacity: 0.4" not in kl_plot(metrics())


def test_the_paired_plot_counts_the_seeds_won() -> None:
    first = differences(data_of().evaluation.final)[0]
    shown = dataclasses.replace(first, values=np.array([1.0, -1.0, 0.0, 2.0]))
    assert "better on 2 of 4 seeds" in paired_plot([shown])
