from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from townlet_runtime.errors import TownConfigError
from townlet_runtime.town import (
    AffordanceSpec,
    AgentSpec,
    JobSpec,
    LifecycleConfig,
    ObjectSpec,
    PersonalityConfig,
    RivalryConfig,
    SocialConfig,
    TownConfig,
)
from townlet_runtime.town.config import NeedsDecay, NeedsWeights, QueueConfig, RewardConfig
from townlet_runtime.town.place import build_place, jobs_of, objects_of


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid_size": (1, 5)}, r"`grid_size`: must be greater than or equal to 2, got \(1, 5\)"),
        ({"local_window": 4}, r"`local_window`: must be an odd number of cells, got 4"),
        ({"num_agents": 0}, r"`num_agents`: must be greater than or equal to 1, got 0"),
        ({"episode_ticks": 0}, r"`episode_ticks`: must be greater than or equal to 1, got 0"),
        ({"delivery_ticks": 0}, r"`delivery_ticks`: must be greater than or equal to 1, got 0"),
        (
            {"objects": (ObjectSpec(id="f", type="fridge", position=(16, 0)),)},
            r"`objects\[f\]`: expected a cell of the 16 x 16 grid, got \(16, 0\)",
        ),
        (
            {"agents": (AgentSpec(id="alice", position=(0, 0), personality_profile="clown"),)},
            r"`agents\[alice\].personality_profile`: expected one of balanced, industrious, .*, got 'clown'",
        ),
        (
            {"objects": (ObjectSpec(id="f", type="fridge", position=(0, 0)),) * 2},
            r"`objects`: expected unique names, got \['f', 'f'\]",
        ),
        (
            {
                "agents": (AgentSpec(id="alice", position=(0, 0), job="clown"),),
                "jobs": (JobSpec(name="cook", start_tick=0, end_tick=9),),
            },
            r"`agents\[alice\].job`: expected one of \['cook'\], got 'clown'",
        ),
    ],
)
def test_a_town_that_cannot_be_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(TownConfigError, match=message):
        replace(TownConfig(), **change)


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        (SocialConfig, {"social_rewards": "C4"}, "`social.social_rewards`: must be 'OFF', 'C1', 'C2' or 'C3', got"),
        (SocialConfig, {"chat_base": -0.1}, "`social.chat_base`: must be greater than or equal to 0, got -0.1"),
        (SocialConfig, {"takeover_ticks": 0}, "`social.takeover_ticks`: must be greater than or equal to 1, got 0"),
        (RivalryConfig, {"decay_per_tick": 1.5}, "`rivalry.decay_per_tick`: must be less than or equal to 1, got 1.5"),
        (RivalryConfig, {"max_edges": 0}, "`rivalry.max_edges`: must be greater than or equal to 1, got 0"),
        (
            RivalryConfig,
            {"min_value": 0.5, "max_value": 0.4},
            "`rivalry.min_value`: expected at most `max_value` 0.4, got 0.5",
        ),
        (
            LifecycleConfig,
            {"departure_rate": 2.0},
            "`lifecycle.departure_rate`: must be less than or equal to 1, got 2.0",
        ),
        (LifecycleConfig, {"away_ticks": -1}, "`lifecycle.away_ticks`: must be greater than or equal to 0, got -1"),
        (
            PersonalityConfig,
            {"distribution": {"clown": 1.0}},
            "`personality.distribution`: expected one of balanced, industrious, socialite, stoic, got 'clown'",
        ),
        (
            PersonalityConfig,
            {"overrides": {"bob": "clown"}},
            "`personality.overrides`: expected one of .*, got 'clown'",
        ),
        (
            PersonalityConfig,
            {"distribution": {"stoic": 0.0}},
            r"`personality.distribution`: expected weights of at least 0 and a sum above 0, got \{'stoic': 0.0\}",
        ),
    ],
)
def test_a_society_that_cannot_be_is_refused(
    config: type[SocialConfig], settings: dict[str, object], message: str
) -> None:
    with pytest.raises(TownConfigError, match=message):
        config(**settings)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AffordanceSpec(id="nap", duration=0, effects=(0.0, 0.0, 0.0)), "`duration`: must be greater than"),
        (lambda: ObjectSpec(id="f", type="fridge", position=(0, 0), places=0), r"`objects\[f\].places`: must be"),
        (lambda: AgentSpec(id="a", position=(0, 0), needs=(0.5, 0.5, 2.0)), r"`agents\[a\].needs`: must be less than"),
        (lambda: AgentSpec(id="a", position=(0, 0), wallet=-1.0), r"`agents\[a\].wallet`: must be greater than"),
        (lambda: JobSpec(name="j", start_tick=2**63, end_tick=3), r"`jobs\[j\].start_tick`: must be less than"),
        (lambda: RewardConfig(survival_tick=0.02), "`rewards.survival_tick`: must be less than or equal to 0.01"),
        (lambda: RewardConfig(needs_weights=NeedsWeights(hunger=3.0)), "`rewards.needs_weights`: must be less than"),
        (lambda: QueueConfig(cooldown_ticks=601), "`queue.cooldown_ticks`: must be less than or equal to 600, got 601"),
        (lambda: TownConfig(needs_decay=NeedsDecay(energy=-0.1)), "`needs_decay`: must be greater than or equal to 0"),
        (lambda: TownConfig(grid_size=(10**5, 10**5)), r"`grid_size`: must be less than or equal to 4096, got"),
        (lambda: TownConfig(fridge_stock=2**63), "`fridge_stock`: must be less than or equal to 1000000, got 9223"),
        (lambda: TownConfig(ticks_per_day=2**63), "`ticks_per_day`: must be less than or equal to 1000000000"),
        (lambda: TownConfig(local_window=257), "`local_window`: must be less than or equal to 255, got 257"),
        (lambda: TownConfig(num_agents=True), "`num_agents`: must be a valid integer, got True"),
    ],
)
def test_a_number_out_of_its_range_is_refused_where_it_is_said(make: Callable[[], object], message: str) -> None:
    with pytest.raises(TownConfigError, match=message):
        make()


def test_the_default_layout_has_a_place_for_every_ten_agents() -> None:
    assert {item.places for item in objects_of(TownConfig(num_agents=10))} == {1}
    assert {item.places for item in objects_of(TownConfig(num_agents=11))} == {2}
    assert [item.id for item in objects_of(TownConfig())][:4] == ["fridge_1", "fridge_2", "fridge_3", "stove_1"]


def test_default_shifts_share_the_day() -> None:
    jobs = jobs_of(TownConfig(ticks_per_day=100))
    assert [(job.start_tick, job.end_tick) for job in jobs] == [(12, 38), (40, 66), (68, 94)]


def test_objects_are_ordered_by_type_and_keep_their_order_within() -> None:
    config = TownConfig(
        objects=(
            ObjectSpec(id="bed", type="bed", position=(0, 0)),
            ObjectSpec(id="f2", type="fridge", position=(1, 0)),
            ObjectSpec(id="f1", type="fridge", position=(2, 0)),
        )
    )
    place = build_place(config, num_worlds=2)
    assert [item.id for item in place.objects] == ["f2", "f1", "bed"]
    assert place.present.tolist() == [0, 3]
    assert place.segments.tolist() == [0, 2]
    assert place.object_type.tolist() == [0, 0, 3, 0, 0, 3, 0]
