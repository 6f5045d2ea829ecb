"""`townlet capture suite`: the captures of several configs, one after the other."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from townlet_behavior.errors import BehaviorError
from townlet_runtime.cli.commands.capture import Captured, RolloutOptions, capture_world
from townlet_runtime.cli.console import ERROR, SUCCESS, CommandError, Console, Json, one_line
from townlet_runtime.cli.recording import FileTarget
from townlet_runtime.cli.world_options import WorldOptions
from townlet_runtime.cli.worlds import load
from townlet_runtime.config import Config
from townlet_runtime.errors import EnvironmentFaultError, TownletError
from townlet_trajectory.errors import ArtifactError, ManifestError, TrajectoryError
from townlet_trajectory.formats.captures.directory import DEFAULT_PREFIX

PAUSE_S = 1.0
"""Before the second attempt; twice as long before each further one."""


@dataclass(frozen=True, kw_only=True)
class SuiteOptions:
    """The options of `townlet capture suite`."""

    configs: Sequence[Path]
    world: WorldOptions
    ticks: int
    output_root: Path
    auto_seed_agents: bool
    agent_filter: str | None
    retries: int
    """Attempts at each config, at least 1."""


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    """What became of one config."""

    config: Path
    output: Path
    attempts: int
    captured: Captured | None
    """None: no attempt succeeded."""
    error: str | None

    def record(self) -> dict[str, Json]:
        """Return it as JSON."""
        where: dict[str, Json] = {
            "config": str(self.config),
            "output": str(self.output),
            "attempts": self.attempts,
            "error": self.error,
        }
        return where if self.captured is None else where | self.captured.record()


def capture_suite(options: SuiteOptions, console: Console) -> int:
    """Capture every config to a folder of its name, print the number of samples of each, and return the exit code.

    All configs are read before the first is captured. One that cannot be captured is named, and keeps no other from
    being captured.

    Raises:
        CommandError: if two configs have the same name, and so the same folder.
        ConfigError: if one is wrong.
    """
    _require_names(options.configs)
    configs = {path: load(path, (), options.world.overrides(), console).config for path in options.configs}
    outcomes = [_capture(path, config, options, console) for path, config in configs.items()]
    if console.json:
        console.result({"captures": [outcome.record() for outcome in outcomes]}, ())
    return SUCCESS if all(outcome.captured for outcome in outcomes) else ERROR


def _require_names(configs: Sequence[Path]) -> None:
    seen: dict[str, Path] = {}
    for path in configs:
        if (other := seen.setdefault(path.stem, path)) is not path:
            raise CommandError(f"{other} and {path}: both would be captured to {path.stem}; give one another name")


def _capture(path: Path, config: Config, options: SuiteOptions, console: Console) -> _Outcome:
    """Capture one config, in so many attempts as it takes and are allowed."""
    output = options.output_root / path.stem
    one = RolloutOptions(
        config=path,
        world=options.world,
        ticks=options.ticks,
        output=FileTarget(folder=output, format=None),
        prefix=DEFAULT_PREFIX,
        auto_seed_agents=options.auto_seed_agents,
        agent_id=options.agent_filter,
    )
    attempts, captured, problem = 0, None, None
    while captured is None:
        attempts += 1
        try:
            captured = capture_world(config, one, console)
        except (TownletError, BehaviorError, TrajectoryError, OSError) as error:
            console.trace(error)
            problem = f"{path}: {one_line(error)}"
            if attempts >= options.retries or not is_worth_retrying(error):
                console.error(problem)
                break
            pause = PAUSE_S * 2 ** (attempts - 1)
            console.warning(f"{problem}; attempt {attempts + 1} of {options.retries} in {pause:g} s")
            time.sleep(pause)
        else:
            problem = None
            console.line(f"Captured {captured.samples} replay samples to {output}")
    return _Outcome(config=path, output=output, attempts=attempts, captured=captured, error=problem)


def is_worth_retrying(error: Exception) -> bool:
    """Return whether the same capture may succeed a moment later.

    It may where the system did not write (a full disk, a folder that another process holds, a share that is gone for a
    moment), and where an environment of others failed. A config, a schedule or an option that is wrong stays wrong.
    """
    if isinstance(error, ArtifactError):
        return not isinstance(error, ManifestError) and error.stage in ("write", "lock", "clean")
    return isinstance(error, OSError | EnvironmentFaultError)
