"""What `townlet live`, its replays and `townlet train --live` share of serving a page."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from townlet_runtime.cli.console import Console
from townlet_runtime.errors import MissingExtraError

DEFAULT_SPEED = 10.0
"""Ticks a second."""


@dataclass(frozen=True, kw_only=True)
class LiveOptions:
    """The options of `townlet live` beside those of a run."""

    host: str
    port: int
    opens: bool


def imports_of_live() -> None:
    """Import the server.

    Raises:
        MissingExtraError: if the extra `live` is not installed.
    """
    try:
        import_module("townlet_runtime.live.serve")
    except ModuleNotFoundError as error:
        text = f"a page needs the extra `live`: pip install 'townlet-runtime[live]' ({error})"
        raise MissingExtraError(text) from error


def warn_of_network(page: LiveOptions, console: Console) -> None:
    """Say what it means that a page can be reached from elsewhere, where it can."""
    from townlet_runtime.sockets.security import is_local

    if not is_local(page.host):
        console.warning(
            f"{page.host} can be reached from other machines: who has the address can take agents over,"
            " and reads what you see, without encryption"
        )
