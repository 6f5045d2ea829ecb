"""Minari out and in: ours exactly back, and readable by Minari itself."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import gymnasium
import h5py
import minari
import numpy as np
import pytest
from hypothesis import given, settings
from strategies import (
    NUMBERS,
    PARTS,
    SCHEMA,
    VOCABULARY,
    array_batch,
    array_schema,
    assert_same_batch,
    batches,
    make_trajectory,
    rows_of,
)

from townlet_trajectory import (
    ArraySpec,
    ArtifactError,
    OrderError,
    SchemaError,
    Trajectory,
    TrajectoryBatch,
    TrajectorySchema,
)
from townlet_trajectory.data.actions import ArrayActions
from townlet_trajectory.dataset.info import DatasetInfo
from townlet_trajectory.formats.minari.reader import MinariReader, from_minari
from townlet_trajectory.formats.minari.writer import MinariCredits, MinariWriter, minari_root, to_minari

INFO = DatasetInfo(
    group="villagers",
    tags=("night",),
    seeds={"town": 7},
    policies={"policy": "a" * 64},
    notes={"weather": ["rain", 1.5, None]},
)


def make_batch() -> TrajectoryBatch:
    return TrajectoryBatch.from_trajectories(
        [
            make_trajectory(1, 3, first_tick=5, terminated=True),
            make_trajectory(2, 1, agent_id="bob/../x\0\ud800", world=3, episode=2, first_tick=-4),
            make_trajectory(3, 4, agent_id='"\\', truncated=True),
            make_trajectory(4, 2, terminated=True, truncated=True),
        ]
    )


def batch_of(schema: TrajectorySchema, seed: int = 0, num_steps: int = 3) -> TrajectoryBatch:
    rng = np.random.default_rng(seed)
    return TrajectoryBatch.from_trajectories(
        [
            Trajectory(
                schema=schema,
                observations=rows_of(schema.observations, num_steps + 1, rng),
                columns=rows_of(schema.decisions, num_steps, rng),
                rewards=np.arange(num_steps, dtype=np.float32),
                ticks=np.arange(num_steps),
                terminated=True,
                truncated=False,
                agent_id="a",
                world=0,
                episode=0,
            )
        ]
    )


@settings(max_examples=20)
@given(batches())
def test_load_inverts_save(tmp_path_factory: pytest.TempPathFactory, batch: TrajectoryBatch) -> None:
    restored = from_minari(to_minari(batch, "town-v0", root=tmp_path_factory.mktemp("minari")))
    assert_same_batch(restored, batch)


def test_load_inverts_save_by_blocks_and_with_what_is_known_of_it(tmp_path: Path) -> None:
    batch = make_batch()
    path = to_minari((batch[index : index + 1] for index in range(len(batch))), "town-v0", root=tmp_path, info=INFO)
    assert path == tmp_path / "town-v0"
    with MinariReader(path) as reader:
        assert reader.info == INFO
        assert reader.table.tags == (frozenset({"night"}),) * 4
        assert_same_batch(reader.load_block(0), batch)
        assert reader.block_offsets.tolist() == [0, 4]
        np.testing.assert_array_equal(reader.decision_column(0, "ratio"), batch.columns["ratio"], strict=True)
        with pytest.raises(SchemaError, match="`map` is no decision column"):
            reader.decision_column(0, "map")
        with pytest.raises(IndexError, match="block 1 of 1"):
            reader.load_block(1)
        with pytest.raises(ArtifactError, match="at most 100 bytes are read at once"):
            reader.load(max_bytes=100)


def test_blocks_end_where_they_are_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("townlet_trajectory.formats.minari.reader.BLOCK_BYTES", 400)
    batch = make_batch()
    with MinariReader(to_minari(batch, "town-v0", root=tmp_path)) as reader:
        offsets = reader.block_offsets
        assert len(offsets) > 2
        blocks = [reader.load_block(block) for block in range(len(offsets) - 1)]
        assert [len(block) for block in blocks] == np.diff(offsets).tolist()
        assert_same_batch(TrajectoryBatch.concatenate(blocks), batch)
        column = [reader.decision_column(block, "source") for block in range(len(blocks))]
        np.testing.assert_array_equal(np.concatenate(column), batch.columns["source"], strict=True)


def test_no_trajectory_at_all(tmp_path: Path) -> None:
    restored = from_minari(to_minari(TrajectoryBatch.empty(SCHEMA), "town-v0", root=tmp_path))
    assert len(restored) == 0
    restored.schema.require_equal(SCHEMA)


@pytest.mark.parametrize("dtype", ["bool", "int8", "int64", "uint8", "uint64", "float32", "float64"])
def test_every_dtype_and_extreme_values(dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = TrajectorySchema(
        observations={"scalar": ArraySpec(dtype), "tensor": ArraySpec(dtype, (2, 1, 3))},
        decisions={"action": ArraySpec(dtype, (2,)), "note": ArraySpec(dtype), "log_prob": ArraySpec("float64")},
        vocabulary=(),
    )
    batch = batch_of(schema)
    limits = {"b": lambda: (False, True), "f": lambda: (np.finfo(dtype).min, np.finfo(dtype).max)}
    low, high = limits.get(np.dtype(dtype).kind, lambda: (np.iinfo(dtype).min, np.iinfo(dtype).max))()
    for array in (batch.observations["scalar"], batch.columns["note"]):
        array.flags.writeable = True
        array[:2] = low, high
    batch.columns["log_prob"].flags.writeable = True
    batch.columns["log_prob"][:] = -np.inf, np.nan, -0.0
    assert_same_batch(from_minari(to_minari(batch, "town-v0", root=tmp_path)), batch)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    dataset = minari.load_dataset("town-v0")
    episode = dataset[0]
    assert dataset.action_space.contains(episode.actions[0])
    assert dataset.observation_space["tensor"].contains(episode.observations["tensor"][0])


def test_minari_reads_what_we_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    assert minari_root() == tmp_path
    batch = make_batch()
    credits = MinariCredits(description="A town.", author="A", author_email="a@b.c", algorithm_name="PPO")
    to_minari(batch, "towns/small/villagers-v3", info=INFO, credits=credits)
    dataset = minari.load_dataset("towns/small/villagers-v3")
    assert (dataset.total_episodes, dataset.total_steps, dataset.id) == (4, 10, "towns/small/villagers-v3")
    assert dataset.action_space == gymnasium.spaces.Discrete(3)
    assert dataset.observation_space == gymnasium.spaces.Dict(
        map=gymnasium.spaces.Box(-np.inf, np.inf, (2, 3, 3), np.float32),
        features=gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32),
        action_mask=gymnasium.spaces.MultiBinary(3),
    )
    episodes = list(dataset)
    assert [episode.terminations.tolist()[-1] for episode in episodes] == [True, False, False, True]
    # An episode of Minari ends: the second trajectory goes on, and is shown as cut.
    assert [episode.truncations.tolist()[-1] for episode in episodes] == [False, True, True, True]
    for index, episode in enumerate(episodes):
        trajectory = batch.trajectory(index)
        assert not episode.terminations[:-1].any() and not episode.truncations[:-1].any()
        np.testing.assert_array_equal(episode.rewards, trajectory.rewards)
        np.testing.assert_array_equal(episode.actions, trajectory.columns["action"])
        for name, array in trajectory.observations.items():
            np.testing.assert_array_equal(episode.observations[name], array)
        assert episode.infos.keys() == SCHEMA.decisions.keys() - {"action"}
        for name, array in episode.infos.items():
            np.testing.assert_array_equal(array, trajectory.columns[name])
        assert dataset.observation_space.contains({name: array[0] for name, array in episode.observations.items()})
    metadata = list(dataset.storage.get_episode_metadata([0, 1]))
    assert (metadata[0]["agent_id"], metadata[0]["first_tick"], metadata[0]["goes_on"]) == ("alice", 5, False)
    assert (metadata[1]["world"], metadata[1]["episode"], metadata[1]["goes_on"]) == (3, 2, True)
    listed = minari.list_local_datasets()
    assert listed["towns/small/villagers-v3"]["author"] == ["A"]
    assert listed["towns/small/villagers-v3"]["townlet"]["schema"]["vocabulary"] == list(VOCABULARY)
    assert minari.namespace.list_local_namespaces() == ["towns", "towns/small"]


def test_minari_loads_it_in_a_fresh_process(tmp_path: Path) -> None:
    to_minari(make_batch(), "town-v0", root=tmp_path)
    code = (
        "import minari; d = minari.load_dataset('town-v0'); print(len(d), d.action_space, 'townlet' in str(d.__dict__))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"MINARI_DATASETS_PATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert done.stdout.startswith("4 Discrete(3)")


def test_images_stay_as_they_were_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = TrajectorySchema(
        observations={"camera": ArraySpec("uint8", (32, 40, 3))},
        decisions={"action": ArraySpec("int64")},
        vocabulary=(),
    )
    batch = batch_of(schema)
    path = to_minari(batch, "seen-v0", root=tmp_path)
    assert_same_batch(from_minari(path), batch)
    assert json.loads((path / "data" / "metadata.json").read_bytes())["minari_version"] == "0.5.4"
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    seen = minari.load_dataset("seen-v0")[0].observations["camera"]
    np.testing.assert_array_equal(seen[:-1], batch.observations["camera"])


@pytest.mark.parametrize(
    ("actions", "space"),
    [
        (PARTS, gymnasium.spaces.MultiDiscrete([3, 2])),
        (NUMBERS, gymnasium.spaces.Box(np.float32([-1.0, 0.1]), np.float32([1.0, 2.5]), (2,), np.float32)),
    ],
)
def test_minari_reads_array_actions_in_their_own_spaces(
    actions: ArrayActions, space: gymnasium.Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    batch = array_batch(array_schema(actions), (3, 2), seed=1)
    to_minari(batch, "arm-v0")
    dataset = minari.load_dataset("arm-v0")
    assert dataset.action_space == space
    for episode, trajectory in zip(dataset, batch, strict=True):
        np.testing.assert_array_equal(episode.actions, trajectory.columns["action"], strict=True)
        np.testing.assert_array_equal(episode.infos["policy_state"], trajectory.columns["policy_state"])
        assert all(dataset.action_space.contains(action) for action in episode.actions)


@pytest.mark.parametrize(("actions", "row"), [(PARTS, [0, 2]), (NUMBERS, [0.0, 0.0])])
def test_array_actions_that_are_none_are_not_written(actions: ArrayActions, row: list[float], tmp_path: Path) -> None:
    batch = array_batch(array_schema(actions), (3,), seed=1)
    executed = batch.columns["action"].copy()
    executed[1] = row
    wrong = replace(batch, columns={**batch.columns, "action": executed})
    with pytest.raises(SchemaError, match=r"`action` must be within .*, got \[0"):
        to_minari(wrong, "arm-v0", root=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "dataset_id", ["town", "town-v", "../town-v0", "/town-v0", "a//town-v0", "", "a/../b-v0", "t:x-v0"]
)
def test_an_id_has_minaris_form(dataset_id: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="path: "):
        to_minari(make_batch(), dataset_id, root=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_minari_cannot_hold_is_named(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="at least one batch"):
        to_minari([], "town-v0", root=tmp_path)
    decisions = {"move": ArraySpec("int64")}
    schema = TrajectorySchema(observations=SCHEMA.observations, decisions=decisions, vocabulary=VOCABULARY)
    with pytest.raises(SchemaError, match=r"needs the decision column `action`, there are \['move'\]"):
        to_minari(TrajectoryBatch.empty(schema), "town-v0", root=tmp_path)
    batch = make_batch()
    actions = batch.columns["action"]
    actions.flags.writeable = True
    actions[1] = 3
    with pytest.raises(SchemaError, match=r"`action` must be in \[0, 3\), got 0 ... 3"):
        to_minari(batch, "town-v0", root=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_that_exists_is_not_touched(tmp_path: Path) -> None:
    path = to_minari(make_batch(), "town-v0", root=tmp_path)
    before = (path / "data" / "main_data.hdf5").read_bytes()
    with pytest.raises(ArtifactError, match="exists already"):
        to_minari(make_batch()[:1], "town-v0", root=tmp_path)
    assert (path / "data" / "main_data.hdf5").read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["town-v0"]


def test_a_source_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def failing():
        yield make_batch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        to_minari(failing(), "town-v0", root=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_minari_changed_afterwards_is_not_taken_for_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    path = to_minari(make_batch(), "town-v0")
    dataset = minari.load_dataset("town-v0")
    dataset.storage.update_metadata({"author": {"B"}})  # says nothing of the data
    assert_same_batch(from_minari(path), make_batch())
    episode = dataset[0]
    dataset.update_dataset_from_buffer(
        [
            minari.data_collector.EpisodeBuffer(
                observations=episode.observations,
                actions=episode.actions,
                rewards=list(episode.rewards),
                terminations=list(episode.terminations),
                truncations=list(episode.truncations),
                infos=episode.infos,
            )
        ]
    )
    assert len(minari.load_dataset("town-v0")) == 5
    with pytest.raises(ArtifactError, match="main_data.hdf5: verify: expected"):
        from_minari(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="town-v0"):
        from_minari(tmp_path / "town-v0")
    path = to_minari(make_batch(), "town-v0", root=tmp_path)
    (path / "data" / "main_data.hdf5").unlink()
    with pytest.raises(ArtifactError, match="main_data.hdf5: open"):
        from_minari(path)


def test_what_we_write_is_plain_hdf5(tmp_path: Path) -> None:
    path = to_minari(make_batch(), "town-v0", root=tmp_path)
    with h5py.File(path / "data" / "main_data.hdf5") as file:
        assert sorted(file) == ["episode_0", "episode_1", "episode_2", "episode_3"]
        assert file["episode_2/observations/map"].shape == (5, 2, 3, 3)
        assert file["episode_2/actions"].dtype == np.int64


def test_a_closed_writer_takes_nothing(tmp_path: Path) -> None:
    batch = make_batch()
    with MinariWriter(tmp_path, "town-v0", SCHEMA) as writer:
        writer.write(batch)
        assert writer.close() == writer.close() == tmp_path / "town-v0"
        with pytest.raises(OrderError, match="this writer is closed"):
            writer.write(batch)
    assert_same_batch(from_minari(tmp_path / "town-v0"), batch)


@pytest.mark.parametrize("allowed", [0, 1_000, 20_000, 60_000])
def test_a_full_disk_leaves_nothing(allowed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class SmallDisk(io.FileIO):
        def write(self, data: memoryview) -> int:
            if self.tell() + len(data) > allowed:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)

    monkeypatch.setattr("townlet_trajectory.formats.minari.hdf5.io.FileIO", SmallDisk)
    with pytest.raises(ArtifactError, match="No space left on device"):
        to_minari((make_batch() for _ in range(8)), "town-v0", root=tmp_path)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []
    to_minari(make_batch(), "town-v0", root=tmp_path)
