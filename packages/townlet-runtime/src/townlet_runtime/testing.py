"""For tests: a small world with every feature of a simulation, and checks of your own worlds and minds."""

from townlet_runtime.simulation.checks import check_grouped_simulation, check_simulation
from townlet_runtime.simulation.corridor import Corridor, CorridorConfig
from townlet_runtime.simulation.kits import check_controller, check_guardrail, check_policy

__all__ = [
    "Corridor",
    "CorridorConfig",
    "check_controller",
    "check_grouped_simulation",
    "check_guardrail",
    "check_policy",
    "check_simulation",
]
