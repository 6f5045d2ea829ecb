from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import bools, ints

from townlet_behavior import ConfigError, ScriptedActions, ScriptedConfig, ScriptedController
from townlet_behavior.testing import PlainView, plain_view

ACTIONS = ScriptedActions(wait=0, start=1, go_to_work=2, eat=3, cook=4, wash=5, sleep=6)
NAMES = ("wait", "start", "go_to_work", "eat", "cook", "wash", "sleep")


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


def town_view(**columns: np.ndarray) -> TownView:
    """One agent that is well, idle and jobless in a town that has everything; `columns` say otherwise."""
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
    )
    return replace(view, **columns)


def proposal(view: TownView) -> str:
    (action,) = ScriptedController(ACTIONS, ScriptedConfig()).propose(view)
    return NAMES[action]


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


def test_a_negative_buffer_is_refused() -> None:
    with pytest.raises(ConfigError, match="`job_arrival_buffer` must be at least 0, got -1"):
        ScriptedConfig(job_arrival_buffer=-1)


def scripted_one(row: dict[str, bool | int | tuple[float, float, float]]) -> str:
    """The rules, one agent at a time."""
    hunger, hygiene, energy = row["needs"]
    if row["using"]:
        return "wait"
    if row["holds_turn"]:
        return "start"
    start = row["shift_start"]
    if start >= 0 and start - 20 <= row["tick_of_day"] < start and not row["at_workplace"]:
        return "go_to_work"
    if hunger < 0.5 and (row["can_eat"] or row["can_cook"]):
        return "eat" if row["can_eat"] else "cook"
    if hygiene < 0.5 and row["can_wash"]:
        return "wash"
    if energy < 0.5 and row["can_sleep"]:
        return "sleep"
    return "wait"


FLAGS = ("using", "holds_turn", "at_workplace", "can_eat", "can_cook", "can_wash", "can_sleep")
rows = st.fixed_dictionaries(
    {
        **{name: st.booleans() for name in FLAGS},
        "needs": st.tuples(*[st.sampled_from([0.0, 0.25, 0.5, 1.0])] * 3),
        "tick_of_day": st.integers(0, 60),
        "shift_start": st.integers(-1, 60),
    }
)


@pytest.mark.property
@given(st.lists(rows, min_size=1, max_size=6))
def test_like_the_rules_one_agent_at_a_time(agents: list[dict[str, bool | int | tuple[float, float, float]]]) -> None:
    dtypes = {"needs": np.float32, "tick_of_day": np.int64, "shift_start": np.int64}
    columns = {name: np.array([row[name] for row in agents], dtypes.get(name, np.bool_)) for name in agents[0]}
    view = TownView(**vars(plain_view([str(i) for i in range(len(agents))])), **columns)
    config = ScriptedConfig(hunger_threshold=0.5, hygiene_threshold=0.5, energy_threshold=0.5)
    proposed = ScriptedController(ACTIONS, config).propose(view)
    assert proposed.dtype == np.int64
    assert [NAMES[action] for action in proposed] == [scripted_one(row) for row in agents]
