"""The program of a worker of `townlet train`, which builds the worlds of the run from its config.

    python -m townlet_runtime.cli.training.worker

collects and plays what it is asked for on its standard input, and answers on its standard output.
"""

from __future__ import annotations

from contextlib import closing

from townlet_runtime.cli.worlds import Worlds
from townlet_runtime.config import training_settings
from townlet_runtime.workers.messages import Message
from townlet_runtime.workers.worker import Workplace, answer_on_streams


def workplace(message: Message) -> Workplace:
    """Build what a worker works with from the first message."""
    from townlet_runtime.training import use_threads
    from townlet_runtime.training_settings import training_config
    from townlet_runtime.training_worker import workplace_of

    # As in the process that learns: the number may change the last bit of a product.
    use_threads(message["threads"])
    config, worlds = Worlds.told(message)
    training = training_config(
        training_settings(config),
        preset_name=config.preset,
        mode=message["mode"],
        seed=message["seed"],
        behaviors=tuple(message["behaviors"]),
    )
    with closing(worlds.make(1)) as one:
        bridge = worlds.bridge(one.specs)
    return workplace_of(training, bridge, worlds.make, worlds.make_scored, record=message["record"])


if __name__ == "__main__":
    answer_on_streams(workplace)
