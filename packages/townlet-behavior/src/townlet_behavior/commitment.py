"""Commitments: an action, once chosen, is held for a number of ticks that depends on its kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .decisions import Source, constants_of
from .errors import ConfigError
from .saving import SavedState, check_array, check_names
from .views import gather
from .vocabulary import ActionVocabulary

_ENDED = -(2**62)
"""`until` of a slot without a commitment: long ago, and far enough from the ends to subtract a tick from."""


@dataclass(frozen=True, kw_only=True)
class CommitmentConfig:
    """How long a choice binds.

    Raises:
        ConfigError: if a length is negative.
    """

    ticks: int | Mapping[str, int] = 0
    """A choice made at tick t is held until tick t + n, so 0 and 1 bind nothing. A number: n of every kind except that
    of the wait action, which never binds. A mapping: n by option kind, waiting included."""

    def __post_init__(self) -> None:
        lengths = {"all kinds": self.ticks} if isinstance(self.ticks, int) else self.ticks
        for kind, ticks in lengths.items():
            if ticks < 0:
                raise ConfigError(f"`ticks` must be at least 0, got {ticks} for {kind}")

    @property
    def binds(self) -> bool:
        """Whether any choice is held."""
        lengths = (self.ticks,) if isinstance(self.ticks, int) else self.ticks.values()
        return any(ticks > 1 for ticks in lengths)

    def lengths(self, vocabulary: ActionVocabulary) -> NDArray[np.int64]:
        """[A]; ticks by action. Where actions have no index, none.

        Raises:
            ConfigError: if a mapping lacks a kind of the vocabulary.
        """
        if not vocabulary:
            return np.empty(0, np.int64)
        if isinstance(self.ticks, int):
            wait = vocabulary.kinds[vocabulary.wait]
            return np.array([0 if kind == wait else self.ticks for kind in vocabulary.kinds], np.int64)
        missing = sorted(set(vocabulary.kinds) - set(self.ticks))
        if missing:
            raise ConfigError(f"`ticks` must give a length for every kind of the vocabulary, {missing} missing")
        return np.array([self.ticks[kind] for kind in vocabulary.kinds], np.int64)


class Held(NamedTuple):
    """The commitments in force, one row per agent."""

    action: NDArray[np.int64]
    """[N]; -1 where nothing does."""
    ticks_left: NDArray[np.int32]
    """[N]; this tick included, 0 where nothing does."""
    in_force: NDArray[np.bool_]
    """[N]."""
    source: NDArray[np.int8]
    """[N]; `Source` of who began it, meaningless where nothing binds."""


class Commitments:
    """The commitment of every slot, in arrays."""

    def __init__(self, *, capacity: int, vocabulary: ActionVocabulary, config: CommitmentConfig) -> None:
        self._lengths = config.lengths(vocabulary)
        self._binds = self._lengths > 1
        self.any_binds = bool(self._binds.any())
        """Whether any action is held."""
        self._action: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self._until: NDArray[np.int64] = np.full(capacity, _ENDED, np.int64)
        self._source: NDArray[np.int8] = np.zeros(capacity, np.int8)

    def held(
        self,
        slots: NDArray[np.int64],
        *,
        option_done: NDArray[np.bool_],
        action_mask: NDArray[np.bool_] | None,
        tick: int,
    ) -> Held:
        """End options that are done or forbidden by the mask, and return those in force at `tick`.

        Args:
            slots: [N].
            option_done: [N].
            action_mask: [N, A] or None.
            tick: commitments are over from their own tick `until` on.
        """
        if not self.any_binds:
            nothing = constants_of(len(slots))
            return Held(nothing.no_action, nothing.no_ticks, nothing.nowhere, nothing.codes[Source.SCRIPTED])
        if np.count_nonzero(option_done):
            self.end(slots[option_done])
        action = self._action.take(slots)
        left = self._until.take(slots) - tick
        in_force = left > 0
        if action_mask is not None:
            forbidden = in_force > gather(action_mask, action)
            if np.count_nonzero(forbidden):
                self.end(slots[forbidden])
                in_force = in_force ^ forbidden
        return Held(
            np.where(in_force, action, -1), (left * in_force).astype(np.int32), in_force, self._source.take(slots)
        )

    def begin(
        self,
        slots: NDArray[np.int64],
        actions: NDArray[np.int64],
        sources: NDArray[np.int8],
        *,
        fresh: NDArray[np.bool_],
        tick: int,
    ) -> None:
        """Begin to hold actions where the choice is fresh and its kind binds.

        Args:
            slots: [N].
            actions: [N].
            sources: [N]; `Source` of each choice.
            fresh: [N]; the choice is neither held nor a possessor's.
            tick: from which on it is held.
        """
        if not self.any_binds:
            return
        rows = (fresh & self._binds.take(actions)).nonzero()[0]
        if rows.size:
            begun, chosen = slots.take(rows), actions.take(rows)
            self._action[begun] = chosen
            self._until[begun] = self._lengths.take(chosen) + tick
            self._source[begun] = sources.take(rows)

    def save_state(self) -> SavedState:
        """Return the commitments of all slots."""
        return {"action": self._action.copy(), "until": self._until.copy(), "source": self._source.copy()}

    def check_state(self, state: SavedState) -> None:
        """Check that `restore` can use a state.

        Raises:
            StateError: if the state is of another capacity or vocabulary, or not of commitments.
        """
        check_names(state, ("action", "until", "source"), of="the commitments")
        check_array(state, "action", like=self._action, low=0, high=max(len(self._lengths) - 1, 0))
        check_array(state, "until", like=self._until, low=_ENDED, high=-_ENDED)
        check_array(state, "source", like=self._source, low=min(Source), high=max(Source))

    def restore(self, state: SavedState) -> None:
        """Replace the commitments by the saved ones.

        Raises:
            StateError: see `check_state`; then nothing has changed.
        """
        self.check_state(state)
        self._action, self._until = state["action"].copy(), state["until"].copy()
        self._source = state["source"].copy()

    def end(self, slots: NDArray[np.int64]) -> None:
        """End the commitments of these agents, if there are any."""
        self._until[slots] = _ENDED
