"""The original's scripts: which command each of them is, and the defaults that its options had."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from townlet_runtime.cli.app import app, main

_ERROR, _WRONG_USAGE = 2, 2
_ORIGINAL_ERROR = 1
"""The exit code of an exception that nobody caught, as every error of the original was one."""
_DECIDES = "promotion_evaluate"
"""The one script whose exit code 2 is a result: FAIL."""

SCRIPTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "run_simulation": ("run",),
        "run_training": ("train",),
        "run_replay": ("replay",),
        "capture_rollout": ("capture", "rollout"),
        "capture_rollout_suite": ("capture", "suite"),
        "capture_scripted": ("capture", "scripted"),
        "curate_trajectories": ("dataset", "curate"),
        "audit_bc_datasets": ("dataset", "audit"),
        "merge_rollout_metrics": ("dataset", "merge-metrics"),
        "bc_metrics_summary": ("report", "bc"),
        "reward_summary": ("report", "rewards"),
        "telemetry_summary": ("report", "summary"),
        "validate_ppo_telemetry": ("report", "validate"),
        "ppo_telemetry_plot": ("report", "plot"),
        "telemetry_watch": ("watch",),
        "run_anneal_rehearsal": ("promote", "rehearse"),
        "promotion_evaluate": ("promote", "evaluate"),
        "promotion_drill": ("promote", "drill"),
        "run_mixed_soak": ("soak",),
        "benchmark_tick": ("bench",),
    }
)
"""Words of the `townlet` command, by the name of the script without its `.py`."""


_DEFAULTS: Mapping[str, tuple[tuple[str, str, tuple[str, ...]], ...]] = MappingProxyType(
    {
        "run_simulation": (("--ticks", "1000", ()),),
        "audit_bc_datasets": (("--versions", "data/bc_datasets/versions.json", ()),),
        "merge_rollout_metrics": (("--golden", "docs/samples/rollout_scenario_stats.json", ("--output",)),),
        "run_anneal_rehearsal": (
            ("--config", "artifacts/m5/acceptance/config_idle_v1.yaml", ()),
            ("--manifest", "data/bc_datasets/manifests/idle_v1.json", ()),
        ),
    }
)
"""Options, with the values that they had by default and have no longer, and the options that stand in their place."""


def command_of(script: str) -> tuple[str, ...] | None:
    """Return the words of the command that a script of the original is now; None where it had no such one.

    Args:
        script: its name, with or without `.py`.
    """
    return SCRIPTS.get(script.removesuffix(".py"))


def arguments_of(script: str, arguments: Sequence[str]) -> list[str]:
    """Return what is typed after the words of the command: the same arguments, and defaults that are no longer any.

    Args:
        script: its name, with or without `.py`.
        arguments: as the script was given them.
    """
    given = {argument.split("=")[0] for argument in arguments}
    filled = [
        word
        for option, value, others in _DEFAULTS.get(script.removesuffix(".py"), ())
        if given.isdisjoint((option, *others))
        for word in (option, value)
    ]
    return [*filled, *arguments]


def run_script(arguments: Sequence[str]) -> int:
    """Run one of the original's scripts by its name, and return the exit code that the script had.

    An error is 1 there, and 2 is wrong usage; `townlet` ends with 2 for both.

    Args:
        arguments: the name of the script, with or without `.py`, and its arguments.
    """
    if not arguments:
        _say(f"townlet: error: expected the name of one of the original's scripts: {', '.join(SCRIPTS)}")
        return _WRONG_USAGE
    name, *rest = arguments
    words = command_of(name)
    if words is None:
        near = difflib.get_close_matches(name.removesuffix(".py"), SCRIPTS, n=1, cutoff=0.0)
        expected = "expected the name of one of the original's scripts"
        _say(f"townlet: error: {expected}, got {name!r}; the nearest is {near[0]}")
        return _WRONG_USAGE
    script = name.removesuffix(".py")
    _say(f"DeprecationWarning: {script}.py is `townlet {' '.join(words)}` now; this way goes in townlet-runtime 0.3")
    return _run([*words, *arguments_of(script, rest)], decides=script == _DECIDES)


def _run(words: list[str], *, decides: bool) -> int:
    try:
        code = app(args=list(words), prog_name="townlet", standalone_mode=False)
    except (Exception, SystemExit):
        # No command raises, so none has begun: wrong usage, or nobody reads the help. `main` says it as ever.
        return main(words)
    if code == _ERROR and not decides:
        return _ORIGINAL_ERROR
    return code if isinstance(code, int) else 0


def _say(line: str) -> None:
    from townlet_trajectory.storage.json import printable

    sys.stderr.write(f"{printable(line)}\n")
    sys.stderr.flush()
