"""What a picture of a town shows: a still of one world, made by whoever has the world."""

from __future__ import annotations

from dataclasses import dataclass

from townlet_runtime.runs.strict_json import ReportError, require_finite


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
                raise ReportError("PictureObject", key=key, expected="a count >= 0", came=repr(count))


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
        require_finite("PictureAgent", needs=self.needs)
        if not all(0.0 <= need <= 1.0 for need in self.needs):
            raise ReportError("PictureAgent", key="needs", expected="three numbers in [0, 1]", came=repr(self.needs))


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
                raise ReportError("TownPicture", key=key, expected="at least 1 cell", came=repr(cells))
        for index, thing in enumerate(self.objects):
            self._require_cell(f"objects.{index}", thing.x, thing.y)
        for index, agent in enumerate(self.agents):
            self._require_cell(f"agents.{index}", agent.x, agent.y)

    def _require_cell(self, key: str, x: int, y: int) -> None:
        if not (0 <= x < self.width and 0 <= y < self.height):
            expected = f"a cell of the {self.width} x {self.height} grid"
            raise ReportError("TownPicture", key=key, expected=expected, came=f"({x}, {y})")
