"""`townlet live`: a world in the browser."""

from __future__ import annotations

import webbrowser
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from townlet_behavior import BehaviorError
from townlet_runtime.cli.console import ENVIRONMENT_FAILED, Console, one_line, stop_on_signals
from townlet_runtime.cli.recording import MAX_ROWS
from townlet_runtime.cli.running.page import DEFAULT_SPEED, LiveOptions, import_server, warn_of_network
from townlet_runtime.cli.running.school import require_training, school_of
from townlet_runtime.cli.running.setup import PreparedWorld, RunOptions, prepared, record_world, require_shares
from townlet_runtime.errors import TownletError
from townlet_trajectory import TrajectoryError

if TYPE_CHECKING:
    from townlet_runtime.live.desk import Desk
    from townlet_runtime.live.stage import Stage


def serve_live(options: RunOptions, page: LiveOptions, teach: Path | None, console: Console) -> int:
    """Serve the page until a signal comes, and return the exit code.

    Args:
        options: of the world, its policy and its recording.
        page: where and how it is served.
        teach: folder of lessons; None: nobody learns.
        console: of the command.

    Raises:
        MissingExtraError: if the extra `live` is not installed.
        ConfigError: if nobody can listen at the address, or the world or policy does not fit.
    """
    require_shares(options)
    import_server()
    from townlet_runtime.live.hub import Hub
    from townlet_runtime.live.serve import served
    from townlet_runtime.live.stage import Stage

    if teach is not None:
        require_training()
    world = prepared(options, console)
    with closing(world.simulation):
        stage = Stage(
            world.simulation,
            world.setup.runtimes,
            seed=world.seed,
            speed=options.ticks_per_second or DEFAULT_SPEED,
            max_rows=MAX_ROWS,
        )
        failed = False
        warn_of_network(page.host, console)
        with (
            _desk_of(stage, world, options, teach) as desk,
            served(Hub(stage, desk), host=page.host, port=page.port) as address,
            stop_on_signals() as stop,
        ):
            console.note(f"open {address}")
            if page.opens:
                webbrowser.open(address)
            try:
                stage.run(stop)
            except (TownletError, BehaviorError, TrajectoryError) as error:
                console.trace(error)
                console.error(one_line(error))
                failed = True
        if options.record is not None and (batches := stage.recorded()):
            ticks = np.unique(np.concatenate([batch.ticks for batch in batches.values()])).size
            record_world(_as_it_ended(world, stage), options.record, batches, console, ticks=ticks)
    return ENVIRONMENT_FAILED if failed else stop.code


@contextmanager
def _desk_of(stage: Stage, world: PreparedWorld, options: RunOptions, teach: Path | None) -> Iterator[Desk]:
    """Give what people may do; a lesson that is being learned ends with the block."""
    from townlet_runtime.live.desk import Desk
    from townlet_runtime.live.teaching.teacher import Teacher

    teacher = None if teach is None else Teacher(stage, school_of(world, teach, options.policy))
    place = None if teach is None else str(teach)
    desk = Desk(
        stage,
        has_policy=world.setup.policies is not None and not world.setup.drawn,
        teacher=teacher,
        recorded_at=place if options.record is None else options.record.place,
    )
    try:
        yield desk
    finally:
        if teacher is not None:
            teacher.close()


def _as_it_ended(world: PreparedWorld, stage: Stage) -> PreparedWorld:
    """The world with the policies that acted in it at last."""
    if not stage.acting:
        return world
    return replace(world, setup=replace(world.setup, policies={**(world.setup.policies or {}), **stage.acting}))
