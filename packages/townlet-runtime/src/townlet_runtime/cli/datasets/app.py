"""`townlet dataset` and its options; what a command does is in the module beside this one that it imports."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from townlet_runtime.cli.options import MAX_COUNT, MAX_SEED, DataRoot, Json, Quiet, Verbose, finite_number, whole_number
from townlet_runtime.cli.start import start, with_console

if TYPE_CHECKING:
    from townlet_runtime.cli.console import Console


class LabelName(StrEnum):
    """What can be said of an episode."""

    NONE = "none"
    SUCCESS = "success"
    FAILURE = "failure"
    DISCARD = "discard"


dataset_app = typer.Typer(help="Look at recorded data, check it, curate it, convert it.", rich_markup_mode=None)

MAX_TOP = 10_000
_INCLUDE = "--include"

_FORMS = "Manifest, folder or sample of a capture, shards, Minari, or npz."
_Dataset = Annotated[Path, typer.Argument(metavar="DATASET", help=_FORMS)]
_DatasetOrNone = Annotated[Path | None, typer.Argument(metavar="[DATASET]", help=_FORMS, show_default=False)]
_Versions = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Catalogue of classic datasets (versions.json), instead of DATASET.", show_default=False
    ),
]
_ExitOnFailure = Annotated[bool, typer.Option("--exit-on-failure", help="Exit code 1 when a dataset is FAIL.")]
_Samples = Annotated[Path, typer.Argument(metavar="DIR", help="Folder with samples: pairs NAME.npz and NAME.json.")]
_ManifestFile = Annotated[Path, typer.Option("--output", metavar="FILE", help="Manifest to write, a JSON list.")]
_MinTimesteps = Annotated[
    int, typer.Option(parser=whole_number(0, MAX_COUNT), metavar="N", help="Steps that an accepted sample has.")
]
_MinReward = Annotated[
    float | None,
    typer.Option(
        parser=finite_number,
        metavar="X",
        help="Sum of the rewards of an accepted sample.  [default: any]",
        show_default=False,
    ),
]
_CapturesRoot = Annotated[
    Path,
    typer.Argument(metavar="DIR", help="Folder of captures: one folder for each scenario, named as it."),
]
_Golden = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Figures of scenarios to add to; written unless --output is named. One of the two is required.",
        show_default=False,
    ),
]
_MergedFile = Annotated[
    Path | None, typer.Option("--output", metavar="FILE", help="File to write instead.", show_default=False)
]
_Include = Annotated[
    list[str] | None,
    typer.Option(_INCLUDE, metavar="NAME...", help="These scenarios only.  [default: all]", show_default=False),
]
_AllowTemplate = Annotated[bool, typer.Option("--allow-template", help="Folders whose names begin with _ too.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be merged, write nothing.")]
_Top = Annotated[int, typer.Option(parser=whole_number(1, MAX_TOP), metavar="N", help="Trajectories to name.")]
_To = Annotated[
    str, typer.Option(metavar="FORM", help="captures, shards, minari, npz, parquet, or a registered format.")
]
_NewTarget = Annotated[
    Path,
    typer.Option(
        "--output", metavar="DIR", help="New directory; FILE.npz for npz, a folder and NAME-vN in it for minari."
    ),
]
_FinalValue = Annotated[
    float | None,
    typer.Option(
        parser=finite_number,
        metavar="V",
        help="For captures: worth of the observation after a trajectory that was cut. Required where there is one.",
        show_default=False,
    ),
]
_SplitTarget = Annotated[
    Path, typer.Option("--output", metavar="DIR", help="Folder to write `train` and `held-out` to.")
]
_Fraction = Annotated[float, typer.Option(min=0.0, max=1.0, metavar="F", help="Share of the episodes to hold out.")]
_SplitSeed = Annotated[int, typer.Option(parser=whole_number(0, MAX_SEED), metavar="N", help="Seed of the split.")]


def _length(help: str) -> Any:
    return typer.Option(parser=whole_number(1, MAX_COUNT), metavar="N", help=help, show_default=False)


def _return(help: str) -> Any:
    return typer.Option(parser=finite_number, metavar="X", help=help, show_default=False)


def _option(help: str, metavar: str, *names: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=help, show_default=False)


def _which(help: str, name: str) -> Any:
    return typer.Option(name, metavar="N", help=help, show_default=False, min=0, max=2**63 - 1)


_MinLength = Annotated[int | None, _length("At least so many steps.")]
_MaxLength = Annotated[int | None, _length("At most so many steps.")]
_MinReturn = Annotated[float | None, _return("The rewards add up to at least this.")]
_MaxReturn = Annotated[float | None, _return("The rewards add up to at most this.")]
_Agents = Annotated[list[str] | None, _option("Trajectories of this agent. Repeatable.", "ID", "--agent")]
_Tags = Annotated[list[str] | None, _option("Tagged so; with all, where repeated.", "TAG", "--tag")]
_Label = Annotated[LabelName, typer.Argument(metavar="LABEL", help="What they were worth; none takes it back.")]
_OfLabel = Annotated[list[LabelName] | None, _option("Labelled so; with any, where repeated.", "LABEL", "--label")]
_NotOfLabel = Annotated[list[LabelName] | None, _option("Not labelled so. Repeatable.", "LABEL", "--without-label")]
_OfWorlds = Annotated[list[int] | None, _which("Trajectories in this world. Repeatable.", "--world")]
_OfEpisodes = Annotated[list[int] | None, _which("Trajectories in this episode. Repeatable.", "--episode")]
_All = Annotated[bool, typer.Option("--all", help="All of its trajectories.")]
_LabelledTarget = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="DIR",
        help="New dataset to write, with all trajectories.  [default: npz and shards are changed in place]",
        show_default=False,
    ),
]
_MinShares = Annotated[
    list[str] | None,
    _option("At least this share of the steps decided by scripted, learned or external. Repeatable.", "WHO=F"),
]
_MaxShares = Annotated[list[str] | None, _option("At most this share. Repeatable.", "WHO=F")]


class _SeveralNames(TyperCommand):
    """A command whose `--include` takes all words up to the next option, as the original's does."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Repeat the option before each of its words."""
        spread: list[str] = []
        inside = False
        for word in args:
            if word == _INCLUDE or word.startswith("-"):
                inside = word == _INCLUDE
                spread += [] if inside else [word]
            else:
                spread += [_INCLUDE, word] if inside else [word]
        return super().parse_args(ctx, spread)


@dataset_app.command(
    help="Check data: its files, its content, leaks.\n\n"
    "Of a catalogue the report is always JSON. Paths in it are relative to --data-root."
)
def audit(
    dataset: _DatasetOrNone = None,
    versions: _Versions = None,
    exit_on_failure: _ExitOnFailure = False,
    data_root: DataRoot = None,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> int:
    """Carry out `townlet dataset audit`; see `audit_catalogue` and `audit_dataset` of townlet_trajectory."""

    def command(console: Console) -> int:
        from townlet_runtime.cli.datasets.catalogue import audit_named

        return audit_named(dataset, versions, data_root or Path(), console, exit_on_failure=exit_on_failure)

    as_json = json or (versions is not None and not quiet)
    return start(command, json=as_json, verbose=verbose, quiet=quiet)


@dataset_app.command(
    help="List the samples of a folder in a manifest.\n\n"
    "Those that are too short or earned too little are not accepted: nothing learns from them. Counts are printed as "
    "JSON."
)
def curate(
    samples: _Samples,
    output: _ManifestFile,
    min_timesteps: _MinTimesteps = 10,
    min_reward: _MinReward = None,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> int:
    """Carry out `townlet dataset curate`; see `list_captures` of townlet_trajectory."""

    def command(console: Console) -> int:
        from townlet_runtime.cli.datasets.catalogue import curate_samples

        return curate_samples(samples, output, console, min_timesteps=min_timesteps, min_reward=min_reward)

    return start(command, json=json or not quiet, verbose=verbose, quiet=quiet)


@dataset_app.command(
    "merge-metrics",
    cls=_SeveralNames,
    help="Collect the figures of captured scenarios in one file.\n\nWhat it holds of other scenarios is kept.",
)
@with_console
def merge_metrics(
    console: Console,
    input_root: _CapturesRoot,
    golden: _Golden = None,
    output: _MergedFile = None,
    include: _Include = None,
    allow_template: _AllowTemplate = False,
    dry_run: _DryRun = False,
) -> int:
    """Carry out `townlet dataset merge-metrics`; see `cli.datasets.metrics`."""
    from townlet_runtime.cli.datasets.metrics import MergeOptions, merge_scenarios

    options = MergeOptions(
        input_root=input_root,
        golden=golden,
        output=output,
        include=tuple(include or ()),
        allow_template=allow_template,
        dry_run=dry_run,
    )
    return merge_scenarios(options, console)


@dataset_app.command(help="Show sizes, lengths, returns, actions and who decided.")
@with_console
def describe(
    console: Console,
    dataset: _Dataset,
    data_root: DataRoot = None,
) -> int:
    """Carry out `townlet dataset describe`; see `describe_dataset` of townlet_trajectory."""
    from townlet_runtime.cli.datasets.content import describe_named

    return describe_named(dataset, data_root or Path(), console)


@dataset_app.command(
    help="Name the trajectories to look at first, and why.\n\n"
    "Lengths, returns, entropies of the actions and mean features are compared with their medians, in scaled median "
    "absolute deviations."
)
@with_console
def outliers(
    console: Console,
    dataset: _Dataset,
    top: _Top = 8,
    data_root: DataRoot = None,
) -> int:
    """Carry out `townlet dataset outliers`; see `find_outliers` of townlet_trajectory."""
    from townlet_runtime.cli.datasets.content import show_outliers

    return show_outliers(dataset, top, data_root or Path(), console)


@dataset_app.command(
    help="Write data in another form.\n\n"
    "parquet is one row per step for DuckDB, pandas, Polars and Spark, and is not read back."
)
@with_console
def convert(
    console: Console,
    dataset: _Dataset,
    to: _To,
    output: _NewTarget,
    final_value: _FinalValue = None,
    data_root: DataRoot = None,
) -> int:
    """Carry out `townlet dataset convert`; see `convert` of townlet_trajectory."""
    from townlet_runtime.cli.datasets.rewriting import ConvertOptions, convert_named

    options = ConvertOptions(
        dataset=dataset, output=output, to=to, data_root=data_root or Path(), final_value=final_value
    )
    return convert_named(options, console)


@dataset_app.command(help="Write data as two datasets, episodes whole.")
@with_console
def split(
    console: Console,
    dataset: _Dataset,
    fraction: _Fraction,
    output: _SplitTarget,
    seed: _SplitSeed = 0,
    to: _To = "shards",
    data_root: DataRoot = None,
) -> int:
    """Carry out `townlet dataset split`; see `split_dataset` of townlet_trajectory."""
    from townlet_runtime.cli.datasets.rewriting import SplitOptions, split_named

    options = SplitOptions(
        dataset=dataset, output=output, to=to, data_root=data_root or Path(), fraction=fraction, seed=seed
    )
    return split_named(options, console)


@dataset_app.command(
    "filter",
    help="Write the trajectories that meet every condition named.\n\nSamples that are not accepted are left out.",
)
@with_console
def filter_(
    console: Console,
    dataset: _Dataset,
    output: _NewTarget,
    min_length: _MinLength = None,
    max_length: _MaxLength = None,
    min_return: _MinReturn = None,
    max_return: _MaxReturn = None,
    agent: _Agents = None,
    tag: _Tags = None,
    min_share: _MinShares = None,
    max_share: _MaxShares = None,
    label: _OfLabel = None,
    without_label: _NotOfLabel = None,
    to: _To = "shards",
    data_root: DataRoot = None,
) -> int:
    """Carry out `townlet dataset filter`; see `TrajectoryFilter` of townlet_trajectory."""
    from townlet_runtime.cli.datasets.rewriting import FilterOptions, filter_named, labels_of, shares_of

    options = FilterOptions(
        dataset=dataset,
        output=output,
        to=to,
        data_root=data_root or Path(),
        min_length=min_length,
        max_length=max_length,
        min_return=min_return,
        max_return=max_return,
        min_shares=shares_of("--min-share", min_share or ()),
        max_shares=shares_of("--max-share", max_share or ()),
        agents=tuple(agent or ()),
        tags=tuple(tag or ()),
        labels=labels_of(label),
        without_labels=labels_of(without_label),
    )
    return filter_named(options, console)


@dataset_app.command(
    "label",
    help="Say what episodes were worth.\n\nThose that meet every condition named are labelled, in place of what was "
    "said of them before. Learners leave out what is labelled discard.",
)
@with_console
def label_(
    console: Console,
    dataset: _Dataset,
    label: _Label,
    agent: _Agents = None,
    world: _OfWorlds = None,
    episode: _OfEpisodes = None,
    min_return: _MinReturn = None,
    max_return: _MaxReturn = None,
    all_: _All = False,
    output: _LabelledTarget = None,
    to: _To = "shards",
    data_root: DataRoot = None,
) -> int:
    """Carry out `townlet dataset label`; see `label_dataset` of townlet_trajectory."""
    from townlet_runtime.cli.datasets.rewriting import LabelOptions, label_named_dataset, labels_of
    from townlet_trajectory.dataset.filter import TrajectoryFilter

    condition = TrajectoryFilter(
        agent_ids=frozenset(agent) if agent else None,
        worlds=frozenset(world) if world else None,
        episodes=frozenset(episode) if episode else None,
        min_return=min_return,
        max_return=max_return,
    )
    [said] = labels_of([label])
    options = LabelOptions(
        dataset=dataset,
        label=said,
        condition=condition,
        everything=all_,
        output=output,
        to=to,
        data_root=data_root or Path(),
    )
    return label_named_dataset(options, console)
