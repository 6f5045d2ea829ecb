"""Plain Python worlds: `PolicyRuntime(config)` decides for their agents; `SimulationLoop(config)`: a town."""

from townlet_runtime.plain.codec import AgentIntentCodec, IntentCodec, KeyCodec, OptionCodec, plain_vocabulary
from townlet_runtime.plain.engine import PlainOptions
from townlet_runtime.plain.frames import Frame, Transition
from townlet_runtime.plain.runtime import PolicyRuntime
from townlet_runtime.plain.simulation import PlainSimulation, PlainWorlds
from townlet_runtime.plain.town_loop import SimulationLoop

__all__ = [
    "AgentIntentCodec",
    "Frame",
    "IntentCodec",
    "KeyCodec",
    "OptionCodec",
    "PlainOptions",
    "PlainSimulation",
    "PlainWorlds",
    "PolicyRuntime",
    "SimulationLoop",
    "Transition",
    "plain_vocabulary",
]
