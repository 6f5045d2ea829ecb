"""Modules of extras."""

import math

import pytest

from townlet_trajectory.errors import MissingExtraError
from townlet_trajectory.storage.extras import require


def test_a_module_that_is_there() -> None:
    assert require("math", "arrow") is math


def test_a_module_that_is_not_there_is_missed_by_name() -> None:
    with pytest.raises(
        MissingExtraError, match=r"^`no_such_module` is not installed: `pip install 'townlet-trajectory\[arrow\]'`$"
    ):
        require("no_such_module.below", "arrow")
