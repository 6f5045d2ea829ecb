"""Teachers by name, for the tests of `townlet distill`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.simulation.interface import SimulationSpec


class Thrifty:
    """Waits, unless the town says that something can be started or somebody can be met. A `BatchTeacher`."""

    def __init__(self, spec: SimulationSpec) -> None:
        self._keys = spec.vocabulary.keys

    def teach(
        self, observations: Mapping[str, NDArray[np.float32]], action_mask: NDArray[np.bool_] | None, /
    ) -> NDArray[np.int64]:
        assert action_mask is not None
        order = [self._keys.index(key) for key in ("start", "chat", "wait")]
        legal = action_mask[:, order]
        return np.array(order)[legal.argmax(axis=1)]


def thrifty(spec: SimulationSpec) -> Thrifty:
    """What `--teacher minds:thrifty` names."""
    return Thrifty(spec)


def nothing(spec: SimulationSpec) -> object:
    """A function that makes no teacher."""
    return spec
