"""What is live changes on a word alone: at a terminal, or by `--yes`."""

import io
import json
from pathlib import Path

import numpy as np
import pytest

from townlet_runtime.cli import main
from townlet_trajectory.evaluation.comparisons import compare
from townlet_trajectory.evaluation.interfaces import EpisodeScores
from townlet_trajectory.evaluation.promotion import PromotionConfig
from townlet_trajectory.evaluation.registry import PromotionRegistry
from townlet_trajectory.evaluation.registry_records import RegistrySettings

SWAP = ("--reason", "r", "--by", "me")


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """A registry with a promoted release."""
    config = PromotionConfig(required_passes=1, num_episodes=10, num_resamples=100)
    settings = RegistrySettings(config=config, seed=1, behavior="scripted", config_id="town", world={})
    made = PromotionRegistry.create(tmp_path / "registry", settings)
    digest = made.submit({"policy.onnx": b"one"}, metadata={})
    one = made.begin_pass(digest)
    script = np.arange(10.0)
    ours, theirs = (EpisodeScores.of(returns=each, seeds=one.seeds) for each in (script + 1.0, script))
    made.record_pass(0, comparison=compare(ours, theirs, seed=0, num_resamples=100), gates=[], evidence={})
    made.mark_promoted(digest, incumbent="scripted")
    return made.path


def live(registry: Path) -> str:
    return PromotionRegistry(registry).state().live


def promote(registry: Path, *arguments: str) -> int:
    return main(["promote", *arguments, "--registry", str(registry)])


@pytest.mark.parametrize("command", [("rollback",), ("swap", "scripted", *SWAP)])
def test_a_person_is_asked_what_becomes_what(
    registry: Path, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = live(registry)
    for typed in ("n\n", "", "\n"):
        monkeypatch.setattr("sys.stdin", Terminal(typed))
        assert promote(registry, *command) == 1
        out, err = capsys.readouterr()
        assert out == "" and f"{digest[:12]} is live. Replace it by scripted? [y/N]: " in err
        assert err.endswith("nothing was changed\n") and live(registry) == digest
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert promote(registry, *command, "--json") == 0
    # The question is no part of the result.
    assert json.loads(capsys.readouterr().out)["aliases"]["champion"] == "scripted"
    assert live(registry) == "scripted"


@pytest.mark.parametrize("command", [("rollback",), ("swap", "scripted", *SWAP)])
def test_a_script_has_to_say_yes(
    registry: Path, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    digest = live(registry)
    assert promote(registry, *command) == 2
    assert capsys.readouterr().err == (
        f"townlet: error: scripted would replace {digest[:12]}, and there is no terminal to ask at; say --yes\n"
    )
    assert live(registry) == digest
    assert promote(registry, *command, "--yes", "-q") == 0
    assert live(registry) == "scripted"


def test_nobody_is_asked_about_what_is_refused_anyway(
    registry: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(""))
    digest = live(registry)
    for command, problem in (
        (("rollback", "--from", "scripted"), "is no longer live"),
        (("swap", digest[:12], *SWAP), "is live already"),
        (("swap", "nobody", *SWAP), "means 0 releases"),
    ):
        assert promote(registry, *command) == 2
        err = capsys.readouterr().err
        assert problem in err and "[y/N]" not in err
    assert promote(registry, "rollback", "--yes", "-q") == 0
    assert promote(registry, "rollback") == 2
    assert "nothing was before it" in capsys.readouterr().err
