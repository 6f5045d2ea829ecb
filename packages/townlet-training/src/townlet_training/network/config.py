"""The settings of a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from townlet_training.errors import ConfigError
from townlet_training.settings import Positive, check_settings

Activation = Literal["tanh", "relu"]
Statistics = Literal["frozen", "running", "none"]
"""`frozen`: fitted once, before anything is learned; `running`: of all rows so far, renewed after each cycle; `none`: 0
and 1."""
Initialization = Literal["orthogonal", "uniform"]
"""`orthogonal`: biases 0, Saxe et al. 2014 (arXiv:1312.6120); `uniform`: U(±1/√inputs), as torch's own layers begin."""
MemoryKind = Literal["none", "frames", "gru"]
EncoderKind = Literal["flat", "conv", "attention"]
"""`flat`: as it is; `conv`: of an image (C, H, W); `attention`: over the things of a table (E, F) with its mask."""
GaussianKind = Literal["clipped", "squashed"]

Units = Annotated[int, Field(ge=1, le=2**16)]
"""Units of one layer; two layers of the most have 2**32 weights between them."""
Layers = Annotated[tuple[Units, ...], Field(min_length=1, max_length=64)]

MIN_LOG_STD = -3.0
"""Logarithms of deviations stay above it, in units of half the range (of z, where squashed): a float32 forward pass is
good to 2e-7 or so, and a log-probability that is to be good to 1e-5 cannot have a smaller deviation."""
NUM_FRAMES, NUM_MEMORY_UNITS = 4, 128
"""Of a memory whose size is not stated."""


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Sizes of the network, what policy and critic share, how they remember and see, and how numbers are normalized.

    Examples:
        >>> from townlet_training import NetworkConfig
        >>> config = NetworkConfig(hidden_sizes=(64, 64), memory="gru", critic_hidden_sizes=(256, 256))
        >>> config.num_remembered, config.trunk
        (128, 'separate')
        >>> NetworkConfig(memory_size=8)
        Traceback (most recent call last):
        townlet_training.errors.ConfigError: `memory_size` is of a memory, got 8 with `memory` none
    """

    hidden_sizes: Layers = (128, 128)
    """Units of each hidden layer, first to last."""
    activation: Activation = "tanh"
    normalize_observations: Statistics = "frozen"
    """To mean 0 and deviation 1, clipped to ±10."""
    value_scale: Statistics = "frozen"
    """The value head works in units of the typical return."""
    memory: MemoryKind = "none"
    """`frames`: the last observations side by side; `gru`: a gated recurrent unit."""
    memory_size: Annotated[int, Field(ge=2, le=2**12)] | None = None
    """Of `frames` how many, the present one included (4 if not stated); of `gru` its units (128)."""
    encoders: Mapping[str, EncoderKind] = field(default_factory=dict)
    """By observation, where it is not to be read as its world describes it: images `conv`, entities `attention`."""
    trunk: Literal["separate", "shared"] = "separate"
    """`separate`: policy and critic share no weight; `shared`: encoders, memory and `hidden_sizes` are of both."""
    critic_hidden_sizes: Layers | None = None
    """Of the critic's own layers; None: `hidden_sizes` where trunks are separate, no layer where they are shared."""
    initialization: Initialization = "orthogonal"
    policy_head_gain: Positive = 0.01
    """Of the initial weights of the policy's head: small ones make the first policy uniform."""
    distribution: GaussianKind = "clipped"
    """Of numbers within bounds: clipped to them by the world, or squashed into them by tanh."""
    initial_log_std: Annotated[float, Field(gt=MIN_LOG_STD, le=2.0)] = 0.0
    """Logarithm of the initial deviation of each number, in units of half its range."""

    def __post_init__(self) -> None:
        check_settings(self)
        if self.memory == "none" and self.memory_size is not None:
            raise ConfigError(f"`memory_size` is of a memory, got {self.memory_size} with `memory` none")
        object.__setattr__(self, "encoders", dict(self.encoders))

    @property
    def num_remembered(self) -> int:
        """Frames, the present one included, or units of the memory; 0 without one."""
        stated = {"none": 0, "frames": NUM_FRAMES, "gru": NUM_MEMORY_UNITS}
        return stated[self.memory] if self.memory_size is None else self.memory_size
