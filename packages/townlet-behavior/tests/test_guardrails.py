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
    PARTS,
    VOCABULARY,
    WAIT,
    WORK,
    Forbid,
    Script,
    bools,
    bridge_of,
    ints,
    mask_of,
    proposals_of,
    view_of,
)

from townlet_behavior import (
    CHAT_RIVAL,
    QUEUE_RIVAL,
    ActionMaskGuardrail,
    AgentIntent,
    DecisionBatch,
    GuardrailError,
    PerAgent,
    RivalryGuardrail,
    ScheduleController,
    Source,
    StatelessGuardrail,
    Verdicts,
    View,
    WorldView,
    veto_reasons_of,
)
from townlet_behavior.guardrails import GuardrailChain
from townlet_behavior.testing import PlainView


class Fixed(StatelessGuardrail):
    """Gives the verdicts of the test."""

    reasons = ("first", "second")

    def __init__(self, vetoed: NDArray[np.bool_], replacement: NDArray[np.int64], reason: list[int]) -> None:
        self._verdicts = Verdicts(vetoed=vetoed, replacement=replacement, reason=np.array(reason, np.int8))
        self.asked: list[list[int]] = []

    def review(self, view: View, actions: NDArray[np.int64]) -> Verdicts:
        self.asked.append(actions.tolist())
        return self._verdicts


def chain_of(*guardrails: Fixed | Forbid) -> GuardrailChain:
    return GuardrailChain(guardrails, VOCABULARY)


def test_the_mask_vetoes_what_it_forbids_and_lets_the_agent_wait() -> None:
    view = view_of(0, 1, mask=mask_of((WAIT, EAT), (WAIT, COOK)))
    verdicts = ActionMaskGuardrail(wait=WAIT).review(view, ints(EAT, EAT))
    assert verdicts.vetoed.tolist() == [False, True]
    assert verdicts.replacement[1] == WAIT


def test_where_waiting_is_forbidden_too_the_first_legal_action_is_taken() -> None:
    view = view_of(0, mask=mask_of((COOK, WORK)))
    assert ActionMaskGuardrail(wait=WAIT).review(view, ints(EAT)).replacement.tolist() == [COOK]


def test_without_a_mask_everything_is_legal() -> None:
    assert ActionMaskGuardrail(wait=WAIT).review(view_of(0, 1), ints(EAT, COOK)).vetoed.tolist() == [False, False]


def test_an_agent_without_a_legal_action_is_an_error() -> None:
    view = view_of(2, 7, mask=mask_of((WAIT,), ()))
    with pytest.raises(GuardrailError, match="slot 7: every agent must have a legal action, its mask has none"):
        ActionMaskGuardrail(wait=WAIT).review(view, ints(WAIT, EAT))


def test_a_chain_without_guardrails_lets_everything_through() -> None:
    reviewed = chain_of().review(view_of(0, 1), ints(EAT, WORK))
    assert (reviewed.action.tolist(), reviewed.vetoed.tolist(), reviewed.reason.tolist()) == (
        [EAT, WORK],
        [False, False],
        [0, 0],
    )


def test_reasons_are_numbered_through_and_the_first_objection_counts() -> None:
    # Row 0: the mask forbids EAT, then `Fixed` forbids waiting too. Row 1: `Fixed` alone. Row 2: nobody objects.
    fixed = Fixed(bools(True, True, False), ints(NORTH, COOK, -5), [1, 1, 99])
    chain = chain_of(fixed, Forbid(WORK, reason="last"))
    mask = mask_of((WAIT, NORTH), (EAT, COOK), (EAT,))
    reviewed = chain.review(view_of(0, 1, 2, mask=mask), ints(EAT, EAT, EAT))
    assert chain.reasons == ("action_mask", "first", "second", "last")
    assert fixed.asked == [[WAIT, EAT, EAT]]
    assert reviewed.action.tolist() == [NORTH, COOK, EAT]
    assert reviewed.vetoed.tolist() == [True, True, False]
    assert reviewed.reason.tolist() == [1, 3, 0]
    assert reviewed.reason.dtype == np.int8


def test_each_guardrail_judges_what_the_one_before_let_through() -> None:
    reviewed = chain_of(Forbid(EAT, replacement=WORK, reason="a"), Forbid(WORK, reason="b")).review(
        view_of(0, 1), ints(EAT, WORK)
    )
    assert (reviewed.action.tolist(), reviewed.reason.tolist()) == ([WAIT, WAIT], [2, 3])


def test_reasons_of_the_same_name_are_refused() -> None:
    with pytest.raises(GuardrailError, match="names of veto reasons must be unique"):
        chain_of(Forbid(EAT, reason="same"), Forbid(COOK, reason="same"))
    with pytest.raises(GuardrailError, match="names of veto reasons must be unique"):
        chain_of(Forbid(EAT, reason="action_mask"))


def test_reasons_are_known_before_there_is_a_bridge() -> None:
    guardrails = [Forbid(EAT, reason="late"), RivalryGuardrail(wait=WAIT)]
    assert veto_reasons_of(guardrails) == ("action_mask", "late", *RivalryGuardrail.reasons)
    assert veto_reasons_of(guardrails) == chain_of(*guardrails).reasons
    assert veto_reasons_of([]) == ("action_mask",)


@pytest.mark.parametrize(
    ("replacement", "reason", "message"),
    [
        (-1, 0, r"Fixed must replace by actions in \[0, 5\), got \[-1\]"),
        (5, 0, r"Fixed must replace by actions in \[0, 5\), got \[5\]"),
        (WAIT, -1, r"Fixed must give reasons in \[0, 2\), got \[-1\]"),
        (WAIT, 2, r"Fixed must give reasons in \[0, 2\), got \[2\]"),
        (COOK, 0, "slot 6: Fixed must replace by legal actions, got 3, which the mask forbids"),
    ],
)
def test_a_veto_that_cannot_be_carried_out_is_an_error(replacement: int, reason: int, message: str) -> None:
    fixed = Fixed(bools(False, True), ints(WAIT, replacement), [0, reason])
    view = view_of(2, 6, mask=mask_of((WAIT, EAT), (WAIT, EAT)))
    with pytest.raises(GuardrailError, match=message):
        chain_of(fixed).review(view, ints(EAT, EAT))


def test_verdicts_for_another_view_are_an_error() -> None:
    with pytest.raises(GuardrailError, match="Fixed must judge the 2 agents of the view, got 1 verdicts"):
        chain_of(Fixed(bools(True), ints(0), [0])).review(view_of(2, 6), ints(EAT, EAT))


@pytest.mark.parametrize(
    ("vetoed", "replacement", "reason", "message"),
    [
        (ints(1, 0), ints(0, 0), np.zeros(2, np.int8), r"`vetoed` must be bool \[N\], got int64 \(2,\)"),
        (
            bools(True, False),
            ints(0),
            np.zeros(2, np.int8),
            r"`replacement` must be int64 \(2,\), .*, got int64 \(1,\)",
        ),
        (bools(True, False), ints(0, 0), np.zeros(2), r"`reason` must be int8 \(2,\), got float64 \(2,\)"),
    ],
)
def test_verdicts_of_the_wrong_form_are_refused(
    vetoed: np.ndarray, replacement: np.ndarray, reason: np.ndarray, message: str
) -> None:
    with pytest.raises(GuardrailError, match=message):
        Verdicts(vetoed=vetoed, replacement=replacement, reason=reason)


class Remembering(Forbid):
    """Remembers what it was told."""

    def __init__(self, action: int, *, reason: str) -> None:
        super().__init__(action, reason=reason)
        self.told: list[DecisionBatch] = []

    def settled(self, view: View, decisions: DecisionBatch) -> None:
        self.told.append(decisions)


def test_every_guardrail_hears_of_ticks_with_a_veto_and_of_no_other() -> None:
    one, other = Remembering(EAT, reason="a"), Remembering(COOK, reason="b")
    script = Script(EAT, WORK)
    bridge = bridge_of(script, one, other)
    decisions = bridge.decide(view_of(0, 1), tick=0)
    script.actions = ints(WORK, NORTH)
    bridge.decide(view_of(0, 1), tick=1)
    assert len(one.told) == len(other.told) == 1
    assert one.told[0] is other.told[0] is decisions
    assert decisions.action.tolist() == [WAIT, WORK]


def test_a_veto_of_the_mask_is_told_too() -> None:
    guardrail = Remembering(EAT, reason="a")
    bridge_of(Script(COOK), guardrail).decide(view_of(0, mask=mask_of((WAIT, EAT))), tick=0)
    assert [decisions.veto_reason.tolist() for decisions in guardrail.told] == [[1]]


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
    view = company(2, chats=(2,))
    bridge.held(view, tick=0)
    bridge.possession.acquire(2, tick=0)
    bridge.possession.feed(2, NORTH)
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
        def locate(self, view: View, row: int) -> tuple[object, str]:
            return object(), str(view.slots[row])

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


def test_the_mask_of_several_parts_judges_each() -> None:
    # Of row 0 the second part is forbidden, of row 1 nothing, of row 2 both.
    guardrail, mask = ActionMaskGuardrail(actions=PARTS), np.ones((3, 10), np.bool_)
    mask[0, 5] = mask[2, EAT] = mask[2, WAIT] = mask[2, 9] = False
    actions = np.array([[EAT, 0, 2], [EAT, 0, 2], [EAT, 1, 2]])
    verdicts = guardrail.review(view_of(0, 1, 2, mask=mask), actions)
    assert verdicts.vetoed.tolist() == [True, False, True]
    assert verdicts.replacement[[0, 2]].tolist() == [[EAT, 1, 2], [NORTH, 1, 0]]


def test_a_veto_of_several_parts_must_replace_by_legal_ones() -> None:
    class Deaf(StatelessGuardrail):
        reasons = ("deaf",)

        def review(self, view: View, actions: NDArray[np.int64]) -> Verdicts:
            replacement = np.array([[WAIT, 1, 0]] * len(actions))
            return Verdicts(vetoed=actions[:, 0] == EAT, replacement=replacement, reason=np.zeros(2, np.int8))

    mask = np.ones((2, 10), np.bool_)
    mask[1, 6] = False
    with pytest.raises(GuardrailError, match=r"slot 6: Deaf must replace by legal actions, got \[0 1 0\], which"):
        GuardrailChain([Deaf()], PARTS).review(view_of(2, 6, mask=mask), np.array([[EAT, 0, 0]] * 2))


@pytest.mark.parametrize(
    "replacement",
    [np.zeros((3, 2), np.int64), np.zeros((2, 2)), np.zeros((2, 2, 1), np.int64), np.zeros(2, np.float32)],
)
def test_replacements_of_the_wrong_form_are_refused(replacement: np.ndarray) -> None:
    with pytest.raises(GuardrailError, match=r"`replacement` must be int64 \(2,\), or int64 or float32 \(2, K\), got"):
        Verdicts(vetoed=bools(True, False), replacement=replacement, reason=np.zeros(2, np.int8))
