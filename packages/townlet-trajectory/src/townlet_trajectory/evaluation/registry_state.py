"""The state of a promotion registry, derived from its journal: what follows from each record, and what may not follow.

A record that claims what its predecessors do not bear out, such as a promotion without its passes, is refused, whether
it is about to be written or was read from a file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import dropwhile, takewhile
from pathlib import Path

from townlet_trajectory.errors import ManifestError, PromotionError
from townlet_trajectory.evaluation.interfaces import derive_seed, promotion_seeds
from townlet_trajectory.evaluation.promotion import PromotionConfig, PromotionPass, read_comparison, read_gates
from townlet_trajectory.evaluation.registry_records import LivePeriod, RegistryPass, RegistrySettings
from townlet_trajectory.storage.journal import Journal, Record
from townlet_trajectory.storage.json import Fields, JsonValue

FORMAT = "townlet-promotions"
VERSION = (1, 0)
CHAMPION, CHALLENGER = "champion", "challenger"
"""Aliases that follow from the journal: the current release, and the candidate."""
MAX_RELEASES = 1000
MAX_ALIASES = 100
MAX_TEXT = 500
MIN_PREFIX = 8
"""Characters of a digest by which a release can be named."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_ALIAS = re.compile(r"[a-z][a-z0-9_.-]{0,62}")


@dataclass(frozen=True, kw_only=True)
class RegistryState:
    """Candidates, releases, passes and who was live when, after some record of a journal."""

    settings: RegistrySettings
    sequence: int
    """Of the latest record: the time of a registry, in which `tick` counts."""
    releases: Mapping[str, Mapping[str, JsonValue]] = field(default_factory=dict)
    """What was said of each release that is kept, by digest."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Digest by free name."""
    candidate: str | None = None
    stack: tuple[str, ...]
    """What is live comes last, before it what a rollback would return to, first the behavior."""
    passes: tuple[RegistryPass, ...] = ()
    periods: tuple[LivePeriod, ...]
    since: int
    """Passes that were opened before this record no longer count."""
    is_promoted: bool = False
    """Whether nothing has happened to a candidate since the latest promotion."""
    last_result: str | None = None
    last_evaluated: int | None = None
    ready_since: int | None = None

    @classmethod
    def of(cls, journal: Journal, state: RegistryState | None = None) -> RegistryState:
        """Derive the state from a journal.

        Args:
            journal: of the registry.
            state: after some of its records, which need not be looked at again; None: after none of them.

        Raises:
            ManifestError: names the record that does not follow from those before it.
        """
        where = journal.path
        try:
            for record in journal.records[0 if state is None else state.sequence :]:
                where = Path(f"{journal.path}:{record.sequence}")
                state = cls.created(record) if state is None else state.after(record)
        except PromotionError as error:
            raise ManifestError(where, "verify", str(error)) from error
        if state is None:
            raise ManifestError(journal.path, "parse", "not a registry: the journal is empty")
        return state

    @classmethod
    def created(cls, record: Record) -> RegistryState:
        """Return the state after the first record.

        Raises:
            PromotionError: if it is another event, or a setting is out of range.
            ManifestError: if a value of it is missing or of another type.
        """
        content = record.content
        if record.event != "created":
            raise PromotionError(f"a registry begins with the event `created`, got {record.event!r:.70}")
        content.version(FORMAT, VERSION)
        said, config = content.inside("settings"), content.inside("settings").inside("config")
        config.require_keys({each.name for each in fields(PromotionConfig)})
        counts = {name: config.integer(name) for name in ("required_passes", "num_episodes", "num_resamples")}
        settings = RegistrySettings(
            config=PromotionConfig(**counts, tail_margin=config.number("tail_margin")),
            seed=said.integer("seed"),
            behavior=_text(said, "behavior"),
            config_id=_text(said, "config_id"),
            world=said.object("world"),
        )
        if _DIGEST.fullmatch(settings.behavior):
            raise PromotionError("the first behavior is no digest")
        first = LivePeriod(release=settings.behavior, event=record.event, sequence=1, time=record.time)
        return cls(settings=settings, sequence=1, stack=(settings.behavior,), periods=(first,), since=1)

    @property
    def live(self) -> str:
        """The current release, or the behavior that acts without one."""
        return self.stack[-1]

    @property
    def counted_passes(self) -> tuple[RegistryPass, ...]:
        """The passes in a row that the candidate has won against what is live; one that was given up ends the row."""
        # Whoever the candidate and what is live have become, they have been it since then.
        latest = takewhile(lambda each: each.opened > self.since, reversed(self.passes))
        ended = dropwhile(lambda each: each.result is None, latest)
        return tuple(takewhile(lambda each: each.won, ended))[::-1]

    @property
    def candidate_ready(self) -> bool:
        """Whether the candidate may be promoted."""
        return len(self.counted_passes) >= self.settings.config.required_passes

    def require_release(self, digest: str) -> None:
        """Raise `PromotionError` unless `digest` is one of a release that is kept."""
        if digest not in self.releases:
            raise PromotionError(f"there is no release {digest!r:.70}")

    def protected(self) -> frozenset[str]:
        """Return the releases that pruning must keep: live ones, those a rollback can return to, named ones, and the
        candidate."""
        candidate = () if self.candidate is None else (self.candidate,)
        return frozenset({*self.stack, *self.aliases.values(), *candidate}) & self.releases.keys()

    def next_seeds(self) -> tuple[int, int]:
        """Return the first seed of the next pass, which no other pass has, and the number of its episodes."""
        count = self.settings.config.num_episodes
        # Not those of a run with the same seed: its candidates come here because they have passed on its seeds.
        seed = derive_seed(self.settings.seed, "registry")
        return int(promotion_seeds(seed, len(self.passes), count)[0]), count

    def resolve(self, name: str) -> str:
        """Return the digest, or the first behavior, that `name` means.

        Args:
            name: `champion`, `challenger`, an alias, the first behavior, or a digest or its first 8 characters or more.

        Raises:
            PromotionError: if it means nothing, or several releases.
        """
        known = {**self.aliases, CHAMPION: self.live, self.settings.behavior: self.settings.behavior}
        if self.candidate is not None:
            known[CHALLENGER] = self.candidate
        if name in known:
            return known[name]
        found = [digest for digest in self.releases if digest.startswith(name)] if len(name) >= MIN_PREFIX else []
        if len(found) != 1:
            raise PromotionError(f"{name!r:.80} means {len(found)} releases; there are {', '.join(known)}, and digests")
        return found[0]

    def live_at(self, time: float) -> tuple[LivePeriod, ...]:
        """Return what was live when the clock of the writers showed `time`, seconds since 1970.

        Nothing before the registry was created. A clock that was set back showed some times twice: then there may be
        several, in the order in which they were live, and `live_after` tells them apart.
        """
        return tuple(
            each for each in self.periods if each.time <= time and (each.end_time is None or time < each.end_time)
        )

    def live_after(self, sequence: int) -> LivePeriod:
        """Return what was live once record `sequence` was written. Raises `PromotionError` if there is no such one."""
        if not 1 <= sequence <= self.sequence:
            raise PromotionError(f"there are the records 1 to {self.sequence}, got {sequence}")
        return next(each for each in reversed(self.periods) if each.sequence <= sequence)

    def release_entry(self, period: LivePeriod) -> dict[str, JsonValue]:
        """Return what was live in `period`, with the keys `config_id`, `checkpoint` and `policy_hash`."""
        reason = {key: value for key, value in period.metadata.items() if key == "reason"}
        return {"config_id": self.settings.config_id, **_named(period.release, self.settings.behavior), **reason}

    def history(self) -> list[JsonValue]:
        """Return every change of what is live: `event`, `tick`, `metadata`, `previous_release` and `release`."""
        pairs = zip(self.periods, self.periods[1:], strict=False)
        return [
            {
                "event": now.event,
                "tick": now.sequence,
                "metadata": dict(now.metadata),
                "previous_release": self.release_entry(before),
                "release": self.release_entry(now),
            }
            for before, now in pairs
        ]

    def snapshot(self) -> dict[str, JsonValue]:
        """Return the state in eleven keys: from `state` (`monitoring`, `ready` or `promoted`) to `history`."""
        ready = self.candidate_ready
        return {
            "state": "promoted" if self.is_promoted else "ready" if ready else "monitoring",
            "pass_streak": len(self.counted_passes),
            "required_passes": self.settings.config.required_passes,
            "candidate_ready": ready,
            "candidate_ready_tick": self.ready_since if ready else None,
            "last_result": self.last_result,
            "last_evaluated_tick": self.last_evaluated,
            "current_release": self.release_entry(self.periods[-1]),
            "initial_release": self.release_entry(self.periods[0]),
            "candidate": None if self.candidate is None else _named(self.candidate, self.settings.behavior),
            "history": self.history(),
        }

    def after(self, record: Record) -> RegistryState:
        """Return the state after `record`.

        Raises:
            PromotionError: if it does not follow from this state.
            ManifestError: if a value of it is missing or of another type.
        """
        steps = {
            "submitted": self._submitted,
            "opened": self._opened,
            "evaluated": self._evaluated,
            "promoted": self._promoted,
            "rollback": self._rolled_back,
            "manual_swap": self._swapped,
            "alias": self._named,
            "pruned": self._pruned,
        }
        if record.event not in steps:
            raise PromotionError(f"unknown event {record.event!r:.70}")
        return replace(steps[record.event](record), sequence=record.sequence)

    def _submitted(self, record: Record) -> RegistryState:
        digest = record.content.text("release")
        if _DIGEST.fullmatch(digest) is None:
            raise PromotionError(f"a release is named by its SHA-256, got {digest!r:.70}")
        if digest == self.live:
            raise PromotionError(f"{digest[:12]} is live already")
        releases = {**self.releases, digest: record.content.object("metadata")}
        if len(releases) > MAX_RELEASES:
            raise PromotionError(f"a registry keeps at most {MAX_RELEASES} releases: prune it first")
        since = self.since if digest == self.candidate else record.sequence
        return replace(self, releases=releases, candidate=digest, since=since, is_promoted=False)

    def _opened(self, record: Record) -> RegistryState:
        content = record.content
        candidate, incumbent = content.text("candidate"), content.text("incumbent")
        if self.candidate in (None, self.live):
            raise PromotionError("there is no candidate to compare: submit one")
        if (candidate, incumbent) != (self.candidate, self.live):
            raise PromotionError(
                f"{candidate[:12]} is not the candidate, or {incumbent[:12]} not live: they are "
                f"{str(self.candidate)[:12]} and {self.live[:12]}"
            )
        number, seeds = content.integer("pass"), (content.integer("first_seed"), content.integer("num_episodes"))
        if number != len(self.passes) or seeds != self.next_seeds():
            raise PromotionError(f"pass {number} must be pass {len(self.passes)} on its own seeds, got seeds {seeds}")
        opened = RegistryPass(
            number=number, candidate=candidate, incumbent=incumbent, first_seed=seeds[0], opened=record.sequence
        )
        return replace(self, passes=(*self.passes, opened), is_promoted=False)

    def _evaluated(self, record: Record) -> RegistryState:
        number, comparison = record.content.integer("pass"), read_comparison(record.content)
        if not 0 <= number < len(self.passes) or self.passes[number].result is not None:
            raise PromotionError(f"pass {number} was not opened, or has its result already")
        expected = self.settings.config.num_episodes
        if comparison is not None and comparison.num_episodes != expected:
            raise PromotionError(f"pass {number} has {expected} episodes, got {comparison.num_episodes}")
        opened, gates = self.passes[number], read_gates(record.content)
        result = PromotionPass.of(
            opened.candidate,
            opened.incumbent,
            tail_margin=self.settings.config.tail_margin,
            comparison=comparison,
            gates=gates,
        )
        passes = list(self.passes)
        passes[number] = replace(opened, result=result, gates=gates)
        after = replace(
            self,
            passes=tuple(passes),
            last_result="pass" if result.outcome == "better" else "fail",
            last_evaluated=record.sequence,
        )
        if not after.candidate_ready:
            return replace(after, ready_since=None)
        return after if self.candidate_ready else replace(after, ready_since=record.sequence)

    def _promoted(self, record: Record) -> RegistryState:
        release, incumbent = record.content.text("release"), record.content.text("incumbent")
        if release == self.live:
            raise PromotionError(f"{release[:12]} is live already")
        if release != self.candidate or incumbent != self.live:
            raise PromotionError(
                f"{release[:12]} is not the candidate, or {incumbent[:12]} no longer live: they are "
                f"{str(self.candidate)[:12]} and {self.live[:12]}"
            )
        passes = [each.number for each in self.counted_passes]
        if not self.candidate_ready:
            raise PromotionError(
                f"{release[:12]} is not ready: {len(passes)} of {self.settings.config.required_passes} passes in a "
                f"row against {incumbent[:12]}"
            )
        if list(record.content.integers("passes")) != passes:
            raise PromotionError(f"the evidence of a promotion are the passes {passes}")
        metadata = _named(release, self.settings.behavior)
        return replace(self._now(record, (*self.stack, release), metadata), is_promoted=True)

    def _rolled_back(self, record: Record) -> RegistryState:
        if len(self.stack) < 2:
            raise PromotionError(f"{self.live[:12]} is live, and nothing was before it")
        self._require_from(record)
        if record.content.text("to") != self.stack[-2]:
            raise PromotionError(f"a rollback returns to {self.stack[-2][:12]}")
        metadata: dict[str, JsonValue] = {"reason": _text(record.content, "reason")}
        return replace(self._now(record, self.stack[:-1], metadata), candidate=None)

    def _swapped(self, record: Record) -> RegistryState:
        target = record.content.text("to")
        self._require_from(record)
        if target == self.live:
            raise PromotionError(f"{target[:12]} is live already")
        if target != self.settings.behavior:
            self.require_release(target)
        metadata: dict[str, JsonValue] = {name: _text(record.content, name) for name in ("reason", "by")}
        after = self._now(record, (*self.stack, target), metadata)
        return replace(after, candidate=None) if target == self.candidate else after

    def _named(self, record: Record) -> RegistryState:
        name = record.content.text("name")
        if _ALIAS.fullmatch(name) is None or name in (CHAMPION, CHALLENGER):
            raise PromotionError(
                f"an alias is other than `champion` and `challenger`, and like `a-z0-9_.-`: {name!r:.70}"
            )
        aliases = {other: digest for other, digest in self.aliases.items() if other != name}
        if not record.content.is_null("release"):
            digest = record.content.text("release")
            self.require_release(digest)
            aliases[name] = digest
        elif name not in self.aliases:
            raise PromotionError(f"there is no alias {name!r}")
        if len(aliases) > MAX_ALIASES:
            raise PromotionError(f"a registry has at most {MAX_ALIASES} aliases")
        return replace(self, aliases=aliases)

    def _pruned(self, record: Record) -> RegistryState:
        digests, protected = record.content.texts("releases"), self.protected()
        for digest in digests:
            self.require_release(digest)
            if digest in protected:
                raise PromotionError(f"{digest[:12]} is live, named, a candidate, or what a rollback returns to")
        return replace(self, releases={one: said for one, said in self.releases.items() if one not in digests})

    def _require_from(self, record: Record) -> None:
        if (seen := record.content.text("from")) != self.live:
            raise PromotionError(f"{seen[:12]} is no longer live: {self.live[:12]} is")

    def _now(self, record: Record, stack: tuple[str, ...], metadata: Mapping[str, JsonValue]) -> RegistryState:
        """Let what is last in `stack` be live; passes so far no longer count."""
        *before, last = self.periods
        ended = replace(last, end_sequence=record.sequence, end_time=record.time)
        begun = LivePeriod(
            release=stack[-1], event=record.event, sequence=record.sequence, time=record.time, metadata=metadata
        )
        return replace(self, stack=stack, periods=(*before, ended, begun), since=record.sequence, is_promoted=False)


def _named(release: str, behavior: str) -> dict[str, JsonValue]:
    return {} if release == behavior else {"checkpoint": f"releases/{release}", "policy_hash": release}


def _text(content: Fields, name: str) -> str:
    text = content.text(name)
    if not 1 <= len(text) <= MAX_TEXT:
        raise PromotionError(f"`{name}` must have 1 to {MAX_TEXT} characters, got {len(text)}")
    return text
