"""`townlet config check`: everything that is wrong with config files."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

from townlet_runtime.adapters.named_code import CONTROLLERS, GUARDRAILS, SIMULATIONS
from townlet_runtime.cli.console import ERROR, SUCCESS, Console, Json
from townlet_runtime.config import Config, training_mode, training_settings
from townlet_runtime.config.origins import check_preset, preset_of_world
from townlet_runtime.config.problems import Checked, Problem, config_problems
from townlet_runtime.config.sections import MODULE
from townlet_runtime.errors import ConfigError
from townlet_trajectory.evaluation.results import SCRIPTED
from townlet_trajectory.storage.entry_points import registered_names


def check_configs(paths: Sequence[Path], console: Console) -> int:
    """Print what is wrong with each config, and return the exit code.

    Args:
        paths: of the files.
        console: prints the result; where it is quiet, the errors alone.
    """
    found = [config_problems(path, _further) for path in paths]
    lines = []
    for each in found:
        lines += [_line(problem, "error") for problem in each.errors]
        lines += [_line(problem, "warning") for problem in each.warnings]
        lines.append(f"{each.file}: {_count(each.errors, 'error')}, {_count(each.warnings, 'warning')}")
    has_errors = any(each.errors for each in found)
    console.result({"valid": not has_errors, "files": [_record(each) for each in found]}, lines)
    if console.quiet and not console.json:
        for each in found:
            for problem in each.errors:
                console.error(str(problem))
    return ERROR if has_errors else SUCCESS


METRICS = "townlet.metrics"
"""Entry point group of sinks of metrics, which the trainer opens."""


def _further(config: Config) -> None:
    """What the config's own checks do not know: which names are registered, and what the trainer says if there is one.

    Raises:
        ConfigError: names the key.
    """
    section = config.environment
    if not section.is_town and ":" not in section.name and section.name != MODULE:
        _require_registered(SIMULATIONS, section.name, "world", "environment.name")
    if section.controller is not None:
        _require_registered(CONTROLLERS, section.controller, "controller", "environment.controller")
    for name in section.guardrails or ():
        _require_registered(GUARDRAILS, name, "guardrail", "environment.guardrails")
    for name in config.training.get("metrics", ()):
        _require_registered(METRICS, name, "sink of metrics", "training.metrics")
    check_preset(config)
    if find_spec("torch") is None or find_spec("townlet_training") is None:
        return
    from townlet_runtime.training_settings import training_config

    training_config(
        training_settings(config),
        preset_name=config.preset or preset_of_world(section.name),
        mode=training_mode(config),
        seed=0,
        behaviors=(SCRIPTED,),
    )


def _require_registered(group: str, name: str, kind: str, key: str) -> None:
    known = registered_names(group)
    if name not in known:
        near = get_close_matches(name, known, n=1)
        raise ConfigError(
            f"no {kind} `{name}` is registered (there are: {', '.join(known) or 'none'})"
            + (f"; did you mean {near[0]}?" if near else ""),
            key=key,
        )


def _line(problem: Problem, kind: str) -> str:
    place = ":".join(str(part) for part in (problem.file, problem.line, problem.column) if part is not None)
    about = problem.problem if problem.key is None else f"`{problem.key}`: {problem.problem}"
    return f"{place}: {kind}: {about}"


def _count(problems: Sequence[Problem], kind: str) -> str:
    return f"{len(problems) or 'no'} {kind}{'' if len(problems) == 1 else 's'}"


def _record(checked: Checked) -> Json:
    return {
        "file": checked.file,
        "errors": [vars(problem) for problem in checked.errors],
        "warnings": [vars(problem) for problem in checked.warnings],
    }
