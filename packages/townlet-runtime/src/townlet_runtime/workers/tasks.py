"""What a worker is asked to do: a wave of episodes, or a unit of collection."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import SavedState
from townlet_runtime.errors import EnvironmentFaultError, WorkerError
from townlet_runtime.workers.blocks import Arrays, Directory, arrays_in, block_of, directory_of
from townlet_runtime.workers.memory import SharedMemory
from townlet_runtime.workers.messages import Message
from townlet_trajectory.evaluation.interfaces import AnyActor, Collected, EpisodeScores, Opponents

if TYPE_CHECKING:
    from townlet_runtime.workers.units import Unit

_R = TypeVar("_R")
STATE = "state/"
"""Before the names of arrays of a state in an answer."""
Players = Mapping[str, AnyActor | str] | str
"""Policies and behaviors by group, or the name of a behavior for all of them."""
CollectedOf = Callable[[Message, Arrays], Collected]
"""Makes a collection of an answer."""
_POLL_S = 0.5
"""On Windows, a thread that waits sees Ctrl-C only between two waits."""


class WorkerName(NamedTuple):
    """One process: its place in the pool, and how many there were before it."""

    place: int
    generation: int


@dataclass(frozen=True)
class Packed:
    """Policies by group as bytes, of which every worker makes the same policies."""

    data: bytes
    digest: str
    """SHA-256, by which they are spoken of."""

    @classmethod
    def of(cls, data: bytes) -> Packed:
        """Take the digest of `data`."""
        return cls(data, hashlib.sha256(data).hexdigest())


class Task(ABC, Generic[_R]):
    """Work that a worker does and answers; done again elsewhere where a worker fails at it."""

    def __init__(self) -> None:
        self.done: Future[_R] = Future()
        """What came of it, or the first error where every attempt failed."""
        self.failed_at: list[int] = []
        """Places of the pool at which an attempt failed."""
        self.first_error: WorkerError | EnvironmentFaultError | None = None
        self.memory: SharedMemory | None = None
        """That the arrays of the answer may come through; whoever made the task says when it is used again."""

    @property
    @abstractmethod
    def words(self) -> str:
        """What is done, for errors."""

    @property
    @abstractmethod
    def policies(self) -> Packed | None:
        """Whose policies are needed; None: nobody's."""

    @abstractmethod
    def request(self, worker: WorkerName) -> tuple[Message, bytes]:
        """Return what that worker is asked, and the bytes that it needs beside the policies."""

    @abstractmethod
    def answered(self, worker: WorkerName, message: Message, arrays: Arrays) -> _R:
        """Return what an answer means.

        Args:
            worker: that answered.
            message: the answer.
            arrays: that belong to it, and may be in `memory`.
        """

    def prefers(self, worker: WorkerName) -> bool:
        """Whether that worker has less to do for it than others."""
        return False

    def failed(self, worker: WorkerName, error: WorkerError | EnvironmentFaultError) -> None:
        """Note that an attempt failed there."""
        self.failed_at.append(worker.place)
        self.first_error = self.first_error or error

    def result(self) -> _R:
        """Wait for what comes of it.

        Raises:
            WorkerError: if every attempt failed; it is about the first.
            EnvironmentFaultError: if an environment broke its interface there.
        """
        while True:
            try:
                return self.done.result(timeout=_POLL_S)
            except TimeoutError:
                continue


@dataclass(frozen=True, kw_only=True)
class WaveCast:
    """Who plays which group in a wave. Policies are sent beside it, each by the group that it plays."""

    players: str | Mapping[str, str | None]
    """By group, the name of a behavior; None: a policy. One name: of all groups but those of `opponents`."""
    opponents: Mapping[str, bool]
    """By group that is not judged, whether a policy plays it; else the script does."""

    @classmethod
    def of(cls, players: Players, opponents: Opponents) -> WaveCast:
        """Say who plays; the arguments are as of `Evaluator.wave`."""
        told = players if isinstance(players, str) else {group: _name_of(one) for group, one in players.items()}
        return cls(players=told, opponents={group: one is not None for group, one in opponents.items()})

    def played_by(self, actors: Mapping[str, AnyActor]) -> tuple[Players, Opponents]:
        """Undo `of`, with the policies that were sent."""
        told = self.players
        if not isinstance(told, str):
            return {group: actors[group] if one is None else one for group, one in told.items()}, self._met(actors)
        return told, self._met(actors)

    def _met(self, actors: Mapping[str, AnyActor]) -> Opponents:
        return _opponents(self.opponents, actors)

    @property
    def words(self) -> str:
        """Who plays, for errors."""
        if isinstance(self.players, str):
            return self.players
        if not any(self.players.values()):
            return "the policy"
        return " and ".join(f"{name or 'a policy'} as `{group}`" for group, name in self.players.items())


def _name_of(player: AnyActor | str) -> str | None:
    return player if isinstance(player, str) else None


def _opponents(by_policy: Mapping[str, bool], policies: Mapping[str, AnyActor]) -> Opponents:
    return {group: policies[group] if has_policy else None for group, has_policy in by_policy.items()}


@dataclass(frozen=True, kw_only=True)
class UnitCast:
    """Who acts in a collection. Policies are sent beside it, each by the group that it plays."""

    learning: bool
    """Whether policies act in the groups that are recorded; else the script alone does."""
    opponents: Mapping[str, bool]
    """By group that is not recorded, whether a policy plays it; else the script does."""

    @classmethod
    def of(cls, actors: Mapping[str, AnyActor] | None, opponents: Opponents) -> UnitCast:
        """Say who acts; the arguments are as of `Collector.collect`."""
        return cls(learning=actors is not None, opponents={group: one is not None for group, one in opponents.items()})

    def played_by(self, policies: Mapping[str, AnyActor]) -> tuple[Mapping[str, AnyActor] | None, Opponents]:
        """Undo `of`, with the policies that were sent."""
        own = {group: one for group, one in policies.items() if group not in self.opponents}
        return own if self.learning else None, _opponents(self.opponents, policies)


class WaveTask(Task[EpisodeScores]):
    """A wave of episodes.

    Args:
        cast: who plays.
        policies: of the cast; None where it has none.
        sample: whether the actions of policies that are judged are drawn.
        seeds: [size].
    """

    def __init__(self, cast: WaveCast, *, policies: Packed | None, sample: bool, seeds: NDArray[np.int64]) -> None:
        super().__init__()
        self.cast, self.sample, self.seeds, self._policies = cast, sample, seeds, policies

    @property
    def words(self) -> str:
        return f"{self.cast.words} played the seeds {self.seeds[0]} to {self.seeds[-1]}"

    @property
    def policies(self) -> Packed | None:
        return self._policies

    def request(self, worker: WorkerName) -> tuple[Message, bytes]:
        asked: Message = {"cast": asdict(self.cast), "sample": self.sample, "seeds": self.seeds.tolist()}
        return {"wave": asked}, b""

    def answered(self, worker: WorkerName, message: Message, arrays: Arrays) -> EpisodeScores:
        """See `Task.answered`.

        Args:
            worker: that answered.
            message: the answer.
            arrays: that belong to it.
        """
        return EpisodeScores.of(**message["scores"])


@dataclass(frozen=True)
class StateBlock:
    """A saved state in one piece."""

    data: bytes
    directory: Directory

    @classmethod
    def of(cls, state: SavedState) -> StateBlock:
        """Copy a state."""
        return cls(block_of(state), directory_of(state))

    def state(self) -> dict[str, NDArray[Any]]:
        """Return arrays that can be written to."""
        return arrays_in(bytearray(self.data), self.directory)


class UnitPlace:
    """What the process that learns knows of a unit: where its worlds are, and how they were left.

    Args:
        unit: whose worlds they are.
        rounds: collections that they have been through.
        state: after these; None: they have not begun, or cannot be saved.
    """

    def __init__(self, unit: Unit, *, rounds: int = 0, state: StateBlock | None = None) -> None:
        self.unit, self.rounds, self.state = unit, rounds, state
        self.home: WorkerName | None = None
        """The worker that has the worlds as `state` has them."""
        self.known_at: set[WorkerName] = set()
        """Workers that have worlds of the unit, though perhaps of an earlier time."""


class UnitDone(NamedTuple):
    """What came of a unit of one collection."""

    collected: Collected | None
    """None: it had no tick."""
    state: StateBlock | None
    """Of its worlds after it; None: they cannot be saved."""
    written: Sequence[Mapping[str, Any]]
    """What the worker has written of it: one `recording.Written`, or nothing."""


class UnitTask(Task[UnitDone]):
    """One collection in the worlds of a unit, which must have been through the one before.

    Args:
        at: the worlds.
        places: of all units.
        cast: who acts.
        policies: of the cast; None where it has none.
        num_ticks: at least 0; after 0 there is nothing but the state.
        ratio: share of decisions given to the policies.
        collected: makes a collection of an answer.
        memory: that the rows may come through, and stay in until somebody copies them.
    """

    def __init__(
        self,
        at: UnitPlace,
        places: Sequence[UnitPlace],
        *,
        cast: UnitCast,
        policies: Packed | None,
        num_ticks: int,
        ratio: float,
        collected: CollectedOf,
        memory: SharedMemory | None,
    ) -> None:
        super().__init__()
        self.memory = memory
        self.at, self.num_ticks, self.ratio, self._places = at, num_ticks, ratio, places
        self._cast, self._policies, self._collected = cast, policies, collected

    @property
    def words(self) -> str:
        return f"{self.at.unit.words} was stepped, collection {self.at.rounds + 1}"

    @property
    def policies(self) -> Packed | None:
        return self._policies

    def prefers(self, worker: WorkerName) -> bool:
        return self.at.home == worker

    def request(self, worker: WorkerName) -> tuple[Message, bytes]:
        at = self.at
        goes_on = at.home == worker
        if not goes_on and at.rounds and at.state is None:
            raise WorkerError(f"{at.unit.words} cannot be saved, and the worker that had its worlds has ended")
        sends = at.state if not goes_on else None
        asked: Message = {
            "index": at.unit.index,
            "rounds": at.rounds,
            "cast": asdict(self._cast),
            "num_ticks": self.num_ticks,
            "ratio": self.ratio,
            "goes_on": goes_on,
            "state": None if sends is None else sends.directory,
        }
        stale = [place for place in self._places if worker in place.known_at and place.home != worker]
        for place in stale:
            place.known_at.discard(worker)
        at.known_at.add(worker)
        asked["drop"] = [place.unit.index for place in stale]
        return {"unit": asked}, b"" if sends is None else sends.data

    def answered(self, worker: WorkerName, message: Message, arrays: Arrays) -> UnitDone:
        """See `Task.answered`.

        Args:
            worker: that answered.
            message: the answer.
            arrays: that belong to it.
        """
        own = {name.removeprefix(STATE): array for name, array in arrays.items() if name.startswith(STATE)}
        state = StateBlock.of(own) if message["saved"] else None
        collected = self._collected(message, arrays) if self.num_ticks else None
        # Not before: an answer that cannot be read leaves the unit where it was.
        at = self.at
        at.state, at.rounds, at.home = state, at.rounds + bool(self.num_ticks), worker
        return UnitDone(collected, state, message["written"] if self.num_ticks else ())

    def failed(self, worker: WorkerName, error: WorkerError | EnvironmentFaultError) -> None:
        super().failed(worker, error)
        if self.at.home == worker:
            self.at.home = None


def error_of(task: Task[Any], message: Mapping[str, Any]) -> WorkerError | EnvironmentFaultError:
    """Return the error that an answer tells of, with what was done."""
    where = f"in a worker process, where {task.words}"
    if "fault" in message:
        fault = message["fault"]
        return EnvironmentFaultError(**{**fault, "problem": f"{fault['problem']} ({where})"})
    return WorkerError(f"{message['error']} ({where})")
