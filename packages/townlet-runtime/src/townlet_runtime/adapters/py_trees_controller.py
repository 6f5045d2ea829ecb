"""Behavior trees of py_trees as a script: one tree for each agent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import ActionVocabulary, DecisionBatch, SavedState, UnknownActionError
from townlet_behavior.saving import check_names
from townlet_runtime.adapters.controllers import ControllerFactory
from townlet_runtime.errors import ConfigError, MissingExtraError, SimulationError
from townlet_runtime.simulation.interface import Observed, SimulationSpec

Behaviour = Any
"""A `py_trees.behaviour.Behaviour`."""

ACTION, AGENT_ID, MASK = "/action", "/agent_id", "/action_mask"
"""Keys of the blackboard; each observation has one of its own name."""


@dataclass(kw_only=True)
class _Mind:
    """The tree of one agent, and what is static in py_trees."""

    agent_id: str
    world: int
    root: Behaviour = None
    storage: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    clients: dict[Any, str] = field(default_factory=dict)


class TreeController:
    """Ticks one tree of py_trees for each agent. Implements `townlet_behavior.BatchController`.

    A tree is made when its agent is first seen, ticked once at every decision, stopped and dropped where its agent
    ends, and told nothing else: it is ticked on where its action is not carried out. Trees are not part of a saved
    state: after `restore` each begins at its root.

    Each tree has a blackboard of its own. Before a tick it holds `agent_id`, every observation by its name, and
    `action_mask` where actions are masked. The tree writes its choice to `action`: a key of the vocabulary, or its
    index; where it writes nothing, it proposes nothing.

    Examples:
        >>> import operator
        >>> import py_trees
        >>> from townlet_behavior import ActionVocabulary
        >>> def make():
        ...     tired = py_trees.common.ComparisonExpression("energy", 0.3, operator.lt)
        ...     rest = py_trees.composites.Sequence("rest", memory=False, children=[
        ...         py_trees.behaviours.CheckBlackboardVariableValue("tired?", tired),
        ...         py_trees.behaviours.SetBlackboardVariable("sleep", "action", "sleep", overwrite=True),
        ...     ])
        ...     work = py_trees.behaviours.SetBlackboardVariable("work", "action", "work", overwrite=True)
        ...     return py_trees.composites.Selector("day", memory=False, children=[rest, work])
        >>> vocabulary = ActionVocabulary(keys=("sleep", "work"), kinds=("sleep", "work"))
        >>> controller = TreeController(make, vocabulary=vocabulary)

    Args:
        make: builds the root of a new tree.
        vocabulary: of the agents.

    Raises:
        MissingExtraError: without py_trees.
    """

    def __init__(self, make: Callable[[], Behaviour], *, vocabulary: ActionVocabulary) -> None:
        try:
            self._library = import_module("py_trees")
        except ModuleNotFoundError as error:
            if error.name != "py_trees":
                raise
            raise MissingExtraError("trees need `py_trees`: install 'townlet-runtime[py_trees]'") from error
        self._make = make
        self._vocabulary = vocabulary
        self._minds: dict[int, _Mind] = {}
        """By slot."""
        self._last: tuple[Observed, NDArray[np.int64]] | None = None

    def propose(self, view: Observed) -> NDArray[np.int64]:
        """[N]; ticks the tree of every agent once, in the order of slots. The same view is not ticked again.

        Raises:
            SimulationError: if a tree cannot be made or ticked, or chooses no action of the vocabulary; names agent and
                world.
        """
        if self._last is None or self._last[0] is not view:
            self._last = view, np.array([self._tick(view, row) for row in range(len(view.slots))], np.int64)
        return self._last[1].copy()

    def settled(self, view: Observed, decisions: DecisionBatch) -> None:
        """Do nothing: trees are not told what was carried out."""

    def forget(self, slots: NDArray[np.int64]) -> None:
        """Stop the trees of agents that have left.

        Raises:
            SimulationError: if a tree fails to stop.
        """
        self._last = None
        for slot in slots.tolist():
            mind = self._minds.pop(slot, None)
            if mind is not None:
                with self._thinking(mind):
                    mind.root.stop(self._library.common.Status.INVALID)
                    for behaviour in mind.root.iterate():
                        behaviour.shutdown()

    def save_state(self) -> SavedState:
        """Return no arrays."""
        return {}

    def restore(self, state: SavedState) -> None:
        """Begin every tree at its root.

        Raises:
            StateError: if the plans of another controller are given.
        """
        check_names(state, (), of="trees")
        self.forget(np.array(sorted(self._minds), np.int64))

    def _tick(self, view: Observed, row: int) -> int:
        slot = int(view.slots[row])
        mind = self._minds.get(slot)
        if mind is None:
            mind = self._minds[slot] = self._made(str(view.agent_ids[row]), int(view.worlds[row]))
        board = mind.storage
        board.update({f"/{name}": _plain(array[row]) for name, array in view.observations.items()})
        if view.action_mask is not None:
            board[MASK] = view.action_mask[row]
        board.pop(ACTION, None)
        with self._thinking(mind):
            mind.root.tick_once()
            return self._index(board.get(ACTION, -1))

    def _made(self, agent_id: str, world: int) -> _Mind:
        mind = _Mind(agent_id=agent_id, world=world)
        mind.storage[AGENT_ID] = agent_id
        with self._thinking(mind):
            mind.root = self._make()
            if not isinstance(mind.root, self._library.behaviour.Behaviour):
                raise TypeError(f"expected the root of a tree, got {mind.root!r}")
            if any(mind.root is other.root for other in self._minds.values()):
                raise TypeError("expected a new tree for every agent, got the same again")
            mind.root.setup_with_descendants()
        return mind

    def _index(self, action: object) -> int:
        if isinstance(action, str):
            return self._vocabulary.index(action)
        if isinstance(action, int | np.integer) and -1 <= action < len(self._vocabulary):
            return int(action)
        raise UnknownActionError(f"`action` must be a key or an index of the vocabulary, got {action!r}")

    @contextmanager
    def _thinking(self, mind: _Mind) -> Iterator[None]:
        """Put the agent's own blackboard in the place of the one that all trees share, and name the agent in errors."""
        board = self._library.blackboard.Blackboard
        shared = board.storage, board.metadata, board.clients
        board.storage, board.metadata, board.clients = mind.storage, mind.metadata, mind.clients
        try:
            yield
        except Exception as error:  # somebody else's code
            problem = f"the tree of agent {mind.agent_id!r} in world {mind.world} failed"
            raise SimulationError(f"{problem} with {type(error).__name__}: {error}") from error
        finally:
            board.storage, board.metadata, board.clients = shared


def _plain(seen: NDArray[np.float32]) -> NDArray[np.float32] | float:
    """A single number as such, so that trees compare it with numbers."""
    return float(seen[0]) if seen.shape == (1,) else seen


def tree_script(make: Callable[[], Behaviour]) -> ControllerFactory:
    """Turn a maker of trees into a script, as `--controller`, an entry point or `Environment.controller` takes it.

    The script raises `ConfigError` where actions are of several parts or numbers: a tree chooses one of a vocabulary.
    """

    def script(spec: SimulationSpec) -> TreeController:
        if spec.actions is not None:
            expected = f"`{spec.name}`: expected a vocabulary, of which a tree chooses an action, got {spec.actions}"
            raise ConfigError(
                f"{expected}; `ObservationController` lifts functions that choose several parts or numbers"
            )
        return TreeController(make, vocabulary=spec.vocabulary)

    return script
