from __future__ import annotations

from dataclasses import replace

import pytest

from townlet_runtime.errors import TownConfigError
from townlet_runtime.town import AffordanceSpec, AgentSpec, JobSpec, ObjectSpec, TownConfig
from townlet_runtime.town.place import build_place, jobs_of, objects_of


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid_size": (1, 5)}, r"`grid_size`: expected at least \(2, 2\) cells, got \(1, 5\)"),
        ({"local_window": 4}, r"`local_window`: expected an odd number of cells, got 4"),
        ({"num_agents": 0}, r"`num_agents`: expected at least 1 agent, got 0"),
        ({"episode_ticks": 0}, r"`episode_ticks`: expected at least 1 tick, got 0"),
        ({"delivery_ticks": 0}, r"`delivery_ticks`: expected at least 1 tick, got 0"),
        (
            {"objects": (ObjectSpec(id="f", type="fridge", position=(16, 0)),)},
            r"`objects\[f\]`: expected a cell of the 16 x 16 grid, got \(16, 0\)",
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


def test_a_use_takes_time() -> None:
    with pytest.raises(TownConfigError, match="`duration`: expected at least 1 tick, got 0"):
        AffordanceSpec(duration=0, effects=(0.0, 0.0, 0.0))


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
