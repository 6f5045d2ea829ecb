"""Recorded steps: their use, their worlds, their slices in time, and the memory that they are read in."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from corridor import HORIZON, CorridorCollector

from townlet_training.config import ONE_GROUP
from townlet_training.errors import ConfigError, EmptyBatchError
from townlet_training.learning.config import BCConfig
from townlet_training.run.recorded import RecordedSteps, require_origin, split_units, view_of
from townlet_trajectory import BatchSource, EpisodeLabel, TrajectoryBatch
from townlet_trajectory.data.pieces import split_every
from townlet_trajectory.dataset.source import ChainedSource


def batch(num_worlds: int = 4, num_ticks: int = 2 * HORIZON, seed: int = 3) -> TrajectoryBatch:
    return CorridorCollector(num_worlds, seed=seed).collect(None, num_ticks=num_ticks, ratio=0.0).batches[ONE_GROUP]


def split(*batches: TrajectoryBatch, held_out: float = 0.3, seed: int = 1, **config: object) -> RecordedSteps:
    sources = [BatchSource(each, rows_per_block=HORIZON) for each in batches]
    bc = BCConfig(**config)  # type: ignore[arg-type]  # values by name
    return RecordedSteps.of(sources, bc, held_out=held_out, split_seed=seed, order_seed=2)


def steps_of(steps: RecordedSteps) -> list[set[int]]:
    return [{int(number) for part in each.epoch(0) for number in part.steps} for each in steps.parts]


@pytest.mark.parametrize(
    ("num_units", "fraction", "sizes"),
    [(3, 0.1, (1, 1, 1)), (30, 0.2, (24, 2, 4)), (30, 0.5, (15, 5, 10)), (30, 0.99, (1, 10, 19))],
)
def test_units_are_split_by_their_use(num_units: int, fraction: float, sizes: tuple[int, int, int]) -> None:
    units = np.repeat(np.arange(num_units), 2)
    found = split_units(units, fraction=fraction)
    assert tuple(int(mask.sum()) // 2 for mask in (found.train, found.choose, found.judge)) == sizes
    assert (found.train.astype(int) + found.choose + found.judge == 1).all()
    assert units[found.judge].max() < units[found.choose].min() < units[found.train].min()


@pytest.mark.parametrize("unit", ["episodes", "trajectories"])
def test_every_step_has_one_use_and_a_unit_is_used_as_a_whole(unit: str) -> None:
    whole = batch()
    # Two agents of each episode.
    found = split(whole, TrajectoryBatch.concatenate([whole, whole]), split=unit)
    used = steps_of(found)
    assert set.union(*used) == set(range(3 * whole.num_steps))
    assert sum(map(len, used)) == 3 * whole.num_steps and all(used)
    for number in range(found.units.max() + 1):
        rows = found.units == number
        assert len({(int(world), int(episode)) for world, episode in zip(
            found.train.table.worlds[rows], found.train.table.episodes[rows], strict=True)}) == 1  # fmt: skip


def test_worlds_of_two_sources_are_others() -> None:
    whole = batch()
    view = view_of([BatchSource(whole), BatchSource(whole)], BCConfig())
    assert view.table.worlds.tolist() == [*whole.worlds.tolist(), *(whole.worlds + 4).tolist()]
    assert view.load_block(1).worlds.tolist() == (whole.worlds + 4).tolist()
    assert view.fingerprint != ChainedSource([BatchSource(whole), BatchSource(whole)]).fingerprint


def test_executed_actions_without_masks_are_all_that_is_left_of_a_record() -> None:
    view = view_of([BatchSource(batch())], BCConfig(labels="executed", use_masks=False))
    assert list(view.schema.decisions) == ["action"] and "action_mask" not in view.schema.observations
    assert "expert_action" in view_of([BatchSource(batch())], BCConfig(labels="executed")).schema.decisions


def test_few_episodes_are_split_by_trajectory_and_few_trajectories_in_time(caplog: pytest.LogCaptureFixture) -> None:
    one = batch(num_worlds=1, num_ticks=HORIZON)
    three = TrajectoryBatch.concatenate([one, one, one])
    agents = np.array(["anna", "ben", "cleo"], object)
    three = three.select(np.arange(3))
    object.__setattr__(three, "agent_ids", agents)
    with caplog.at_level(logging.WARNING):
        found = split(three)
    assert "the record has 1 episodes: whole trajectories are held out" in caplog.text
    assert sorted(map(len, steps_of(found))) == [HORIZON] * 3
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        found = split(one, held_out=0.3)
    assert "the record has 1 trajectories: tenths of each in time are held out" in caplog.text
    # 24 steps: slices of 3, 8 of them, of which 2 are held out, and one of these judges.
    assert [len(each) for each in steps_of(found)] == [18, 3, 3]
    for each in steps_of(found)[1:]:
        assert max(each) - min(each) == 2 and min(each) % 3 == 0
    assert found.train.table.first_ticks.tolist() == [*range(0, HORIZON, 3)]
    assert found.train.table.truncated.tolist() == [False] * 7 + one.truncated.tolist()


def test_two_steps_cannot_be_split() -> None:
    with pytest.raises(EmptyBatchError, match="2 recorded steps cannot be split"):
        split(batch(num_worlds=1, num_ticks=2))


def test_steps_beyond_the_budget_are_read_in_windows() -> None:
    whole = batch(num_worlds=200, num_ticks=4 * HORIZON)
    options = split(whole, memory_budget_mb=1).train.reader.options
    assert options.memory_budget_bytes == 1 << 20
    assert split(whole, memory_budget_mb=512).train.reader.options.memory_budget_bytes is None


def test_a_budget_below_one_block_is_refused_and_another_one_named() -> None:
    source = BatchSource(batch(num_worlds=200, num_ticks=4 * HORIZON))

    def budget(megabytes: int) -> RecordedSteps:
        return RecordedSteps.of(
            [source], BCConfig(memory_budget_mb=megabytes), held_out=0.3, split_seed=1, order_seed=2
        )

    with pytest.raises(ConfigError, match=r"`bc\.memory_budget_mb` is 1, and \d+ is enough: one block takes") as caught:
        budget(1)
    enough = int(str(caught.value).split("and ")[1].split()[0])
    assert budget(enough).parts


def test_a_run_has_an_origin() -> None:
    sources = {ONE_GROUP: [BatchSource(batch())]}
    require_origin("bc", sources, sources.keys(), has_world=False)
    require_origin("anneal", None, sources.keys(), has_world=True)
    with pytest.raises(ConfigError, match="a run is one of mode `bc` with `data`, got `anneal`"):
        require_origin("anneal", sources, sources.keys(), has_world=False)


def labelled(whole: TrajectoryBatch, *labels: EpisodeLabel) -> TrajectoryBatch:
    """The same trajectories; those of world n have the n-th label."""
    return replace(whole, episode_labels=np.array(labels, np.int8)[whole.worlds])


def test_what_was_labelled_discard_is_not_learned_from_unless_it_is_asked_for() -> None:
    none, success, failure, discard = EpisodeLabel
    whole = batch()
    steps = {world: whole.worlds[whole.trajectory_of_row] == world for world in range(4)}
    said = labelled(whole, none, discard, success, failure)
    for config, worlds in (
        ({}, [0, 2, 3]),
        ({"episode_labels": ("none", "success", "failure", "discard")}, [0, 1, 2, 3]),
        ({"episode_labels": ("success",)}, [2]),
    ):
        found = split(said, **config)
        rewards = [part.rewards for each in found.parts for part in each.epoch(0)]
        expected = np.concatenate([whole.rewards[steps[world]] for world in worlds])
        assert np.array_equal(np.sort(np.concatenate(rewards)), np.sort(expected))
        assert np.unique(found.train.table.worlds).tolist() == worlds
        # The same units as of a record that holds nothing else.
        alone = split(whole.filter_trajectories(np.isin(whole.worlds, worlds)), **config | {"episode_labels": None})
        assert np.array_equal(found.units, alone.units)


def test_a_piece_is_learned_from_as_its_whole_is() -> None:
    pieces = split_every(batch(), HORIZON // 3)
    labels = np.zeros(len(pieces), np.int8)
    ends = pieces.terminated | pieces.truncated
    labels[ends & (pieces.worlds == 1)] = EpisodeLabel.DISCARD  # said when most of it had been handed out
    view = view_of([BatchSource(replace(pieces, episode_labels=labels), rows_per_block=HORIZON)], BCConfig())
    assert np.unique(view.table.worlds).tolist() == [0, 2, 3]
    loaded = [view.load_block(block) for block in range(len(view.block_offsets) - 1)]
    assert sum(len(one) for one in loaded) == len(view.table) == np.count_nonzero(pieces.worlds != 1)


def test_without_a_label_nothing_of_a_record_is_another() -> None:
    source = BatchSource(batch())
    assert view_of([source], BCConfig()) is source


def test_a_record_of_which_nothing_is_left() -> None:
    with pytest.raises(EmptyBatchError, match="`bc.episode_labels` leaves out every recorded trajectory"):
        split(labelled(batch(), *[EpisodeLabel.DISCARD] * 4))
    with pytest.raises(ConfigError, match="episode_labels"):
        BCConfig(episode_labels=("bad",))  # type: ignore[arg-type]  # that is what is tested
