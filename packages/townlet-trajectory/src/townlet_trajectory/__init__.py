"""What every agent saw, decided and earned, kept in columns, bounded, saved and loaded without loss."""

from importlib.metadata import version

from townlet_trajectory.batch import TrajectoryBatch
from townlet_trajectory.errors import (
    ArtifactError,
    BufferFullError,
    CaptureError,
    ContinuityError,
    ManifestError,
    NonFiniteError,
    OrderError,
    SchemaError,
    ShapeError,
    TrajectoryError,
)
from townlet_trajectory.recorder import TrajectoryService
from townlet_trajectory.rollout import RolloutBuffer
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
from townlet_trajectory.trajectory import Trajectory

__version__ = version("townlet-trajectory")

__all__ = [
    "ACTION_MASK",
    "SCHEMA_VERSION",
    "ArraySpec",
    "ArtifactError",
    "BufferFullError",
    "CaptureError",
    "ContinuityError",
    "Kind",
    "ManifestError",
    "NonFiniteError",
    "OrderError",
    "RolloutBuffer",
    "SchemaError",
    "ShapeError",
    "Source",
    "Trajectory",
    "TrajectoryBatch",
    "TrajectoryError",
    "TrajectorySchema",
    "TrajectoryService",
    "__version__",
    "default_decision_columns",
    "vocabulary_digest",
]
