import numpy as np
from beginnings import begun

from townlet_runtime.core.observing import recorded_observations, schema_of, show_commitments
from townlet_runtime.simulation.interface import CommitmentColumns
from townlet_runtime.testing import Corridor, CorridorConfig
from townlet_trajectory import default_decision_columns


def test_the_held_action_is_shown_one_hot_before_its_ticks_left() -> None:
    features = np.full((3, 7), 9, np.float32)
    columns = CommitmentColumns(observation="features", start=2, max_ticks=4)
    held, left = np.array([2, -1, 0]), np.array([3, 0, 4], np.int32)
    show_commitments({"features": features}, columns, held, left, num_actions=3)
    # two columns of the world's own, one-hot of three actions, ticks left / 4, one more of the world's own
    expected = [[9, 9, 0, 0, 1, 0.75, 9], [9, 9, 0, 0, 0, 0, 9], [9, 9, 1, 0, 0, 1, 9]]
    assert features.tolist() == expected


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
