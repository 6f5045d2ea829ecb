"""What the small integers in a record of decisions mean; their names in JSON are the lower-case ones."""

from __future__ import annotations

from enum import IntEnum


class Kind(IntEnum):
    """How a step came about; the column the learner reads."""

    DECISION = 0
    """The blend drew freely, with probabilities known: the policy loss is over these."""
    FORCED = 1
    """A commitment was in force."""
    FOREIGN = 2
    """Possessed, or the policy had no say, or its probabilities do not describe the choice."""


class Source(IntEnum):
    """Who made the choice that is carried out, now or when the commitment began; the column people read."""

    SCRIPTED = 0
    LEARNED = 1
    EXTERNAL = 2
