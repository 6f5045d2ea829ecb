"""For tests: a small world that shows everything a simulation may do, and a check of anybody's own simulation."""

from townlet_runtime.corridor import Corridor, CorridorConfig
from townlet_runtime.simulation_checks import check_grouped_simulation, check_simulation

__all__ = ["Corridor", "CorridorConfig", "check_grouped_simulation", "check_simulation"]
