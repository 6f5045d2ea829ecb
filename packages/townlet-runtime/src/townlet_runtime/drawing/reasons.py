"""Why actions are not legal, as a world says it to people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.drawing.layers import layers_of
from townlet_runtime.errors import SimulationError

MAX_REASON = 120
"""Characters of one reason; longer ones are cut."""


@runtime_checkable
class Reasoned(Protocol):
    """A simulation that says why actions are not legal. Without: only that they are not."""

    def illegal_reasons(self, agent_id: str, *, world: int) -> Mapping[str, str]:
        """Say why an agent cannot do what its mask forbids now.

        Args:
            agent_id: of an agent of the last view.
            world: index of its world.

        Returns:
            A few words by the action's key, of several parts by `PART=KEY`; actions may be left out.
        """
        ...


def reasons_of(
    simulation: object, agent_id: str, *, world: int, choices: Sequence[str], legal: NDArray[np.bool_]
) -> dict[str, str]:
    """Ask a simulation, or one that it is around, why choices of an agent are not legal.

    Args:
        simulation: any.
        agent_id: of an agent of the last view.
        world: index of its world.
        choices: [A]; keys of the actions, of several parts `PART=KEY`.
        legal: [A].

    Returns:
        Reasons of choices that are not legal; empty where nothing says them.

    Raises:
        SimulationError: if the simulation, which is a user's, fails or answers anything else than texts.
    """
    said = next((one for one in layers_of(simulation) if isinstance(one, Reasoned)), None)
    if said is None or legal.all():
        return {}
    try:
        reasons = dict(said.illegal_reasons(agent_id, world=world))
    except Exception as error:  # a user's own code
        raise SimulationError(f"`illegal_reasons` failed with {type(error).__name__}: {error}") from error
    if not all(isinstance(text, str) for text in reasons.values()):
        raise SimulationError(f"expected texts of `illegal_reasons`, got {reasons!r}")
    forbidden = (choices[index] for index in np.flatnonzero(~legal).tolist())
    return {choice: reasons[choice][:MAX_REASON] for choice in forbidden if choice in reasons}
