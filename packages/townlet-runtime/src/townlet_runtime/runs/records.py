"""`evaluation.json` and `promotion.json` of a run directory, as frozen records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from townlet_runtime.runs.strict_json import (
    EXACT,
    OPEN,
    Interval,
    ReportError,
    parse_record,
    read_bytes,
    record_json,
    require_digest,
    require_finite,
    require_interval,
)
from townlet_runtime.runs.summary import Decision
from townlet_trajectory.evaluation.gates import Verdict
from townlet_trajectory.storage.files import write_bytes_atomic


@dataclass(frozen=True, kw_only=True)
class Score:
    """The return of one policy over the evaluation's episodes."""

    __pydantic_config__ = EXACT

    mean: float
    iqm: float
    """Interquartile mean."""
    ci: Interval
    """Of the mean."""

    def __post_init__(self) -> None:
        require_finite("Score", **vars(self))
        require_interval("Score", "ci", self.ci)


@dataclass(frozen=True, kw_only=True)
class CloneEpoch:
    """One pass of behavior cloning over its data."""

    __pydantic_config__ = EXACT

    epoch: int
    loss: float
    held_out_accuracy: float
    """Share of held-out labels that are the clone's most probable action, in [0, 1]."""

    def __post_init__(self) -> None:
        require_finite("CloneEpoch", **vars(self))
        if not 0.0 <= self.held_out_accuracy <= 1.0:
            came = repr(self.held_out_accuracy)
            raise ReportError("CloneEpoch", key="held_out_accuracy", expected="a share in [0, 1]", came=came)


@dataclass(frozen=True, kw_only=True)
class CloneResult:
    """The clone stage."""

    __pydantic_config__ = EXACT

    epochs: tuple[CloneEpoch, ...]
    accuracy: float
    """Held-out accuracy of the weights that were kept."""
    return_mean: float | None

    def __post_init__(self) -> None:
        require_finite("CloneResult", accuracy=self.accuracy, return_mean=self.return_mean)


@dataclass(frozen=True, kw_only=True)
class HistoryPoint:
    """One evaluation during training, of the learned policy acting alone."""

    __pydantic_config__ = EXACT

    env_steps: int
    """Since the run began."""
    agent_steps: int
    stage: str
    ratio: float
    return_mean: float
    return_ci: Interval
    normalized: float | None
    """0 is the idle policy (the random one where the world has none), 1 the scripted one."""
    scripted_mean: float | None
    nearest_mean: float | None
    idle_mean: float | None
    random_mean: float | None = None

    def __post_init__(self) -> None:
        require_finite("HistoryPoint", **vars(self))
        require_interval("HistoryPoint", "return_ci", self.return_ci)


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Learned minus another policy, episode by episode on the same seeds."""

    __pydantic_config__ = EXACT

    mean: float
    ci: Interval
    normalized: float | None
    """`mean` in units of scripted minus idle, or minus random where the world has no idle behavior."""

    def __post_init__(self) -> None:
        require_finite("Paired", **vars(self))
        require_interval("Paired", "ci", self.ci)


@dataclass(frozen=True, kw_only=True)
class FinalScores:
    """The last evaluation: the return of each policy on each seed."""

    __pydantic_config__ = EXACT

    seeds: tuple[int, ...]
    learned: tuple[float, ...]
    scripted: tuple[float, ...] | None
    nearest: tuple[float, ...] | None
    idle: tuple[float, ...] | None
    random: tuple[float, ...] | None
    clone: tuple[float, ...] | None
    events: Mapping[str, Mapping[str, float]]
    """Event -> policy -> mean count per episode."""
    paired: Mapping[str, Paired]
    """By the policy that is subtracted."""

    def __post_init__(self) -> None:
        require_finite("FinalScores", events=self.events, **self.columns())
        for policy, returns in self.columns().items():
            if len(returns) != len(self.seeds) or not self.seeds:
                expected = f"one return per seed, {max(len(self.seeds), 1)}"
                raise ReportError("FinalScores", key=policy, expected=expected, came=str(len(returns)))

    def columns(self) -> dict[str, tuple[float, ...]]:
        """Return the policies that were evaluated with their returns, each [seeds]."""
        columns = {
            "learned": self.learned,
            "scripted": self.scripted,
            "nearest": self.nearest,
            "idle": self.idle,
            "random": self.random,
            "clone": self.clone,
        }
        return {policy: returns for policy, returns in columns.items() if returns is not None}


@dataclass(frozen=True, kw_only=True)
class EvaluationFile:
    """`evaluation.json`: every score of the run and how it came about."""

    __pydantic_config__ = EXACT

    schema_version: Literal[1]
    acting: str
    horizon: int
    """Ticks of an episode."""
    baselines: Mapping[str, Score]
    clone: CloneResult | None
    """None without cloning, and where every group has a clone of its own."""
    history: tuple[HistoryPoint, ...]
    final: FinalScores
    clones: Mapping[str, CloneResult] | None = None
    """By group; None where there is one group."""

    def to_json(self) -> str:
        """Return the text of the file, keys in the order of the fields."""
        return record_json(self)

    def write(self, path: Path) -> None:
        """Replace `path` by this record, atomically."""
        write_bytes_atomic(path, self.to_json().encode())

    @classmethod
    def read(cls, path: Path) -> EvaluationFile:
        """Return the record in `path`; `ReportError` names the file, the key, what was expected and what came."""
        return parse_record(_EVALUATION, read_bytes(path), file=path)


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One condition of the promotion."""

    __pydantic_config__ = EXACT

    name: str
    verdict: Verdict
    detail: str


@dataclass(frozen=True, kw_only=True)
class PromotionFile:
    """`promotion.json`: whether the candidate replaces the incumbent, and why. The registry keeps more keys in it."""

    __pydantic_config__ = OPEN

    schema_version: Literal[2]
    decision: Decision
    reason: str
    candidate: str
    """SHA-256 of the candidate's weights."""
    incumbent: str
    """`scripted`, or the SHA-256 of a released policy."""
    mean_difference: float | None
    """Candidate minus incumbent, mean over episodes of the same seed."""
    ci: Interval | None
    tail_difference: float | None
    """Difference of the means of the worst tenth of episodes."""
    tail_margin: float | None
    """The tail may be lower by as much."""
    gates: tuple[Gate, ...]

    def __post_init__(self) -> None:
        require_finite("PromotionFile", **vars(self))
        require_interval("PromotionFile", "ci", self.ci)
        require_digest("PromotionFile", "candidate", self.candidate)

    def to_json(self) -> str:
        """Return the text of the file, keys in the order of the fields."""
        return record_json(self)

    def write(self, path: Path) -> None:
        """Replace `path` by this record, atomically."""
        write_bytes_atomic(path, self.to_json().encode())

    @classmethod
    def read(cls, path: Path) -> PromotionFile:
        """Return the record in `path`; `ReportError` names the file, the key, what was expected and what came."""
        return parse_record(_PROMOTION, read_bytes(path), file=path)


_EVALUATION = TypeAdapter(EvaluationFile)
_PROMOTION = TypeAdapter(PromotionFile)
