"""Telemetry of `townlet run`: an object a tick, whose parts of a reward add up, and a record for many ticks."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from townlet_runtime.cli import main
from townlet_runtime.cli import telemetry as module
from townlet_runtime.core.stretches import TelemetryRecord

SCENARIOS = Path(__file__).parent / "data" / "scenarios"
KITCHEN, POC = SCENARIOS / "kitchen_breakfast.yaml", SCENARIOS / "poc_hybrid.yaml"
PARTS = (
    "survival needs_penalty social_bonus social_penalty social_avoidance social wage punctuality terminal_penalty "
    "clip_adjustment total"
).split()
ADDED = ("survival", "needs_penalty", "social", "wage", "punctuality", "terminal_penalty", "clip_adjustment")
COMPLETED = re.compile(r"Completed (\d+) ticks in \d+\.\d{3}s \(\d+\.\d ticks/sec\)")


def told(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["run", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()[-1]


def test_a_file_gets_a_line_a_tick(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "logs" / "t.jsonl"
    assert main(["run", str(KITCHEN), "--ticks", "20", "--telemetry-path", str(path)]) == 0
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first == f"Telemetry stream written to {path}"
    found = COMPLETED.fullmatch(second)
    assert found is not None and found[1] == "20"
    records = told(path)
    assert [record["tick"] for record in records] == [*range(1, 21)]
    for record in records:
        assert list(record) == ["schema_version", "tick", "event_counts", "reward_breakdown", "policy_snapshot"]
        assert list(record["reward_breakdown"]) == list(record["policy_snapshot"]) == ["alice", "bob"]
        assert all(sorted(parts) == sorted(PARTS) for parts in record["reward_breakdown"].values())
    assert sum(record["event_counts"]["cook_events"] for record in records) == 1.0
    # A second run begins the file anew.
    assert main(["run", str(KITCHEN), "--ticks", "3", "--telemetry-path", str(path), "-q"]) == 0
    assert len(told(path)) == 3


def test_the_parts_of_every_reward_add_up_to_what_the_agent_got(tmp_path: Path) -> None:
    # Social rewards up to C3, shifts, and needs that run out: every part of the town is used.
    settings = {
        "features.stages.social_rewards": "C3",
        "town.agents": "6",
        "town.ticks_per_day": "60",
        "town.episode_ticks": "300",
        "town.needs_decay": "[0.01, 0.005, 0.008]",
        "world.grid_size": "[6, 6]",
        "rewards.clip_per_tick": "0.05",
        "jobs": "{baker: {start_tick: 20, end_tick: 40, location: [1, 1], lateness_penalty: 0.1}}",
    }
    options = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    path, record = tmp_path / "t.jsonl", tmp_path / "captured"
    command = ["run", *options, "--ticks", "290", "-q", "--telemetry-path", str(path), "--record", str(record)]
    assert main(command) == 0
    got: dict[str, list[float]] = {}
    used: set[str] = set()
    for each in told(path):
        for agent, parts in each["reward_breakdown"].items():
            assert parts["total"] == pytest.approx(sum(parts[name] for name in ADDED), abs=1e-12)
            assert parts["social"] == parts["social_bonus"] + parts["social_penalty"] + parts["social_avoidance"]
            got.setdefault(agent, []).append(parts["total"])
            used |= {name for name, part in parts.items() if part != 0.0}
    assert used >= set(PARTS) - {"social_penalty", "social_avoidance"}
    # What training learns from are these very numbers.
    rewards: dict[str, list[float]] = {}
    for sample in sorted(record.glob("*.npz"), key=lambda each: each.stem[-3:]):
        agent = json.loads(sample.with_suffix(".json").read_text())["agent_id"]
        with np.load(sample) as arrays:
            rewards.setdefault(agent, []).extend(arrays["rewards"].tolist())
    assert rewards.keys() == got.keys()
    assert {agent: np.float32(totals).tolist() for agent, totals in got.items()} == rewards


def test_the_stream_comes_before_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(POC), "--ticks", "4", "--stream-telemetry"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["tick"] for line in lines[:4]] == [1, 2, 3, 4]
    assert COMPLETED.fullmatch(lines[4])


def test_the_config_may_be_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--ticks", "2", "--stream-telemetry", "-q"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [len(json.loads(line)["reward_breakdown"]) for line in lines] == [10, 10]


def test_another_world_tells_its_rewards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.jsonl"
    assert main(["run", "--env", "lanes:Lanes", "--ticks", "96", "--telemetry-path", str(path), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    breakdowns = [record["reward_breakdown"] for record in told(path)]
    assert all(list(parts) == ["total"] for each in breakdowns for parts in each.values())
    total = sum(parts["total"] for each in breakdowns for parts in each.values())
    assert total == pytest.approx(96 * result["mean_reward"]) and total >= 1.0


def test_two_places_at_once_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.jsonl"
    said = refused(capsys, str(KITCHEN), "--stream-telemetry", "--telemetry-path", str(path))
    assert said == "townlet: error: --stream-telemetry cannot be combined with --telemetry-path"
    assert not path.exists()
    assert "--stream-telemetry" in refused(capsys, "--stream-telemetry", "--json")
    assert "--render" in refused(capsys, "--stream-telemetry", "--render")
    assert str(tmp_path) in refused(capsys, "--telemetry-path", str(tmp_path), "--ticks", "1")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
def test_a_disk_that_is_full_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "--ticks", "3", "--telemetry-path", "/dev/full") == (
        "townlet: error: /dev/full: No space left on device"
    )


def test_a_tick_that_fails_is_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cracked_lanes.py").write_text(
        "from dataclasses import replace\nfrom lanes import Lanes\nimport numpy as np\n\n"
        "class CrackedLanes(Lanes):\n    ticks = 0\n\n"
        "    def step(self, actions):\n        self.ticks += 1\n        stepped = super().step(actions)\n"
        "        bad = self.ticks == 3\n"
        "        return replace(stepped, rewards=np.full(1, np.nan, np.float32)) if bad else stepped\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "t.jsonl"
    assert main(["run", "--env", "cracked_lanes:CrackedLanes", "--ticks", "9", "--telemetry-path", str(path)]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "tick" in err.splitlines()[-1]
    # What had happened before is there.
    assert [record["tick"] for record in told(path)] == [1, 2]


# One record for many ticks


def test_records_of_stretches_go_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "logs" / "records.jsonl"
    command = ["run", str(KITCHEN), "--ticks", "25", "--telemetry", str(path), "--telemetry-every", "10"]
    assert main([*command, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    records = told(path)
    assert [(record["tick"], record["ticks"], record["agents"]) for record in records] == [
        (10, 10, 2),
        (20, 10, 2),
        (25, 5, 2),
    ]
    assert all(record["format_version"] == 1 for record in records)
    for name, count in result["sources"].items():
        assert sum(record["ticks_by_source"][name] for record in records) == count
    total = sum(record["mean_reward"] * record["agent_ticks"] for record in records)
    assert total == pytest.approx(result["mean_reward"] * 50)


def test_without_a_number_a_record_is_of_a_hundred_ticks_and_both_kinds_go_side_by_side(tmp_path: Path) -> None:
    records, ticks = tmp_path / "records.jsonl", tmp_path / "ticks.jsonl"
    command = ["run", "--ticks", "130", "-q", "--telemetry", str(records), "--telemetry-path", str(ticks)]
    assert main(command) == 0
    assert [record["ticks"] for record in told(records)] == [100, 30]
    assert [record["tick"] for record in told(ticks)] == [*range(1, 131)]


def test_options_that_contradict_each_other_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "t.jsonl")
    assert "both write to one file" in refused(capsys, "--telemetry", path, "--telemetry-path", path)
    assert "no effect without --telemetry" in refused(capsys, "--telemetry-every", "5")
    assert "from 1 to 1,000,000, got 0" in refused(capsys, "--telemetry", path, "--telemetry-every", "0")
    assert str(tmp_path) in refused(capsys, "--telemetry", str(tmp_path), "--ticks", "1")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
def test_records_that_find_no_room_are_warned_of_and_the_run_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--ticks", "20", "--telemetry", "/dev/full", "--telemetry-every", "10"]) == 0
    out, err = capsys.readouterr()
    assert COMPLETED.fullmatch(out.splitlines()[0])
    assert "JsonLinesSink did not take the record of tick 10: OSError: [Errno 28] No space left on device" in err
    assert err.splitlines()[-1] == ("townlet: warning: --telemetry: 2 calls of the sink failed, so records are missing")


def test_the_records_of_a_run_that_fails_are_there_to_its_last_tick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torn_lanes.py").write_text(
        "from lanes import Lanes\n\n"
        "class TornLanes(Lanes):\n    ticks = 0\n\n"
        "    def step(self, actions):\n        self.ticks += 1\n"
        "        if self.ticks == 8:\n            raise RuntimeError('torn')\n"
        "        return super().step(actions)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "t.jsonl"
    command = ["run", "--env", "torn_lanes:TornLanes", "--ticks", "20", "-q", "--telemetry", str(path)]
    assert main([*command, "--telemetry-every", "5"]) == 1
    assert [(record["tick"], record["ticks"]) for record in told(path)] == [(5, 5), (7, 2)]


# Registered sinks


class Dashboard:
    """Prints what a dashboard would show."""

    def __init__(self, place: str) -> None:
        self.place = place

    def write(self, record: TelemetryRecord) -> None:
        sys.stderr.write(f"{self.place}: tick {record.tick}\n")

    def close(self) -> None:
        sys.stderr.write(f"{self.place}: closed\n")


def register(monkeypatch: pytest.MonkeyPatch, factory: object) -> None:
    """Let an installed package have registered a sink `dash`."""
    monkeypatch.setattr(module, "registered_names", lambda group: ("dash",) if group == module.SINKS else ())
    monkeypatch.setattr(
        module, "registered_factory", lambda group, name: factory if (group, name) == (module.SINKS, "dash") else None
    )


def test_a_registered_sink_is_given_its_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    register(monkeypatch, Dashboard)
    command = ["run", "--ticks", "4", "-q", "--telemetry", "dash:http://localhost:9", "--telemetry-every", "2"]
    assert main(command) == 0
    assert capsys.readouterr().err.splitlines() == [
        "http://localhost:9: tick 2",
        "http://localhost:9: tick 4",
        "http://localhost:9: closed",
    ]


@pytest.mark.parametrize(
    ("factory", "problem"),
    [
        (lambda: None, "the telemetry sink `dash` must take one argument, the text after its name"),
        (lambda text: text, "the telemetry sink `dash` must make a `TelemetrySink` (write, close), got 'x'"),
        (lambda text: 1 / 0, "the telemetry sink `dash` raised ZeroDivisionError: division by zero"),
    ],
)
def test_what_is_no_sink_is_refused_before_the_first_tick(
    factory: object, problem: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    register(monkeypatch, factory)
    assert problem in refused(capsys, "--ticks", "1", "--telemetry", "dash:x")


def test_a_colon_of_another_word_belongs_to_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, Dashboard)
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--ticks", "1", "-q", "--telemetry", "board:x"]) == 0
    assert len(told(tmp_path / "board:x")) == 1
