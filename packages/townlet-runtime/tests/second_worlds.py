"""The other side of the tests of a second process: corridors, one of which breaks, played by linear policies."""

import json
import os
import sys
import time
from pathlib import Path

from strategies import LinearPolicy, bridge_config

from townlet_runtime.core.rollouts import Evaluator
from townlet_runtime.core.second_process import Message, WaveTask, answer_waves
from townlet_runtime.errors import EnvironmentFaultError, SimulationError
from townlet_runtime.simulation.interface import AGENTS
from townlet_runtime.simulation.one_group import OneGroup
from townlet_runtime.testing import Corridor, CorridorConfig

CONFIG = CorridorConfig()
# The folder is said: a process that must not import from the folder of its program finds nothing there.
_PROGRAM = f"sys.path.insert(0, {str(Path(__file__).parent)!r}); runpy.run_path({__file__!r}, run_name='__main__')"
COMMAND = [sys.executable, "-c", f"import runpy, sys; {_PROGRAM}"]
RAISES, BREAKS, DIES, SLEEPS = (2**31 + 1000 + number for number in range(4))
"""Seeds with which the other process does something else than to play."""


class Corridors(Corridor):
    """A corridor, and seeds that it does not survive."""

    def reset(self, *, seeds):
        if RAISES in seeds:
            raise SimulationError("no such corridor")
        if BREAKS in seeds:
            raise EnvironmentFaultError("corridors", "the roof came down", world=3, tick=7)
        if DIES in seeds:
            sys.stderr.write("no memory left\n")
            sys.stderr.flush()
            os._exit(7)
        if SLEEPS in seeds:
            time.sleep(600)
        return super().reset(seeds=seeds)


def corridors(worlds: Message, of: type[Evaluator] = Evaluator) -> Evaluator:
    return of(
        lambda count: OneGroup(Corridors(CONFIG, num_worlds=count)),
        config=bridge_config(Corridor(CONFIG)),
        seed=worlds["seed"],
        num_worlds=worlds["num_worlds"],
    )


def policy(seed: int) -> dict[str, LinearPolicy]:
    return {AGENTS: LinearPolicy(Corridor(CONFIG).spec, seed=seed)}


def unpacked(data: bytes) -> dict[str, LinearPolicy]:
    return policy(json.loads(data))


def wait_until_played(task: WaveTask) -> None:
    """Wait until the other process has been asked for a wave."""
    while not task.scores.running():
        time.sleep(0.01)


if __name__ == "__main__":
    answer_waves(sys.stdin.buffer, sys.stdout.buffer, evaluator=corridors, unpacked=unpacked)
