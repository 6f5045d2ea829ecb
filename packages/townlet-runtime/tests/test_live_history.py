"""The last ticks of a watched world, beside what a loop over agents finds."""

from __future__ import annotations

import numpy as np
import pytest
from test_live_stage import stage_of

from townlet_behavior import DecisionBatch, Kind, Source
from townlet_runtime.live import history as history_module
from townlet_runtime.live.history import STRIP_TICKS, Decider, deciders_of
from townlet_runtime.live.stage import Stage
from townlet_runtime.simulation.interface import AGENTS
from townlet_runtime.town import Town, TownConfig

PROPOSERS = ("fallback", "oracle")


def decided(**columns: object) -> DecisionBatch:
    """Six agents of which nothing is said, but for `columns`."""
    size = 6
    integers = ("action", "chosen_action", "expert_action", "held_action", "drawn_action")
    plain = {name: np.zeros(size, np.int64) for name in integers}
    plain |= {name: np.zeros(size, np.int8) for name in ("kind", "source", "veto_reason", "proposer")}
    plain |= {name: np.zeros(size, np.bool_) for name in ("vetoed", "possessed", "demonstrated")}
    plain |= {name: np.zeros(size, np.int32) for name in ("ticks_left", "proposal_age", "observation_age")}
    numbers = ("behavior_log_prob", "policy_log_prob", "value", "ratio", "temperature")
    plain |= {name: np.zeros(size, np.float32) for name in numbers}
    plain["held_action"] -= 1
    given = {name: np.asarray(column, plain[name].dtype) for name, column in columns.items()}
    return DecisionBatch(**{**plain, **given})


def naive(decisions: DecisionBatch, row: int) -> Decider:
    """Who decided about one agent, the last word first."""
    if decisions.vetoed[row]:
        return Decider.VETOED
    if decisions.possessed[row]:
        return Decider.PERSON
    if decisions.kind[row] == Kind.FORCED:
        return Decider.COMMITTED if decisions.held_action[row] >= 0 else Decider.ONLY_ACTION
    if decisions.source[row] == Source.LEARNED:
        return Decider.LEARNED
    return {0: Decider.FALLBACK, 1: Decider.MIND, -1: Decider.SCRIPT}[int(decisions.proposer[row])]


def test_the_decider_is_the_one_with_the_last_word() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        decisions = decided(
            vetoed=rng.random(6) < 0.2,
            possessed=rng.random(6) < 0.3,
            kind=rng.integers(0, 3, 6),
            source=rng.integers(0, 2, 6),
            held_action=rng.integers(-1, 2, 6),
            proposer=rng.integers(-1, 2, 6),
        )
        assert deciders_of(decisions, PROPOSERS).tolist() == [naive(decisions, row) for row in range(6)]


def after(ticks: int, *, agents: int = 5) -> Stage:
    stage = stage_of(Town(TownConfig(num_agents=agents), num_worlds=1))
    for _ in range(ticks):
        stage.history.record(stage.loop.step())
    return stage


def test_a_strip_has_the_last_ticks_of_one_agent() -> None:
    stage = after(STRIP_TICKS + 10)
    runtime = stage.runtimes[AGENTS]
    assert runtime.decided is not None
    agent = str(runtime.decided.observed.agent_ids[3])
    strip = stage.history.strip_of(agent)
    assert strip["ticks"] == list(range(10, STRIP_TICKS + 10))
    assert {len(column) for column in strip.values()} == {STRIP_TICKS}
    assert strip["action"][-1] == runtime.decided.decisions.action[3]
    assert stage.history.strip_of("nobody")["ticks"] == []


def test_a_moment_is_explained_as_the_runtime_explains_it() -> None:
    stage = after(20)
    runtime, history = stage.runtimes[AGENTS], stage.history
    for agent, explained in runtime.latest_decisions().items():
        found = history.moment(agent, None)
        assert found is not None
        group, whole = found
        kept = whole.explained(runtime)
        assert (group, kept.why, kept.action, kept.numbers) == (
            AGENTS,
            explained.why,
            explained.action,
            explained.numbers,
        )
        assert kept.reward is not None
    assert history.moment(agent, 19) is not None
    assert history.moment(agent, 20) is None


def test_of_many_agents_those_that_are_looked_at_are_kept_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "ALWAYS_WHOLE", 2)
    stage = after(3)
    history, agents = stage.history, stage.runtimes[AGENTS].latest_decisions()
    one, other = list(agents)[:2]
    assert history.moment(one, None) is None
    history.look_at(one, 1)
    history.look_at(one, 1)
    history.record(stage.loop.step())
    assert history.moment(one, None) is not None
    assert history.moment(other, None) is None
    history.look_at(one, -1)
    history.record(stage.loop.step())
    assert history.moment(one, 4) is not None
    history.look_at(one, -1)
    history.record(stage.loop.step())
    assert history.moment(one, 5) is None


def test_a_point_counts_every_agent_once() -> None:
    stage = after(30)
    points = stage.history.points()
    assert [point.tick for point in points] == list(range(30))
    assert {int(point.deciders.sum()) for point in points} == {5}
    assert {len(point.vetoes) for point in points} == {len(stage.history.veto_reasons)}
    vetoes = sum(int(point.vetoes.sum()) for point in points)
    assert vetoes == sum(stage.runtimes[AGENTS].counts().vetoes.values())
