import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import ints

from townlet_behavior import ConfigError, StateError
from townlet_behavior.possession.handover import Handover


def test_the_ramp_by_hand() -> None:
    # k = 3: 1/4, 2/4, 3/4 at the first three ticks, then 1
    handover = Handover(capacity=3, ticks=3)
    handover.begin(ints(1))
    found = []
    for tick in range(20, 24):
        shares = handover.shares(ints(0, 1), tick)
        found.append(None if shares is None else (str(shares.dtype), shares.tolist()))
        handover.decided(tick)
    ramp = [("float32", [1.0, share]) for share in (0.25, 0.5, 0.75)]
    assert found == [*ramp, None]


@given(
    ticks=st.integers(0, 5),
    steps=st.lists(
        st.tuples(st.sampled_from(["begin", "forget", "decide"]), st.integers(0, 3), st.integers(1, 4)), max_size=30
    ),
)
def test_it_is_the_naive_ramp(ticks: int, steps: list[tuple[str, int, int]]) -> None:
    handover, since, tick = Handover(capacity=4, ticks=ticks), dict[int, int | None](), 0
    for step, slot, later in steps:
        if step == "begin":
            handover.begin(ints(slot))
            since[slot] = None
        elif step == "forget":
            handover.forget(ints(slot))
            since.pop(slot, None)
        else:
            tick += later
            since = {agent: tick if begun is None else begun for agent, begun in since.items()}
            expected = [
                np.float32(min((tick - since[agent] + 1) / (ticks + 1), 1.0)) if agent in since else 1.0
                for agent in range(4)
            ]
            shares = handover.shares(np.arange(4), tick)
            assert ([1.0] * 4 if shares is None else shares.tolist()) == expected
            assert shares is None or min(expected) < 1.0
            if later % 2:  # asked again after it is saved
                state = handover.save_state()
                handover = Handover(capacity=4, ticks=ticks)
                handover.check_state(state)
                handover.restore(state)
            handover.decided(tick)


def test_a_negative_number_of_ticks_is_refused() -> None:
    with pytest.raises(ConfigError, match="`handover_ticks` must be at least 0, got -1"):
        Handover(capacity=3, ticks=-1)


def test_another_capacity_is_refused() -> None:
    with pytest.raises(StateError, match=r"saved `since` must be int64 \(4,\), got int64 \(3,\)"):
        Handover(capacity=4, ticks=1).check_state(Handover(capacity=3, ticks=1).save_state())
