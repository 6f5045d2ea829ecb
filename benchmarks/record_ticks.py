"""The ticks that `bench_record` feeds to every recorder, and what a recorder is to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory import ACTION_MASK, ArraySpec, TrajectorySchema, default_decision_columns

NUM_ACTIONS = 12
NUM_ROWS = 16_384
"""Transitions of a round, about."""

SEEN = {"map": ArraySpec("float32", (4, 11, 11)), "features": ArraySpec("float32", (64,))}
VOCABULARY = tuple(f"action_{index}" for index in range(NUM_ACTIONS))
SAME_COLUMNS = TrajectorySchema(
    observations={**SEEN, ACTION_MASK: ArraySpec("bool", (NUM_ACTIONS,))},
    decisions={
        "action": ArraySpec("int64"),
        "behavior_log_prob": ArraySpec("float32"),
        "value": ArraySpec("float32"),
    },
    vocabulary=VOCABULARY,
)
WHOLE_DECISIONS = TrajectorySchema(observations=SEEN, decisions=default_decision_columns(), vocabulary=VOCABULARY)


@dataclass(frozen=True, kw_only=True)
class Tick:
    """All arrays of one tick, made before the clock runs."""

    slots: NDArray[np.int64]
    agent_ids: NDArray[np.object_]
    worlds: NDArray[np.int64]
    episodes: NDArray[np.int64]
    observations: dict[str, NDArray[np.generic]]
    decisions: dict[str, NDArray[np.generic]]
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    final_rows: NDArray[np.int64]
    final_observations: dict[str, NDArray[np.generic]]


class Recorder(Protocol):
    """One way to record the same ticks again and again."""

    def record(self) -> None:
        """Record all ticks; this is timed."""

    def values(self) -> NDArray[np.float32]:
        """The column `value` as it was recorded, in any order."""

    def clear(self) -> None:
        """Forget what is recorded, and keep the memory."""


def rows_of(specs: Mapping[str, ArraySpec], num_rows: int, rng: np.random.Generator) -> dict[str, NDArray[np.generic]]:
    """Random columns; whole numbers are 0 and 1."""
    return {name: (2 * rng.random((num_rows, *spec.shape))).astype(spec.dtype) for name, spec in specs.items()}


def make_ticks(schema: TrajectorySchema, num_agents: int, leaving: float) -> list[Tick]:
    """Ticks of about `num_agents` agents; everyone ends at the last one."""
    rng = np.random.default_rng(1)
    num_ticks = max(8, NUM_ROWS // num_agents)
    names = np.array([f"agent_{slot}" for slot in range(num_agents)], object)
    absent = np.zeros(num_agents, np.bool_)
    ticks = []
    for number in range(num_ticks):
        slots = np.flatnonzero(~absent)
        size = len(slots)
        terminated = rng.random(size) < (leaving if number < num_ticks - 1 else 1.0)
        absent = np.zeros(num_agents, np.bool_)
        absent[slots[terminated]] = True
        ticks.append(
            Tick(
                slots=slots,
                agent_ids=names[slots],
                worlds=np.zeros(size, np.int64),
                episodes=np.zeros(size, np.int64),
                observations=rows_of(schema.observations, size, rng),
                decisions=rows_of(schema.decisions, size, rng),
                rewards=rng.random(size).astype(np.float32),
                terminated=terminated,
                truncated=np.zeros(size, np.bool_),
                final_rows=np.flatnonzero(terminated),
                final_observations=rows_of(schema.observations, int(terminated.sum()), rng),
            )
        )
    return ticks


def rows_in(ticks: list[Tick]) -> int:
    return sum(len(tick.slots) for tick in ticks)


def values_in(ticks: list[Tick]) -> NDArray[np.float32]:
    return np.concatenate([tick.decisions["value"] for tick in ticks]).astype(np.float32)
