from dataclasses import replace

import numpy as np
import pytest
from beginnings import begun
from garden import SPEC
from numpy.typing import NDArray

from townlet_behavior import CommitmentConfig
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.interface import (
    CommitmentColumns,
    recorded_observations,
    require_seeds,
    schema_of,
)
from townlet_runtime.testing import Corridor, CorridorConfig
from townlet_trajectory import default_decision_columns


def test_the_held_action_is_shown_one_hot_before_its_ticks_left() -> None:
    features = np.full((3, 7), 9, np.float32)
    columns = CommitmentColumns(observation="features", start=2, max_ticks=4)
    held, left = np.array([2, -1, 0]), np.array([3, 0, 4], np.int32)
    columns.show({"features": features}, held, left, num_actions=3)
    # two columns of the world's own, one-hot of three actions, ticks left / 4, one more of the world's own
    expected = [[9, 9, 0, 0, 1, 0.75, 9], [9, 9, 0, 0, 0, 0, 9], [9, 9, 1, 0, 0, 1, 9]]
    assert features.tolist() == expected


@pytest.mark.parametrize(
    ("seeds", "complaint"),
    [
        (np.array([1]), r"`seeds` int64 \[2\], one for each world, got array\(\[1\]\)"),
        (np.array([1.0, 2.0]), r"`seeds` int64 \[2\]"),
        ([1, 2], r"`seeds` int64 \[2\]"),
        (np.array([[1, 2]]), r"`seeds` int64 \[2\]"),
        (np.array([3, -1]), "`seeds` that are not negative"),
    ],
)
def test_seeds_are_one_for_each_world(seeds: NDArray[np.int64], complaint: str) -> None:
    with pytest.raises(SimulationError, match=complaint):
        require_seeds(seeds, 2)


def test_seeds_are_copied() -> None:
    seeds = np.array([3, 4])
    kept = require_seeds(seeds, 2)
    seeds[:] = 0
    assert kept.tolist() == [3, 4]


def test_kinds_that_a_spec_leaves_out_do_not_bind() -> None:
    spec = replace(SPEC, option_ticks={"work": 3})
    assert spec.option_ticks == {"wait": 0, "work": 3}
    assert CommitmentConfig(ticks=SPEC.option_ticks).lengths(SPEC.vocabulary).tolist() == [0, 0]


def test_the_schema_has_the_mask_where_there_is_one() -> None:
    corridor = Corridor(CorridorConfig(masked=True))
    schema = schema_of(corridor.spec, masked=True)
    recorded = recorded_observations(begun(corridor, 1))
    assert {name: spec.shape for name, spec in schema.observations.items()} == {
        name: array.shape[1:] for name, array in recorded.items()
    }
    assert recorded["action_mask"].dtype == np.bool_
    assert schema.vocabulary == ("wait", "left", "right", "rest")
    assert dict(schema.decisions) == dict(default_decision_columns())


def test_without_a_mask_only_observations_are_recorded() -> None:
    corridor = Corridor(CorridorConfig(masked=False))
    assert set(schema_of(corridor.spec, masked=False).observations) == {"features", "map"}
    assert set(recorded_observations(begun(corridor, 1))) == {"features", "map"}


def test_a_record_has_the_names_that_the_world_gives() -> None:
    spec = Corridor().spec
    schema = schema_of(spec, masked=True, proposers=("mind",), veto_reasons=("action_mask", "late"))
    assert (schema.proposers, schema.veto_reasons) == (("mind",), ("action_mask", "late"))
    assert schema.feature_names == spec.feature_names != ()
    # A world may name features that it does not show.
    hidden = replace(spec, observation_shapes={"map": spec.observation_shapes["map"]}, commitment_columns=None)
    assert schema_of(hidden, masked=True).feature_names == ()
