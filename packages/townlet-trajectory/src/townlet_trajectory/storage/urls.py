"""URLs of datasets that a person typed: told from paths, and shown without user, password and query.

Nothing here opens one. A path that a file holds stays a `Path`, whatever it looks like, so that no file can name a
place in the network.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit
from urllib.request import url2pathname

from townlet_trajectory.errors import ArtifactError

MAX_URL = 2048
"""Characters of a URL."""
WEB = ("http", "https")
"""Schemes that are read alone, and whose URLs may have a query."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_ANY_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://[^\s'\"<>]+")
_FILE = "file"
_LEAD_ON = frozenset(
    {"asyncwrapper", "blockcache", "cached", "data", "dir", "filecache", "generic", "libarchive", "local", "reference"}
    | {"simplecache", "tar", "zip"}
)
"""Schemes of fsspec that open another place, which the URL or a file names, or hold their content themselves."""


@dataclass(frozen=True)
class Url:
    """A place that fsspec opens; as text it has neither user nor password nor query."""

    text: str = field(repr=False)
    """As it was typed. It may hold secrets: it is handed to fsspec alone."""

    def __post_init__(self) -> None:
        """Refuse what is no plain URL: `ArtifactError`."""
        if self.scheme in _LEAD_ON or "::" in self.text:
            raise ArtifactError(self.shown, "open", "a URL that leads on to another place is not opened")
        if len(self.text) > MAX_URL or not self.text.isprintable():
            raise ArtifactError(self.shown[:80], "open", f"a URL has at most {MAX_URL} characters, all printable")
        if "#" in self.text or ("?" in self.text and self.scheme not in WEB):
            raise ArtifactError(self.shown, "open", "a fragment has no meaning here, nor a query but of http(s)")
        if any(part in (".", "..") for part in self._path.split("/")):
            raise ArtifactError(self.shown, "open", "a URL has no `.` or `..`")

    @property
    def scheme(self) -> str:
        """What is before `://`, in lower case."""
        return self.text.partition("://")[0].lower()

    @property
    def shown(self) -> str:
        """Without user, password, query and fragment."""
        return without_secrets(self.text)

    @property
    def name(self) -> str:
        """The last part of the path, or the host where it has none."""
        return self.shown.rstrip("/").rpartition("/")[2]

    @property
    def parent(self) -> Url:
        """The place that this one is in."""
        head, _, query = self.text.partition("?")
        return Url(head.rstrip("/").rpartition("/")[0] + (f"?{query}" if query else ""))

    @property
    def _path(self) -> str:
        return self.text.partition("?")[0].partition("://")[2]

    def __truediv__(self, name: str) -> Url:
        """The place `name` inside this one; a query is that of both."""
        head, _, query = self.text.partition("?")
        return Url(f"{head.rstrip('/')}/{name}" + (f"?{query}" if query else ""))

    def __str__(self) -> str:
        return self.shown


Place: TypeAlias = Path | Url
"""Where a dataset is."""


def named_place(text: str | Path | Url) -> Place:
    """Tell a URL from a path.

    Args:
        text: as a person typed it. A `Path` stays one, and `file:///DIR` is the path `/DIR`.

    Raises:
        ArtifactError: if it is a URL that is not opened: it leads on to another place, names another host's files, or
            has more than 2,048 characters.
    """
    if isinstance(text, Url) or not isinstance(text, str) or not _SCHEME.match(text.rpartition("::")[2]):
        return text if isinstance(text, Url) else Path(text)
    url = Url(text)
    if url.scheme != _FILE:
        return url
    parts = urlsplit(text)
    if parts.netloc not in ("", "localhost"):
        raise ArtifactError(url.shown, "open", "a file has no host: expected file:///DIR")
    return Path(url2pathname(parts.path))


def name_of_place(place: str | Path | Url) -> str:
    """Return the last part of a path, links followed, or of a URL."""
    found = named_place(place)
    return found.name if isinstance(found, Url) else found.resolve().name


def without_secrets(url: str) -> str:
    """Return a URL without user, password, query and fragment."""
    scheme, _, rest = url.partition("://")
    rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def hidden_in(text: str, url: Url) -> str:
    """Return a message of another library about `url` without secrets: every URL in it is shown as `without_secrets`
    does, and what else of user, password and query is repeated becomes `...`."""
    shown = _ANY_URL.sub(lambda found: without_secrets(found.group()), text)
    parts = urlsplit(url.text)
    user = parts.netloc.rpartition("@")[0]
    pairs = [value for pair in parts.query.split("&") for value in pair.split("=", 1)[1:]]
    for secret in sorted({user, *user.split(":", 1), parts.query, *pairs}, key=len, reverse=True):
        if len(secret) > 2:
            shown = shown.replace(secret, "...")
    return shown
