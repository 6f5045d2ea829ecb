"""The curves of docs/when-to-blend.md: keeps what finished runs scored, and draws it.

    python benchmarks/when_to_blend.py keep WORLD RUN...    # read run directories into docs/when-to-blend.json
    python benchmarks/when_to_blend.py draw                 # draw docs/when-to-blend.svg from that file
    python benchmarks/when_to_blend.py table                # print the tables of the page, as Markdown

A run is one seed of one way of training (`anneal` or `ppo`) in one world. Of each are kept its evaluations on held-out
episodes, its final score, and what the policy or the blend in charge earned in training: the rewards of an update over
its agents and ticks, times the ticks of an episode.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from numpy.typing import NDArray
from scipy import stats

from townlet_runtime.config import load_config, town_config
from townlet_runtime.report.palette import color

DOCS = Path(__file__).resolve().parent.parent / "docs"
KEPT, PICTURE = DOCS / "when-to-blend.json", DOCS / "when-to-blend.svg"
Kept = dict[str, Any]
WAYS = {"anneal": ("the anneal", "learned"), "ppo": ("PPO alone", "external")}
"""Way of training -> its name, and the role that gives its colour."""
LINES = {"scripted": "script", "random": "random", "idle": "idle"}
TITLES = {"default": "The default town", "daily_bread": "Daily bread"}
BIN = 20_000
"""Environment steps over which the earnings in training are averaged: two episodes of `daily_bread`."""


def read_json(path: Path) -> Kept:
    content: Kept = json.loads(path.read_text(encoding="utf-8"))
    return content


def kept_run(run: Path) -> tuple[str, Kept]:
    """The way of training of a finished run, and what is kept of it; curves are lists of (steps, return)."""
    summary, evaluation = read_json(run / "summary.json"), read_json(run / "evaluation.json")
    town = town_config(load_config(run / "config.yaml", []).config)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = np.array([line["env_steps"] for line in lines])
    agent_steps = np.diff([0, *(line["agent_steps"] for line in lines)])
    world_steps = np.diff([0, *steps])
    # The steps before the first update are the script's, or those that PPO measures the observations with.
    agent_steps[0], world_steps[0] = agent_steps[1], world_steps[1]
    earned = np.array([line["reward_mean"] for line in lines]) * agent_steps
    bins = steps // BIN
    scale = town.episode_ticks / town.population
    in_charge = [
        [int((b + 0.5) * BIN), float(scale * earned[bins == b].sum() / world_steps[bins == b].sum())]
        for b in np.unique(bins)
    ]
    return summary["mode"], {
        "seed": summary["seed"],
        "evaluations": [[point["env_steps"], point["return_mean"]] for point in evaluation["history"]],
        "in_charge": in_charge,
        "cooked": float(sum(line["events/cook_events"] for line in lines)),
        "final": summary["eval_return_mean"],
        "clone": summary["clone_return_mean"],
        "baselines": summary["baseline_return_means"],
        "promotion": summary["promotion"],
    }


def keep(world: str, runs: Iterable[Path]) -> None:
    """Put `runs` into the kept data as those of `world`, instead of what was there of the same way and seed."""
    data = read_json(KEPT) if KEPT.exists() else {}
    for run in runs:
        way, new = kept_run(run)
        others = [old for old in data.setdefault(world, {}).get(way, []) if old["seed"] != new["seed"]]
        data[world][way] = sorted([*others, new], key=lambda each: each["seed"])
    KEPT.write_text(json.dumps(data, indent=1, default=float) + "\n", encoding="utf-8")


def curve(runs: Sequence[Kept], key: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps [P], and returns [runs, P], of the points that every run has."""
    common = sorted(set.intersection(*(set(step for step, _ in run[key]) for run in runs)))
    return np.array(common, dtype=np.float64), np.array([[dict(run[key])[step] for step in common] for run in runs])


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean over seeds, and half of its 95 % Student interval."""
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return float(np.mean(values)), float(half)


def baseline(world: Kept, name: str) -> float:
    return float(np.mean([run["baselines"][name] for runs in world.values() for run in runs]))


def draw_panel(axes: Axes, world: Kept, key: str) -> None:
    """Mean and range over seeds of each way, and the behaviors without weights as lines."""
    for name, label in LINES.items():
        y = baseline(world, name)
        axes.axhline(y, color=color(name), linewidth=1.1, linestyle="-" if name == "scripted" else (0, (4, 2)))
        axes.annotate(label, (1.0, y), xycoords=("axes fraction", "data"), xytext=(3, -3), textcoords="offset points",
                      color=color(name), fontsize=8)  # fmt: skip
    for way, (label, role) in WAYS.items():
        if way not in world:
            continue
        steps, returns = curve(world[way], key)
        axes.fill_between(steps, returns.min(0), returns.max(0), color=color(role), alpha=0.2, linewidth=0)
        axes.plot(steps, returns.mean(0), color=color(role), label=f"{label}, {len(returns)} seeds")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlim(0, None)
    axes.grid(axis="y", color=color("rule"), linewidth=0.5)


def draw() -> None:
    """Draw a column for each world: the policy alone above, what was in charge of training below."""
    data = read_json(KEPT)
    style = {"svg.fonttype": "none", "svg.hashsalt": "when-to-blend", "font.size": 8.5, "axes.spines.top": False,
             "axes.spines.right": False, "axes.edgecolor": color("rule"), "axes.titlesize": 9}  # fmt: skip
    with rc_context(style):
        figure = Figure(figsize=(8.4, 5.6), layout="constrained", facecolor="white")
        panels = figure.subplots(2, len(data), sharex="col", sharey="col", squeeze=False)
        for column, (name, world) in enumerate(data.items()):
            draw_panel(panels[0, column], world, "evaluations")
            draw_panel(panels[1, column], world, "in_charge")
            panels[0, column].set_title(TITLES[name], loc="left", fontweight="bold")
            panels[1, column].set_xlabel("environment steps")
        panels[0, 0].set_ylabel("return of the policy alone")
        panels[1, 0].set_ylabel("return of what is in charge in training")
        panels[0, 0].legend(loc="lower right", frameon=False)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    PICTURE.write_text("\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n", encoding="utf-8")


def table() -> None:
    """Print, for each world, the final score of every seed, and the differences paired by seed."""
    for name, world in read_json(KEPT).items():
        print(f"\n{TITLES[name]}: " + ", ".join(f"{LINES.get(n, n)} {baseline(world, n):.2f}" for n in
              ("scripted", "nearest", "idle", "random")))  # fmt: skip
        for way, runs in world.items():
            scores = [run["final"] for run in runs]
            over = [run["final"] - run["baselines"]["scripted"] for run in runs]
            print(f"| {WAYS[way][0]} | {' | '.join(f'{score:.2f}' for score in scores)} | {np.mean(scores):.2f} | "
                  "{:+.2f} ± {:.2f} |".format(*interval(over)))  # fmt: skip
            lowest = min(value for run in runs for _, value in run["in_charge"])
            mean = np.mean([value for run in runs for _, value in run["in_charge"]])
            print(f"  in charge: mean {mean:.2f}, lowest {lowest:.2f}; cooked in training: "
                  f"{[int(run['cooked']) for run in runs]}; {[run['promotion'] for run in runs]}")  # fmt: skip
        if len(world) == len(WAYS):
            pairs = zip(world["anneal"], world["ppo"], strict=True)
            difference = interval([anneal["final"] - ppo["final"] for anneal, ppo in pairs])
            print("anneal - PPO alone: {:+.2f} ± {:.2f}".format(*difference))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    keeping = commands.add_parser("keep")
    keeping.add_argument("world", choices=TITLES)
    keeping.add_argument("runs", nargs="+", type=Path)
    commands.add_parser("draw")
    commands.add_parser("table")
    said = parser.parse_args()
    if said.command == "keep":
        keep(said.world, said.runs)
    elif said.command == "draw":
        draw()
    else:
        table()


if __name__ == "__main__":
    main()
