"""Batches in npz files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from strategies import SCHEMA, any_batches, assert_identical_batch, damaged, make_trajectory

from townlet_trajectory import ArtifactError, ManifestError, TrajectoryBatch
from townlet_trajectory.dataset.source import arrays_digest
from townlet_trajectory.formats.batch_file import load_batch, save_batch
from townlet_trajectory.storage.json import canonical_json
from townlet_trajectory.storage.npz import decode_npz, encode_npz

BATCH = TrajectoryBatch.from_trajectories(
    [make_trajectory(1, 3, agent_id="ann", terminated=True), make_trajectory(2, 1, agent_id="b\0\U0001f600")]
)
Arrays = dict[str, np.ndarray]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(any_batches())
def test_load_inverts_save(tmp_path: Path, batch: TrajectoryBatch) -> None:
    for compress in (True, False):
        save_batch(tmp_path / "b.npz", batch, compress=compress)
        assert_identical_batch(load_batch(tmp_path / "b.npz"), batch)


def test_empty_batches_and_ids_that_are_not_unicode(tmp_path: Path) -> None:
    for batch in (
        TrajectoryBatch.empty(SCHEMA),
        TrajectoryBatch.from_trajectories([make_trajectory(1, 1, agent_id="\ud800x")]),
    ):
        save_batch(tmp_path / "b.npz", batch)
        assert_identical_batch(load_batch(tmp_path / "b.npz"), batch)


def test_columns_keep_their_order(tmp_path: Path) -> None:
    batch = TrajectoryBatch.from_trajectories([make_trajectory(0, 2)])
    save_batch(tmp_path / "b.npz", batch)
    schema = load_batch(tmp_path / "b.npz").schema
    assert list(schema.observations) == list(batch.schema.observations) == ["map", "features", "action_mask"]
    assert list(schema.decisions) == list(batch.schema.decisions)


def test_numpy_reads_ours(tmp_path: Path) -> None:
    save_batch(tmp_path / "b.npz", BATCH)
    with np.load(tmp_path / "b.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["lengths"], [3, 1])
        np.testing.assert_array_equal(arrays["observations.map"], BATCH.observations["map"])
        assert arrays["agent_ids"].tobytes() == b"annb\0\xf0\x9f\x98\x80"
        assert arrays["agent_id_ends"].tolist() == [3, 9]
        assert json.loads(arrays["townlet"].tobytes())["vocabulary"] == list(SCHEMA.vocabulary)


def test_what_is_not_compressed_is_longer(tmp_path: Path) -> None:
    batch = TrajectoryBatch.from_trajectories([make_trajectory(1, 1000)])
    save_batch(tmp_path / "small.npz", batch)
    save_batch(tmp_path / "large.npz", batch, compress=False)
    assert (tmp_path / "small.npz").stat().st_size < 0.9 * (tmp_path / "large.npz").stat().st_size


def rewritten(path: Path, change: Callable[[Arrays, dict[str, object]], object]) -> None:
    """Change what is in the file, and sign it anew."""
    arrays: Arrays = decode_npz(path.read_bytes(), path, names=None)
    document = json.loads(arrays.pop("townlet").tobytes())
    del document["sha256"]
    change(arrays, document)
    document["sha256"] = arrays_digest(canonical_json(document), arrays)
    path.write_bytes(encode_npz({"townlet": np.frombuffer(canonical_json(document), np.uint8), **arrays}))


def replaced(**arrays: np.ndarray) -> Callable[[Arrays, dict[str, object]], object]:
    return lambda old, _: old.update({name.replace("__", "."): array for name, array in arrays.items()})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a, d: d.update(format="x"), "not a townlet-batch: `format` is 'x'"),
        (lambda a, d: d.update(schema_version=[2, 0]), r"schema version 1.x is read, got \[2, 0\]"),
        (lambda a, d: d.update(schema_version=[]), r"schema version 1.x is read, got \[\]"),
        (lambda a, d: d.update(vocabulary=["x", "x"]), "`vocabulary` repeats"),
        (lambda a, d: a.pop("lengths"), "no member 'lengths'"),
        (lambda a, d: a.pop("final.map"), "no member 'final.map'"),
        (replaced(lengths=np.array([4, 0])), "`lengths` must be positive and 4 together"),
        (replaced(lengths=np.array([1 << 62, 1 << 62, 1 << 62, (1 << 62) + 4])), "`lengths` must be positive"),
        (replaced(lengths=np.array([3, 1], np.int32)), "`lengths` must have dtype int64, got int32"),
        (replaced(lengths=np.array([[3, 1]])), r"`lengths` must have shape \(2,\), got \(1, 2\)"),
        (replaced(rewards=np.float32(3)), "`lengths` must be positive and 1 together"),
        (replaced(worlds=np.int64(3)), r"`worlds` must have shape \(2,\)"),
        (replaced(ticks=np.array([1, 3, 4, 5])), "`ticks` of a trajectory must be consecutive"),
        (replaced(rewards=np.array([1, np.nan, 3, 4], np.float32)), "`rewards` must be finite"),
        (replaced(worlds=np.zeros(3, np.int64)), r"`worlds` must have shape \(2,\)"),
        (replaced(decisions__action=np.zeros(4, np.int8)), "`action` must have dtype int64"),
        (replaced(observations__map=np.zeros((4, 2, 9), np.float32)), "`map` must have shape"),
        (replaced(agent_id_ends=np.array([9, 3])), "`agent_id_ends` must ascend to 9"),
        (replaced(agent_id_ends=np.array([-3, 9])), "`agent_id_ends` must ascend to 9"),
        (replaced(agent_id_ends=np.array([3, 10])), "`agent_id_ends` must ascend to 9"),
        (replaced(agent_id_ends=np.array([3])), "`agent_id_ends` must ascend to 9"),
        (replaced(agent_ids=np.full(9, 255, np.uint8)), "'utf-8' codec can't decode"),
    ],
)
def test_contradictions_are_refused_however_they_are_signed(
    change: Callable[[Arrays, dict[str, object]], object], reason: str, tmp_path: Path
) -> None:
    save_batch(tmp_path / "b.npz", BATCH)
    rewritten(tmp_path / "b.npz", change)
    with pytest.raises(ManifestError, match=reason):
        load_batch(tmp_path / "b.npz")


def test_a_later_minor_version_is_read_without_what_it_adds(tmp_path: Path) -> None:
    save_batch(tmp_path / "b.npz", BATCH)
    rewritten(
        tmp_path / "b.npz", lambda a, d: (d.update(schema_version=[1, 3], colour="red"), a.update(colour=np.zeros(2)))
    )
    assert_identical_batch(load_batch(tmp_path / "b.npz"), BATCH)


def test_other_npz_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "b.npz", x=np.zeros(3))
    with pytest.raises(ManifestError, match="no member 'townlet'"):
        load_batch(tmp_path / "b.npz")
    with pytest.raises(ArtifactError, match="missing.npz: open"):
        load_batch(tmp_path / "missing.npz")


def test_another_whole_file_is_refused_where_one_was_noted(tmp_path: Path) -> None:
    noted = save_batch(tmp_path / "b.npz", BATCH)
    assert save_batch(tmp_path / "same.npz", BATCH, compress=False) == noted
    assert_identical_batch(load_batch(tmp_path / "same.npz", sha256=noted), BATCH)
    save_batch(tmp_path / "b.npz", TrajectoryBatch.empty(SCHEMA))
    with pytest.raises(ManifestError, match=f"expected content with the SHA-256 {noted}, got"):
        load_batch(tmp_path / "b.npz", sha256=noted)


def test_a_changed_array_is_refused(tmp_path: Path) -> None:
    save_batch(tmp_path / "b.npz", BATCH)
    arrays = decode_npz((tmp_path / "b.npz").read_bytes(), "b", names=None)
    (tmp_path / "b.npz").write_bytes(encode_npz({**arrays, "worlds": np.array([0, 1])}))
    with pytest.raises(ManifestError, match="expected SHA-256"):
        load_batch(tmp_path / "b.npz")


def test_a_damaged_file_is_never_loaded_as_something_else(tmp_path: Path) -> None:
    for seed, compress in ((1, True), (2, False)):
        save_batch(tmp_path / "b.npz", BATCH, compress=compress)
        data, rng = (tmp_path / "b.npz").read_bytes(), np.random.default_rng(seed)
        for _ in range(300):
            (tmp_path / "b.npz").write_bytes(damaged(data, rng))
            try:
                batch = load_batch(tmp_path / "b.npz")
            except ArtifactError:
                continue
            assert_identical_batch(batch, BATCH)


def test_what_could_not_be_read_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("townlet_trajectory.formats.batch_file.MAX_NPZ_BYTES", (4 << 20) + 100)
    with pytest.raises(ArtifactError, match="b.npz: encode: .* do not fit into one file: use `write_shards`"):
        save_batch(tmp_path / "b.npz", BATCH)
    assert not (tmp_path / "b.npz").exists()
