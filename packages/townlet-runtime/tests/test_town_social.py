from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from beginnings import begun

from townlet_behavior import ScriptedConfig
from townlet_runtime.town import (
    AgentSpec,
    JobSpec,
    LifecycleConfig,
    ObjectSpec,
    PersonalityConfig,
    RivalryConfig,
    SocialConfig,
    Town,
    TownConfig,
    TownObserved,
)
from townlet_runtime.town.actions import TABLE
from townlet_runtime.town.observations import FEATURES
from townlet_runtime.town.state import EVENTS, USING

WAIT, CHAT, START = TABLE.index("wait"), TABLE.index("chat"), TABLE.index("start")
EAST, WASH, WORK = TABLE.index("move:east"), TABLE.index("request:shower:first"), TABLE.index("go_to:workplace")
QUIET = TownConfig(
    grid_size=(8, 8),
    lifecycle=LifecycleConfig(departure_rate=0.0),
    objects=(ObjectSpec(id="shower", type="shower", position=(1, 1)),),
)


def together(num_agents: int, *, extroversion: float = 0.5, config: TownConfig = QUIET) -> tuple[Town, TownObserved]:
    """Everybody on one cell, with the same character."""
    agents = tuple(AgentSpec(id=f"a{i}", position=(3, 3), wallet=5.0) for i in range(num_agents))
    town = Town(replace(config, agents=agents), num_worlds=1)
    begun(town, 0)
    town.state.extroversion = np.full(num_agents, extroversion)
    return town, town._observe()


def happened(town: Town, *actions: int) -> dict[str, float]:
    events = town.step(np.array(actions)).events[0]
    return {name: value for name, value in zip(EVENTS, events.tolist(), strict=True) if value}


def feature(observed: TownObserved, name: str) -> list[float]:
    return pytest.approx(observed.observations["features"][:, FEATURES.index(name)].tolist(), abs=1e-6)


def tie(town: Town, one: int, other: int) -> tuple[float, float]:
    found = town.state.relations.towards(np.array([one]), np.array([other]))
    return found.trust.item(), found.familiarity.item()


def test_a_first_chat_by_hand() -> None:
    town, observed = together(3)
    assert observed.action_mask[:, CHAT].all() and observed.can_chat.all()
    assert [0.05] * 3 == feature(observed, "chat_score")
    before = town.state.needs.copy()
    stepped = town.step(np.array([WAIT, CHAT, WAIT]))
    events = dict(zip(EVENTS, stepped.events[0].tolist(), strict=True))
    # Strangers are chatted with in the order of slots; the quality is 0.5 + 0.3 · 0.5 = 0.65.
    assert (events["chat_success_events"], events["chat_failure_events"]) == (1, 0)
    assert events["chat_quality_sum"] == pytest.approx(0.65)
    assert tie(town, 1, 0) == tie(town, 0, 1) == pytest.approx((0.65 * 0.005, 0.65 * 0.01))
    assert tie(town, 1, 2) == tie(town, 2, 1) == (0.0, 0.0)
    # Only who speaks earns: 0.65 · 0.01, beside what it would have earned anyway.
    np.testing.assert_allclose(stepped.rewards - stepped.rewards[0], [0.0, 0.0065, 0.0], atol=1e-7)
    assert (before > town.state.needs).all()
    after = stepped.observed
    assert after.action_mask[:, CHAT].tolist() == [True, False, True]
    assert after.can_chat.tolist() == [True, False, True]
    assert [0.0, 29 / 30, 0.0] == feature(after, "chat_cooldown")
    # 0 knows 1 by now: 0.05 + 0.65 · 0.015; of the two, 2 knows nobody.
    assert [0.05975, 0.0, 0.05] == feature(after, "chat_score")
    for _ in range(29):
        assert not town._observed.action_mask[1, CHAT]
        after = town.step(np.array([WAIT, WAIT, WAIT])).observed
    assert after.action_mask[1, CHAT]


def test_trust_and_familiarity_make_chats_better_and_dearer() -> None:
    town, _ = together(2)
    relations = town.state.relations
    relations.befriend(np.array([0]), np.array([1]), np.array([0.2]), np.array([0.4]))
    town._observe()
    stepped = town.step(np.array([CHAT, WAIT]))
    # Quality 0.5 + 0.15 + 0.2 · 0.2 + 0.1 · 0.4 = 0.73; worth 0.01 + 0.3 · 0.2 + 0.2 · 0.4 = 0.15.
    assert stepped.events[0, EVENTS.index("chat_quality_sum")] == pytest.approx(0.73)
    assert stepped.rewards[0] - stepped.rewards[1] == pytest.approx(0.73 * 0.15, abs=1e-6)


@pytest.mark.parametrize(
    ("stage", "speaker", "listener"), [("OFF", 0.0, 0.0), ("C2", 0.0065, 0.0), ("C3", 0.0065, 0.0065)]
)
def test_the_stage_says_who_earns(stage: str, speaker: float, listener: float) -> None:
    town, _ = together(3, config=replace(QUIET, social=SocialConfig(social_rewards=stage)))
    rewards = town.step(np.array([CHAT, WAIT, WAIT])).rewards
    np.testing.assert_allclose(rewards - rewards[2], [speaker, listener, 0.0], atol=1e-7)
    # Distrust never makes a chat cost anything.
    town, _ = together(3, config=replace(QUIET, social=SocialConfig(social_rewards=stage)))
    town.state.relations.befriend(np.array([0]), np.array([1]), np.array([-0.9]), np.array([0.95]))
    town._observe()
    rewards = town.step(np.array([CHAT, WAIT, WAIT])).rewards
    assert rewards[0] >= rewards[2]


def test_the_script_chats_where_its_needs_are_met() -> None:
    town, observed = together(4)
    town.state.extroversion = np.array([0.1, 0.2, 0.9, 0.9])
    town.state.needs[3, 0] = 0.39
    observed = town._observe()
    proposed = town.scripted("scripted").propose(observed)
    assert proposed.tolist() == [WAIT, CHAT, CHAT, WAIT]


def test_the_liked_are_preferred_to_strangers_and_strangers_to_the_disliked() -> None:
    town, _ = together(4)
    relations = town.state.relations
    relations.befriend(np.array([0, 1]), np.array([3, 3]), np.array([0.1, -0.1]), np.array([0.0, 0.0]))
    relations.embitter(np.array([2]), np.array([0]), np.array([0.2]), tick=0)
    observed = town._observe()
    assert [0.15, 0.05, 0.05, 0.05] == feature(observed, "chat_score")
    town.step(np.array([CHAT, CHAT, CHAT, CHAT]))
    spoken = {(a, b) for a in range(4) for b in range(4) if a != b and tie(town, a, b)[1] > 0.0}
    assert {(0, 3), (1, 0), (2, 1), (3, 0)} <= spoken
    assert spoken == {(0, 3), (3, 0), (1, 0), (0, 1), (2, 1), (1, 2)}


def test_a_chat_fails_where_the_partner_walks_off() -> None:
    town, _ = together(2)
    events = happened(town, CHAT, EAST)
    assert (events["chat_failure_events"], events.get("chat_success_events")) == (1, None)
    assert tie(town, 0, 1) == (-0.005, 0.0)
    assert tie(town, 1, 0) == (0.0, 0.0)
    assert town.state.chat_ready_at.tolist() == [30, 0]


def embittered() -> tuple[Town, TownObserved]:
    """0 cannot stand 1, who does not mind; 2 stands apart."""
    town, _ = together(3)
    town.state.cell[2] += 1
    town.state.relations.embitter(np.array([0]), np.array([1]), np.array([0.8]), tick=0)
    return town, town._observe()


def test_a_rival_is_no_partner() -> None:
    town, observed = embittered()
    assert observed.rival_here.tolist() == [True, False, False]
    assert [1.0, 0.0, 0.0] == feature(observed, "rival_here")
    assert [0.8, 0.0, 0.0] == feature(observed, "rivalry_max")
    assert [1.0, 0.0, 0.0] == feature(observed, "rivalry_avoid_count")
    assert [-1.0, 0.05, 0.0] == feature(observed, "chat_score")
    assert observed.action_mask[:, CHAT].tolist() == [True, True, False]
    assert observed.can_chat.tolist() == [False, True, False]
    (guardrail,) = town.guardrails()
    wishes = np.array([CHAT, CHAT, WAIT])
    verdicts = guardrail.review(observed, wishes)
    assert verdicts.vetoed.tolist() == [True, False, False]
    assert guardrail.reasons[verdicts.reason[0]] == "chat_rival"
    observed.record_blocks(np.array([0]), wishes[:1], verdicts.reason[:1])
    # What was forbidden has failed; and 1 speaks to somebody who does not want to listen.
    assert happened(town, WAIT, CHAT, WAIT)["chat_failure_events"] == 2
    assert town.state.chat_ready_at.tolist() == [30, 30, 0]
    assert not town.state.blocked.any()


def test_nobody_lines_up_with_a_rival() -> None:
    town, _ = embittered()
    town.state.cell[1] = town.place.object_cell[0]
    town._observe()
    observed = town.step(np.array([WAIT, WASH, WAIT])).observed
    assert observed.lines_up_with_rival(np.array([WASH, WASH, WASH])).tolist() == [True, False, False]
    assert observed.lines_up_with_rival(np.array([WAIT, START, EAST])).tolist() == [False, False, False]
    town.state.needs[:] = 1.0
    town.state.needs[:, 1] = 0.1
    assert town.scripted("scripted").propose(observed).tolist() == [WAIT, START, WASH]
    # Somebody who uses the object goes on, whoever waits.
    town.state.phase[0], town.state.object[0] = USING, 0
    observed = town._observe()
    assert not observed.lines_up_with_rival(np.array([WASH, WASH, WASH])).any()


def test_the_script_steps_away_to_the_first_free_side() -> None:
    town, observed = embittered()
    # 2 stands to the east.
    assert observed.step_away[0] == TABLE.index("move:west")
    town.state.extroversion[:] = 0.0
    assert town.scripted("nearest").propose(town._observe()).tolist() == [TABLE.index("move:west"), WAIT, WAIT]


def test_leaving_a_rival_is_worth_something_from_stage_c2_on() -> None:
    for stage, expected in (("C1", 0.0), ("C2", 0.005)):
        town, _ = together(3, config=replace(QUIET, social=SocialConfig(social_rewards=stage)))
        town.state.relations.embitter(np.array([0, 2]), np.array([1, 1]), np.array([0.8, 0.8]), tick=0)
        town._observe()
        rewards = town.step(np.array([EAST, WAIT, WAIT])).rewards
        np.testing.assert_allclose(rewards - rewards[1], [expected, 0.0, 0.0], atol=1e-7)
        # Who is left by its rival has done nothing for it, and who is away already does not leave again.
        rewards = town.step(np.array([EAST, EAST, WAIT])).rewards
        np.testing.assert_allclose(rewards - rewards[1], 0.0, atol=1e-7)


def test_characters_change_quality_and_whom_to_avoid() -> None:
    personality = PersonalityConfig(distribution={}, overrides={"a0": "socialite", "a1": "stoic"}, profiles=True)
    town, _ = together(3, config=replace(QUIET, personality=personality, rivalry=RivalryConfig(avoid_threshold=0.3)))
    # 0.65 · 1.3
    assert happened(town, CHAT, WAIT, WAIT)["chat_quality_sum"] == pytest.approx(0.845)
    town.state.relations.embitter(np.array([0, 1]), np.array([2, 2]), np.array([0.45, 0.45]), tick=1)
    # The stoic one avoids from 0.3 / 0.6 = 0.5 on.
    assert town._observe().rival_here.tolist() == [True, False, False]
    assert town._observe().profile.tolist() == [2, 3, 0]


def test_conflicts_make_rivals_by_hand() -> None:
    agents = tuple(AgentSpec(id=f"a{i}", position=(1, 1), wallet=5.0) for i in range(3))
    town = Town(replace(QUIET, agents=agents), num_worlds=1)
    begun(town, 0)

    def rivalry(one: int, other: int) -> float:
        return town.state.relations.towards(np.array([one]), np.array([other])).rivalry.item()

    # 1 and 2 stand behind 0 at one place: intensities 1 and 1.25; everybody minds only who is directly before.
    assert happened(town, WASH, WASH, WASH)["queue_conflict_intensity_sum"] == 2.25
    town.state.relations.refresh(0)
    assert rivalry(0, 1) == rivalry(1, 0) == pytest.approx(0.15)
    assert rivalry(1, 2) == rivalry(2, 1) == pytest.approx(0.1875)
    assert rivalry(0, 2) == 0.0
    for _ in range(2):
        happened(town, WAIT, WASH, WASH)
    # 0 does not take its turn for three ticks: 1 takes it over, while 2 still waits: 1.5 + 0.25.
    events = happened(town, WAIT, WASH, WASH)
    assert (events["ghost_step_events"], events["queue_conflict_intensity_sum"]) == (1, 1.75)
    town.state.relations.refresh(3)
    assert rivalry(0, 1) == pytest.approx(0.15 - 3 * 0.005 + 0.2625)
    for _ in range(7):
        happened(town, WAIT, WASH, WASH)
    # 1 has washed for eight ticks: 2 comes next, and nobody waits any more.
    assert happened(town, WAIT, WASH, WASH)["queue_conflict_intensity_sum"] == pytest.approx(0.4)


def test_a_meal_is_shared_with_the_nearest_who_is_eating() -> None:
    fridges = (
        ObjectSpec(id="f1", type="fridge", position=(1, 1)),
        ObjectSpec(id="f2", type="fridge", position=(7, 7)),
        ObjectSpec(id="f3", type="fridge", position=(5, 1)),
    )
    agents = tuple(AgentSpec(id=f"a{i}", position=f.position, wallet=5.0) for i, f in enumerate(fridges))
    town = Town(replace(QUIET, objects=fridges, agents=agents), num_worlds=2)
    begun(town, 0)
    state = town.state
    state.object[:], state.phase[:], state.remaining[:] = np.arange(6), USING, 5
    state.remaining[[0, 3]] = 1
    town._observe()
    events = town.step(np.zeros(6, dtype=np.int64)).events
    assert events[:, EVENTS.index("shared_meal_events")].tolist() == [1, 1]
    assert tie(town, 0, 2) == tie(town, 2, 0) == tie(town, 3, 5) == (0.01, 0.025)
    assert tie(town, 0, 1) == tie(town, 1, 2) == (0.0, 0.0)


def test_colleagues_help_who_comes_late_and_take_over_from_who_does_not_come() -> None:
    job = JobSpec(name="cook", start_tick=2, end_tick=20, location=(1, 1))
    agents = (
        AgentSpec(id="punctual", position=(1, 1), job="cook"),
        AgentSpec(id="late", position=(4, 1), job="cook"),
        AgentSpec(id="absent", position=(7, 7), job="cook"),
        AgentSpec(id="jobless", position=(1, 1)),
    )
    config = replace(QUIET, jobs=(job,), agents=agents, social=SocialConfig(takeover_ticks=6))
    town = Town(config, num_worlds=1)
    begun(town, 0)
    seen = [happened(town, WAIT, WORK if tick >= 2 else WAIT, WAIT, WAIT) for tick in range(12)]
    # The late one is there at the third tick of the shift, the absent one has missed six at tick 7.
    assert [tick for tick, events in enumerate(seen) if "late_help_events" in events] == [4]
    assert [tick for tick, events in enumerate(seen) if "shift_takeover_events" in events] == [7]
    assert tie(town, 1, 0) == tie(town, 0, 1) == (0.02, 0.01)
    assert tie(town, 2, 0) == tie(town, 0, 2) == (-0.03, 0.0)
    town.state.relations.refresh(7)
    assert town.state.relations.rivalry_max().tolist() == pytest.approx([0.3, 0.0, 0.3, 0.0])


def test_a_script_that_knows_characters_leaves_earlier() -> None:
    job = JobSpec(name="cook", start_tick=30, end_tick=40, location=(1, 1))
    agents = (AgentSpec(id="a", position=(7, 7), job="cook", personality_profile="industrious"),)
    for acts, expected in ((True, WORK), (False, WAIT)):
        config = replace(QUIET, jobs=(job,), agents=agents, personality=PersonalityConfig(profiles=acts))
        town = Town(config, num_worlds=1, script=ScriptedConfig(job_arrival_buffer=20))
        begun(town, 0).state.tick = 2
        # An industrious one sets off 1.4 · 20 ticks before its shift.
        assert town.scripted("scripted").propose(town._observe()).tolist() == [expected]
