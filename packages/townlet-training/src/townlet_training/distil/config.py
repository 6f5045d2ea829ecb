"""The settings of a distillation: how many questions, about which states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from townlet_training.settings import Count, NotNegative, Positive, Share, check_settings
from townlet_trajectory.evaluation.results import Strategy


@dataclass(frozen=True, kw_only=True)
class DistilConfig:
    """Questions of the rounds, and of the held-out episodes that the student is judged in.

    Examples:
        >>> from townlet_training import DistilConfig
        >>> DistilConfig(num_rounds=4, labels_per_round=100).num_labels
        400
    """

    num_rounds: Count = 10
    labels_per_round: Annotated[int, Field(ge=1, le=10**7)] = 100
    """Questions of a round; fewer where so many different states were not met."""
    strategy: Strategy = "uncertain"
    """`uncertain`: more often where the student's two best actions are close; `disagree`: where the student and the
    script differ, then as `uncertain`; `uniform`: any decision."""
    round_ticks: Annotated[int, Field(ge=1, le=10**6)] = 256
    """Ticks of every world in a round."""
    sharpness: Positive = 4.0
    """β of the choice of states: a state of score s is taken like the greatest of s^β times a random number. 0 would
    be uniform, ∞ the highest scores alone."""
    most_per_episode: Share = 0.1
    """Share of a round's questions that may be about one episode of one world; where that leaves too few, more."""
    grain: Positive = 0.5
    """Standard deviations of an observation that count as the same: near-duplicates are asked about once."""
    num_steps: Count = 1000
    """Least number of gradient steps of a fit; few labels are passed over more often."""
    input_noise: NotNegative = 0.5
    """As `BCConfig.input_noise`."""
    held_out_episodes: Annotated[int, Field(ge=2, le=2**20)] = 16
    states_per_episode: Annotated[int, Field(ge=1, le=10**6)] = 64
    """States of a held-out episode, of each kind of play, that the teacher is asked about twice."""

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def num_labels(self) -> int:
        """Questions of all rounds, at most."""
        return self.num_rounds * self.labels_per_round
