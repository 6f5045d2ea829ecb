"""Scripts and guardrails of a user's own: a function of one agent, lifted, and how either is found by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import (
    ActionSpec,
    ArrayActions,
    BatchController,
    Box,
    DecisionBatch,
    Guardrail,
    MultiDiscrete,
    NoProposals,
    ProposerAware,
    SavedState,
    StatelessController,
    Verdicts,
)
from townlet_behavior.forms import IndexForm, form_of
from townlet_behavior.proposers import proposed_by, proposers_of
from townlet_runtime.adapters.named_code import (
    CONTROLLERS,
    GUARDRAILS,
    Factory,
    blamed,
    made_by,
    named_factory,
    registered_factory,
    takes_parameter,
)
from townlet_runtime.errors import ConfigError, SimulationError
from townlet_runtime.simulation.interface import ActionArray, Closing, Observed, SimulationSpec

ControllerFactory = Callable[..., BatchController]
"""Makes the script of a group from its `SimulationSpec`. One with a parameter `script` is given the world's own script
by that name, to fall back on; where the world has none, one that proposes nothing."""

GuardrailFactory = Callable[[SimulationSpec], Guardrail]
"""Makes a rule on the executed actions of a group from what the group can see and do."""

Decide = Callable[[Mapping[str, NDArray[np.float32]], str], Any]
"""An action from what one agent sees, each array without the agents' axis, and its id: an index (-1: no
proposal), or K indices or numbers of array actions (None: no proposal)."""


class ObservationController(StatelessController):
    """Lifts a function that decides for one agent from its observations. Its cost is that of the calls it makes.

    Args:
        decide: returns an action index; or K indices or numbers where there are array actions.
        actions: the array actions, `SimulationSpec.actions`; None: those of a vocabulary.

    Examples:
        >>> from townlet_behavior import Box
        >>> from townlet_runtime import ObservationController
        >>> pedals = Box(names=("steer", "gas"), low=(-1.0, 0.0), high=(1.0, 1.0))
        >>> controller = ObservationController(lambda observations, agent_id: (-0.5, 1.0), actions=pedals)
    """

    def __init__(self, decide: Decide, actions: ArrayActions | None = None) -> None:
        self._decide = decide
        self._form = IndexForm(1) if actions is None else form_of(actions)
        self._may_pass = actions is not None
        content = "an action index" if actions is None else f"{actions.shape[0]} {_CONTENT[type(actions)]} or None"
        self._expected = content

    def propose(self, view: Observed) -> ActionArray:
        """[N], or [N, K] of array actions; one call per agent, in the order of slots.

        Raises:
            SimulationError: if the function raises, or answers anything but an action.
        """
        proposals = self._form.empty(len(view.slots))
        for row, agent_id in enumerate(view.agent_ids.tolist()):
            try:
                action = self._decide({name: array[row] for name, array in view.observations.items()}, agent_id)
            except Exception as error:  # somebody else's code
                raise SimulationError(f"the script raised {type(error).__name__} for {agent_id!r}: {error}") from error
            try:
                if action is not None or not self._may_pass:
                    proposals[row] = self._form.read(action)
            except (TypeError, ValueError) as error:
                message = f"the script must propose {self._expected}, got {action!r} for {agent_id!r}"
                raise SimulationError(message) from error
        return proposals


_CONTENT: Mapping[type, str] = {MultiDiscrete: "indices", Box: "numbers"}


@runtime_checkable
class _Controller(BatchController, Protocol):
    """A controller, as a user's own factory must make it."""


@runtime_checkable
class _Guardrail(Guardrail, Protocol):
    """A guardrail, as a user's own factory must make it."""


def make_controller(factory: ControllerFactory, spec: SimulationSpec, script: BatchController) -> BatchController:
    """Make the script of a group.

    Args:
        factory: of the script.
        spec: of the group.
        script: the world's own.
    """
    return factory(spec, script=script) if takes_parameter(factory, "script") else factory(spec)


class _NamedController:
    """A `BatchController` of a user's own; its exceptions name it."""

    def __init__(self, controller: BatchController, label: str, actions: ActionSpec) -> None:
        self._controller = controller
        self._aware = controller if isinstance(controller, ProposerAware) else None
        self._form = form_of(actions)
        self._proposals: ActionArray = self._form.empty(0)
        self._label = label

    @property
    def proposers(self) -> tuple[str, ...]:
        with blamed(self._label):
            return proposers_of(self._controller)

    def propose(self, view: Any) -> ActionArray:
        with blamed(self._label):
            self._proposals = self._controller.propose(view)
            return self._proposals

    def proposed_by(self, view: Any) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
        with blamed(self._label):
            return proposed_by(self._aware, view, self._form.silent(self._proposals))

    def settled(self, view: Any, decisions: DecisionBatch) -> None:
        with blamed(self._label):
            self._controller.settled(view, decisions)

    def forget(self, slots: NDArray[np.int64]) -> None:
        with blamed(self._label):
            self._controller.forget(slots)

    def save_state(self) -> SavedState:
        with blamed(self._label):
            return self._controller.save_state()

    def restore(self, state: SavedState) -> None:
        with blamed(self._label):
            self._controller.restore(state)

    def close(self) -> None:
        if isinstance(self._controller, Closing):
            with blamed(self._label):
                self._controller.close()


class _NamedGuardrail:
    """A `Guardrail` of a user's own; its exceptions name it."""

    def __init__(self, guardrail: Guardrail, label: str) -> None:
        self._guardrail = guardrail
        self._label = label

    @property
    def reasons(self) -> tuple[str, ...]:
        with blamed(self._label):
            return self._guardrail.reasons

    def review(self, view: Any, actions: ActionArray) -> Verdicts:
        with blamed(self._label):
            return self._guardrail.review(view, actions)

    def settled(self, view: Any, decisions: DecisionBatch) -> None:
        with blamed(self._label):
            self._guardrail.settled(view, decisions)


def load_controller(reference: str) -> ControllerFactory:
    """Import a controller factory that a person named on the command line; never call this with words of a file.

    Args:
        reference: `module:name`; modules of the working folder are found too.

    Raises:
        ConfigError: if the reference is of another form, or names nothing that can be called.
    """
    return _controllers(named_factory(reference, label=f"the controller {reference!r}"), reference)


def registered_controller(name: str) -> ControllerFactory | None:
    """Load the factory registered as `name` in the entry point group `townlet.controllers`; None without one.

    Raises:
        ConfigError: if the registered object cannot be imported or called.
    """
    factory = registered_factory(CONTROLLERS, name)
    return None if factory is None else _controllers(factory, name)


def load_guardrail(reference: str) -> GuardrailFactory:
    """Import a guardrail factory that a person named on the command line; see `load_controller`."""
    return _guardrails(named_factory(reference, label=f"the guardrail {reference!r}"), reference)


def registered_guardrail(name: str) -> GuardrailFactory | None:
    """Load the factory registered as `name` in the entry point group `townlet.guardrails`; None without one.

    Raises:
        ConfigError: if the registered object cannot be imported or called.
    """
    factory = registered_factory(GUARDRAILS, name)
    return None if factory is None else _guardrails(factory, name)


_TAKES = "one argument, the `SimulationSpec` of a group of agents"
_MAY_TAKE = f"{_TAKES}, and perhaps `script`"


def _controllers(factory: Factory, name: str) -> ControllerFactory:
    label = f"the controller {name!r}"

    def make(spec: SimulationSpec, *, script: BatchController | None = None) -> BatchController:
        own = NoProposals(spec.action_spec) if script is None else script
        settings = {"script": own} if takes_parameter(factory, "script") else {}
        controller: object = made_by(
            factory, spec, settings=settings, label=label, takes=f"{_TAKES}, and perhaps `script`"
        )
        if not isinstance(controller, _Controller):
            raise ConfigError(
                f"{label} must make a `BatchController` (propose, settled, forget, save_state, restore), got "
                f"{controller!r}; `ObservationController` makes one of a function of one agent"
            )
        return _NamedController(controller, label, spec.action_spec)

    return make


def _guardrails(factory: Factory, name: str) -> GuardrailFactory:
    label = f"the guardrail {name!r}"

    def make(spec: SimulationSpec) -> Guardrail:
        guardrail: object = made_by(factory, spec, settings={}, label=label, takes=_TAKES)
        if not isinstance(guardrail, _Guardrail):
            raise ConfigError(f"{label} must make a `Guardrail` (reasons, review, settled), got {guardrail!r}")
        return _NamedGuardrail(guardrail, label)

    return make
