"""The second process of `townlet train`, which builds the worlds of the run from its config, and plays episodes.

    python -m townlet_runtime.cli.training.second

plays what it is asked for on its standard input, and answers on its standard output.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING

from townlet_runtime.cli.threads import default_processes
from townlet_runtime.cli.world_options import WorldOptions
from townlet_runtime.cli.worlds import Worlds
from townlet_runtime.config import config_from
from townlet_runtime.config.dump import noted
from townlet_runtime.core.rollouts import Evaluator
from townlet_runtime.core.second_process import Message, SecondProcess, answer_waves

if TYPE_CHECKING:
    from townlet_runtime.cli.training.plan import TrainPlan
    from townlet_runtime.training import TrainingConfig
    from townlet_trajectory.evaluation.interfaces import AnyActor


WORTH_TICKS = 50_000
"""World ticks of the final score from which on the process is worth its beginning, which takes seconds."""


def second_process(plan: TrainPlan, training: TrainingConfig) -> SecondProcess | None:
    """Begin the second process of a run that has one; None where it plays its episodes alone.

    It has one where `--processes 2` asks for it; unless that is said, where the CPUs carry it and there is enough to
    play. A run without a world has none, nor one with opponents, whose episodes are played in one process.

    Args:
        plan: of the run, with its config written out.
        training: its settings.

    Returns:
        The process, which is to be closed.
    """
    players = len(training.baselines) + 2
    ticks = players * training.final_episodes * max(spec.episode_ticks for spec in plan.specs.values())
    processes = plan.processes
    if processes is None:
        processes = default_processes(plan.threads) if ticks >= WORTH_TICKS else 1
    if processes == 1 or plan.environment is None or any(one.policy != "learn" for one in training.groups.values()):
        return None
    worlds = {
        "config": noted(plan.config),
        "options": asdict(plan.worlds.options),
        "seed": plan.seed,
        "num_worlds": training.num_envs,
        "threads": plan.threads,
    }
    return SecondProcess([sys.executable, "-P", "-m", "townlet_runtime.cli.training.second"], worlds)


def evaluator_of(message: Message) -> Evaluator:
    """Build the evaluator of a run from the first message of `second_process`."""
    from townlet_runtime.training import use_threads

    # As in the first process: the number may change the last bit of a product.
    use_threads(message["threads"])
    options = message["options"]
    guardrails, groups = (tuple(options.pop(name)) for name in ("guardrails", "groups"))
    config = config_from(message["config"], source="the config of the run").config
    worlds = Worlds.of(config, WorldOptions(**options, guardrails=guardrails, groups=groups))
    with closing(worlds.make(1)) as one:
        bridge = worlds.bridge(one.specs)
    return Evaluator(worlds.make_scored, config=bridge, seed=message["seed"], num_worlds=message["num_worlds"])


def _networks(data: bytes) -> Mapping[str, AnyActor]:
    from townlet_runtime.training import InitialPolicy

    return InitialPolicy.unpacked(data).networks()


def main() -> None:
    """Answer until the input ends."""
    # What an environment prints must not get among the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    answer_waves(sys.stdin.buffer, answers, evaluator=evaluator_of, unpacked=_networks)


if __name__ == "__main__":
    main()
