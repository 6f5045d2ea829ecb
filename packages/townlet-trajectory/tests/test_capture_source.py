"""Classic captures as a source."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_source import least_budget
from strategies import FEATURE_NAMES, SCHEMA, VOCABULARY, assert_same_batch, make_trajectory

from townlet_trajectory import ArtifactError, SchemaError, Trajectory, TrajectoryBatch
from townlet_trajectory.data.table import first_piece_of
from townlet_trajectory.dataset.dataset import TrajectoryDataset
from townlet_trajectory.dataset.memory import step_bytes
from townlet_trajectory.dataset.selection import StepSelection
from townlet_trajectory.dataset.source import TrajectorySource, table_of
from townlet_trajectory.errors import CaptureError
from townlet_trajectory.formats.captures.directory import (
    CaptureInfo,
    UnnamedActionsWarning,
    read_captures,
    write_captures,
)
from townlet_trajectory.formats.captures.manifest import read_capture_manifest
from townlet_trajectory.formats.captures.sample import CaptureLayout, ReplaySample
from townlet_trajectory.formats.captures.source import CaptureSource, LeftOutRowsWarning, trajectories_of
from townlet_trajectory.formats.open import open_dataset

KITCHEN = Path(__file__).parent / "data" / "kitchen_capture"


def write(directory: Path, *, num_samples: int = 4) -> Path:
    batch = TrajectoryBatch.from_trajectories(
        [make_trajectory(n, n + 2, world=n, episode=2, first_tick=n) for n in range(num_samples)]
    )
    return write_captures(
        directory,
        batch,
        final_values=np.zeros(num_samples, np.float32),
        layout=CaptureLayout(feature_names=FEATURE_NAMES, map_channels=("a", "b"), action_texts=VOCABULARY),
        info=CaptureInfo(
            config_path=None,
            config_id=None,
            scenario_name=None,
            scenario_description=None,
            ticks=9,
            seed=1,
            policy_hash=None,
            capture_timestamp="2025-01-01T00:00:00Z",
        ),
    )


def test_samples_of_ours_are_blocks_of_one_trajectory(tmp_path: Path) -> None:
    manifest = write(tmp_path)
    source: TrajectorySource = CaptureSource(manifest)
    assert source.block_offsets.tolist() == [0, 1, 2, 3, 4]
    assert source.table.worlds.tolist() == [0, 1, 2, 3]
    assert source.table.episodes.tolist() == [2, 2, 2, 2]
    assert source.table.lengths.tolist() == [2, 3, 4, 5]
    source.schema.require_equal(SCHEMA)
    whole = TrajectoryBatch.concatenate([source.load_block(block) for block in range(4)])
    assert_same_batch(whole, read_captures(manifest).batch())
    np.testing.assert_array_equal(source.decision_column(3, "kind"), whole.columns["kind"][9:])
    assert (source.encoded_bytes > 0).all()
    assert source.fingerprint == CaptureSource(manifest).fingerprint


def test_a_dataset_reads_samples_again_where_the_budget_does_not_hold_them_all(tmp_path: Path) -> None:
    loads: list[int] = []

    class Counted(CaptureSource):
        def load_block(self, block: int) -> TrajectoryBatch:
            loads.append(block)
            return super().load_block(block)

    source = Counted(write(tmp_path))
    least = least_budget([source], batch_size=3)
    dataset = TrajectoryDataset(source, batch_size=3, seed=0, memory_budget_bytes=least)
    for _ in range(2):
        assert sorted(step for batch in dataset for step in batch.steps.tolist()) == list(range(14))
    assert sorted(loads[:4]) == [0, 1, 2, 3]
    assert len(loads) > 4


def test_the_originals_captures_are_read() -> None:
    with pytest.warns(UnnamedActionsWarning, match="2 of 2 samples do not say what their action ids mean"):
        source = CaptureSource(KITCHEN / "rollout_sample_manifest.json")
    assert source.table.agent_ids.tolist() == ["alice", "bob"]
    assert source.table.lengths.tolist() == [39, 39]
    assert source.table.episodes.tolist() == [0, 1]
    assert source.schema.vocabulary == ("action_0", "action_1")  # alice did one thing, bob two
    assert source.load_block(0).schema == source.schema
    assert sum(map(len, TrajectoryDataset(source, batch_size=32, seed=0))) == 78
    with pytest.raises(SchemaError, match="`kind` is no decision column"):
        TrajectoryDataset(source, batch_size=32, seed=0, select=StepSelection(kinds=()))


def test_tags_of_descriptions_are_tags_of_trajectories(tmp_path: Path) -> None:
    shutil.copytree(KITCHEN, tmp_path, dirs_exist_ok=True)
    description = tmp_path / "rollout_sample_bob_002.json"
    document = json.loads(description.read_text())
    description.write_text(json.dumps({**document, "tags": ["calm"]}))
    with pytest.warns(UnnamedActionsWarning):
        source = CaptureSource(tmp_path / "rollout_sample_manifest.json")
    assert source.table.tags == (frozenset(), frozenset({"calm"}))
    description.write_text(json.dumps({**document, "tags": "calm"}))
    with pytest.raises(CaptureError, match="entry 1.*`tags` must be a list of strings"):
        CaptureSource(tmp_path / "rollout_sample_manifest.json")


def test_a_sample_that_changes_later_is_refused(tmp_path: Path) -> None:
    shutil.copytree(KITCHEN, tmp_path, dirs_exist_ok=True)
    with pytest.warns(UnnamedActionsWarning):
        source = CaptureSource(tmp_path / "rollout_sample_manifest.json")
    arrays = dict(np.load(tmp_path / "rollout_sample_bob_002.npz"))
    arrays["rewards"][5] += 1
    np.savez(tmp_path / "rollout_sample_bob_002.npz", **arrays)
    source.load_block(0)
    with pytest.raises(CaptureError, match="entry 1: verify: the sample is not what it was"):
        source.load_block(1)
    (tmp_path / "rollout_sample_bob_002.npz").unlink()
    with pytest.raises(ArtifactError, match="rollout_sample_bob_002.npz"):
        source.load_block(1)


def test_a_damaged_sample_is_refused_at_once(tmp_path: Path) -> None:
    manifest = write(tmp_path)
    path = next(tmp_path.glob("*_003.npz"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CaptureError, match="entry 2: verify"):
        CaptureSource(manifest)


def test_samples_with_other_schemas_are_refused(tmp_path: Path) -> None:
    write(tmp_path)
    shutil.copytree(KITCHEN, tmp_path, dirs_exist_ok=True)
    ours = next(tmp_path.glob("rollout_sample_alice_002.npz")).name
    manifest = tmp_path / "both.json"
    manifest.write_text(json.dumps([ours, "rollout_sample_bob_002.npz"]))
    with pytest.raises(CaptureError, match="entry 1: check: not as other samples are: vocabularies differ"):
        CaptureSource(manifest)


def test_a_manifest_without_samples_is_refused(tmp_path: Path) -> None:
    manifest = tmp_path / "empty.json"
    manifest.write_text(json.dumps([{"sample": "a.npz", "accepted": False}]))
    with pytest.raises(CaptureError, match="there is no accepted sample"):
        CaptureSource(manifest)


KITCHEN_MANIFEST = Path(__file__).parent / "data" / "kitchen_capture" / "rollout_sample_manifest.json"


def make_sample(num_rows: int) -> ReplaySample:
    """One of the original's form: row t of the observations is what was seen after action t."""
    values = np.arange(num_rows, dtype=np.float32)
    return ReplaySample(
        path=Path("sample.npz"),
        map=np.broadcast_to(values[:, None, None, None], (num_rows, 1, 1, 1)).copy(),
        features=np.repeat(values[:, None], 2, axis=1),
        actions=np.arange(num_rows) % 2,
        old_log_probs=-values,
        value_preds=np.append(values, np.float32(9)),
        rewards=10 * values,
        dones=values == num_rows - 1,
        metadata={"agent_id": "alice"},
        feature_names=("rivalry_max", "rivalry_avoid_count"),
        vocabulary=("action_0", "action_1"),
        trajectory=None,
    )


def the_one(sample: ReplaySample, *, episode: int = 0) -> Trajectory:
    (trajectory,) = trajectories_of(sample, episode=episode)
    return trajectory


def test_an_action_is_joined_with_what_was_seen_before_it() -> None:
    trajectory = the_one(make_sample(4), episode=7)
    assert trajectory.observations["map"].ravel().tolist() == [0, 1, 2, 3]
    assert trajectory.columns["action"].tolist() == [1, 0, 1]
    assert trajectory.columns["old_log_probs"].tolist() == [-1, -2, -3]
    assert trajectory.columns["value_preds"].tolist() == [0, 1, 2]  # of the observations that were decided from
    assert trajectory.rewards.tolist() == [10, 20, 30]
    assert trajectory.ticks.tolist() == [1, 2, 3]
    assert (trajectory.terminated, trajectory.truncated) == (True, False)
    assert (trajectory.agent_id, trajectory.world, trajectory.episode) == ("alice", 0, 7)


def test_values_without_the_last_one_are_read_as_well() -> None:
    sample = make_sample(3)
    without = replace(sample, value_preds=sample.value_preds[:3])
    assert the_one(without).columns["value_preds"].tolist() == [0, 1]


def test_what_goes_on_after_an_end_is_cut_there() -> None:
    # Rows 0 to 8; done at 2, 3 and 6: pieces 0-2, 3, 4-6, 7-8.
    sample = replace(make_sample(9), dones=np.isin(np.arange(9), [2, 3, 6]))
    first, second, third = trajectories_of(sample, episode=5)
    assert [each.ticks.tolist() for each in (first, second, third)] == [[1, 2], [5, 6], [8]]
    assert [each.terminated for each in (first, second, third)] == [True, True, False]
    assert not any(each.truncated for each in (first, second, third))
    assert second.observations["features"][:, 0].tolist() == [4, 5, 6]  # none of the life before
    assert second.columns["action"].tolist() == [1, 0]
    assert second.columns["value_preds"].tolist() == [4, 5]
    assert second.columns["old_log_probs"].tolist() == [-5, -6]
    assert second.rewards.tolist() == [50, 60]
    assert {(each.agent_id, each.world, each.episode) for each in (first, second, third)} == {("alice", 0, 5)}
    table = table_of(TrajectoryBatch.from_trajectories([first, second, third]))
    assert len(set(first_piece_of(table).tolist())) == 3  # none goes on in another


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_cuts_keep_every_step_that_was_seen_before(dones: list[bool]) -> None:
    sample = replace(make_sample(len(dones)), dones=np.array(dones, np.bool_))
    pieces = trajectories_of(sample, episode=0)
    rows = [tick for piece in pieces for tick in piece.ticks.tolist()]
    assert rows == [row for row in range(1, len(dones)) if not dones[row - 1]]
    for piece in pieces:
        np.testing.assert_array_equal(piece.observations["map"].ravel()[:-1], piece.ticks - 1)
        np.testing.assert_array_equal(piece.rewards, 10 * piece.ticks)
        assert piece.terminated == dones[int(piece.ticks[-1])]


def write_original(
    folder: Path,
    name: str,
    *,
    num_rows: int,
    dones: Sequence[int] = (),
    lookup: Mapping[str, int] | None = None,
    actions: Sequence[int] = (),
    **said: object,
) -> str:
    """Write a sample as the original does; return the name of its npz file."""
    sample = make_sample(num_rows)
    arrays = sample.arrays() | {"dones": np.isin(np.arange(num_rows), dones)}
    if actions:
        arrays["actions"] = np.array(actions)
    description = {"feature_names": list(sample.feature_names), "timesteps": num_rows, "agent_id": name, **said}
    if lookup is not None:
        description["action_lookup"] = dict(lookup)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / f"{name}.npz", **arrays)  # type: ignore[arg-type]
    (folder / f"{name}.json").write_text(json.dumps(description))
    return f"{name}.npz"


def every_step(source: TrajectorySource) -> list[tuple[str, int, int]]:
    """(agent, tick, action), in the order of the source; the same by steps and by trajectories, with and without a
    memory budget."""
    found = []
    for budget in (None, least_budget([source], batch_size=3), 10**9):
        steps = TrajectoryDataset(source, batch_size=2, seed=0, shuffle=False, memory_budget_bytes=budget)
        table = steps.table
        found.append(
            [
                (
                    str(table.agent_ids[batch.trajectories[row]]),
                    int(batch.ticks[row]),
                    int(batch.columns["action"][row]),
                )
                for batch in steps
                for row in range(len(batch))
            ]
        )
    least = least_budget([source], batch_size=1, unit="trajectories")
    for budget in (None, least):
        wholes = TrajectoryDataset(
            source, batch_size=1, seed=0, shuffle=False, memory_budget_bytes=budget, unit="trajectories"
        )
        found.append(
            [
                (each.agent_id, tick, action)
                for batch in wholes
                for each in batch
                for tick, action in zip(each.ticks.tolist(), each.columns["action"].tolist(), strict=True)
            ]
        )
    assert all(steps == found[0] for steps in found)
    return found[0]


def test_a_dataset_of_samples_that_go_on_after_their_end(tmp_path: Path) -> None:
    keys = '"affordance": null, "blocked": false, "object": null'  # as frames of the original hold them
    lookup = {f'{{{keys}, "kind": "wait"}}': 0, f'{{{keys}, "kind": "move"}}': 1}
    names = [
        write_original(tmp_path, "alice", num_rows=9, dones=[2, 3, 6], lookup=lookup),
        write_original(tmp_path, "bob", num_rows=4, dones=[0, 1, 2, 3], lookup=lookup),
        write_original(tmp_path, "cleo", num_rows=1, lookup=lookup),
        write_original(tmp_path, "dora", num_rows=3, dones=[2], lookup=lookup),
    ]
    (tmp_path / "m.json").write_text(json.dumps(names))
    with pytest.warns(LeftOutRowsWarning, match="m.json: 6 of 10 pieces, cut where `dones` are true") as caught:
        source = CaptureSource(tmp_path / "m.json")
    assert [one.category for one in caught].count(LeftOutRowsWarning) == 1
    assert source.block_offsets.tolist() == [0, 3, 4]
    assert source.table.agent_ids.tolist() == ["alice", "alice", "alice", "dora"]
    assert source.table.episodes.tolist() == [0, 0, 0, 3]
    assert source.table.first_ticks.tolist() == [1, 5, 8, 1]
    assert source.table.lengths.tolist() == [2, 2, 1, 2]
    assert source.table.terminated.tolist() == [True, True, False, True]
    # As if not compressed: rows that are left out are read as well.
    assert source.encoded_bytes.tolist() == [9 * step_bytes(source.schema), 3 * step_bytes(source.schema)]
    alice = [("alice", tick, tick % 2) for tick in (1, 2, 5, 6, 8)]
    assert every_step(source) == [*alice, ("dora", 1, 1), ("dora", 2, 0)]


def test_nothing_is_left_of_samples_without_a_step(tmp_path: Path) -> None:
    names = [write_original(tmp_path, "bob", num_rows=3, dones=[0, 1, 2]), write_original(tmp_path, "al", num_rows=1)]
    (tmp_path / "m.json").write_text(json.dumps(names))
    with pytest.raises(CaptureError, match="m.json: restore: no trajectory: .*, and the 2 samples hold no other"):
        CaptureSource(tmp_path / "m.json")


def test_an_agent_that_came_back_and_an_action_without_a_name(tmp_path: Path) -> None:
    # The original calls a step of an agent that did nothing yet {}, and the first action of that agent 0 as well.
    names = [
        write_original(tmp_path, "alice", num_rows=4, dones=[3], lookup={}, action_dim=3),
        write_original(tmp_path, "alice#1", num_rows=3, lookup={"{}": 0}, action_dim=2),
    ]
    document = {"metadata": {"ticks": 4}, "samples": [{"sample": name, "agent_id": name[:-4]} for name in names]}
    (tmp_path / "m.json").write_text(json.dumps(document))
    with pytest.warns(UnnamedActionsWarning, match="2 of 2 samples do not say what their action ids mean"):
        source = CaptureSource(tmp_path / "m.json")
    assert source.schema.vocabulary == ("action_0", "action_1", "action_2")
    expected = [("alice", 1, 1), ("alice", 2, 0), ("alice", 3, 1), ("alice#1", 1, 1), ("alice#1", 2, 0)]
    assert every_step(source) == expected


def test_actions_that_agents_counted_for_themselves_are_told_apart_by_their_texts(tmp_path: Path) -> None:
    names = [
        write_original(tmp_path, "alice", num_rows=3, lookup={"wait": 0, "move": 1}, actions=[0, 1, 0]),
        write_original(tmp_path, "bob", num_rows=4, lookup={"move": 0, "chat": 1, "wait": 2}, actions=[0, 1, 0, 2]),
        write_original(tmp_path, "cleo", num_rows=2, lookup={}, actions=[0, 1]),
    ]
    (tmp_path / "m.json").write_text(json.dumps(names))
    with pytest.warns(UnnamedActionsWarning, match="1 of 3 samples"):
        source = CaptureSource(tmp_path / "m.json")
    vocabulary = ("wait", "move", "chat", "action_0", "action_1")
    assert source.schema.vocabulary == vocabulary
    assert [(agent, vocabulary[action]) for agent, _, action in every_step(source)] == [
        ("alice", "move"),
        ("alice", "wait"),
        ("bob", "chat"),
        ("bob", "move"),
        ("bob", "wait"),
        ("cleo", "action_1"),
    ]


def test_arrays_without_a_schema_are_refused() -> None:
    sample = make_sample(3)
    with pytest.raises(CaptureError, match="sample.npz: restore: `shape` must be a tuple of positive ints"):
        trajectories_of(replace(sample, map=np.zeros((3, 0, 1, 1), np.float32)), episode=0)


def test_samples_with_other_features_are_refused(tmp_path: Path) -> None:
    swapped = ["rivalry_avoid_count", "rivalry_max"]
    names = [
        write_original(tmp_path, "al", num_rows=2),
        write_original(tmp_path, "bo", num_rows=2, feature_names=swapped),
    ]
    (tmp_path / "m.json").write_text(json.dumps(names))
    with pytest.raises(CaptureError, match="entry 1: check: .*`feature_names` are not those of al.npz"):
        CaptureSource(tmp_path / "m.json")


def test_paths_are_relative_to_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_original(tmp_path / "data" / "captures", "al", num_rows=3, lookup={"wait": 0, "move": 1})
    manifest = tmp_path / "data" / "manifests" / "m.json"
    manifest.parent.mkdir()
    manifest.write_text('["data/captures/al.npz"]')
    with pytest.raises(ArtifactError, match=r"data/captures/al.npz is not below .*manifests or \.$"):
        CaptureSource(manifest)
    monkeypatch.chdir(tmp_path)
    assert every_step(CaptureSource(manifest)) == [("al", 1, 1), ("al", 2, 0)]
    assert every_step(CaptureSource("data/manifests/m.json")) == [("al", 1, 1), ("al", 2, 0)]
    with open_dataset(manifest) as opened:
        assert len(opened.source.table) == 1
    monkeypatch.chdir(tmp_path / "data")
    with pytest.raises(ArtifactError, match="is not below"):
        CaptureSource(manifest)


def test_the_originals_file() -> None:
    sample = read_capture_manifest(KITCHEN_MANIFEST).entries[0].load()
    trajectory = the_one(sample)
    assert len(trajectory) == len(sample) - 1 == 39
    np.testing.assert_array_equal(trajectory.observations["map"], sample.map)
