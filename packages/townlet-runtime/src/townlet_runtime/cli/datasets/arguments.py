"""What the commands of `townlet dataset` are told: their arguments and options."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from townlet_runtime.cli.options import MAX_COUNT, MAX_SEED, finite_number, whole_number
from townlet_runtime.cli.signatures import number


class LabelName(StrEnum):
    """What can be said of an episode."""

    NONE = "none"
    SUCCESS = "success"
    FAILURE = "failure"
    DISCARD = "discard"


MAX_TOP = 10_000
INCLUDE = "--include"

_FORMS = "Manifest, folder or sample of a capture, shards (or their URL), Minari, or npz."
Dataset = Annotated[str, typer.Argument(metavar="DATASET", help=_FORMS)]
ShardsPlace = Annotated[str, typer.Argument(metavar="DATASET", help="Directory or URL of shards.")]
DatasetOrNone = Annotated[str | None, typer.Argument(metavar="[DATASET]", help=_FORMS, show_default=False)]
Versions = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Catalogue of classic datasets (versions.json), instead of DATASET.", show_default=False
    ),
]
ExitOnFailure = Annotated[bool, typer.Option("--exit-on-failure", help="Exit code 1 when a dataset is FAIL.")]
Samples = Annotated[Path, typer.Argument(metavar="DIR", help="Folder with samples: pairs NAME.npz and NAME.json.")]
ManifestFile = Annotated[Path, typer.Option("--output", metavar="FILE", help="Manifest to write, a JSON list.")]
MinTimesteps = Annotated[
    int, typer.Option(parser=whole_number(0, MAX_COUNT), metavar="N", help="Steps that an accepted sample has.")
]
MinReward = Annotated[
    float | None,
    typer.Option(
        parser=finite_number,
        metavar="X",
        help="Sum of the rewards of an accepted sample.  [default: any]",
        show_default=False,
    ),
]
CapturesRoot = Annotated[
    Path,
    typer.Argument(metavar="DIR", help="Folder of captures: one folder for each scenario, named as it."),
]
Golden = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Figures of scenarios to add to; written unless --output is named. One of the two is required.",
        show_default=False,
    ),
]
MergedFile = Annotated[
    Path | None, typer.Option("--output", metavar="FILE", help="File to write instead.", show_default=False)
]
Include = Annotated[
    list[str] | None,
    typer.Option(INCLUDE, metavar="NAME...", help="These scenarios only.  [default: all]", show_default=False),
]
AllowTemplate = Annotated[bool, typer.Option("--allow-template", help="Folders whose names begin with _ too.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be merged, write nothing.")]
Top = Annotated[int, typer.Option(parser=whole_number(1, MAX_TOP), metavar="N", help="Trajectories to name.")]
To = Annotated[
    str, typer.Option(metavar="FORM", help="captures, shards, minari, npz, parquet, or a registered format.")
]
NewTarget = Annotated[
    str,
    typer.Option(
        "--output",
        metavar="DIR",
        help="New directory, or URL for shards; FILE.npz for npz, a folder and NAME-vN in it for minari.",
    ),
]
FinalValue = Annotated[
    float | None,
    typer.Option(
        parser=finite_number,
        metavar="V",
        help="For captures: worth of the observation after a trajectory that was cut. Required where there is one.",
        show_default=False,
    ),
]
SplitTarget = Annotated[str, typer.Option("--output", metavar="DIR", help="Folder to write `train` and `held-out` to.")]
Fraction = Annotated[
    float, typer.Option(parser=number(0.0, 1.0), metavar="F", help="Share of the episodes to hold out.")
]
SplitSeed = Annotated[int, typer.Option(parser=whole_number(0, MAX_SEED), metavar="N", help="Seed of the split.")]


def _length(help: str) -> Any:
    return typer.Option(parser=whole_number(1, MAX_COUNT), metavar="N", help=help, show_default=False)


def _return(help: str) -> Any:
    return typer.Option(parser=finite_number, metavar="X", help=help, show_default=False)


def _option(help: str, metavar: str, *names: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=help, show_default=False)


def _which(help: str, name: str) -> Any:
    return typer.Option(name, metavar="N", help=help, show_default=False, min=0, max=2**63 - 1)


MinLength = Annotated[int | None, _length("At least so many steps.")]
MaxLength = Annotated[int | None, _length("At most so many steps.")]
MinReturn = Annotated[float | None, _return("The rewards add up to at least this.")]
MaxReturn = Annotated[float | None, _return("The rewards add up to at most this.")]
Agents = Annotated[list[str] | None, _option("Trajectories of this agent. Repeatable.", "ID", "--agent")]
Tags = Annotated[list[str] | None, _option("Tagged so; with all, where repeated.", "TAG", "--tag")]
Label = Annotated[LabelName, typer.Argument(metavar="LABEL", help="What they were worth; none takes it back.")]
OfLabel = Annotated[list[LabelName] | None, _option("Labelled so; with any, where repeated.", "LABEL", "--label")]
NotOfLabel = Annotated[list[LabelName] | None, _option("Not labelled so. Repeatable.", "LABEL", "--without-label")]
OfWorlds = Annotated[list[int] | None, _which("Trajectories in this world. Repeatable.", "--world")]
OfEpisodes = Annotated[list[int] | None, _which("Trajectories in this episode. Repeatable.", "--episode")]
All = Annotated[bool, typer.Option("--all", help="All of its trajectories.")]
LabelledTarget = Annotated[
    str | None,
    typer.Option(
        "--output",
        metavar="DIR",
        help="New dataset to write, with all trajectories.  [default: npz and shards are changed in place]",
        show_default=False,
    ),
]
MinShares = Annotated[
    list[str] | None,
    _option("At least this share of the steps decided by scripted, learned or external. Repeatable.", "WHO=F"),
]
MaxShares = Annotated[list[str] | None, _option("At most this share. Repeatable.", "WHO=F")]
