"""Let a policy take over from a script of your own, in an environment that somebody else wrote.

Needs the extras `gymnasium` and `training`. The same from the command line, in the folder of this file:

    townlet train --env gymnasium:CartPole-v1 --controller balance_a_pole:script
"""

import sys
import tempfile
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import BatchController
from townlet_runtime import ObservationController, SimulationSpec
from townlet_runtime.cli import main

LEFT, RIGHT = 0, 1


def push_where_it_leans(observations: Mapping[str, NDArray[np.float32]], agent_id: str) -> int:
    """What one agent does, from what it sees; this script holds the pole for some forty ticks."""
    _position, _speed, angle, _turning = observations["observation"]
    return RIGHT if angle > 0 else LEFT


def script(spec: SimulationSpec) -> BatchController:
    """What `--controller balance_a_pole:script` calls, once for each group of agents."""
    return ObservationController(push_where_it_leans)


if __name__ == "__main__":
    options = "--env gymnasium:CartPole-v1 --controller balance_a_pole:script --total-steps 8000 --threads 1"
    options += " --set anneal.clone_ticks=256 --set anneal.warmup_updates=2"
    options += " --set training.final_episodes=10 --set promotion.num_episodes=10"
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(main(["train", *options.split(), "--run-dir", f"{folder}/run"]))
