"""A simulation around another one: what the inner one says of itself to people is said through every wrapper."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable


@runtime_checkable
class Around(Protocol):
    """A simulation that is around another one."""

    @property
    def simulation_inside(self) -> object:
        """The other one."""
        ...


def layers_of(simulation: object) -> Iterator[object]:
    """Give a simulation, then the one that it is around, and so on to the innermost."""
    yield simulation
    while isinstance(simulation, Around):
        simulation = simulation.simulation_inside
        yield simulation
