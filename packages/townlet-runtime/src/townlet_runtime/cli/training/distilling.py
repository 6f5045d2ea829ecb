"""`townlet distill` and its options; the modules that carry it out are imported when it runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from townlet_runtime.cli.options import (
    MAX_COUNT,
    MAX_EPISODES,
    MAX_RUNS,
    ConfigArgument,
    ControllerName,
    Env,
    GuardrailNames,
    Json,
    NumEnvs,
    PresetName,
    Quiet,
    RunDir,
    Seed,
    Settings,
    Verbose,
    whole_number,
)
from townlet_runtime.cli.start import refuse_directory, start
from townlet_runtime.cli.threads import asked_threads, limit_threads
from townlet_runtime.cli.training.run_options import Device, Threads

if TYPE_CHECKING:
    from townlet_runtime.cli.console import Console

HELP = (
    "Teach a small policy by a slow or costly mind, with few questions.\n\n"
    "Rounds of play, questions about states that the student is unsure of, and a fit. Exit code 1 when the student "
    "agrees too little with its teacher, or is worse than the script."
)


class StrategyName(StrEnum):
    """Which states a teacher is asked about."""

    uncertain = "uncertain"
    disagree = "disagree"
    uniform = "uniform"


def _number(help: str, most: int, *, least: int = 1) -> Any:
    return typer.Option(parser=whole_number(least, most), metavar="N", help=help, show_default=False)


_Teacher = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Mind to learn from: a .onnx file or a run directory; script, or script:NAME for another behavior of the"
        " world; or module:name.",
        show_default=False,
    ),
]
_SampleTeacher = Annotated[
    bool, typer.Option("--sample-teacher", help="Draw a policy file's answers instead of taking the most probable.")
]
_Rounds = Annotated[int | None, _number("Rounds of play, questions and a fit.  [default: 10]", MAX_RUNS)]
_Labels = Annotated[int | None, _number("Questions of a round.  [default: 100]", MAX_COUNT)]
_Strategy = Annotated[
    StrategyName | None,
    typer.Option(
        help="uncertain: ask where the student is unsure. disagree: where student and script differ. uniform: about any"
        " decision.  [default: uncertain]",
        show_default=False,
    ),
]
_RoundTicks = Annotated[int | None, _number("Ticks that every world is played in a round.  [default: 256]", 10**6)]
_Episodes = Annotated[
    int | None, _number("Held-out episodes that the student is judged in.  [default: 16]", MAX_EPISODES, least=2)
]
_States = Annotated[
    int | None,
    _number(
        "States of each of them that the teacher is asked about twice, for either kind of play.  [default: 64]", 10**6
    ),
]
_Resume = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Go on with the unfinished distillation in DIR.", show_default=False),
]


def distill(
    config: ConfigArgument = None,
    teacher: _Teacher = None,
    sample_teacher: _SampleTeacher = False,
    rounds: _Rounds = None,
    labels: _Labels = None,
    strategy: _Strategy = None,
    round_ticks: _RoundTicks = None,
    episodes: _Episodes = None,
    states: _States = None,
    env: Env = None,
    controller: ControllerName = None,
    guardrail: GuardrailNames = None,
    num_envs: NumEnvs = None,
    seed: Seed = None,
    run_dir: RunDir = None,
    resume: _Resume = None,
    threads: Threads = None,
    device: Device = None,
    preset: PresetName = None,
    settings: Settings = None,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> int:
    """Carry out `townlet distill`; see `DistillOptions`."""
    limit_threads()

    def command(console: Console) -> int:
        refuse_directory(run_dir, resume)
        from townlet_runtime.cli.commands.distill import DistillOptions, distill_policy
        from townlet_runtime.cli.world_options import WorldOptions

        questions = {
            "num_rounds": rounds,
            "labels_per_round": labels,
            "strategy": None if strategy is None else strategy.value,
            "round_ticks": round_ticks,
            "held_out_episodes": episodes,
            "states_per_episode": states,
        }
        options = DistillOptions(
            config=config,
            world=WorldOptions.of(env, controller, guardrail),
            teacher=teacher,
            sample_teacher=sample_teacher,
            run_dir=run_dir,
            resume=resume,
            seed=seed,
            num_envs=num_envs,
            threads=asked_threads(threads, resume),
            device=device,
            preset=preset,
            settings=tuple(settings or ()),
            questions={name: value for name, value in questions.items() if value is not None},
        )
        return distill_policy(options, console)

    return start(command, json=json, verbose=verbose, quiet=quiet)
