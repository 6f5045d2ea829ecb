"""Actions by chance, for checks: every legal one is as likely as another."""

from __future__ import annotations

import numpy as np

from townlet_behavior import Box, MultiDiscrete, Proposals
from townlet_runtime.simulation.interface import ActionArray, Observed, SimulationSpec

_LOWEST = np.finfo(np.float32).min


def random_actions(spec: SimulationSpec, observed: Observed, generator: np.random.Generator) -> ActionArray:
    """Draw a legal action for every agent of a view.

    Args:
        spec: of the agents.
        observed: N agents.
        generator: advances by `mask_size` numbers for each agent, or by one for each number of an action.

    Returns:
        [N] indices, or array actions [N, K].
    """
    rows, actions = len(observed.slots), spec.actions
    if isinstance(actions, Box):
        low, high = actions.bounds
        numbers = generator.uniform(low, high, (rows, len(low))).astype(np.float32)
        drawn: ActionArray = np.clip(numbers, low, high)
        return drawn
    scores = generator.random((rows, spec.mask_size))
    if observed.action_mask is not None:
        scores = np.where(observed.action_mask, scores, -1.0)
    if actions is None:
        indices: ActionArray = scores.argmax(axis=1)
        return indices
    return np.stack([part.argmax(axis=1) for part in np.split(scores, _ends(actions)[:-1], axis=1)], axis=1)


def random_proposals(spec: SimulationSpec, observed: Observed, generator: np.random.Generator) -> Proposals:
    """Draw as `random_actions` does, with how likely the actions were; every state is worth 0.

    Args:
        spec: of the agents.
        observed: N agents.
        generator: as of `random_actions`.
    """
    actions, rows = random_actions(spec, observed, generator), len(observed.slots)
    values = np.zeros(rows, np.float32)
    if isinstance(spec.actions, Box):
        low, high = spec.actions.bounds
        density = np.full(rows, -np.log(high - low).sum(), np.float32)
        return Proposals(actions=actions, log_probs=None, drawn_log_probs=density, values=values)
    legal = np.ones((rows, spec.mask_size), np.bool_) if observed.action_mask is None else observed.action_mask
    ends = (spec.mask_size,) if spec.actions is None else _ends(spec.actions)
    parts = [
        np.where(part, -np.log(np.maximum(part.sum(axis=1, keepdims=True), 1)), _LOWEST)
        for part in np.split(legal, ends[:-1], axis=1)
    ]
    return Proposals(actions=actions, log_probs=np.concatenate(parts, axis=1).astype(np.float32), values=values)


def _ends(actions: MultiDiscrete) -> tuple[int, ...]:
    """One past the last column of each part."""
    return tuple(np.cumsum(actions.sizes).tolist())
