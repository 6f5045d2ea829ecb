"""Counts of decisions by source, kept beside the decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .decisions import DecisionBatch, Kind, Source
from .saving import SavedState, check_array, check_names

_ONE = np.int8(1)
_ROWS_AT_ONCE = 8192


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Agent-ticks since counting began. `decisions` (all sources) + `forced` + `foreign` = all of them."""

    decisions: Mapping[str, int]
    """Steps of kind DECISION by source; the ratio is the share of `learned` in these."""
    ticks: Mapping[str, int]
    """All steps by source: a long commitment counts for the source that began it, tick by tick."""
    vetoes: Mapping[str, int]
    """By reason."""
    forced: int
    foreign: int
    policy_errors: int
    """Agent-ticks at which the script stood in for unusable output of the policy."""
    proposals: Mapping[str, int]
    """Agent-ticks by who proposed beside the policy, whoever decided in the end."""


class TallyCounter:
    """Adds up batches of decisions."""

    def __init__(self, veto_reasons: tuple[str, ...], proposers: tuple[str, ...]) -> None:
        self._veto_reasons = veto_reasons
        self._proposers = proposers
        self.clear()

    def clear(self) -> None:
        """Start from zero."""
        self._waiting: list[tuple[NDArray[np.int8], ...]] = []
        """Codes of steps, and proposers, of ticks that are not counted yet."""
        self._num_waiting = 0
        self._steps: NDArray[np.int64] = np.zeros(len(Kind) * len(Source), np.int64)
        self._vetoes: NDArray[np.int64] = np.zeros(1 + len(self._veto_reasons), np.int64)
        self._others: NDArray[np.int64] = np.zeros(1 + len(self._proposers), np.int64)
        """Of ticks at which not all proposals were the first proposer's: nobody's, and those of each."""
        self._policy_errors = 0

    def add(self, decisions: DecisionBatch) -> None:
        """Count a tick."""
        # Columns of decisions never change, and several ticks of few agents are counted at the price of one.
        self._waiting.append((decisions.kind, decisions.source, decisions.proposer))
        self._num_waiting += len(decisions)
        if self._num_waiting >= _ROWS_AT_ONCE:
            self._count()
        if np.count_nonzero(decisions.vetoed):
            self._vetoes += np.bincount(decisions.veto_reason, minlength=len(self._vetoes))

    def _count(self) -> None:
        if not self._waiting:
            return
        waiting, self._waiting, self._num_waiting = self._waiting, [], 0
        kind, source, proposer = (np.concatenate(columns) for columns in zip(*waiting, strict=True))
        self._steps += np.bincount(kind * np.int8(len(Source)) + source, minlength=len(self._steps))
        # The first proposer, usually the only one, has what is left of all steps.
        if np.count_nonzero(proposer):
            self._others += np.bincount(proposer + _ONE, minlength=len(self._others))

    def add_policy_errors(self, count: int) -> None:
        """Count agents for which the script stood in."""
        self._policy_errors += count

    def save_state(self) -> SavedState:
        """The counts so far."""
        self._count()
        return {
            "steps": self._steps.copy(),
            "vetoes": self._vetoes.copy(),
            "policy_errors": np.array(self._policy_errors, np.int64),
            "proposals": self._others.copy(),
        }

    def check_state(self, state: SavedState) -> None:
        """Check that `restore` can use a state.

        Raises:
            StateError: if the state is not of counts, or was saved with other guardrails or proposers.
        """
        like = self.save_state()
        check_names(state, like, of="the counts")
        for name in like:
            check_array(state, name, like=like[name], low=0, high=2**62)

    def restore(self, state: SavedState) -> None:
        """Replace the counts by saved ones, which have passed `check_state`."""
        self.clear()
        self._steps, self._vetoes = state["steps"].copy(), state["vetoes"].copy()
        self._policy_errors = int(state["policy_errors"])
        self._others = state["proposals"].copy()

    def tally(self) -> Tally:
        """The counts so far."""
        self._count()
        steps = self._steps.reshape(len(Kind), len(Source))
        sources = [source.name.lower() for source in Source]
        silent, _, *others = self._others.tolist()
        proposals = [int(steps.sum()) - silent - sum(others), *others]
        return Tally(
            decisions=dict(zip(sources, steps[Kind.DECISION].tolist(), strict=True)),
            ticks=dict(zip(sources, steps.sum(axis=0).tolist(), strict=True)),
            vetoes=dict(zip(self._veto_reasons, self._vetoes[1:].tolist(), strict=True)),
            forced=int(steps[Kind.FORCED].sum()),
            foreign=int(steps[Kind.FOREIGN].sum()),
            policy_errors=self._policy_errors,
            proposals=dict(zip(self._proposers, proposals, strict=True)),
        )
