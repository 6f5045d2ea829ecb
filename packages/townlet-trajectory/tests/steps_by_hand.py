"""Rows of decisions made by hand, for tests of what is said of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from townlet_trajectory import ArraySpec, Box, MultiDiscrete, Trajectory, TrajectorySchema, default_decision_columns
from townlet_trajectory.audit.explanation import StepNames
from townlet_trajectory.data.schema import ACTION_COLUMNS, Array, Kind, Source

WAIT, EAT, WORK = 0, 1, 2
NAMES = StepNames(
    vocabulary=("wait", "eat", "work"),
    proposers=("script", "model A", "fallback"),
    veto_reasons=("action_mask", "rivalry"),
    feature_names=("hunger", "wallet", "held_eat"),
    reward_terms=("food",),
)
COLUMNS = {
    **default_decision_columns(),
    "reward_food": ArraySpec("float32"),
}
SCHEMA = TrajectorySchema(
    observations={
        "features": ArraySpec("float32", (3,)),
        "map": ArraySpec("float32", (2, 2)),
        "action_mask": ArraySpec("bool", (3,)),
    },
    decisions=COLUMNS,
    vocabulary=NAMES.vocabulary,
    proposers=NAMES.proposers,
    veto_reasons=NAMES.veto_reasons,
    feature_names=NAMES.feature_names,
)
PLAIN: dict[str, Any] = {
    "action": EAT,
    "chosen_action": EAT,
    "kind": Kind.DECISION,
    "source": Source.SCRIPTED,
    "vetoed": False,
    "veto_reason": 0,
    "possessed": False,
    "demonstrated": False,
    "expert_action": EAT,
    "behavior_log_prob": math.log(0.8),
    "policy_log_prob": math.log(0.2),
    "value": 1.5,
    "ratio": 0.25,
    "held_action": -1,
    "ticks_left": 0,
    "drawn_action": EAT,
    "proposer": 0,
    "proposal_age": 0,
    "observation_age": 0,
    "temperature": 1.0,
    "reward_food": 0.5,
}
"""A free decision: the blend drew the script, at a ratio of a quarter; the policy gives its action a fifth, so that
μ = 0.25 · 0.2 + 0.75 = 0.8."""


def row_of(**changes: Any) -> dict[str, Array]:
    """The columns of one row: those of `PLAIN`, with changes; None leaves a column out."""
    values = {name: value for name, value in {**PLAIN, **changes}.items() if value is not None}
    return {name: np.asarray(value, COLUMNS[name].dtype) for name, value in values.items()}


def trajectory_of(
    *rows: dict[str, Any],
    features: list[list[float]] | None = None,
    first_tick: int = 10,
    agent_id: str = "ann",
    world: int = 0,
    episode: int = 0,
    terminated: bool = False,
    truncated: bool = False,
) -> Trajectory:
    """A trajectory of rows that are `PLAIN` with changes; each earns its number, counted from 1."""
    steps = len(rows)
    made = [row_of(**row) for row in rows]
    seen = [[0.0, 0.0, 0.0]] * (steps + 1) if features is None else features
    return Trajectory(
        schema=SCHEMA,
        observations={
            "features": np.array(seen, np.float32),
            "map": np.tile(np.array([[0, 1], [2, 0]], np.float32), (steps + 1, 1, 1)),
            "action_mask": np.tile(np.array([True, True, False]), (steps + 1, 1)),
        },
        columns={name: np.array([row[name] for row in made], spec.dtype) for name, spec in COLUMNS.items()},
        rewards=np.arange(1, steps + 1, dtype=np.float32),
        ticks=np.arange(first_tick, first_tick + steps),
        terminated=terminated,
        truncated=truncated,
        agent_id=agent_id,
        world=world,
        episode=episode,
    )


PARTS = StepNames(
    vocabulary=(),
    proposers=("script",),
    actions=MultiDiscrete(parts={"move": ("stay", "north", "south"), "hand": ("open", "closed")}),
)
NUMBERS = StepNames(
    vocabulary=(), proposers=("script",), actions=Box(names=("steer", "throttle"), low=(-1.0, 0.0), high=(1.0, 2.0))
)


def array_row(names: StepNames, action: list[float], **changes: Any) -> dict[str, Array]:
    """As `row_of`, where all actions are `action` unless a change says another."""
    assert names.actions is not None
    columns = {name: column for name, column in row_of().items() if name not in ACTION_COLUMNS}
    for name in ACTION_COLUMNS:
        columns[name] = np.array(changes.pop(name, action), names.actions.dtype)
    return {**columns, **{name: np.asarray(value, COLUMNS[name].dtype) for name, value in changes.items()}}
