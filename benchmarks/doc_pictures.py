"""Draws the pictures of the documents that come from runs: `python benchmarks/doc_pictures.py RUN`.

`RUN` is the finished run of docs/tutorial.md. Written are docs/handing-over.svg (who decides while a run is annealed),
docs/town.svg (a still of the embedded town, as in a report) and, where a Chromium is installed, docs/report.png (the
first screen of the run's report). docs/one-tick.svg and docs/packages.svg are written by hand.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from townlet_behavior import BridgeConfig, CommitmentConfig
from townlet_runtime import BatchLoop, BatchRuntime
from townlet_runtime.report.figures import picture_bytes
from townlet_runtime.report.palette import THEME, color
from townlet_runtime.report.town_plot import town_plot
from townlet_runtime.town import Town, TownConfig
from townlet_runtime.town.render import town_picture
from townlet_trajectory.storage.files import write_bytes_atomic

DOCS = Path(__file__).resolve().parent.parent / "docs"
SCREEN = (1100, 1550)
"""Pixels of the first screen of a report, down to its first plots."""
TICKS = 430


def handing_over(run: Path) -> bytes:
    """Draw the policy's share of decisions, of ticks, and the pull towards the script, by update of a run."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = np.array([line["env_steps"] for line in lines])
    curves = {
        "ratio β, as planned": ("ratio", "ink", "--"),
        "decisions of the policy": ("decision_share_learned", "learned", "-"),
        "pull towards the script": ("kickstart_coef", "scripted", "-"),
    }

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for label, (key, role, style) in curves.items():
            values = np.array([np.nan if line[key] is None else line[key] for line in lines])
            axes.plot(steps, values, style, color=color(role), label=label, marker="o", markersize=3)
        stages = [line["stage"] for line in lines]
        for name in dict.fromkeys(stages):
            within = [step for step, stage in zip(steps, stages, strict=True) if stage == name]
            axes.axvline(within[0], color=color("rule"), linewidth=1)
            axes.annotate(name, (within[0], 1.06), xytext=(3, 0), textcoords="offset points", color=color("muted"))
        axes.set_ylim(-0.03, 1.15)
        axes.set_xlabel("environment steps")
        axes.legend(loc="center left", frameon=False)

    return picture_bytes(draw, kind="svg", width=6.4, height=3.0)


def still_of_a_town() -> bytes:
    """Draw the embedded town after some hundred ticks of its script, in the light colours of a report."""
    town = Town(TownConfig(), num_worlds=1)
    config = BridgeConfig(commitment=CommitmentConfig(ticks=town.spec.option_ticks))
    runtime = BatchRuntime(town.spec, town.scripted("scripted"), config=config, policy=None, service=None, seed=0)
    loop = BatchLoop(town, runtime)
    loop.reset(seed=3)
    loop.run_for(TICKS)
    text = town_plot(town_picture(town, title=f"ten agents by their script, at tick {TICKS}"))
    for role, (light, _) in THEME.items():
        text = text.replace(f"var(--{role})", light)
    background = f'<rect width="100%" height="100%" fill="{color("paper")}"/>'
    head, _, body = text.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1).partition(">")
    return f"{head}>{background}{body}\n".encode()


def first_screen(report: Path, browser: str) -> bytes:
    """Take a picture of a report in a browser, in few colours, so that it stays small."""
    with tempfile.TemporaryDirectory() as folder:
        shot, small = Path(folder, "shot.png"), Path(folder, "small.png")
        size = f"--window-size={SCREEN[0]},{SCREEN[1]}"
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", size, f"--screenshot={shot}"]
        subprocess.run([browser, *options, report.resolve().as_uri()], check=True, capture_output=True)
        Image.open(shot).convert("RGB").quantize(256, method=Image.Quantize.FASTOCTREE).save(small, optimize=True)
        return small.read_bytes()


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="finished run with a report")
    run = parser.parse_args().run
    write_bytes_atomic(DOCS / "handing-over.svg", handing_over(run))
    write_bytes_atomic(DOCS / "town.svg", still_of_a_town())
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("no Chromium is installed: docs/report.png was left as it is")
    write_bytes_atomic(DOCS / "report.png", first_screen(run / "report.html", browser))


if __name__ == "__main__":
    main()
