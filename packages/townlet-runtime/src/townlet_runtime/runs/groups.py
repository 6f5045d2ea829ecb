"""Sets of finished runs that differ in their seed alone, told apart by the settings that they were begun with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from pydantic import TypeAdapter

from townlet_runtime.errors import RunDirectoryError
from townlet_runtime.runs.begun import BegunFile
from townlet_runtime.runs.directory import BEGUN, MANIFEST, require_finished
from townlet_runtime.runs.finished import FinishedRun, read_run
from townlet_runtime.runs.records import EvaluationFile, SummaryFile
from townlet_trajectory.evaluation.run_sets import RunScores
from townlet_trajectory.storage.json import JsonValue, canonical_json

Settings = Mapping[str, JsonValue]
"""By dotted key."""

SEEDS = frozenset({"seed", "scenario.seed"})
"""Keys of the seed of training."""
_WORLD = frozenset(
    "scenario town rewards queue rivalry social personality lifecycle economy jobs affordances"
    " environment.name environment.settings environment.max_episode_ticks".split()
)
"""Sections and keys that say which world is played: returns in different worlds cannot be compared."""
_WITHOUT_EFFECT = frozenset({"config_id", "scenario.name", "scenario.description", "scenario.ticks"})
_NOT_OF_THE_SETTING = frozenset({"schema_version", "threads", "specs", "config_sha256", "config"})
"""Fields of `begun.json` that do not tell two ways of training apart, or say again what the config does."""
MODE = "training.source"
_NAMED_KEYS = 2
"""Keys that the name of a group says; the others are counted."""


@dataclass(frozen=True, kw_only=True)
class ScoredRun:
    """A finished run with final scores."""

    path: Path
    summary: SummaryFile
    evaluation: EvaluationFile
    settings: Settings
    """Those that it was begun with, all but its seed."""

    @classmethod
    def read(cls, path: Path) -> ScoredRun:
        """Read the run in `path`. Raises `RunDirectoryError` if it is damaged, or was scored in no world."""
        run = read_run(path)
        if run.evaluation is None:
            raise RunDirectoryError(path, "has no scores that could be compared: it was trained without a world")
        return cls(path=path, summary=run.summary, evaluation=run.evaluation, settings=_settings(run))


@dataclass(frozen=True, kw_only=True)
class RunGroup:
    """Runs that were begun with the same settings, each with a seed of its own."""

    name: str
    """Says what tells it from the other groups."""
    settings: Settings
    """The settings that tell it apart; None: not stated."""
    runs: tuple[ScoredRun, ...]
    """In the order of their seeds."""

    @property
    def learned(self) -> RunScores:
        """The final scores of their policies."""
        return RunScores.of({run.summary.seed: run.evaluation.final.learned for run in self.runs})

    def behavior(self, name: str) -> RunScores:
        """The final scores of a behavior without weights, in each of the runs."""
        return RunScores.of({run.summary.seed: run.evaluation.final.baselines[name] for run in self.runs})


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """Return the directories of runs that `paths` name, in their order; a folder of runs stands for those in it.

    Raises:
        RunDirectoryError: if one is neither a finished run nor a folder of finished runs.
    """
    found = []
    for path in paths:
        inside = () if (path / MANIFEST).exists() or not path.is_dir() else sorted(path.iterdir())
        runs = [each for each in inside if (each / BEGUN).is_file()]
        for run in runs or [path]:
            require_finished(run)
            found.append(run)
    return found


def group_runs(paths: Sequence[Path], against: Sequence[Path] = ()) -> tuple[list[RunGroup], list[RunGroup]]:
    """Read finished runs, and put those together that differ in nothing but their seed.

    Args:
        paths: of run directories.
        against: of run directories that are groups of their own, whatever their settings.

    Returns:
        The groups of `paths` and those of `against`, in the order in which the first run of each was named.

    Raises:
        RunDirectoryError: names a run that is unfinished or damaged, was scored in another world, in other episodes or
            with another choice of actions than the first, or has the seed of another run of its group.
        ReportError: if a record of a run is not what it must be.
    """
    sides = [[ScoredRun.read(path) for path in side] for side in (paths, against)]
    first, *others = [*sides[0], *sides[1]]
    for other in others:
        _require_comparable(first, other)
    alike = [_alike(side) for side in sides]
    sets = [*alike[0], *alike[1]]
    keys = _differing([same[0].settings for same in sets])
    differing = [{key: same[0].settings.get(key) for key in keys} for same in sets]
    names = _names(sets, differing)
    groups = [
        RunGroup(
            name=name,
            settings=said,
            runs=tuple(sorted(same, key=lambda run: run.summary.seed)),
        )
        for name, said, same in zip(names, differing, sets, strict=True)
    ]
    return groups[: len(alike[0])], groups[len(alike[0]) :]


def _alike(side: Sequence[ScoredRun]) -> list[list[ScoredRun]]:
    by_setting: dict[bytes, list[ScoredRun]] = {}
    for each in side:
        by_setting.setdefault(canonical_json(dict(each.settings)), []).append(each)
    for same in by_setting.values():
        _require_own_seeds(same)
    return list(by_setting.values())


def other_versions(groups: Sequence[RunGroup]) -> dict[str, tuple[str, ...]]:
    """Return the software that the runs were not all made with the same version of, with its versions."""
    made_with = [run.summary.versions for group in groups for run in group.runs]
    names = dict.fromkeys(name for versions in made_with for name in versions)
    found = {name: tuple(dict.fromkeys(each.get(name, "none") for each in made_with)) for name in names}
    return {name: versions for name, versions in found.items() if len(versions) > 1}


def _settings(run: FinishedRun) -> Settings:
    begun = BegunFile.read(run.path / BEGUN)
    fields: dict[str, JsonValue] = TypeAdapter(BegunFile).dump_python(begun, mode="json")
    beside: dict[str, JsonValue] = {
        name: value for name, value in fields.items() if name not in _NOT_OF_THE_SETTING and value
    }
    if begun.config is None:
        # Made in Python: no file states more.
        summary = run.summary
        said: dict[str, JsonValue] = {"environment.name": summary.env, MODE: summary.mode}
        said["training.total_env_steps"] = summary.env_steps
    else:
        said = dict(_leaves(begun.config))
    return {key: value for key, value in {**beside, **said}.items() if key not in SEEDS | _WITHOUT_EFFECT}


def _leaves(content: Mapping[str, JsonValue], prefix: str = "") -> Iterator[tuple[str, JsonValue]]:
    for name, value in content.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _differing(settings: Sequence[Settings]) -> list[str]:
    keys = dict.fromkeys(key for each in settings for key in each)
    return [key for key in keys if any(each.get(key) != settings[0].get(key) for each in settings)]


def _require_comparable(one: ScoredRun, two: ScoredRun) -> None:
    played: tuple[tuple[str, Callable[[ScoredRun], str]], ...] = (
        ("the world", lambda run: str(run.summary.env)),
        ("episodes of", lambda run: f"{run.evaluation.horizon} ticks"),
        ("actions that are", lambda run: run.evaluation.acting),
        ("final episodes with", lambda run: _span(run.evaluation.final.learned.seeds)),
    )
    for what, value in played:
        if value(one) != value(two):
            raise RunDirectoryError(
                two.path, f"cannot be compared with {one.path}: {what} {value(two)}, there {value(one)}"
            )
    for key in _differing([one.settings, two.settings]):
        if key in _WORLD or key.partition(".")[0] in _WORLD or key.startswith("environment.settings."):
            here, there = two.settings.get(key), one.settings.get(key)
            raise RunDirectoryError(
                two.path, f"another world than that of {one.path}: `{key}` is {_shown(here)}, there {_shown(there)}"
            )


def _span(seeds: Sequence[int]) -> str:
    return f"seeds {seeds[0]} to {seeds[-1]} ({len(seeds)})"


def _require_own_seeds(runs: Sequence[ScoredRun]) -> None:
    for seed, same in groupby(sorted(runs, key=lambda run: run.summary.seed), key=lambda run: run.summary.seed):
        first, *others = [run.path for run in same]
        if others:
            raise RunDirectoryError(
                others[0], f"has the settings and the seed {seed} of {first}: a seed counts once, leave one out"
            )


def _names(sets: Sequence[Sequence[ScoredRun]], differing: Sequence[Settings]) -> list[str]:
    """A short name for each group: the settings that tell it apart, else its folder, else its number."""
    names = []
    for runs, said in zip(sets, differing, strict=True):
        keys = [key for key in said if key != MODE]
        words: list[str] = [runs[0].summary.mode] if MODE in said or not keys else []
        words += [f"{_short(key, keys)}={_shown(said[key])}" for key in keys[: _NAMED_KEYS - len(words)]]
        more = len(keys) + (MODE in said) - len(words)
        names.append(" ".join([*words, f"+{more}"] if more > 0 else words))
    folders = [" ".join(dict.fromkeys(run.path.absolute().parent.name for run in runs)) for runs in sets]
    names = [
        name if names.count(name) == 1 else f"{name} in {folder}" for name, folder in zip(names, folders, strict=True)
    ]
    return [
        name if names.count(name) == 1 else f"{name} #{names[: index + 1].count(name)}"
        for index, name in enumerate(names)
    ]


def _short(key: str, keys: Sequence[str]) -> str:
    """The last part of a key, unless another one ends alike."""
    last = key.rpartition(".")[2]
    return last if [each.rpartition(".")[2] for each in keys].count(last) == 1 else key


def _shown(value: JsonValue) -> str:
    return "not stated" if value is None else str(value)
