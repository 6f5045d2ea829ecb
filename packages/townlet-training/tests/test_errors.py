"""The error family."""

import townlet_training.errors as errors
from townlet_trajectory import ArtifactError


def test_every_error_is_a_training_error() -> None:
    family = [
        value for value in vars(errors).values() if isinstance(value, type) and value.__module__ == errors.__name__
    ]
    assert len(family) > 5
    assert all(issubclass(error, errors.TrainingError) for error in family)


def test_a_checkpoint_error_is_an_artifact_error_too() -> None:
    assert issubclass(errors.CheckpointError, ArtifactError)


def test_a_non_finite_error_names_the_stage() -> None:
    error = errors.NonFiniteError("loss", "it is nan")
    assert error.stage == "loss" and str(error) == "loss: it is nan"
    within = error.within("update 12 of stage ppo, agent group `cat`")
    assert within.stage == "loss" and within.detail == "it is nan"
    assert str(within) == "update 12 of stage ppo, agent group `cat`: loss: it is nan"
