"""The decision columns of one step as what they mean: names in the place of codes, None where a record lacks them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from townlet_trajectory.audit.explanation import Decider, OptionInForce, StepNames
from townlet_trajectory.data.actions import Box, MultiDiscrete
from townlet_trajectory.data.schema import REWARD_TERM, Array, Kind, Source

_BY_SOURCE = {
    int(Source.SCRIPTED): Decider.SCRIPT,
    int(Source.LEARNED): Decider.POLICY,
    int(Source.EXTERNAL): Decider.OUTSIDE,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class StepRow:
    """One row of decision columns, any of which may be missing."""

    names: StepNames
    columns: Mapping[str, Array]
    """Each of one row."""
    tick: int
    option_since: int | None = None
    """Tick of the choice that began the option in force; None: not known."""
    option_proposer: int | None = None
    """Code of who proposed that choice; None: not known."""
    first_tick: int | None = None
    """Of the agent's trajectory; None: not known."""

    def number(self, name: str) -> int | None:
        """An integer column."""
        return int(self.columns[name]) if name in self.columns else None

    def real(self, name: str) -> float | None:
        """A float column; None where it is not finite as well."""
        value = float(self.columns[name]) if name in self.columns else math.nan
        return value if math.isfinite(value) else None

    def flag(self, name: str) -> bool:
        """A bool column; false where it is missing."""
        return name in self.columns and bool(self.columns[name])

    def probability(self, name: str) -> float | None:
        """The exponential of a column of log-probabilities; None of numbers, which have densities."""
        log_prob = self.real(name)
        return None if log_prob is None or isinstance(self.names.actions, Box) else math.exp(log_prob)

    def code(self, name: str, codes: type[IntEnum]) -> str | None:
        """The name of a code in small letters; `code 7` where it means nothing."""
        number = self.number(name)
        if number is None:
            return None
        return codes(number).name.lower() if number in [*codes] else f"code {number}"

    def action(self, name: str) -> str | None:
        """The action of a column in words; None where there is none: -1, or numbers that nobody proposed."""
        if (value := self.columns.get(name)) is None:
            return None
        actions = self.names.actions
        if actions is None:
            return None if value.shape or int(value) < 0 else key_of(self.names, int(value))
        if value.shape != (len(actions.names),):
            return None
        if isinstance(actions, MultiDiscrete):
            return None if np.any(value.astype(np.int64) < 0) else text_of_parts(actions, value)
        unproposed = name == "expert_action" and self.number("proposer") == -1
        return None if unproposed else text_of_numbers(actions, value)

    @property
    def executed(self) -> str:
        """The executed action: its key, or its numbers where the record does not say what they mean."""
        key = self.action("action")
        if key is None and "action" in self.columns:
            return np.array2string(np.asarray(self.columns["action"]), precision=4, separator=", ")
        return "an action that the record lacks" if key is None else key

    @property
    def proposed_nothing(self) -> bool:
        """Whether the record says that the script's side proposed no action."""
        return "expert_action" in self.columns and self.action("expert_action") is None

    @property
    def is_drawn(self) -> bool:
        """Whether the recorded probabilities are those of the choice."""
        return self.number("kind") == Kind.DECISION

    @property
    def proposer(self) -> str | None:
        """Who proposed on the script's side."""
        return self._proposer_of(self.number("proposer"))

    def _proposer_of(self, code: int | None) -> str | None:
        if code is None or code < 0:
            return None
        names = self.names.proposers
        return names[code] if code < len(names) else f"proposer {code}"

    @property
    def option(self) -> OptionInForce | None:
        """The option in force."""
        held = self.action("held_action")
        if held is None:
            return None
        scripted = self.number("source") == Source.SCRIPTED
        return OptionInForce(
            action=held,
            ticks_left=self.number("ticks_left") or 0,
            since=self.option_since,
            proposer=self._proposer_of(self.option_proposer) if scripted else None,
        )

    @property
    def veto_reason(self) -> str | None:
        """Name of the reason; None without a veto."""
        if not self.flag("vetoed"):
            return None
        code, names = self.number("veto_reason") or 0, self.names.veto_reasons
        return names[code - 1] if 1 <= code <= len(names) else f"reason {code}"

    @property
    def decider(self) -> Decider:
        """Who or which rule made the choice."""
        source = self.number("source")
        if self.flag("possessed"):
            return Decider.POSSESSOR
        if source is None:
            return Decider.UNKNOWN
        if self.option is not None:
            return Decider.COMMITMENT
        if self.number("kind") == Kind.FORCED:
            return Decider.ONLY_ACTION
        return _BY_SOURCE.get(source, Decider.UNKNOWN)

    @property
    def reward_terms(self) -> dict[str, float]:
        """Named parts of the reward; empty before they are known."""
        terms = {term: REWARD_TERM + term for term in self.names.reward_terms}
        return {term: float(self.columns[name]) for term, name in terms.items() if name in self.columns}


def text_of_parts(actions: MultiDiscrete, action: Array) -> str:
    """An action [K] as `move=north, hand=open`."""
    parts = zip(actions.parts.items(), action.tolist(), strict=True)
    return ", ".join(f"{part}={keys[at] if at < len(keys) else f'value {at}'}" for (part, keys), at in parts)


def text_of_numbers(actions: Box, action: Array) -> str:
    """An action [K] as `steer=0.25, throttle=1.5`."""
    return ", ".join(f"{name}={number:.4g}" for name, number in zip(actions.names, action.tolist(), strict=True))


def key_of(names: StepNames, index: int) -> str:
    """The key of an action, or of a value of a part."""
    choices = names.choices
    return choices[index] if index < len(choices) else f"action {index}"
