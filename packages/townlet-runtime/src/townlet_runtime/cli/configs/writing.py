"""`townlet config init` and `schema`: a text that is printed, or written to a new file."""

from __future__ import annotations

from pathlib import Path

from townlet_runtime.cli.console import CommandError, Console
from townlet_runtime.cli.world_options import is_world_code
from townlet_runtime.config.annotated import annotated_config
from townlet_runtime.config.file_schema import file_schema
from townlet_runtime.config.sections import MODULE
from townlet_trajectory.storage.files import write_bytes_atomic
from townlet_trajectory.storage.json import readable_json

SCHEMA_FILE = "townlet.schema.json"
"""What the schema is called where it is only printed."""


def write_config(file: Path | None, *, world: str, preset: str | None, force: bool, console: Console) -> None:
    """Write a config that explains every key.

    Args:
        file: new; None: standard output.
        world: as `--env` names it; code is in no config, which then says that the command line names it.
        preset: start values of training; None: those of the world.
        force: write over a file that is there.
        console: prints the result.

    Raises:
        CommandError: if the file is there.
        ConfigError: if there is no such preset.
    """
    _require_new(file, force=force)
    is_code = is_world_code(world)
    text = annotated_config(world=MODULE if is_code else world, preset=preset)
    if is_code:
        console.note(f"no file may name code: add --env {world} to every command with this config")
    _write(file, text.encode(), console)
    named = "standard output" if file is None else str(file)
    record = {"file": None if file is None else str(file), "config": text if file is None else None}
    console.result(record, text.splitlines() if file is None else [f"wrote {named}"])


def write_schema(file: Path | None, *, force: bool, console: Console) -> None:
    """Write the JSON schema of config files, and say how an editor uses it.

    Args:
        file: new; None: standard output.
        force: write over a file that is there.
        console: prints the result.

    Raises:
        CommandError: if the file is there.
    """
    _require_new(file, force=force)
    schema = file_schema()
    data = readable_json(schema)
    _write(file, data, console)
    if file is None:
        console.result(schema, data.decode().splitlines())
    else:
        console.result({"file": str(file)}, [f"wrote {file}"])
    console.note("first line of a config, for an editor with a YAML language server:")
    console.note(f"# yaml-language-server: $schema={SCHEMA_FILE if file is None else file.name}")


def _require_new(file: Path | None, *, force: bool) -> None:
    if file is None or not (file.exists() or file.is_symlink()):
        return
    if not file.is_file():
        raise CommandError(f"{file}: expected a new file, got something that is no file")
    if not force:
        raise CommandError(f"{file}: there is such a file; --force writes over it")


def _write(file: Path | None, data: bytes, console: Console) -> None:
    if file is not None:
        write_bytes_atomic(file, data)
