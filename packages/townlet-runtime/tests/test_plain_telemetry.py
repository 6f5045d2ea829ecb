"""Ticks of a `PolicyRuntime`, told to telemetry and to the log."""

import logging
from typing import Any

import pytest
from plain_world import PlainWorld, seen, world_of

from townlet_behavior import AgentIntent
from townlet_runtime.cli.reports.health import parse_health
from townlet_runtime.core.stretches import Telemetry, TelemetryRecord
from townlet_runtime.errors import SimulationError
from townlet_runtime.plain import PlainOptions, PolicyRuntime

LOGGER = "townlet_runtime.core.telemetry"
SILENT = {"policy_runtime": {"option_commit_ticks": 0}}


class Kept:
    def __init__(self) -> None:
        self.records: list[TelemetryRecord] = []
        self.closed = False

    def write(self, record: TelemetryRecord) -> None:
        self.records.append(record)

    def close(self) -> None:
        self.closed = True


class Waits:
    """A script."""

    def decide(self, world: PlainWorld, agent_id: str) -> AgentIntent:
        return AgentIntent(kind="wait")


def runtime_of(**more: Any) -> PolicyRuntime[Any, Any]:
    return PolicyRuntime(SILENT, behavior=Waits(), **more)


def live(runtime: PolicyRuntime[Any, Any], world: PlainWorld, ticks: int, *, reward: float = 0.0) -> None:
    """Some ticks, in which every agent gets a reward in two parts."""
    for _ in range(ticks):
        runtime.decide(world, world.tick)
        runtime.post_step(dict.fromkeys(world.agents, reward / 2), {})
        runtime.post_step(dict.fromkeys(world.agents, reward / 2), {})
        runtime.flush_transitions(seen(*world.agents, value=world.tick))
        world.tick += 1


def test_records_by_hand() -> None:
    runtime, world, kept = runtime_of(), world_of("ann", "bob"), Kept()
    with Telemetry([kept], every=3) as telemetry:
        runtime.on_telemetry(telemetry)
        live(runtime, world, 3, reward=1.0)
        # The third tick is over when the fourth begins: until then it may be rewarded.
        assert kept.records == []
        del world.agents["bob"]
        live(runtime, world, 2, reward=4.0)
        assert [record.tick for record in kept.records] == [3]
        runtime.post_step({"ann": 6.0}, {})
    first, last = kept.records
    assert kept.closed
    assert (first.tick, first.ticks, first.agents, first.agent_ticks) == (3, 3, 2, 6)
    assert first.ticks_by_source == {"scripted": 6, "learned": 0, "external": 0}
    assert first.mean_reward == pytest.approx(1.0)
    assert (first.policies, first.ratios) == ({"agents": None}, {"agents": 0.0})
    # 4 and 4 + 6
    assert (last.tick, last.ticks, last.agents, last.agent_ticks, last.mean_reward) == (5, 2, 1, 2, 7.0)
    assert 0.0 < first.tick_ms_p50 <= first.tick_ms_p99


def test_who_decides_is_counted_in_the_stretch_alone() -> None:
    runtime, world, kept = runtime_of(), world_of("ann", "bob"), Kept()
    runtime.set_policy_action_provider(lambda *_: AgentIntent(kind="move", position=(9, 9)))
    runtime.set_policy_hash("mine")
    with Telemetry([kept], every=2) as telemetry:
        runtime.on_telemetry(telemetry)
        live(runtime, world, 2)
        runtime.enable_anneal_blend(True)
        runtime.set_anneal_ratio(1.0)
        live(runtime, world, 2)
    assert [record.ticks_by_source["learned"] for record in kept.records] == [0, 4]
    assert [record.ticks_by_source["scripted"] for record in kept.records] == [4, 0]
    assert [record.policies for record in kept.records] == [{"agents": "mine"}] * 2
    assert [record.ratios["agents"] for record in kept.records] == [0.0, 1.0]


def test_what_is_collected_in_one_form_is_neither_waiting_nor_dropped() -> None:
    def records(collect: bool) -> list[TelemetryRecord]:
        runtime, world, kept = runtime_of(options=PlainOptions(max_rows=3)), world_of("ann"), Kept()
        runtime.observe(seen("ann"))
        with Telemetry([kept], every=5) as telemetry:
            runtime.on_telemetry(telemetry)
            for _ in range(10):
                live(runtime, world, 1)
                if collect:
                    runtime.collect_trajectory()
        return kept.records

    assert [(each.queue_rows, each.dropped_rows) for each in records(collect=True)] == [(0, 0), (0, 0)]
    waiting = records(collect=False)
    assert all(each.queue_rows > 0 for each in waiting)
    assert sum(each.dropped_rows for each in waiting) >= 10 - 3 - 1


def test_a_reset_and_a_restore_end_a_stretch() -> None:
    runtime, world, kept = runtime_of(), world_of("ann"), Kept()
    with Telemetry([kept], every=10) as telemetry:
        runtime.on_telemetry(telemetry)
        live(runtime, world, 4)
        state = runtime.save_state()
        runtime.reset_state()
        world.tick = 0
        live(runtime, world, 3)
        world.tick = 4
        runtime.restore(state, world)
        live(runtime, world, 2)
    assert [(each.tick, each.ticks) for each in kept.records] == [(4, 4), (3, 3), (6, 2)]
    assert [each.ticks_by_source["scripted"] for each in kept.records] == [4, 3, 2]


def test_another_telemetry_takes_over_and_none_ends_it() -> None:
    runtime, world, first, second = runtime_of(), world_of("ann"), Kept(), Kept()
    telemetry, other = Telemetry([first], every=10), Telemetry([second], every=10)
    runtime.on_telemetry(telemetry)
    live(runtime, world, 2)
    runtime.on_telemetry(other)
    live(runtime, world, 3)
    runtime.on_telemetry(None)
    live(runtime, world, 4)
    telemetry.close()
    other.close()
    assert [(each.tick, each.ticks) for each in (*first.records, *second.records)] == [(2, 2), (5, 3)]
    with pytest.raises(SimulationError, match="of its own for each loop"):
        runtime.on_telemetry(telemetry)


def test_every_decision_leaves_the_health_line_that_readers_know(caplog: pytest.LogCaptureFixture) -> None:
    runtime, world = runtime_of(options=PlainOptions(max_rows=2)), world_of("ann")
    runtime.observe(seen("ann"))
    live(runtime, world, 1)
    assert caplog.messages == []
    with caplog.at_level(logging.INFO, logger=LOGGER):
        live(runtime, world, 4)
    records = [parse_health(line.encode(), "log") for line in caplog.messages]
    assert [None if one is None else one["tick"] for one in records] == [2, 3, 4, 5]
    assert all(one is not None and 0.0 <= float(one["duration_ms"] or 0.0) < 1e5 for one in records)
    last = records[-1]
    # Of the four steps before, two frames are kept, and one row for training beside the one that is open.
    assert last is not None and (last["queue"], last["dropped"]) == (1, 2)
