"""The options of `townlet train` that say where it computes and what its metrics are written to."""

from __future__ import annotations

from townlet_runtime.cli.training.run_options import DeviceName, RunOptions


def test_options_that_were_not_given_say_nothing() -> None:
    assert RunOptions().overrides() == []


def test_options_are_overrides_of_the_config() -> None:
    found = RunOptions(device=DeviceName.cuda, metrics=("tensorboard", "mine")).overrides()
    assert [(each.path, each.value) for each in found] == [
        (("training", "device"), "cuda"),
        (("training", "metrics"), ["tensorboard", "mine"]),
    ]
    assert [each.label.split()[0] for each in found] == ["--device", "--metrics"]
