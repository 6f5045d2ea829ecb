from dataclasses import replace

import numpy as np
import pytest
from beginnings import begun
from garden import SPEC

from townlet_behavior import ActionVocabulary, Box, MultiDiscrete
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.recorded import recorded_observations, room_of, schema_of
from townlet_runtime.testing import Corridor, CorridorConfig
from townlet_trajectory import ArraySpec, TrajectoryService, default_decision_columns

STEERED = replace(
    SPEC,
    vocabulary=ActionVocabulary.none(),
    option_ticks={},
    actions=Box(names=("steer", "throttle"), low=(-1.0, 0.0), high=(1.0, 2.0)),
)
PARTS = MultiDiscrete(parts={"move": ("stay", "go"), "hand": ("open", "half", "closed")})


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


def test_a_recorder_lends_where_it_keeps_what_the_world_shows() -> None:
    spec = Corridor(CorridorConfig(masked=True)).spec
    service = TrajectoryService(schema_of(spec, masked=True), max_rows=100)
    room = room_of(spec, service)
    assert room is not None
    assert {name: array.shape for name, array in room(5).items()} == {
        name: (5, *column.shape) for name, column in service.schema.observations.items()
    }
    wider = replace(spec, observation_shapes={**spec.observation_shapes, "map": (9, 9, 9)})
    assert room_of(wider, service) is None
    assert room_of(spec, None) is None


def test_a_record_has_the_names_that_the_world_gives() -> None:
    spec = Corridor().spec
    schema = schema_of(spec, masked=True, proposers=("mind",), veto_reasons=("action_mask", "late"))
    assert (schema.proposers, schema.veto_reasons) == (("mind",), ("action_mask", "late"))
    assert schema.feature_names == spec.feature_names != ()
    # A world may name features that it does not show.
    hidden = replace(spec, observation_shapes={"map": spec.observation_shapes["map"]}, commitment_columns=None)
    assert schema_of(hidden, masked=True).feature_names == ()


def test_array_actions_have_columns_of_their_own_shape() -> None:
    schema = schema_of(STEERED, masked=False)
    assert schema.actions is not None
    assert schema.actions.digest == STEERED.action_spec.digest
    assert schema.vocabulary == ()
    assert {schema.decisions[name] for name in ("action", "chosen_action", "expert_action", "drawn_action")} == {
        ArraySpec("float32", (2,))
    }
    parts = schema_of(replace(STEERED, actions=PARTS), masked=True)
    assert parts.actions is not None
    assert parts.actions.digest == PARTS.digest
    assert parts.decisions["action"] == ArraySpec("int64", (2,))
    assert parts.observations["action_mask"] == ArraySpec("bool", (5,))
    with pytest.raises(SimulationError, match="expected no action mask, as its actions are numbers"):
        schema_of(STEERED, masked=True)


def test_what_the_critic_sees_is_recorded() -> None:
    spec = replace(SPEC, critic_shapes={"world": (7,)})
    assert schema_of(spec, masked=False).observations["world"] == ArraySpec("float32", (7,))


def test_the_memory_before_a_tick_has_a_column_where_there_is_one() -> None:
    assert schema_of(SPEC, masked=False, state_size=6).decisions["policy_state"] == ArraySpec("float32", (6,))
    assert "policy_state" not in schema_of(SPEC, masked=False).decisions
