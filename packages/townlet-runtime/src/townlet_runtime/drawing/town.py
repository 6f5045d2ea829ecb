"""A town as it is watched: grass and houses with their queues, and the agents with their needs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.drawing.scene import Drawing, Mark, Scene, Shape
from townlet_runtime.town.config import TownConfig
from townlet_runtime.town.place import Place
from townlet_runtime.town.state import FREE, TownState

NEEDS = ("hunger", "hygiene", "energy")
"""Names of the levels; 1 is satisfied."""
_LOOKS: dict[str, tuple[Shape, str]] = {
    "fridge": ("square", "food"),
    "stove": ("square", "accent1"),
    "shower": ("square", "water"),
    "bed": ("square", "home"),
    "workplace": ("diamond", "work"),
}
_PLAIN: tuple[Shape, str] = ("square", "social")


def scene_of(config: TownConfig, place: Place) -> Scene:
    """Return what stays of one world of a town: its objects, then its workplaces."""
    width, height = config.grid_size
    things = [(item.type, item.position) for item in place.objects]
    things += [("workplace", job.location) for job in place.jobs]
    marks = []
    for kind, (x, y) in things:
        shape, colour = _LOOKS.get(kind, _PLAIN)
        marks.append(Mark(x=x + 0.5, y=y + 0.5, label=kind, shape=shape, colour=colour))
    return Scene(
        width=float(width),
        height=float(height),
        cells=np.zeros((height, width), np.uint8),
        palette=(("grass", "grass"),),
        marks=tuple(marks),
        bars=NEEDS,
    )


def drawing_of(config: TownConfig, place: Place, state: TownState, ids: NDArray[np.object_], *, world: int) -> Drawing:
    """Return the agents of one world as they are now, and how many have to do with each object.

    Args:
        config: of the town.
        place: of all worlds.
        state: of all worlds.
        ids: [S]; of the agents, by slot.
        world: index of the world.
    """
    slots = np.arange(world * config.population, (world + 1) * config.population)
    here = slots[state.alive[slots]]
    busy = here[state.phase[here] != FREE]
    objects = state.object[busy] - world * place.num_objects
    waiting = np.bincount(objects, minlength=place.num_objects)
    return Drawing(
        agent_ids=ids[here],
        positions=np.stack([state.x[here], state.y[here]], axis=1).astype(np.float32) + np.float32(0.5),
        levels=np.clip(state.needs[here], 0.0, 1.0).astype(np.float32),
        counts=np.concatenate([waiting, np.full(len(place.jobs), -1)]),
    )
