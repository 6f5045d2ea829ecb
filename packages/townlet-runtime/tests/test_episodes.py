"""Who plays which group of an evaluation, and what is added up."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from small_parallel import PORTER, coaches

from townlet_behavior import BridgeConfig
from townlet_runtime.core.evaluator import Evaluator
from townlet_runtime.core.rollouts import Collector
from townlet_runtime.errors import SimulationError
from townlet_runtime.policy.policy import UniformPolicy
from townlet_runtime.simulation.interface import Observations, SimulationSpec
from townlet_runtime.simulation.one_group import OneGroup
from townlet_runtime.simulation.split_groups import SplitGroups
from townlet_runtime.testing import Corridor, CorridorConfig
from townlet_trajectory.evaluation.interfaces import final_seeds

CORRIDOR = CorridorConfig(length=4, places=2, slip=0.0, max_absence=1, masked=False, episode_ticks=6)
SEEDS = final_seeds(4)
RIDERS = next(group for group in coaches().specs if PORTER not in group)
PORTERS = next(group for group in coaches().specs if group != RIDERS)


class Always:
    """Takes one action; answers log-probabilities that leave no doubt."""

    def __init__(self, spec: SimulationSpec, action: int) -> None:
        self.vocabulary, self.observation_shapes, self.digest = spec.vocabulary.keys, spec.observation_shapes, None
        self._action = action
        self.asked = 0

    def act(
        self, observations: Observations, action_mask: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rows = len(next(iter(observations.values())))
        self.asked += rows
        log_probs = np.full((rows, len(self.vocabulary)), np.finfo(np.float32).min, np.float32)
        log_probs[:, self._action] = 0.0
        return log_probs, np.zeros(rows, np.float32)


def halves(num_worlds: int) -> SplitGroups:
    return SplitGroups(OneGroup(Corridor(CORRIDOR, num_worlds=num_worlds)), {"first": 1})


def evaluator(make: Any = halves) -> Evaluator:
    return Evaluator(make, config=BridgeConfig(), seed=3, num_worlds=4)


def test_the_return_of_each_group_by_hand() -> None:
    # Riders earn their action: rider_0 in ticks 1 to 6, rider_1 in 1, 2, 5 and 6; two riders at the start.
    specs = coaches().specs
    players = {RIDERS: Always(specs[RIDERS], 1), PORTERS: Always(specs[PORTERS], 0)}
    scores = evaluator(coaches).evaluate(players, seeds=SEEDS[:2], sample=False)
    assert scores.group_returns == {RIDERS: (5.0, 5.0), PORTERS: (0.0, 0.0)}
    # all groups together: the same rewards over three agents
    assert scores.returns == (10 / 3, 10 / 3)


def test_opponents_do_not_count_in_the_return() -> None:
    specs = coaches().specs
    porter = {PORTERS: Always(specs[PORTERS], 0)}
    scores = evaluator(coaches).evaluate(
        {RIDERS: Always(specs[RIDERS], 1)}, seeds=SEEDS, sample=False, opponents=porter
    )
    assert scores.returns == scores.group_returns[RIDERS]
    lazy = evaluator(coaches).evaluate(porter, seeds=SEEDS, sample=False, opponents={RIDERS: Always(specs[RIDERS], 0)})
    assert lazy.returns == (0.0,) * 4 == lazy.group_returns[RIDERS]


def test_one_group_alone_has_no_returns_by_group() -> None:
    alone = evaluator(lambda n: OneGroup(Corridor(CORRIDOR, num_worlds=n))).baseline("scripted", seeds=SEEDS)
    assert alone.group_returns == {}


def test_where_all_play_the_script_it_does_not_matter_who_is_whose_opponent() -> None:
    whole = evaluator().baseline("scripted", seeds=SEEDS)
    against = evaluator().baseline("scripted", seeds=SEEDS, opponents={"agents": None})
    named = evaluator().play({"first": "scripted", "agents": "scripted"}, seeds=SEEDS, sample=False)
    assert whole == named
    assert against.group_returns == whole.group_returns
    assert against.returns == whole.group_returns["first"]
    assert against.events == whole.events


def test_behaviors_and_policies_meet() -> None:
    spec = halves(1).specs["first"]
    still, walker = Always(spec, 0), Always(spec, 2)
    idle = evaluator().play({"first": walker, "agents": "idle"}, seeds=SEEDS, sample=False)
    waiting = evaluator().play({"first": walker, "agents": still}, seeds=SEEDS, sample=False)
    assert idle == waiting
    assert idle.group_returns["first"] > idle.group_returns["agents"]


def test_opponents_draw_their_actions_while_the_judged_are_greedy() -> None:
    spec = halves(1).specs["first"]
    chance = UniformPolicy.of(spec)
    greedy = evaluator().evaluate({"first": chance}, seeds=SEEDS, sample=False, opponents={"agents": chance})
    # the most probable of equals is the first action, which is to wait
    assert greedy.group_returns["first"] == pytest.approx((-0.06,) * 4)
    assert len(set(greedy.group_returns["agents"])) > 1
    random = evaluator().baseline("random", seeds=SEEDS, opponents={"agents": chance})
    assert random.group_returns["agents"] == evaluator().baseline("random", seeds=SEEDS).group_returns["agents"]


@pytest.mark.parametrize(
    ("players", "opponents", "problem"),
    [
        ({}, {"agents": None}, r"expected a policy for each group of \['first'\], got \[\]"),
        ({"first": "scripted"}, {"nobody": None}, r"expected opponents of the groups \['agents', 'first'\], got"),
        ({"first": "scripted", "agents": "clever"}, {}, "expected a behavior of the simulation .* got 'clever'"),
    ],
)
def test_a_cast_that_is_not_whole_is_refused(
    players: Mapping[str, str], opponents: Mapping[str, None], problem: str
) -> None:
    with pytest.raises(SimulationError, match=problem):
        evaluator().play(players, seeds=SEEDS, sample=False, opponents=opponents)


def test_without_a_script_no_group_can_be_left_to_it() -> None:
    chance = {PORTERS: UniformPolicy.of(coaches().specs[PORTERS])}
    with pytest.raises(SimulationError, match="expected a policy as the opponent of .*: there is no script"):
        evaluator(coaches).evaluate(chance, seeds=SEEDS, sample=True, opponents={RIDERS: None})


def collector(seed: int = 1) -> Collector:
    return Collector(halves(2), config=BridgeConfig(), seed=seed, max_rows=1000, unrecorded=["agents"])


def test_opponents_decide_alone_and_are_not_collected() -> None:
    specs = halves(2).specs
    still, walker = Always(specs["agents"], 0), Always(specs["first"], 2)
    own = collector()
    scripted = own.collect(None, num_ticks=3, ratio=0.0, opponents={"agents": still})
    assert still.asked > 0
    assert scripted.batches.keys() == {"first"}
    assert set(scripted.batches["first"].columns["source"].tolist()) == {0}
    blended = own.collect({"first": walker}, num_ticks=10, ratio=0.5, opponents={"agents": still})
    assert blended.agent_steps == blended.batches["first"].num_steps == sum(blended.ticks_by_source.values())
    assert set(blended.batches["first"].columns["ratio"].tolist()) == {0.5}
    # what opponents decide is counted nowhere, and they decide at ratio 1
    assert blended.decisions_by_source["external"] == 0
    before = still.asked
    own.collect({"first": walker}, num_ticks=4, ratio=0.0, opponents={"agents": still})
    assert still.asked > before


def test_a_collector_with_opponents_goes_on_from_what_was_saved() -> None:
    specs = halves(2).specs
    chance = {group: UniformPolicy.of(spec) for group, spec in specs.items()}
    playing: dict[str, Any] = {"ratio": 0.5, "opponents": {"agents": chance["agents"]}}
    own, twin = collector(), collector()
    own.collect({"first": chance["first"]}, num_ticks=7, **playing)
    state = own.save_state()
    assert state is not None
    twin.restore(state)
    one, other = (each.collect({"first": chance["first"]}, num_ticks=9, **playing) for each in (own, twin))
    assert one.batches["first"].columns["action"].tolist() == other.batches["first"].columns["action"].tolist()
    np.testing.assert_array_equal(one.batches["first"].rewards, other.batches["first"].rewards)
    with pytest.raises(
        SimulationError, match=r"expected a policy for each group of \['first'\], got \['agents', 'first'\]"
    ):
        own.collect(chance, num_ticks=1, **playing)
