"""The program of a worker of `townlet train`, which builds the worlds of the run from its config.

    python -m townlet_runtime.cli.training.worker

collects and plays what it is asked for on its standard input, and answers on its standard output.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from townlet_runtime.cli.worlds import Worlds
from townlet_runtime.config import training_settings
from townlet_runtime.core.evaluator import Evaluator
from townlet_runtime.workers.messages import Message
from townlet_runtime.workers.policies import unpacked_beside
from townlet_runtime.workers.worker import OwnWorlds, Workplace, answer_on_streams

if TYPE_CHECKING:
    from townlet_trajectory.evaluation.interfaces import AnyActor


def workplace(message: Message) -> Workplace:
    """Build what a worker works with from the first message."""
    from townlet_runtime.training import policy_specs, state_sizes, use_threads
    from townlet_runtime.training_settings import training_config
    from townlet_runtime.training_worlds import unit_collector, units_of_run

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
        specs = one.specs
    bridge, units = worlds.bridge(specs), units_of_run(training)
    sizes = state_sizes(policy_specs(specs, training.network), training.network)

    def begun(index: int) -> OwnWorlds:
        made = worlds.make(units[index].num_worlds)
        try:
            collector = unit_collector(training, made, bridge, sizes, unit=units[index])
        except BaseException:
            made.close()
            raise
        return OwnWorlds(collector=collector, close=made.close)

    return Workplace(
        evaluator=Evaluator(worlds.make_scored, config=bridge, seed=training.seed, num_worlds=training.num_envs),
        collector=begun,
        unpacked=partial(unpacked_beside, networks=_networks),
    )


def _networks(data: bytes) -> Mapping[str, AnyActor]:
    from townlet_runtime.training import InitialPolicy

    return InitialPolicy.unpacked(data).networks()


if __name__ == "__main__":
    answer_on_streams(workplace)
