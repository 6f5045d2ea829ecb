"""For tests: a small world that shows everything a simulation may do, and a check of anybody's own simulation."""

from townlet_runtime.simulation.checks import check_grouped_simulation, check_simulation
from townlet_runtime.simulation.corridor import Corridor, CorridorConfig

__all__ = ["Corridor", "CorridorConfig", "check_grouped_simulation", "check_simulation"]
