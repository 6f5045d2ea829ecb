"""Which of the states that a student met are worth a question: scores, near-duplicates, and the choice."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from townlet_training.errors import ShapeError

_LEAST = 1e-6
"""Score of a state that says nothing: without it such states could never fill a round."""


def margin_uncertainty(log_probs: NDArray[np.float32]) -> NDArray[np.float64]:
    """Compute how close the two most likely actions of each state are.

        u = 1 - (π(a₁) - π(a₂)),   π(a₁) >= π(a₂) >= ...

    Source: Scheffer, Decomain & Wrobel 2001, Active Hidden Markov Models for Information Extraction (margin sampling).

    Args:
        log_probs: [N, A] of the masked distribution.

    Returns:
        [N] in [0, 1]; 0 where a single action is possible.

    Raises:
        ShapeError: if there are not at least two actions.
    """
    if log_probs.ndim != 2 or log_probs.shape[1] < 2:
        raise ShapeError(f"`log_probs` must be [N, A] of at least 2 actions, got {log_probs.shape}")
    best = np.partition(np.exp(log_probs.astype(np.float64)), log_probs.shape[1] - 2, axis=1)[:, -2:]
    uncertainty: NDArray[np.float64] = np.clip(1.0 - (best[:, 1] - best[:, 0]), 0.0, 1.0)
    return uncertainty


def disagreement(log_probs: NDArray[np.float32], proposed: NDArray[np.int64]) -> NDArray[np.float64]:
    """Score states by whether the student would do something else than the script, then by its uncertainty.

        s = (1 + u) / 2 where argmax π ≠ proposed,   u / 2 elsewhere

    Source: SafeDAgger asks where the policy differs from a reference (Zhang & Cho 2017, arXiv:1605.06450); the
    reference here is the script, which answers for nothing.

    Args:
        log_probs: [N, A] of the student.
        proposed: [N]; of the script, -1 where it proposes nothing, which the student does not differ from.

    Returns:
        [N] in [0, 1].

    Raises:
        ShapeError: if the lengths differ, or there are not at least two actions.
    """
    if proposed.shape != log_probs.shape[:1]:
        raise ShapeError(f"`proposed` must be {log_probs.shape[:1]}, got {proposed.shape}")
    differs = (log_probs.argmax(axis=1) != proposed) & (proposed >= 0)
    scores: NDArray[np.float64] = (differs + margin_uncertainty(log_probs)) / 2.0
    return scores


def cells(encoded: NDArray[np.float32], *, grain: float) -> NDArray[np.str_]:
    """Return a digest of each state that near-duplicates share: those in the same cell of a grid.

    Args:
        encoded: [N, F]; observations in standard deviations.
        grain: length of a cell's side in standard deviations, above 0.

    Returns:
        [N]; 32 hexadecimal digits.
    """
    grid = np.ascontiguousarray(np.floor(encoded / np.float32(grain)).astype(np.int16))
    return np.array([hashlib.blake2b(row.tobytes(), digest_size=16).hexdigest() for row in grid], "U32")


def choose(
    scores: NDArray[np.float64],
    digests: NDArray[np.str_],
    episodes: NDArray[np.int64],
    *,
    count: int,
    most_per_episode: int,
    sharpness: float,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Choose different states, those of high scores more often.

        key = β log s + g,   g ~ Gumbel(0, 1);   the states of the highest keys are taken

    With β = 1 that draws without replacement in proportion to s; the larger β, the more the highest scores win. Source:
    Kirsch et al. 2023, Stochastic Batch Acquisition, arXiv:2106.12059 (power acquisition): the best `count` states by
    score alone resemble each other, since they are scored one by one.

    Args:
        scores: [N] in [0, 1].
        digests: [N]; at most one state of each is taken.
        episodes: [N]; number of the episode of each state.
        count: states to choose.
        most_per_episode: of them; where that leaves fewer than `count`, the others may be of any episode.
        sharpness: β, at least 0.
        rng: of g.

    Returns:
        The rows that were chosen, ascending; fewer than `count` where there are not so many digests.

    Raises:
        ShapeError: if the lengths differ.
    """
    if not len(scores) == len(digests) == len(episodes):
        raise ShapeError(
            f"`scores`, `digests` and `episodes` must be of the same length, got {len(scores)}, {len(digests)}, "
            f"{len(episodes)}"
        )
    keys = sharpness * np.log(np.maximum(scores, _LEAST)) + rng.gumbel(size=len(scores))
    order = np.argsort(-keys, kind="stable")
    # The first of each digest in the order of the keys.
    first = np.sort(np.unique(digests[order], return_index=True)[1])
    order = order[first]
    within = _rank_within(episodes[order]) < most_per_episode
    chosen = np.concatenate([order[within], order[~within]])[:count]
    return np.sort(chosen)


def _rank_within(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """[N]; how many elements of the same group come before each."""
    order = np.argsort(groups, kind="stable")
    begins = np.flatnonzero(np.diff(groups[order], prepend=groups[order][:1] - 1))
    ranks = np.empty(len(groups), np.int64)
    ranks[order] = np.arange(len(groups)) - np.repeat(begins, np.diff(np.append(begins, len(groups))))
    return ranks
