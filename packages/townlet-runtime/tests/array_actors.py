"""Numpy policies of array actions, small enough that a test computes their probabilities anew."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from strategies import LOWEST, log_softmax

from townlet_runtime.simulation.interface import Observations, SimulationSpec

Floats = NDArray[np.float32]


class ArrayActor:
    """Outputs linear in `features`, and a value from `features` and what the critic alone sees. A `Policy`."""

    digest = "cd" * 32

    def __init__(self, spec: SimulationSpec, *, seed: int, distribution: str = "") -> None:
        assert spec.actions is not None
        generator = np.random.default_rng(seed)
        (width,), (state,) = spec.observation_shapes["features"], spec.critic_shapes["state"]
        self.weights = generator.normal(size=(width, spec.actions.num_outputs)).astype(np.float32)
        self.values = generator.normal(size=width + state).astype(np.float32)
        self.vocabulary: tuple[str, ...] = ()
        self.observation_shapes: Mapping[str, tuple[int, ...]] = spec.observation_shapes
        self.actions = spec.actions
        self.distribution = distribution

    def act(self, observations: Observations, action_mask: NDArray[np.bool_] | None) -> tuple[Floats, Floats]:
        seen = np.concatenate([observations["features"], observations["state"]], axis=1)
        return self.params(observations["features"], action_mask), seen @ self.values

    def params(self, features: Floats, action_mask: NDArray[np.bool_] | None) -> Floats:
        """[N, P] of features [N, F]."""
        outputs = features @ self.weights
        if self.distribution:
            return outputs
        logits = outputs if action_mask is None else np.where(action_mask, outputs, LOWEST)
        ends = np.cumsum(self.actions.sizes)[:-1]  # type: ignore[union-attr]
        return np.concatenate([log_softmax(part) for part in np.split(logits, ends, axis=1)], axis=1)


class RememberingActor:
    """Sees a running sum of what an agent has seen, as its two numbers of memory. A `RecurrentActor`."""

    state_size = 2

    def __init__(self, inner: ArrayActor) -> None:
        self._inner = inner
        self.vocabulary, self.observation_shapes, self.digest = (), inner.observation_shapes, inner.digest
        self.actions, self.distribution = inner.actions, inner.distribution

    def act(
        self, observations: Observations, action_mask: NDArray[np.bool_] | None, state: Floats
    ) -> tuple[Floats, Floats, Floats]:
        after = (np.float32(0.5) * state + observations["features"]).astype(np.float32)
        params, values = self._inner.act({**observations, "features": after}, action_mask)
        return params, values, after
