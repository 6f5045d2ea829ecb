"""Groups of finished runs, each summed up over its seeds, and the groups compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from townlet_runtime.runs.groups import RunGroup, other_versions
from townlet_trajectory.evaluation.across_runs import MIN_RUNS
from townlet_trajectory.evaluation.results import RANDOM, SCRIPTED
from townlet_trajectory.evaluation.run_sets import RunsDifference, RunsSummary, compare_runs, summarize_runs

NUM_RESAMPLES = 10_000
_SEED = 0
"""Of resamples and permutations."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A group minus another group, or minus a behavior."""

    first: str
    second: str
    found: RunsDifference


@dataclass(frozen=True, kw_only=True)
class RunsComparison:
    """Groups of runs, each summed up, and their differences."""

    groups: tuple[RunGroup, ...]
    """At least one."""
    summaries: tuple[RunsSummary, ...]
    """Of `groups`, in their order."""
    behaviors: dict[str, float]
    """Mean final return of each behavior that all runs were scored beside, by name."""
    differences: tuple[Difference, ...]

    @property
    def warnings(self) -> list[str]:
        """What makes it weak: few runs, or software of several versions."""
        few = [
            f"{group.name}: {runs_text(len(group.runs))}; with fewer than {MIN_RUNS} training seeds an interval over "
            "them says little"
            for group in self.groups
            if len(group.runs) < MIN_RUNS
        ]
        versions = other_versions(self.groups)
        return few + [f"made with {name} {' and '.join(each)}" for name, each in versions.items()]


def runs_text(count: int) -> str:
    """Return `5 runs`."""
    return "1 run" if count == 1 else f"{count} runs"


def unit_words(found: RunsComparison) -> str:
    """Return what the scores of a comparison are of, in a sentence."""
    final, acting = found.groups[0].runs[0].evaluation.final, found.groups[0].runs[0].evaluation.acting
    return (
        f"The unit is the run, one for each training seed: its score is the mean return of {len(final.learned.seeds)} "
        f"episodes of its policy ({acting} actions, seeds from {final.learned.seeds[0]})."
    )


def common_behaviors(groups: Sequence[RunGroup]) -> list[str]:
    """Return the behaviors that every run of `groups` was scored beside."""
    scored = [run.evaluation.final.baselines for group in groups for run in group.runs]
    return [name for name in scored[0] if all(name in each for each in scored)]


def compare_groups(
    groups: Sequence[RunGroup], references: Sequence[RunGroup] = (), *, behavior: str | None = None
) -> RunsComparison:
    """Sum up every group, and compare each with `references`, or with `behavior`, or with both.

    Args:
        groups: of runs, at least one.
        references: that every group is compared with.
        behavior: of `common_behaviors`. None, and no `references`: the script, or chance where the world has no script;
            and every other group with the first.

    Returns:
        The summaries and the differences.
    """
    everything = (*groups, *references)
    common = common_behaviors(everything)
    pairs = [(group, reference) for group in groups for reference in references]
    if behavior is None and not references:
        behavior = next((name for name in (SCRIPTED, RANDOM) if name in common), None)
        pairs = [(group, groups[0]) for group in groups[1:]]
    return RunsComparison(
        groups=everything,
        summaries=tuple(summarize_runs(group.learned, seed=_SEED, num_resamples=NUM_RESAMPLES) for group in everything),
        behaviors={name: _mean(everything, name) for name in common},
        differences=(
            *([] if behavior is None else [_beside(group, behavior) for group in groups]),
            *(_apart(first, second) for first, second in pairs),
        ),
    )


def _mean(groups: Sequence[RunGroup], behavior: str) -> float:
    means = [float(mean) for group in groups for mean in group.behavior(behavior).means]
    return sum(means) / len(means)


def _beside(group: RunGroup, behavior: str) -> Difference:
    found = compare_runs(group.learned, group.behavior(behavior), trained=False, seed=_SEED)
    return Difference(first=group.name, second=behavior, found=found)


def _apart(first: RunGroup, second: RunGroup) -> Difference:
    found = compare_runs(first.learned, second.learned, trained=True, seed=_SEED)
    return Difference(first=first.name, second=second.name, found=found)
