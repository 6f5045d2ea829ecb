"""What a scheduled run learns from: its stages, its record, its worlds, and what each of them needs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from townlet_training.config import ONE_GROUP, StageConfig, TrainingConfig
from townlet_training.errors import ConfigError
from townlet_training.learning.record import is_classic
from townlet_training.network.spec import PolicySpec
from townlet_training.planning import PlannedUpdate, blend_ratio, scheduled_settings
from townlet_training.run.state import ScheduleState
from townlet_trajectory import TrajectoryBatch, TrajectoryDataset, TrajectorySource
from townlet_trajectory.evaluation.interfaces import Collector, Evaluator, derive_seed

log = logging.getLogger(__name__)

DataMode = Literal["replay", "rollout"]
ROLLOUT = "rollout"
"""Name of the dataset of rollouts."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """A record to learn from by PPO, off policy."""

    name: str
    """Of the dataset, in the log."""
    batches: TrajectoryDataset[TrajectoryBatch]
    """Its trajectories; an update is one epoch of it."""
    baseline: Mapping[str, float]
    """Figures of the whole record, by the names of `RowMeasures.baseline`; empty: they are computed from its rows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RunWorlds:
    """Worlds to collect in, and those of the same kind to be judged in."""

    key: str
    """What they depend on, apart from the config of the run: worlds with the same key are the same."""
    collector: Collector
    evaluator: Evaluator


def stages_of(config: TrainingConfig) -> tuple[StageConfig, ...]:
    """Return the stages of a run in their order: those of its schedule, or the only one of a mode without one."""
    if config.mode == "anneal":
        return config.schedule.in_order
    return (StageConfig(mode="ppo", epochs=config.schedule.epochs, bc_weight=0.0),)


def data_of(config: TrainingConfig, *, has_record: bool) -> tuple[DataMode, ...]:
    """What every update learns from, in this order."""
    by_mode: Mapping[str, tuple[DataMode, ...]] = {
        "replay": ("replay",),
        "rollout": ("rollout",),
        "mixed": ("replay", "rollout"),
        "anneal": ("replay",) if has_record else ("rollout",),
    }
    if not config.is_scheduled:
        raise ConfigError(f"a scheduled run is one of {', '.join(by_mode)}, `anneal` with stages; got {config.mode}")
    return by_mode[config.mode]


def looked_at(record: Record, config: TrainingConfig) -> Iterator[TrajectoryBatch]:
    """Hand on the batches of `record`, and warn once where it is of the original."""
    for number, batch in enumerate(record.batches.epoch(0)):
        if number == 0 and is_classic(batch):
            log.warning(
                "%s: a classic capture, whose log-probabilities are of a network that did not act; weights are "
                "bounded by %g, and yet they correct for the wrong policy",
                record.name,
                1.0 / config.ppo.min_ratio,
            )
        yield batch


def planned_update(config: TrainingConfig, stage: StageConfig, data: DataMode, done: ScheduleState) -> PlannedUpdate:
    """Compute the settings of the next update.

    With i of the N updates of all stages done, and j of the M rollouts among them:

        learning rate, clip range, entropy coefficient and λ: `scheduled` at x = i / N
        ratio of a blend: `blend_ratio` at x = j / (M - 1)

    Args:
        config: of the run.
        stage: that the update is of.
        data: that it learns from.
        done: what the run has done.

    Returns:
        The settings; the ratio is 1 without a blend, and of no meaning for a record.
    """
    epochs = sum(each.epochs for each in stages_of(config) if each.mode == "ppo")
    ratio = 1.0
    if config.schedule.policy_blend and data == ROLLOUT:
        ratio = blend_ratio(config.anneal, done.num_rollouts / max(epochs - 1, 1))
    return PlannedUpdate(
        stage="ppo",
        ratio=ratio,
        kickstart_coef=stage.bc_weight,
        **scheduled_settings(config.ppo, done.num_lines / (epochs * (2 if config.mode == "mixed" else 1))),
    )


def require_data(
    stages: tuple[StageConfig, ...],
    data: Sequence[DataMode],
    specs: Mapping[str, PolicySpec],
    *,
    record: Record | None,
    lessons: Mapping[str, Sequence[TrajectorySource]] | None,
    has_world: bool,
) -> None:
    """Refuse a run with a stage that has nothing to learn from.

    Args:
        stages: of the run.
        data: what the updates of a ppo stage learn from, in order.
        specs: of the policies, by agent group.
        record: that ppo stages replay; None: there is none.
        lessons: data to clone, by agent group; None: there is none.
        has_world: whether there is a world that the policy fits.

    Raises:
        ConfigError: names what is missing.
    """
    modes = {stage.mode for stage in stages}
    if "bc" in modes and lessons is None:
        raise ConfigError("a stage `bc` needs data to clone")
    if lessons is not None and lessons.keys() != specs.keys():
        raise ConfigError(f"the data to clone must be of the agent groups {sorted(specs)}, got {sorted(lessons)}")
    if "ppo" not in modes:
        return
    if "replay" in data and record is None:
        raise ConfigError("PPO on a record needs the record")
    if record is not None and set(specs) != {ONE_GROUP}:
        raise ConfigError(f"a record is of one agent group, and there are {sorted(specs)}")
    if "rollout" in data and not has_world:
        raise ConfigError("PPO on rollouts needs a world that the policy fits")


def record_seed(config: TrainingConfig) -> int:
    """Return the seed of the order in which a record is read."""
    said = config.schedule.shuffle_seed
    return derive_seed(config.seed, "record", 0) if said is None else said
