"""Does it learn? Trains the items of `items.py` by the command `townlet train`, keeps their results, prints a table.

    python run.py                       # the quick selection: about a minute, weaker bounds, nothing is kept
    python run.py lander spread         # the runs of these items that were not made with the present sources
    python run.py lander --seeds 0-4    # other seeds than those of the item
    python run.py all --kept            # the table of what was kept, without training

The exit code is 1 where a target is missed, or a run that it is about is missing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from demonstrations import record
from items import ITEMS, QUICK, Item, Target
from results import HERE, digest_of, keep, kept, result_of, sources_as_they_are, sources_sha256

from townlet_trajectory.evaluation.across_runs import student_interval

LEVEL = 0.05
Result = Mapping[str, Any]


def train(item: Item, seed: int) -> dict[str, Any]:
    """Carry out one run in a process of its own, and return what is kept of it."""
    started = time.monotonic()
    with TemporaryDirectory(prefix=f"{item.name}-{seed}-") as folder:
        run = Path(folder) / "run"
        log = Path(folder) / "log.txt"
        with log.open("w") as output:
            command = [sys.executable, *_command(item, seed, run, Path(folder))]
            # one thread: runs side by side share the cores
            environ = {**os.environ, "OMP_NUM_THREADS": "1"}
            code = subprocess.run(command, cwd=HERE, env=environ, stdout=output, stderr=output, check=False).returncode
        # 1: a gate failed, or the policy is worse than the script; the run has its scores all the same
        if code not in (0, 1) or not (run / "evaluation.json").exists():
            raise SystemExit(f"{item.name}, seed {seed}: exit code {code}\n{log.read_text()[-2000:]}")
        if sources_as_they_are() != sources_sha256():
            raise SystemExit(f"{item.name}, seed {seed}: the sources were changed meanwhile; its result is of neither")
        return result_of(run, item, time.monotonic() - started)


def _command(item: Item, seed: int, run: Path, folder: Path) -> list[str]:
    program = ["-m", "townlet_runtime"] if item.corrected else ["uncorrected.py"]
    options = ["--env", item.environment, "--mode", item.mode, "--seed", str(seed), "--threads", "1"]
    options += ["--total-steps", str(item.steps), "--run-dir", str(run)]
    if item.controller is not None:
        options += ["--controller", item.controller]
    if item.demonstrations:
        data = folder / "demonstrations.npz"
        record(item.environment, data, episodes=item.demonstrations, seed=seed)
        options += ["--data", str(data)]
    # nothing here asks whether a policy is promoted
    settings = {"training.final_episodes": item.episodes, "promotion.num_episodes": 20, **item.settings}
    return [*program, "train", *options, *(f"--set={key}={value}" for key, value in settings.items())]


def measured(item: Item, result: Result) -> float:
    """The figure of a run that its item's target is about."""
    means = result["means"]
    if item.target.measure == "gain":
        return float(means["learned"] - means["scripted"])
    if item.target.measure == "normalized":
        return float((means["learned"] - means["random"]) / (means["scripted"] - means["random"]))
    return float(means["learned"])


def lowest_share(result: Result) -> float:
    """The least of all evaluations after that of the clone, as a share of it."""
    clone, *later = (mean for _, _, mean in result["evaluations"])
    return float(min(later) / clone)


def missed(target: Target, figures: Sequence[float], results: Sequence[Result]) -> list[str]:
    """Every bound that does not hold, in words."""
    mean, found = float(np.mean(figures)), list[str]()
    if target.mean_at_least is not None and mean < target.mean_at_least:
        found.append(f"mean {mean:.4g} < {target.mean_at_least:g}")
    if target.mean_at_most is not None and mean > target.mean_at_most:
        found.append(f"mean {mean:.4g} > {target.mean_at_most:g}")
    if target.each_at_least is not None and min(figures) < target.each_at_least:
        found.append(f"one {min(figures):.4g} < {target.each_at_least:g}")
    if target.low_above is not None and not (len(figures) > 1 and interval(figures)[0] > target.low_above):
        found.append(f"interval not above {target.low_above:g}")
    if target.kept is not None and (worst := min(map(lowest_share, results))) < target.kept:
        found.append(f"an evaluation was {worst:.2f} of the clone's < {target.kept:g}")
    return found


def interval(figures: Sequence[float]) -> tuple[float, float]:
    return student_interval(figures, level=LEVEL)


def wanted(target: Target) -> str:
    """A target in words."""
    bounds = {
        "mean ≥ {:g}": target.mean_at_least,
        "mean < {:g}": target.mean_at_most,
        "each ≥ {:g}": target.each_at_least,
        "interval > {:g}": target.low_above,
        "every evaluation ≥ {:g} of the clone's": target.kept,
    }
    return (
        ", ".join(text.format(bound) for text, bound in bounds.items() if bound is not None) or "none, for comparison"
    )


def report(item: Item, seeds: Sequence[int], results: Mapping[int, Result]) -> bool:
    """Print what an item's runs came to; return whether its target holds of all `seeds`."""
    figures = [measured(item, each) for each in results.values()]
    missing = [seed for seed in seeds if seed not in results]
    failures = [f"not shown yet: there is no run of the seeds {missing}"] if missing else []
    failures += missed(item.target, figures, list(results.values())) if figures else []
    print(f"\n{item.name}: {item.title}; {item.steps:,} world steps, {item.episodes} episodes")
    print(f"  settings   {' '.join(f'{key}={value}' for key, value in item.settings.items()) or 'the preset'}")
    for seed, figure in zip(results, figures, strict=True):
        means = ", ".join(f"{name} {mean:.2f}" for name, mean in results[seed]["means"].items())
        stale = "" if results[seed]["digest"] == digest_of(item) else "  (of earlier sources)"
        print(f"  seed {seed:<5} {item.target.measure} {figure:.4g}   {means}{stale}")
    ends = "" if len(figures) < 2 else ", 95 % interval {:.4g} to {:.4g}".format(*interval(figures))
    if figures:
        print(f"  {len(figures)} runs     mean {np.mean(figures):.4g}{ends}")
    print(f"  target     {wanted(item.target)}: {'; '.join(failures) if failures else 'holds'}")
    return not failures


def seeds_of(text: str) -> list[int]:
    """The seeds that `0-4,7` means."""
    parts = [part.partition("-") for part in text.split(",")]
    return [seed for first, _, last in parts for seed in range(int(first), int(last or first) + 1)]


def results_of(item: Item, seeds: Sequence[int], *, only_kept: bool) -> dict[int, Result]:
    """The results of an item by seed: those that are kept, and, unless `only_kept`, those that are missing."""
    results: dict[int, Result] = {}
    for seed in seeds:
        known = kept(item).get(str(seed))
        if known is not None and (only_kept or known["digest"] == digest_of(item)):
            results[seed] = known
        elif not only_kept:
            results[seed] = new = train(item, seed)
            if item not in QUICK:
                keep(item, seed, new)
            print(f"{item.name}, seed {seed}: {measured(item, new):.4g} in {new['seconds']} s", flush=True)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [item.name for item in (*ITEMS, *QUICK)]
    parser.add_argument("items", nargs="*", metavar="ITEM", help=f"all, or some of: {', '.join(names)}")
    parser.add_argument("--seeds", help="as 0-4,7 (default: those of the item)")
    parser.add_argument("--kept", action="store_true", help="train nothing")
    parser.add_argument("--jobs", type=int, default=1, help="items that are trained at a time, each with one core")
    said = parser.parse_args()
    if unknown := set(said.items) - {"all", *names}:
        parser.error(f"no item {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    chosen = [item for item in (*ITEMS, *QUICK) if item.name in said.items or ("all" in said.items and item in ITEMS)]
    items = chosen or QUICK
    seeds = [seeds_of(said.seeds or item.seeds) for item in items]
    with ThreadPoolExecutor(said.jobs) as pool:
        # a process each: these threads wait
        results = pool.map(lambda item, own: results_of(item, own, only_kept=said.kept), items, seeds)
        held = [report(*each) for each in zip(items, seeds, results, strict=True)]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
