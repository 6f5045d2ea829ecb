"""Corridors with two agent groups: walkers see the clock, sleepwalkers do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from operator import add

import numpy as np
from corridor import SPEC, CorridorCollector, CorridorEvaluator, agents
from numpy.typing import NDArray

from townlet_training.config import ONE_GROUP
from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.evaluation.interfaces import Actor, Collected, EpisodeScores

WALKER, SLEEPWALKER = "walker", "sleepwalker-1"
SPECS = {WALKER: SPEC, SLEEPWALKER: replace(SPEC, observation_shapes={"cell": SPEC.observation_shapes["cell"]})}


def without_clock(batch: TrajectoryBatch) -> TrajectoryBatch:
    def seen(mapping: Mapping[str, object]) -> dict[str, object]:
        return {name: value for name, value in mapping.items() if name != "clock"}

    return replace(
        batch,
        schema=replace(batch.schema, observations=seen(batch.schema.observations)),
        observations=seen(batch.observations),
        final_observations=seen(batch.final_observations),
    )


class PairCollector:
    """A `Collector` of two groups, each in corridors of its own. Sleepwalkers stay away now and then."""

    def __init__(self, num_worlds: int, *, seed: int, away: frozenset[int] = frozenset()) -> None:
        """`away`: numbers of the collections, from 0, in which there is no sleepwalker."""
        self.groups = {WALKER: CorridorCollector(num_worlds, seed=seed)}
        self.groups[SLEEPWALKER] = CorridorCollector(num_worlds, seed=seed + 1000)
        self.away = away
        self.num_collections = 0

    def collect(self, actors: Mapping[str, Actor] | None, *, num_ticks: int, ratio: float) -> Collected:
        parts = {
            group: collector.collect(
                None if actors is None else agents(actors[group]), num_ticks=num_ticks, ratio=ratio
            )
            for group, collector in self.groups.items()
        }
        batches = {group: part.batches[ONE_GROUP] for group, part in parts.items()}
        batches[SLEEPWALKER] = without_clock(batches[SLEEPWALKER])
        if self.num_collections in self.away:
            batches[SLEEPWALKER] = batches[SLEEPWALKER].select(np.arange(0))
        self.num_collections += 1
        num_rows = sum(batch.num_steps for batch in batches.values())
        return replace(parts[WALKER], batches=batches, agent_steps=num_rows)

    def save_state(self) -> Mapping[str, NDArray[np.generic]]:
        states = {group: collector.save_state() for group, collector in self.groups.items()}
        parts = {f"{group}/{name}": array for group, state in states.items() for name, array in state.items()}
        return parts | {"num_collections": np.array(self.num_collections)}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        self.num_collections = int(state["num_collections"])
        for group, collector in self.groups.items():
            own = {name.removeprefix(f"{group}/"): state[name] for name in state if name.startswith(f"{group}/")}
            collector.restore(own)


class PairEvaluator:
    """An `Evaluator` of two groups: their returns added up."""

    def __init__(self) -> None:
        self.inner = CorridorEvaluator()

    def evaluate(self, actors: Mapping[str, Actor], *, seeds: NDArray[np.int64], sample: bool) -> EpisodeScores:
        walker, sleepwalker = (
            self.inner.evaluate(agents(actors[group]), seeds=seeds, sample=sample) for group in SPECS
        )
        return replace(walker, returns=tuple(map(add, walker.returns, sleepwalker.returns)))

    def baseline(self, name: str, *, seeds: NDArray[np.int64]) -> EpisodeScores:
        scores = self.inner.baseline(name, seeds=seeds)
        return replace(scores, returns=tuple(2.0 * value for value in scores.returns))
