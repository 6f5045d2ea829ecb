from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import (
    COOK,
    EAT,
    NORTH,
    NUM_ACTIONS,
    VOCABULARY,
    WAIT,
    WORK,
    Forbid,
    Script,
    bridge_of,
    ints,
    mask_of,
    proposals_of,
    view_of,
)

from townlet_behavior import (
    CHAT_RIVAL,
    QUEUE_RIVAL,
    AgentIntent,
    DecisionBatch,
    PerAgent,
    RivalryGuardrail,
    ScheduleController,
    Source,
    View,
    WorldView,
)
from townlet_behavior.testing import PlainView

# In these tests NORTH is the chat; EAT and COOK line up.
REASONS = RivalryGuardrail.reasons


@dataclass(frozen=True, kw_only=True, eq=False)
class Company(PlainView):
    """A `RivalryView`: which slots must not chat, and which must not line up for what."""

    chats: tuple[int, ...] = ()
    lines: tuple[tuple[int, int], ...] = ()
    blocks: list[tuple[int, int, str]] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)

    def lines_up_with_rival(self, actions: NDArray[np.int64]) -> NDArray[np.bool_]:
        pairs = zip(self.slots.tolist(), actions.tolist(), strict=True)
        return np.array([pair in self.lines for pair in pairs], np.bool_)

    def chats_with_rival(self, actions: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.isin(self.slots, self.chats) & (actions == NORTH)

    def record_blocks(self, rows: NDArray[np.int64], actions: NDArray[np.int64], reasons: NDArray[np.int8]) -> None:
        assert (rows.dtype, actions.dtype, reasons.dtype) == (np.int64, np.int64, np.int8)
        self.calls.append(len(rows))
        for row, action, reason in zip(rows.tolist(), actions.tolist(), reasons.tolist(), strict=True):
            self.blocks.append((row, action, REASONS[reason]))


def company(
    *slots: int,
    chats: tuple[int, ...] = (),
    lines: tuple[tuple[int, int], ...] = (),
    mask: NDArray[np.bool_] | None = None,
) -> Company:
    return Company(**vars(view_of(*slots, mask=mask)), chats=chats, lines=lines)


GUARDRAIL = RivalryGuardrail(wait=WAIT)


def test_chats_and_lines_with_rivals_become_waiting() -> None:
    view = company(2, 5, 6, 7, chats=(2, 7), lines=((5, EAT), (6, COOK)))
    verdicts = GUARDRAIL.review(view, ints(NORTH, EAT, EAT, WORK))
    assert verdicts.vetoed.tolist() == [True, True, False, False]
    assert verdicts.replacement[:2].tolist() == [WAIT, WAIT]
    assert verdicts.reason[:2].tolist() == [CHAT_RIVAL, QUEUE_RIVAL]
    assert (REASONS[CHAT_RIVAL], REASONS[QUEUE_RIVAL]) == ("chat_rival", "queue_rival")


def test_nobody_to_avoid_nothing_vetoed() -> None:
    verdicts = GUARDRAIL.review(company(2, 5), ints(NORTH, EAT))
    assert verdicts.vetoed.tolist() == [False, False]


def test_the_waiting_action_is_the_vocabularys() -> None:
    verdicts = RivalryGuardrail(wait=3).review(company(0, chats=(0,)), ints(NORTH))
    assert verdicts.replacement.tolist() == [3]


def test_the_world_is_told_what_was_not_carried_out() -> None:
    # Rows, not slots; agents whose choice was fine are not mentioned.
    view = company(2, 5, 6, chats=(6,), lines=((5, EAT),))
    bridge = bridge_of(Script(COOK, EAT, NORTH), GUARDRAIL)
    decisions = bridge.decide(view, tick=0)
    assert decisions.action.tolist() == [COOK, WAIT, WAIT]
    assert view.blocks == [(1, EAT, "queue_rival"), (2, NORTH, "chat_rival")]
    assert view.calls == [2]
    assert bridge.counts().vetoes == {"action_mask": 0, "chat_rival": 1, "queue_rival": 1}


def test_the_world_is_told_nothing_where_nothing_happened() -> None:
    view = company(2, 5, lines=((2, EAT), (5, COOK)))
    bridge_of(Script(COOK, EAT), GUARDRAIL).decide(view, tick=0)
    assert view.calls == []


def test_another_guardrails_veto_is_not_the_rivals() -> None:
    view = company(2, 5, chats=(5,))
    bridge_of(Script(EAT, WORK), Forbid(EAT), GUARDRAIL).decide(view, tick=0)
    assert view.calls == []


def test_what_was_merely_considered_is_not_told() -> None:
    # The script would line up with a rival, but the policy works.
    view = company(2, lines=((2, EAT),))
    decisions = bridge_of(Script(EAT), GUARDRAIL, ratio=1.0).decide(view, tick=0, proposals=proposals_of(WORK))
    assert decisions.action.tolist() == [WORK]
    assert view.calls == []


def test_a_replacement_is_nobodys_wish() -> None:
    # Forbid puts EAT in the place of WORK, and that would line up with a rival: vetoed too, but nobody wanted it.
    view = company(2, lines=((2, EAT),))
    bridge = bridge_of(Script(WORK), Forbid(WORK, replacement=EAT), GUARDRAIL)
    assert bridge.decide(view, tick=0).action.tolist() == [WAIT]
    assert view.calls == []


def test_a_wish_that_several_object_to_is_told() -> None:
    view = company(2, chats=(2,), mask=mask_of((WAIT, EAT)))
    decisions = bridge_of(Script(NORTH), GUARDRAIL).decide(view, tick=0)
    assert decisions.veto_reason.tolist() == [1]
    assert view.blocks == [(0, NORTH, "chat_rival")]


def test_a_held_option_is_vetoed_and_ended() -> None:
    # The guardrail judges what the commitment makes of a choice, not only the choice of the tick it was made in.
    bridge = bridge_of(Script(EAT), GUARDRAIL, ticks=5)
    assert bridge.decide(company(2), tick=0).action.tolist() == [EAT]
    rivals = company(2, lines=((2, EAT),))
    decisions = bridge.decide(rivals, tick=1)
    assert (decisions.held_action.tolist(), decisions.action.tolist()) == ([EAT], [WAIT])
    assert rivals.blocks == [(0, EAT, "queue_rival")]
    assert bridge.decide(company(2), tick=2).held_action.tolist() == [-1]


def test_possessors_are_judged_too() -> None:
    bridge = bridge_of(Script(WAIT), GUARDRAIL)
    bridge.possession.acquire(2, tick=0)
    bridge.possession.feed(2, NORTH)
    view = company(2, chats=(2,))
    decisions = bridge.decide(view, tick=0)
    assert (decisions.action.tolist(), decisions.source.tolist()) == ([WAIT], [Source.EXTERNAL])
    assert not decisions.demonstrated[0]
    assert view.blocks == [(0, NORTH, "chat_rival")]


def test_a_schedule_does_not_get_around_it() -> None:
    schedule = ScheduleController(capacity=4, num_actions=NUM_ACTIONS, otherwise=Script(WAIT))
    schedule.assign(2, [EAT, WORK])
    bridge = bridge_of(schedule, GUARDRAIL, capacity=4)
    vetoed = [bridge.decide(company(2, lines=((2, EAT),)), tick=tick) for tick in range(2)]
    assert [decisions.action.tolist() for decisions in vetoed] == [[WAIT], [WAIT]]
    # The plan did not advance, because it was not carried out.
    assert [decisions.expert_action.tolist() for decisions in vetoed] == [[EAT], [EAT]]
    assert bridge.decide(company(2), tick=2).action.tolist() == [EAT]


def test_a_per_agent_controller_does_not_get_around_it() -> None:
    class Chatty:
        def decide(self, world: WorldView, agent_id: str) -> AgentIntent:
            return AgentIntent(kind="chat")

    class Codec:
        def locate(self, slot: int) -> tuple[object, str]:
            return object(), str(slot)

        def encode(self, intent: AgentIntent, world: WorldView, agent_id: str) -> int:
            return NORTH

        def decode(self, action: int, world: WorldView, agent_id: str) -> AgentIntent:
            return AgentIntent(kind=VOCABULARY.keys[action])

    view = company(1, 2, chats=(2,))
    bridge = bridge_of(PerAgent(Chatty(), Codec()), GUARDRAIL)
    assert bridge.decide(view, tick=0).action.tolist() == [NORTH, WAIT]
    assert view.blocks == [(1, NORTH, "chat_rival")]


def test_the_world_hears_of_it_before_the_script_does() -> None:
    view = company(2, chats=(2,))

    class Listener(Script):
        def settled(self, view: View, decisions: DecisionBatch) -> None:
            self.heard = list(view.blocks)

    script = Listener(NORTH)
    bridge_of(script, GUARDRAIL).decide(view, tick=0)
    assert script.heard == [(0, NORTH, "chat_rival")]


pairs = st.tuples(st.integers(0, 5), st.integers(0, NUM_ACTIONS - 1))


@pytest.mark.property
@given(
    actions=st.lists(st.integers(0, NUM_ACTIONS - 1), min_size=6, max_size=6),
    chats=st.sets(st.integers(0, 5)),
    lines=st.sets(pairs),
)
def test_like_one_agent_at_a_time(actions: list[int], chats: set[int], lines: set[tuple[int, int]]) -> None:
    lines = {(slot, action) for slot, action in lines if action in {EAT, COOK}}
    view = company(*range(6), chats=tuple(chats), lines=tuple(lines))
    decisions = bridge_of(Script(*actions), GUARDRAIL).decide(view, tick=0)
    expected = []
    for slot, action in enumerate(actions):
        if action == NORTH and slot in chats:
            expected.append((slot, action, "chat_rival"))
        elif (slot, action) in lines:
            expected.append((slot, action, "queue_rival"))
    assert view.blocks == expected
    vetoed = {slot for slot, _, _ in expected}
    assert decisions.action.tolist() == [WAIT if slot in vetoed else action for slot, action in enumerate(actions)]
    assert decisions.chosen_action.tolist() == actions
