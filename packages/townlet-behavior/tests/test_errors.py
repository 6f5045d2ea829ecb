import pytest

import townlet_behavior
from townlet_behavior import BehaviorError, PolicyError, PossessionError


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


def test_an_agent_that_was_named_stands_in_place_of_its_slot() -> None:
    error = PossessionError("no good", slot=3)
    assert str(error) == "slot 3: no good"
    error.name_agent("ann", world=1)
    assert (error.slot, str(error)) == (3, "world 1, agent 'ann': no good")
    late = PolicyError("no good", tick=7, slot=3)
    late.name_agent("bob", world=0)
    assert str(late) == "tick 7, world 0, agent 'bob': no good"
    assert str(PossessionError("nobody's fault")) == "nobody's fault"
