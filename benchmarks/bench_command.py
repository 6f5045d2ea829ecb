"""What a user waits for: whole commands from their start to their end, in seconds of wall time.

`townlet train` in CartPole-v1, 65,536 steps, with its evaluations, final score, policy and report, beside the five
lines of Stable-Baselines3 (`sb3_cartpole.py`), which train and save. Both with 8 worlds x 128 ticks, 4 epochs of 4
minibatches and two trunks of 64 and 64 units. Also `townlet --help`, and the imports. Medians of `ROUNDS` rounds, taken
in turns; nothing else should run meanwhile.
"""

# /// script
# dependencies = ["stable-baselines3>=2.7", "gymnasium>=1.2"]
# ///

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from turns import calibrate

ROUNDS = 5
SIZES = ("--num-envs", "8", "--set", "training.rollout_ticks=128", "--set", "ppo.num_epochs=4")
SIZES += ("--set", "ppo.num_minibatches=4", "--set", "network.hidden_sizes=[64,64]")
TRAIN = ("-m", "townlet_runtime", "train", "--env", "gymnasium:CartPole-v1", "--mode", "ppo", *SIZES)


def commands(folder: Path) -> dict[str, list[str]]:
    """Arguments of the interpreter, by the name of what is timed."""
    timed = {
        "townlet train": [*TRAIN, "--total-steps", "65536", "--seed", "0", "--run-dir", str(folder / "run")],
        "townlet --help": ["-m", "townlet_runtime", "--help"],
        "import numpy": ["-c", "import numpy"],
        "import townlet_behavior": ["-c", "import townlet_behavior"],
        "import torch": ["-c", "import torch"],
    }
    if importlib.util.find_spec("stable_baselines3") is not None:
        script = Path(__file__).with_name("sb3_cartpole.py")
        timed["stable-baselines3"] = [str(script), str(folder / "model")]
    return timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    seconds: dict[str, list[float]] = {}
    for _ in range(parser.parse_args().rounds):
        with tempfile.TemporaryDirectory() as folder:
            for name, arguments in commands(Path(folder)).items():
                begun = time.perf_counter()
                subprocess.run([sys.executable, *arguments], cwd=folder, check=True, capture_output=True)
                seconds.setdefault(name, []).append(time.perf_counter() - begun)
    for name, own in seconds.items():
        line: dict[str, str | float] = {
            "benchmark": "command",
            "name": name,
            "wall_s": round(statistics.median(own), 3),
        }
        if name == "townlet train" and "stable-baselines3" in seconds:
            ratios = [other / one for one, other in zip(own, seconds["stable-baselines3"], strict=True)]
            line["times_the_peer"] = round(statistics.median(ratios), 2)
        print(json.dumps(line), flush=True)
    calibrate("command")


if __name__ == "__main__":
    main()
