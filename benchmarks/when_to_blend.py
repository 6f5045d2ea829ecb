"""The curves of docs/when-to-blend.md: keeps what finished runs scored, and draws it.

    python benchmarks/when_to_blend.py keep WORLD RUN...    # read run directories into docs/when-to-blend.json
    python benchmarks/when_to_blend.py draw [PICTURE]       # draw docs/when-to-blend.svg, or another file, from it
    python benchmarks/when_to_blend.py table                # print the tables of the page, as Markdown

A run is one seed of one way of training (`anneal` or `ppo`) in one world. Of each are kept its evaluations on held-out
episodes, its final score, and what the policy or the blend in charge earned in training: the rewards of an update over
its agents and ticks, times the ticks of an episode.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from townlet_runtime.config import load_config, town_config
from townlet_runtime.report.palette import color
from townlet_trajectory.evaluation.across_runs import learning_curve, student_interval

DOCS = Path(__file__).resolve().parent.parent / "docs"
KEPT, PICTURE = DOCS / "when-to-blend.json", DOCS / "when-to-blend.svg"
Kept = dict[str, Any]
WAYS = {"anneal": ("the anneal", "learned"), "ppo": ("PPO alone", "external")}
"""Way of training -> its name, and the role that gives its colour."""
BEHAVIORS = ("scripted", "nearest", "random", "idle")
LINES = {"scripted": "script", "random": "random", "idle": "idle"}
TITLES = {"default": "The default town", "daily_bread": "Daily bread"}
LEVEL = 0.05
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
    # A bin that is mostly the steps before the first update says nothing of a day.
    whole = [b for b in np.unique(bins) if world_steps[bins == b].sum() > BIN / 2]
    in_charge = [
        [int((b + 0.5) * BIN), round(scale * float(earned[bins == b].sum() / world_steps[bins == b].sum()), 4)]
        for b in whole
    ]
    return summary["mode"], {
        "seed": summary["seed"],
        "evaluations": [[point["env_steps"], round(point["return_mean"], 4)] for point in evaluation["history"]],
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
    data = {name: data[name] for name in TITLES if name in data}
    KEPT.write_text(json.dumps(data, default=float) + "\n", encoding="utf-8")


def baseline(world: Kept, name: str) -> float:
    return float(np.mean([run["baselines"][name] for runs in world.values() for run in runs]))


def draw_panel(axes: Axes, world: Kept, key: str) -> None:
    """Mean over seeds of each way with its interval, and the behaviors without weights as lines."""
    for name, label in LINES.items():
        y = baseline(world, name)
        axes.axhline(y, color=color(name), linewidth=1.1, linestyle="-" if name == "scripted" else (0, (4, 2)))
        axes.annotate(label, (1.0, y), xycoords=("axes fraction", "data"), xytext=(3, -3), textcoords="offset points",
                      color=color(name), fontsize=8)  # fmt: skip
    for way, (label, role) in WAYS.items():
        if way not in world:
            continue
        curve = learning_curve([tuple(np.transpose(run[key])) for run in world[way]], level=LEVEL)
        axes.fill_between(curve.env_steps, curve.low, curve.high, color=color(role), alpha=0.2, linewidth=0)
        axes.plot(curve.env_steps, curve.mean, color=color(role), label=f"{label}, {len(world[way])} seeds")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlim(0, None)
    axes.grid(axis="y", color=color("rule"), linewidth=0.5)


def draw(picture: Path) -> None:
    """Draw a column for each world: the policy alone above, what was in charge of training below."""
    data = read_json(KEPT)
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "when-to-blend", "font.size": 8.5})
        matplotlib.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 9})
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
        figure.savefig(picture, metadata={"Date": None, "Creator": None} if picture.suffix == ".svg" else None)


def mean_with_interval(values: Sequence[float]) -> str:
    """Of differences, over seeds."""
    low, high = student_interval(values, level=LEVEL)
    return f"{np.mean(values):+.2f} ({low:+.2f} to {high:+.2f})"


def row(name: str, scores: Sequence[float], differences: Sequence[float]) -> str:
    """A line of a table: every seed, the mean, and the mean difference from the script with its interval over seeds."""
    cells = [*(f"{score:.2f}" for score in scores), f"**{np.mean(scores):.2f}**", mean_with_interval(differences)]
    return f"| {name} | {' | '.join(cells)} |"


def table() -> None:
    """Print the final scores of each world, and what was earned in training."""
    for name, world in read_json(KEPT).items():
        print(f"\n{TITLES[name]}: " + ", ".join(f"{each} {baseline(world, each):.2f}" for each in BEHAVIORS))
        for way, runs in world.items():
            over = [run["final"] - run["baselines"]["scripted"] for run in runs]
            print(row(WAYS[way][0], [run["final"] for run in runs], over))
            earned = np.array([[value for _, value in run["in_charge"]] for run in runs])
            print(f"  in training: mean {earned.mean():.2f}, lowest {earned.mean(0).min():.2f} (of one seed "
                  f"{earned.min():.2f}); baked {[run['cooked'] for run in runs]}; "
                  f"clones {[run['clone'] and round(run['clone'], 2) for run in runs]}")  # fmt: skip
        if len(world) == len(WAYS):
            by_seed = [{run["seed"]: run["final"] for run in world[way]} for way in ("anneal", "ppo")]
            difference = [by_seed[0][seed] - by_seed[1][seed] for seed in by_seed[0].keys() & by_seed[1].keys()]
            print(f"the anneal - PPO alone: {mean_with_interval(difference)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    keeping = commands.add_parser("keep")
    keeping.add_argument("world", choices=TITLES)
    keeping.add_argument("runs", nargs="+", type=Path)
    commands.add_parser("draw").add_argument("picture", nargs="?", type=Path, default=PICTURE)
    commands.add_parser("table")
    said = parser.parse_args()
    if said.command == "keep":
        keep(said.world, said.runs)
    elif said.command == "draw":
        draw(said.picture)
    else:
        table()


if __name__ == "__main__":
    main()
