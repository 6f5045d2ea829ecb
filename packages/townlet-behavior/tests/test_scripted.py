from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import bools, ints

from townlet_behavior import (
    ActionVocabulary,
    ConfigError,
    ScriptedActions,
    ScriptedConfig,
    ScriptedController,
    pressing_needs,
    time_to_leave,
    wants_to_chat,
)
from townlet_behavior.scripted import ENERGY, HUNGER, HYGIENE
from townlet_behavior.testing import PlainView, check_controller, plain_view

ACTIONS = ScriptedActions(wait=0, start=1, go_to_work=2, eat=3, cook=4, wash=5, sleep=6, chat=7)
NAMES = ("wait", "start", "go_to_work", "eat", "cook", "wash", "sleep", "chat", "east", "west")
EAST, WEST = 8, 9
BALANCED, INDUSTRIOUS, SOCIALITE, STOIC = range(4)


@dataclass(frozen=True, kw_only=True, eq=False)
class TownView(PlainView):
    """A `ScriptedView`."""

    using: NDArray[np.bool_]
    holds_turn: NDArray[np.bool_]
    needs: NDArray[np.float32]
    tick_of_day: NDArray[np.int64]
    shift_start: NDArray[np.int64]
    at_workplace: NDArray[np.bool_]
    can_eat: NDArray[np.bool_]
    can_cook: NDArray[np.bool_]
    can_wash: NDArray[np.bool_]
    can_sleep: NDArray[np.bool_]
    can_chat: NDArray[np.bool_]
    extroversion: NDArray[np.float64]
    rival_here: NDArray[np.bool_]
    step_away: NDArray[np.int64]
    profile: NDArray[np.int64]
    rival_lines: tuple[frozenset[str], ...]
    """By row: requests that would line up with a rival."""

    def lines_up_with_rival(self, actions: NDArray[np.int64]) -> NDArray[np.bool_]:
        return bools(*[NAMES[action] in lines for action, lines in zip(actions, self.rival_lines, strict=True)])


def town_view(**columns: np.ndarray | tuple[frozenset[str], ...]) -> TownView:
    """One agent that is well, idle, jobless and alone in a town that has everything; `columns` say otherwise."""
    yes, no = bools(True), bools(False)
    view = TownView(
        **vars(plain_view(["ann"])),
        using=no,
        holds_turn=no,
        needs=np.ones((1, 3), np.float32),
        tick_of_day=ints(0),
        shift_start=ints(-1),
        at_workplace=no,
        can_eat=yes,
        can_cook=yes,
        can_wash=yes,
        can_sleep=yes,
        can_chat=no,
        extroversion=np.array([0.5]),
        rival_here=no,
        step_away=ints(EAST),
        profile=ints(BALANCED),
        rival_lines=(frozenset(),),
    )
    return replace(view, **columns)


def proposal(view: TownView, actions: ScriptedActions = ACTIONS, **config: float | bool) -> str:
    (action,) = ScriptedController(actions, ScriptedConfig(**config)).propose(view)
    return NAMES[action]


def rivals_at(*names: str) -> tuple[frozenset[str]]:
    return (frozenset(names),)


STARVING = np.zeros((1, 3), np.float32)
YES, NO = bools(True), bools(False)


def test_a_contented_agent_waits() -> None:
    assert proposal(town_view()) == "wait"


def test_using_an_object_comes_before_everything() -> None:
    busy = {"holds_turn": YES, "needs": STARVING, "shift_start": ints(10)}
    assert proposal(town_view(using=YES, **busy)) == "wait"


def test_holding_a_turn_comes_before_work_and_needs() -> None:
    assert proposal(town_view(holds_turn=YES, needs=STARVING, shift_start=ints(10))) == "start"


def test_work_comes_before_needs() -> None:
    assert proposal(town_view(needs=STARVING, shift_start=ints(10))) == "go_to_work"


def test_at_work_needs_are_seen_to() -> None:
    assert proposal(town_view(needs=STARVING, shift_start=ints(10), at_workplace=YES)) == "eat"


def test_without_meals_it_cooks() -> None:
    assert proposal(town_view(needs=STARVING, can_eat=NO)) == "cook"


def test_without_food_the_next_need_is_seen_to() -> None:
    assert proposal(town_view(needs=STARVING, can_eat=NO, can_cook=NO)) == "wash"


def test_without_food_and_shower_it_sleeps() -> None:
    assert proposal(town_view(needs=STARVING, can_eat=NO, can_cook=NO, can_wash=NO)) == "sleep"


def test_without_anything_it_waits() -> None:
    assert proposal(town_view(needs=STARVING, can_eat=NO, can_cook=NO, can_wash=NO, can_sleep=NO)) == "wait"


def test_thresholds_and_buffer_are_the_configs() -> None:
    config = ScriptedConfig(hunger_threshold=0.1, hygiene_threshold=0.9, energy_threshold=0.0, job_arrival_buffer=5)
    controller = ScriptedController(ACTIONS, config)
    needs = np.array([[0.2, 0.8, 0.0]], np.float32)
    assert controller.propose(town_view(needs=needs)).tolist() == [ACTIONS.wash]
    assert controller.propose(town_view(needs=needs, shift_start=ints(6))).tolist() == [ACTIONS.wash]
    assert controller.propose(town_view(needs=needs, shift_start=ints(5))).tolist() == [ACTIONS.go_to_work]
    assert controller.propose(town_view(needs=np.array([[0.05, 1, 1]], np.float32))).tolist() == [ACTIONS.eat]


@pytest.mark.parametrize(
    ("name", "value"),
    [("hunger_threshold", -0.1), ("hygiene_threshold", 1.1), ("energy_threshold", float("nan"))],
)
def test_thresholds_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"`{name}` must be in \[0, 1\], got {value}"):
        ScriptedConfig(**{name: value})


@pytest.mark.parametrize("ticks", [-1, 10**9 + 1, 2**63])
def test_a_buffer_is_not_negative_and_no_longer_than_a_clock(ticks: int) -> None:
    with pytest.raises(ConfigError, match=rf"`job_arrival_buffer` must be in \[0, 1000000000\], got {ticks}"):
        ScriptedConfig(job_arrival_buffer=ticks)


def test_a_rival_in_the_line_sends_it_to_the_next_best() -> None:
    assert proposal(town_view(needs=STARVING, rival_lines=rivals_at("eat"))) == "cook"
    assert proposal(town_view(needs=STARVING, rival_lines=rivals_at("eat", "cook"))) == "wash"
    assert proposal(town_view(needs=STARVING, rival_lines=rivals_at("eat", "cook", "wash"))) == "sleep"
    assert proposal(town_view(needs=STARVING, rival_lines=rivals_at("eat", "cook", "wash", "sleep"))) == "wait"


def test_a_rival_in_the_line_does_not_open_what_is_closed() -> None:
    view = town_view(needs=STARVING, rival_lines=rivals_at("eat"), can_cook=NO, can_wash=NO)
    assert proposal(view) == "sleep"


def test_a_rival_in_the_line_does_not_make_other_needs_press() -> None:
    hungry = np.array([[0.0, 1.0, 1.0]], np.float32)
    assert proposal(town_view(needs=hungry, rival_lines=rivals_at("eat", "cook"))) == "wait"


def test_a_rival_in_a_line_that_it_does_not_want_is_no_matter() -> None:
    assert proposal(town_view(needs=STARVING, rival_lines=rivals_at("cook", "wash"))) == "eat"


def test_a_rival_in_the_line_keeps_nobody_from_starting_or_working() -> None:
    rivals = rivals_at("start", "eat", "cook", "wash", "sleep", "go_to_work")
    assert proposal(town_view(needs=STARVING, rival_lines=rivals, holds_turn=YES)) == "start"
    assert proposal(town_view(needs=STARVING, rival_lines=rivals, shift_start=ints(10))) == "go_to_work"


def test_good_company_is_chatted_with() -> None:
    assert proposal(town_view(can_chat=YES)) == "chat"


def test_it_takes_an_extroversion_of_a_fifth_to_chat() -> None:
    assert proposal(town_view(can_chat=YES, extroversion=np.array([0.2]))) == "chat"
    assert proposal(town_view(can_chat=YES, extroversion=np.array([0.19]))) == "wait"


@pytest.mark.parametrize("need", range(3))
def test_its_own_needs_come_before_chats_even_where_nothing_can_be_done(need: int) -> None:
    needs = np.ones((1, 3), np.float32)
    needs[0, need] = 0.39
    nothing = {"can_eat": NO, "can_cook": NO, "can_wash": NO, "can_sleep": NO}
    assert proposal(town_view(can_chat=YES, needs=needs, **nothing)) == "wait"
    needs[0, need] = 0.41
    assert proposal(town_view(can_chat=YES, needs=needs, **nothing)) == "chat"


def test_work_and_use_come_before_chats() -> None:
    assert proposal(town_view(can_chat=YES, shift_start=ints(10))) == "go_to_work"
    assert proposal(town_view(can_chat=YES, holds_turn=YES)) == "start"
    assert proposal(town_view(can_chat=YES, using=YES)) == "wait"


def rows_of(*views: TownView) -> TownView:
    """One view of several agents."""
    names = [name for name in vars(views[0]) if name not in {"slots", "keys", "action_mask", "rival_lines"}]
    return TownView(
        **vars(plain_view([str(i) for i in range(len(views))]))
        | {name: np.concatenate([vars(view)[name] for view in views]) for name in names},
        rival_lines=tuple(lines for view in views for lines in view.rival_lines),
    )


def test_nobody_who_is_busy_is_taken_along_by_the_idle() -> None:
    company = {"can_chat": YES, "rival_here": YES}
    view = rows_of(
        town_view(can_chat=YES),
        town_view(using=YES, **company),
        town_view(holds_turn=YES, **company),
        town_view(shift_start=ints(10), **company),
        town_view(needs=STARVING, **company),
        town_view(rival_here=YES),
        town_view(),
    )
    proposed = ScriptedController(ACTIONS, ScriptedConfig()).propose(view)
    expected = ["chat", "wait", "start", "go_to_work", "eat", "east", "wait"]
    assert [NAMES[action] for action in proposed] == expected


def test_only_who_would_meet_a_rival_asks_elsewhere() -> None:
    rivals = rivals_at("eat", "start")
    view = rows_of(
        town_view(needs=STARVING, rival_lines=rivals),
        town_view(needs=STARVING),
        town_view(needs=STARVING, holds_turn=YES, rival_lines=rivals),
        town_view(needs=np.array([[1, 0, 1]], np.float32), rival_lines=rivals),
    )
    proposed = ScriptedController(ACTIONS, ScriptedConfig()).propose(view)
    assert [NAMES[action] for action in proposed] == ["cook", "eat", "start", "wash"]


def test_it_steps_away_from_a_rival() -> None:
    assert proposal(town_view(rival_here=YES)) == "east"
    assert proposal(town_view(rival_here=YES, step_away=ints(WEST))) == "west"
    assert proposal(town_view(rival_here=YES, step_away=ints(-1))) == "wait"


def test_everything_else_comes_before_stepping_away() -> None:
    assert proposal(town_view(rival_here=YES, can_chat=YES)) == "chat"
    assert proposal(town_view(rival_here=YES, needs=STARVING)) == "eat"
    assert proposal(town_view(rival_here=YES, shift_start=ints(10))) == "go_to_work"
    assert proposal(town_view(rival_here=YES, holds_turn=YES)) == "start"
    assert proposal(town_view(rival_here=YES, using=YES)) == "wait"


def test_it_steps_away_from_the_line_that_a_rival_is_in() -> None:
    hungry = np.array([[0.0, 1.0, 1.0]], np.float32)
    assert proposal(town_view(needs=hungry, rival_lines=rivals_at("eat", "cook"), rival_here=YES)) == "east"


def test_without_a_chat_action_there_is_no_company() -> None:
    actions = replace(ACTIONS, chat=None)
    assert proposal(town_view(can_chat=YES, rival_here=YES), actions) == "wait"
    assert proposal(town_view(needs=STARVING, rival_lines=rivals_at("eat")), actions) == "eat"


def test_the_industrious_set_off_earlier() -> None:
    # 28 ticks before instead of 20, where profiles are on.
    view = town_view(shift_start=ints(28), profile=ints(INDUSTRIOUS))
    assert proposal(view, personality_profiles=True) == "go_to_work"
    assert proposal(replace(view, tick_of_day=ints(7)), personality_profiles=False) == "wait"
    assert proposal(replace(view, tick_of_day=ints(8)), personality_profiles=False) == "go_to_work"
    assert proposal(replace(view, shift_start=ints(29)), personality_profiles=True) == "wait"
    assert proposal(replace(view, profile=ints(SOCIALITE)), personality_profiles=True) == "wait"


def test_needs_press_by_character() -> None:
    # Of the stoic hunger presses below 0.38, of the socialite hygiene below 0.44, of the industrious energy below 0.36.
    for profile, needs, calm, scaled in [
        (STOIC, [0.39, 1.0, 1.0], "eat", "wait"),
        (STOIC, [0.37, 1.0, 1.0], "eat", "eat"),
        (SOCIALITE, [1.0, 0.43, 1.0], "wait", "wash"),
        (SOCIALITE, [1.0, 0.45, 1.0], "wait", "wait"),
        (INDUSTRIOUS, [1.0, 1.0, 0.37], "sleep", "wait"),
        (INDUSTRIOUS, [1.0, 1.0, 0.35], "sleep", "sleep"),
        (BALANCED, [0.39, 1.0, 1.0], "eat", "eat"),
    ]:
        view = town_view(needs=np.array([needs], np.float32), profile=ints(profile))
        assert proposal(view) == calm
        assert proposal(view, reward_multipliers=True) == scaled


def test_its_own_thresholds_say_whether_it_is_of_a_mind_to_chat() -> None:
    view = town_view(needs=np.array([[0.39, 1, 1]], np.float32), profile=ints(STOIC), can_chat=YES)
    assert proposal(view, reward_multipliers=True) == "chat"
    assert proposal(view, reward_multipliers=False) == "eat"


def test_those_who_like_to_chat_need_less_extroversion_where_characters_act() -> None:
    # 0.2 / 1.3 = 0.1538
    for extroversion, kind in ((0.154, "chat"), (0.153, "wait")):
        view = town_view(can_chat=YES, extroversion=np.array([extroversion]), profile=ints(SOCIALITE))
        assert proposal(view, personality_profiles=True) == kind
        assert proposal(view) == "wait"


def test_an_empty_view_has_no_proposals() -> None:
    none = {name: column[:0] for name, column in vars(town_view()).items() if column is not None}
    view = TownView(**none, action_mask=None)
    config = ScriptedConfig(personality_profiles=True, reward_multipliers=True)
    assert ScriptedController(ACTIONS, config).propose(view).shape == (0,)


class Curious(TownView):
    """Remembers which of the members that may cost something were read."""

    read: ClassVar[set[str]] = set()
    WATCHED = ("lines_up_with_rival", "can_chat", "extroversion", "rival_here", "step_away", "profile")

    def __getattribute__(self, name: str) -> object:
        if name in Curious.WATCHED:
            Curious.read.add(name)
        return super().__getattribute__(name)


@pytest.mark.parametrize(
    ("columns", "read"),
    [
        ({"using": YES, "can_chat": YES, "rival_here": YES}, set()),
        ({"holds_turn": YES, "needs": STARVING}, set()),
        ({"needs": STARVING}, {"lines_up_with_rival"}),
        ({}, {"can_chat", "rival_here"}),
        ({"can_chat": YES}, {"can_chat", "rival_here", "extroversion"}),
        ({"rival_here": YES}, {"can_chat", "rival_here", "step_away"}),
    ],
)
def test_the_view_is_read_only_as_far_as_the_rules_get(columns: dict[str, np.ndarray], read: set[str]) -> None:
    view = Curious(**vars(town_view(**columns)))
    Curious.read.clear()
    ScriptedController(ACTIONS, ScriptedConfig()).propose(view)
    assert Curious.read == read


def test_it_keeps_the_rules_of_controllers() -> None:
    vocabulary = ActionVocabulary(keys=NAMES, kinds=NAMES)
    check_controller(ScriptedController(ACTIONS, ScriptedConfig()), town_view(can_chat=YES), vocabulary)


THRESHOLD = {"hunger": 0.5, "hygiene": 0.5, "energy": 0.5}
MULTIPLIERS = {(INDUSTRIOUS, "energy"): 0.9, (SOCIALITE, "hygiene"): 1.1, (STOIC, "hunger"): 0.95}
Agent = dict[str, bool | int | float | tuple[float, float, float] | frozenset[str]]


def scripted_one(agent: Agent, *, profiles: bool, multipliers: bool) -> str:
    """The rules, one agent at a time."""
    if agent["using"]:
        return "wait"
    if agent["holds_turn"]:
        return "start"
    buffer = 28 if profiles and agent["profile"] == INDUSTRIOUS else 20
    start = agent["shift_start"]
    if start >= 0 and start - buffer <= agent["tick_of_day"] < start and not agent["at_workplace"]:
        return "go_to_work"
    met = True
    for need, level, ways in zip(THRESHOLD, agent["needs"], (("eat", "cook"), ("wash",), ("sleep",)), strict=True):
        factor = MULTIPLIERS.get((agent["profile"], need), 1.0) if multipliers else 1.0
        if level < THRESHOLD[need] * factor:
            met = False
            for way in ways:
                if agent[f"can_{way}"] and way not in agent["rival_lines"]:
                    return way
    if met and agent["can_chat"] and agent["extroversion"] >= 0.2:
        return "chat"
    if agent["rival_here"] and agent["step_away"] >= 0:
        return NAMES[agent["step_away"]]
    return "wait"


flags = "using holds_turn at_workplace can_eat can_cook can_wash can_sleep can_chat rival_here".split()
agents = st.fixed_dictionaries(
    {
        **{name: st.booleans() for name in flags},
        "needs": st.tuples(*[st.sampled_from([0.0, 0.46, 0.49, 0.5, 0.54, 1.0])] * 3),
        "tick_of_day": st.integers(0, 60),
        "shift_start": st.integers(-1, 60),
        "extroversion": st.sampled_from([0.0, 0.19, 0.2, 0.9]),
        "step_away": st.sampled_from([-1, EAST, WEST]),
        "profile": st.integers(0, 3),
        "rival_lines": st.frozensets(st.sampled_from(["eat", "cook", "wash", "sleep", "start"])),
    }
)


@given(st.lists(agents, min_size=1, max_size=6), st.booleans(), st.booleans())
def test_like_the_rules_one_agent_at_a_time(agents: list[Agent], profiles: bool, multipliers: bool) -> None:
    columns = {name: np.array([agent[name] for agent in agents]) for name in agents[0] if name != "rival_lines"}
    columns["needs"] = columns["needs"].astype(np.float32)
    view = TownView(
        **vars(plain_view([str(i) for i in range(len(agents))])),
        **columns,
        rival_lines=tuple(agent["rival_lines"] for agent in agents),
    )
    config = ScriptedConfig(
        hunger_threshold=0.5,
        hygiene_threshold=0.5,
        energy_threshold=0.5,
        personality_profiles=profiles,
        reward_multipliers=multipliers,
    )
    proposed = ScriptedController(ACTIONS, config).propose(view)
    assert proposed.dtype == np.int64
    expected = [scripted_one(agent, profiles=profiles, multipliers=multipliers) for agent in agents]
    assert [NAMES[action] for action in proposed] == expected


def test_by_hand() -> None:
    needs = np.array([[0.1, 0.9, 0.5], [0.4, 0.39, 0.6]], np.float32)
    pressing = pressing_needs(needs, np.array([0.4, 0.4, 0.6], np.float32))
    # Each need has its own threshold; at the threshold it does not press.
    assert pressing.tolist() == [[True, False, True], [False, True, False]]
    assert (HUNGER, HYGIENE, ENERGY) == (0, 1, 2)


@given(st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 3), min_size=1, max_size=5))
def test_like_one_agent_at_a_time(rows: list[tuple[float, ...]]) -> None:
    thresholds = (0.25, 0.5, 0.75)
    expected = [[need < threshold for need, threshold in zip(row, thresholds, strict=True)] for row in rows]
    assert pressing_needs(np.array(rows, np.float32), np.array(thresholds, np.float32)).tolist() == expected


@pytest.mark.parametrize(
    ("tick_of_day", "shift_start", "at_workplace", "expected"),
    [
        (79, 100, False, False),
        (80, 100, False, True),  # shift_start - arrival_buffer
        (99, 100, False, True),
        (100, 100, False, False),  # the shift has begun
        (90, 100, True, False),
        (5, 10, False, True),  # a window that begins before the day does
        (0, -1, False, False),  # no job
    ],
)
def test_the_window_before_a_shift(tick_of_day: int, shift_start: int, at_workplace: bool, expected: bool) -> None:
    leave = time_to_leave(ints(tick_of_day), ints(shift_start), bools(at_workplace), arrival_buffer=20)
    assert leave.tolist() == [expected]


def test_who_is_of_a_mind_to_chat() -> None:
    pressing = np.zeros((6, 3), np.bool_)
    pressing[[2, 3, 4], [0, 1, 2]] = True
    extroversion = np.array([0.2, 0.19, 0.9, 0.9, 0.9, 1.0])
    assert wants_to_chat(extroversion, pressing).tolist() == [True, False, False, False, False, True]
