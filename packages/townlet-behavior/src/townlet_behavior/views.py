"""Protocols of what a world shows to controllers, guardrails and the bridge.

`View` is the batch form: one row per agent present at this tick. `WorldView` is a plain world of one-agent-at-a-time
code: it has only what per-agent scripts read, and it is never touched by the bridge.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from .errors import ShapeError

if TYPE_CHECKING:
    from .blend import Choices


class View(Protocol):
    """The agents present at one tick, one row each."""

    @property
    def slots(self) -> NDArray[np.int64]:
        """[N]; where each agent's state is kept. Strictly ascending, in [0, capacity)."""

    @property
    def keys(self) -> NDArray[np.uint64]:
        """[N]; `draw_keys` of each agent."""

    @property
    def action_mask(self) -> NDArray[np.bool_] | None:
        """[N, A]; true where an action is legal, for actions of several parts the columns of all parts side by side.
        None: every action is, which is the only mask of actions that are numbers."""

    @property
    def option_done(self) -> NDArray[np.bool_]:
        """[N]; true where the world says that the option the agent was in has ended."""


def check_view(view: View, *, capacity: int, mask_columns: int) -> None:
    """Check that the arrays of a view belong together, so that they can be used as indices.

    Args:
        view: N rows.
        capacity: slots are below it.
        mask_columns: of the action mask; 0: there is none.

    Raises:
        ShapeError: naming the array, the form expected and found.
    """
    slots, mask = view.slots, view.action_mask
    check_slots(slots, capacity=capacity)
    shape = slots.shape
    if view.keys.shape != shape or view.keys.dtype != _UINT64:
        raise ShapeError(f"`keys` must be uint64 {shape}, got {view.keys.dtype} {view.keys.shape}")
    if view.option_done.shape != shape or view.option_done.dtype != _BOOL:
        raise ShapeError(f"`option_done` must be bool {shape}, got {view.option_done.dtype} {view.option_done.shape}")
    if mask is not None and (mask.shape != (*shape, mask_columns) or mask.dtype != _BOOL or not mask_columns):
        expected = f"bool {(*shape, mask_columns)}" if mask_columns else "None, because every number may be drawn"
        raise ShapeError(f"`action_mask` must be {expected}, got {mask.dtype} {mask.shape}")


def check_slots(slots: NDArray[np.int64], *, capacity: int) -> None:
    """Check that slots address each agent's state once.

    Raises:
        ShapeError: if `slots` is not int64 [N], strictly ascending, in [0, capacity).
    """
    if slots.ndim != 1 or slots.dtype != _INT64:
        raise ShapeError(f"`slots` must be int64 [N], got {slots.dtype} {slots.shape}")
    if len(slots) == 0:
        return
    if slots[0] < 0 or slots[-1] >= capacity:
        raise ShapeError(f"`slots` must be in [0, {capacity}), got {slots[0]} to {slots[-1]}")
    if np.count_nonzero(slots[1:] > slots[:-1]) != len(slots) - 1:
        raise ShapeError(f"`slots` must be strictly ascending, got {slots.tolist()}")


class ArgumentsView:
    """Base of views of worlds whose actions have arguments, which an index does not hold: where to, with whom.

    The bridge tells such a view the choices before the guardrails judge them, so that it can tell whose proposal, and
    so which arguments, stand behind an index.
    """

    def choices_made(self, drawn: Choices, chosen: Choices) -> None:
        """Take the choices of this tick; called once, before the first guardrail.

        Args:
            drawn: N rows; of the blend, also where an option is held or an agent is possessed.
            chosen: N rows; after commitments and possession. `FORCED` rows are held options.
        """
        raise NotImplementedError


@runtime_checkable
class _Ticking(Protocol):
    """A world that counts its ticks."""

    @property
    def tick(self) -> int: ...


def tick_of(world: object) -> int | None:
    """Return the tick of a world for a message, None where it has none."""
    return world.tick if isinstance(world, _Ticking) and isinstance(world.tick, int) else None


_INT64, _UINT64, _BOOL = np.dtype(np.int64), np.dtype(np.uint64), np.dtype(np.bool_)


class Personality(Protocol):
    """An agent's character."""

    @property
    def extroversion(self) -> float:
        """0 to 1."""


class AgentView(Protocol):
    """One agent of a plain world."""

    @property
    def position(self) -> tuple[int, int]:
        """Grid cell (x, y)."""

    @property
    def needs(self) -> Mapping[str, float]:
        """`hunger`, `hygiene`, `energy`: 0 (desperate) to 1 (satisfied)."""

    @property
    def personality(self) -> Personality: ...

    @property
    def personality_profile(self) -> str: ...

    @property
    def job_id(self) -> str | None: ...


class ObjectView(Protocol):
    """One object of a plain world."""

    @property
    def object_type(self) -> str: ...

    @property
    def stock(self) -> Mapping[str, int]: ...


class QueueView(Protocol):
    """The lines at the objects of a plain world."""

    def active_agent(self, object_id: str) -> str | None: ...

    def queue_snapshot(self, object_id: str) -> list[str]: ...


class RunningAffordance(Protocol):
    """A use of an object in progress."""

    @property
    def agent_id(self) -> str: ...


class AffordanceView(Protocol):
    """The uses in progress of a plain world."""

    @property
    def running_affordances(self) -> Mapping[str, RunningAffordance]:
        """By object id."""


class Tie(Protocol):
    """How one agent feels about another."""

    @property
    def trust(self) -> float: ...

    @property
    def familiarity(self) -> float: ...


class WorldView(Protocol):
    """A plain world, as per-agent scripts read it."""

    @property
    def tick(self) -> int: ...

    @property
    def agents(self) -> Mapping[str, AgentView]: ...

    @property
    def objects(self) -> Mapping[str, ObjectView]: ...

    @property
    def queue_manager(self) -> QueueView: ...

    @property
    def affordance_runtime(self) -> AffordanceView: ...

    def relationship_tie(self, agent_id: str, other_id: str) -> Tie | None: ...

    def rivalry_value(self, agent_id: str, other_id: str) -> float: ...

    def rivalry_should_avoid(self, agent_id: str, other_id: str) -> bool: ...

    def record_chat_failure(self, agent_id: str, target_id: str) -> None: ...

    def record_relationship_guard_block(
        self, *, agent_id: str, reason: str, target_agent: str | None = None, object_id: str | None = None
    ) -> None:
        """Take note that a guardrail kept an agent from something because of a rival.

        Args:
            agent_id: of the agent that waits instead.
            reason: name of the veto's reason.
            target_agent: of the chat that was not held.
            object_id: of the line that was not joined.
        """


_T = TypeVar("_T", bound=np.generic)


def gather(table: NDArray[_T], columns: NDArray[np.int64]) -> NDArray[_T]:
    """`table[i, columns[i]]` for every row i.

    Flat, because `take` on one axis costs a third of indexing on two.

    Args:
        table: [N, A].
        columns: [N], in [0, A).

    Returns:
        [N].
    """
    return table.reshape(-1).take(_starts(*table.shape) + columns)


@lru_cache(maxsize=8)
def _starts(num_rows: int, num_columns: int) -> NDArray[np.int64]:
    return np.arange(0, num_rows * num_columns, num_columns, dtype=np.int64)


def where_rows(rows: NDArray[np.bool_], yes: NDArray[Any] | int, no: NDArray[Any]) -> NDArray[Any]:
    """Return the actions `yes` in the rows that are set, else `no`.

    Args:
        rows: [N].
        yes: actions, or a single one for all rows.
        no: actions, [N] or [N, K].
    """
    return np.where(rows if no.ndim == 1 else rows[:, None], yes, no)


def same_rows(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where the actions of two arrays, both [N] or both [N, K], are the same, [N]."""
    same: NDArray[np.bool_] = first == second
    return same if same.ndim == 1 else np.logical_and.reduce(same, axis=1)
