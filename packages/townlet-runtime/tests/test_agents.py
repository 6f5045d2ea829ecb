"""Agents are found and listed by their ids, and named in errors by them."""

import pytest
from beginnings import begun

from townlet_behavior import PolicyError, PossessionError
from townlet_runtime.core.agents import ids_of, name_agent, slot_of
from townlet_runtime.testing import Corridor, CorridorConfig

OBSERVED = begun(Corridor(CorridorConfig(places=1), num_worlds=3), 0)


def test_the_same_name_in_another_world_is_another_agent() -> None:
    assert [slot_of("visitor_0_1", world, OBSERVED) for world in range(3)] == [0, 1, 2]
    assert ids_of(OBSERVED.slots[[0, 2]], 2, OBSERVED) == ["visitor_0_1"]
    assert ids_of(OBSERVED.slots[[0, 2]], 1, OBSERVED) == []


@pytest.mark.parametrize(("agent_id", "world"), [("nobody", 0), ("visitor_0_1", 3)])
def test_who_is_not_there_cannot_be_found(agent_id: str, world: int) -> None:
    with pytest.raises(PossessionError, match=rf"present in world {world}, got '{agent_id}'"):
        slot_of(agent_id, world, OBSERVED)
    with pytest.raises(PossessionError):
        slot_of(agent_id, world, None)


def test_an_error_of_the_bridge_is_given_the_id_of_its_slot() -> None:
    error = PolicyError("it raves", tick=4, slot=2)
    name_agent(error, OBSERVED)
    assert "visitor_0_1" in str(error) and "world 2" in str(error)
    elsewhere = PolicyError("it raves", tick=4, slot=9)
    name_agent(elsewhere, OBSERVED)
    assert "visitor" not in str(elsewhere)
