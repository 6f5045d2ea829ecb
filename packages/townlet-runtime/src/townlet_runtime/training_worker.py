"""The side of a worker of a training run: what it works with, whoever has begun the run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from townlet_behavior import BridgeConfig
from townlet_runtime.adapters.importable import Importable
from townlet_runtime.core.evaluator import Evaluator
from townlet_runtime.training_files import made_by
from townlet_runtime.training_worlds import unit_collector, units_of_run
from townlet_runtime.workers.messages import Message
from townlet_runtime.workers.policies import unpacked_beside
from townlet_runtime.workers.recording import RecordingCollector, RecordPlace
from townlet_runtime.workers.worker import OwnWorlds, Workplace, answer_on_streams

if TYPE_CHECKING:
    from townlet_runtime.core.evaluator import MakeSimulation
    from townlet_runtime.training import TrainingConfig
    from townlet_trajectory.evaluation.interfaces import AnyActor


def workplace_of(
    config: TrainingConfig,
    bridge: BridgeConfig,
    make: MakeSimulation,
    make_scored: MakeSimulation,
    *,
    record: Message | None,
) -> Workplace:
    """Make what a worker of a run works with.

    Args:
        config: of the run.
        bridge: how script and policy are blended.
        make: builds the worlds of a unit.
        make_scored: builds those of an evaluation.
        record: place where it writes what it collects, as `RecordPlace.message` says it; None: nowhere.
    """
    from townlet_runtime.training import policy_specs, state_sizes

    with closing(make(1)) as one:
        sizes = state_sizes(policy_specs(one.specs, config.network), config.network)
    units, place = units_of_run(config), None if record is None else RecordPlace.told(record)

    def begun(index: int) -> OwnWorlds:
        made = make(units[index].num_worlds)
        try:
            collector = unit_collector(config, made, bridge, sizes, unit=units[index])
        except BaseException:
            made.close()
            raise
        if place is None:
            return OwnWorlds(collector=collector, close=made.close)
        return OwnWorlds(collector=RecordingCollector(collector, place, units[index]), close=made.close)

    return Workplace(
        evaluator=Evaluator(make_scored, config=bridge, seed=config.seed, num_worlds=config.num_envs),
        collector=begun,
        unpacked=partial(unpacked_beside, networks=_networks),
    )


def _networks(data: bytes) -> Mapping[str, AnyActor]:
    from townlet_runtime.training import InitialPolicy

    return InitialPolicy.unpacked(data).networks()


def _workplace(message: Message) -> Workplace:
    from townlet_runtime.training import TrainingConfig, use_threads

    use_threads(message["threads"])
    sys.argv[:] = message["argv"]
    make = partial(made_by, Importable(**message["make"]).imported())
    config = TypeAdapter(TrainingConfig).validate_python(message["config"])
    bridge = TypeAdapter(BridgeConfig).validate_python(message["bridge"])
    return workplace_of(config, bridge, make, make, record=message["record"])


def main() -> None:
    """Collect and play what is asked for on the standard input, and answer on the standard output."""
    answer_on_streams(_workplace)
