"""`townlet live`: a world in the browser."""

from __future__ import annotations

import webbrowser
from contextlib import closing

from townlet_behavior import BehaviorError
from townlet_runtime.cli.console import ENVIRONMENT_FAILED, Console, one_line, stop_on_signals
from townlet_runtime.cli.recording import MAX_ROWS
from townlet_runtime.cli.running.page import DEFAULT_SPEED, LiveOptions, imports_of_live, warn_of_network
from townlet_runtime.cli.running.setup import RunOptions, prepared, record_world, require_shares
from townlet_runtime.errors import TownletError
from townlet_trajectory import TrajectoryError


def serve_live(options: RunOptions, page: LiveOptions, console: Console) -> int:
    """Serve the page until a signal comes, and return the exit code.

    Args:
        options: of the world, its policy and its recording.
        page: where and how it is served.
        console: of the command.

    Raises:
        MissingExtraError: if the extra `live` is not installed.
        ConfigError: if nobody can listen at the address, or the world or policy does not fit.
    """
    require_shares(options)
    imports_of_live()
    from townlet_runtime.live.desk import Desk
    from townlet_runtime.live.hub import Hub
    from townlet_runtime.live.serve import served
    from townlet_runtime.live.stage import Stage

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
        desk = Desk(stage, has_policy=world.setup.policies is not None and not world.setup.drawn)
        warn_of_network(page, console)
        with served(Hub(stage, desk), host=page.host, port=page.port) as address, stop_on_signals() as stop:
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
            record_world(world, options.record, batches, console, ticks=stage.history.tick + 1)
    return ENVIRONMENT_FAILED if failed else stop.code
