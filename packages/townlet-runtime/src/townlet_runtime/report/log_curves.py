"""The numbers of a training log that are drawn against its epochs; without matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LogCurve:
    """Loss and KL divergence of the lines of one kind."""

    name: str
    """Of the kind, such as `rollout`, or `foxes, rollout` of an agent group; shown where there are several."""
    epochs: Sequence[float]
    loss: Sequence[float | None]
    """None where the log says null, as in `kl`."""
    kl: Sequence[float | None]
