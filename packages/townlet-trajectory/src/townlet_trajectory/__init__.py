"""What every agent saw, decided and earned, kept in columns, bounded, saved and loaded without loss.

Importing the package loads what recording needs; every other public name is imported when it is first used (PEP 562).
"""

from importlib import import_module
from typing import TYPE_CHECKING

from townlet_trajectory.data.actions import ArrayActions, Box, MultiDiscrete
from townlet_trajectory.data.batch import BatchSink, LabelSink, TrajectoryBatch
from townlet_trajectory.data.labels import WhichEpisode
from townlet_trajectory.data.schema import (
    ACTION_MASK,
    REWARD_TERM,
    ArraySpec,
    EpisodeLabel,
    Kind,
    Source,
    TrajectorySchema,
    default_decision_columns,
    vocabulary_digest,
)
from townlet_trajectory.data.trajectory import Trajectory
from townlet_trajectory.errors import (
    ArtifactError,
    BufferFullError,
    CaptureError,
    ContinuityError,
    DatasetError,
    ManifestError,
    MemoryBudgetError,
    MissingExtraError,
    NonFiniteError,
    OrderError,
    RegistrationError,
    SchemaError,
    ShapeError,
    TrajectoryError,
)
from townlet_trajectory.recording.recorder import TrajectoryService
from townlet_trajectory.storage.json import SCHEMA_VERSION

if TYPE_CHECKING:
    from townlet_trajectory.data.padded import PaddedBatch
    from townlet_trajectory.data.pieces import joined, merged
    from townlet_trajectory.data.statistics import BatchStatistics
    from townlet_trajectory.data.steps import StepBatch
    from townlet_trajectory.data.table import TrajectoryTable
    from townlet_trajectory.dataset.dataset import DatasetPosition, TrajectoryDataset, position_of
    from townlet_trajectory.dataset.info import DatasetInfo, DatasetManifest, ShardEntry
    from townlet_trajectory.dataset.selection import StepSelection, StepWeights, weights_by
    from townlet_trajectory.dataset.source import BatchSource, TrajectorySource
    from townlet_trajectory.dataset.torch_loader import EpochView, StepView
    from townlet_trajectory.evaluation.anneal_results import AnnealDecision, decide_anneal
    from townlet_trajectory.evaluation.registry import OpenPass, PromotionRegistry
    from townlet_trajectory.evaluation.registry_records import LivePeriod, RegistryPass, RegistrySettings
    from townlet_trajectory.evaluation.registry_state import RegistryState
    from townlet_trajectory.formats.batch_file import load_batch, save_batch
    from townlet_trajectory.formats.captures.source import CaptureSource
    from townlet_trajectory.formats.shards.reader import PartsReader, ShardReader, open_shards, read_shards
    from townlet_trajectory.formats.shards.shared import PartOwner, PartWriter
    from townlet_trajectory.formats.shards.writer import ShardWriter, write_shards

__version__ = "0.4.1"
"""As in pyproject.toml; asking for the metadata of the installed distribution takes longer than importing this."""

__all__ = [
    "ACTION_MASK",
    "REWARD_TERM",
    "SCHEMA_VERSION",
    "AnnealDecision",
    "ArrayActions",
    "ArraySpec",
    "ArtifactError",
    "BatchSink",
    "BatchSource",
    "BatchStatistics",
    "Box",
    "BufferFullError",
    "CaptureError",
    "CaptureSource",
    "ContinuityError",
    "DatasetError",
    "DatasetInfo",
    "DatasetManifest",
    "DatasetPosition",
    "EpisodeLabel",
    "EpochView",
    "Kind",
    "LabelSink",
    "LivePeriod",
    "ManifestError",
    "MemoryBudgetError",
    "MissingExtraError",
    "MultiDiscrete",
    "NonFiniteError",
    "OpenPass",
    "OrderError",
    "PaddedBatch",
    "PartOwner",
    "PartWriter",
    "PartsReader",
    "PromotionRegistry",
    "RegistrationError",
    "RegistryPass",
    "RegistrySettings",
    "RegistryState",
    "SchemaError",
    "ShapeError",
    "ShardEntry",
    "ShardReader",
    "ShardWriter",
    "Source",
    "StepBatch",
    "StepSelection",
    "StepView",
    "StepWeights",
    "Trajectory",
    "TrajectoryBatch",
    "TrajectoryDataset",
    "TrajectoryError",
    "TrajectorySchema",
    "TrajectoryService",
    "TrajectorySource",
    "TrajectoryTable",
    "WhichEpisode",
    "__version__",
    "decide_anneal",
    "default_decision_columns",
    "joined",
    "load_batch",
    "merged",
    "open_shards",
    "position_of",
    "read_shards",
    "save_batch",
    "vocabulary_digest",
    "weights_by",
    "write_shards",
]

_MODULES = {
    "data.padded": ("PaddedBatch",),
    "data.pieces": ("joined", "merged"),
    "data.statistics": ("BatchStatistics",),
    "data.steps": ("StepBatch",),
    "data.table": ("TrajectoryTable",),
    "dataset.dataset": ("DatasetPosition", "TrajectoryDataset", "position_of"),
    "dataset.info": ("DatasetInfo", "DatasetManifest", "ShardEntry"),
    "dataset.selection": ("StepSelection", "StepWeights", "weights_by"),
    "dataset.source": ("BatchSource", "TrajectorySource"),
    "dataset.torch_loader": ("EpochView", "StepView"),
    "evaluation.anneal_results": ("AnnealDecision", "decide_anneal"),
    "evaluation.registry": ("OpenPass", "PromotionRegistry"),
    "evaluation.registry_records": ("LivePeriod", "RegistryPass", "RegistrySettings"),
    "evaluation.registry_state": ("RegistryState",),
    "formats.batch_file": ("load_batch", "save_batch"),
    "formats.captures.source": ("CaptureSource",),
    "formats.shards.reader": ("PartsReader", "ShardReader", "open_shards", "read_shards"),
    "formats.shards.shared": ("PartOwner", "PartWriter"),
    "formats.shards.writer": ("ShardWriter", "write_shards"),
}

if not TYPE_CHECKING:  # a type checker would take any name for one of the module

    def __getattr__(name: str) -> object:
        for module, names in _MODULES.items():
            if name in names:
                return globals().setdefault(name, getattr(import_module(f"{__name__}.{module}"), name))
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
