"""The stretches of a batch that a network's memory goes through: cut, stepped through, and dealt out.

    (f_t, h_{t+1}) = body(x_t, h_t)        h at a trajectory's first row: as it was recorded, or 0
    ∂L/∂θ: through h within a fragment; what comes before its first row counts as given

That is truncated backpropagation through time (Williams & Peng 1990) from stored states (Kapturowski et al. 2019,
"Recurrent Experience Replay in Distributed Reinforcement Learning", section 3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from townlet_training.errors import ShapeError
from townlet_training.learning.rows import CHUNK
from townlet_training.network.memory import Features, Fragments
from townlet_training.network.weights import aligned

if TYPE_CHECKING:
    from townlet_training.network.actor_critic import ActorCritic
    from townlet_trajectory import TrajectoryBatch

POLICY_STATE = "policy_state"
"""Column of the policy's memory before each tick, float32 [R, S]."""


def cut(offsets: NDArray[np.int64], longest: int | None) -> NDArray[np.int64]:
    """Cut trajectories into fragments of `longest` rows, each trajectory's last one with what is left.

    Args:
        offsets: of the trajectories, [B + 1].
        longest: at least 1; None: the trajectories are the fragments.

    Returns:
        Offsets of the fragments, [C + 1]; those of the trajectories are among them.
    """
    if longest is None:
        return offsets
    counts = -(-np.diff(offsets) // longest)
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.append(np.repeat(offsets[:-1], counts) + longest * number, offsets[-1])


def recorded_fragments(network: ActorCritic, batch: TrajectoryBatch, *, longest: int | None) -> Fragments | None:
    """Cut `batch` into fragments that begin with their recorded states; None for a network without memory.

    Args:
        network: that acted.
        batch: R rows of B trajectories.
        longest: rows of a fragment, as of `cut`.

    Raises:
        ShapeError: if the batch has no states, or those of another memory.
    """
    if not network.state_size:
        return None
    states = batch.columns.get(POLICY_STATE)
    found = None if states is None else states.shape[1:]
    if states is None or found != (network.state_size,):
        raise ShapeError(f"a network with memory needs `{POLICY_STATE}` of {(network.state_size,)}, got {found}")
    offsets = cut(batch.offsets, longest)
    begin = aligned(np.asarray(states[offsets[:-1]], np.float32))
    return Fragments(torch.tensor(offsets), begin.to(network.value_scale.device))


def first_states(network: ActorCritic, batch: TrajectoryBatch) -> Tensor:
    """Return the states [B, S] at the first rows of the trajectories: as recorded, else 0.

    A memory of another size is not this network's, and then it is 0 too.
    """
    states = batch.columns.get(POLICY_STATE)
    if states is None or states.shape[1:] != (network.state_size,):
        return network.value_scale.new_zeros((len(batch), network.state_size))
    return aligned(np.asarray(states[batch.offsets[:-1]], np.float32)).to(network.value_scale.device)


def stepped_fragments(
    network: ActorCritic, encoded: Tensor, trajectories: NDArray[np.int64], first: Tensor, *, longest: int | None
) -> Fragments:
    """Cut trajectories into fragments, whose states are those to which the network as it is has come.

    Args:
        network: with a memory.
        encoded: [R, F].
        trajectories: offsets [B + 1].
        first: states [B, S] at their first rows.
        longest: rows of a fragment, as of `cut`.
    """
    offsets = cut(trajectories, longest)
    begins = np.searchsorted(offsets, trajectories)  # the first fragment of each trajectory, and the end
    counts, states = np.diff(begins), first.new_empty((len(offsets) - 1, first.shape[1]))
    current = first
    for number in range(counts.max(initial=0)):
        alive = np.flatnonzero(counts > number)
        at = torch.from_numpy(begins[alive] + number)
        states[at] = current[torch.from_numpy(alive)]
        going_on = np.flatnonzero(counts > number + 1)
        rows, within = picked(torch.tensor(offsets), torch.from_numpy(begins[going_on] + number))
        if len(rows):
            inside = Fragments(within, states[torch.from_numpy(begins[going_on] + number)])
            current = current.clone()
            current[torch.from_numpy(going_on)] = states_of(features_of(network, encoded[rows], inside))
    return Fragments(torch.tensor(offsets), states)


def states_of(features: Features) -> Tensor:
    """Return the states [B, S] after the fragments; ShapeError of a network that says it remembers, and does not."""
    if features.states is None:
        raise ShapeError("a network with memory gave no states after its fragments")
    return features.states


def picked(offsets: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows [M] of the fragments at `index` [C], one after the other, and their offsets [C + 1] therein.

    Args:
        offsets: of all fragments.
        index: of those that are picked.
    """
    starts = offsets[index]
    within = torch.cat([offsets.new_zeros(1), (offsets[index + 1] - starts).cumsum(0)])
    rows = torch.arange(int(within[-1])) + (starts - within[:-1]).repeat_interleave(within.diff())
    return rows, within


def features_of(network: ActorCritic, encoded: Tensor, fragments: Fragments | None) -> Features:
    """Evaluate the body without gradient, about `CHUNK` rows at a time, whole fragments where there are some.

    Args:
        network: with a body or without.
        encoded: [R, F].
        fragments: of these rows; None for a network without memory.

    Returns:
        Features of all rows, and the states after the fragments.
    """
    with torch.no_grad():
        if fragments is None:
            whole = len(encoded) <= CHUNK or not network.has_body
            parts = [network.body(chunk) for chunk in ((encoded,) if whole else torch.split(encoded, CHUNK))]
        else:
            offsets, parts, first, size = fragments.offsets, [], 0, len(fragments.offsets) - 1
            while first < size:
                last = int(torch.searchsorted(offsets, offsets[first] + CHUNK, right=True)) - 1
                last = min(max(last, first + 1), size)
                inside = Fragments(offsets[first : last + 1] - offsets[first], fragments.states[first:last])
                parts.append(network.body(encoded[int(offsets[first]) : int(offsets[last])], inside))
                first = last
    if len(parts) == 1:
        return parts[0]
    states = None if fragments is None else torch.cat([states_of(part) for part in parts])
    return Features(torch.cat([part.policy for part in parts]), torch.cat([part.critic for part in parts]), states)
