"""Draws of actions from the outputs of a policy, and how likely they are: pure functions of arrays.

The outputs ("parameters") of N agents are one array [N, P]: log-probabilities of the actions of a vocabulary, P = A; of
the values of all parts side by side, each part normalised, P = sum A_k; or K means and then K logarithms of standard
deviations, P = 2K. The distributions of numbers within bounds [low, high] are

    clipped    a ~ N(mean, dev²); the world gets clip(a, low, high), recorded and scored is a itself
    squashed   z ~ N(mean, dev²), a = low + (high - low) (tanh z + 1) / 2
    uniform    a ~ U(low, high), whatever the parameters say: the baseline `random`

(Fujita & Maeda 2018, "Clipped action policy gradient"; Haarnoja et al. 2018, "Soft actor-critic", appendix C.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

import townlet_trajectory
from townlet_behavior import Box, Purpose, uniforms
from townlet_behavior.blend import tempered_log_probs

Distribution = Literal["clipped", "squashed", "uniform"]
"""Of numbers within bounds."""
AnyBox: TypeAlias = Box | townlet_trajectory.Box
_EDGE = 1.0 - 1e-6
"""Squashed numbers are moved so far inside their bounds: at 1, which tanh reaches in float32, atanh has no end."""
_HALF_LOG_TAU = 0.5 * math.log(2.0 * math.pi)


def sample_actions(
    log_probs: NDArray[np.float32],
    uniforms: NDArray[np.float64],
    temperatures: NDArray[np.float32] | None = None,
) -> NDArray[np.int64]:
    """Draw one action a row by the inverse of its distribution function.

        a = min {a : Σ_{b ≤ a} π(b) > u Σ_b π(b)}

    An action of probability 0 (masked: log-probability finfo.min) is never drawn. A row that is no distribution (NaN,
    or no action possible) gives A, which is no action: the bridge refuses it by agent and tick.

    Args:
        log_probs: [N, A]; need not be normalized.
        uniforms: [N] in [0, 1).
        temperatures: τ > 0 of each row [N], which is drawn from π_τ ∝ π^(1/τ); None: 1.

    Returns:
        [N] action indices.
    """
    # The ufuncs themselves: at ten agents the methods that wrap them cost as much as the work.
    cumulative = np.exp(log_probs, dtype=np.float64)
    if temperatures is not None:
        # Rows at temperature 1 keep their bits, whoever is beside them.
        rows = np.flatnonzero(temperatures != 1.0)
        with np.errstate(invalid="ignore"):
            cumulative[rows] = np.exp(tempered_log_probs(log_probs[rows], temperatures[rows]))
    np.add.accumulate(cumulative, axis=1, out=cumulative)
    # u < 1, so u times the total stays below the total, whatever the rounding, and the index below A.
    thresholds = uniforms * cumulative[:, -1]
    beyond = cumulative > thresholds[:, None]
    drawn: NDArray[np.int64] = beyond.argmax(axis=1)
    is_distribution = beyond[:, -1]
    if np.count_nonzero(is_distribution) < len(drawn):
        drawn[~is_distribution] = log_probs.shape[1]
    return drawn


def greedy_actions(log_probs: NDArray[np.float32]) -> NDArray[np.int64]:
    """Take the most probable action of each row [N, A]; the lowest index among equals.

    A row that is no distribution (NaN, or no action possible) gives A, as in `sample_actions`.
    """
    best: NDArray[np.int64] = log_probs.argmax(axis=1)  # of a row with NaN: the place of the first NaN
    probability = np.exp(log_probs[np.arange(len(best)), best], dtype=np.float64)
    best[~((probability > 0.0) & (probability < np.inf))] = log_probs.shape[1]
    return best


def sample_parts(
    log_probs: NDArray[np.float32],
    uniforms: NDArray[np.float64],
    temperatures: NDArray[np.float32] | None = None,
    *,
    sizes: Sequence[int],
) -> NDArray[np.int64]:
    """Draw an index for each part of a row, as `sample_actions` does: the parts are independent.

    Args:
        log_probs: [N, sum A_k], those of all parts side by side.
        uniforms: [N, K] in [0, 1).
        temperatures: τ > 0 of each row [N], for all its parts; None: 1.
        sizes: A_k of the K parts.

    Returns:
        [N, K] indices; A_k where the part of a row is no distribution.
    """
    parts = _parts(log_probs, sizes)
    return np.stack([sample_actions(part, uniforms[:, k], temperatures) for k, part in enumerate(parts)], axis=1)


def greedy_parts(log_probs: NDArray[np.float32], *, sizes: Sequence[int]) -> NDArray[np.int64]:
    """Take the most probable index of each part, as `greedy_actions` does.

    Args:
        log_probs: [N, sum A_k].
        sizes: A_k of the K parts.

    Returns:
        [N, K]; together the most probable action, because the parts are independent.
    """
    return np.stack([greedy_actions(part) for part in _parts(log_probs, sizes)], axis=1)


def _parts(log_probs: NDArray[np.float32], sizes: Sequence[int]) -> list[NDArray[np.float32]]:
    return np.split(log_probs, np.cumsum(sizes)[:-1], axis=1)


def sample_numbers(
    params: NDArray[np.float32], uniforms: NDArray[np.float64], *, box: AnyBox, distribution: Distribution
) -> NDArray[np.float32]:
    """Draw the numbers of each row; normal ones by the transform of Box & Muller (1958).

        z = mean + dev √(-2 log(1 - u₁)) cos(2π u₂)

    Args:
        params: [N, 2K]; K means, then K logarithms of deviations. Of squashed numbers: before they are squashed.
        uniforms: [N, K, 2] in [0, 1); u₁ and u₂ of each number.
        box: bounds of the K numbers.
        distribution: see the module; `clipped` numbers are drawn beyond the bounds too.

    Returns:
        [N, K]; NaN or infinite where the parameters are, which the bridge refuses by agent and tick.
    """
    low, high = _bounds(box)
    first, second = uniforms[..., 0], uniforms[..., 1]
    if distribution == "uniform":
        return _inside(low + (high - low) * first, box)
    mean, log_dev = _halves(params)
    with np.errstate(over="ignore", invalid="ignore"):
        drawn = mean + np.exp(log_dev) * np.sqrt(-2.0 * np.log1p(-first)) * np.cos(2.0 * np.pi * second)
        return _squashed(drawn, box) if distribution == "squashed" else drawn.astype(np.float32)


def greedy_numbers(params: NDArray[np.float32], *, box: AnyBox, distribution: Distribution) -> NDArray[np.float32]:
    """Take the mean of each number, clipped or squashed into its bounds.

    Args:
        params: [N, 2K], as of `sample_numbers`.
        box: bounds of the K numbers.
        distribution: see the module.

    Returns:
        [N, K].
    """
    mean, _ = _halves(params)
    return _squashed(mean, box) if distribution == "squashed" else _inside(mean, box)


def log_prob_of_numbers(
    params: NDArray[np.float32], actions: NDArray[np.float32], *, box: AnyBox, distribution: Distribution
) -> NDArray[np.float32]:
    """Log-density of recorded numbers, in float64 until it is returned.

        clipped    log π(a) = Σ_k log N(a; mean, dev²)
        squashed   u = clip(2 (a - low) / (high - low) - 1, ±(1 - 1e-6)),  z = atanh u
                   log π(a) = Σ_k log N(z; mean, dev²) - log(1 - u²) - log((high - low) / 2)
        uniform    log π(a) = -Σ_k log(high - low)

    Args:
        params: [N, 2K], as of `sample_numbers`.
        actions: [N, K], as they are recorded: what is computed again from the record is the same.
        box: bounds of the K numbers.
        distribution: see the module.

    Returns:
        [N].
    """
    low, high = _bounds(box)
    if distribution == "uniform":
        return np.full(len(actions), -np.log(high - low).sum(), np.float32)
    mean, log_dev = _halves(params)
    numbers: NDArray[np.float64] = actions.astype(np.float64)
    stretch: NDArray[np.float64] | float = 0.0
    if distribution == "squashed":
        inside = np.clip(2.0 * (numbers - low) / (high - low) - 1.0, -_EDGE, _EDGE)
        numbers, stretch = np.arctanh(inside), np.log1p(-inside * inside) + np.log((high - low) / 2.0)
    with np.errstate(over="ignore", invalid="ignore"):
        scores = -0.5 * ((numbers - mean) * np.exp(-log_dev)) ** 2 - log_dev - _HALF_LOG_TAU - stretch
        total: NDArray[np.float32] = np.add.reduce(scores, axis=1).astype(np.float32)
    return total


def uniforms_of_parts(count: int, *, seed: int, keys: NDArray[np.uint64], tick: int) -> NDArray[np.float64]:
    """Draw one uniform number for each of `count` parts of each agent, [N, K].

    Args:
        count: K.
        seed: of the run.
        keys: [N], of the agents.
        tick: the global tick.
    """
    return np.stack([uniforms(seed, Purpose.PARTS + k, keys, tick) for k in range(count)], axis=1)


def uniforms_of_numbers(count: int, *, seed: int, keys: NDArray[np.uint64], tick: int) -> NDArray[np.float64]:
    """Draw two uniform numbers for each of `count` numbers of each agent, [N, K, 2].

    Args:
        count: K.
        seed: of the run.
        keys: [N], of the agents.
        tick: the global tick.
    """
    drawn = [uniforms(seed, Purpose.NUMBERS + index, keys, tick) for index in range(2 * count)]
    return np.stack(drawn, axis=1).reshape(len(keys), count, 2)


def _bounds(box: AnyBox) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.array(box.low), np.array(box.high)


def _halves(params: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means and logarithms of deviations, each [N, K]."""
    count = params.shape[1] // 2
    wide: NDArray[np.float64] = params.astype(np.float64)
    return wide[:, :count], wide[:, count:]


def _squashed(numbers: NDArray[np.float64], box: AnyBox) -> NDArray[np.float32]:
    low, high = _bounds(box)
    return _inside(low + (high - low) * (np.tanh(numbers) + 1.0) / 2.0, box)


def _inside(numbers: NDArray[np.float64], box: AnyBox) -> NDArray[np.float32]:
    """As float32, which may round beyond a bound."""
    low, high = np.array(box.low, np.float32), np.array(box.high, np.float32)
    clipped: NDArray[np.float32] = np.clip(numbers.astype(np.float32), low, high)
    return clipped
