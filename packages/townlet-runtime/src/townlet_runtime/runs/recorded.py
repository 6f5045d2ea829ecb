"""Recorded trajectories that a run learns from: opened, named, and compared with a world."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten

from townlet_runtime.errors import SimulationError
from townlet_runtime.policy.policy import require_fit
from townlet_runtime.simulation.interface import SimulationSpec
from townlet_trajectory import TrajectoryBatch, TrajectoryDataset
from townlet_trajectory.data.labels import labels_named
from townlet_trajectory.data.schema import ACTION_MASK
from townlet_trajectory.dataset.labelled import with_labels
from townlet_trajectory.dataset.source import TrajectorySource
from townlet_trajectory.errors import ArtifactError, MemoryBudgetError
from townlet_trajectory.formats.captures.manifest import read_capture_manifest
from townlet_trajectory.formats.captures.metrics import aggregate_metrics
from townlet_trajectory.formats.open import format_of, open_dataset
from townlet_trajectory.storage.json import JsonValue, parse_object
from townlet_trajectory.storage.paths import read_named
from townlet_trajectory.storage.urls import Place, Url, named_place

BASELINE = ("sample_count", "reward_mean", "reward_sum", "reward_sum_mean", "log_prob_mean")
"""Figures of a record that the lines of a log repeat as `baseline_*`."""
_MANIFEST, _METRICS = "_manifest.json", "_metrics.json"
_MAX_BYTES = 1 << 26
_MAX_TEXT = 240
_SOURCE = "source"
"""Name of data that no path names."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedData:
    """Trajectories of one agent group, as their files describe them."""

    path: Place
    name: str
    """Of the dataset: that of its manifest, or of its folder."""
    source: TrajectorySource
    feature_names: tuple[str, ...]
    """Names of the columns of the observation `features`; empty: not known."""
    baseline: Mapping[str, float]
    """Those of `BASELINE` that the files say of their samples."""
    digest: str | None = None
    """A record is no policy."""

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Keys of the actions."""
        return self.source.schema.vocabulary

    @property
    def observation_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Per agent, without the leading axis and without the mask of legal actions."""
        observations = self.source.schema.observations
        return {name: spec.shape for name, spec in observations.items() if name != ACTION_MASK}

    def batches(
        self,
        *,
        batch_size: int,
        seed: int,
        shuffle: bool,
        drop_last: bool,
        streaming: bool,
        episode_labels: Sequence[str] | None = None,
    ) -> TrajectoryDataset[TrajectoryBatch]:
        """Return batches of trajectories.

        Args:
            batch_size: trajectories of a batch.
            seed: of their order.
            shuffle: in a new order in every epoch.
            drop_last: leave a smaller last batch out.
            streaming: with as little in memory as is possible.
            episode_labels: names of the labels of those that are taken. None: all but `discard`.
        """
        source = with_labels(self.source, labels_named(episode_labels))

        def dataset(budget: int | None) -> TrajectoryDataset[TrajectoryBatch]:
            return TrajectoryDataset(
                source,
                unit="trajectories",
                batch_size=batch_size,
                seed=seed,
                shuffle=shuffle,
                drop_last=drop_last,
                memory_budget_bytes=budget,
            )

        try:
            return dataset(1 if streaming else None)
        except MemoryBudgetError as error:
            return dataset(error.needed_bytes)

    def misfit(self, spec: SimulationSpec) -> str | None:
        """Return how the world of `spec` differs, in words; None where a policy for one is a policy for the other."""
        try:
            require_fit(self, spec)
        except SimulationError as error:
            text = str(error).replace("the policy", f"{self.path}", 1).replace("in the policy", "in the data")
            return shorten(text, _MAX_TEXT, placeholder=" ...")
        if self.feature_names and spec.feature_names and self.feature_names != spec.feature_names:
            return f"{self.path} does not fit `{spec.name}`: its features have other names"
        return None


@contextmanager
def warnings_to(warn: Callable[[str], None]) -> Iterator[None]:
    """Collect the warnings of the block, such as those of readers of recorded data; say each once when it ends."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", ResourceWarning)  # of whatever happens to be collected meanwhile
        try:
            yield
        finally:
            for message in dict.fromkeys(str(one.message) for one in caught):
                warn(message)


@contextmanager
def open_recorded(path: Place, *, data_root: Path, warn: Callable[[str], None]) -> Iterator[RecordedData]:
    """Open recorded trajectories of any format until the block ends.

    Args:
        path: a manifest, a directory, a sample, a batch, or a URL of shards; see `open_dataset`.
        data_root: where samples that are not below a capture's manifest are looked for.
        warn: called with what is odd about the files.

    Raises:
        ArtifactError: if it is none of the formats, missing or damaged.
    """
    with ExitStack() as stack:
        with warnings_to(warn):
            dataset = stack.enter_context(open_dataset(path, data_root=data_root))
        yield RecordedData(
            path=path,
            name=_name(path),
            source=dataset.source,
            feature_names=dataset.feature_names,
            baseline=_baseline(path, data_root=data_root),
        )


@contextmanager
def opened_record(data: Path | str | Url | TrajectorySource, *, warn: Callable[[str], None]) -> Iterator[RecordedData]:
    """Open recorded trajectories that a program names, by a path or as a source; see `open_recorded`."""
    if isinstance(data, Path | str | Url):
        with open_recorded(named_place(data), data_root=Path(), warn=warn) as opened:
            yield opened
    else:
        yield RecordedData(path=Path(_SOURCE), name=_SOURCE, source=data, feature_names=(), baseline={})


def _name(path: Place) -> str:
    if isinstance(path, Url):
        return path.name
    if path.name.endswith(_MANIFEST):
        return path.absolute().parent.name
    return path.stem if path.is_file() else path.absolute().name


def _baseline(path: Place, *, data_root: Path) -> Mapping[str, float]:
    """Figures of a capture's samples, from its manifest or the file of metrics beside it; nothing where they lack."""
    if isinstance(path, Url) or format_of(path) != "captures" or path.suffix == ".npz":
        return {}
    manifests = sorted(path.glob(f"*{_MANIFEST}")) if path.is_dir() else [path]
    if len(manifests) != 1:
        return {}
    entries = read_capture_manifest(manifests[0], data_root=data_root).accepted
    beside = manifests[0].with_name(manifests[0].name.replace(_MANIFEST, _METRICS))
    listed = _metrics_in(beside) if beside != manifests[0] and beside.is_file() else {}
    said = [listed.get(entry.sample, entry.metrics) for entry in entries]
    figures = [_numbers(each) for each in said if isinstance(each, Mapping)]
    if not figures or len(figures) < len(entries):
        return {}
    aggregated = aggregate_metrics(figures)
    return {name: aggregated[name] for name in BASELINE if name in aggregated}


def _metrics_in(path: Path) -> Mapping[str, JsonValue]:
    document = parse_object(read_named(path, max_bytes=_MAX_BYTES), path)
    samples = document.get("samples", document)
    if not isinstance(samples, dict):
        raise ArtifactError(path, "parse", "`samples` must be an object")
    return samples


def _numbers(metrics: Mapping[str, JsonValue]) -> dict[str, float | None]:
    return {name: float(value) for name, value in metrics.items() if isinstance(value, int | float)}
