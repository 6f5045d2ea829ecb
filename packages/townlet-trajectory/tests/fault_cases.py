"""One damaged file after the other: is the content the same, or refused, or has something else happened?"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from fault_damage import Damage, Files, damaged
from fault_formats import Format, files_of

from townlet_trajectory import ArtifactError


class FaultFoundError(Exception):
    """A damaged file was read as something else, or not refused with the one kind of error."""


class DamagedFormat:
    """A format in a folder, damaged again and again. A case follows from the seed and its index alone."""

    def __init__(self, kind: Format, folder: Path, *, seed: int) -> None:
        self._kind, self._seed = kind, seed
        self._folder, other = folder / "sound", folder / "other"
        for place, content_seed in ((self._folder, 1), (other, 50)):
            place.mkdir(parents=True)
            kind.write(place, content_seed)
        self._files, self._others = files_of(self._folder), files_of(other)
        self._names = [name for name in self._files if any(fnmatch(name, pattern) for pattern in kind.names)]
        self._expected, self._content_of_other = kind.read(self._folder), kind.read(other)
        if self._expected == self._content_of_other:
            raise ValueError(f"{kind.name}: two seeds give the same content")

    def run(self, index: int) -> str:
        """Damage, read, mend.

        Returns:
            `same`; `refused`; `other` (spliced so that the other sound file is there as a whole); `as told` (content of
            a format without checksum, or of one that was signed anew).

        Raises:
            FaultFoundError: if anything else happened.
        """
        rng = np.random.default_rng([self._seed, index])
        change = damaged(self._files, self._others, self._names, rng)
        if self._kind.sealed is not None:
            change = self._sealed(change, self._kind.sealed)
        self._put(change)
        try:
            return self._outcome()
        finally:
            self._put({name: self._files.get(name) for name in change})

    def changed(self, index: int) -> Damage:
        """What case `index` damages, to look at."""
        rng = np.random.default_rng([self._seed, index])
        return damaged(self._files, self._others, self._names, rng)

    def _outcome(self) -> str:
        try:
            found = self._kind.read(self._folder)
        except ArtifactError:
            return "refused"
        except Exception as error:
            raise FaultFoundError(f"{type(error).__name__}: {error}") from error
        if found == self._expected:
            return "same"
        if found == self._content_of_other:
            return "other"
        if self._kind.sealed is not None:
            return "as told"
        if self._kind.told is None:
            raise FaultFoundError("read as something else")
        try:
            told = self._kind.told(self._folder)
        except Exception as error:
            raise FaultFoundError(f"read, but other code says {type(error).__name__}: {error}") from error
        if told != found:
            raise FaultFoundError("read as something else than its bytes say")
        return "as told"

    def _sealed(self, change: Damage, seal: Callable[[Files], Files]) -> Damage:
        present = {name: data for name, data in {**self._files, **change}.items() if data is not None}
        sealed = seal(present)
        return {name: sealed.get(name) for name in {*self._files, *sealed} if sealed.get(name) != self._files.get(name)}

    def _put(self, content: Damage) -> None:
        for name, data in content.items():
            path = self._folder / name
            if data is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(data)
