"""Who made each proposal of a script that has several proposers, such as a slow mind and its fallback."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from .batch_controllers import BatchController, NoProposals, propose_checked
from .decisions import constants_of
from .errors import ConfigError, ShapeError
from .forms import ActionForm, Actions
from .views import View, where_rows

_MOST_PROPOSERS = 127
_FIRST, _NOBODY = np.int8(0), np.int8(-1)
_INT8, _INT32 = np.dtype(np.int8), np.dtype(np.int32)
SCRIPT = "script"
"""Name of the proposer of a controller that is one alone."""


@runtime_checkable
class ProposerAware(Protocol):
    """A `BatchController` of several proposers, which says who made each proposal: a mind, its fallback."""

    @property
    def proposers(self) -> tuple[str, ...]:
        """Their names, 1 to 127 of them; the same as long as the controller is used."""

    def proposed_by(self, view: Any) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
        """Return who made the last proposals, and how old they are.

        Args:
            view: that `propose` was last given, N rows.

        Returns:
            Index into `proposers` [N], any value where nothing was proposed, and ticks since the proposer saw what it
            decided from [N], at least 0.
        """


def proposers_of(controller: BatchController) -> tuple[str, ...]:
    """Return the names of a controller's proposers: `script` alone where it does not say.

    Raises:
        ConfigError: if there are none, more than 127, or a name twice.
    """
    names = controller.proposers if isinstance(controller, ProposerAware) else (SCRIPT,)
    if not 1 <= len(names) <= _MOST_PROPOSERS or len(set(names)) != len(names) or not all(names):
        raise ConfigError(f"`proposers` must be 1 to {_MOST_PROPOSERS} different names, got {names!r}")
    return names


def proposed_by(
    controller: ProposerAware | None, view: View, silent: NDArray[np.bool_]
) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
    """Ask a controller who made its last proposals, and check its answer.

    Args:
        controller: the script; None: it is one proposer.
        view: that the proposals were made from, N rows.
        silent: [N]; where nothing was proposed.

    Returns:
        Copies: proposer [N], -1 where nothing was proposed, and age in ticks [N].

    Raises:
        ShapeError: if an array has another shape or dtype, or a value out of its range.
    """
    if controller is None:
        return -silent.view(np.int8), np.zeros(len(silent), np.int32)
    proposer, age = controller.proposed_by(view)
    shape = silent.shape
    if proposer.dtype != _INT8 or proposer.shape != shape or age.dtype != _INT32 or age.shape != shape:
        raise ShapeError(
            f"`proposed_by` must give proposers int8 {shape} and ages int32 {shape}, got {proposer.dtype} "
            f"{proposer.shape} and {age.dtype} {age.shape}"
        )
    num_names = len(controller.proposers)
    # As unsigned, a negative number is larger than any index.
    if np.count_nonzero(silent | (proposer.view(np.uint8) < num_names)) != len(silent):
        raise ShapeError(f"`proposed_by` must give indices into {num_names} `proposers`, got {proposer.tolist()}")
    if np.count_nonzero(age < 0):
        raise ShapeError(f"`proposed_by` must give ages of at least 0 ticks, got {age.tolist()}")
    return np.where(silent, _NOBODY, proposer), age.copy()


class Asked(NamedTuple):
    """The script's side of a decision, N rows."""

    script: Actions
    """To be carried out where the script decides: what it proposes, else waiting."""
    expert: Actions
    """The proposals as they are recorded."""
    proposer: NDArray[np.int8]
    """[N]; index into `AskedScript.proposers`, -1 where nothing was proposed."""
    age: NDArray[np.int32]
    """[N]; ticks since the proposer saw what it decided from."""


class AskedScript:
    """Asks the script of a bridge.

    Args:
        controller: the script.
        form: of the actions.

    Raises:
        ConfigError: see `proposers_of`.
    """

    def __init__(self, controller: BatchController, form: ActionForm) -> None:
        self.proposers = proposers_of(controller)
        """Names of who proposes."""
        self._controller, self._form = controller, form
        self._aware = controller if isinstance(controller, ProposerAware) else None
        # A subclass may propose after all.
        self._silence = self._silence_of(0) if type(controller) is NoProposals else None
        self._ahead: tuple[View, Asked] | None = None

    def ahead(self, view: View) -> Asked:
        """Return what the script says before the decision is made; `ask` says the same of this very view, without
        asking the script again. Raises the same errors."""
        answer = self.ask(view)
        self._ahead = view, answer
        return answer

    def ask(self, view: View) -> Asked:
        """Return what the script says; its arrays are not to be written to.

        Raises:
            ShapeError: if proposals, or who made them, do not fit the view.
            UnknownActionError: if the script proposes an action that does not exist.
        """
        if self._ahead is not None:
            (seen, answer), self._ahead = self._ahead, None
            if seen is view:
                return answer
        if self._silence is not None:  # which depends on the number of agents alone
            if len(self._silence.script) != len(view.slots):
                self._silence = self._silence_of(len(view.slots))
            return self._silence
        script = expert = propose_checked(self._controller, view, self._form)
        silent = self._form.silent(expert)
        if np.count_nonzero(silent):
            script, expert = where_rows(silent, self._form.wait, expert), self._form.recorded(expert)
        elif self._aware is None:  # the same arrays at every tick at which all proposals are a script's own
            constants = constants_of(len(silent))
            return Asked(script, expert, constants.codes[_FIRST], constants.no_ticks)
        return Asked(script, expert, *proposed_by(self._aware, view, silent))

    def _silence_of(self, size: int) -> Asked:
        script = np.full((size, *self._form.shape), self._form.wait, self._form.dtype)
        expert, constants = self._form.recorded(self._form.empty(size)), constants_of(size)
        script.flags.writeable = expert.flags.writeable = False
        return Asked(script, expert, constants.codes[_NOBODY], constants.no_ticks)
