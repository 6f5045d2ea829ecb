"""The options that name a world, its script and its guardrails; code (`module:name`) is named by them alone."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from townlet_runtime.adapters.named_code import CONTROLLERS, GUARDRAILS, SIMULATIONS, is_reference
from townlet_runtime.cli.console import CommandError
from townlet_runtime.config.load import Override
from townlet_runtime.config.sections import MODULE
from townlet_runtime.runs.begun import BegunFile
from townlet_runtime.simulation.interface import SimulationSpec
from townlet_runtime.simulation.spec_entries import spec_differences
from townlet_trajectory.storage.entry_points import registered_names
from townlet_trajectory.storage.json import JsonValue
from townlet_trajectory.storage.yaml import parse_value


@dataclass(frozen=True, kw_only=True)
class WorldOptions:
    """A world and the code that acts in it, as options name them; None or empty: not given."""

    env: str | None = None
    controller: str | None = None
    guardrails: tuple[str, ...] = ()
    """They replace those of the config."""
    groups: tuple[str, ...] = ()
    """`NAME=MEMBERS`; those of the config stay."""

    @classmethod
    def of(
        cls,
        env: str | None,
        controller: str | None,
        guardrails: Sequence[str] | None,
        groups: Sequence[str] | None = None,
    ) -> WorldOptions:
        """Make them of the values that a command line gives; None where an option was not given.

        Args:
            env: name of a world, or `module:name`.
            controller: name, or `module:name`.
            guardrails: names, or `module:name`.
            groups: `NAME=MEMBERS`.
        """
        return cls(env=env, controller=controller, guardrails=tuple(guardrails or ()), groups=tuple(groups or ()))

    def overrides(self) -> list[Override]:
        """Return the overrides of the config that they mean. Code is in no config, which says `module` of its world."""
        overrides = []
        if self.env is not None:
            overrides.append(_override("name", MODULE if is_world_code(self.env) else self.env, f"--env {self.env}"))
        if self.controller is not None and not is_code(CONTROLLERS, self.controller):
            overrides.append(_override("controller", self.controller, f"--controller {self.controller}"))
        if self.guardrails:
            registered: list[JsonValue] = [name for name in self.guardrails if not is_code(GUARDRAILS, name)]
            overrides.append(_override("guardrails", registered or None, f"--guardrail {self.guardrails[0]}"))
        return [*overrides, *map(_group, self.groups)]

    def code(self) -> WorldOptions:
        """Return the part of them that a config cannot hold: what is code, and all guardrails if one of them is."""
        controllers = [name for name in (self.controller,) if name is not None and is_code(CONTROLLERS, name)]
        return WorldOptions(
            env=self.env if self.env is not None and is_world_code(self.env) else None,
            controller=controllers[0] if controllers else None,
            guardrails=self.guardrails if any(is_code(GUARDRAILS, name) for name in self.guardrails) else (),
        )

    def elsewhere(self, begun: BegunFile) -> bool:
        """Tell whether they name another world than that of a run."""
        return self.env is not None and self.env != begun.environment

    def typed(self) -> str:
        """Return the options as they are typed; nothing where none was given."""
        parts = [] if self.env is None else ["--env", self.env]
        parts += [] if self.controller is None else ["--controller", self.controller]
        for name in self.guardrails:
            parts += ["--guardrail", name]
        return shlex.join(parts)


def _override(key: str, value: JsonValue, label: str) -> Override:
    return Override(path=("environment", key), value=value, label=label)


def _group(text: str) -> Override:
    """The agents of a new group: `NAME=3`, `NAME=0.5`, or `NAME=PATTERN,PATTERN`."""
    name, _, members = text.partition("=")
    if not name or not members:
        raise CommandError(f"--group {text}: expected NAME=NUMBER, NAME=SHARE or NAME=PATTERN,PATTERN")
    patterns: list[JsonValue] = [part.strip() for part in members.split(",")]
    number = parse_value(members, f"--group {text}") if re.fullmatch(r"[0-9.]+", members) else patterns
    return Override(path=("environment", "groups", name), value=number, label=f"--group {text}")


def is_code(group: str, name: str) -> bool:
    """Tell whether `name` is one of a module (`module:name`), not one registered in the entry point group."""
    return is_reference(name) and name not in registered_names(group)


def is_world_code(env: str) -> bool:
    """Tell whether a world is one of a module: `module:name`, or `gymnasium:module:ID`."""
    family, _, name = env.partition(":")
    if family in ("gymnasium", "pettingzoo"):
        return family == "gymnasium" and ":" in name
    return is_code(SIMULATIONS, env)


def noted_options(begun: BegunFile) -> WorldOptions:
    """Return the world and the code of a run as options name them; a world made in Python has none."""
    return WorldOptions(env=begun.environment, controller=begun.controller, guardrails=begun.guardrails)


def require_code(
    run_dir: Path, begun: BegunFile, options: WorldOptions, *, script: bool = True, otherwise: str = ""
) -> None:
    """Refuse to use a run without the code that it was begun with, and show the options that name it.

    Args:
        run_dir: of the run.
        begun: how it was begun.
        options: that were given now.
        script: whether its script is needed.
        otherwise: what can be done without its script, for the message.

    Raises:
        CommandError: holds the options to add.
    """
    code = noted_options(begun).code()
    missing = WorldOptions(
        env=code.env if options.env is None else None,
        controller=code.controller if script and options.controller is None else None,
        guardrails=() if options.guardrails else code.guardrails,
    )
    if missing != WorldOptions():
        rest = otherwise if missing.controller is not None else ""
        raise CommandError(f"{run_dir}: begun with code that no file may name; add {missing.typed()}{rest}")


def require_same_world(run_dir: Path, begun: BegunFile, specs: Mapping[str, SimulationSpec]) -> None:
    """Refuse a world whose specifications are not those that a run was begun with.

    Args:
        run_dir: of the run.
        begun: how it was begun; where it notes no specifications, any world will do.
        specs: of the world now, by group of agents.

    Raises:
        CommandError: names each entry that differs, with both values.
    """
    if begun.specs is None:
        return
    if begun.specs.keys() != specs.keys():
        groups = f"groups {', '.join(begun.specs)}, has {', '.join(specs)} now"
        raise CommandError(f"{run_dir}: the world `{begun.environment}` had the {groups}")
    for group, noted in begun.specs.items():
        differing = spec_differences(noted, specs[group])
        if differing:
            where = "" if len(specs) == 1 else f", group {group}"
            raise CommandError(
                f"{run_dir}: the world `{begun.environment}`{where} is another one than the run was begun in: "
                + "; ".join(differing)
            )


def require_begun_with(run_dir: Path, option: str, begun: str | None, now: str | None) -> None:
    """Refuse to resume a run with another value of an option than it was begun with.

    Args:
        run_dir: named in the error.
        option: its name without dashes.
        begun: the value that the run was begun with; None: the option was not given.
        now: the value now.

    Raises:
        CommandError: says both values.
    """
    if begun == now:
        return
    if begun is None:
        raise CommandError(f"{run_dir}: begun without --{option}, which is {now} now; leave it out")
    now = "nothing" if now is None else now
    raise CommandError(f"{run_dir}: begun with --{option} {begun}, which is {now} now; say --{option} {begun}")
