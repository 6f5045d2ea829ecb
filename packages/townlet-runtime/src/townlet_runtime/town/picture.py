"""Records of a picture of one world of a town at one tick: its objects and agents, for the report to draw."""

from __future__ import annotations

from dataclasses import dataclass

from townlet_runtime.errors import SimulationError


@dataclass(frozen=True, kw_only=True)
class PictureObject:
    """One object of the town."""

    type: str
    """`fridge`, `stove`, `shower`, `bed`, or any other word."""
    x: int
    y: int
    users: int
    """Agents using it now."""
    line_length: int
    """Agents waiting for it."""

    def __post_init__(self) -> None:
        for key, count in (("users", self.users), ("line_length", self.line_length)):
            if count < 0:
                raise SimulationError(f"PictureObject: `{key}`: expected a count >= 0, got {count!r}")


@dataclass(frozen=True, kw_only=True)
class PictureAgent:
    """One agent of the town."""

    id: str
    x: int
    y: int
    needs: tuple[float, float, float]
    """hunger, hygiene, energy in [0, 1]; 1 is satisfied."""
    using: bool
    """True while it uses an object."""

    def __post_init__(self) -> None:
        if not all(0.0 <= need <= 1.0 for need in self.needs):
            raise SimulationError(f"PictureAgent: `needs`: expected three numbers in [0, 1], got {self.needs!r}")


@dataclass(frozen=True, kw_only=True)
class TownPicture:
    """One world at one tick. Cell (0, 0) is the upper left one."""

    title: str
    width: int
    height: int
    """Cells."""
    objects: tuple[PictureObject, ...]
    agents: tuple[PictureAgent, ...]

    def __post_init__(self) -> None:
        for key, cells in (("width", self.width), ("height", self.height)):
            if cells < 1:
                raise SimulationError(f"TownPicture: `{key}`: expected at least 1 cell, got {cells!r}")
        for index, thing in enumerate(self.objects):
            self._require_cell(f"objects.{index}", thing.x, thing.y)
        for index, agent in enumerate(self.agents):
            self._require_cell(f"agents.{index}", agent.x, agent.y)

    def _require_cell(self, key: str, x: int, y: int) -> None:
        if not (0 <= x < self.width and 0 <= y < self.height):
            grid = f"{self.width} x {self.height} grid"
            raise SimulationError(f"TownPicture: `{key}`: expected a cell of the {grid}, got ({x}, {y})")
