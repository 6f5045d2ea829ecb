"""Names in every result."""

from townlet_trajectory.evaluation.results import zero_of


def test_the_zero_is_the_first_behavior_that_earns_nothing() -> None:
    assert zero_of(["scripted", "random", "idle"]) == "idle"
    assert zero_of(["scripted", "random"]) == "random"
    assert zero_of(["scripted"]) is None
