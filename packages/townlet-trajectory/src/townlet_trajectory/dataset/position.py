"""Where a dataset is: small enough for any checkpoint, and refused by another dataset."""

from __future__ import annotations

import re
from dataclasses import dataclass

from townlet_trajectory.errors import DatasetError
from townlet_trajectory.storage.json import JsonValue

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class DatasetPosition:
    """The batch that comes next."""

    epoch: int
    """Number of the epoch, >= 0."""
    batch: int
    """Number of the batch within it, >= 0."""
    fingerprint: str
    """SHA-256 (hex) of the content of the dataset and of every option that decides what its batches hold."""

    def __post_init__(self) -> None:
        for name, number in (("epoch", self.epoch), ("batch", self.batch)):
            if type(number) is not int or number < 0:
                raise DatasetError(f"position: `{name}` must be an integer >= 0, got {number!r:.80}")
        if not isinstance(self.fingerprint, str) or not _SHA256.fullmatch(self.fingerprint):
            raise DatasetError(f"position: `fingerprint` must be 64 hex digits, got {self.fingerprint!r:.80}")

    def document(self) -> dict[str, JsonValue]:
        """As JSON; `position_of` is the inverse."""
        return {"epoch": self.epoch, "batch": self.batch, "fingerprint": self.fingerprint}


def position_of(document: JsonValue) -> DatasetPosition:
    """The position that `DatasetPosition.document` made.

    Raises:
        DatasetError: if it is anything else.
    """
    names = ("epoch", "batch", "fingerprint")
    if not isinstance(document, dict) or document.keys() != set(names):
        raise DatasetError(f"a position must be an object of {', '.join(names)}, got {document!r:.200}")
    epoch, batch, fingerprint = (document[name] for name in names)
    if not isinstance(epoch, int) or not isinstance(batch, int) or not isinstance(fingerprint, str):
        raise DatasetError(f"a position must hold two integers and a text, got {document!r:.200}")
    return DatasetPosition(epoch=epoch, batch=batch, fingerprint=fingerprint)
