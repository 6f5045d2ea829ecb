"""The record of what was decided, column by column: the trajectory keeps it, and the learner reads it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Kind(IntEnum):
    """The origin of a step for learning; the column the learner reads."""

    DECISION = 0
    """The blend drew freely, with probabilities known: the policy loss is over these."""
    FORCED = 1
    """A commitment was in force, or the mask left a single action: nothing was decided."""
    FOREIGN = 2
    """Possessed, or the policy had no say, or its probabilities do not describe the choice."""


class Source(IntEnum):
    """The maker of the choice that is carried out, now or when the commitment began; the column people read."""

    SCRIPTED = 0
    LEARNED = 1
    EXTERNAL = 2


class Constants(NamedTuple):
    """Columns [N] of usual cases, made once for each N; they cannot be written to.

    A small array costs more to make than to copy, and a tick of few agents has a dozen of these.
    """

    codes: tuple[NDArray[np.int8], ...]
    """One code everywhere, by the code: those of `Kind` and `Source`, places of proposers, and -1 for none."""
    nowhere: NDArray[np.bool_]
    no_action: NDArray[np.int64]
    """-1."""
    no_ticks: NDArray[np.int32]
    """0."""
    zeros: NDArray[np.float32]
    ones: NDArray[np.float32]


@lru_cache(maxsize=64)
def constants_of(size: int) -> Constants:
    """Return the columns of so many agents."""
    codes = tuple(np.full(size, code, np.int8) for code in (*Kind, -1))
    others = (
        np.zeros(size, np.bool_),
        np.full(size, -1, np.int64),
        np.zeros(size, np.int32),
        np.zeros(size, np.float32),
        np.ones(size, np.float32),
    )
    for column in (*codes, *others):
        column.flags.writeable = False
    return Constants(codes, *others)


@dataclass(frozen=True, kw_only=True, eq=False)
class DecisionBatch:
    """One settled decision per agent of the view, in its order; no column must be written to.

    Columns are [N], and actions of several parts and actions that are numbers [N, K].
    """

    action: NDArray[Any]
    """Executed. Numbers that were drawn beyond their bounds are executed as the bounds."""
    chosen_action: NDArray[Any]
    """What the blend drew, or the held action, or the possessor's; another than `action` only after a veto,
    or where numbers were drawn beyond their bounds, which is none."""
    kind: NDArray[np.int8]
    """`Kind`."""
    source: NDArray[np.int8]
    """`Source`."""
    vetoed: NDArray[np.bool_]
    veto_reason: NDArray[np.int8]
    """0: not vetoed; else 1 + index into `BehaviorBridge.veto_reasons`."""
    possessed: NDArray[np.bool_]
    demonstrated: NDArray[np.bool_]
    """The possessor supplied the executed action."""
    expert_action: NDArray[Any]
    """What the script proposed, -1 where nothing (numbers: 0, and `proposer` is -1)."""
    behavior_log_prob: NDArray[np.float32]
    """log μ(chosen_action), blend included; 0 unless `kind` is DECISION. Of numbers the logarithm of a density."""
    policy_log_prob: NDArray[np.float32]
    """log π(chosen_action); 0 unless `kind` is DECISION."""
    value: NDArray[np.float32]
    """The policy's estimate, on every step for which there were proposals with values; else 0."""
    ratio: NDArray[np.float32]
    """β of the agent at this tick."""
    held_action: NDArray[np.int64]
    """The option in force when the decision was made, -1 for none."""
    ticks_left: NDArray[np.int32]
    """Ticks it still had then, this one included; 0 for none."""
    drawn_action: NDArray[Any]
    """What the blend drew at this tick, also where an option was held, or a possessor or an earlier draw decided."""
    proposer: NDArray[np.int8]
    """Who made `expert_action`: an index into `BehaviorBridge.proposers`, -1 where nothing was proposed."""
    proposal_age: NDArray[np.int32]
    """Ticks since the proposer saw what `expert_action` was made from."""
    observation_age: NDArray[np.int32]
    """The agent's reaction delay d in ticks: `chosen_action` was drawn at tick - d, unless it was held or possessed."""
    temperature: NDArray[np.float32]
    """τ of the agent's draws. `policy_log_prob` is log π at τ = 1 all the same; `behavior_log_prob` is of π_τ."""

    def __len__(self) -> int:
        return len(self.action)

    def columns(self) -> dict[str, NDArray[Any]]:
        """All columns by name, without copying."""
        return dict(vars(self))
