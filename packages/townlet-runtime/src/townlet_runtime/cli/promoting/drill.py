"""`townlet promote drill`: promotion and rollback are practised on a registry that is thrown away."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from townlet_runtime.cli.console import SUCCESS, CommandError, Console
from townlet_runtime.cli.worlds import load, seed_of
from townlet_runtime.config import Config
from townlet_runtime.runs.directory import require_writable
from townlet_trajectory.errors import PromotionError
from townlet_trajectory.evaluation.comparisons import MIN_EPISODES, compare
from townlet_trajectory.evaluation.interfaces import EpisodeScores
from townlet_trajectory.evaluation.promotion import PromotionConfig
from townlet_trajectory.evaluation.registry import PromotionRegistry
from townlet_trajectory.evaluation.registry_records import RegistrySettings
from townlet_trajectory.evaluation.results import SCRIPTED
from townlet_trajectory.storage.files import make_directory, write_json_atomic
from townlet_trajectory.storage.json import JsonValue

SUMMARY = "promotion_drill_summary.json"
_RESAMPLES = 100


@dataclass(frozen=True, kw_only=True)
class DrillOptions:
    """The options of `townlet promote drill`."""

    config: Path
    output: Path
    checkpoint: Path
    """A name that the summary repeats; no such file is opened."""


def run_drill(options: DrillOptions, console: Console) -> int:
    """Promote a candidate that wins on paper, roll it back, write and print the summary, and return the exit code.

    Registry, promotion and rollback are the real ones; the releases and the scores are made up, and nothing is played.

    Raises:
        CommandError: if the registry does something else than it must.
        ConfigError: if the config is wrong.
        ArtifactError: if the summary cannot be written.
    """
    config = load(options.config, (), (), console).config
    require_writable(options.output)
    with tempfile.TemporaryDirectory(prefix="townlet-drill-") as folder:
        summary: dict[str, JsonValue] = {
            "config": str(options.config),
            "checkpoint": str(options.checkpoint),
            **_practise(_registry(Path(folder) / "registry", config), str(options.checkpoint)),
        }
    make_directory(options.output)
    write_json_atomic(options.output / SUMMARY, summary)
    console.result(summary, json.dumps(summary, indent=2).splitlines())
    return SUCCESS


def _registry(path: Path, config: Config) -> PromotionRegistry:
    settings = RegistrySettings(
        config=PromotionConfig(
            required_passes=config.promotion.required_passes, num_episodes=MIN_EPISODES, num_resamples=_RESAMPLES
        ),
        seed=seed_of(config),
        behavior=SCRIPTED,
        config_id=config.config_id or "drill",
        world={},
    )
    return PromotionRegistry.create(path, settings)


def _practise(registry: PromotionRegistry, checkpoint: str) -> dict[str, JsonValue]:
    """Go through everything that may happen to a release, and what must be refused."""
    digest = registry.submit({"checkpoint": b"drill-candidate"}, metadata={"checkpoint": checkpoint})
    incumbent = registry.state().live
    refused = {"promotion_before_its_passes": _refusal(lambda: registry.mark_promoted(digest, incumbent=incumbent))}
    while not registry.state().candidate_ready:
        _win(registry, digest)
    initial = _expect(registry, "ready", live=incumbent)
    registry.mark_promoted(digest, incumbent=incumbent)
    promoted = _expect(registry, "promoted", live=digest)
    registry.register_rollback(reason="drill-rollback")
    rolled_back = _expect(registry, "monitoring", live=incumbent)
    refused["rollback_to_nothing"] = _refusal(lambda: registry.register_rollback(reason="drill-rollback"))
    return {
        "initial": {"promotion": initial},
        "promote": {"promoted": True, "promotion": promoted, "cmd_id": "drill-promote"},
        "rollback": {"rolled_back": True, "promotion": rolled_back, "cmd_id": "drill-rollback"},
        "history": registry.history,
        "refused": dict(refused),
    }


def _win(registry: PromotionRegistry, digest: str) -> None:
    """Let the candidate earn 1 more in every episode of a pass."""
    one = registry.begin_pass(digest)
    script = np.linspace(0.0, 1.0, len(one.seeds))
    ours, theirs = (EpisodeScores.of(returns=each, seeds=one.seeds) for each in (script + 1.0, script))
    comparison = compare(ours, theirs, seed=one.number, num_resamples=_RESAMPLES)
    registry.record_pass(one.number, comparison=comparison, gates=[], evidence={"drill": True})


def _expect(registry: PromotionRegistry, state: str, *, live: str) -> dict[str, JsonValue]:
    """Return the snapshot of a registry, which must be in this state."""
    snapshot = registry.snapshot()
    if (snapshot["state"], registry.state().live) != (state, live):
        raise CommandError(
            f"the drill failed: expected `{live[:12]}` live in state {state}, got `{registry.state().live[:12]}` in "
            f"state {snapshot['state']}"
        )
    return snapshot


def _refusal(change: Callable[[], object]) -> str:
    """Return why a change is refused, which it must be."""
    try:
        change()
    except PromotionError as error:
        return str(error)
    raise CommandError("the drill failed: a change that nothing bears out was not refused")
