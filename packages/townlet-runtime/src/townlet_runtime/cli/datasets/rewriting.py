"""`townlet dataset convert`, `split`, `filter` and `label`: recorded data written anew, in part, or with labels."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from townlet_runtime.cli.console import SUCCESS, CommandError, Console, Json
from townlet_runtime.runs.recorded import warnings_to
from townlet_trajectory.data.schema import EpisodeLabel, Source, label_named
from townlet_trajectory.dataset.curation import CurationResult, filter_dataset, split_dataset
from townlet_trajectory.dataset.filter import TrajectoryFilter
from townlet_trajectory.formats.captures.directory import CaptureForm, form_of
from townlet_trajectory.formats.convert import convert, dataset_sink
from townlet_trajectory.formats.label import IN_PLACE, label_dataset, labelled_source
from townlet_trajectory.formats.open import OpenDataset, format_of, open_dataset
from townlet_trajectory.storage.folders import folder_of, local_path
from townlet_trajectory.storage.manifest import MANIFEST_NAME
from townlet_trajectory.storage.urls import Place, Url

TRAIN, HELD_OUT = "train", "held-out"
"""Names of the two datasets of a split."""
_NPZ = ".npz"
_NAMES = {"npz": "{}.npz", "minari": "{}-v0"}
"""File or folder of a dataset, by form; a folder of its name elsewhere."""
_WHO = {source.name.lower(): source for source in Source}


@dataclass(frozen=True, kw_only=True)
class RewriteOptions:
    """What is read, and where it is written in which form."""

    dataset: Place
    output: Place
    to: str
    data_root: Path
    """Where samples that are not below a manifest are looked for."""


@dataclass(frozen=True, kw_only=True)
class ConvertOptions(RewriteOptions):
    """What `townlet dataset convert` was asked to do."""

    final_value: float | None
    """Value of the observations after trajectories that were cut, which captures hold."""


@dataclass(frozen=True, kw_only=True)
class SplitOptions(RewriteOptions):
    """What `townlet dataset split` was asked to do."""

    fraction: float
    """Share of the episodes that is held out."""
    seed: int


@dataclass(frozen=True, kw_only=True)
class FilterOptions(RewriteOptions):
    """What `townlet dataset filter` was asked to do; None or empty: no condition."""

    min_length: int | None
    max_length: int | None
    min_return: float | None
    max_return: float | None
    min_shares: Mapping[Source, float]
    max_shares: Mapping[Source, float]
    agents: tuple[str, ...]
    tags: tuple[str, ...]
    labels: tuple[EpisodeLabel, ...]
    """Any of these; empty: any label."""
    without_labels: tuple[EpisodeLabel, ...]
    """None of these."""

    @property
    def condition(self) -> TrajectoryFilter:
        """The conditions; `DatasetError` if they contradict each other."""
        return TrajectoryFilter(
            min_length=self.min_length,
            max_length=self.max_length,
            min_return=self.min_return,
            max_return=self.max_return,
            min_shares=self.min_shares,
            max_shares=self.max_shares,
            agent_ids=frozenset(self.agents) if self.agents else None,
            tags=frozenset(self.tags),
            episode_labels=self._episode_labels,
        )

    @property
    def _episode_labels(self) -> tuple[EpisodeLabel, ...] | None:
        if not self.labels and not self.without_labels:
            return None
        return tuple(label for label in self.labels or EpisodeLabel if label not in self.without_labels)


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """What `townlet dataset label` was asked to do."""

    dataset: Place
    label: EpisodeLabel
    condition: TrajectoryFilter
    everything: bool
    """Whether a condition is not needed."""
    output: Place | None
    """New dataset with the labels; None: they are changed where they are."""
    to: str
    """Form of the new dataset."""
    data_root: Path


def convert_named(options: ConvertOptions, console: Console) -> int:
    """Write a dataset in another form; return the exit code."""
    output, to = options.output, options.to
    _require_name(output, to)
    with warnings_to(console.warning), open_dataset(options.dataset, data_root=options.data_root) as opened:
        capture = _capture_form(opened, options) if to == "captures" else None
        done = convert(opened.source, output, to=to, info=opened.info, capture=capture)
    if done.left_out:
        console.warning(f"{to} has no place for {', '.join(done.left_out)} of {options.dataset}")
    record: dict[str, Json] = {
        "output": str(output),
        "form": to,
        "trajectories": done.num_trajectories,
        "steps": done.num_steps,
        "left_out": [*done.left_out],
    }
    console.result(record, [f"Wrote {_many(done.num_trajectories)}, {done.num_steps:,} steps to {output}"])
    return SUCCESS


def _capture_form(opened: OpenDataset, options: ConvertOptions) -> CaptureForm:
    """What a capture says beside the trajectories."""
    value, table = options.final_value, opened.source.table
    if value is None and not table.terminated.all():
        cut = np.count_nonzero(~table.terminated)
        raise CommandError(
            f"--to captures: {cut} of {len(table)} trajectories were cut; "
            "name the worth of the observation that follows, --final-value V"
        )
    form = form_of(opened.info, local_path(options.output, "captures are files of this machine"))
    return replace(form, final_values=lambda batch: np.full(len(batch), value or 0.0, np.float32))


def split_named(options: SplitOptions, console: Console) -> int:
    """Write a dataset as two; return the exit code."""
    targets = [options.output / _NAMES.get(options.to, "{}").format(name) for name in (TRAIN, HELD_OUT)]
    _require_missing(*targets)
    with warnings_to(console.warning), open_dataset(options.dataset, data_root=options.data_root) as opened:
        source, info = opened.source, opened.info
        train, held_out = (dataset_sink(path, source.schema, to=options.to, info=info) for path in targets)
        with train as rest, held_out as apart:
            results = split_dataset(source, rest, apart, fraction=options.fraction, seed=options.seed)
    sides = dict(zip((TRAIN, HELD_OUT), zip(targets, results, strict=True), strict=True))
    for name, (_, result) in sides.items():
        if not result.accepted:
            console.warning(f"`{name}` is empty: there are few episodes, and all are on the other side")
    record = {name: {"output": str(path), **_counts(result)} for name, (path, result) in sides.items()}
    lines = [f"Wrote {_many(result.accepted)}, {result.num_steps:,} steps to {path}" for path, result in sides.values()]
    console.result({"fraction": options.fraction, "seed": options.seed, "form": options.to, **record}, lines)
    return SUCCESS


def filter_named(options: FilterOptions, console: Console) -> int:
    """Write the trajectories that meet a condition; return the exit code.

    Raises:
        CommandError: if no condition is named, or nothing meets those that are.
    """
    condition = options.condition
    if condition == TrajectoryFilter():
        raise CommandError("expected a condition, as --min-length 10, got none")
    _require_name(options.output, options.to)
    with warnings_to(console.warning), open_dataset(options.dataset, data_root=options.data_root) as opened:
        with dataset_sink(options.output, opened.source.schema, to=options.to, info=opened.info) as sink:
            result = filter_dataset(opened.source, sink, condition)
            if not result.accepted:
                raise CommandError(f"{options.dataset}: none of {_many(result.total)} meets the conditions")
    record = {"output": str(options.output), "form": options.to, **_counts(result)}
    line = (
        f"Wrote {result.accepted:,} of {_many(result.total)}, {result.num_steps:,} steps to {options.output}; "
        f"{result.rejected:,} left out"
    )
    console.result(record, [line])
    return SUCCESS


def label_named_dataset(options: LabelOptions, console: Console) -> int:
    """Label trajectories of a dataset, in place or in a new one; return the exit code.

    Raises:
        CommandError: if no condition is named, or nothing meets those that are.
    """
    dataset, condition, where = options.dataset, options.condition, options.output or options.dataset
    if (condition == TrajectoryFilter()) != options.everything:
        got = "both" if options.everything else "neither"
        raise CommandError(f"expected a condition, as --agent ID, or --all, got {got}")
    if options.output is None:
        if format_of(dataset) not in IN_PLACE:
            raise CommandError(
                f"{dataset}: labels are changed in place in {' and '.join(IN_PLACE)} alone: "
                "name a new dataset, --output DIR"
            )
        result = label_dataset(dataset, options.label, condition)
    else:
        _require_name(options.output, options.to)
        with warnings_to(console.warning), open_dataset(dataset, data_root=options.data_root) as opened:
            source, result = labelled_source(opened.source, options.label, condition)
            if result.labelled:
                convert(source, options.output, to=options.to, info=opened.info)
    if not result.labelled:
        raise CommandError(f"{dataset}: none of {_many(result.total)} meets the conditions")
    name = options.label.name.lower()
    console.result(
        {"output": str(where), "label": name, "total": result.total, "labelled": result.labelled},
        [f"Labelled {result.labelled:,} of {_many(result.total)} `{name}` in {where}"],
    )
    return SUCCESS


def shares_of(option: str, texts: Sequence[str]) -> dict[Source, float]:
    """Parse shares that are written as `learned=0.5`.

    Args:
        option: for the error.
        texts: what was typed.

    Raises:
        CommandError: if one is none, or nobody decides so.
    """
    shares: dict[Source, float] = {}
    for text in texts:
        who, _, number = text.partition("=")
        try:
            share = float(number)
        except ValueError:
            share = math.nan
        if who not in _WHO or not 0.0 <= share <= 1.0:
            raise CommandError(f"{option} {text}: expected {', '.join(_WHO)} and a share from 0 to 1, as learned=0.5")
        shares[_WHO[who]] = share
    return shares


def labels_of(names: Sequence[str] | None) -> tuple[EpisodeLabel, ...]:
    """Return the labels of names in lower case; `SchemaError` if one is none."""
    return tuple(map(label_named, names or ()))


def _require_name(output: Place, to: str) -> None:
    """Refuse a file of the form `npz` that no reader would take for one."""
    if to == "npz" and not output.name.lower().endswith(_NPZ):
        raise CommandError(f"--output {output}: npz is one file, expected a name that ends in {_NPZ}")


def _require_missing(*targets: Place) -> None:
    for target in targets:
        if folder_of(target).holds(MANIFEST_NAME) if isinstance(target, Url) else os.path.lexists(target):
            raise CommandError(f"--output {target.parent}: {target.name} exists already")


def _counts(result: CurationResult) -> dict[str, Json]:
    return {
        "total": result.total,
        "accepted": result.accepted,
        "rejected": result.rejected,
        "steps": result.num_steps,
    }


def _many(count: int) -> str:
    return "1 trajectory" if count == 1 else f"{count:,} trajectories"
