"""How many labels a student needs to agree with its teacher, by the way in which states are chosen.

    python benchmarks/distil_labels.py [--seeds 3] [--strategies uncertain,disagree,uniform] [--states scripted]

The teacher is a stub in a small town: a list of rules by the urgency of needs, of which it overlooks the first one that
applies in a tenth of its answers. `--states played`: from the second round on the student plays, and is judged in
held-out episodes as `townlet distill` judges it. `--states scripted`: all states are of the script's play, those that
it is judged by too, so that nothing but the choice of states differs. Prints one JSON line per round, and one per
strategy and seed: the labels that were spent when the student agreed with its teacher, two rounds in a row, as often
as a share of how often the teacher agrees with itself.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing

import numpy as np
import torch
from numpy.typing import NDArray

from townlet_behavior import BridgeConfig
from townlet_runtime.config import bridge_config, load_config, parse_override, script_config, town_config
from townlet_runtime.core.rollouts import Collector
from townlet_runtime.core.teachers import ArrayTeacher
from townlet_runtime.core.teaching import TaughtPlay
from townlet_runtime.simulation.interface import AGENTS, SimulationSpec
from townlet_runtime.simulation.one_group import OneGroup
from townlet_runtime.town import Town
from townlet_training import ActorCritic, BCConfig, DistilConfig, NetworkConfig
from townlet_training.distil.agreement import JudgedStates, agreements, decision_rows
from townlet_training.distil.student import Student, labelled
from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.evaluation.interfaces import derive_seed, selection_seeds
from townlet_trajectory.evaluation.teaching import Played

TOWN = ("town.agents=6", "town.episode_ticks=400", "world.grid_size=[12, 12]")
NUM_WORLDS, STATES = 16, 64
"""Of a round, and of the held-out episodes; states of one of them."""
SHARES = {"share": (0.8, 0.85, 0.9, 0.95), "share_balanced": (0.25, 0.3, 0.4, 0.5, 0.6)}
"""Of the teacher's agreement with itself, that are to be reached: over all states, and in the mean over its actions."""
_THRESHOLD, _DESPERATE = 0.4, 0.2
_OUTGOING = 0.5

Array = NDArray[np.float64]


class RuleTeacher:
    """Needs by their urgency, at the nearest object, or the least busy one where that is taken. A `BatchTeacher`."""

    def __init__(self, spec: SimulationSpec, *, overlooked: float, seed: int) -> None:
        self._columns = {name: column for column, name in enumerate(spec.feature_names)}
        self._actions = {key: index for index, key in enumerate(spec.vocabulary.keys)}
        self._overlooked, self._rng = overlooked, np.random.default_rng(seed)

    def teach(
        self, observations: Mapping[str, NDArray[np.float32]], action_mask: NDArray[np.bool_] | None, /
    ) -> NDArray[np.int64]:
        features = observations["features"]
        count = len(features)
        legal = np.ones((count, len(self._actions)), np.bool_) if action_mask is None else action_mask
        answers = np.full(count, self._actions["wait"])
        # The rules that are still to be overlooked before one is taken.
        left = (self._rng.random(count) < self._overlooked).astype(np.int64)
        open_ = np.ones(count, np.bool_)
        for applies, actions in self._rules(features, legal):
            applies &= open_ & legal[np.arange(count), actions]
            taken = applies & (left == 0)
            answers[taken] = actions[taken]
            open_ &= ~taken
            left[applies & ~taken] -= 1
        return answers

    def _rules(
        self, features: NDArray[np.float32], legal: NDArray[np.bool_]
    ) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.int64]]]:
        def of(name: str) -> NDArray[np.float32]:
            return features[:, self._columns[name]]

        def all_of(key: str) -> NDArray[np.int64]:
            return np.full(len(features), self._actions[key])

        needs = np.stack([of("need_hunger"), of("need_hygiene"), of("need_energy")], axis=1)
        yield of("using_object") > 0, all_of("wait")
        yield legal[:, self._actions["start"]].copy(), all_of("start")
        due = (of("has_job") > 0) & (of("at_workplace") == 0) & (of("shift_pre") > 0)
        yield due & (needs.min(axis=1) > _DESPERATE), all_of("go_to:workplace")
        order = np.argsort(needs, axis=1)
        for rank in range(3):
            for need, kinds in enumerate((("fridge", "stove"), ("shower",), ("bed",))):
                pressing = (order[:, rank] == need) & (needs[:, need] < _THRESHOLD)
                for kind in kinds:
                    nearest, free = all_of(f"request:{kind}:nearest"), all_of(f"request:{kind}:least_busy")
                    usable = of(f"usable_{kind}_nearest") > 0
                    yield pressing & usable, np.where(of(f"busy_{kind}_nearest") > 0, free, nearest)
        yield (of("can_chat") > 0) & (of("extroversion") > _OUTGOING), all_of("chat")


class Bench:
    """The town, the teacher, and the rounds of one strategy."""

    def __init__(self, *, overlooked: float, played: bool) -> None:
        self._played = played
        config = load_config(None, [parse_override(each) for each in TOWN]).config
        self._town, self._script = town_config(config), script_config(config)
        self._bridge: BridgeConfig = bridge_config(config, ratio=0.0)
        with closing(self._make(1)) as one:
            self._spec = one.specs[AGENTS]
        self._overlooked = overlooked

    def _make(self, num_worlds: int) -> OneGroup:
        return OneGroup(Town(self._town, num_worlds=num_worlds, script=self._script))

    def run(self, distil: DistilConfig, *, seed: int, most: int) -> Iterator[dict[str, float]]:
        """Yield the figures of every round, until `most` labels are spent."""
        rules = RuleTeacher(self._spec, overlooked=self._overlooked, seed=derive_seed(seed, "bench/teacher"))
        teacher = ArrayTeacher(self._spec, rules, label="the stub")
        student, spent, number = None, 0, 0
        while spent < most:
            number += 1
            plays = student if self._played else None
            batch = self._met(plays, distil.round_ticks, seed=derive_seed(seed, "bench/worlds", number))
            if student is None:
                network = self._network(seed)
                network.fit_normalizer(batch)
                student = Student(network, distil, BCConfig(), seed=seed)
            rows = student.chosen(batch, decision_rows(batch), number=number)
            student.labels.append(labelled(batch, rows, teacher.label(batch, rows).actions))
            student.fit(number=number)
            spent += len(rows)
            whole, parts = agreements(
                student.network, self._judged(student, teacher, seed), seed=seed, num_resamples=99
            )
            yield {
                "labels": spent,
                "agreement": whole.student_mean,
                "repeat": whole.repeat_mean,
                "share": whole.share,
                "share_balanced": whole.student_balanced / whole.repeat_balanced,
                **{f"share_{name}": part.share for name, part in parts.items()},
            }

    def _network(self, seed: int) -> ActorCritic:
        generator = torch.Generator().manual_seed(derive_seed(seed, "bench/network"))
        return ActorCritic(
            self._spec.observation_shapes, len(self._spec.vocabulary), NetworkConfig(), generator=generator
        )

    def _met(self, student: Student | None, num_ticks: int, *, seed: int) -> TrajectoryBatch:
        """States of the student's play, or of the script's."""
        with closing(self._make(NUM_WORLDS)) as simulation:
            most = num_ticks * simulation.specs[AGENTS].capacity
            collector = Collector(simulation, config=self._bridge, seed=seed, max_rows=most)
            actors = None if student is None else {AGENTS: student.network}
            ratio = 0.0 if student is None else 1.0
            return collector.collect(actors, num_ticks=num_ticks, ratio=ratio).batches[AGENTS]

    def _judged(self, student: Student, teacher: ArrayTeacher, seed: int) -> dict[str, JudgedStates]:
        if not self._played:
            batch = self._met(None, self._spec.episode_ticks, seed=derive_seed(seed, "bench/judged"))
            played = {"script": Played(batch, decision_rows(batch), None)}
        else:
            play = TaughtPlay(self._make, teacher, config=self._bridge, seed=seed, num_worlds=NUM_WORLDS)
            seeds = selection_seeds(NUM_WORLDS)
            played = {
                name: play.play(student.network, seeds=seeds, sample=False, num_taught=num_taught)
                for name, num_taught in (("student", 0), ("teacher", STATES))
            }
        per_episode = STATES if self._played else 4 * STATES
        return {
            name: JudgedStates.asked(teacher, each, per_episode=per_episode, seed=derive_seed(seed, name))
            for name, each in played.items()
        }


def needed(curve: Sequence[dict[str, float]], measure: str, share: float) -> float | None:
    """The labels of the first round from which on two in a row have at least `share`; None: there is none."""
    reached = [each[measure] >= share for each in curve]
    pairs = (number for number in range(1, len(curve)) if reached[number - 1] and reached[number])
    first = next(pairs, None)
    return None if first is None else curve[first - 1]["labels"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--strategies", default="uncertain,disagree,uniform")
    parser.add_argument("--states", choices=("played", "scripted"), default="played")
    parser.add_argument("--most", type=int, default=3000)
    parser.add_argument("--labels", type=int, default=50, help="of a round")
    parser.add_argument("--overlooked", type=float, default=0.1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(overlooked=options.overlooked, played=options.states == "played")
    for seed in range(options.seeds):
        for strategy in options.strategies.split(","):
            distil = DistilConfig(strategy=strategy, labels_per_round=options.labels)
            line = {"strategy": strategy, "states": options.states, "seed": seed}
            curve: list[dict[str, float]] = []
            for found in bench.run(distil, seed=seed, most=options.most):
                curve.append(found)
                print(json.dumps({**line, **found}), flush=True)
            for measure, shares in SHARES.items():
                reached = {str(each): needed(curve, measure, each) for each in shares}
                print(json.dumps({**line, "measure": measure, "labels_needed": reached}), flush=True)


if __name__ == "__main__":
    main()
