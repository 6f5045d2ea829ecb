"""Parts of the reward in telemetry: counted by part and by agent, with hand-worked numbers."""

import json
from pathlib import Path

import pytest

from townlet_runtime.cli.reports.records import RecordError
from townlet_runtime.cli.reports.rewards import reward_lines, reward_markdown, summarize_rewards
from townlet_trajectory.errors import ArtifactError

TICKS = [
    {"tick": 1, "reward_breakdown": {"bob": {"wage": 0.5, "total": 1.0}, "alice": {"wage": 0.25, "total": -1.0}}},
    {"tick": 2, "reward_breakdown": {"bob": {"wage": 0.0, "total": 3.0}, "cara": {"total": 0.5, "note": "x"}}},
    {"tick": 3, "reward_breakdown": {}},
    {"tick": 4},
]


def jsonl(path: Path) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in TICKS))
    return path


def test_parts_and_agents_are_summed_up(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "t.jsonl")
    record = summarize_rewards([path]).record(())
    assert list(record) == sorted(record)
    assert (record["payloads"], record["records_with_reward_breakdown"], record["agents_seen"]) == (4, 2, 3)
    assert record["components"] == {
        "total": {"count": 4, "mean": 0.875, "min": -1.0, "max": 3.0},
        "wage": {"count": 3, "mean": 0.25, "min": 0.0, "max": 0.5},
    }
    assert record["agents"]["bob"] == {
        "samples": 2,
        "total_sum": 4.0,
        "total_mean": 2.0,
        "latest": {"wage": 0.0, "total": 3.0},
    }
    assert record["agents"]["cara"]["latest"] == {"total": 0.5}
    assert record["missing_sources"] == [f"{path}:3", f"{path}:4"]


def test_the_text_lists_the_worst_and_the_best(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "t.jsonl")
    assert reward_lines(summarize_rewards([path]), (), top=2) == [
        "Payloads processed: 4 | records with reward_breakdown: 2",
        "Agents observed: 3",
        "Component summary (mean over samples):",
        "  - total: mean=0.875000 (min=-1.000000, max=3.000000, samples=4)",
        "  - wage: mean=0.250000 (min=0.000000, max=0.500000, samples=3)",
        "Top negative average totals:",
        "  - alice: avg_total=-1.000000 (samples=1)",
        "  - cara: avg_total=0.500000 (samples=1)",
        "Top positive average totals:",
        "  - bob: avg_total=2.000000 (samples=2)",
        "  - cara: avg_total=0.500000 (samples=1)",
        f"Payloads without reward_breakdown: 2 :: {path}:3, {path}:4",
    ]


def test_agents_that_are_named_are_listed_alone(tmp_path: Path) -> None:
    summary = summarize_rewards([jsonl(tmp_path / "t.jsonl")])
    lines = reward_lines(summary, ("nobody", "bob"), top=5)
    assert lines[5:8] == [
        "Filtered agents:",
        "  - bob: avg_total=2.000000 (samples=2) :: total=3.000000, wage=0.000000",
        "  - nobody: no samples",
    ]
    record = summary.record(("bob", "nobody"))
    assert list(record["agents"]) == ["bob"] and record["agents_seen"] == 3


def test_the_markdown_has_the_same_numbers(tmp_path: Path) -> None:
    summary = summarize_rewards([jsonl(tmp_path / "t.jsonl")])
    assert reward_markdown(summary, (), top=1) == [
        "**Payloads** | 4",
        "**Records** | 2",
        "**Agents Observed** | 3",
        "",
        "| Component | Mean | Min | Max | Samples |",
        "| --- | --- | --- | --- | --- |",
        "| total | 0.875000 | -1.000000 | 3.000000 | 4 |",
        "| wage | 0.250000 | 0.000000 | 0.500000 | 3 |",
        "",
        "**Top Negative Totals**",
        "- alice: avg_total=-1.000000 (samples=1)",
        "",
        "**Top Positive Totals**",
        "- bob: avg_total=2.000000 (samples=2)",
    ]
    assert reward_markdown(summary, ("bob",), top=1)[-2:] == [
        "**Filtered Agents**",
        "- bob: avg_total=2.000000 (samples=2) — `total=3.000000`, `wage=0.000000`",
    ]


def test_one_object_and_a_list_are_read_too(tmp_path: Path) -> None:
    one, several = tmp_path / "one.json", tmp_path / "several.json"
    one.write_text(json.dumps(TICKS[3]))
    several.write_text(json.dumps(TICKS[:3]))
    summary = summarize_rewards([one, several])
    assert (summary.payloads, summary.with_rewards) == (4, 2)
    assert summary.missing == [str(one), f"{several}[2]"]


def test_telemetry_without_rewards_says_so(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"tick": 1}\n' * 20)
    assert reward_lines(summarize_rewards([path]), (), top=5) == [
        "Payloads processed: 20 | records with reward_breakdown: 0",
        "Agents observed: 0",
        "Component summary: no reward breakdown entries found.",
        f"Payloads without reward_breakdown: 20 :: {path}:1, {path}:2, {path}:3, … (17 more)",
    ]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("t.jsonl", "[1]\n", "expected a JSON object, got list"),
        ("t.json", "[{}, 3]", r"t.json\[1\]: expected a JSON object, got int"),
        ("t.json", "3", "expected a JSON object or a list of them, got int"),
        ("t.json", "{", "not JSON"),
        ("t.json", '{"reward_breakdown": {"a": {"total": Infinity}}}', "Infinity is not a number"),
    ],
)
def test_what_is_no_telemetry_is_refused(name: str, text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises((RecordError, ArtifactError), match=problem):
        summarize_rewards([tmp_path / name])
