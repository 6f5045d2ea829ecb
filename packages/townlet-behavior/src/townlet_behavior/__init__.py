"""Settles one executed decision per agent from scripted and learned proposals, with its source and its probability."""

from .actions import ActionSpec, ArrayActions, Box, MultiDiscrete
from .batch_controllers import BatchController, IdleController, NoProposals, StatelessController
from .blend import blend, mixture_log_prob, tempered_log_probs
from .bridge import BehaviorBridge
from .commitment import CommitmentConfig, Commitments, Held
from .config import BridgeConfig
from .controllers import (
    Avoiding,
    Cancellable,
    Codec,
    Controller,
    Decoder,
    FirstOf,
    Informed,
    PerAgent,
    Rule,
    SavedController,
)
from .decisions import DecisionBatch, Kind, Source
from .deferred.config import Budget, DeferredConfig
from .deferred.controller import DeferredController
from .deferred.counts import DeferredCounts
from .deferred.log import AnswerLog
from .deferred.records import Answer, Describe, Mind, Question
from .difficulty import Difficulty
from .draws import Purpose, draw_keys, uniforms
from .errors import (
    AnswerLogError,
    BehaviorError,
    ConfigError,
    ControllerError,
    GuardrailError,
    PolicyError,
    PossessionError,
    ShapeError,
    StateError,
    UnknownActionError,
    VocabularyError,
)
from .guardrails import (
    CHAT_RIVAL,
    QUEUE_RIVAL,
    ActionMaskGuardrail,
    Guardrail,
    RivalryGuardrail,
    RivalryView,
    StatelessGuardrail,
    Verdicts,
    veto_reasons_of,
)
from .intent import Action, AgentIntent, IntentKind
from .personality import CHAT_PREFERENCE, PROFILES, Profile, arrival_buffers, avoid_thresholds, need_thresholds
from .possession.locks import CallbackLock
from .possession.possession import Possession
from .possession.tickets import EndReason, Ticket, TicketEnd
from .proposals import Proposals
from .proposers import SCRIPT, ProposerAware, proposers_of
from .saving import SavedState, join_groups, split_groups
from .schedule import ScheduleController, ScheduledBehavior
from .scripted import (
    ScriptedActions,
    ScriptedConfig,
    ScriptedController,
    ScriptedView,
    pressing_needs,
    time_to_leave,
    wants_to_chat,
)
from .scripted_behavior import ScriptedBehavior, Shift
from .social import chat_quality, chat_score
from .tally import Tally
from .views import ArgumentsView, View, WorldView
from .vocabulary import ActionVocabulary

__version__ = "0.3.0"
"""As in pyproject.toml; asking for the metadata of the installed distribution takes longer than importing this."""

__all__ = [
    "CHAT_PREFERENCE",
    "CHAT_RIVAL",
    "PROFILES",
    "QUEUE_RIVAL",
    "SCRIPT",
    "Action",
    "ActionMaskGuardrail",
    "ActionSpec",
    "ActionVocabulary",
    "AgentIntent",
    "Answer",
    "AnswerLog",
    "AnswerLogError",
    "ArgumentsView",
    "ArrayActions",
    "Avoiding",
    "BatchController",
    "BehaviorBridge",
    "BehaviorError",
    "Box",
    "BridgeConfig",
    "Budget",
    "CallbackLock",
    "Cancellable",
    "Codec",
    "CommitmentConfig",
    "Commitments",
    "ConfigError",
    "Controller",
    "ControllerError",
    "DecisionBatch",
    "Decoder",
    "DeferredConfig",
    "DeferredController",
    "DeferredCounts",
    "Describe",
    "Difficulty",
    "EndReason",
    "FirstOf",
    "Guardrail",
    "GuardrailError",
    "Held",
    "IdleController",
    "Informed",
    "IntentKind",
    "Kind",
    "Mind",
    "MultiDiscrete",
    "NoProposals",
    "PerAgent",
    "PolicyError",
    "Possession",
    "PossessionError",
    "Profile",
    "Proposals",
    "ProposerAware",
    "Purpose",
    "Question",
    "RivalryGuardrail",
    "RivalryView",
    "Rule",
    "SavedController",
    "SavedState",
    "ScheduleController",
    "ScheduledBehavior",
    "ScriptedActions",
    "ScriptedBehavior",
    "ScriptedConfig",
    "ScriptedController",
    "ScriptedView",
    "ShapeError",
    "Shift",
    "Source",
    "StateError",
    "StatelessController",
    "StatelessGuardrail",
    "Tally",
    "Ticket",
    "TicketEnd",
    "UnknownActionError",
    "Verdicts",
    "View",
    "VocabularyError",
    "WorldView",
    "__version__",
    "arrival_buffers",
    "avoid_thresholds",
    "blend",
    "chat_quality",
    "chat_score",
    "draw_keys",
    "join_groups",
    "mixture_log_prob",
    "need_thresholds",
    "pressing_needs",
    "proposers_of",
    "split_groups",
    "tempered_log_probs",
    "time_to_leave",
    "uniforms",
    "veto_reasons_of",
    "wants_to_chat",
]
