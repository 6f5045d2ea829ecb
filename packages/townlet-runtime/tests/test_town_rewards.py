from __future__ import annotations

import numpy as np
import pytest
from beginnings import begun
from hypothesis import given
from hypothesis import strategies as st

from townlet_runtime.errors import TownConfigError
from townlet_runtime.town import RewardConfig, Town, TownConfig
from townlet_runtime.town.rules.rewards import (
    Attendance,
    can_clip,
    faint_penalty,
    need_rates,
    reward_parts,
    tick_rewards,
)

RULES = RewardConfig(
    survival_tick=0.01,
    needs_penalty=0.02,
    needs_weights=(2.0, 1.0, 1.0),
    wage_rate=0.03,
    punctuality_bonus=0.05,
    late_tick_penalty=0.004,
    clip_per_tick=0.06,
)


def flags(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.bool_)


def test_reward_by_hand() -> None:
    needs = np.array([[1.0, 1.0, 1.0], [0.5, 0.0, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    attendance = Attendance(working=flags(1, 0, 1, 0, 0), late=flags(0, 1, 0, 1, 0), begins=flags(0, 0, 1, 1, 0))
    rewards = tick_rewards(
        needs,
        attendance,
        flags(0, 0, 0, 0, 1),
        np.array([0.0, 0.0, 0.0, 0.2, 0.0]),
        np.array([0.01, 0.0, 0.0, 0.0, 0.0]),
        config=RULES,
        need_rates=need_rates(RULES),
        faint_penalty=1.5,
        clips=True,
    )
    # 0: 0.01 - 0 + 0.03 + 0.01 for company;   1: lacks (2·0.5 + 1·1) / 4 = 0.5, so 0.01 - 0.01 - 0.004
    # 2: 0.01 + 0.03 + 0.05 = 0.09, clipped to 0.06
    # 3: 0.01 - 0.02 - 0.004 - 0.2 = -0.214, clipped to -0.06
    # 4: lacks 2 / 4, so 0.01 - 0.01, and faints: -1.5 beyond the clip
    assert rewards == pytest.approx([0.05, -0.004, 0.06, -0.06, -1.5])


def test_the_parts_of_a_reward_by_hand() -> None:
    needs = np.array([[1.0, 1.0, 1.0], [0.5, 0.0, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    attendance = Attendance(working=flags(1, 0, 1, 0, 0), late=flags(0, 1, 0, 1, 0), begins=flags(0, 0, 1, 1, 0))
    chats, partings = np.array([0.01, 0.0, 0.0, 0.0, 0.0]), np.array([0.002, 0.0, 0.0, 0.0, 0.0])
    fainted, lateness = flags(0, 0, 0, 0, 1), np.array([0.0, 0.0, 0.0, 0.2, 0.0])
    rates = need_rates(RULES)
    rewards = tick_rewards(
        needs,
        attendance,
        fainted,
        lateness,
        chats + partings,
        config=RULES,
        need_rates=rates,
        faint_penalty=1.5,
        clips=True,
    )
    parts = reward_parts(
        rewards,
        needs,
        attendance,
        fainted,
        lateness,
        chats,
        partings,
        config=RULES,
        need_rates=rates,
        faint_penalty=1.5,
    )
    # As above; 2 had 0.03 too much for the clip, 3 was 0.154 below it: 0.01 - 0.02 - 0.004 - 0.2 = -0.214.
    expected = {
        "survival": [0.01] * 5,
        "needs_penalty": [0.0, -0.01, 0.0, -0.02, -0.01],
        "social_bonus": [0.01, 0.0, 0.0, 0.0, 0.0],
        "social_penalty": [0.0] * 5,
        "social_avoidance": [0.002, 0.0, 0.0, 0.0, 0.0],
        "social": [0.012, 0.0, 0.0, 0.0, 0.0],
        "wage": [0.03, 0.0, 0.03, 0.0, 0.0],
        "punctuality": [0.0, -0.004, 0.05, -0.204, 0.0],
        "terminal_penalty": [0.0, 0.0, 0.0, 0.0, -1.5],
        "clip_adjustment": [0.0, 0.0, -0.03, 0.154, 0.0],
        "total": [0.052, -0.004, 0.06, -0.06, -1.5],
    }
    assert {name: column.tolist() for name, column in vars(parts).items()} == {
        name: pytest.approx(column) for name, column in expected.items()
    }


def test_the_penalty_of_fainting_covers_the_worst_stream_by_hand() -> None:
    # The worst tick: 0.01 - 0.02 - 0.004 - 0.006 = -0.02; for ever, with γ = 0.9: -0.2. A penalty of 0.1 is too little.
    rules = RewardConfig(
        survival_tick=0.01, needs_penalty=0.02, late_tick_penalty=0.004, faint_penalty=-0.1, discount=0.9
    )
    assert faint_penalty(rules, max_lateness_penalty=0.006) == pytest.approx(0.2)
    assert faint_penalty(RewardConfig(), max_lateness_penalty=0.0) == 1.0


@given(
    survival=st.floats(0.0, 0.01),
    needs=st.floats(0.0, 0.05),
    late=st.floats(0.0, 1.0),
    once=st.floats(0.0, 1.0),
    clip=st.floats(0.01, 1.0),
    faint=st.floats(-5.0, 0.0),
    discount=st.floats(0.0, 0.999),
    length=st.integers(1, 2000),
)
def test_leaving_early_never_pays(
    survival: float, needs: float, late: float, once: float, clip: float, faint: float, discount: float, length: int
) -> None:
    rules = RewardConfig(
        survival_tick=survival,
        needs_penalty=needs,
        late_tick_penalty=late,
        clip_per_tick=clip,
        faint_penalty=faint,
        discount=discount,
    )
    attendance = Attendance(working=flags(0), late=flags(1), begins=flags(1))
    worst = tick_rewards(
        np.zeros((1, 3)),
        attendance,
        flags(0),
        np.array([once]),
        None,
        config=rules,
        need_rates=need_rates(rules),
        faint_penalty=0.0,
        clips=can_clip(rules, max_lateness_penalty=once),
    ).item()
    assert worst >= -clip
    stream = sum(worst * discount**t for t in range(length))
    assert -faint_penalty(rules, max_lateness_penalty=once) <= stream + 1e-9


def test_the_clip_is_left_out_only_where_it_cannot_bind() -> None:
    # The best tick is worth 0.01 + 0.01 + 0.05, the worst 0.01 - 0.01 - 0.003 - 0.1.
    assert not can_clip(RewardConfig(clip_per_tick=0.11), max_lateness_penalty=0.1)
    assert can_clip(RewardConfig(clip_per_tick=0.1), max_lateness_penalty=0.1)
    assert can_clip(RewardConfig(clip_per_tick=0.06), max_lateness_penalty=0.0)


@pytest.mark.parametrize("discount", [1.0, -0.1, float("nan")])
def test_a_discount_without_a_worst_stream_is_refused(discount: float) -> None:
    with pytest.raises(TownConfigError, match=rf"`rewards.discount`: must be .*, got {discount}"):
        RewardConfig(discount=discount)


def test_idle_is_worth_about_nothing_and_the_script_lives_well() -> None:
    returns = {}
    for name in ("idle", "scripted", "nearest"):
        town = Town(TownConfig(), num_worlds=8)
        observed, controller, total = begun(town, 2**31), town.scripted(name), 0.0
        for _ in range(1000):
            stepped = town.step(controller.propose(observed))
            total += float(stepped.rewards.sum())
            observed = stepped.observed
        returns[name] = total / 80
    assert abs(returns["idle"]) < 0.5
    assert returns["scripted"] > 4.5
    assert returns["nearest"] > returns["scripted"] + 0.2
