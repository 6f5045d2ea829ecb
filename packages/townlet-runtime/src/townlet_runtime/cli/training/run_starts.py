"""Runs that begin with a trained policy (`--init-from`), and runs that are extended (`--resume --total-steps`).

An extended run is unfinished until it has been judged anew: its manifest is removed first, then `begun.json` gets the
new total, then the config. A process that is killed in between leaves a run that `--resume` goes on with.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from townlet_runtime.cli.console import CommandError
from townlet_runtime.cli.worlds import require_unchanged
from townlet_runtime.config import (
    Config,
    Override,
    config_digest,
    dump_config,
    is_scheduled,
    load_config,
    training_mode,
    training_settings,
)
from townlet_runtime.config.dump import noted
from townlet_runtime.errors import RunDirectoryError
from townlet_runtime.runs.adapted import is_adapted, read_adapted
from townlet_runtime.runs.begun import BegunFile, Extension
from townlet_runtime.runs.directory import BEGUN, CHECKPOINTS, CONFIG, INITIAL, MANIFEST
from townlet_runtime.runs.finished import read_run
from townlet_trajectory.storage.files import remove_file, write_bytes_atomic
from townlet_trajectory.storage.locks import DirectoryLock

if TYPE_CHECKING:
    from townlet_runtime.training import EarlierTotal, InitialPolicy, TrainingConfig

_TOTAL = ("training", "total_env_steps")


def require_initial(path: Path) -> None:
    """Refuse a `path` that is not the directory of a finished run or of an adapted policy; its files are not read.

    Raises:
        CommandError: if it is a file: an exported policy holds nothing to train on with.
        RunDirectoryError: if there is no such directory, or it is not finished.
    """
    if path.is_file():
        raise CommandError(
            f"{path}: a policy file can act, but not be trained on; name the directory of its run, or of the adapted "
            "policy, which holds the weights"
        )
    if not (path / MANIFEST).is_file():
        found = f"no {MANIFEST} in it" if path.is_dir() else "no directory"
        raise RunDirectoryError(path, f"expected a finished run or an adapted policy, found {found}")


def initial_policy(path: Path) -> InitialPolicy:
    """Read the policy that a run can begin with, from the directory of a finished run or of an adapted policy.

    Raises:
        RunDirectoryError: if it is neither, or a file is missing, damaged or exchanged.
        TrainingError: if its weights cannot be read.
    """
    from townlet_runtime.training import InitialPolicy, initial_of_run

    require_initial(path)
    if is_adapted(path):
        expected = read_adapted(path).record.weights_sha256
        initial = InitialPolicy.read(path / INITIAL)
    else:
        expected = read_run(path).summary.weights_sha256
        initial = initial_of_run(path)
    if initial.sha256 != expected:
        raise RunDirectoryError(path, f"expected the weights {expected}, found {initial.sha256}")
    return initial


def with_network(config: Config, training: TrainingConfig, initial: InitialPolicy) -> TrainingConfig:
    """Return `training` with the network of the initial policy.

    Args:
        config: that `training` was made of.
        training: settings of the run.
        initial: the policy that it begins with.

    Raises:
        CommandError: if the config asks for another network.
    """
    own = vars(initial.network)
    for name, value in training_settings(config).items():
        section, _, field = name.partition(".")
        said = tuple(value) if isinstance(value, list) else value
        if section == "network" and said != own[field]:
            raise CommandError(f"`{name}` is {said}, that of the initial policy {own[field]}; leave it out")
    return replace(training, network=initial.network)


def extend(run_dir: Path, total: int) -> None:
    """Give the run in `run_dir` more world steps, unless it has so many already; it is unfinished then.

    Raises:
        CommandError: if they are fewer than it has, or the run cannot go on.
        RunDirectoryError: if it is finished and a file of it is damaged, or another process holds it.
    """
    settle_extension(run_dir)
    begun, before = require_unchanged(run_dir), load_config(run_dir / CONFIG).config
    if is_scheduled(before, training_mode(before)):
        raise CommandError(f"--total-steps {total}: {run_dir} follows a schedule of its own, which says how long it is")
    had = training_settings(before)["total_env_steps"]
    if total == had:
        return
    if total < had:
        raise CommandError(f"--total-steps {total}: {run_dir} has {had:,} world steps; a run can only be given more")
    _require_extendable(run_dir)
    if (run_dir / MANIFEST).exists():
        read_run(run_dir)
    override = Override(path=_TOTAL, value=total, label=f"--total-steps {total}")
    config = load_config(run_dir / CONFIG, [override]).config
    extension = Extension(total_env_steps=had, config_sha256=config_digest(before))
    with DirectoryLock(run_dir):
        remove_file(run_dir / MANIFEST)
        replace(
            begun,
            config_sha256=config_digest(config),
            config=noted(config),
            extensions=(*begun.extensions, extension),
        ).write(run_dir / BEGUN)
        write_bytes_atomic(run_dir / CONFIG, dump_config(config).encode())


def settle_extension(run_dir: Path) -> None:
    """Write the config of a run whose extension was broken off between `begun.json` and the config.

    Raises:
        ReportError: if `begun.json` is damaged.
        ConfigError: if the config is.
    """
    begun = BegunFile.read(run_dir / BEGUN)
    if not begun.extensions or begun.config is None:
        return
    config = load_config(run_dir / CONFIG).config
    if config_digest(config) != begun.extensions[-1].config_sha256:
        return
    training = begun.config["training"]
    total = training["total_env_steps"] if isinstance(training, dict) else None
    override = Override(path=_TOTAL, value=total, label=f"`total_env_steps` of {BEGUN}")
    config = load_config(run_dir / CONFIG, [override]).config
    if config_digest(config) == begun.config_sha256:
        with DirectoryLock(run_dir):
            write_bytes_atomic(run_dir / CONFIG, dump_config(config).encode())


def earlier_totals(begun: BegunFile) -> list[EarlierTotal]:
    """Return the totals that a run had before it was extended, with the notes of then that differ from those now."""
    from townlet_runtime.training import EarlierTotal

    return [
        EarlierTotal(total_env_steps=one.total_env_steps, notes={"config_sha256": one.config_sha256})
        for one in begun.extensions
    ]


def _require_extendable(run_dir: Path) -> None:
    """Refuse a run that more world steps would not be trained on; nothing is changed."""
    from townlet_runtime.training import CheckpointStore, TrainingError, read_checkpoint

    newest = CheckpointStore(run_dir / CHECKPOINTS, keep_last=1).newest()
    if newest is None:
        return
    try:
        checkpoint = read_checkpoint(newest)
    except TrainingError as error:
        raise CommandError(str(error)) from error
    history = checkpoint.state.history
    if (mode := checkpoint.state.config.mode) in ("bc", "dagger"):
        raise CommandError(f"{run_dir}: a run of mode {mode} has no updates that world steps could be added to")
    if history.failure is not None:
        raise CommandError(
            f"{run_dir}: its run was ended by gate {history.failure.name}; begin another one with --init-from"
        )
    if history.prepared and checkpoint.worlds is None:
        raise CommandError(f"{run_dir}: its worlds cannot be saved, so it cannot go on; begin another with --init-from")
