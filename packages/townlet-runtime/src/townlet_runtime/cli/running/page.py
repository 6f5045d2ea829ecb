"""What `townlet live`, its replays, `townlet train --live` and `townlet serve` share of serving."""

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


def import_server(module: str = "townlet_runtime.live.serve", *, what: str = "a page") -> None:
    """Import a server.

    Args:
        module: of the server.
        what: needs it.

    Raises:
        MissingExtraError: if the extra `live` is not installed.
    """
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        text = f"{what} needs the extra `live`: pip install 'townlet-runtime[live]' ({error})"
        raise MissingExtraError(text) from error


def warn_of_network(host: str, console: Console, *, may: str = "can take agents over, and reads what you see") -> None:
    """Say what it means that a server can be reached from elsewhere, where it can.

    Args:
        host: that is listened at.
        console: of the command.
        may: what can be done by who has the address.
    """
    from townlet_runtime.sockets.security import is_local

    if not is_local(host):
        console.warning(f"{host} can be reached from other machines: who has the address {may}, without encryption")
