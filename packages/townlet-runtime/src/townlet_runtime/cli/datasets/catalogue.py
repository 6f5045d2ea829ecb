"""`townlet dataset audit` and `curate`: is data what it says it is, and which samples are worth learning from."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from townlet_runtime.cli.console import GATE_FAILED, SUCCESS, CommandError, Console
from townlet_runtime.runs.recorded import warnings_to
from townlet_trajectory.audit.captures import audit_catalogue
from townlet_trajectory.audit.dataset import audit_dataset
from townlet_trajectory.formats.captures.manifest import list_captures
from townlet_trajectory.storage.files import make_directory, write_json_atomic
from townlet_trajectory.storage.urls import Place


def audit_named(
    dataset: Place | None, versions: Path | None, data_root: Path, console: Console, *, exit_on_failure: bool
) -> int:
    """Audit one dataset, or all of a catalogue; return the exit code.

    Args:
        dataset: a path or URL of any format; None: a catalogue is named.
        versions: the catalogue.
        data_root: that paths in it are relative to.
        console: to print with.
        exit_on_failure: whether a failure is one of the command.

    Raises:
        CommandError: if both or neither are named.
    """
    with warnings_to(console.warning):
        if versions is not None and dataset is None:
            report = audit_catalogue(versions, data_root=data_root)
        elif dataset is not None and versions is None:
            report = audit_dataset(dataset, data_root=data_root)
        else:
            raise CommandError(f"expected DATASET or --versions FILE, got {'neither' if dataset is None else 'both'}")
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    console.result(report.document(timestamp=now), report.text().splitlines())
    return GATE_FAILED if exit_on_failure and report.failures else SUCCESS


def curate_samples(
    samples: Path, output: Path, console: Console, *, min_timesteps: int, min_reward: float | None
) -> int:
    """Write the manifest of the samples of a folder; return the exit code.

    Args:
        samples: the folder.
        output: the manifest; its folder is made where missing.
        console: to print with.
        min_timesteps: steps that an accepted sample has.
        min_reward: what the rewards of an accepted sample add up to at least; None: anything.
    """
    root = _root_of(samples, output)
    entries = list_captures(samples, relative_to=root, min_length=min_timesteps, min_return=min_reward)
    make_directory(output.parent)
    write_json_atomic(output, [*entries])
    if not entries:
        console.warning(f"{samples}: no sample (NAME.npz beside NAME.json) is there")
    elif not {Path.cwd(), output.parent.resolve()} & {root, *root.parents}:
        console.note(f"paths in {output} are relative to {root}: name it as --data-root")
    accepted = sum(entry["accepted"] is True for entry in entries)
    console.result({"total": len(entries), "accepted": accepted, "rejected": len(entries) - accepted}, ())
    return SUCCESS


def _root_of(samples: Path, output: Path) -> Path:
    """What paths are relative to: the working folder, as the original's, else the nearest that holds both."""
    inside, here, manifest = samples.resolve(), Path.cwd(), output.parent.resolve()
    for root in (here, manifest):
        if inside.is_relative_to(root):
            return root
    return Path(os.path.commonpath([inside, manifest]))
