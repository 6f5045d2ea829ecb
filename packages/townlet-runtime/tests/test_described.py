import json

import numpy as np
import pytest
from beginnings import begun

from townlet_behavior import ActionVocabulary
from townlet_runtime import DescribedObservations, Observed, SimulationSpec
from townlet_runtime.errors import ConfigError, SimulationError
from townlet_runtime.testing import Corridor


def spec_of(names: tuple[str, ...], width: int = 3) -> SimulationSpec:
    return SimulationSpec(
        name="field",
        vocabulary=ActionVocabulary(keys=("wait",), kinds=("wait",)),
        observation_shapes={"features": (width,), "map": (2,)},
        num_worlds=2,
        capacity=4,
        episode_ticks=9,
        feature_names=names,
    )


def seen(*rows: tuple[float, ...]) -> Observed:
    number = len(rows)
    return Observed(
        slots=np.arange(number),
        agent_ids=np.array([f"a{row}" for row in range(number)], object),
        observations={
            "features": np.array(rows, np.float32),
            "map": np.arange(2 * number, dtype=np.float32).reshape(number, 2),
        },
        worlds=np.arange(number),
    )


def test_features_are_named_sorted_and_rounded() -> None:
    describe = DescribedObservations(spec_of(("wealth", "age", "tick")), names=("wealth", "age"), digits=2)
    view = seen((0.126, 3.0, 7.0), (-0.001, 0.5, 8.0))
    # float32 has 0.126 as 0.12600000202655792; -0.00 and 0.00 are the same
    assert describe(view, np.array([0, 1])) == [
        ("a0", 0, '{"age":3.0,"wealth":0.13}'),
        ("a1", 1, '{"age":0.5,"wealth":0.0}'),
    ]
    assert describe(view, np.array([1])) == describe(view, np.array([0, 1]))[1:]
    assert describe(view, np.array([], np.int64)) == []


def test_digits_decide_which_sights_are_the_same() -> None:
    rows = np.array([0, 1])
    for digits, same in ((1, True), (3, False)):
        describe = DescribedObservations(spec_of(("a", "b", "c")), digits=digits)
        (_, _, first), (_, _, second) = describe(seen((0.51, 0.0, 0.0), (0.52, 0.0, 0.0)), rows)
        assert (first == second) is same


def test_a_world_without_names_is_described_by_whole_observations() -> None:
    (described,) = DescribedObservations(spec_of(()), digits=0)(seen((0.4, 1.6, 2.0)), np.array([0]))
    assert json.loads(described[2]) == {"features": [0.0, 2.0, 2.0], "map": [0.0, 1.0]}


def test_every_feature_of_a_world_is_there_by_default() -> None:
    corridor = Corridor()
    (described,) = DescribedObservations(corridor.spec)(begun(corridor, 0), np.array([0]))
    assert sorted(json.loads(described[2])) == sorted(corridor.spec.feature_names)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_number_that_is_not_finite_is_named(number: float) -> None:
    describe = DescribedObservations(spec_of(("a", "b", "c")))
    with pytest.raises(SimulationError, match="agent 'a1': expected finite observations"):
        describe(seen((0.0, 0.0, 0.0), (0.0, number, 0.0)), np.array([0, 1]))


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="`names` must be among a, b, c, got d, e"):
        DescribedObservations(spec_of(("a", "b", "c")), names=("e", "a", "d"))
    with pytest.raises(ConfigError, match=r"`digits` must be in \[0, 6\], got 7"):
        DescribedObservations(spec_of(("a", "b", "c")), digits=7)
