"""What every agent saw, decided and earned, kept in columns, bounded, saved and loaded without loss."""

from townlet_trajectory.batch import TrajectoryBatch
from townlet_trajectory.batch_file import load_batch, save_batch
from townlet_trajectory.capture_source import CaptureSource
from townlet_trajectory.dataset import TrajectoryDataset
from townlet_trajectory.dataset_manifest import DatasetInfo, DatasetManifest, ShardEntry
from townlet_trajectory.dataset_position import DatasetPosition, position_of
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
    SchemaError,
    ShapeError,
    TrajectoryError,
)
from townlet_trajectory.loader import EpochView, StepView
from townlet_trajectory.merging import merged
from townlet_trajectory.padded_batch import PaddedBatch
from townlet_trajectory.pieces import joined
from townlet_trajectory.recorder import TrajectoryService
from townlet_trajectory.schema import (
    ACTION_MASK,
    SCHEMA_VERSION,
    ArraySpec,
    Kind,
    Source,
    TrajectorySchema,
    default_decision_columns,
    vocabulary_digest,
)
from townlet_trajectory.selection import StepSelection, StepWeights, weights_by
from townlet_trajectory.shards import ShardReader, ShardWriter, read_shards, write_shards
from townlet_trajectory.sink import BatchSink
from townlet_trajectory.sources import BatchSource, TrajectorySource, TrajectoryTable
from townlet_trajectory.statistics import BatchStatistics
from townlet_trajectory.step_batch import StepBatch
from townlet_trajectory.trajectory import Trajectory

__version__ = "0.1.0"
"""As in pyproject.toml; asking for the metadata of the installed distribution takes longer than importing this."""

__all__ = [
    "ACTION_MASK",
    "SCHEMA_VERSION",
    "ArraySpec",
    "ArtifactError",
    "BatchSink",
    "BatchSource",
    "BatchStatistics",
    "BufferFullError",
    "CaptureError",
    "CaptureSource",
    "ContinuityError",
    "DatasetError",
    "DatasetInfo",
    "DatasetManifest",
    "DatasetPosition",
    "EpochView",
    "Kind",
    "ManifestError",
    "MemoryBudgetError",
    "MissingExtraError",
    "NonFiniteError",
    "OrderError",
    "PaddedBatch",
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
    "__version__",
    "default_decision_columns",
    "joined",
    "load_batch",
    "merged",
    "position_of",
    "read_shards",
    "save_batch",
    "vocabulary_digest",
    "weights_by",
    "write_shards",
]
