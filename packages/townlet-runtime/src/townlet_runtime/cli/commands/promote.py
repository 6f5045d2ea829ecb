"""`townlet promote`: candidates against the champion of a registry, and everything that is asked of a registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from townlet_runtime.cli.episodes.options import EpisodeWorkers
from townlet_runtime.cli.options import (
    MAX_SEED,
    ControllerName,
    EnvOfRun,
    FinishedRunDir,
    GuardrailNames,
    whole_number,
)
from townlet_runtime.cli.promoting.commands import DRILL, EVALUATE, REHEARSE, drill, evaluate, rehearse
from townlet_runtime.cli.start import with_console

if TYPE_CHECKING:
    from townlet_runtime.cli.console import Console
    from townlet_trajectory.evaluation.registry import PromotionRegistry

promote_app = typer.Typer(help="Keep releases of a policy, and promote better ones by evidence.", rich_markup_mode=None)
promote_app.command(help=EVALUATE)(evaluate)
promote_app.command(help=DRILL)(drill)
promote_app.command(help=REHEARSE)(rehearse)

DECLINED = 1
"""Exit code where a person was asked, and said no."""

_Registry = Annotated[Path, typer.Option("--registry", metavar="DIR", help="Directory of the promotion registry.")]
_Seed = Annotated[
    int,
    typer.Option(
        parser=whole_number(0, MAX_SEED), metavar="N", help="Seed of the worlds, where the registry is made now."
    ),
]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Play and record the passes, promote nothing; exit code 0.")]
_Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, even at a terminal.")]
_SureYes = Annotated[
    bool, typer.Option("--yes", "-y", help="Do not ask. Needed where standard input is no terminal, as in a script.")
]
_At = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="ISO 8601, of the local clock where no zone is named; or seconds since 1970.",
        show_default=False,
    ),
]
_After = Annotated[
    int | None,
    typer.Option(
        parser=whole_number(1, 10**9),
        metavar="N",
        help="Number of a record, as `history` shows it.",
        show_default=False,
    ),
]
_Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; kept in the history.")]
_By = Annotated[str, typer.Option(metavar="NAME", help="Who says so; kept in the history.")]
_From = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="NAME", help="Do it only where this release is live.  [default: any]", show_default=False
    ),
]
_Release = Annotated[
    str, typer.Argument(metavar="RELEASE", help="Alias, digest or its beginning, or the name of the first behavior.")
]
_AliasName = Annotated[str, typer.Argument(metavar="NAME", help="Free name, other than champion and challenger.")]
_Target = Annotated[
    str | None,
    typer.Argument(metavar="RELEASE", help="Release of that name.  [default: take the name away]", show_default=False),
]


@promote_app.command(
    help="Promote the policy of a run if it is better than the champion.\n\n"
    "Passes are played on fresh seeds until one is not won or enough are. Where there is no registry, one is made with "
    "the world of the run, and the script is the champion. At a terminal you are asked before a candidate that has "
    "passed is live; elsewhere its passes decide. Exit code: PROMOTE 0, HOLD 1 (also where you say no), FAIL 2; an "
    "error 2."
)
@with_console
def candidate(
    console: Console,
    run_dir: FinishedRunDir,
    registry: _Registry,
    env: EnvOfRun = None,
    controller: ControllerName = None,
    guardrail: GuardrailNames = None,
    seed: _Seed = 0,
    dry_run: _DryRun = False,
    workers: EpisodeWorkers = 0,
    yes: _Yes = False,
) -> int:
    """Carry out `townlet promote candidate`; see `cli.promotion.compare_candidate`."""
    from townlet_runtime.runs.directory import require_finished

    require_finished(run_dir)
    from townlet_runtime.cli.promoting.confirmation import confirm_change
    from townlet_runtime.cli.promotion import EXIT_CODES, HOLD, compare_candidate
    from townlet_runtime.cli.views.registry_views import candidate_lines, candidate_record
    from townlet_runtime.cli.world_options import WorldOptions

    console.mute_ticks()
    world = WorldOptions(env=env, controller=controller, guardrails=tuple(guardrail or ()))
    opened, found = compare_candidate(
        run_dir,
        registry,
        world,
        seed=seed,
        promote=not dry_run,
        console=console,
        workers=workers,
        confirm=lambda before, after: confirm_change(before, after, yes=yes, unattended=True),
    )
    console.result(candidate_record(opened, found), candidate_lines(opened, found))
    if dry_run:
        return 0
    held_back = found.decision == "PROMOTE" and not found.is_promoted
    return HOLD if held_back else EXIT_CODES[found.decision]


@promote_app.command(help="Show what is live, the candidates, and all releases.")
@with_console
def status(
    console: Console,
    registry: _Registry,
) -> int:
    """Carry out `townlet promote status`; see `PromotionRegistry.state`."""
    _show_status(_open(registry), console)
    return 0


@promote_app.command(help="Show every promotion, rollback and swap.")
@with_console
def history(
    console: Console,
    registry: _Registry,
) -> int:
    """Carry out `townlet promote history`; see `RegistryState.history`."""
    from townlet_runtime.cli.views.registry_views import history_lines

    state = _open(registry).state()
    console.result({"registry": str(registry), "history": state.history()}, history_lines(state))
    return 0


@promote_app.command(help="Show what was live at a time, or after a record.")
@with_console
def live(
    console: Console,
    registry: _Registry,
    at: _At = None,
    after: _After = None,
) -> int:
    """Carry out `townlet promote live`; see `RegistryState.live_at`."""
    from townlet_runtime.cli.console import CommandError
    from townlet_runtime.cli.views.registry_views import live_lines, live_record, seconds_of

    state = _open(registry).state()
    if at is not None and after is not None:
        raise CommandError(f"--at {at} and --after {after} exclude each other")
    periods = state.live_at(seconds_of(at)) if at is not None else (state.live_after(after or state.sequence),)
    console.result({"registry": str(registry), "live": live_record(periods)}, live_lines(periods))
    return 0


@promote_app.command(
    help="Return to what was live before the current release.\n\nOnce more: to what was live before that. At a "
    "terminal you are asked first; exit code 1 where you say no."
)
@with_console
def rollback(
    console: Console,
    registry: _Registry,
    reason: _Reason = "rolled back by hand",
    live: _From = None,
    yes: _SureYes = False,
) -> int:
    """Carry out `townlet promote rollback`; see `PromotionRegistry.register_rollback`."""
    opened = _open(registry)
    state = opened.state()
    expected = None if live is None else state.resolve(live)
    # Where nothing was before what is live, the registry refuses; so it does what is no longer live.
    if len(state.stack) > 1 and expected in (None, state.live):
        if not _confirmed(state.live, state.stack[-2], yes=yes, console=console):
            return DECLINED
        expected = state.live
    opened.register_rollback(reason=reason, live=expected)
    _show_status(opened, console)
    return 0


@promote_app.command(
    help="Make a release live without evidence, on a person's word.\n\n"
    "At a terminal you are asked first; exit code 1 where you say no."
)
@with_console
def swap(
    console: Console,
    release: _Release,
    registry: _Registry,
    reason: _Reason,
    by: _By,
    live: _From = None,
    yes: _SureYes = False,
) -> int:
    """Carry out `townlet promote swap`; see `PromotionRegistry.record_manual_swap`."""
    opened = _open(registry)
    state = opened.state()
    expected, target = None if live is None else state.resolve(live), state.resolve(release)
    if target != state.live and expected in (None, state.live):
        if not _confirmed(state.live, target, yes=yes, console=console):
            return DECLINED
        expected = state.live
    opened.record_manual_swap(target, reason=reason, by=by, live=expected)
    _show_status(opened, console)
    return 0


@promote_app.command(help="Give a release another name, or take the name away.")
@with_console
def alias(
    console: Console,
    name: _AliasName,
    registry: _Registry,
    release: _Target = None,
) -> int:
    """Carry out `townlet promote alias`; see `PromotionRegistry.set_alias`."""
    opened = _open(registry)
    opened.set_alias(name, None if release is None else opened.state().resolve(release))
    _show_status(opened, console)
    return 0


@promote_app.command(
    help="Remove the releases that are not needed.\n\n"
    "Needed is what is live or has a name, a candidate, and what a rollback returns to."
)
@with_console
def prune(
    console: Console,
    registry: _Registry,
) -> int:
    """Carry out `townlet promote prune`; see `PromotionRegistry.prune`."""
    removed = _open(registry).prune()
    console.result({"registry": str(registry), "removed": list(removed)}, [f"removed {one}" for one in removed])
    return 0


def _open(path: Path) -> PromotionRegistry:
    from townlet_trajectory.evaluation.registry import PromotionRegistry

    return PromotionRegistry(path)


def _confirmed(before: str, after: str, *, yes: bool, console: Console) -> bool:
    from townlet_runtime.cli.promoting.confirmation import confirm_change

    if confirm_change(before, after, yes=yes):
        return True
    console.note("nothing was changed")
    return False


def _show_status(registry: PromotionRegistry, console: Console) -> None:
    from townlet_runtime.cli.views.registry_views import status_lines, status_record

    console.result(status_record(registry), status_lines(registry))
