"""`townlet dataset`; what a command does is in the module beside this one that it imports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from townlet_runtime.cli.datasets.arguments import (
    INCLUDE,
    Agents,
    All,
    AllowTemplate,
    CapturesRoot,
    Dataset,
    DatasetOrNone,
    DryRun,
    ExitOnFailure,
    FinalValue,
    Fraction,
    Golden,
    Include,
    Label,
    LabelledTarget,
    ManifestFile,
    MaxLength,
    MaxReturn,
    MaxShares,
    MergedFile,
    MinLength,
    MinReturn,
    MinReward,
    MinShares,
    MinTimesteps,
    NewTarget,
    NotOfLabel,
    OfEpisodes,
    OfLabel,
    OfWorlds,
    Samples,
    ShardsPlace,
    SplitSeed,
    SplitTarget,
    Tags,
    To,
    Top,
    Versions,
)
from townlet_runtime.cli.options import DataRoot, Json, Quiet, Verbose
from townlet_runtime.cli.start import start, with_console

if TYPE_CHECKING:
    from townlet_runtime.cli.console import Console

dataset_app = typer.Typer(help="Look at recorded data, check it, curate it, convert it.", rich_markup_mode=None)


class _SeveralNames(TyperCommand):
    """A command whose `--include` takes all words up to the next option, as the original's does."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Repeat the option before each of its words."""
        spread: list[str] = []
        inside = False
        for word in args:
            if word == INCLUDE or word.startswith("-"):
                inside = word == INCLUDE
                spread += [] if inside else [word]
            else:
                spread += [INCLUDE, word] if inside else [word]
        return super().parse_args(ctx, spread)


@dataset_app.command(
    help="Check data: its files, its content, leaks.\n\n"
    "Of a catalogue the report is always JSON. Paths in it are relative to --data-root."
)
def audit(
    dataset: DatasetOrNone = None,
    versions: Versions = None,
    exit_on_failure: ExitOnFailure = False,
    data_root: DataRoot = None,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> int:
    """Carry out `townlet dataset audit`; see `audit_catalogue` and `audit_dataset` of townlet_trajectory."""

    def command(console: Console) -> int:
        from townlet_runtime.cli.datasets.catalogue import audit_named
        from townlet_trajectory.storage.urls import named_place

        place = None if dataset is None else named_place(dataset)
        return audit_named(place, versions, data_root or Path(), console, exit_on_failure=exit_on_failure)

    as_json = json or (versions is not None and not quiet)
    return start(command, json=as_json, verbose=verbose, quiet=quiet)


@dataset_app.command(
    help="List the samples of a folder in a manifest.\n\n"
    "Those that are too short or earned too little are not accepted: nothing learns from them. Counts are printed as "
    "JSON."
)
def curate(
    samples: Samples,
    output: ManifestFile,
    min_timesteps: MinTimesteps = 10,
    min_reward: MinReward = None,
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
    input_root: CapturesRoot,
    golden: Golden = None,
    output: MergedFile = None,
    include: Include = None,
    allow_template: AllowTemplate = False,
    dry_run: DryRun = False,
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


@dataset_app.command(
    help="Show what a dataset of shards says of itself, without reading its steps.\n\n"
    "Its size, its parts and those that are not finished, where it comes from, and the digest of the whole."
)
@with_console
def info(console: Console, dataset: ShardsPlace) -> int:
    """Carry out `townlet dataset info`; see `open_shards` of townlet_trajectory."""
    from townlet_runtime.cli.datasets.shards import show_info
    from townlet_trajectory.storage.urls import named_place

    return show_info(named_place(dataset), console)


@dataset_app.command(help="Show sizes, lengths, returns, actions and who decided.")
@with_console
def describe(
    console: Console,
    dataset: Dataset,
    data_root: DataRoot = None,
) -> int:
    """Carry out `townlet dataset describe`; see `describe_dataset` of townlet_trajectory."""
    from townlet_runtime.cli.datasets.content import describe_named
    from townlet_trajectory.storage.urls import named_place

    return describe_named(named_place(dataset), data_root or Path(), console)


@dataset_app.command(
    help="Name the trajectories to look at first, and why.\n\n"
    "Lengths, returns, entropies of the actions and mean features are compared with their medians, in scaled median "
    "absolute deviations."
)
@with_console
def outliers(
    console: Console,
    dataset: Dataset,
    top: Top = 8,
    data_root: DataRoot = None,
) -> int:
    """Carry out `townlet dataset outliers`; see `find_outliers` of townlet_trajectory."""
    from townlet_runtime.cli.datasets.content import show_outliers
    from townlet_trajectory.storage.urls import named_place

    return show_outliers(named_place(dataset), top, data_root or Path(), console)


@dataset_app.command(
    help="Write data in another form.\n\n"
    "parquet is one row per step for DuckDB, pandas, Polars and Spark, and is not read back."
)
@with_console
def convert(
    console: Console,
    dataset: Dataset,
    to: To,
    output: NewTarget,
    final_value: FinalValue = None,
    data_root: DataRoot = None,
) -> int:
    """Carry out `townlet dataset convert`; see `convert` of townlet_trajectory."""
    from townlet_runtime.cli.datasets.rewriting import ConvertOptions, convert_named
    from townlet_trajectory.storage.urls import named_place

    options = ConvertOptions(
        dataset=named_place(dataset),
        output=named_place(output),
        to=to,
        data_root=data_root or Path(),
        final_value=final_value,
    )
    return convert_named(options, console)


@dataset_app.command(help="Write data as two datasets, episodes whole.")
@with_console
def split(
    console: Console,
    dataset: Dataset,
    fraction: Fraction,
    output: SplitTarget,
    seed: SplitSeed = 0,
    to: To = "shards",
    data_root: DataRoot = None,
) -> int:
    """Carry out `townlet dataset split`; see `split_dataset` of townlet_trajectory."""
    from townlet_runtime.cli.datasets.rewriting import SplitOptions, split_named
    from townlet_trajectory.storage.urls import named_place

    options = SplitOptions(
        dataset=named_place(dataset),
        output=named_place(output),
        to=to,
        data_root=data_root or Path(),
        fraction=fraction,
        seed=seed,
    )
    return split_named(options, console)


@dataset_app.command(
    "filter",
    help="Write the trajectories that meet every condition named.\n\nSamples that are not accepted are left out.",
)
@with_console
def filter_(
    console: Console,
    dataset: Dataset,
    output: NewTarget,
    min_length: MinLength = None,
    max_length: MaxLength = None,
    min_return: MinReturn = None,
    max_return: MaxReturn = None,
    agent: Agents = None,
    tag: Tags = None,
    min_share: MinShares = None,
    max_share: MaxShares = None,
    label: OfLabel = None,
    without_label: NotOfLabel = None,
    to: To = "shards",
    data_root: DataRoot = None,
) -> int:
    """Carry out `townlet dataset filter`; see `TrajectoryFilter` of townlet_trajectory."""
    from townlet_runtime.cli.datasets.rewriting import FilterOptions, filter_named, labels_of, shares_of
    from townlet_trajectory.storage.urls import named_place

    options = FilterOptions(
        dataset=named_place(dataset),
        output=named_place(output),
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
    dataset: Dataset,
    label: Label,
    agent: Agents = None,
    world: OfWorlds = None,
    episode: OfEpisodes = None,
    min_return: MinReturn = None,
    max_return: MaxReturn = None,
    all_: All = False,
    output: LabelledTarget = None,
    to: To = "shards",
    data_root: DataRoot = None,
) -> int:
    """Carry out `townlet dataset label`; see `label_dataset` of townlet_trajectory."""
    from townlet_runtime.cli.datasets.rewriting import LabelOptions, label_named_dataset, labels_of
    from townlet_trajectory.dataset.filter import TrajectoryFilter
    from townlet_trajectory.storage.urls import named_place

    condition = TrajectoryFilter(
        agent_ids=frozenset(agent) if agent else None,
        worlds=frozenset(world) if world else None,
        episodes=frozenset(episode) if episode else None,
        min_return=min_return,
        max_return=max_return,
    )
    [said] = labels_of([label])
    options = LabelOptions(
        dataset=named_place(dataset),
        label=said,
        condition=condition,
        everything=all_,
        output=None if output is None else named_place(output),
        to=to,
        data_root=data_root or Path(),
    )
    return label_named_dataset(options, console)
