"""`townlet serve`: a policy behind a socket."""

from __future__ import annotations

import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from townlet_runtime.cli.console import CommandError, Console, stop_on_signals
from townlet_runtime.cli.named_policy import load_policy
from townlet_runtime.cli.running.page import import_server, warn_of_network
from townlet_trajectory import ArtifactError
from townlet_trajectory.storage.paths import read_named

_LOOK_S = 0.1
_TOKEN = re.compile(rb"[A-Za-z0-9_-]{32,128}")
_ORIGIN = re.compile(r"https?://[^/\s]+")


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """The options of `townlet serve`."""

    policy: Path
    host: str
    port: int
    greedy: bool
    seed: int
    max_agents: int
    idle_s: float
    token_file: Path | None
    origins: tuple[str, ...]


def print_schema() -> int:
    """Print the schema of the messages, whatever else was asked for, and return the exit code."""
    from townlet_runtime.serving.messages import schema_text

    sys.stdout.write(schema_text())
    return 0


def serve_policy(options: ServeOptions, console: Console) -> int:
    """Serve the policies of all groups until a signal comes, and return the exit code.

    Args:
        options: of the command.
        console: of the command.

    Raises:
        MissingExtraError: if the extra `live` is not installed.
        PolicyFileError, RunDirectoryError: if there is no such policy.
        ConfigError: if nobody can listen at the address.
        CommandError: if the token or an origin is none, or the server ends by itself.
    """
    import_server("townlet_runtime.serving.serve", what="a served policy")
    from townlet_runtime.serving.serve import serving
    from townlet_runtime.serving.served import Served

    token = None if options.token_file is None else _token_in(options.token_file)
    for origin in options.origins:
        if not _ORIGIN.fullmatch(origin):
            raise CommandError(f"--allow-origin: expected http://HOST:PORT without a path, got {origin!r}")
    named = load_policy(options.policy)
    served = Served(named.playing, seed=options.seed, greedy=options.greedy, max_agents=options.max_agents)
    scripted = [group for group, policy in named.opponents.items() if policy is None]
    if scripted:
        console.warning(f"{', '.join(scripted)}: played by the script, which is not served")
    warn_of_network(options.host, console, may="can ask the policy")
    with (
        serving(
            served,
            host=options.host,
            port=options.port,
            token=token,
            origins=options.origins,
            idle_s=options.idle_s,
        ) as service,
        stop_on_signals() as stop,
    ):
        console.note(
            f"serving {service.address}" if token is None else f"serving {service.url} (token in {options.token_file})"
        )
        while not stop() and service.server.serves:
            time.sleep(_LOOK_S)
    tally = service.tally
    record = {"questions": tally.questions, "agents": tally.agents, "refused": tally.refused}
    counted = f"{tally.questions:,} questions about {tally.agents:,} agents answered, {tally.refused:,} refused"
    console.result(record, [counted])
    if not stop():
        raise CommandError("the server has ended by itself; its log says why")
    return stop.code


def _token_in(path: Path) -> str:
    try:
        found = read_named(path, max_bytes=256).strip()
    except ArtifactError as error:
        raise CommandError(f"--token-file: {path}: {error.reason}") from error
    if not _TOKEN.fullmatch(found):
        raise CommandError(f"--token-file: {path}: expected 32 to 128 of A-Z a-z 0-9 - _, got another secret")
    return found.decode()
