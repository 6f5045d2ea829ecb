"""How a run is begun and gone on with: its directory, its first files, and what must be the same again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from townlet_runtime.cli.console import CommandError, Console
from townlet_runtime.cli.world_options import require_begun_with
from townlet_runtime.config import config_digest, dump_config
from townlet_runtime.config.dump import noted
from townlet_runtime.runs.begun import BegunFile, InitialSource, noted_record
from townlet_runtime.runs.directory import BEGUN, CONFIG, INITIAL, new_run_directory
from townlet_runtime.runs.opponents import keep_opponents, sha256_of
from townlet_runtime.simulation.spec_entries import spec_entries
from townlet_trajectory.storage.files import write_bytes_atomic
from townlet_trajectory.storage.urls import Url

if TYPE_CHECKING:
    from townlet_runtime.cli.training.plan import TrainPlan
    from townlet_runtime.policy.onnx import FilePolicy
    from townlet_runtime.training import InitialPolicy


@contextmanager
def claimed(
    plan: TrainPlan, opponents: Mapping[str, FilePolicy] = {}, initial: InitialPolicy | None = None
) -> Iterator[tuple[Path, BegunFile]]:
    """Hold the run directory while the block prepares the run; a new one then gets its first files.

    Args:
        plan: of the run.
        opponents: policies of the groups that do not learn, to be copied into a new run.
        initial: policy that a new run begins with; None: a fresh one.

    Yields:
        The directory, and the settings that the run was or is begun with.
    """
    if plan.begun is not None:
        yield plan.run_dir, plan.begun
        return
    text = dump_config(plan.config)
    with new_run_directory(plan.run_dir, numbered=not plan.named) as run_dir:
        begun = BegunFile(
            schema_version=2,
            threads=plan.threads,
            environment=plan.environment,
            controller=plan.worlds.controller,
            guardrails=plan.worlds.guardrails,
            specs=None if plan.environment is None else {name: spec_entries(each) for name, each in plan.specs.items()},
            config_sha256=config_digest(plan.config),
            config=noted(plan.config),
            data=() if plan.data is None else plan.data.noted,
            opponents_sha256=sha256_of(opponents),
            initial=None if initial is None else InitialSource(path=str(plan.init_from), weights_sha256=initial.sha256),
            record=noted_record(plan.record),
        )
        yield run_dir, begun
        keep_opponents(run_dir, opponents)
        if initial is not None:
            initial.write(run_dir / INITIAL)
        # The config comes last: a run that has one can be resumed, however early it is killed.
        begun.write(run_dir / BEGUN)
        write_bytes_atomic(run_dir / CONFIG, text.encode())


def notes_of(begun: BegunFile) -> dict[str, str]:
    """The settings that every checkpoint repeats, and that a resumed run must have again."""
    notes = {
        "threads": str(begun.threads),
        "config_sha256": begun.config_sha256,
        "environment": begun.environment,
        "controller": begun.controller,
        "guardrails": " ".join(begun.guardrails) or None,
        "opponents_sha256": " ".join(f"{group}={one}" for group, one in begun.opponents_sha256.items()) or None,
        "initial": None if begun.initial is None else begun.initial.weights_sha256,
    }
    return {name: value for name, value in notes.items() if value is not None}


def resume_at(plan: TrainPlan, begun: BegunFile, console: Console) -> int:
    """Say where a run goes on, and return the env steps that it has made.

    Args:
        plan: of the run that is resumed.
        begun: settings that it was begun with.
        console: shows where the run goes on.

    Returns:
        Env steps of its newest checkpoint; 0 without one.

    Raises:
        CommandError: if its newest checkpoint is damaged, or it was begun with other threads or other code.
    """
    from townlet_runtime.training import TrainingError, newest_state

    require_begun_with(plan.run_dir, "env", begun.environment or plan.worlds.environment, plan.worlds.environment)
    require_begun_with(plan.run_dir, "controller", begun.controller, plan.worlds.controller)
    require_begun_with(
        plan.run_dir, "guardrail", " ".join(begun.guardrails) or None, " ".join(plan.worlds.guardrails) or None
    )
    require_begun_with(plan.run_dir, "threads", str(begun.threads), str(plan.threads))
    try:
        state = newest_state(plan.run_dir)
    except TrainingError as error:
        raise CommandError(str(error)) from error
    if state is None or not state.history.prepared:
        console.note(f"{plan.run_dir}: nothing was learned yet; the run begins again in its place")
        return 0
    console.note(f"{plan.run_dir}: going on at {state.env_steps:,} env steps ({state.stage})")
    return state.env_steps


def resume_command(plan: TrainPlan, run_dir: Path) -> str:
    """Return the command that goes on with the run in `run_dir`."""
    # A URL is not opened unless it is typed; what is secret in it is not shown.
    url = plan.record.place if plan.record is not None and isinstance(plan.record.place, Url) else None
    record = [] if url is None else ["--record", str(url)]
    command = shlex.join(["townlet", "train", "--resume", str(run_dir), *record])
    return f"{command} {plan.worlds.options.code().typed()}".rstrip()
