"""The public names, and the examples of those that users name first."""

import doctest
import sys

import pytest

import townlet_training


def test_every_public_name_is_there_and_listed_once() -> None:
    names = townlet_training.__all__
    assert len(set(names)) == len(names)
    for name in names:
        assert name in vars(townlet_training)


@pytest.mark.parametrize("name", ["ActorCritic", "BCLearner", "PPOConfig", "PPOLearner"])
def test_examples_run(name: str) -> None:
    documented = vars(townlet_training)[name]
    (example,) = doctest.DocTestFinder(recurse=False).find(documented, name, sys.modules[documented.__module__])
    assert example.examples
    assert doctest.DocTestRunner(verbose=False).run(example).failed == 0
