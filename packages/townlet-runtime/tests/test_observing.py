import numpy as np
import pytest
from beginnings import begun

from townlet_behavior import BehaviorError, PossessionError
from townlet_runtime.core.observing import ids_of, name_agent, recorded_observations, schema_of, slot_of
from townlet_runtime.testing import Corridor, CorridorConfig
from townlet_trajectory import default_decision_columns


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


OBSERVED = begun(Corridor(CorridorConfig(places=1), num_worlds=3), 0)


def test_the_same_name_in_another_world_is_another_agent() -> None:
    assert [slot_of("visitor_0_1", world, OBSERVED) for world in range(3)] == [0, 1, 2]
    assert ids_of(OBSERVED.slots[[0, 2]], 2, OBSERVED) == ["visitor_0_1"]
    assert ids_of(OBSERVED.slots[[0, 2]], 1, OBSERVED) == []


def test_an_error_about_a_slot_gets_the_name_of_its_agent() -> None:
    error = BehaviorError("no good", slot=2)
    name_agent(error, OBSERVED)
    assert str(error) == "world 2, agent 'visitor_0_1': no good"
    for unknown in (BehaviorError("no good", slot=7), BehaviorError("no good")):
        before = str(unknown)
        name_agent(unknown, OBSERVED)
        assert str(unknown) == before


@pytest.mark.parametrize(("agent_id", "world"), [("nobody", 0), ("visitor_0_1", 3)])
def test_who_is_not_there_cannot_be_found(agent_id: str, world: int) -> None:
    with pytest.raises(PossessionError, match=rf"present in world {world}, got '{agent_id}'"):
        slot_of(agent_id, world, OBSERVED)
    with pytest.raises(PossessionError):
        slot_of(agent_id, world, None)
