"""The default job, `townlet train`: wall time until everything is written, what came of it, and two seeds at once.

The town's script is cloned, the blend annealed, the policy judged, exported and reported, with the defaults. Needs two
idle cores; `--seeds` says which runs. Then two seeds of a shortened job at once, by `--jobs 2`, beside one run of it,
each in one process: how many times its rate.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from turns import calibrate

SHORT = ("--total-steps", "60000", "--processes", "1")


def seconds_of(arguments: list[str]) -> float:
    """Wall time of `townlet train`; a run whose policy is not promoted (exit code 1) is a run."""
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "townlet_runtime", "train", *arguments], capture_output=True, check=False
    )
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr.decode())
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    for seed in parser.parse_args().seeds:
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            wall = seconds_of(["--seed", str(seed), "--run-dir", str(run)])
            final = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))["final"]["summaries"]
            means = {name: round(each["mean"], 3) for name, each in final.items()}
            print(json.dumps({"benchmark": "job", "seed": seed, "wall_s": round(wall, 1), **means}), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        one = seconds_of([*SHORT, "--seed", "0", "--run-dir", f"{folder}/one"])
        two = seconds_of([*SHORT, "--seeds", "0-1", "--jobs", "2", "--run-dir", f"{folder}/two"])
        line = {"benchmark": "job", "name": "two seeds at once", "one_s": round(one, 1), "two_s": round(two, 1)}
        print(json.dumps({**line, "times_the_rate": round(2.0 * one / two, 2)}), flush=True)
    calibrate("job")


if __name__ == "__main__":
    main()
