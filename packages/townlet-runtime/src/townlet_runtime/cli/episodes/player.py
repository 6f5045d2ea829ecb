"""The program of a worker that plays episodes, in worlds that it builds from the config of a command.

    python -m townlet_runtime.cli.episodes.player

plays what it is asked for on its standard input, and answers on its standard output. It needs no torch.
"""

from __future__ import annotations

from contextlib import closing

from townlet_runtime.cli.worlds import Worlds
from townlet_runtime.core.evaluator import Evaluator
from townlet_runtime.workers.messages import Message
from townlet_runtime.workers.policies import unpacked_files
from townlet_runtime.workers.worker import Workplace, answer_on_streams


def workplace(message: Message) -> Workplace:
    """Build what a worker works with from the first message."""
    _, worlds = Worlds.told(message)
    with closing(worlds.make_scored(1)) as one:
        bridge = worlds.bridge(one.specs)
    evaluator = Evaluator(worlds.make_scored, config=bridge, seed=message["seed"], num_worlds=message["num_worlds"])
    return Workplace(evaluator=evaluator, unpacked=unpacked_files)


if __name__ == "__main__":
    answer_on_streams(workplace)
