"""The options of the commands, with their ranges and help texts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from townlet_runtime.cli.completion import behaviors, controllers, guardrails, presets, worlds

WORLD, OUTPUT = "World", "Output"
"""Headings of options in the help of commands with many."""
MAX_SEED = 2**63 - 1
MAX_COUNT = 10**12
MAX_EPISODES = 2**20
MAX_RUNS = 1000
MAX_TELEMETRY_TICKS = 10**6


def finite_number(text: str) -> float:
    """Return the number that `text` is; NaN and infinity are refused."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise typer.BadParameter(f"expected a finite number, got {text}")
    return value


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """Return a parser of whole numbers in [low, high], written as `1000`, `1_000` or `1e3`."""

    def parse(text: str) -> int:
        try:
            value = Decimal(text)
            whole = value == value.to_integral_value() and low <= value <= high
        except InvalidOperation:
            whole = False
        if not whole:
            raise typer.BadParameter(f"expected a whole number from {low:,} to {high:,}, got {text}")
        return int(value)

    return parse


@dataclass(frozen=True, kw_only=True)
class SeedList:
    """Seeds of several runs, and how they were typed."""

    text: str
    seeds: tuple[int, ...]


def seed_list(text: str) -> SeedList:
    """Return the seeds that `0-4,7` means: 0, 1, 2, 3, 4 and 7."""
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        begin, end = (whole_number(0, MAX_SEED)(each) for each in (first, last or first))
        if not begin <= end < begin + MAX_RUNS:
            raise typer.BadParameter(f"expected a range of 1 to {MAX_RUNS} seeds, got {part}")
        seeds += range(begin, end + 1)
    if len(set(seeds)) < len(seeds):
        raise typer.BadParameter(f"expected each seed once, got {text}")
    return SeedList(text=text, seeds=tuple(seeds))


class ModeName(StrEnum):
    """What `townlet train` trains."""

    anneal = "anneal"
    ppo = "ppo"
    bc = "bc"
    dagger = "dagger"
    replay = "replay"
    rollout = "rollout"
    mixed = "mixed"


ConfigArgument = Annotated[
    Path | None,
    typer.Argument(metavar="CONFIG", help="YAML config file. Default: the built-in town.", show_default=False),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a config key, as town.agents=50. Repeatable.", show_default=False
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object on standard output, nothing else.", rich_help_panel=OUTPUT),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show log lines and tracebacks.", rich_help_panel=OUTPUT)
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing but errors.", rich_help_panel=OUTPUT)]


DataPaths = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="PATH",
        help="Clone recorded steps: a capture, shards, Minari or npz. Repeatable. Without CONFIG and --mode: mode bc.",
        show_default=False,
    ),
]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Where samples that are not below a capture's manifest are looked for.  [default: the working folder]",
        show_default=False,
    ),
]
Mode = Annotated[
    ModeName | None,
    typer.Option(
        help="anneal: clone the script, blend, then PPO. ppo: PPO from a fresh network. bc: the clone alone."
        " dagger: clones in rounds of its own play. replay: PPO on a record. rollout: PPO on rollouts. mixed: both."
        "  [default: training.source of CONFIG, else anneal, or ppo where the world has no script]",
        show_default=False,
    ),
]
TotalSteps = Annotated[
    int | None,
    typer.Option(
        parser=whole_number(1, MAX_COUNT),
        metavar="N",
        help="World steps to train on (one world, one tick).  [default: config]",
        show_default=False,
    ),
]
NumEnvs = Annotated[
    int | None,
    typer.Option(
        parser=whole_number(1, MAX_COUNT),
        metavar="N",
        help="Worlds stepped together.  [default: config]",
        show_default=False,
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        parser=whole_number(0, MAX_SEED),
        metavar="N",
        help="Everything random follows from it.  [default: config, else 0]",
        show_default=False,
    ),
]
Seeds = Annotated[
    SeedList | None,
    typer.Option(
        parser=seed_list,
        metavar="LIST",
        help="Several runs, as 0-4,7: each in DIR/seed-N, compared at the end.",
        show_default=False,
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        parser=whole_number(1, MAX_RUNS),
        metavar="N",
        help="Runs of --seeds side by side.  [default: CPUs / threads]",
        show_default=False,
    ),
]
RunDir = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="New or empty directory to write to.  [default: runs/YYYYMMDD-HHMMSS-MODE-SEED]",
        show_default=False,
    ),
]
EvalEvery = Annotated[
    int | None,
    typer.Option(
        parser=whole_number(1, MAX_COUNT),
        metavar="N",
        help="Updates between evaluations.  [default: config]",
        show_default=False,
    ),
]
Env = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        autocompletion=worlds,
        rich_help_panel=WORLD,
        help="World: town, gymnasium:ID, pettingzoo:NAME, a registered name, or module:name."
        "  [default: config, else town]",
        show_default=False,
    ),
]
EnvOfRun = Annotated[
    str | None,
    typer.Option(
        "--env",
        metavar="MODULE:NAME",
        rich_help_panel=WORLD,
        help="World of the run, where it was named so; no file may name code.  [default: as the run says]",
        show_default=False,
    ),
]
ControllerName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        autocompletion=controllers,
        rich_help_panel=WORLD,
        help="Script: a registered name, or module:name.  [default: config, else the world's own, if any]",
        show_default=False,
    ),
]
GuardrailNames = Annotated[
    list[str] | None,
    typer.Option(
        "--guardrail",
        metavar="NAME",
        autocompletion=guardrails,
        rich_help_panel=WORLD,
        help="Rule on executed actions, after the world's own: a registered name, or module:name. Repeatable."
        "  [default: config]",
        show_default=False,
    ),
]
GroupNames = Annotated[
    list[str] | None,
    typer.Option(
        "--group",
        metavar="NAME=AGENTS",
        rich_help_panel=WORLD,
        help="Agents as a group of their own: ids or patterns (a,b*), a number, or a share. GROUP/NAME=AGENTS in a"
        " world with several groups. Repeatable.  [default: config]",
        show_default=False,
    ),
]
OpponentNames = Annotated[
    list[str] | None,
    typer.Option(
        "--opponent",
        metavar="GROUP=POLICY",
        help="Who plays a group of agents that does not learn: script, past(k) or past(GROUP, k) for the weights of a"
        " learning group k updates ago, a .onnx file or a run directory. Repeatable.  [default: config]",
        show_default=False,
    ),
]
Resume = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Resume the unfinished run in DIR, with its own config and options. A finished one too, with more"
        " --total-steps.",
        show_default=False,
    ),
]
InitFrom = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Begin with the policy of a finished run, or an adapted one, instead of a fresh one.",
        show_default=False,
    ),
]
PresetName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        autocompletion=presets,
        help="Start values of training by name, such as town.  [default: config, else the world's own]",
        show_default=False,
    ),
]
PolicyPath = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE|DIR",
        help="Policy that acts: a .onnx file, a run directory, or a promotion registry (its champion; DIR:NAME: another"
        " release).",
        show_default=False,
    ),
]
Ratio = Annotated[
    float | None,
    typer.Option(
        metavar="R",
        help="Share of decisions given to the policy, 0 to 1.  [default: 1 with a policy]",
        show_default=False,
    ),
]
Ticks = Annotated[
    int | None,
    typer.Option(
        parser=whole_number(1, MAX_COUNT),
        metavar="N",
        help="Ticks to run.  [default: scenario.ticks, else 1000]",
        show_default=False,
    ),
]
TicksPerSecond = Annotated[float | None, typer.Option(parser=finite_number, metavar="R", help="Most ticks a second.")]
RecordTarget = Annotated[
    str | None,
    typer.Option(
        metavar="DIR",
        help="Write what happened, a policy's actions drawn: replay samples of the town, npz of other worlds;"
        " FORMAT:DIR or SINK:TARGET in another form; DIR may be a URL of shards.",
        show_default=False,
    ),
]
PartOfDataset = Annotated[
    str | None,
    typer.Option(
        "--writer",
        metavar="NAME",
        help="Write --record as one part, of this name, of a dataset that others write at the same time.",
        show_default=False,
    ),
]
Render = Annotated[bool, typer.Option("--render", help="Draw the town in the terminal.")]
TelemetryPath = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Write one JSON object a tick: events, rewards by their parts, decisions.",
        show_default=False,
    ),
]
StreamTelemetry = Annotated[
    bool, typer.Option("--stream-telemetry", help="Print these objects on standard output instead.")
]
TelemetryTarget = Annotated[
    str | None,
    typer.Option(
        "--telemetry",
        metavar="FILE",
        help="Write one JSON object for many ticks: decisions, proposals, vetoes, errors, times of a tick; SINK:TEXT to"
        " a registered sink.",
        show_default=False,
    ),
]
TelemetryEvery = Annotated[
    int | None,
    typer.Option(
        parser=whole_number(1, MAX_TELEMETRY_TICKS),
        metavar="N",
        help="Ticks of one object of --telemetry.  [default: 100]",
        show_default=False,
    ),
]
FinishedRunDir = Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Directory of a finished run.")]
Against = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|RUN_DIR",
        autocompletion=behaviors,
        help="Behavior of the world, such as scripted or random, or another run directory."
        "  [default: scripted, or random where the world has no script]",
        show_default=False,
    ),
]
Matrix = Annotated[
    list[str] | None,
    typer.Option(
        "--matrix",
        metavar="RUN_DIR|FILE|NAME",
        help="Let the policy and these (run directories, .onnx files, script, random) play every group of agents"
        " against one another. Repeatable.",
        show_default=False,
    ),
]
MatrixOutput = Annotated[
    Path | None,
    typer.Option(
        "--output", metavar="FILE.png", help="Picture of the matrix.  [default: RUN_DIR-matrix.png]", show_default=False
    ),
]
Episodes = Annotated[
    int,
    typer.Option(
        parser=whole_number(2, MAX_EPISODES),
        metavar="N",
        help="Episodes; their seeds are 2^31 + i, never used in training.",
    ),
]
Sample = Annotated[
    bool, typer.Option("--sample", help="Draw the policy's actions instead of taking the most probable ones.")
]
