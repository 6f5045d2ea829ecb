"""What the benchmarks share: contestants that take turns, their medians, ratios to a peer, and a calibration line."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

Contestant = Callable[[], float]
"""Does the work once and returns its rate: units of work a second, of CPU time where nothing else is said."""


def in_turns(contestants: Mapping[str, Contestant], *, rounds: int) -> dict[str, list[float]]:
    """Return the rates of every contestant, of `rounds` rounds in which each does its work once, after one that is not
    kept."""
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for kept in (False, *[True] * rounds):
        for name, work in contestants.items():
            rate = work()
            if kept:
                rates[name].append(rate)
    return rates


def scripts_run() -> bool:
    """Whether peers whose requirements contradict ours can run: in environments that `uv` makes."""
    return shutil.which("uv") is not None


def script_rate(name: str, *arguments: int) -> float:
    """Run the script `name` beside this file in the environment that it asks for, and return the rate it prints."""
    # Of the environment that runs this script nothing must be seen.
    environ = {key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "PYTHONPATH")}
    script = Path(__file__).with_name(name)
    command = ["uv", "run", "--quiet", "--no-project", "--script", str(script), *map(str, arguments)]
    done = subprocess.run(command, env=environ, capture_output=True, check=True, text=True)
    return float(done.stdout.split()[-1])


def dense_products(layers: Sequence[tuple[int, int]], batch_size: int, num_batches: int) -> None:
    """Make the matrix products of a network's passes: nothing that learns by gradients can do with fewer.

    Args:
        layers: inputs and outputs of each, first to last.
        batch_size: rows of a product.
        num_batches: each is one product forward, one for the weights, and but for the first layer one for its inputs.
    """
    weights = [np.ones(sizes, np.float32) for sizes in layers]
    inputs, outputs = ([np.ones((batch_size, sizes[side]), np.float32) for sizes in layers] for side in (0, 1))
    for _ in range(num_batches):
        for layer, (weight, into, out) in enumerate(zip(weights, inputs, outputs, strict=True)):
            into @ weight
            into.T @ out
            if layer:
                out @ weight.T


def matmul_per_s() -> float:
    """Products of two 256 x 256 float32 matrices in numpy a second: it drifts with the machine, as all figures do."""
    square = np.ones((256, 256), np.float32)
    begun, count = time.process_time(), 1000
    for _ in range(count):
        square @ square
    return count / (time.process_time() - begun)


def report(
    benchmark: str, rates: Mapping[str, list[float]], *, unit: str, peer: str | None = None, limit: str | None = None
) -> None:
    """Print a line of JSON for each contestant, and the calibration line.

    Args:
        benchmark: its name.
        rates: of `in_turns`.
        unit: of the rates, the name of their key.
        peer: the contestant that the others are compared with: the median of the ratios of each round.
        limit: the contestant that does no more than has to be done: `share_of_limit` is measured against it.
    """
    for name, own in rates.items():
        line: dict[str, str | float] = {"benchmark": benchmark, "name": name, unit: _rounded(statistics.median(own))}
        for key, other in (("times_the_peer", peer), ("share_of_limit", limit)):
            if other is not None and other != name and other in rates:
                ratios = [one / beside for one, beside in zip(own, rates[other], strict=True)]
                line[key] = round(statistics.median(ratios), 2)
        print(json.dumps(line), flush=True)
    calibrate(benchmark)


def calibrate(benchmark: str) -> None:
    """Print the calibration line."""
    line = {"benchmark": benchmark, "name": "calibration", "matmul_per_s": round(matmul_per_s())}
    print(json.dumps(line), flush=True)


def _rounded(rate: float) -> float:
    return round(rate) if rate >= 100.0 else float(f"{rate:.3g}")
