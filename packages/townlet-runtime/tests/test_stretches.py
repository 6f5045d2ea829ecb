"""Records of telemetry: counts of a stretch alone, percentiles that were measured, and sinks that fail."""

import json
import logging
import math
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from crossing import Crossing
from hypothesis import given
from hypothesis import strategies as st
from strategies import LinearPolicy, bridge_config, seeds

from townlet_behavior import BridgeConfig, Kind, Tally
from townlet_runtime.core.loop import BatchLoop, GroupedLoop, runtimes_of
from townlet_runtime.core.runtime import BatchRuntime
from townlet_runtime.core.stretches import (
    MAX_EVERY,
    JsonLinesSink,
    Reading,
    Telemetry,
    TelemetryRecord,
    TelemetrySink,
    percentiles,
)
from townlet_runtime.errors import ConfigError, SimulationError
from townlet_runtime.simulation.recorded import schema_of
from townlet_runtime.testing import Corridor, CorridorConfig
from townlet_trajectory import TrajectoryService

ROOMY = CorridorConfig(places=3, max_absence=3, slip=0.3, episode_ticks=9)


class Kept:
    """A sink that keeps what it gets, and fails at some records."""

    def __init__(self, *, failing: tuple[int, ...] = (), failing_at_the_end: bool = False) -> None:
        self.records: list[TelemetryRecord] = []
        self.closed = 0
        self._failing, self._failing_at_the_end = failing, failing_at_the_end
        self._calls = 0

    def write(self, record: TelemetryRecord) -> None:
        self._calls += 1
        if self._calls in self._failing:
            raise ConnectionError("the dashboard is gone")
        self.records.append(record)

    def close(self) -> None:
        self.closed += 1
        if self._failing_at_the_end:
            raise ConnectionError("still gone")


def recording_loop(
    *, telemetry: Telemetry | None, seed: int = 4, max_rows: int = 10_000, records: bool = True
) -> BatchLoop:
    """A blended corridor that records."""
    corridor = Corridor(ROOMY, num_worlds=2)
    schema = schema_of(corridor.spec, masked=True)
    service = TrajectoryService(schema, max_rows=max_rows, on_full="drop_oldest") if records else None
    policy = LinearPolicy(corridor.spec, seed=2)
    config = bridge_config(corridor, ratio=0.5)
    runtime = BatchRuntime(
        corridor.spec, corridor.scripted("scripted"), config=config, policy=policy, service=service, seed=seed
    )
    loop = BatchLoop(corridor, runtime, telemetry=telemetry)
    loop.reset(seed=7)
    return loop


def tally(scale: int, *, reason: str = "queue_rival") -> Tally:
    return Tally(
        decisions={"scripted": 3 * scale, "learned": 5 * scale, "external": 0},
        ticks={"scripted": 4 * scale, "learned": 8 * scale, "external": 2 * scale},
        vetoes={"action_mask": 0, reason: scale},
        forced=4 * scale,
        foreign=2 * scale,
        policy_errors=6 * scale,
        proposals={"script": 10 * scale, "mind": scale},
    )


def reading(scale: int, *, reason: str = "queue_rival") -> Reading:
    return Reading(
        counts=tally(scale, reason=reason), policy="ab", ratio=0.25, queue_rows=7 * scale, dropped_rows=9 * scale
    )


def test_a_record_by_hand() -> None:
    # Two groups of agents; before the stretch they had counted once and twice, after it three and seven times.
    groups = {"cats": reading(1), "dogs": reading(2, reason="chat_rival")}
    kept = Kept()
    telemetry = Telemetry([kept], every=4)
    telemetry.begin(lambda: groups)
    for tick, milliseconds in enumerate((3.0, 1.0, 9.0), start=11):
        telemetry.tick_done(tick=tick, duration_s=1e-3 * milliseconds, agents=2, reward_sum=0.5)
    groups = {"cats": reading(3), "dogs": reading(7, reason="chat_rival")}
    telemetry.tick_done(tick=14, duration_s=0.002, agents=4, reward_sum=-4.0)
    (record,) = kept.records
    assert (record.tick, record.ticks, record.agents, record.agent_ticks) == (14, 4, 4, 10)
    # 2 + 5 = 7 more of everything.
    assert record.decisions_by_source == {"scripted": 21, "learned": 35, "external": 0}
    assert record.ticks_by_source == {"scripted": 28, "learned": 56, "external": 14}
    assert record.vetoes_by_reason == {"action_mask": 0, "queue_rival": 2, "chat_rival": 5}
    assert record.proposals_by_proposer == {"script": 70, "mind": 7}
    assert (record.forced, record.foreign, record.policy_errors, record.dropped_rows) == (28, 14, 42, 63)
    # What waits is what waits now: 7 · 3 + 7 · 7.
    assert record.queue_rows == 70
    # Of 1, 2, 3 and 9 ms: half of the ticks took no longer than 2, 99 % no longer than 9.
    assert (record.tick_ms_p50, record.tick_ms_p99) == pytest.approx((2.0, 9.0))
    assert record.policies == {"cats": "ab", "dogs": "ab"} and record.ratios == {"cats": 0.25, "dogs": 0.25}
    assert record.mean_reward == pytest.approx((3 * 0.5 - 4.0) / 10)
    assert record.sink_errors == 0
    assert record.unix_time > 1.7e9


def test_percentiles_by_hand() -> None:
    hundred = np.arange(1.0, 101.0)[::-1].copy()
    assert percentiles(hundred, (0.5, 0.99, 1.0)) == [50.0, 99.0, 100.0]
    # ⌈0.99 · 101⌉ = 100
    assert percentiles(np.arange(1.0, 102.0), (0.99,)) == [100.0]
    assert percentiles(np.array([3.5]), (0.5, 0.99)) == [3.5, 3.5]


@given(st.lists(st.floats(0.0, 1e3), min_size=1, max_size=300), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_percentile_was_measured_and_is_the_least_that_covers_its_share(times: list[float], share: float) -> None:
    (found,) = percentiles(np.array(times), (share,))
    assert found in times
    assert sum(each <= found for each in times) >= share * len(times)
    assert sum(each < found for each in times) < share * len(times)


def test_records_say_what_the_recorder_has_seen_of_the_same_ticks() -> None:
    kept = Kept()
    with Telemetry([kept], every=7) as telemetry:
        loop = recording_loop(telemetry=telemetry)
        loop.run_for(24)
    assert [(each.tick, each.ticks) for each in kept.records] == [(7, 7), (14, 7), (21, 7), (24, 3)]
    assert kept.closed == 1
    batch = loop.runtime.collect_trajectory()
    ticks, columns = batch.ticks, batch.columns
    begin = 0
    for record in kept.records:
        rows = (ticks >= begin) & (ticks < record.tick)
        begin = record.tick
        kind, source = columns["kind"][rows], columns["source"][rows]
        assert record.agent_ticks == len(kind) == sum(record.ticks_by_source.values())
        assert record.agents == np.count_nonzero(ticks == record.tick - 1)
        assert list(record.ticks_by_source.values()) == [np.count_nonzero(source == code) for code in range(3)]
        decided = source[kind == Kind.DECISION]
        assert list(record.decisions_by_source.values()) == [np.count_nonzero(decided == code) for code in range(3)]
        assert record.proposals_by_proposer == {"script": np.count_nonzero(columns["proposer"][rows] == 0)}
        assert record.forced == np.count_nonzero(kind == Kind.FORCED)
        assert record.foreign == np.count_nonzero(kind == Kind.FOREIGN)
        assert sum(record.vetoes_by_reason.values()) == np.count_nonzero(columns["vetoed"][rows])
        assert record.mean_reward == pytest.approx(batch.rewards[rows].mean(dtype=np.float64))
        assert record.queue_rows == np.count_nonzero(ticks < record.tick)
        assert record.policies == {"agents": LinearPolicy.digest} and record.ratios == {"agents": 0.5}
        assert 0.0 < record.tick_ms_p50 <= record.tick_ms_p99
    # Both decide, and options are held: the numbers say something.
    assert all(sum(each.ticks_by_source[name] for each in kept.records) for name in ("scripted", "learned"))
    assert sum(each.forced for each in kept.records)


@given(st.integers(1, 12), st.integers(1, 30), seeds)
def test_stretches_of_any_length_add_up_to_the_whole_and_change_no_decision(every: int, ticks: int, seed: int) -> None:
    kept = Kept()
    with Telemetry([kept], every=every) as telemetry:
        watched = recording_loop(telemetry=telemetry, seed=seed, max_rows=20)
        report = watched.run_for(ticks)
    unwatched = recording_loop(telemetry=None, seed=seed, max_rows=20)
    unwatched.run_for(ticks)
    first, second = (loop.runtime.collect_trajectory() for loop in (watched, unwatched))
    assert all(np.array_equal(first.columns[name], second.columns[name]) for name in first.columns)
    assert sum(each.ticks for each in kept.records) == ticks
    assert sum(each.agent_ticks for each in kept.records) == report.agent_ticks
    service = watched.runtime.service
    assert service is not None and sum(each.dropped_rows for each in kept.records) == service.dropped_rows
    whole = watched.runtime.counts()
    for name, counts in (
        ("decisions_by_source", whole.decisions),
        ("ticks_by_source", whole.ticks),
        ("vetoes_by_reason", whole.vetoes),
        ("proposals_by_proposer", whole.proposals),
    ):
        assert {key: sum(getattr(each, name)[key] for each in kept.records) for key in counts} == counts
    assert sum(each.forced for each in kept.records) == whole.forced
    assert sum(each.foreign for each in kept.records) == whole.foreign


class Asked(BatchRuntime):
    """Counts how often it is asked for its counts."""

    times = 0

    def counts(self) -> Tally:
        self.times += 1
        return super().counts()


@pytest.mark.parametrize("every", [None, 10])
def test_no_runtime_is_asked_within_a_stretch_and_none_without_telemetry(every: int | None) -> None:
    corridor = Corridor(ROOMY)
    runtime = Asked(
        corridor.spec, corridor.scripted("scripted"), config=BridgeConfig(), policy=None, service=None, seed=1
    )
    telemetry = None if every is None else Telemetry([Kept()], every=every)
    loop = BatchLoop(corridor, runtime, telemetry=telemetry)
    loop.reset(seed=1)
    runtime.times = 0
    for _ in range(35):
        loop.step()
    assert runtime.times == (0 if every is None else 3)


def test_a_reset_and_a_restore_end_a_stretch() -> None:
    kept = Kept()
    with Telemetry([kept], every=10) as telemetry:
        loop = recording_loop(telemetry=telemetry, records=False)
        loop.run_for(4)
        state = loop.save_state()
        assert state is not None
        loop.reset(seed=8)
        loop.run_for(3)
        loop.restore(state)
        loop.run_for(12)
    assert [(each.tick, each.ticks) for each in kept.records] == [(4, 4), (8, 3), (14, 10), (16, 2)]
    assert all(each.agent_ticks == sum(each.ticks_by_source.values()) for each in kept.records)


def test_a_runtime_that_was_reset_by_itself_counts_from_zero() -> None:
    kept = Kept()
    telemetry = Telemetry([kept], every=2)
    counts = [reading(5), reading(1)]
    telemetry.begin(lambda: {"agents": counts[0]})
    del counts[0]
    for tick in (1, 2):
        telemetry.tick_done(tick=tick, duration_s=0.0, agents=7, reward_sum=0.0)
    (record,) = kept.records
    assert record.ticks_by_source == {"scripted": 4, "learned": 8, "external": 2}
    assert (record.forced, record.dropped_rows) == (4, 0)


def test_the_groups_of_a_world_are_told_apart_where_they_differ() -> None:
    crossing, kept = Crossing(2), Kept()
    runtimes = runtimes_of(
        crossing, crossing.scripted("scripted"), config=BridgeConfig(), policies=None, services=None, seed=1
    )
    first, second = crossing.specs
    runtimes[second].set_anneal_ratio(0.75)
    with Telemetry([kept], every=5) as telemetry:
        loop = GroupedLoop(crossing, runtimes, telemetry=telemetry)
        loop.reset(seed=5)
        report = loop.run_for(5)
    (record,) = kept.records
    assert record.ratios == {first: 0.0, second: 0.75} and record.policies == {first: None, second: None}
    assert record.agent_ticks == report.agent_ticks == record.ticks_by_source["scripted"]
    assert record.mean_reward == pytest.approx(report.mean_reward)


def test_a_sink_that_raises_lacks_a_record_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    broken, whole = Kept(failing=(2, 3), failing_at_the_end=True), Kept()
    with caplog.at_level(logging.WARNING), Telemetry([broken, whole], every=5) as telemetry:
        loop = recording_loop(telemetry=telemetry)
        loop.run_for(25)
        assert telemetry.sink_errors == 2
    assert [each.tick for each in whole.records] == [5, 10, 15, 20, 25]
    assert [each.tick for each in broken.records] == [5, 20, 25]
    # Each record counts the failures since the one before it.
    assert [each.sink_errors for each in whole.records] == [0, 0, 1, 1, 0]
    assert caplog.messages == [
        "telemetry: Kept did not take the record of tick 10: ConnectionError: the dashboard is gone",
        "telemetry: Kept did not take the record of tick 15: ConnectionError: the dashboard is gone",
        "telemetry: Kept failed to close: ConnectionError: still gone",
    ]
    assert (broken.closed, whole.closed, telemetry.sink_errors) == (1, 1, 3)
    unwatched = recording_loop(telemetry=None)
    unwatched.run_for(25)
    first, second = (each.runtime.collect_trajectory() for each in (loop, unwatched))
    assert np.array_equal(first.columns["action"], second.columns["action"])


def test_a_person_who_interrupts_is_no_sink_that_fails() -> None:
    class Interrupted(Kept):
        def write(self, record: TelemetryRecord) -> None:
            raise KeyboardInterrupt

    telemetry = Telemetry([Interrupted()], every=1)
    telemetry.begin(lambda: {"agents": reading(1)})
    with pytest.raises(KeyboardInterrupt):
        telemetry.tick_done(tick=1, duration_s=0.0, agents=1, reward_sum=0.0)
    assert telemetry.sink_errors == 0


@pytest.mark.parametrize("reward", [math.nan, math.inf])
def test_rewards_that_are_no_numbers_reach_no_sink(reward: float) -> None:
    kept = Kept()
    telemetry = Telemetry([kept], every=1)
    telemetry.begin(lambda: {"agents": reading(1)})
    with pytest.raises(SimulationError, match=f"tick 3: expected finite rewards, got a sum of {reward}"):
        telemetry.tick_done(tick=3, duration_s=0.0, agents=1, reward_sum=reward)
    assert kept.records == []


def test_an_empty_world_has_no_mean_reward() -> None:
    kept = Kept()
    telemetry = Telemetry([kept], every=1)
    telemetry.begin(lambda: {"agents": reading(1)})
    telemetry.tick_done(tick=1, duration_s=0.0, agents=0, reward_sum=0.0)
    assert kept.records[0].mean_reward is None


@pytest.mark.parametrize("every", [0, -1, MAX_EVERY + 1])
def test_a_stretch_has_a_length(every: int) -> None:
    with pytest.raises(ConfigError, match=rf"`every` must be in \[1, {MAX_EVERY}\], got {every}"):
        Telemetry([], every=every)


def test_telemetry_is_of_one_loop_and_closed_once() -> None:
    kept = Kept()
    telemetry = Telemetry([kept], every=10)
    recording_loop(telemetry=telemetry)
    with pytest.raises(SimulationError, match="a `Telemetry` of its own for each loop"):
        recording_loop(telemetry=telemetry)
    telemetry.close()
    telemetry.close()
    assert kept.closed == 1 and kept.records == []


def test_a_file_has_a_line_for_each_record_as_soon_as_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "telemetry.jsonl"
    sink = JsonLinesSink(path)
    assert isinstance(sink, TelemetrySink)
    with Telemetry([sink], every=3) as telemetry:
        loop = recording_loop(telemetry=telemetry)
        loop.run_for(6)
        lines = path.read_text().splitlines()
        assert len(lines) == 2
        loop.run_for(1)
    lines = path.read_text().splitlines()
    assert [json.loads(line)["ticks"] for line in lines] == [3, 3, 1]
    for line in lines:
        assert list(json.loads(line)) == ["format_version", *(field.name for field in fields(TelemetryRecord))]
        assert json.loads(line)["format_version"] == 1
    # Another run begins the file anew.
    JsonLinesSink(path).close()
    assert path.read_bytes() == b""
