"""How tests begin the worlds of a simulation."""

from __future__ import annotations

from typing import Any

import numpy as np


def begun(simulation: Any, first: int) -> Any:
    """What the agents of a `Simulation` or a `GroupedSimulation` see first, if world w has the seed `first + w`."""
    try:
        spec = simulation.spec
    except AttributeError:
        spec = next(iter(simulation.specs.values()))
    return simulation.reset(seeds=first + np.arange(spec.num_worlds))
