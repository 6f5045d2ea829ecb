"""What an agent sees as text, for minds that read: its named features as canonical JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.errors import ConfigError, SimulationError
from townlet_runtime.simulation.interface import Observed, SimulationSpec

FEATURES = "features"
MAX_DIGITS = 6
"""float32 has no more."""


class DescribedObservations:
    """Describes agents by their named features: one JSON object each, keys sorted, numbers rounded.

    Equal texts mean equal sights, to so many digits: with fewer digits, and without features that change at every tick,
    a question is answered from the cache more often.

    Examples:
        >>> import numpy as np
        >>> from townlet_runtime import DescribedObservations
        >>> from townlet_runtime.testing import Corridor
        >>> corridor = Corridor()
        >>> seen = corridor.reset(seeds=np.array([7]))
        >>> DescribedObservations(corridor.spec, names=("position", "fatigue"))(seen, np.array([0]))
        [('visitor_0_1', 0, '{"fatigue":0.0,"position":0.0}')]

    Args:
        spec: of the agents.
        names: of the features to describe; None: all. Where a world names no features, of whole observations.
        digits: after the point, in [0, 6].

    Raises:
        ConfigError: if there is no feature of a name, or `digits` is out of range.
    """

    def __init__(self, spec: SimulationSpec, *, names: Sequence[str] | None = None, digits: int = 2) -> None:
        if not 0 <= digits <= MAX_DIGITS:
            raise ConfigError(f"`digits` must be in [0, {MAX_DIGITS}], got {digits!r}")
        self._digits = digits
        known = spec.feature_names or tuple(spec.observation_shapes)
        self._names = known if names is None else tuple(names)
        if unknown := sorted(set(self._names) - set(known)):
            raise ConfigError(f"`names` must be among {', '.join(known)}, got {', '.join(unknown)}")
        self._columns = [known.index(name) for name in self._names] if spec.feature_names else None

    def __call__(self, view: Observed, rows: NDArray[np.int64], /) -> list[tuple[str, int, str]]:
        """Return id, index of the world and text of the agents in `rows` [R] of a view.

        Raises:
            SimulationError: if a number is not finite; names the agent.
        """
        columns = self._rounded(view, rows)
        ids, worlds = view.agent_ids[rows].tolist(), view.worlds[rows].tolist()
        described = []
        for row, (agent_id, world) in enumerate(zip(ids, worlds, strict=True)):
            values = {name: column[row] for name, column in zip(self._names, columns, strict=True)}
            try:
                text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
            except ValueError as error:
                raise SimulationError(f"agent {agent_id!r}: expected finite observations, got {values}") from error
            described.append((agent_id, world, text))
        return described

    def _rounded(self, view: Observed, rows: NDArray[np.int64]) -> list[list[object]]:
        """One list over the rows for each name. Adding 0 makes -0 and 0 the same."""
        if self._columns is None:
            arrays = [view.observations[name][rows] for name in self._names]
        else:
            arrays = list(view.observations[FEATURES][rows][:, self._columns].T)
        return [(np.round(array.astype(np.float64), self._digits) + 0.0).tolist() for array in arrays]
