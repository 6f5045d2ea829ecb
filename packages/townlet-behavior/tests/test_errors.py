import pytest

import townlet_behavior
from townlet_behavior import BehaviorError, PolicyError


@pytest.mark.parametrize(
    "name",
    [
        "ConfigError",
        "GuardrailError",
        "PolicyError",
        "PossessionError",
        "ShapeError",
        "StateError",
        "UnknownActionError",
        "VocabularyError",
    ],
)
def test_every_error_has_the_one_root(name: str) -> None:
    assert issubclass(vars(townlet_behavior)[name], BehaviorError)


def test_a_policy_error_names_tick_and_slot() -> None:
    error = PolicyError("no good", tick=7, slot=3)
    assert (error.tick, error.slot, str(error)) == (7, 3, "tick 7, slot 3: no good")
