"""The actions an agent can choose from, declared before the run and the same for all agents of a group."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from .errors import UnknownActionError, VocabularyError


@dataclass(frozen=True, kw_only=True)
class ActionVocabulary:
    """An ordered list of action keys; all arrays refer to an action by its index.

    Examples:
        >>> vocabulary = ActionVocabulary(keys=("wait", "move:north", "start:fridge"), kinds=("wait", "move", "start"))
        >>> vocabulary.index("start:fridge"), len(vocabulary)
        (2, 3)

    Raises:
        VocabularyError: if keys repeat, `kinds` has another length, or `wait` is no index.
    """

    keys: tuple[str, ...]
    """[A]; unique names, e.g. `("wait", "move:north", "start:fridge")`."""
    kinds: tuple[str, ...]
    """[A]; the option kind of each action, by which the length of a commitment is looked up."""
    wait: int = 0
    """Index of the action that does nothing; -1 where there is no action at all."""

    @classmethod
    def none(cls) -> ActionVocabulary:
        """Return the vocabulary of agents whose actions have no index (`ArrayActions`): no keys."""
        return cls(keys=(), kinds=(), wait=-1)

    def __post_init__(self) -> None:
        if not self.keys and not self.kinds and self.wait == -1:
            return
        if not self.keys:
            raise VocabularyError("`keys` must hold at least one action, got none")
        repeated = sorted(key for key, count in Counter(self.keys).items() if count > 1)
        if repeated:
            raise VocabularyError(f"`keys` must be unique, got {repeated} more than once")
        if len(self.kinds) != len(self.keys):
            raise VocabularyError(f"`kinds` must have one entry per key ({len(self.keys)}), got {len(self.kinds)}")
        if not 0 <= self.wait < len(self.keys):
            raise VocabularyError(f"`wait` must be in [0, {len(self.keys)}), got {self.wait}")

    def __len__(self) -> int:
        return len(self.keys)

    def index(self, key: str) -> int:
        """Return the index of `key`.

        Raises:
            UnknownActionError: if the vocabulary has no such key.
        """
        if key not in self._index:
            raise UnknownActionError(f"`key` must be one of the {len(self)} actions of the vocabulary, got {key!r}")
        return self._index[key]

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the keys as canonical JSON; equal digests mean equal keys in equal order."""
        text = json.dumps(list(self.keys), separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def _index(self) -> dict[str, int]:
        return {key: index for index, key in enumerate(self.keys)}
