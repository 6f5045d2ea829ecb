"""What a page is told of a run that trains: rows as they come, columns as they appear, evaluations and gates."""

from __future__ import annotations

import json
from typing import Any

import pytest

from townlet_runtime.live import run_feed
from townlet_runtime.live.run_feed import Place, RunFeed, Told, evaluations_told
from townlet_trajectory.evaluation.gates import GateResult, Verdict
from townlet_trajectory.evaluation.results import EvaluationRecord


class Log:
    """Lines that are appended, and read once."""

    def __init__(self) -> None:
        self._new: list[bytes] = []

    def add(self, **values: Any) -> None:
        self._new.append(json.dumps(values).encode())

    def take(self) -> list[bytes]:
        new, self._new = self._new, []
        return new


def feed_of(log: Log) -> RunFeed:
    return RunFeed(log.take)


def told(feed: RunFeed, place: Place) -> tuple[list[dict[str, Any]], Place]:
    feed.look()
    return feed.messages(place)


def test_a_client_gets_what_it_lacks_and_no_more() -> None:
    log = Log()
    feed = feed_of(log)
    log.add(epoch=1, env_steps=8, reward_mean=0.5, stage="anneal", anneal_bc_passed=True, kl_divergence=None)
    log.add(epoch=2, env_steps=16, reward_mean=0.25)
    (first,), place = told(feed, Place())
    assert first["columns"] == ["env_steps", "reward_mean"]  # no text, no flag, nothing that is never a number
    assert (first["from"], first["rows"], first["updates"]) == (0, [[8.0, 0.5], [16.0, 0.25]], 2)
    assert not feed.look()
    assert feed.messages(place) == ([], place)
    log.add(epoch=3, env_steps=24, reward_mean=0.125)
    (next_one,), place = told(feed, place)
    # the newest row once more, which may have got more columns, and those after it
    assert (next_one["from"], next_one["rows"]) == (1, [[16.0, 0.25], [24.0, 0.125]])
    # another client has nothing yet
    (whole,), _ = feed.messages(Place())
    assert len(whole["rows"]) == 3


def test_a_number_that_appears_later_is_a_column_of_all_rows() -> None:
    log = Log()
    feed = feed_of(log)
    log.add(epoch=1, env_steps=8, reward_mean=0.5)
    _, place = told(feed, Place())
    log.add(epoch=2, env_steps=16, reward_mean=0.25, kl_divergence=0.01)
    (message,), _ = told(feed, place)
    assert message["columns"] == ["env_steps", "reward_mean", "kl_divergence"]
    assert (message["from"], message["rows"]) == (0, [[8.0, 0.5, None], [16.0, 0.25, 0.01]])


def test_groups_of_agents_share_the_row_of_an_update() -> None:
    log = Log()
    feed = feed_of(log)
    for epoch in (1, 2):
        log.add(epoch=epoch, env_steps=8 * epoch, reward_mean=0.5 * epoch, group="left")
        log.add(epoch=epoch, env_steps=8 * epoch, reward_mean=-1.0 * epoch, group="right")
    (message,), _ = told(feed, Place())
    assert message["columns"] == ["env_steps", "reward_mean (left)", "reward_mean (right)"]
    assert message["rows"] == [[8.0, 0.5, -1.0], [16.0, 1.0, -2.0]]
    assert message["updates"] == 2


def test_a_run_on_records_alone_is_counted_in_updates() -> None:
    log = Log()
    feed = feed_of(log)
    log.add(epoch=1, env_steps=0, loss_total=2.0)
    log.add(epoch=2, env_steps=0, loss_total=1.0)
    (message,), _ = told(feed, Place())
    assert (message["columns"], message["rows"]) == (["epoch", "loss_total"], [[1.0, 2.0], [2.0, 1.0]])


def test_a_long_log_is_thinned_and_sent_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_feed, "MAX_ROWS", 6)
    monkeypatch.setattr(run_feed, "ROWS_AT_ONCE", 3)
    log = Log()
    feed = feed_of(log)
    for epoch in range(1, 16):
        log.add(epoch=epoch, env_steps=epoch, reward_mean=epoch / 16)
    messages, place = told(feed, Place())
    # 7 rows were one too many: every second was left, then (9, 11, 13: 7 rows again) every fourth
    assert [row[0] for message in messages for row in message["rows"]] == [1, 5, 9, 13]
    assert [message["from"] for message in messages] == [0, 3]
    assert messages[0]["updates"] == 15
    assert place.rows == 4


def record(env_steps: int, *, gate: GateResult | None = None, mean: float = 1.5) -> EvaluationRecord:
    return EvaluationRecord(
        env_steps=env_steps,
        agent_steps=env_steps,
        stage="ppo",
        ratio=1.0,
        attempt=0,
        return_mean=mean,
        return_ci=(1.0, 2.0),
        normalized=None,
        baselines={},
        gate=gate,
    )


def test_evaluations_are_told_with_their_gates() -> None:
    passed = GateResult(name="kept_score_16", verdict=Verdict.PASSED, detail="kept 0.9")
    unknown = GateResult(name="kept_score_24", verdict=Verdict.NOT_ENOUGH_EVIDENCE, detail="3 episodes")
    failed = GateResult(name="acts_alone", verdict=Verdict.FAILED, detail="never")
    found = evaluations_told([record(16, gate=passed), record(24, gate=unknown), record(32)], failed)
    assert [(one["at"], one["name"], one["value"], one["passed"]) for one in found] == [
        (16, "mean return", 1.5, None),
        (16, "gate kept_score_16", None, True),
        (24, "mean return", 1.5, None),
        (24, "gate kept_score_24", None, None),
        (32, "mean return", 1.5, None),
        (32, "gate acts_alone", None, False),
    ]
    assert found[0]["note"] == "95 % within 1 to 2" and found[1]["note"] == "kept 0.9"


def test_a_gate_that_ended_the_run_is_told_once() -> None:
    failed = GateResult(name="kept_score_16", verdict=Verdict.FAILED, detail="0.2")
    assert [one["passed"] for one in evaluations_told([record(16, gate=failed)], failed)] == [None, False]


def test_how_far_it_is_comes_without_a_new_row() -> None:
    log = Log()
    feed = feed_of(log)
    _, place = told(feed, Place())
    feed.tell(Told(stage="clone", ratio=0.0, left_s=12.5))
    (message,), place = told(feed, place)
    assert (message["stage"], message["ratio"], message["left_s"], message["rows"]) == ("clone", 0.0, 12.5, [])
    feed.tell_row({"stage": "replay", "ratio": 0.5, "epoch": 1})
    (message,), _ = told(feed, place)
    assert (message["stage"], message["ratio"], message["left_s"]) == ("replay", 0.5, None)
