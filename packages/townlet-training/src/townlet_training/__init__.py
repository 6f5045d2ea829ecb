"""One network through behavior cloning, anneal and PPO, with gates, checkpoints and a log."""

from townlet_training.config import AnnealConfig, GatesConfig, PolicySpec, TrainingConfig
from townlet_training.errors import (
    ActionMaskError,
    CheckpointError,
    ConfigError,
    EmptyBatchError,
    ExportError,
    NonFiniteError,
    ResumeError,
    ShapeError,
    StaleBatchError,
    TrainingError,
)
from townlet_training.learning.advantages import Estimates, advantages_of, gae, vtrace
from townlet_training.learning.bc import BCLearner
from townlet_training.learning.bc_config import BCConfig
from townlet_training.learning.ppo import PPOLearner, PPOUpdate
from townlet_training.learning.ppo_config import PPOConfig
from townlet_training.network.actor_critic import ActorCritic, NetworkConfig
from townlet_training.network.onnx_export import export_policy
from townlet_training.network.weights import weights_sha256
from townlet_training.presets import PRESETS, Preset, preset, preset_for
from townlet_training.run.checkpoint import Checkpoint, CheckpointStore, read_checkpoint
from townlet_training.run.clock import Progress
from townlet_training.run.metrics import WALL_TIME_KEYS, MetricsRow, MetricsWriter
from townlet_training.run.orchestrator import TrainingOrchestrator
from townlet_training.run.schedule import PlannedUpdate, Schedule, plan
from townlet_training.run.state import TrainingState
from townlet_trajectory.evaluation.comparisons import PairedComparison, ScoreSummary, compare, normalized, summarize
from townlet_trajectory.evaluation.gates import GateResult, Verdict
from townlet_trajectory.evaluation.interfaces import Actor, Collected, Collector, Evaluator
from townlet_trajectory.evaluation.promotion import (
    Decision,
    PromotionConfig,
    PromotionDecision,
    PromotionPass,
    PromotionRegistry,
)
from townlet_trajectory.evaluation.results import (
    CloneEpoch,
    CloneRecord,
    CloneResult,
    EvaluationRecord,
    ExportedPolicy,
    FinalEvaluation,
    RunCounters,
    RunSummary,
)
from townlet_trajectory.evaluation.scores import EpisodeScores

__version__ = "0.1.0"
"""As in pyproject.toml; asking for the metadata of the installed distribution takes longer than importing this."""

__all__ = [
    "PRESETS",
    "WALL_TIME_KEYS",
    "ActionMaskError",
    "Actor",
    "ActorCritic",
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
    "Decision",
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
    "MetricsRow",
    "MetricsWriter",
    "NetworkConfig",
    "NonFiniteError",
    "PPOConfig",
    "PPOLearner",
    "PPOUpdate",
    "PairedComparison",
    "PlannedUpdate",
    "PolicySpec",
    "Preset",
    "Progress",
    "PromotionConfig",
    "PromotionDecision",
    "PromotionPass",
    "PromotionRegistry",
    "ResumeError",
    "RunCounters",
    "RunSummary",
    "Schedule",
    "ScoreSummary",
    "ShapeError",
    "StaleBatchError",
    "TrainingConfig",
    "TrainingError",
    "TrainingOrchestrator",
    "TrainingState",
    "Verdict",
    "__version__",
    "advantages_of",
    "compare",
    "export_policy",
    "gae",
    "normalized",
    "plan",
    "preset",
    "preset_for",
    "read_checkpoint",
    "summarize",
    "vtrace",
    "weights_sha256",
]
