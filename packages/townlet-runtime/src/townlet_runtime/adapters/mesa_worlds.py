"""Mesa models as a simulation: the model schedules its agents, and each does what was decided for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import (
    ActionVocabulary,
    BatchController,
    SavedState,
    join_groups,
    split_groups,
)
from townlet_runtime.adapters.controllers import ControllerFactory
from townlet_runtime.adapters.history import (
    HISTORY,
    KIND,
    SEEN,
    History,
    not_repeatable,
    require_same,
    seen_state,
)
from townlet_runtime.errors import EnvironmentFaultError, MissingExtraError, SimulationError
from townlet_runtime.simulation.interface import Observed, SimulationSpec, Stepped
from townlet_runtime.simulation.saved_state import saved_array
from townlet_trajectory import ACTION_MASK
from townlet_trajectory.evaluation.results import SCRIPTED

Model = Any
"""A `mesa.Model`, of Mesa 3."""
Agent = Any
"""A `mesa.Agent`."""
Seen = Sequence[float] | NDArray[Any] | Mapping[str, Any]
"""Numbers of one shape, or arrays by name."""


class MesaWorlds:
    """Parallel Mesa models. Implements `townlet_runtime.simulation.interface.Simulation`.

    The model's own `step` runs as it is, with its order, its space, its data collection and all agents that are not
    controlled. Where it activates a controlled agent (`agent.step`), the agent carries out its action instead of its
    own rule. Agents may be born and removed at any time: one that is removed is terminated, and its final observation
    is its last one. A model that stops running has ended: its agents are terminated. Then, and after `episode_ticks`,
    and when nobody is left, the next model is made, and the old one loses its agents.

    Examples:
        >>> import mesa
        >>> from townlet_runtime import MesaWorlds
        >>> class Walker(mesa.Agent):
        ...     place = 0
        >>> class Road(mesa.Model):
        ...     def __init__(self, seed):
        ...         super().__init__(seed=seed)
        ...         Walker.create_agents(self, 3)
        ...     def step(self):
        ...         self.agents.shuffle_do("step")
        >>> def walk(agent):
        ...     agent.place += 1
        >>> worlds = MesaWorlds(
        ...     Road,
        ...     actions={"stay": lambda agent: None, "walk": walk},
        ...     observe=lambda agent: agent.place,
        ...     reward=lambda agent: agent.place,
        ... )
        >>> worlds.reset(seeds=np.array([7])).agent_ids.tolist()
        ['Walker_1', 'Walker_2', 'Walker_3']
        >>> worlds.step(np.array([1, 0, 1])).rewards.tolist()
        [1.0, 0.0, 1.0]

    Args:
        make: builds a model from a seed (`seed=` of `mesa.Model`), which must decide all of its chance.
        actions: what an agent can do, by name; the first is what an undecided agent does.
        observe: what an agent sees: numbers, or arrays by name, always of the same shapes. Of these, `action_mask` says
            which actions are legal; an agent that may do nothing has the first alone, and decides nothing.
        reward: of an agent after a tick in which it acted, if it was removed too.
        num_worlds: models that run beside each other.
        episode_ticks: longer episodes are truncated.
        agent_type: class of the controlled agents; None: all agents.
        max_agents: controlled agents that one model may have at a time; None: as many as it begins with.
        advance: lets a model take one step; for a model with a simulator, `lambda model: model.simulator.run_for(1)`.
        controller: makes the behavior `scripted`; None: there is none.
        name: of the world; None: that of the model's class.

    Raises:
        SimulationError: if there is no action, or no agent at the start.
        EnvironmentFaultError: if the model cannot be made, or an agent not be observed.
        MissingExtraError: without Mesa.
    """

    def __init__(
        self,
        make: Callable[[int], Model],
        *,
        actions: Mapping[str, Callable[[Agent], object]],
        observe: Callable[[Agent], Seen],
        reward: Callable[[Agent], float],
        num_worlds: int = 1,
        episode_ticks: int = 1000,
        agent_type: type | None = None,
        max_agents: int | None = None,
        advance: Callable[[Model], object] = lambda model: model.step(),
        controller: ControllerFactory | None = None,
        name: str | None = None,
    ) -> None:
        self._base = _mesa_agent()
        if not actions or num_worlds < 1:
            raise SimulationError(f"expected an action and a world, got {list(actions)} and {num_worlds}")
        self._make, self._reward, self._advance_model = make, reward, advance
        self._observe = lambda agent: _named(observe(agent))
        self._actions = tuple(actions.values())
        self._type = self._base if agent_type is None else agent_type
        self._name = "mesa" if name is None else name
        self._tick = 0
        first = self._guarded("make", make, 0, 0)
        if name is None:
            self._name = f"mesa:{type(first).__name__}"
        agents = self._controlled(first)
        if not agents:
            raise SimulationError(f"`{self._name}` begins without agents of type {self._type.__name__}")
        self._max_agents = len(agents) if max_agents is None else max_agents
        sample = self._guarded("observe", self._observe, agents[0], 0)
        self._shapes = {key: np.shape(value) for key, value in sample.items()}
        shown = {key: shape for key, shape in self._shapes.items() if key != ACTION_MASK}
        if self._shapes.get(ACTION_MASK, (len(actions),)) != (len(actions),):
            raise self._breach(f"expected an action mask of {len(actions)} zeros and ones", agents[0], 0)
        self.spec = SimulationSpec(
            name=self._name,
            vocabulary=ActionVocabulary(keys=tuple(actions), kinds=(KIND,) * len(actions)),
            observation_shapes=shown,
            num_worlds=num_worlds,
            capacity=num_worlds * self._max_agents,
            episode_ticks=episode_ticks,
        )
        self._forget(first)
        self.behaviors = () if controller is None else (SCRIPTED,)
        self._controller = controller
        self._history = History(num_worlds=num_worlds, capacity=self.spec.capacity, specs=[self.spec.vocabulary])
        self._models: dict[int, Model] = {}
        """By world."""
        self._places: dict[int, dict[int, Agent]] = {}
        """By world: the controlled agents by their place, ascending."""
        self._observed: Observed | None = None

    def scripted(self, name: str) -> BatchController:
        if self._controller is None or name not in self.behaviors:
            known = ", ".join(self.behaviors) or "none"
            raise SimulationError(f"expected a behavior of `{self.spec.name}` ({known}), got {name!r}")
        return self._controller(self.spec)

    def close(self) -> None:
        for model in self._models.values():
            self._forget(model)
        self._models.clear()
        self._places.clear()

    def reset(self, *, seeds: NDArray[np.int64]) -> Observed:
        """Begin every world with its own of `seeds` [W]."""
        self._history.restart(seeds)
        self._begin_all()
        return self._look()

    def step(self, actions: NDArray[np.int64]) -> Stepped:
        """Let every model take one step, in which its agents carry out their actions.

        Raises:
            EnvironmentFaultError: names the world, and the agent where there is one, for which the model fails.
            SimulationError: before the first `reset`, or unless there is an action for each row.
        """
        before, history = self._observed, self._history
        if before is None:
            raise SimulationError("expected `reset` before the first `step`")
        if actions.shape != before.slots.shape:
            raise SimulationError(f"expected actions of shape {before.slots.shape}, got {actions.shape}")
        acting = [self._places[slot // self._max_agents][slot % self._max_agents] for slot in before.slots.tolist()]
        worlds = before.worlds.tolist()
        gone = self._advance(acting, worlds, actions.tolist())
        rewards = [self._earned(agent, world) for agent, world in zip(acting, worlds, strict=True)]
        history.add(before.slots, actions)
        self._tick = history.tick
        worlds_now = range(self.spec.num_worlds)
        stopped = np.array([not (self._models[world].running and self._places[world]) for world in worlds_now])
        overdue = history.overdue(self.spec.episode_ticks)
        if overdue is None:
            overdue = np.zeros_like(stopped)
        terminated = np.array(gone, np.bool_) | stopped[before.worlds]
        truncated = overdue[before.worlds] & ~terminated
        over = (terminated | truncated).nonzero()[0]
        final = self._finals(before, over, acting, gone)
        for world in (stopped | overdue).nonzero()[0].tolist():
            self._begin(world, history.begin_next(world))
        return Stepped(
            rewards=np.array(rewards, np.float32),
            terminated=terminated,
            truncated=truncated,
            final_rows=over,
            final_observations=final,
            observed=self._look(),
        )

    def save_state(self) -> SavedState:
        """Save seeds and actions of the episodes in progress, the present agents and their observations.

        Raises:
            SimulationError: before the first `reset`.
        """
        if self._observed is None:
            raise SimulationError("expected `reset` before `save_state`")
        seen = seen_state(self._observed.observations, self._observed.action_mask)
        present = {"slots": self._observed.slots.copy()}
        return join_groups({HISTORY: self._history.save_state(), SEEN: seen, "present": present})

    def restore(self, state: SavedState) -> Observed:
        """Make each world's model again and carry out its actions again.

        Raises:
            EnvironmentFaultError: if that does not lead to what was seen.
            SimulationError: if `state` is of other worlds.
        """
        history, seen, present = split_groups(state, (HISTORY, SEEN, "present")).values()
        self._history.restore(history)
        self._begin_all()
        for world in range(self.spec.num_worlds):
            for places, actions in self._history.replay(world):
                if places.tolist() != list(self._places[world]):
                    raise not_repeatable(self._name, "other agents are present", tick=self._tick, world=world)
                agents = list(self._places[world].values())
                self._advance(agents, [world] * len(agents), actions.tolist(), only=world)
        observed = self._look()
        slots = saved_array(present, "slots", dtype=np.int64, shape=(None,))
        if not np.array_equal(slots, observed.slots):
            raise not_repeatable(self._name, "other agents are present", tick=self._tick)
        require_same(self._name, seen, observed.observations, observed.action_mask, tick=self._tick)
        return observed

    def _begin_all(self) -> None:
        self._tick = self._history.tick
        for world in range(self.spec.num_worlds):
            self._begin(world, self._history.seed_of(world))

    def _begin(self, world: int, seed: int) -> None:
        """Begin an episode of a world."""
        if world in self._models:
            self._forget(self._models[world])
        self._models[world] = self._guarded("make", self._make, seed, world)
        self._places[world] = {}
        self._seat(world)

    def _forget(self, model: Model) -> None:
        """Let a model go. Mesa keeps cells for ever, with the agents on them, and up to 3.3 models, to count ids."""
        self._guarded("remove_all_agents", lambda one: one.remove_all_agents(), model, 0)
        vars(self._base).get("_ids", {}).pop(model, None)

    def _controlled(self, model: Model) -> list[Agent]:
        agents = [agent for agent in model.agents if isinstance(agent, self._type)]
        return sorted(agents, key=lambda agent: int(agent.unique_id))

    def _seat(self, world: int) -> list[Agent]:
        """Give every new agent of a world the lowest free place; returns the agents that were there and are gone."""
        here = self._controlled(self._models[world])
        seated, present = self._places[world], set(here)
        gone = [agent for agent in seated.values() if agent not in present]
        staying = {place: agent for place, agent in seated.items() if agent in present}
        known = set(staying.values())
        free = iter(place for place in range(self._max_agents) if place not in staying)
        for agent in here:
            if agent not in known:
                place = next(free, None)
                if place is None:
                    problem = f"expected at most {self._max_agents} agents (`max_agents`), got {len(here)}"
                    raise EnvironmentFaultError(self._name, problem, world=world, tick=self._tick)
                staying[place] = agent
        self._places[world] = dict(sorted(staying.items()))
        return gone

    def _advance(
        self, acting: list[Agent], worlds: list[int], actions: list[int], only: int | None = None
    ) -> list[bool]:
        """Step the models, or `only` one, with the actions of their agents; tells which of these are gone."""
        for agent, world, action in zip(acting, worlds, actions, strict=True):
            agent.step = partial(self._guarded, "action", self._actions[action], agent, world)
        gone: set[Agent] = set()
        for world in self._models if only is None else (only,):
            self._guarded("step", self._advance_model, self._models[world], world)
            gone.update(self._seat(world))
        return [agent in gone for agent in acting]

    def _earned(self, agent: Agent, world: int) -> float:
        reward: float = self._guarded("reward", lambda one: float(self._reward(one)), agent, world)
        if not abs(reward) <= float(np.finfo(np.float32).max):
            raise self._breach(f"expected a finite reward, got {reward}", agent, world)
        return reward

    def _finals(
        self, before: Observed, over: NDArray[np.int64], acting: list[Agent], gone: list[bool]
    ) -> dict[str, NDArray[np.float32]]:
        """What the agents see at their end; those that were removed see what they saw last."""
        final = {name: array[over] for name, array in before.observations.items()}
        staying = [index for index, row in enumerate(over.tolist()) if not gone[row]]
        rows = over[staying]
        seen = self._stack([acting[row] for row in rows.tolist()], before.worlds[rows].tolist())
        for name, array in final.items():
            array[staying] = seen[name]
        return final

    def _look(self) -> Observed:
        """Return the view of the agents that are present."""
        size = self._max_agents
        agents: list[Agent] = []
        slots: list[int] = []
        for world, seated in self._places.items():
            agents += seated.values()
            slots += [world * size + place for place in seated]
        taken = np.array(slots, np.int64)
        worlds = taken // size
        seen = self._stack(agents, worlds.tolist())
        ids = np.array([_id_of(agent) for agent in agents], np.object_)
        self._observed = Observed(
            slots=taken,
            agent_ids=ids,
            worlds=worlds,
            episodes=self._history.episodes[worlds],
            observations={name: seen[name] for name in self.spec.observation_shapes},
            action_mask=self._masks(seen[ACTION_MASK], agents, worlds) if ACTION_MASK in seen else None,
        )
        return self._observed

    def _stack(self, agents: list[Agent], worlds: list[int]) -> dict[str, NDArray[np.float32]]:
        """[N, ...] each; what some agents see."""
        shapes = self._shapes
        arrays = {name: np.zeros((len(agents), *shape), np.float32) for name, shape in shapes.items()}
        for row, (agent, world) in enumerate(zip(agents, worlds, strict=True)):
            seen = self._guarded("observe", self._observe, agent, world)
            if seen.keys() != shapes.keys():
                raise self._breach(f"expected observations {list(shapes)}, got {list(seen)}", agent, world)
            for name, array in seen.items():
                if array.shape != shapes[name] or not np.isfinite(array).all():
                    problem = f"expected finite `{name}` of shape {shapes[name]}, got {array.tolist()}"
                    raise self._breach(problem, agent, world)
                arrays[name][row] = array
        return arrays

    def _masks(self, seen: NDArray[np.float32], agents: list[Agent], worlds: NDArray[np.int64]) -> NDArray[np.bool_]:
        """[N, A]; with at least one true in each row."""
        masks: NDArray[np.bool_] = seen == 1
        for row in (~(masks | (seen == 0)).all(axis=1)).nonzero()[0].tolist():
            problem = f"expected an action mask of {masks.shape[1]} zeros and ones, got {seen[row].tolist()}"
            raise self._breach(problem, agents[row], int(worlds[row]))
        masks[~masks.any(axis=1), 0] = True
        return masks

    def _guarded(self, what: str, call: Callable[..., Any], given: Any, world: int) -> Any:
        """Call somebody else's code with an agent, a seed or a model."""
        try:
            return call(given)
        except EnvironmentFaultError:  # of an action, in a step of the model
            raise
        except Exception as error:
            raise self._breach(f"`{what}` failed with {type(error).__name__}: {error}", given, world) from error

    def _breach(self, problem: str, given: Any, world: int) -> EnvironmentFaultError:
        """The error of something that is wrong in a world, and of the agent that it is about, if it is about one."""
        agent_id = _id_of(given) if isinstance(given, self._base) else None
        return EnvironmentFaultError(self._name, problem, world=world, agent_id=agent_id, tick=self._tick)


def _id_of(agent: Agent) -> str:
    return f"{type(agent).__name__}_{agent.unique_id}"


def _named(seen: Seen) -> dict[str, NDArray[np.float32]]:
    parts = seen if isinstance(seen, Mapping) else {"observation": seen}
    with np.errstate(over="ignore"):  # becomes infinite, which is refused
        return {str(name): np.asarray(part, np.float64).astype(np.float32) for name, part in parts.items()}


def _mesa_agent() -> type:
    """The class of all agents of Mesa."""
    try:
        agent: type = import_module("mesa").Agent
    except ModuleNotFoundError as error:
        if error.name != "mesa":
            raise
        raise MissingExtraError("models of Mesa need `mesa`: install 'townlet-runtime[mesa]'") from error
    return agent
