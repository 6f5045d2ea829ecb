"""Capture directories: ours without loss, the original's as they are."""

from __future__ import annotations

import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from strategies import (
    FEATURE_NAMES,
    SCHEMA,
    VOCABULARY,
    assert_same_trajectory,
    batches_of,
    damaged,
    make_trajectory,
)

from townlet_trajectory import ArtifactError, CaptureError, TrajectoryBatch
from townlet_trajectory.formats.captures import directory as captures
from townlet_trajectory.formats.captures.directory import (
    CaptureInfo,
    UnnamedActionsWarning,
    read_captures,
    read_metrics,
    write_captures,
)
from townlet_trajectory.formats.captures.sample import CaptureLayout
from townlet_trajectory.storage import files

DATA = Path(__file__).parent / "data"
LAYOUT = CaptureLayout(feature_names=FEATURE_NAMES, map_channels=("self", "agents"), action_texts=VOCABULARY)
INFO = CaptureInfo(
    config_path="kitchen.yaml",
    config_id="kitchen",
    scenario_name="kitchen",
    scenario_description=None,
    ticks=10,
    seed=4242,
    policy_hash=None,
    capture_timestamp="2026-01-01T00:00:00+00:00",
)


def write(directory: Path, batch: TrajectoryBatch, **changes: object) -> Path:
    arguments = {"final_values": np.full(len(batch), 0.5, np.float32), "layout": LAYOUT, "info": INFO, **changes}
    return write_captures(directory, batch, **arguments)


def make_batch() -> TrajectoryBatch:
    """Bob begins first; alice lives twice."""
    return TrajectoryBatch.from_trajectories(
        [
            make_trajectory(1, 3, first_tick=5, terminated=True),
            make_trajectory(2, 2, first_tick=9),
            make_trajectory(3, 4, agent_id="bob/../x", first_tick=0, truncated=True),
        ]
    )


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches_of(SCHEMA))
def test_load_inverts_save(tmp_path_factory: pytest.TempPathFactory, batch: TrajectoryBatch) -> None:
    restored = read_captures(write(tmp_path_factory.mktemp("capture"), batch)).batch()
    order = np.argsort(batch.ticks[batch.offsets[:-1]], kind="stable")
    for position, index in enumerate(order.tolist()):
        assert_same_trajectory(restored.trajectory(position), batch.trajectory(index))


@pytest.mark.filterwarnings("error::UserWarning")
def test_files_by_hand(tmp_path: Path) -> None:
    manifest = write(tmp_path / "new" / "capture", make_batch())
    stems = ["rollout_sample_bob%2F%2E%2E%2Fx_001", "rollout_sample_alice_002", "rollout_sample_alice_003"]
    names = [f"{stem}.{kind}" for stem in stems for kind in ("npz", "json")]
    assert sorted(path.name for path in manifest.parent.iterdir()) == sorted(
        [*names, "rollout_sample_manifest.json", "rollout_sample_metrics.json"]
    )
    document = json.loads(manifest.read_bytes())
    assert document["metadata"] == {**vars(INFO)}
    assert [(entry["sample"], entry["meta"]) for entry in document["samples"]] == [
        (f"{stem}.npz", f"{stem}.json") for stem in stems
    ]
    assert [(entry["agent_id"], entry["frame_count"]) for entry in document["samples"]] == [
        ("bob/../x", 4),
        ("alice", 3),
        ("alice", 2),
    ]
    capture = read_captures(manifest)
    assert capture.metadata == {**vars(INFO)}
    assert [sample.value_preds[-1] for sample in capture.samples] == [0.5, 0.0, 0.5]
    assert [sample.dones[-1] for sample in capture.samples] == [True, True, False]
    metrics = read_metrics(manifest.parent / "rollout_sample_metrics.json")
    assert metrics == {path.name: sample.metadata["metrics"] for sample in capture.samples for path in [sample.path]}


def test_another_prefix_and_again(tmp_path: Path) -> None:
    first = write(tmp_path, make_batch())
    second = write(tmp_path, make_batch().select(np.array([2])), prefix="other")
    assert second.name == "other_manifest.json"
    write(tmp_path, make_batch().select(np.array([0])))
    assert len(read_captures(first).samples) == 1
    assert len(read_captures(second).samples) == 1


def test_an_old_manifest_does_not_load_new_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = write(tmp_path, make_batch().select(np.array([2])))
    old = manifest.read_bytes()
    write(tmp_path, TrajectoryBatch.from_trajectories([make_trajectory(9, 4, agent_id="bob/../x")]))
    manifest.write_bytes(old)
    with pytest.raises(CaptureError, match="entry 0: verify: SHA-256"):
        read_captures(manifest)


def test_one_writer(tmp_path: Path) -> None:
    with files.DirectoryLock(tmp_path), pytest.raises(ArtifactError, match="another writer"):
        write(tmp_path, make_batch())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"final_values": np.zeros(2, np.float32)}, r"`final_values` must be \[3\], got \(2,\)"),
        ({"prefix": "a/b"}, "`prefix` must be a plain file name"),
        ({"prefix": "../a"}, "without `..`"),
        ({"layout": replace(LAYOUT, action_texts=())}, "`action_texts` must be 3"),
    ],
)
def test_bad_arguments(changes: dict[str, object], reason: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=reason):
        write(tmp_path, make_batch(), **changes)
    assert list(tmp_path.iterdir()) == []


def test_a_capture_of_the_original() -> None:
    with pytest.warns(UnnamedActionsWarning, match="2 of 2 samples do not say") as caught:
        capture = read_captures(DATA / "kitchen_capture" / "rollout_sample_manifest.json")
    assert [one.category for one in caught].count(UnnamedActionsWarning) == 1
    assert capture.metadata["seed"] == 4242
    alice, bob = capture.samples
    assert (len(alice), alice.map.shape, alice.features.shape) == (40, (40, 4, 11, 11), (40, 81))
    assert (alice.vocabulary, bob.vocabulary) == (("action_0",), ("action_0", "action_1"))
    assert alice.value_preds.shape == (41,)
    assert alice.rewards.sum() == -8.0
    with np.load(alice.path) as arrays:
        for name, array in alice.arrays().items():
            np.testing.assert_array_equal(array, arrays[name], strict=True)
    with pytest.raises(CaptureError, match=r"alice_001.npz: restore: a classic sample has no final observation"):
        capture.batch()


def test_a_sample_of_the_original_alone(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('["observation_hybrid_sample_conflict_low.npz"]')
    with pytest.warns(UnnamedActionsWarning, match="1 of 1"):
        capture = read_captures(tmp_path / "manifest.json", data_root=DATA)
    assert (len(capture.samples[0]), capture.metadata) == (2, {})


@pytest.fixture
def kitchen(tmp_path: Path) -> Path:
    shutil.copytree(DATA / "kitchen_capture", tmp_path / "kitchen_capture")
    return tmp_path / "kitchen_capture"


@pytest.mark.filterwarnings("ignore::townlet_trajectory.formats.captures.directory.UnnamedActionsWarning")
def test_data_root_comes_second(kitchen: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "manifests" / "m.json"
    manifest.parent.mkdir()
    manifest.write_text('["kitchen_capture/rollout_sample_alice_001.npz"]')
    with pytest.raises(ArtifactError, match="alice_001.npz is not below"):
        read_captures(manifest)
    assert len(read_captures(manifest, data_root=tmp_path).samples) == 1
    shutil.copytree(kitchen, manifest.parent / "kitchen_capture")
    found = read_captures(manifest, data_root=tmp_path).samples[0]
    assert found.path.parent.parent == manifest.parent


@pytest.mark.filterwarnings("ignore::townlet_trajectory.formats.captures.directory.UnnamedActionsWarning")
def test_samples_are_bounded_together(kitchen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = kitchen / "rollout_sample_manifest.json"
    with pytest.warns(UnnamedActionsWarning):
        sizes = [sum(array.nbytes for array in sample.arrays().values()) for sample in read_captures(manifest).samples]
    monkeypatch.setattr(captures, "MAX_CAPTURE_BYTES", sum(sizes) - 1)
    with pytest.raises(CaptureError, match=rf"entry 1: read: at most {sum(sizes) - 1} bytes .* got {sum(sizes)}"):
        read_captures(manifest)


def test_rejected_samples_are_left_out(kitchen: Path) -> None:
    entries = [
        {"sample": "missing.npz", "accepted": False},
        {"sample": "rollout_sample_bob_002.npz", "accepted": True},
        "rollout_sample_alice_001.npz",
    ]
    (kitchen / "m.json").write_text(json.dumps(entries))
    capture = read_captures(kitchen / "m.json")
    assert [sample.metadata["agent_id"] for sample in capture.samples] == ["bob", "alice"]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (3, "expected a list, or an object with a list"),
        ({"samples": {}}, "expected a list, or an object with a list"),
        ({"metadata": [], "samples": []}, "`metadata` must be an object"),
        ([3], "entry 0: parse: `sample` must be a string"),
        ([{}], "entry 0: parse: `sample` must be a string"),
        ([{"sample": "rollout_sample_alice_001.npz", "accepted": "no"}], "`accepted` must be true or false"),
        ([{"sample": "../x.npz"}], "entry 0: path: a path must stay below"),
        (["/etc/passwd"], "entry 0: path"),
        (["missing.npz"], "entry 0: open: missing.npz is not below"),
        ([{"sample": "rollout_sample_alice_001.npz", "meta": "nothing.json"}], "nothing.json is not below"),
        ([{"sample": "rollout_sample_alice_001.npz", "agent_id": "bob"}], "`agent_id` must be that of"),
        ([{"sample": "rollout_sample_alice_001.npz", "frame_count": 41}], "`frame_count` must be 40, got 41"),
        ([{"sample": "rollout_sample_alice_001.npz", "sha256": "0"}], "SHA-256 of"),
        ({"samples": [], "sha256": "0"}, "verify: expected SHA-256 '0'"),
    ],
)
def test_bad_manifests(document: object, reason: str, kitchen: Path) -> None:
    (kitchen / "m.json").write_text(json.dumps(document))
    with pytest.raises(ArtifactError, match=reason):
        read_captures(kitchen / "m.json")


def test_links_in_a_capture_are_not_followed(kitchen: Path, tmp_path: Path) -> None:
    sample = kitchen / "rollout_sample_alice_001.npz"
    sample.rename(tmp_path / "elsewhere.npz")
    sample.symlink_to(tmp_path / "elsewhere.npz")
    with pytest.raises(ArtifactError, match="alice_001.npz: open"):
        read_captures(kitchen / "rollout_sample_manifest.json")


def test_metrics_files(tmp_path: Path) -> None:
    assert read_metrics(DATA / "kitchen_capture" / "rollout_sample_metrics.json")["rollout_sample_bob_002.npz"][
        "action_nonzero"
    ] == pytest.approx(2.0)
    bare = tmp_path / "m.json"
    bare.write_text('{"a.npz": {"reward_sum": 1, "loss": null}}')
    assert read_metrics(bare) == {"a.npz": {"reward_sum": 1, "loss": None}}
    for text in ('{"a.npz": {"x": "1"}}', '{"a.npz": {"x": true}}', '{"a.npz": 1}', '{"samples": []}', "[]"):
        bare.write_text(text)
        with pytest.raises(ArtifactError):
            read_metrics(bare)


def test_a_damaged_manifest_never_loads_something_else(tmp_path: Path) -> None:
    batch = make_batch()
    manifest = write(tmp_path, batch)
    expected, data, rng = read_captures(manifest), manifest.read_bytes(), np.random.default_rng(2)
    for _ in range(400):
        manifest.write_bytes(damaged(data, rng))
        try:
            capture = read_captures(manifest)
        except ArtifactError:
            continue
        assert capture.metadata == expected.metadata
        assert len(capture.samples) == len(expected.samples)


def test_damaged_files_of_the_original_give_one_kind_of_error(kitchen: Path) -> None:
    path = kitchen / "rollout_sample_alice_001.npz"
    manifest = kitchen / "rollout_sample_manifest.json"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnnamedActionsWarning)
        expected = read_captures(manifest).samples[0].arrays()
        data, rng = path.read_bytes(), np.random.default_rng(3)
        for _ in range(300):
            path.write_bytes(damaged(data, rng))
            try:
                arrays = read_captures(manifest).samples[0].arrays()
            except ArtifactError:
                continue
            for name, array in arrays.items():
                np.testing.assert_array_equal(array, expected[name], strict=True)


def test_a_world_adds_keys_of_its_own_to_each_description(tmp_path: Path) -> None:
    notes = [{"embedding_slot": 3}, {"embedding_slot": 4}, {"embedding_slot": 5}]
    manifest = write(tmp_path, make_batch(), descriptions=notes)
    samples = read_captures(manifest).samples
    # Bob, the third trajectory, begins first.
    assert [sample.metadata["embedding_slot"] for sample in samples] == [5, 3, 4]
    assert samples[0].trajectory is not None


def test_keys_of_its_own_are_one_mapping_for_each_sample_and_replace_nothing(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"`descriptions` must be \[3\], got \(1,\)"):
        write(tmp_path, make_batch(), descriptions=[{}])
    with pytest.raises(CaptureError, match=r"a description says \['agent_id', 'townlet'\] itself"):
        write(tmp_path, make_batch(), descriptions=[{"agent_id": "x", "townlet": {}}, {}, {}])


def test_what_we_write_has_the_form_of_the_original(tmp_path: Path) -> None:
    """Every name that the original writes is there, with a value of the same type; arrays have its dtypes and axes."""
    ours = write(tmp_path, make_batch())
    theirs = DATA / "kitchen_capture" / "rollout_sample_manifest.json"
    documents = [json.loads(path.read_bytes()) for path in (ours, theirs)]
    assert documents[0].keys() - {"sha256"} == documents[1].keys()
    assert documents[0]["metadata"].keys() == documents[1]["metadata"].keys()
    assert documents[0]["samples"][0].keys() - {"sha256"} == documents[1]["samples"][0].keys()
    for name in ("rollout_sample_alice_002", "rollout_sample_alice_001"):
        folder = tmp_path if name.endswith("2") else theirs.parent
        with np.load(folder / f"{name}.npz", allow_pickle=False) as arrays:
            form = {array: (arrays[array].dtype, arrays[array].ndim) for array in arrays}
        description = json.loads((folder / f"{name}.json").read_bytes())
        if folder == tmp_path:
            our_form, our_description = form, description
    assert {array: our_form[array] for array in form} == form
    of_the_town = {
        "variant", "embedding_slot", "social_context", "local_summary", "landmark_slices", "path_hint", "personality",
    }  # fmt: skip
    for key in description.keys() - of_the_town:
        assert type(our_description[key]) is type(description[key]), key
    metrics = [read_metrics(path.with_name("rollout_sample_metrics.json")) for path in (ours, theirs)]
    of_the_run = {"action_unknown_count"}  # the original had no texts of its actions
    for sample in metrics[0].values():
        assert sample.keys() >= metrics[1]["rollout_sample_bob_002.npz"].keys() - of_the_run


def test_metrics_of_ours_have_a_digest(tmp_path: Path) -> None:
    metrics = write(tmp_path, make_batch()).parent / "rollout_sample_metrics.json"
    text = metrics.read_text()
    metrics.write_text(text.replace('"timesteps": 3', '"timesteps": 4'))
    with pytest.raises(CaptureError, match="verify: expected SHA-256"):
        read_metrics(metrics)
    metrics.write_text(text.replace('"sha256"', '"sha257"').replace('"timesteps": 3', '"timesteps": 4'))
    with pytest.raises(CaptureError, match="no `sha256`, but unknown keys"):
        read_metrics(metrics)


def test_a_manifest_whose_digest_is_damaged_is_not_taken_for_another_one(tmp_path: Path) -> None:
    manifest = write(tmp_path, make_batch())
    head, _, tail = manifest.read_text().rpartition('"sha256"')
    manifest.write_text(head.replace('"seed": 4242', '"seed": 4243') + '"sha!56"' + tail)
    with pytest.raises(CaptureError, match=r"no `sha256`, but unknown keys \['sha!56'\]"):
        read_captures(manifest)
    document = json.loads(head + '"sha256"' + tail)
    del document["sha256"]
    manifest.write_text(json.dumps(document))  # as somebody does who edits it by hand
    assert len(read_captures(manifest).samples) == 3
