"""The settings of a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from townlet_training.settings import check_settings

Activation = Literal["tanh", "relu"]
Statistics = Literal["frozen", "none"]
"""`frozen`: fitted once, before anything is learned; `none`: 0 and 1."""
Units = Annotated[int, Field(ge=1, le=2**16)]
"""Units of one layer; two layers of the most have 2**32 weights between them."""


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Size and activation of both trunks, normalization of their input, and scale of the value head."""

    hidden_sizes: Annotated[tuple[Units, ...], Field(min_length=1, max_length=64)] = (128, 128)
    """Units of each hidden layer, first to last."""
    activation: Activation = "tanh"
    normalize_observations: Statistics = "frozen"
    """`frozen`: to mean 0 and deviation 1, clipped to ±10."""
    value_scale: Statistics = "frozen"
    """`frozen`: the value head works in units of the typical return."""

    def __post_init__(self) -> None:
        check_settings(self)
