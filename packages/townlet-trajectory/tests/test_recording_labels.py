"""What is said of episodes while they are recorded: whose it is, how long it holds, and when it comes too late."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import SCHEMA, Said, record_labelled_lives, what_is_said

from townlet_trajectory import (
    ArraySpec,
    EpisodeLabel,
    LabelSink,
    OrderError,
    TrajectoryBatch,
    TrajectorySchema,
    TrajectoryService,
)
from townlet_trajectory.data.batch import BatchSink
from townlet_trajectory.data.labels import WhichEpisode, meant_rows
from townlet_trajectory.data.pieces import joined
from townlet_trajectory.data.table import labels_of_wholes
from townlet_trajectory.dataset.source import table_of

NONE, SUCCESS, FAILURE, DISCARD = EpisodeLabel
TINY = TrajectorySchema(
    observations={"x": ArraySpec("float32")}, decisions={"action": ArraySpec("int64")}, vocabulary=("wait", "go")
)


class Shelf:
    """A sink that keeps batches and cannot label them."""

    def __init__(self) -> None:
        self.batches: list[TrajectoryBatch] = []

    def write(self, batch: TrajectoryBatch) -> None:
        self.batches.append(batch)


class LabelShelf(Shelf):
    """A sink that can, and remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[EpisodeLabel, WhichEpisode]] = []

    def label(self, label: EpisodeLabel, which: WhichEpisode) -> bool:
        self.told.append((label, which))
        if not self.batches:
            return False
        batch = TrajectoryBatch.concatenate(self.batches)
        table = table_of(batch)
        last, goes_on = table.first_ticks + table.lengths, ~(table.terminated | table.truncated)
        rows = meant_rows(which, table, last, goes_on)
        labels = batch.episode_labels.copy()
        labels[rows] = label
        self.batches = [replace(batch, episode_labels=labels)]
        return bool(rows.size)


class World:
    """Drives a service: agents `ann` and `ben` in slots 0 and 1 of world 0; every call of `step` is a tick.

    Its episodes are 7, 3, -1, ...: their numbers tell them apart, and no more.
    """

    def __init__(self, *, max_rows: int = 100, sink: BatchSink | None = None) -> None:
        self.service = TrajectoryService(TINY, max_rows=max_rows, on_full="spill" if sink else "raise", spill=sink)
        self.tick, self.episode, self.present = 0, 7, [0, 1]
        self.begin()

    def begin(self) -> None:
        slots = np.array(self.present, np.int64)
        self.service.begin_tick(
            self.tick,
            slots,
            {"x": np.full(len(slots), self.tick, np.float32)},
            agent_ids=np.array(["ann", "ben"], object)[slots],
            worlds=np.zeros(len(slots), np.int64),
            episodes=np.full(len(slots), self.episode),
        )

    def step(self, *, died: tuple[int, ...] = (), over: bool = False) -> None:
        """A tick; agents that died are away until the next episode, which begins after one that is `over`."""
        size = len(self.present)
        self.service.record_decisions({"action": np.zeros(size, np.int64)})
        terminated = np.isin(self.present, died)
        truncated = np.full(size, over) & ~terminated
        rows = np.flatnonzero(terminated | truncated)
        self.service.record_outcome(
            np.ones(size, np.float32),
            terminated,
            truncated,
            final_rows=rows,
            final_observations={"x": np.full(len(rows), 99, np.float32)},
        )
        self.present = [0, 1] if over else [slot for slot in self.present if slot not in died]
        self.tick, self.episode = self.tick + 1, self.episode - 4 * over
        self.begin()

    def labels(self) -> list[tuple[str, int, int, str]]:
        """Agent, episode, steps and label of what `collect` gives, without clearing."""
        return said_of(self.service.collect(clear=False))


def said_of(batch: TrajectoryBatch) -> list[tuple[str, int, int, str]]:
    return [(one.agent_id, one.episode, len(one), one.episode_label.name) for one in batch]


def test_an_agent_and_a_world_by_hand() -> None:
    world = World()
    world.step()
    world.service.label_episode(SUCCESS, world=0, agent_id="ann")
    world.step(died=(1,))
    assert world.labels() == [("ann", 7, 2, "SUCCESS"), ("ben", 7, 2, "NONE")]
    world.service.label_episode(FAILURE, world=0)  # both: ben has died in the episode that goes on
    world.step(over=True)
    world.step()
    assert world.labels() == [
        ("ann", 7, 3, "FAILURE"),
        ("ann", 3, 1, "NONE"),
        ("ben", 7, 2, "FAILURE"),
        ("ben", 3, 1, "NONE"),
    ]


def test_until_the_next_episode_has_a_decision_the_last_one_is_meant() -> None:
    world = World()
    world.step(over=True)
    world.service.label_episode(DISCARD, world=0)  # the next tick has begun, and nothing of it is decided
    world.service.label_episode(SUCCESS, world=0, agent_id="ben")
    assert world.labels() == [("ann", 7, 1, "DISCARD"), ("ben", 7, 1, "SUCCESS")]
    world.step()
    world.service.label_episode(FAILURE, world=0, agent_id="ann")
    assert world.labels()[:2] == [("ann", 7, 1, "DISCARD"), ("ann", 3, 1, "FAILURE")]


def test_from_its_first_decision_on_an_episode_can_be_labelled() -> None:
    shelf = LabelShelf()
    world = World(sink=shelf)
    world.step(died=(1,))
    world.service.spill()
    world.present, world.tick = [0, 1], 1  # ben is back in the same episode
    world.service.reset()
    world.begin()
    world.service.record_decisions({"action": np.zeros(2, np.int64)})
    world.service.label_episode(SUCCESS, world=0, agent_id="ben")
    assert shelf.told == []  # of the one that is here, not of the one that is on the shelf
    world.service.record_outcome(
        np.ones(2, np.float32),
        np.array([False, True]),
        np.array([False, False]),
        final_rows=np.array([1]),
        final_observations={"x": np.zeros(1, np.float32)},
    )
    world.present, world.tick = [0], 2
    world.begin()
    assert world.labels() == [("ann", 7, 1, "NONE"), ("ben", 7, 1, "SUCCESS")]


def test_the_last_ended_one_is_meant_however_long_the_next_one_lasts() -> None:
    world = World()
    world.step(died=(1,))
    world.step(over=True)
    world.step()
    world.step()
    world.service.label_episode(DISCARD, world=0, ended=True)
    expected = [("ann", 7, 2, "DISCARD"), ("ann", 3, 2, "NONE"), ("ben", 7, 1, "DISCARD"), ("ben", 3, 2, "NONE")]
    assert world.labels() == expected
    world.service.label_episode(NONE, world=0, agent_id="ben", ended=True)
    assert world.labels()[2] == ("ben", 7, 1, "NONE")


def test_what_goes_on_keeps_its_label_through_collections() -> None:
    world = World()
    world.step()
    world.service.label_episode(DISCARD, world=0, agent_id="ann")
    first = world.service.collect()
    assert said_of(first) == [("ann", 7, 1, "DISCARD"), ("ben", 7, 1, "NONE")]
    # Nothing of the two is in the recorder now. They go on, so they can be labelled: with the next piece.
    world.service.label_episode(SUCCESS, world=0, agent_id="ben")
    world.step()
    second = world.service.collect()
    assert said_of(second) == [("ann", 7, 1, "DISCARD"), ("ben", 7, 1, "SUCCESS")]
    whole = joined(TrajectoryBatch.concatenate([first, second]))
    assert said_of(whole) == [("ann", 7, 2, "DISCARD"), ("ben", 7, 2, "SUCCESS")]


def test_after_the_collection_of_the_end_it_is_too_late() -> None:
    world = World()
    with pytest.raises(
        OrderError, match="world 0 has no trajectory that can still be labelled: it has had no decision"
    ):
        world.service.label_episode(SUCCESS, world=0)
    world.step(over=True)
    world.service.collect()
    with pytest.raises(OrderError, match="no trajectory of agent 'ann' that can still be labelled"):
        world.service.label_episode(SUCCESS, world=0, agent_id="ann")
    with pytest.raises(OrderError, match="no ended trajectory that can"):
        world.service.label_episode(SUCCESS, world=0, ended=True)
    with pytest.raises(OrderError, match="world 3 has no trajectory"):
        world.service.label_episode(SUCCESS, world=3)
    world.step()
    assert world.labels() == [("ann", 3, 1, "NONE"), ("ben", 3, 1, "NONE")]


def test_a_reset_forgets_what_was_said() -> None:
    world = World()
    world.step()
    world.service.label_episode(DISCARD, world=0)
    world.service.reset()
    with pytest.raises(OrderError):
        world.service.label_episode(DISCARD, world=0)


def test_a_sink_that_cannot_label_leaves_what_was_spilled_as_it_is() -> None:
    shelf = Shelf()
    world = World(max_rows=2, sink=shelf)
    world.step(over=True)
    world.step()
    assert [said_of(batch) for batch in shelf.batches] == [[("ann", 7, 1, "NONE"), ("ben", 7, 1, "NONE")]]
    with pytest.raises(OrderError, match="was handed out"):
        world.service.label_episode(SUCCESS, world=0, ended=True)


def test_a_sink_that_can_is_told() -> None:
    shelf = LabelShelf()
    assert isinstance(shelf, LabelSink)
    assert not isinstance(Shelf(), LabelSink)
    world = World(max_rows=2, sink=shelf)
    world.step(died=(1,))
    world.step(over=True)  # ann's first step, and all of ben, were spilled before it was decided
    world.step()
    assert shelf.told == []
    world.service.label_episode(DISCARD, world=0, ended=True)
    assert shelf.told == [(DISCARD, WhichEpisode(world=0, not_episode=3, ended=True))]
    assert said_of(shelf.batches[0]) == [("ann", 7, 1, "DISCARD"), ("ben", 7, 1, "DISCARD"), ("ann", 7, 1, "DISCARD")]
    world.service.label_episode(FAILURE, world=0, agent_id="ben", ended=True)
    assert shelf.told[1:] == [(FAILURE, WhichEpisode(world=0, agent_id="ben", ended=True))]
    world.service.label_episode(SUCCESS, world=0, agent_id="ann")
    assert len(shelf.told) == 2  # her row is here, and goes to the sink with its label
    world.service.spill()
    assert said_of(shelf.batches[-1]) == [("ann", 3, 1, "SUCCESS"), ("ben", 3, 1, "NONE")]
    world.service.label_episode(FAILURE, world=0, agent_id="ann")
    assert shelf.told[2:] == [
        (FAILURE, WhichEpisode(world=0, agent_id="ann", episode=3))
    ]  # it goes on, and what there is of it is all in the sink
    with pytest.raises(OrderError):
        world.service.label_episode(FAILURE, world=0, agent_id="eve")


@given(
    seed=st.integers(0, 2**32),
    num_ticks=st.integers(1, 20),
    max_rows=st.integers(5, 40),
    said=what_is_said(),
)
def test_spilled_and_joined_it_is_what_one_recorder_holds(seed: int, num_ticks: int, max_rows: int, said: Said) -> None:
    """The same calls at the same ticks, of agents and of worlds: where the rows are makes no difference."""
    shelf = LabelShelf()
    one = TrajectoryService(SCHEMA, max_rows=1000)
    other = TrajectoryService(SCHEMA, max_rows=max_rows, on_full="spill", spill=shelf)
    for service in (one, other):
        record_labelled_lives(service, num_ticks, seed, said)
    other.spill()
    whole = one.collect()
    pieces = TrajectoryBatch.concatenate([TrajectoryBatch.empty(SCHEMA), *shelf.batches])
    again = joined(pieces)
    expected = sorted(zip(whole.agent_ids, whole.ticks[whole.offsets[:-1]], whole.episode_labels, strict=True))
    assert sorted(zip(again.agent_ids, again.ticks[again.offsets[:-1]], again.episode_labels, strict=True)) == expected
    assert sorted(set(labels_of_wholes(table_of(pieces)).tolist())) == sorted(set(whole.episode_labels.tolist()))
