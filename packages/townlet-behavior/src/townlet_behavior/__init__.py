"""Scripted and learned proposals in, one executed decision per agent out, with who decided and how likely it was."""

from importlib.metadata import version

from .blend import blend, mixture_log_prob
from .bridge import BehaviorBridge
from .codes import Kind, Source
from .commitment import CommitmentConfig, Commitments, Held
from .config import BridgeConfig
from .controllers import BatchController, Codec, Controller, IdleController, PerAgent, StatelessController
from .decisions import DecisionBatch
from .draws import Purpose, draw_keys, uniforms
from .errors import (
    BehaviorError,
    ConfigError,
    GuardrailError,
    PolicyError,
    PossessionError,
    ShapeError,
    UnknownActionError,
    VocabularyError,
)
from .guardrails import ActionMaskGuardrail, Guardrail, Verdicts
from .intent import Action, AgentIntent, IntentKind
from .needs import pressing_needs
from .possession import Possession
from .proposals import Proposals
from .schedule import ScheduleController
from .scripted import ScriptedActions, ScriptedConfig, ScriptedController, ScriptedView
from .tally import Tally
from .views import View, WorldView
from .vocabulary import ActionVocabulary
from .work import time_to_leave

__version__ = version("townlet-behavior")

__all__ = [
    "Action",
    "ActionMaskGuardrail",
    "ActionVocabulary",
    "AgentIntent",
    "BatchController",
    "BehaviorBridge",
    "BehaviorError",
    "BridgeConfig",
    "Codec",
    "CommitmentConfig",
    "Commitments",
    "ConfigError",
    "Controller",
    "DecisionBatch",
    "Guardrail",
    "GuardrailError",
    "Held",
    "IdleController",
    "IntentKind",
    "Kind",
    "PerAgent",
    "PolicyError",
    "Possession",
    "PossessionError",
    "Proposals",
    "Purpose",
    "ScheduleController",
    "ScriptedActions",
    "ScriptedConfig",
    "ScriptedController",
    "ScriptedView",
    "ShapeError",
    "Source",
    "StatelessController",
    "Tally",
    "UnknownActionError",
    "Verdicts",
    "View",
    "VocabularyError",
    "WorldView",
    "__version__",
    "blend",
    "draw_keys",
    "mixture_log_prob",
    "pressing_needs",
    "time_to_leave",
    "uniforms",
]
