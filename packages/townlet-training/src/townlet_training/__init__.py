"""One network through behavior cloning, anneal and PPO, with gates, checkpoints and a log.

Importing the package loads its errors; every other public name is imported when it is first used (PEP 562).
"""

from importlib import import_module
from typing import TYPE_CHECKING

from townlet_training.errors import (
    ActionMaskError,
    CheckpointError,
    ConfigError,
    EmptyBatchError,
    ExportError,
    NonFiniteError,
    RankError,
    ResumeError,
    ShapeError,
    StaleBatchError,
    TrainingError,
)

if TYPE_CHECKING:
    from townlet_training.config import AnnealConfig, DaggerConfig, GatesConfig, GroupConfig, TrainingConfig
    from townlet_training.distil.agreement import HeldOutPlay
    from townlet_training.distil.config import DistilConfig
    from townlet_training.distil.dagger import DaggerRun
    from townlet_training.distil.run import DistilProgress, DistilRun
    from townlet_training.learning.bc import BCLearner
    from townlet_training.learning.config import BCConfig, PPOConfig
    from townlet_training.learning.objective import Estimates, advantages_of, gae, vtrace
    from townlet_training.learning.ppo import PPOLearner
    from townlet_training.learning.ranks.processes import Ranks
    from townlet_training.learning.update import PPOUpdate
    from townlet_training.network.actor_critic import ActorCritic
    from townlet_training.network.adapt import adapted_network, adapted_spec, prior_biases
    from townlet_training.network.blocks import PolicyBlock, Wiring
    from townlet_training.network.config import NetworkConfig
    from townlet_training.network.export.onnx_export import export_policy
    from townlet_training.network.spec import PolicySpec
    from townlet_training.network.weights import weights_sha256
    from townlet_training.planning import PlannedUpdate, Schedule, plan
    from townlet_training.presets import PRESETS, Preset, preset, preset_for
    from townlet_training.run.adapting import (
        AdaptedGroup,
        AddedAction,
        ReferenceRows,
        adapted_groups,
        adapted_policy,
        reference_rows,
        set_priors,
    )
    from townlet_training.run.checkpoint import Checkpoint, CheckpointStore, read_checkpoint
    from townlet_training.run.initial import InitialPolicy, initial_of_run
    from townlet_training.run.metrics import WALL_TIME_KEYS, MetricsRow, MetricsWriter
    from townlet_training.run.monitor import Progress
    from townlet_training.run.orchestrator import TrainingOrchestrator
    from townlet_training.run.state import EarlierTotal, TrainingState
    from townlet_training.sinks.sink import MetricsSink
    from townlet_trajectory.evaluation.comparisons import PairedComparison, ScoreSummary, compare, normalized, summarize
    from townlet_trajectory.evaluation.gates import GateResult, Verdict
    from townlet_trajectory.evaluation.interfaces import Actor, Collected, Collector, EpisodeScores, Evaluator
    from townlet_trajectory.evaluation.promotion import (
        Decision,
        PromotionConfig,
        PromotionDecision,
        PromotionPass,
        RunPromotion,
    )
    from townlet_trajectory.evaluation.results import (
        Agreement,
        CloneEpoch,
        CloneRecord,
        CloneResult,
        DaggerRound,
        DistilRecord,
        DistilRound,
        EvaluationRecord,
        ExportedPolicy,
        FinalEvaluation,
        RunCounters,
        RunSummary,
    )
    from townlet_trajectory.evaluation.teaching import Taught, Teacher

__version__ = "0.4.1"
"""As in pyproject.toml; asking for the metadata of the installed distribution takes longer than importing this."""

__all__ = [
    "PRESETS",
    "WALL_TIME_KEYS",
    "ActionMaskError",
    "Actor",
    "ActorCritic",
    "AdaptedGroup",
    "AddedAction",
    "Agreement",
    "AnnealConfig",
    "BCConfig",
    "BCLearner",
    "Checkpoint",
    "CheckpointError",
    "CheckpointStore",
    "CloneEpoch",
    "CloneRecord",
    "CloneResult",
    "Collected",
    "Collector",
    "ConfigError",
    "DaggerConfig",
    "DaggerRound",
    "DaggerRun",
    "Decision",
    "DistilConfig",
    "DistilProgress",
    "DistilRecord",
    "DistilRound",
    "DistilRun",
    "EarlierTotal",
    "EmptyBatchError",
    "EpisodeScores",
    "Estimates",
    "EvaluationRecord",
    "Evaluator",
    "ExportError",
    "ExportedPolicy",
    "FinalEvaluation",
    "GateResult",
    "GatesConfig",
    "GroupConfig",
    "HeldOutPlay",
    "InitialPolicy",
    "MetricsRow",
    "MetricsSink",
    "MetricsWriter",
    "NetworkConfig",
    "NonFiniteError",
    "PPOConfig",
    "PPOLearner",
    "PPOUpdate",
    "PairedComparison",
    "PlannedUpdate",
    "PolicyBlock",
    "PolicySpec",
    "Preset",
    "Progress",
    "PromotionConfig",
    "PromotionDecision",
    "PromotionPass",
    "RankError",
    "Ranks",
    "ReferenceRows",
    "ResumeError",
    "RunCounters",
    "RunPromotion",
    "RunSummary",
    "Schedule",
    "ScoreSummary",
    "ShapeError",
    "StaleBatchError",
    "Taught",
    "Teacher",
    "TrainingConfig",
    "TrainingError",
    "TrainingOrchestrator",
    "TrainingState",
    "Verdict",
    "Wiring",
    "__version__",
    "adapted_groups",
    "adapted_network",
    "adapted_policy",
    "adapted_spec",
    "advantages_of",
    "compare",
    "export_policy",
    "gae",
    "initial_of_run",
    "normalized",
    "plan",
    "preset",
    "preset_for",
    "prior_biases",
    "read_checkpoint",
    "reference_rows",
    "set_priors",
    "summarize",
    "vtrace",
    "weights_sha256",
]

_MODULES = {
    "townlet_training.config": "AnnealConfig DaggerConfig GatesConfig GroupConfig TrainingConfig",
    "townlet_training.distil.agreement": "HeldOutPlay",
    "townlet_training.distil.config": "DistilConfig",
    "townlet_training.distil.dagger": "DaggerRun",
    "townlet_training.distil.run": "DistilProgress DistilRun",
    "townlet_training.learning.bc": "BCLearner",
    "townlet_training.learning.config": "BCConfig PPOConfig",
    "townlet_training.learning.objective": "Estimates advantages_of gae vtrace",
    "townlet_training.learning.ppo": "PPOLearner",
    "townlet_training.learning.ranks.processes": "Ranks",
    "townlet_training.learning.update": "PPOUpdate",
    "townlet_training.network.actor_critic": "ActorCritic",
    "townlet_training.network.adapt": "adapted_network adapted_spec prior_biases",
    "townlet_training.network.blocks": "PolicyBlock Wiring",
    "townlet_training.run.adapting": (
        "AdaptedGroup AddedAction ReferenceRows adapted_groups adapted_policy reference_rows set_priors"
    ),
    "townlet_training.run.initial": "InitialPolicy initial_of_run",
    "townlet_training.network.config": "NetworkConfig",
    "townlet_training.network.export.onnx_export": "export_policy",
    "townlet_training.network.spec": "PolicySpec",
    "townlet_training.network.weights": "weights_sha256",
    "townlet_training.planning": "PlannedUpdate Schedule plan",
    "townlet_training.presets": "PRESETS Preset preset preset_for",
    "townlet_training.run.checkpoint": "Checkpoint CheckpointStore read_checkpoint",
    "townlet_training.run.metrics": "WALL_TIME_KEYS MetricsRow MetricsWriter",
    "townlet_training.run.monitor": "Progress",
    "townlet_training.run.orchestrator": "TrainingOrchestrator",
    "townlet_training.run.state": "EarlierTotal TrainingState",
    "townlet_training.sinks.sink": "MetricsSink",
    "townlet_trajectory.evaluation.comparisons": "PairedComparison ScoreSummary compare normalized summarize",
    "townlet_trajectory.evaluation.gates": "GateResult Verdict",
    "townlet_trajectory.evaluation.interfaces": "Actor Collected Collector EpisodeScores Evaluator",
    "townlet_trajectory.evaluation.teaching": "Taught Teacher",
    "townlet_trajectory.evaluation.promotion": (
        "Decision PromotionConfig PromotionDecision PromotionPass RunPromotion"
    ),
    "townlet_trajectory.evaluation.results": (
        "Agreement CloneEpoch CloneRecord CloneResult DaggerRound DistilRecord DistilRound EvaluationRecord "
        "ExportedPolicy FinalEvaluation RunCounters RunSummary"
    ),
}

if not TYPE_CHECKING:  # a type checker would take any name for one of the module

    def __getattr__(name: str) -> object:
        for module, names in _MODULES.items():
            if name in names.split():
                return globals().setdefault(name, getattr(import_module(module), name))
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
