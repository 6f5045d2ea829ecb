"""What a shell completes beside options, choices and files: names of worlds, scripts, guardrails and presets."""

from __future__ import annotations

import json
import os
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

VARIABLE = "_TOWNLET_COMPLETE"
"""Set by a shell that asks for completions."""
_PRESETS = Path(__file__).parents[1] / "config" / "data" / "presets.json"


def is_completing() -> bool:
    """Whether a shell asks for completions."""
    return bool(os.environ.get(VARIABLE))


def leave_markup() -> None:
    """Take descriptions as they are: Typer would import rich for markup that ours do not have."""
    vars(import_module("typer._completion_classes"))["_sanitize_help_text"] = str


def worlds(incomplete: str) -> list[str]:
    """Return the names of worlds: the town, registered ones, and the families that more follow."""
    return _begin(incomplete, ["town", "gymnasium:", "pettingzoo:", *_registered("townlet.simulations")])


def controllers(incomplete: str) -> list[str]:
    """Return the names of registered controllers."""
    return _begin(incomplete, _registered("townlet.controllers"))


def guardrails(incomplete: str) -> list[str]:
    """Return the names of registered guardrails."""
    return _begin(incomplete, _registered("townlet.guardrails"))


def metrics_sinks(incomplete: str) -> list[str]:
    """Return the names of registered sinks of metrics."""
    return _begin(incomplete, _registered("townlet.metrics"))


def behaviors(incomplete: str) -> list[str]:
    """Return behaviors that most worlds have."""
    return _begin(incomplete, ["scripted", "random"])


def presets(incomplete: str) -> list[str]:
    """Return the names of the presets of training."""
    return _begin(incomplete, list(json.loads(_PRESETS.read_text(encoding="utf-8"))))


def _registered(group: str) -> list[str]:
    # Not by our own reader of entry points: its package takes longer to import than all else.
    return sorted(entry_points(group=group).names)


def _begin(incomplete: str, names: list[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]
