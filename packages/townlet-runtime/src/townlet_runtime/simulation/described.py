"""What an agent sees as text, for minds that read: its named features as canonical JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

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
        self._names = tuple(sorted(known if names is None else set(names)))
        if unknown := sorted(set(self._names) - set(known)):
            raise ConfigError(f"`names` must be among {', '.join(known)}, got {', '.join(unknown)}")
        self._columns = [known.index(name) for name in self._names] if spec.feature_names else None

    def __call__(self, view: Observed, rows: NDArray[np.int64], /) -> list[tuple[str, int, str]]:
        """Return id, index of the world and text of the agents in `rows` [R] of a view.

        Raises:
            SimulationError: if a number is not finite; names the agent.
        """
        ids, worlds = view.agent_ids[rows].tolist(), view.worlds[rows].tolist()
        described = []
        for agent_id, world, numbers in zip(ids, worlds, self._rounded(view, rows), strict=True):
            values = dict(zip(self._names, numbers, strict=True))
            try:
                text = json.dumps(values, separators=(",", ":"), allow_nan=False)
            except ValueError as error:
                raise SimulationError(f"agent {agent_id!r}: expected finite observations, got {values}") from error
            described.append((agent_id, world, text))
        return described

    def _rounded(self, view: Observed, rows: NDArray[np.int64]) -> Iterable[Sequence[object]]:
        """For each row the numbers of all names. Adding 0 makes -0 and 0 the same."""
        if self._columns is not None:
            seen = view.observations[FEATURES][rows].take(self._columns, axis=1)
            rounded: list[list[float]] = (seen.astype(np.float64).round(self._digits) + 0.0).tolist()
            return rounded
        arrays = (view.observations[name][rows].astype(np.float64) for name in self._names)
        return zip(*((array.round(self._digits) + 0.0).tolist() for array in arrays), strict=True)
