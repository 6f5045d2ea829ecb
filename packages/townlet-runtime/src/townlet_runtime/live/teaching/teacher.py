"""`Teacher`: has a lesson learned in the background, shows how it goes, and lets its policy act if a person agrees."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from townlet_runtime.errors import SimulationError
from townlet_runtime.live.teaching.background import Background
from townlet_runtime.live.teaching.demonstrations import Demonstrations, demonstrations_of
from townlet_runtime.policy.policy import require_fit
from townlet_runtime.runs.release import read_release
from townlet_trajectory.evaluation.registry import RELEASES_NAME, PromotionRegistry
from townlet_trajectory.formats.batch_file import save_batch

if TYPE_CHECKING:
    from townlet_runtime.live.stage import Stage
    from townlet_runtime.policy.onnx import FilePolicy

T = TypeVar("T")
Phase = Literal["idle", "training", "judging", "ready", "failed"]

SHOWN, HELD_OUT, RUN, LOG = "shown.npz", "held-out.npz", "run", "lesson.log"
"""In the folder of a lesson: the steps, the run, and what the process says beside its answers."""
REGISTRY, NOVICE = "registry", "script"
"""Beside the lessons: their registry, and the run of a clone of the script that lessons begin with."""
_LEARNING = ("training", "judging")
_WAIT_S = 60.0
"""Longest wait for the world, which does what is asked between two ticks."""


@dataclass(frozen=True, kw_only=True)
class School:
    """Where and how lessons are learned."""

    folder: Path
    """Of all lessons and of their registry."""
    command: Sequence[str]
    """Of the process of a lesson."""
    order: Mapping[str, Any]
    """What every order says about the world."""
    group: str
    """Of agents, the only one of the world."""
    policy: str | None
    """Path of the policy that acts at first; None: there is none."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How a lesson stands, as the page shows it."""

    phase: Phase = "idle"
    method: str | None = None
    progress: float | None = None
    """Share of the phase that is done, in [0, 1]; None: not known."""
    line: str | None = None
    steps: int | None = None
    """Demonstrated steps of the lesson, held out ones included."""
    episodes: int | None = None
    agreement: Mapping[str, Any] | None = None
    """`before`, `after` in [0, 1], and `held_out_steps`."""
    comparison: Mapping[str, Any] | None = None
    """Mean returns `before` and `after`, `difference` with its interval `low` to `high`, and `episodes`."""
    verdict: str | None = None
    """Of the registry, a sentence."""
    digest: str | None = None
    """Of the policy file that was learned."""
    allowed: bool | None = None
    """Whether the registry lets it act."""


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    release: str
    incumbent: str
    run: Path


class Teacher:
    """One lesson at a time, for a watched world. Its methods may be called from any thread, and may wait for files.

    Args:
        stage: the world, which is recorded.
        school: where and how lessons are learned.
    """

    def __init__(self, stage: Stage, school: School) -> None:
        self._stage, self._school = stage, school
        self._lock = threading.RLock()
        self._background: Background | None = None
        self._candidate: _Candidate | None = None
        self._policy = school.policy
        self._state = Progress()
        self._lessons = 0
        self._closed = False

    def state(self) -> dict[str, Any]:
        """Return how the lesson stands, as the fields of the page's message."""
        return asdict(self._state)

    def begin(self, method: str) -> None:
        """Write down what was shown so far, and have it learned.

        Args:
            method: `bc`: from the demonstrated steps, beginning with the present policy or with nothing; `dagger`
                (HG-DAgger): likewise, but beginning with the present policy or with a clone of the script.

        Raises:
            SimulationError: if a lesson is being learned, or too little was shown.
            ArtifactError: if the lesson cannot be written.
        """
        self._end_what_is_done()
        with self._lock:
            if self._background is not None or self._closed:
                raise SimulationError("a lesson is being learned: stop it, or wait until it is done")
            beginnings = self._between_ticks(self._stage.recorded_so_far)[self._school.group]
            found = demonstrations_of(beginnings)
            self._lessons += 1
            folder = self._write(found)
            self._candidate = None
            self._set(
                Progress(phase="training", method=method, line="beginning", steps=found.steps, episodes=found.episodes)
            )
            order = {
                **self._school.order,
                "method": method,
                "folder": str(folder),
                "policy": self._policy,
                "registry": str(self._school.folder / REGISTRY),
            }
            self._background = Background(
                self._school.command, order, log=folder / LOG, on_message=self._take, on_end=self._end
            )

    def _end_what_is_done(self) -> None:
        """End the process of a lesson that has said what came of it: it may take its time to go."""
        with self._lock:
            if self._state.phase in _LEARNING:
                return
            done, self._background = self._background, None
        if done is not None:
            done.stop()

    def _write(self, found: Demonstrations) -> Path:
        folder = self._school.folder / f"lesson-{self._lessons}"
        folder.mkdir(parents=True)
        save_batch(folder / SHOWN, found.shown, compress=False)
        save_batch(folder / HELD_OUT, found.held_out, compress=False)
        return folder

    def stop(self) -> None:
        """End the lesson that is being learned.

        Raises:
            SimulationError: if none is.
        """
        with self._lock:
            if self._background is None:
                raise SimulationError("no lesson is being learned")
            stopped, self._background = self._background, None
            self._set(Progress(line="stopped"))
        stopped.stop()

    def close(self) -> None:
        """End the lesson that is being learned, if one is; no other one begins."""
        with self._lock:
            self._closed = True
            stopped, self._background = self._background, None
        if stopped is not None:
            stopped.stop()

    def decide(self, digest: str, *, approve: bool, by: str) -> None:
        """Let the policy that was learned act from the next decision on, or turn it down.

        Args:
            digest: of its file.
            approve: whether it is to act; it is the registry's current release then.
            by: who says so.

        Raises:
            SimulationError: if another policy waits for a decision, or none, or the registry does not let it act.
            PromotionError, ArtifactError: if the registry has changed meanwhile, or cannot be written.
        """
        with self._lock:
            candidate = self._candidate
            if candidate is None or self._state.digest != digest:
                known = "none" if candidate is None else f"{self._state.digest}"
                raise SimulationError(f"expected the digest of the policy that waits ({known}), got {digest}")
            if not approve:
                self._candidate = None
                self._set(replace(self._state, phase="idle", line=f"turned down by {by}", allowed=False))
                return
            if not self._state.allowed:
                raise SimulationError(f"the registry does not let it act: {self._state.verdict}")
            registry = PromotionRegistry(self._school.folder / REGISTRY)
            policy = self._read(registry, candidate.release)
            registry.mark_promoted(candidate.release, incumbent=candidate.incumbent)
            self._between_ticks(lambda: self._stage.let_act(self._school.group, policy))
            self._candidate, self._policy = None, str(candidate.run)
            self._set(replace(self._state, phase="idle", line=f"acts since {by} approved", allowed=False))

    def _between_ticks(self, work: Callable[[], T]) -> T:
        try:
            return self._stage.call(work).result(_WAIT_S)
        except (CancelledError, TimeoutError) as error:
            raise SimulationError("the world has ended") from error

    def _read(self, registry: PromotionRegistry, release: str) -> FilePolicy:
        files = registry.release_files(release)
        policy = read_release(files, registry.path / RELEASES_NAME / release).policies[self._school.group]
        require_fit(policy, self._stage.simulation.specs[self._school.group])
        return policy

    def _take(self, message: Mapping[str, Any]) -> None:
        """Note what the process says of itself: how far it is, or at last what came of it."""
        with self._lock:
            if self._background is None:
                return
            known = {name: value for name, value in message.items() if name in Progress.__dataclass_fields__}
            if "release" in message:
                run = self._school.folder / f"lesson-{self._lessons}" / RUN
                self._candidate = _Candidate(release=message["release"], incumbent=message["incumbent"], run=run)
            self._set(replace(self._state, **known))

    def _end(self, code: int, last_line: str) -> None:
        with self._lock:
            if self._background is None:
                return
            self._background = None
            if self._state.phase in _LEARNING:  # else it has said what came of it
                line = last_line or f"its process ended with exit code {code}"
                self._set(replace(self._state, phase="failed", progress=None, line=line))

    def _set(self, state: Progress) -> None:
        self._state = state
        self._stage.want()
