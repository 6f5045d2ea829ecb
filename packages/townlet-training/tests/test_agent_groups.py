"""One network, optimizer and generator for each agent group; their names, and mappings by group."""

import logging
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from corridor import SPEC, CorridorCollector, network
from pairs import SLEEPWALKER, SPECS, WALKER, PairCollector

from townlet_training.config import ONE_GROUP, GroupConfig, TrainingConfig
from townlet_training.errors import ConfigError, EmptyBatchError, NonFiniteError, ShapeError, StaleBatchError
from townlet_training.learning.config import BCConfig, PPOConfig
from townlet_training.learning.ppo import PPOLearner
from townlet_training.network.config import NetworkConfig
from townlet_training.network.weights import weights_digest, weights_of, weights_sha256
from townlet_training.planning import PlannedUpdate
from townlet_training.run.agent_groups import GroupLearners, Understudies
from townlet_trajectory.evaluation.interfaces import AnyActor, derive_seed

CONFIG = TrainingConfig(
    baselines=("scripted", "nearest", "idle", "random"),
    seed=3,
    total_env_steps=1,
    network=NetworkConfig(hidden_sizes=(4,)),
    ppo=PPOConfig(num_minibatches=2, num_epochs=1),
    bc=BCConfig(num_epochs=2),
)
PPO = PlannedUpdate(
    stage="ppo", ratio=1.0, kickstart_coef=0.5, learning_rate=1e-2, clip_range=0.1, entropy_coef=0.01, gae_lambda=0.95
)
WARM_UP = replace(PPO, stage="warmup", kickstart_coef=0.0)


def pair(away: frozenset[int] = frozenset()) -> tuple[GroupLearners, PairCollector]:
    return GroupLearners(CONFIG, SPECS), PairCollector(2, seed=3, away=away)


def test_one_group_is_what_a_learner_alone_is() -> None:
    own = GroupLearners(CONFIG, {ONE_GROUP: SPEC})
    twin = network(seed=derive_seed(3, "network"), config=CONFIG.network)
    learner = PPOLearner(twin, config=CONFIG.ppo, generator=torch.Generator().manual_seed(derive_seed(3, "learner")))
    collected = CorridorCollector(2, seed=3).collect(own.networks, num_ticks=12, ratio=1.0)
    updates = own.learn(collected, PPO, number=1)
    expected = learner.update(collected.batches[ONE_GROUP], kickstart_coef=0.5, learning_rate=1e-2, clip_range=0.1)
    assert updates == {ONE_GROUP: expected}
    assert own.sha256() == weights_sha256(twin)
    assert weights_digest(own.state()) == weights_digest(learner.state_dict())


def test_groups_have_numbers_of_their_own() -> None:
    same = GroupLearners(CONFIG, {WALKER: SPEC, "other": SPEC, ONE_GROUP: SPEC})
    assert len({weights_sha256(each) for each in same.networks.values()}) == 3
    # Which other groups there are changes nothing.
    alone = GroupLearners(CONFIG, {WALKER: SPEC})
    assert weights_sha256(alone.networks[WALKER]) == weights_sha256(same.networks[WALKER])


def test_each_group_learns_from_what_it_did() -> None:
    own, collector = pair()
    before = {group: weights_sha256(each) for group, each in own.networks.items()}
    updates = own.learn(collector.collect(own.networks, num_ticks=12, ratio=1.0), PPO, number=1)
    assert list(updates) == [WALKER, SLEEPWALKER]
    assert [each.num_transitions for each in updates.values()] == [24, 24]
    assert not set(before.values()) & {weights_sha256(each) for each in own.networks.values()}


def test_the_warm_up_is_one_of_every_group() -> None:
    own, collector = pair()
    policies = [weights_digest(weights_of(each.policy)) for each in own.networks.values()]
    before = own.sha256()
    own.learn(collector.collect(own.networks, num_ticks=12, ratio=1.0), WARM_UP, number=1)
    assert [weights_digest(weights_of(each.policy)) for each in own.networks.values()] == policies
    assert own.sha256() != before


def test_a_group_that_was_not_there_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    own, collector = pair(away=frozenset({0}))
    before = weights_sha256(own.networks[SLEEPWALKER])
    with caplog.at_level(logging.WARNING, logger="townlet_training"):
        updates = own.learn(collector.collect(own.networks, num_ticks=12, ratio=1.0), PPO, number=1)
    assert list(updates) == [WALKER]
    assert weights_sha256(own.networks[SLEEPWALKER]) == before
    assert caplog.messages == ["agent group sleepwalker-1 is left out of an update: it decided nothing"]


def test_where_nobody_decides_there_is_nothing_to_learn() -> None:
    own, collector = pair()
    with pytest.raises(EmptyBatchError, match="update 1 of stage ppo: all 48 rows are foreign; nothing to learn from"):
        own.learn(collector.collect(None, num_ticks=12, ratio=0.0), PPO, number=1)


def test_each_group_is_cloned_and_normalized_by_itself() -> None:
    own, collector = pair()
    clones = own.clone(collector.collect(None, num_ticks=96, ratio=0.0), on_epoch=lambda epoch: None)
    results = {group: clone.result for group, clone in clones.items()}
    assert list(results) == [WALKER, SLEEPWALKER]
    # The script goes by the clock, which sleepwalkers do not see.
    assert results[WALKER].accuracy > results[SLEEPWALKER].accuracy
    means = [each.observation_mean for each in own.networks.values()]
    assert [len(mean) for mean in means] == [9, 5]
    assert all(mean.any() for mean in means)


def test_a_group_that_nothing_is_known_of_is_named() -> None:
    own, collector = pair(away=frozenset({0}))
    collected = collector.collect(None, num_ticks=48, ratio=0.0)
    with pytest.raises(EmptyBatchError, match="preparation, agent group `sleepwalker-1`: the statistics"):
        own.freeze_statistics(collected.batches)
    with pytest.raises(EmptyBatchError, match="stage clone, agent group `sleepwalker-1`: 0 scripted episodes"):
        own.clone(collected, on_epoch=lambda epoch: None)


def test_what_was_taken_is_what_is_restored() -> None:
    own, collector = pair()
    own.learn(collector.collect(own.networks, num_ticks=12, ratio=1.0), PPO, number=1)
    weights, state = own.weights(), own.state()
    assert {name.partition("/")[0] for name in (*weights, *state)} == set(SPECS)
    assert own.sha256() == weights_digest(weights)
    other = GroupLearners(replace(CONFIG, seed=9), SPECS)
    other.restore(weights, state)
    more = collector.collect(own.networks, num_ticks=12, ratio=1.0)
    assert own.learn(more, PPO, number=1) == other.learn(more, PPO, number=1)
    assert own.sha256() == other.sha256()
    with pytest.raises(ShapeError, match="is of none of the agent groups"):
        other.restore({**weights, "nobody/x": torch.zeros(1)}, state)


def test_copies_stay_as_they_are() -> None:
    own, collector = pair()
    weights = own.weights()
    own.learn(collector.collect(own.networks, num_ticks=12, ratio=1.0), PPO, number=1)
    learned = own.sha256()
    copies = own.copies(weights)
    assert {group: weights_sha256(each) for group, each in copies.items()} == {
        group: weights_sha256(each) for group, each in GroupLearners(CONFIG, SPECS).networks.items()
    }
    assert own.sha256() == learned
    seen = {"cell": np.eye(5, dtype=np.float32), "clock": np.eye(5, 4, dtype=np.float32)}
    for group, fresh in GroupLearners(CONFIG, SPECS).networks.items():
        np.testing.assert_array_equal(copies[group].act(seen, None)[0], fresh.act(seen, None)[0])


def test_another_attempt_draws_other_numbers_in_every_group() -> None:
    states = []
    for attempt in (1, 2):
        own, _ = pair()
        own.reseed(attempt)
        states += [state.numpy().tobytes() for name, state in own.state().items() if name.endswith("generator")]
    assert len(set(states)) == 4
    own = GroupLearners(CONFIG, {ONE_GROUP: SPEC})
    own.reseed(2)
    expected = torch.Generator().manual_seed(derive_seed(3, "attempt", 2)).get_state()
    np.testing.assert_array_equal(own.state()["generator"].numpy(), expected.numpy())


def test_a_group_needs_a_proper_name() -> None:
    with pytest.raises(ConfigError, match="got 'a/b'"):
        GroupLearners(CONFIG, {"a/b": SPEC})


def test_an_error_names_stage_update_and_group() -> None:
    own, collector = pair()
    collected = collector.collect(own.networks, num_ticks=12, ratio=1.0)
    batch = collected.batches[SLEEPWALKER]
    rewards = batch.rewards.copy()
    rewards[3] = -1e38
    batches = {**collected.batches, SLEEPWALKER: replace(batch, rewards=rewards)}
    with pytest.raises(NonFiniteError, match="^update 7 of stage ppo, agent group `sleepwalker-1`: ") as caught:
        own.learn(replace(collected, batches=batches), PPO, number=7)
    assert caught.value.stage
    other = GroupLearners(replace(CONFIG, seed=9), SPECS)
    with pytest.raises(StaleBatchError, match="^update 8 of stage ppo, agent group `walker`: "):
        other.learn(collected, PPO, number=8)


def test_understudies_act_with_what_was_taken_last_and_leave_the_run_alone() -> None:
    own, collector = pair()
    twin, same = pair()
    seen = {"cell": np.eye(5, dtype=np.float32), "clock": np.eye(5, 4, dtype=np.float32)}
    watched = Understudies(own)

    def answers(actors: Mapping[str, AnyActor]) -> list[bytes]:
        return [actors[group].act(seen, None)[0].tobytes() for group in SPECS]

    fresh = answers(own.networks)
    assert answers(watched.actors) == fresh
    assert not watched.show()  # nothing was taken since
    own.learn(collector.collect(own.networks, num_ticks=12, ratio=1.0), PPO, number=1)
    learned = answers(own.networks)
    watched.take()
    assert answers(watched.actors) == fresh != learned  # not before they are shown
    assert watched.show()
    assert answers(watched.actors) == learned
    own.learn(collector.collect(own.networks, num_ticks=12, ratio=1.0), PPO, number=2)
    watched.take()
    own.learn(collector.collect(own.networks, num_ticks=12, ratio=1.0), PPO, number=3)
    watched.take()
    assert watched.show() and not watched.show()
    assert answers(watched.actors) == answers(own.networks)
    for number in (1, 2, 3):
        twin.learn(same.collect(twin.networks, num_ticks=12, ratio=1.0), PPO, number=number)
    assert own.sha256() == twin.sha256()


def test_an_earlier_self_has_an_understudy_of_its_own() -> None:
    config = replace(CONFIG, mode="ppo", groups={"other": GroupConfig(policy=f"past({ONE_GROUP}, 1)")})
    learners = GroupLearners(config, {ONE_GROUP: SPEC, "other": SPEC})
    watched = Understudies(learners)
    assert list(watched.actors) == [ONE_GROUP, "other"]
    collected = CorridorCollector(2, seed=3).collect(learners.networks, num_ticks=12, ratio=1.0)
    learners.learn(collected, PPO, number=1)
    watched.take()
    watched.show()
    seen = {"cell": np.eye(5, dtype=np.float32), "clock": np.eye(5, 4, dtype=np.float32)}
    now, before = (watched.actors[group].act(seen, None)[0] for group in (ONE_GROUP, "other"))
    _, earlier = learners.opponents.earlier_selves()["other"]
    np.testing.assert_array_equal(before, earlier.act(seen, None)[0])
    assert not np.array_equal(now, before)
