"""What a world says about itself to somebody who watches: a scene that seldom changes, and the agents at a tick.

A simulation that has `scene` and `drawing` is `Drawable`. Others are watched by the pixels that they render, or as a
plain grid of agents (`plain_scene`, `plain_drawing`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.drawing.layers import layers_of
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.interface import Observed

Shape = Literal["circle", "square", "diamond", "triangle", "cross"]
COLOURS = (
    *("ground", "wall", "water", "grass", "food", "home", "work", "social"),
    *(f"accent{number}" for number in range(1, 9)),
)
"""Names of colours that a page shows light or dark, as it is itself; `#rrggbb` is the same in both."""
MAX_CELLS, MAX_MARKS, MAX_BARS = 2**20, 4096, 8
_SHAPES = ("circle", "square", "diamond", "triangle", "cross")


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A thing in a scene that is no agent: an object, a landmark, a goal."""

    x: float
    """From the left, in the unit of the scene."""
    y: float
    """From the top."""
    label: str
    shape: Shape = "square"
    colour: str = "accent1"
    """One of `COLOURS`, or `#rrggbb`."""

    def __post_init__(self) -> None:
        if self.shape not in _SHAPES:
            raise SimulationError(f"Mark `{self.label}`: expected a shape of {', '.join(_SHAPES)}, got {self.shape!r}")
        _require_colour(self.colour, f"Mark `{self.label}`")
        _require_finite(np.array([self.x, self.y]), f"the place of mark `{self.label}`")


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """What stays for many ticks: the ground, and the things on it.

    Examples:
        >>> import numpy as np
        >>> from townlet_runtime.drawing.scene import Mark, Scene
        >>> water = np.array([[0, 0, 1], [0, 0, 1]], np.uint8)
        >>> scene = Scene(
        ...     width=3, height=2, cells=water, palette=(("grass", "grass"), ("pond", "water")),
        ...     marks=(Mark(x=0.5, y=0.5, label="stove", colour="food"),), bars=("hunger",),
        ... )
        >>> scene.width, len(scene.marks)
        (3, 1)
    """

    width: float
    """Of all that can be seen, in the unit of the positions of agents and marks."""
    height: float
    cells: NDArray[np.uint8] | None = None
    """[rows, columns]; the ground as codes of `palette`, spread over width and height; None: plain ground."""
    palette: tuple[tuple[str, str], ...] = (("ground", "ground"),)
    """Name and colour of each code."""
    marks: tuple[Mark, ...] = ()
    """At most `MAX_MARKS`."""
    bars: tuple[str, ...] = ()
    """Names of the levels that each agent shows, at most `MAX_BARS`."""

    def __post_init__(self) -> None:
        if not (0.0 < self.width < np.inf and 0.0 < self.height < np.inf):
            raise SimulationError(f"Scene: expected a width and height above 0, got {self.width} x {self.height}")
        for name, colour in self.palette:
            _require_colour(colour, f"Scene: `{name}`")
        for what, found, most in (("marks", len(self.marks), MAX_MARKS), ("bars", len(self.bars), MAX_BARS)):
            if found > most:
                raise SimulationError(f"Scene: expected at most {most} {what}, got {found}")
        cells = self.cells
        if cells is not None:
            if cells.dtype != np.uint8 or cells.ndim != 2 or not 0 < cells.size <= MAX_CELLS:
                shown = f"{cells.dtype} {cells.shape}"
                raise SimulationError(f"Scene: expected cells uint8 [rows, columns] of 1 to {MAX_CELLS}, got {shown}")
            if int(cells.max()) >= len(self.palette):
                raise SimulationError(f"Scene: cell {cells.max()} has no colour: the palette has {len(self.palette)}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawing:
    """The agents of one world at one tick, and what is said of the marks. Nobody changes its arrays afterwards."""

    agent_ids: NDArray[np.object_]
    """[N] str."""
    positions: NDArray[np.float32]
    """[N, 2]; from the left and from the top, in the unit of the scene."""
    levels: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    """[N, bars] in [0, 1]; left out where the scene names no bars."""
    counts: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """[marks]; how many wait there, -1: is not said. Left out: of no mark."""


@runtime_checkable
class Drawable(Protocol):
    """A simulation that says how it looks. Without: its pixels are shown, or a plain grid."""

    def scene(self, *, world: int) -> Scene:
        """What stays: the same object as long as nothing of it has changed."""
        ...

    def drawing(self, *, world: int) -> Drawing:
        """The agents of a world as they are now."""
        ...


def drawable_of(simulation: object) -> Drawable | None:
    """Return what says how a simulation looks: itself, or one that it is around; None: nothing does."""
    return next((one for one in layers_of(simulation) if isinstance(one, Drawable)), None)


def looks_of(drawable: Drawable, *, world: int) -> tuple[Scene, Drawing]:
    """Ask what a simulation, which is a user's, looks like now.

    Args:
        drawable: any.
        world: index of the world.

    Raises:
        SimulationError: if it fails, or its drawing does not fit its scene.
    """
    try:
        scene, drawing = drawable.scene(world=world), drawable.drawing(world=world)
    except SimulationError:
        raise
    except Exception as error:  # a user's own code
        raise SimulationError(f"`scene` or `drawing` failed with {type(error).__name__}: {error}") from error
    return scene, require_drawing(drawing, scene)


def require_drawing(drawing: Drawing, scene: Scene) -> Drawing:
    """Return `drawing`, which is a user's, if it fits its scene.

    Raises:
        SimulationError: names what does not fit.
    """
    count = len(drawing.agent_ids)
    shapes = {
        "positions": (drawing.positions.shape, (count, 2)),
        "levels": (drawing.levels.shape, (count, len(scene.bars)) if scene.bars else (0, 0)),
        "counts": (drawing.counts.shape, (len(scene.marks),) if len(drawing.counts) else (0,)),
    }
    for name, (found, expected) in shapes.items():
        if found != expected:
            raise SimulationError(f"Drawing: expected `{name}` {expected}, got {found}")
    _require_finite(drawing.positions, "positions of a drawing")
    _require_finite(drawing.levels, "levels of a drawing")
    return drawing


def plain_scene(capacity: int) -> Scene:
    """Return a grid with room for the agents of a world that says nothing of itself."""
    columns = int(np.ceil(np.sqrt(max(capacity, 1))))
    return Scene(width=float(columns), height=float(-(-max(capacity, 1) // columns)))


def plain_drawing(observed: Observed, *, world: int, capacity: int, first: int, columns: int) -> Drawing:
    """Return the agents of a group in the order of their slots, row by row of a `plain_scene`.

    Args:
        observed: the view of the group.
        world: index of the world.
        capacity: slots of the group in one world.
        first: place of its first slot.
        columns: of the scene.
    """
    here = observed.worlds == world
    places = observed.slots[here] - world * capacity + first
    positions = np.stack([places % columns, places // columns], axis=1).astype(np.float32) + np.float32(0.5)
    return Drawing(agent_ids=observed.agent_ids[here], positions=positions)


def _require_colour(colour: str, owner: str) -> None:
    if colour not in COLOURS and not re.fullmatch(r"#[0-9a-f]{6}", colour):
        raise SimulationError(f"{owner}: expected a colour of {', '.join(COLOURS)} or `#rrggbb`, got {colour!r}")


def _require_finite(numbers: NDArray[np.floating], what: str) -> None:
    if not np.isfinite(numbers).all():
        raise SimulationError(f"expected {what} that are finite")
