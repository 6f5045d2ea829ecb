"""The errors that townlet-runtime raises on purpose."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

REPORT_MODULES = ("matplotlib", "jinja2", "markupsafe")
"""What the extra `report` installs."""


class TownletError(Exception):
    """Base of every error that townlet-runtime raises on purpose."""


class ConfigError(TownletError):
    """An invalid setting: names the file and the key where they are known."""

    def __init__(self, problem: str, *, file: Path | str | None = None, key: str | None = None) -> None:
        self.problem = problem
        self.file = file
        self.key = key
        where = ": ".join(str(part) for part in (file, None if key is None else f"`{key}`") if part is not None)
        super().__init__(f"{where}: {problem}" if where else problem)


class UnknownKeyError(ConfigError):
    """A key that no section of that place has.

    Attributes:
        path: the key.
        nearest: the known key that is most like it; None: not looked for.
    """

    def __init__(self, path: tuple[str, ...], *, file: str | None = None, nearest: str | None = None) -> None:
        self.path = path
        self.nearest = nearest
        near = "" if nearest is None else f"; the nearest known key is `{nearest}`"
        super().__init__(f"unknown key{near}", file=file, key=".".join(path))


class WrongValueError(ConfigError):
    """A value of another type, or out of range.

    Attributes:
        path: the key.
    """

    def __init__(self, problem: str, path: tuple[str, ...]) -> None:
        self.path = path
        super().__init__(problem, key=".".join(path))

    def of_a_field(self) -> WrongValueError:
        """Return the same error at the field of the record whose name, in backticks, begins the message."""
        found = re.fullmatch(r"`(\w+)` (.*)", self.problem, re.DOTALL)
        return WrongValueError(found[2], (*self.path, found[1])) if found else self


class TownConfigError(ConfigError):
    """A town that cannot be built from its config."""


class PolicyFileError(TownletError):
    """A policy file that is damaged, foreign, of a newer version, or made for something else."""

    def __init__(self, path: Path | str, *, expected: str, got: str) -> None:
        self.path = path
        self.expected = expected
        self.got = got
        super().__init__(f"{path}: expected {expected}, got {got}")


class SimulationError(TownletError):
    """A simulation, or a call on one, breaks a promise of `townlet_runtime.simulation.interface`."""


class EnvironmentFaultError(TownletError):
    """An environment breaks its own interface: names the environment, and world, agent and tick where known."""

    def __init__(
        self,
        environment: str,
        problem: str,
        *,
        world: int | None = None,
        agent_id: str | None = None,
        tick: int | None = None,
    ) -> None:
        self.environment = environment
        self.problem = problem
        self.world = world
        self.agent_id = agent_id
        self.tick = tick
        places = (("world", world), ("agent", agent_id), ("tick", tick))
        where = "".join(f", {name} {place!r}" for name, place in places if place is not None)
        super().__init__(f"{environment}{where}: {problem}")


class WorkerError(TownletError):
    """An error of a worker process: names what came, and the episodes or the worlds that it was about."""


class MissingExtraError(TownletError):
    """A feature is used whose optional extra is not installed."""

    @classmethod
    def of_report(cls, module: str) -> MissingExtraError:
        """The error of a report that cannot be written without `module`."""
        return cls(f"install `townlet-runtime[report]` to write the report of a run; `{module}` is missing")


def require_report_extra() -> None:
    """Refuse at once, without importing anything, what writing a report would refuse at the end of a run.

    Raises:
        MissingExtraError: without matplotlib and jinja2.
    """
    for module in REPORT_MODULES:
        if find_spec(module) is None:
            raise MissingExtraError.of_report(module)


class ServingError(TownletError):
    """A served policy that cannot be asked: names its address, what was expected and what came."""


class QuestionRefusedError(ServingError):
    """A question that a served policy does not answer; the message says what is wrong with it.

    Attributes:
        kind: one of `townlet_runtime.serving.messages.Kind`, e.g. `shape`, `finite` or `repeated`.
    """

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        super().__init__(text)


class ServerGoneError(ServingError):
    """Nobody serves a policy at an address, or the connection has ended: says why, where the server has said so."""


class ServerTimeoutError(ServingError):
    """A served policy has not answered in time."""


class RunDirectoryError(TownletError):
    """A run directory that cannot be made, read or continued: names the path."""

    def __init__(self, path: Path | str, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"{path}: {problem}")
