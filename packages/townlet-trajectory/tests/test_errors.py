"""Errors say what, where and why, and survive a trip between processes."""

import math
import pickle

import pytest

from townlet_trajectory import ArtifactError, CaptureError, ManifestError, NonFiniteError, TrajectoryError
from townlet_trajectory.errors import MissingExtraError, require


def test_artifact_error_names_path_stage_and_reason() -> None:
    error = ArtifactError("a/b.npz", "open", "No such file")
    assert str(error) == "a/b.npz: open: No such file"
    assert (error.path.name, error.stage, error.reason) == ("b.npz", "open", "No such file")


def test_family() -> None:
    assert issubclass(CaptureError, ManifestError)
    assert issubclass(ManifestError, ArtifactError)
    assert issubclass(ArtifactError, TrajectoryError)


@pytest.mark.parametrize("error", [CaptureError("p", "s", "r"), NonFiniteError("rewards", 3, 1, float("inf"))])
def test_pickle_keeps_the_message(error: TrajectoryError) -> None:
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_module_that_is_there() -> None:
    assert require("math", "arrow") is math


def test_a_module_that_is_not_there_is_missed_by_name() -> None:
    with pytest.raises(
        MissingExtraError, match=r"^`no_such_module` is not installed: `pip install 'townlet-trajectory\[arrow\]'`$"
    ):
        require("no_such_module.below", "arrow")
