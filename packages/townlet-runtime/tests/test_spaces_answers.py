import numpy as np
import pytest

from townlet_runtime.adapters.spaces.answers import require_info, stacked_flags, stacked_rewards
from townlet_runtime.errors import EnvironmentFaultError


def fault(row: int, problem: str) -> EnvironmentFaultError:
    return EnvironmentFaultError("small", problem, world=row)


def test_nobody_earns_nothing() -> None:
    assert stacked_rewards([], fault).shape == stacked_flags("terminated", [], fault).shape == (0,)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e39, None])
def test_a_reward_that_is_not_finite_is_named(bad: object) -> None:
    assert stacked_rewards([1, np.float32(0.5), np.array(2.0)], fault).tolist() == [1.0, 0.5, 2.0]
    with pytest.raises(EnvironmentFaultError, match="world 1: expected a finite reward, got"):
        stacked_rewards([0.0, bad], fault)


@pytest.mark.parametrize("bad", [[1.0], np.zeros(1), "much", {}])
def test_a_reward_that_is_no_number_is_named(bad: object) -> None:
    with pytest.raises(EnvironmentFaultError, match="world 1: expected a number as reward, got"):
        stacked_rewards([0.0, bad], fault)


@pytest.mark.parametrize("bad", [1, None, np.array([True])])
def test_a_flag_that_is_no_bool_is_named(bad: object) -> None:
    assert stacked_flags("terminated", [True, np.bool_(False)], fault).tolist() == [True, False]
    with pytest.raises(EnvironmentFaultError, match="world 1: expected a bool as `terminated`, got"):
        stacked_flags("terminated", [False, bad], fault)


def test_an_info_that_is_no_dictionary_is_named() -> None:
    require_info({}, fault, 0)
    for bad in (np.ones(3), None, [1, 1]):
        with pytest.raises(
            EnvironmentFaultError, match=f"world 4: expected a dictionary as info, got {type(bad).__name__}"
        ):
            require_info(bad, fault, 4)
