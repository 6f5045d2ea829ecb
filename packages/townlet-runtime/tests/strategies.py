"""Corridors, policies and blends to draw from, and a policy small enough to work out by hand."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from townlet_behavior import BridgeConfig, CommitmentConfig
from townlet_runtime.simulation.interface import Observations, SimulationSpec
from townlet_runtime.testing import Corridor, CorridorConfig

LOWEST = np.finfo(np.float32).min


class LinearPolicy:
    """log π = log_softmax(features @ weights), V = features @ values. A `Policy`."""

    digest = "ab" * 32

    def __init__(self, spec: SimulationSpec, *, seed: int) -> None:
        generator = np.random.default_rng(seed)
        (width,) = spec.observation_shapes["features"]
        self.weights = generator.normal(size=(width, len(spec.vocabulary))).astype(np.float32)
        self.values = generator.normal(size=width).astype(np.float32)
        self.vocabulary = spec.vocabulary.keys
        self.observation_shapes: Mapping[str, tuple[int, ...]] = spec.observation_shapes

    def act(
        self, observations: Observations, action_mask: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        logits = observations["features"] @ self.weights
        if action_mask is not None:
            logits = np.where(action_mask, logits, LOWEST)
        return log_softmax(logits), observations["features"] @ self.values


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    floored: NDArray[np.float32] = np.maximum(log_probs, LOWEST).astype(np.float32)
    return floored


def bridge_config(corridor: Corridor, *, ratio: float = 0.0) -> BridgeConfig:
    """A bridge with the corridor's own commitment lengths."""
    return BridgeConfig(ratio=ratio, commitment=CommitmentConfig(ticks=corridor.spec.option_ticks))


corridor_configs = st.builds(
    CorridorConfig,
    length=st.integers(2, 6),
    places=st.integers(1, 4),
    episode_ticks=st.integers(1, 25),
    max_absence=st.integers(1, 5),
    rest_ticks=st.integers(0, 5),
    slip=st.sampled_from([0.0, 0.3]),
    masked=st.booleans(),
)
seeds = st.integers(0, 2**32 - 1)
ratios = st.one_of(st.sampled_from([0.0, 0.1, 1.0]), st.floats(0.0, 1.0))


@st.composite
def masked_log_probs(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Log-probabilities [N, A] with at least one legal action a row, and the mask [N, A]."""
    rows, actions = draw(st.integers(1, 6)), draw(st.integers(1, 8))
    logits = draw(npst.arrays(np.float32, (rows, actions), elements=st.floats(-30, 30, width=32)))
    mask = draw(npst.arrays(np.bool_, (rows, actions)))
    mask[np.arange(rows), draw(npst.arrays(np.int64, rows, elements=st.integers(0, actions - 1)))] = True
    return log_softmax(np.where(mask, logits, LOWEST)), mask
