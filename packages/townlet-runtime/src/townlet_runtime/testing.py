"""For tests: a small world with every feature of a simulation, and checks of your own simulation."""

from townlet_runtime.simulation.checks import check_grouped_simulation, check_simulation
from townlet_runtime.simulation.corridor import Corridor, CorridorConfig

__all__ = ["Corridor", "CorridorConfig", "check_grouped_simulation", "check_simulation"]
