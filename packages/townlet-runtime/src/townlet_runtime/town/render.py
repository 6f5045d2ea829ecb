"""One world of a town for people: as lines of text, and as a picture for the report."""

from __future__ import annotations

from textwrap import wrap

import numpy as np

from townlet_runtime.town.picture import PictureAgent, PictureObject, TownPicture
from townlet_runtime.town.state import IN_LINE, USING
from townlet_runtime.town.town import Town

_SYMBOLS = {"fridge": "F", "stove": "S", "shower": "H", "bed": "B"}
_PLAIN, _WORKPLACE = "o", "W"
_LEGEND = "F fridge  S stove  H shower  B bed  W workplace  1-9 agents (+ more)  . free"


def render_lines(town: Town, *, world: int = 0, marked: str | None = None) -> list[str]:
    """Draw one world as text: a line of averages, the grid (agents hide what they stand on), and the legend.

    A digit is the number of agents in a cell. Grids of up to 39 columns fit a terminal of 80.

    Args:
        town: after its `reset`.
        world: index, in [0, num_worlds).
        marked: id of an agent whose cell is an `@`; None: no agent is marked.
    """
    state, place = town.state, town.place
    width, height = town.config.grid_size
    cells = np.full((height, width), ".", dtype="<U1")
    for job in place.jobs:
        cells[job.location[1], job.location[0]] = _WORKPLACE
    for item in place.objects:
        cells[item.position[1], item.position[0]] = _SYMBOLS.get(item.type, _PLAIN)
    here = _slots(town, world)
    crowd = np.zeros((height, width), dtype=np.int64)
    np.add.at(crowd, (state.y[here], state.x[here]), 1)
    for y, x in np.argwhere(crowd):
        cells[y, x] = str(crowd[y, x]) if crowd[y, x] < 10 else "+"
    own = here[town.population.ids[here] == marked]
    cells[state.y[own], state.x[own]] = "@"
    needs = state.needs[here].mean(axis=0) if here.size else np.zeros(3)
    news = (
        f"tick {state.tick:4d}  agents {here.size}  hunger {needs[0]:.2f}  hygiene {needs[1]:.2f}  "
        f"energy {needs[2]:.2f}  wallet {state.wallet[here].mean() if here.size else 0.0:.2f}"
    )
    plain = town.config.plain_types
    named = wrap(f"{_PLAIN} {', '.join(plain)}", 79) if plain else []
    return [news, *(" ".join(row) for row in cells), _LEGEND, *named]


def town_picture(town: Town, *, world: int = 0, title: str) -> TownPicture:
    """Record a picture of one world for the report.

    Args:
        town: after its `reset`.
        world: index, in [0, num_worlds).
        title: of the picture.
    """
    state, place = town.state, town.place
    here = _slots(town, world)
    own = np.arange(place.num_objects) + world * place.num_objects
    users = np.bincount(state.object[here[state.phase[here] == USING]], minlength=len(state.stock))[own]
    waiting = np.bincount(state.object[here[state.phase[here] == IN_LINE]], minlength=len(state.stock))[own]
    width, height = town.config.grid_size
    objects = [
        PictureObject(type=item.type, x=item.position[0], y=item.position[1], users=int(u), line_length=int(n))
        for item, u, n in zip(place.objects, users, waiting, strict=True)
    ]
    objects += [
        PictureObject(type="workplace", x=job.location[0], y=job.location[1], users=0, line_length=0)
        for job in place.jobs
    ]
    columns = (town.population.ids, state.x, state.y, state.needs, state.phase == USING)
    agents = [
        PictureAgent(id=str(name), x=x, y=y, needs=(needs[0], needs[1], needs[2]), using=using)
        for name, x, y, needs, using in zip(*(column[here].tolist() for column in columns), strict=True)
    ]
    return TownPicture(title=title, width=width, height=height, objects=tuple(objects), agents=tuple(agents))


def _slots(town: Town, world: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    size = town.config.population
    slots = np.arange(world * size, (world + 1) * size)
    return slots[town.state.alive[slots]]
