"""Who made each proposal of a script that has several proposers, such as a slow mind and its fallback."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from .batch_controllers import BatchController
from .errors import ConfigError, ShapeError
from .views import View

_MOST_PROPOSERS = 127
_NOBODY = np.int8(-1)
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
