"""Statistics that normalize observations, of all rows so far if asked, and the unit of the values.

    n = n₁ + n₂        m = (n₁ m₁ + n₂ m₂) / n        v = (n₁ v₁ + n₂ v₂) / n + n₁ n₂ (m₂ - m₁)² / n²

(Chan, Golub & LeVeque 1979). Pixels of a channel have one mean and variance, so that a convolution sees the same thing
in every place; so has a feature of all things of a table, over those that are there (absent ones are rows of zeros):

    w = Σ_e mean of mask_e        m = Σ_e m_e / w        v = Σ_e (v_e + m_e²) / w - m²
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from townlet_training.errors import ConfigError, EmptyBatchError
from townlet_training.network.blocks import num_inputs_of
from townlet_training.network.encoders import MASK_SUFFIX
from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.data.statistics import Moments

if TYPE_CHECKING:
    from townlet_training.network.config import EncoderKind, NetworkConfig

Numbers = NDArray[np.float64]

CLIP = 10.0
"""Normalized observations are clipped to ±10."""
_CONSTANT_STD = 1e-6


class Spread(NamedTuple):
    """Mean and variance of every input over some rows."""

    rows: int
    mean: Numbers
    """[F]."""
    variance: Numbers
    """[F]."""

    @classmethod
    def of_nothing(cls, num_inputs: int) -> Spread:
        """Make that of no rows: what changes nothing when it is merged."""
        return cls(0, np.zeros(num_inputs), np.zeros(num_inputs))

    def merged(self, other: Spread) -> Spread:
        """Return those of both sets of rows together."""
        rows = self.rows + other.rows
        if not (self.rows and other.rows):
            return self if self.rows else other
        own, share = self.rows / rows, other.rows / rows
        apart = other.mean - self.mean
        return Spread(
            rows,
            own * self.mean + share * other.mean,
            own * self.variance + share * other.variance + own * share * np.square(apart),
        )


def pooled(
    mean: Numbers,
    variance: Numbers,
    *,
    shapes: Mapping[str, tuple[int, ...]],
    kinds: Mapping[str, EncoderKind],
) -> tuple[Numbers, Numbers]:
    """Give the places of an image or a table one mean and variance; a mask is left as it is (0 and 1).

    Args:
        mean: [F] of the observations side by side.
        variance: [F].
        shapes: of the observations, in the order of their columns.
        kinds: of those that are not flat.

    Returns:
        Mean and variance [F]; of what is in no row, 0 and 1.
    """
    mean, variance = mean.copy(), variance.copy()
    columns, start = dict[str, slice](), 0
    for name, shape in shapes.items():
        columns[name] = slice(start, start + math.prod(shape))
        start += math.prod(shape)
    for name, kind in kinds.items():
        shape, own = shapes[name], columns[name]
        means, variances = mean[own].reshape(shape), variance[own].reshape(shape)
        axes: tuple[int, ...] = (1, 2)
        weight = float(math.prod(shape[1:]))
        if kind == "attention":
            present = columns[name + MASK_SUFFIX]
            axes, weight = (0,), float(mean[present].sum())
            mean[present], variance[present] = 0.0, 1.0
        if not weight:
            mean[own], variance[own] = 0.0, 1.0
            continue
        center = means.sum(axis=axes, keepdims=True) / weight
        spread = (variances + np.square(means)).sum(axis=axes, keepdims=True) / weight - np.square(center)
        mean[own] = np.broadcast_to(center, shape).reshape(-1)
        variance[own] = np.broadcast_to(np.maximum(spread, 0.0), shape).reshape(-1)
    return mean, variance


class Normalized(nn.Module):
    """A network's statistics of observations and returns, in its buffers.

    Attributes:
        config: of the network.
        input_shapes: of all inputs, by name, in the order of their columns; those of the critic alone come last.
        kinds: encoders of the inputs that are not flat.
        keeps_statistics: whether normalization and value scale are not fitted again, since the weights were trained
            with them; those of inputs that no weight reads are.
    """

    observation_mean: Tensor
    observation_std: Tensor
    value_scale: Tensor
    running_mean: Tensor
    running_variance: Tensor
    running_count: Tensor
    value_count: Tensor

    def __init__(
        self, config: NetworkConfig, input_shapes: Mapping[str, tuple[int, ...]], kinds: Mapping[str, EncoderKind]
    ) -> None:
        super().__init__()
        self.config = config
        self.input_shapes = dict(input_shapes)
        self.kinds = dict(kinds)
        self.keeps_statistics = False

    @abstractmethod
    def unread(self) -> Tensor:
        """Return which inputs [F] bool were added, and have no weight but 0."""

    @abstractmethod
    def rescale_values(self, factor: float) -> None:
        """Multiply the output of the value head by `factor`."""

    def add_buffers(self) -> None:
        """Register them: means 0, deviations 1, no rows."""
        num_features = num_inputs_of(self.input_shapes)
        self.register_buffer("observation_mean", torch.zeros(num_features))
        self.register_buffer("observation_std", torch.ones(num_features))
        self.register_buffer("value_scale", torch.ones(()))
        if self.config.normalize_observations == "running":
            self.register_buffer("running_mean", torch.zeros(num_features))
            self.register_buffer("running_variance", torch.ones(num_features))
            self.register_buffer("running_count", torch.zeros((), dtype=torch.int64))
        if self.config.value_scale == "running":
            self.register_buffer("value_count", torch.zeros((), dtype=torch.int64))

    def fit_normalizer(self, batch: TrajectoryBatch) -> None:
        """Set the mean and standard deviation of every input to those of the rows of `batch`.

        Raises:
            EmptyBatchError: if there is no row.
        """
        if not batch.num_steps:
            raise EmptyBatchError("the statistics of observations need at least one row")
        self._set_normalizer(*self._moments(batch), num_rows=batch.num_steps)

    def set_moments(self, moments: Mapping[str, Moments]) -> None:
        """Set the mean and standard deviation of every input to those of `moments`, by its name."""
        found = [moments[name] for name in self.input_shapes]
        self._set_normalizer(
            np.concatenate([each.mean.reshape(-1) for each in found]),
            np.concatenate([each.std.reshape(-1) for each in found]),
            num_rows=found[0].count,
        )

    def update_statistics(self, batch: TrajectoryBatch, *, return_scale: float) -> None:
        """Renew the statistics that are `running` by the rows of `batch`; nothing else changes.

        A new unit of the values rescales the value head, so that values stay what they were (PopArt, van Hasselt et al.
        2016, arXiv:1602.07714, without its shift):

            scale² = (n₁ scale₁² + n₂ scale₂²) / (n₁ + n₂)        w ← w scale₁ / scale,   b ← b scale₁ / scale

        Args:
            batch: rows that came since; after the update that learned from them.
            return_scale: root mean square of their returns, in reward units.

        Raises:
            ConfigError: if the scale is not finite and above 0 as a float32.
        """
        if not batch.num_steps:
            return
        if self.config.normalize_observations == "running":
            mean, std = self._moments(batch)
            self._run_on(Spread(batch.num_steps, mean, np.square(std)))
        if self.config.value_scale == "running":
            before, count = float(self.value_scale), int(self.value_count)
            total = count + batch.num_steps
            self.set_value_scale(math.sqrt((count * before**2 + batch.num_steps * return_scale**2) / total))
            with torch.no_grad():
                self.value_count.fill_(total)
                if count:
                    self.rescale_values(before / float(self.value_scale))

    def _run_on(self, rows: Spread) -> None:
        """Take more rows into the running statistics of observations."""
        running = Spread(
            int(self.running_count),
            self.running_mean.double().cpu().numpy(),
            self.running_variance.double().cpu().numpy(),
        ).merged(rows)
        with torch.no_grad():
            self.running_count.fill_(running.rows)
            self.running_mean.copy_(torch.from_numpy(running.mean))
            self.running_variance.copy_(torch.from_numpy(running.variance))
        self._normalize_by(running.mean, np.sqrt(running.variance), torch.full((len(running.mean),), True))

    def _moments(self, batch: TrajectoryBatch) -> tuple[Numbers, Numbers]:
        """Mean and standard deviation of every input [F] over the rows of `batch`."""
        columns = [
            np.asarray(batch.observations[name], np.float32).reshape(batch.num_steps, math.prod(shape))
            for name, shape in self.input_shapes.items()
        ]
        mean = np.concatenate([column.mean(axis=0, dtype=np.float64) for column in columns])
        std = np.concatenate([column.std(axis=0, dtype=np.float64) for column in columns])
        return mean, std

    def _set_normalizer(self, mean: Numbers, std: Numbers, *, num_rows: int) -> None:
        """Set `mean` and standard deviation `std` [F] of all inputs over `num_rows` rows; running ones begin so."""
        fitted = self.unread() if self.keeps_statistics else torch.full((len(mean),), True)
        if self.config.normalize_observations == "running":
            with torch.no_grad():
                self.running_mean[fitted] = torch.from_numpy(mean).float()[fitted]
                self.running_variance[fitted] = torch.from_numpy(np.square(std)).float()[fitted]
                if not self.keeps_statistics:
                    self.running_count.fill_(num_rows)
            self._run_on(Spread.of_nothing(len(mean)))
        else:
            self._normalize_by(mean, std, fitted)

    def _normalize_by(self, mean: Numbers, std: Numbers, fitted: Tensor) -> None:
        """Set the mean and standard deviation [F] that the inputs `fitted` [F] are normalized by.

        A feature that never varies has standard deviation 1: it is shifted to 0 and stays on its scale, should it
        begin to vary.
        """
        if self.kinds:
            mean, variance = pooled(mean, np.square(std), shapes=self.input_shapes, kinds=self.kinds)
            std = np.sqrt(variance)
        std = np.where(std < _CONSTANT_STD, 1.0, std)
        with torch.no_grad():
            self.observation_mean[fitted] = torch.from_numpy(mean).float()[fitted]
            self.observation_std[fitted] = torch.from_numpy(std).float()[fitted]

    @property
    def has_running_statistics(self) -> bool:
        """Whether `update_statistics` changes anything."""
        return "running" in (self.config.normalize_observations, self.config.value_scale)

    def fit_value_scale(self, scale: float, *, num_rows: int) -> None:
        """Set the unit of the value head to `scale` reward units, found in `num_rows` rows; values change with it.

        Raises:
            ConfigError: if `scale` is not finite and above 0 as a float32.
        """
        self.set_value_scale(scale)
        if self.config.value_scale == "running":
            self.value_count.fill_(num_rows)

    def set_value_scale(self, scale: float) -> None:
        """Set the frozen unit of the value head to `scale` reward units; values change by the same factor.

        Raises:
            ConfigError: if `scale` is not finite and above 0 as a float32.
        """
        with np.errstate(over="ignore"):
            narrow = np.float32(scale)
        if not 0.0 < narrow < math.inf:
            raise ConfigError(f"`scale` must be finite and above 0 as a float32, got {scale!r}")
        with torch.no_grad():
            self.value_scale.fill_(scale)
