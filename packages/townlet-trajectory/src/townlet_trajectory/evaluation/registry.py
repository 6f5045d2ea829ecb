"""The promotion registry: a directory of releases and an append-only journal of every decision with its evidence.

REGISTRY/journal.jsonl              what happened, in order; everything else about the registry follows from it
REGISTRY/releases/DIGEST/           the files of one release and their manifest, whose SHA-256 is DIGEST
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.errors import ManifestError, PromotionError
from townlet_trajectory.evaluation.comparisons import PairedComparison
from townlet_trajectory.evaluation.gates import GateResult
from townlet_trajectory.evaluation.promotion import PromotionDecision, comparison_entry, decide, gate_entries
from townlet_trajectory.evaluation.registry_records import RegistrySettings
from townlet_trajectory.evaluation.registry_state import FORMAT, VERSION, RegistryState
from townlet_trajectory.storage.files import DirectoryLock, make_directory, remove_directory
from townlet_trajectory.storage.journal import Journal, read_journal
from townlet_trajectory.storage.json import JsonValue
from townlet_trajectory.storage.manifest import manifest_of, read_directory, write_directory

JOURNAL_NAME = "journal.jsonl"
RELEASES_NAME = "releases"
MAX_RELEASE_BYTES = 1 << 30
MAX_RELEASE_FILES = 64
WAIT_S = 10.0
"""How long a writer waits for another one; each holds the registry for milliseconds."""


@dataclass(frozen=True, kw_only=True)
class OpenPass:
    """A pass that is to be played: whom to compare on which episodes."""

    number: int
    candidate: str
    incumbent: str
    """Digest of a release, or the name of the first behavior."""
    seeds: NDArray[np.int64]
    """[num_episodes]; no other pass of the registry has them."""


class PromotionRegistry:
    """Keeps releases and decides which of them is live, in a directory that several processes may use at once.

    Writers exclude one another for the moment of a change, and every change names what it was based on: a candidate is
    promoted against the incumbent that it was compared with, or not at all. Readers need no lock.

    Examples:
        >>> import tempfile
        >>> from townlet_trajectory.evaluation.comparisons import compare
        >>> from townlet_trajectory.evaluation.interfaces import EpisodeScores
        >>> from townlet_trajectory.evaluation.promotion import PromotionConfig
        >>> config = PromotionConfig(required_passes=2, num_episodes=10, num_resamples=1000)
        >>> settings = RegistrySettings(config=config, seed=1, behavior="scripted", config_id="town", world={})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     registry = PromotionRegistry.create(Path(folder) / "registry", settings)
        ...     digest = registry.submit({"policy.onnx": b"..."}, metadata={"run": "runs/1"})
        ...     while not registry.state().candidate_ready:
        ...         one = registry.begin_pass(digest)
        ...         script = EpisodeScores.of(returns=np.arange(10.0), seeds=one.seeds)
        ...         learned = EpisodeScores.of(returns=np.arange(10.0) + 1.0, seeds=one.seeds)
        ...         found = compare(learned, script, seed=one.number, num_resamples=1000)
        ...         decision = registry.record_pass(one.number, comparison=found, gates=[], evidence={})
        ...         print(one.incumbent, decision.decision, decision.pass_streak)
        ...     state = registry.mark_promoted(one.candidate, incumbent=one.incumbent)
        ...     print(state.live == digest, registry.register_rollback(reason="a demonstration").live)
        scripted HOLD 1
        scripted PROMOTE 2
        True scripted
    """

    def __init__(self, path: str | Path, *, clock: Callable[[], float] = time.time) -> None:
        """Open a registry.

        Args:
            path: its directory.
            clock: tells seconds since 1970; records keep it, their order does not depend on it.

        Raises:
            ArtifactError: if there is no registry, or its journal is damaged or does not follow from itself.
        """
        self.path = Path(path)
        self._clock = clock
        self._journal = read_journal(self.path / JOURNAL_NAME)
        self._state = RegistryState.of(self._journal)

    @classmethod
    def create(
        cls, path: str | Path, settings: RegistrySettings, *, clock: Callable[[], float] = time.time
    ) -> PromotionRegistry:
        """Make a registry in a directory that is missing, or holds none; its parents are made too.

        Args:
            path: of the directory.
            settings: of every decision in it.
            clock: as in `PromotionRegistry`.

        Raises:
            PromotionError: if a setting is out of range, or there is a registry already.
            ArtifactError: if the directory cannot be made or written to, or another process holds it.
        """
        path = Path(path)
        make_directory(path)
        with DirectoryLock(path, wait_s=WAIT_S):
            journal = Journal(path=path / JOURNAL_NAME)
            if journal.path.exists() and read_journal(journal.path).records:
                raise PromotionError(f"{path}: there is a registry already")
            content: dict[str, JsonValue] = {
                "format": FORMAT,
                "schema_version": list(VERSION),
                "settings": settings.entries(),
            }
            first = journal.draft("created", content, time=clock())
            RegistryState.created(first)
            make_directory(path / RELEASES_NAME)
            journal.append(first)
        return cls(path, clock=clock)

    def state(self) -> RegistryState:
        """Return the present state. Raises `ArtifactError` if the journal is damaged or does not follow from itself."""
        journal = read_journal(self.path / JOURNAL_NAME, self._journal)
        known = self._state if journal.data.startswith(self._journal.data) else None
        self._journal, self._state = journal, RegistryState.of(journal, known)
        return self._state

    def snapshot(self) -> dict[str, JsonValue]:
        """Return the present state in eleven keys; see `RegistryState.snapshot`."""
        return self.state().snapshot()

    @property
    def history(self) -> list[JsonValue]:
        """Every change of what is live; see `RegistryState.history`."""
        return self.state().history()

    def submit(self, files: Mapping[str, bytes], *, metadata: Mapping[str, JsonValue]) -> str:
        """Copy the files of a policy in, and make them the candidate.

        Args:
            files: content by file name; everything that its behavior depends on, and nothing else, since their digest
                is what a release is named by.
            metadata: what else is worth knowing, such as where they came from.

        Returns:
            The digest. The same files have the same one, and are kept once.

        Raises:
            PromotionError: if there are no files, too many or too large ones, or they are live already.
            ArtifactError: if they cannot be written, or another process holds the registry.
        """
        total = sum(map(len, files.values()))
        if not 1 <= len(files) <= MAX_RELEASE_FILES or total > MAX_RELEASE_BYTES:
            raise PromotionError(
                f"a release has 1 to {MAX_RELEASE_FILES} files and at most {MAX_RELEASE_BYTES} bytes, "
                f"got {len(files)} files of {total} bytes"
            )
        digest = manifest_of(files).sha256

        def keep(_: RegistryState) -> None:
            if self._folder(digest).exists():
                self._read(digest)  # a candidate before, or left by a writer that was killed
            else:
                write_directory(self._folder(digest), files)

        self._change("submitted", lambda _: {"release": digest, "metadata": dict(metadata)}, prepare=keep)
        return digest

    def begin_pass(self, candidate: str) -> OpenPass:
        """Open a pass of `candidate` against what is live, with episodes of its own.

        A pass that is opened and never recorded ends a row of passes: nothing is won by giving up a losing one.

        Raises:
            PromotionError: if it is not the candidate (any more), or ready already.
            ArtifactError: if the journal cannot be written, or another process holds the registry.
        """

        def begin(state: RegistryState) -> Mapping[str, JsonValue]:
            if state.candidate == candidate and state.candidate_ready:
                raise PromotionError(f"{candidate[:12]} has passed already: promote it")
            first_seed, num_episodes = state.next_seeds()
            return {
                "pass": len(state.passes),
                "candidate": candidate,
                "incumbent": state.live,
                "first_seed": first_seed,
                "num_episodes": num_episodes,
            }

        state = self._change("opened", begin)
        opened = state.passes[-1]
        return OpenPass(
            number=opened.number,
            candidate=opened.candidate,
            incumbent=opened.incumbent,
            seeds=opened.first_seed + np.arange(state.settings.config.num_episodes),
        )

    def record_pass(
        self,
        number: int,
        *,
        comparison: PairedComparison | None,
        gates: Sequence[GateResult],
        evidence: Mapping[str, JsonValue],
    ) -> PromotionDecision:
        """Record the result of a pass, and decide.

        Args:
            number: of an `OpenPass`.
            comparison: on its seeds; None exactly when a gate failed.
            gates: that the candidate went through before.
            evidence: how it was played: digests of settings, acting, versions.

        Returns:
            The decision after it. A candidate that was replaced meanwhile, or compared with what is no longer live,
            has no pass in a row.

        Raises:
            PromotionError: if the pass was not opened or has its result, or the comparison is not of its episodes.
            ArtifactError: if the journal cannot be written, or another process holds the registry.
        """
        content: dict[str, JsonValue] = {
            "pass": number,
            "comparison": comparison_entry(comparison),
            "gates": gate_entries(gates),
            "evidence": dict(evidence),
        }
        state = self._change("evaluated", lambda _: content)
        recorded = state.passes[number]
        if recorded.result is None:
            raise AssertionError("unreachable: the record of a pass gives it its result")
        counted = state.counted_passes
        return decide(
            recorded.result,
            recorded.gates,
            pass_streak=len(counted) if recorded in counted else 0,
            required_passes=state.settings.config.required_passes,
            num_passes=len(state.passes),
        )

    def mark_promoted(self, release: str, *, incumbent: str) -> RegistryState:
        """Let the candidate be live, by the passes that it has won.

        Args:
            release: the candidate.
            incumbent: that it was compared with.

        Returns:
            The state afterwards.

        Raises:
            PromotionError: if `release` is not the candidate, `incumbent` is no longer live, or there are not enough
                passes in a row of the one against the other.
            ArtifactError: if a file of the release is damaged, or the journal cannot be written.
        """

        def promote(state: RegistryState) -> Mapping[str, JsonValue]:
            passes: list[JsonValue] = [each.number for each in state.counted_passes]
            return {"release": release, "incumbent": incumbent, "passes": passes}

        return self._change("promoted", promote, prepare=self._require_intact)

    def register_rollback(self, *, reason: str, live: str | None = None) -> RegistryState:
        """Go back to what was live before the current release; a second rollback goes back one more.

        Args:
            reason: 1 to 500 characters.
            live: what is to be given up; None: what is live, whatever that is by now.

        Returns:
            The state afterwards.

        Raises:
            PromotionError: if nothing was before it, or `live` is no longer live.
            ArtifactError: if a file of the release is damaged, or the journal cannot be written.
        """

        def roll_back(state: RegistryState) -> Mapping[str, JsonValue]:
            target = state.stack[-2] if len(state.stack) > 1 else state.live
            return {"from": state.live if live is None else live, "to": target, "reason": reason}

        return self._change("rollback", roll_back, prepare=self._require_intact)

    def record_manual_swap(self, release: str, *, reason: str, by: str, live: str | None = None) -> RegistryState:
        """Let a release be live without evidence, on the word of a person.

        Args:
            release: digest of one that is kept, or the name of the first behavior.
            reason: 1 to 500 characters.
            by: who says so, 1 to 500 characters.
            live: as in `register_rollback`.

        Returns:
            The state afterwards; a rollback returns to what was live before the swap.

        Raises:
            PromotionError: if there is no such release, it is live already, or `live` is no longer live.
            ArtifactError: if a file of the release is damaged, or the journal cannot be written.
        """

        def swap(state: RegistryState) -> Mapping[str, JsonValue]:
            return {"from": state.live if live is None else live, "to": release, "reason": reason, "by": by}

        return self._change("manual_swap", swap, prepare=self._require_intact)

    def set_alias(self, name: str, release: str | None) -> None:
        """Give a release that is kept another name, or take the name away.

        Args:
            name: `a-z0-9_.-`, 63 characters, beginning with a letter; not `champion` or `challenger`.
            release: digest; None: the name is taken away.

        Raises:
            PromotionError: if the name is not allowed, or there is no such release or name.
            ArtifactError: if the journal cannot be written.
        """
        self._change("alias", lambda _: {"name": name, "release": release})

    def prune(self) -> tuple[str, ...]:
        """Remove the releases that are not live, named, a candidate, or what a rollback returns to; return their
        digests. Raises `ArtifactError` if one cannot be removed: the next call tries again."""
        with DirectoryLock(self.path, wait_s=WAIT_S):
            state = self.state()
            unused = sorted(state.releases.keys() - state.protected())
            if unused:
                record = self._journal.draft("pruned", {"releases": list[JsonValue](unused)}, time=self._clock())
                state = state.after(record)
                self._journal.append(record)
            # Also what a writer left that was killed between its files and its record.
            for folder in sorted((self.path / RELEASES_NAME).iterdir()):
                if folder.name not in state.releases:
                    remove_directory(folder)
        return tuple(unused)

    def release_files(self, release: str) -> dict[str, bytes]:
        """Return the files of a release by name, compared with its digest.

        Raises:
            PromotionError: if there is no such release.
            ArtifactError: if a file is missing or damaged.
        """
        self.state().require_release(release)
        return self._read(release)

    def _change(
        self,
        event: str,
        content: Callable[[RegistryState], Mapping[str, JsonValue]],
        *,
        prepare: Callable[[RegistryState], object] = lambda _: None,
    ) -> RegistryState:
        """Append a record, if it may follow, while no other writer can.

        Args:
            event: of the record.
            content: makes the rest of it from the present state.
            prepare: is called with the state to come before the record is written.

        Returns:
            The state afterwards.
        """
        with DirectoryLock(self.path, wait_s=WAIT_S):
            state = self.state()
            record = self._journal.draft(event, content(state), time=self._clock())
            after = state.after(record)
            prepare(after)
            self._journal.append(record)
        return after

    def _require_intact(self, state: RegistryState) -> None:
        """Read what is going to be live."""
        if state.live in state.releases:
            self._read(state.live)

    def _folder(self, digest: str) -> Path:
        return self.path / RELEASES_NAME / digest

    def _read(self, digest: str) -> dict[str, bytes]:
        files = read_directory(self._folder(digest), max_bytes=MAX_RELEASE_BYTES)
        if (found := manifest_of(files).sha256) != digest:
            raise ManifestError(self._folder(digest), "verify", f"expected the files of {digest}, got {found}")
        return files


def __getattr__(name: str) -> type[PromotionRegistry]:
    if name == "PromotionManager":
        message = "PromotionManager is called PromotionRegistry since 0.1; the old name goes in 0.3"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return PromotionRegistry
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
