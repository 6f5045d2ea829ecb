"""What a dataset directory says of itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import SCHEMA, any_schemas, damaged

from townlet_trajectory import ArtifactError, EpisodeLabel, ManifestError, SchemaError, TrajectorySchema
from townlet_trajectory.dataset.info import (
    COMPRESSIONS,
    DatasetInfo,
    DatasetManifest,
    ShardEntry,
    parse_dataset_manifest,
)
from townlet_trajectory.storage.json import canonical_json
from townlet_trajectory.storage.manifest import FileEntry

DIGEST = "0123456789abcdef" * 4
INFO = DatasetInfo(
    group="shopkeepers",
    tags=("demo", ""),
    seeds={"world": 7, "policy": -1},
    policies={"ppo-3": DIGEST},
    notes={"why": None, "ratios": [0.5, 1e-300, -0.0]},
)


def entry(number: int, num_steps: int = 10, num_trajectories: int = 2) -> ShardEntry:
    return ShardEntry(
        number=number,
        steps=FileEntry(sha256=DIGEST, size=100 + number),
        trajectories=FileEntry(sha256=DIGEST, size=50),
        num_steps=num_steps,
        num_trajectories=num_trajectories,
    )


MANIFEST = DatasetManifest(schema=SCHEMA, info=INFO, compression="zstd", shards=(entry(0), entry(3, 5, 1)))


def signed(document: dict[str, object]) -> bytes:
    """`document` with the digest that it ought to have."""
    body = {name: value for name, value in document.items() if name != "sha256"}
    return json.dumps({**body, "sha256": hashlib.sha256(canonical_json(body)).hexdigest()}).encode()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)


@st.composite
def manifests(draw: st.DrawFn) -> DatasetManifest:
    numbers = draw(st.lists(st.integers(0, 10**9 - 1), unique=True, max_size=4).map(sorted))
    size = draw(st.integers(1, 1 << 40))
    return DatasetManifest(
        schema=draw(any_schemas()),
        info=DatasetInfo(
            group=draw(st.text(min_size=1, max_size=3)),
            tags=tuple(draw(st.lists(st.text(max_size=3), max_size=2))),
            seeds=draw(st.dictionaries(st.text(max_size=3), st.integers(1 - (1 << 63), (1 << 63) - 1), max_size=2)),
            policies=draw(st.dictionaries(st.text(max_size=3), st.just(DIGEST), max_size=2)),
            notes=draw(st.dictionaries(st.text(max_size=3), _JSON, max_size=2)),
        ),
        compression=draw(st.sampled_from(COMPRESSIONS)),
        shards=tuple(entry(number, size, draw(st.integers(1, size))) for number in numbers),
    )


@given(manifests())
def test_parse_inverts_encode(manifest: DatasetManifest) -> None:
    read = parse_dataset_manifest(manifest.encode(), "m")
    assert read == manifest
    assert read.sha256 == manifest.sha256


def test_sums_and_names_by_hand() -> None:
    assert (MANIFEST.num_steps, MANIFEST.num_trajectories) == (15, 3)
    assert list(MANIFEST.shards[1].files) == ["steps-000003.arrow", "trajectories-000003.arrow"]
    assert MANIFEST.shards[1].files["steps-000003.arrow"].size == 103
    document = json.loads(MANIFEST.encode())
    assert document["vocabulary_digest"] == SCHEMA.vocabulary_digest
    assert document["seeds"] == {"world": 7, "policy": -1}
    assert document["shards"][0]["files"]["steps-000000.arrow"] == {"sha256": DIGEST, "size": 100}
    assert signed(document) == json.dumps(document).encode()


def test_a_later_minor_version_is_read_without_what_it_adds() -> None:
    document = json.loads(MANIFEST.encode())
    document["schema_version"] = [1, 7]
    document["colour"] = "blue"
    document["shards"][0]["colour"] = "red"
    read = parse_dataset_manifest(signed(document), "m")
    assert read.schema_version == (1, 7)
    assert (read.shards, read.info, read.schema) == (MANIFEST.shards, MANIFEST.info, MANIFEST.schema)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d.update(format="other"), "not a townlet-dataset: `format` is 'other'"),
        (lambda d: d.pop("format"), "`format` is None"),
        (lambda d: d.update(schema_version=[2, 0]), r"schema version 1.x is read, got \[2, 0\]"),
        (lambda d: d.update(schema_version=[1]), r"schema version 1.x is read, got \[1\]"),
        (lambda d: d.update(schema_version=[1, -1]), r"schema version 1.x is read, got \[1, -1\]"),
        (lambda d: d.update(schema_version="1.0"), "`schema_version` must be a list of integers"),
        (lambda d: d.update(num_steps=16), "`num_steps` must be 15, got 16"),
        (lambda d: d.update(num_trajectories=None), "`num_trajectories` must be 3, got None"),
        (lambda d: d.update(vocabulary_digest=DIGEST), "`vocabulary_digest` must be"),
        (lambda d: d.update(compression="gzip"), "`compression` must be one of"),
        (lambda d: d.update(group=""), "`group` must be a name"),
        (lambda d: d.update(seeds={"a": 1.5}), "m:seeds: parse: `a` must be an integer"),
        (lambda d: d.update(policies={"a": "xyz"}), "`policies` must be SHA-256 in hex by name"),
        (lambda d: d.update(notes=[]), "`notes` must be an object"),
        (lambda d: d["schema"].pop("vocabulary"), "m:schema: parse: `vocabulary` must be a list"),
        (lambda d: d["shards"].reverse(), r"the numbers of the shards must ascend, got \[3, 0\]"),
        (lambda d: d["shards"].append(d["shards"][1]), r"must ascend, got \[0, 3, 3\]"),
        (lambda d: d["shards"].append(1), "`shards` must be a list of objects"),
        (lambda d: d["shards"][1].update(number=-1), r"shard -1: expected \['steps--00001.arrow'"),
        (lambda d: d["shards"][1].update(number=4), r"shard 4: expected \['steps-000004.arrow'"),
        (lambda d: d["shards"][1].update(num_steps=0), "shard 3: expected 1 <= `num_trajectories`"),
        (lambda d: d["shards"][1].update(num_steps=(1 << 40) + 1), "shard 3: expected 1 <= `num_trajectories`"),
        (lambda d: d["shards"][1].update(num_trajectories=6), "shard 3: expected 1 <= `num_trajectories`"),
        (lambda d: d["shards"][1].update(labels={"fine": [0]}), "a label must be one of .*, got 'fine'"),
        (lambda d: d["shards"][1].update(labels={"discard": [-1]}), r"shard 3: `labels` must be of different rows"),
        (
            lambda d: d["shards"][1].update(labels={"discard": [0], "success": [0]}),
            r"`labels` must be of different rows",
        ),
        (lambda d: d["shards"][1].update(labels={"discard": [1 << 70]}), r"`labels` must be of different rows"),
        (lambda d: d["shards"][1].update(labels={"discard": 0}), "`discard` must be a list of integers"),
        (lambda d: d["shards"][1].update(labels=[]), "`labels` must be an object"),
        (lambda d: d["shards"][1]["files"].update({"../x": {"sha256": DIGEST, "size": 1}}), r"got \['../x', "),
        (lambda d: d["shards"][1]["files"]["steps-000003.arrow"].update(size=(2 << 30) + 1), "at most 2147483648"),
        (lambda d: d["shards"][1]["files"]["steps-000003.arrow"].update(size=-1), "at most 2147483648 bytes"),
        (lambda d: d["shards"][1]["files"]["steps-000003.arrow"].update(sha256=DIGEST.upper()), "a SHA-256 in hex"),
    ],
)
def test_other_forms_are_refused_however_they_are_signed(
    change: Callable[[dict[str, object]], object], reason: str
) -> None:
    document = json.loads(MANIFEST.encode())
    change(document)
    with pytest.raises(ManifestError, match=reason):
        parse_dataset_manifest(signed(document), "m")


def test_labels_that_came_later_are_kept_and_take_the_place_of_earlier_ones() -> None:
    shard = MANIFEST.shards[1]
    assert "labels" not in shard.document()
    rows = np.arange(shard.num_trajectories)
    labelled = shard.relabelled(EpisodeLabel.SUCCESS, rows).relabelled(EpisodeLabel.DISCARD, rows[:1])
    kept = replace(MANIFEST, shards=(MANIFEST.shards[0], labelled))
    assert parse_dataset_manifest(kept.encode(), "m") == kept
    before = np.full(len(rows), EpisodeLabel.FAILURE, np.int8)
    assert labelled.labelled(before).tolist() == [EpisodeLabel.DISCARD, *[EpisodeLabel.SUCCESS] * (len(rows) - 1)]
    assert shard.labelled(before) is before


def test_a_changed_manifest_is_refused() -> None:
    document = json.loads(MANIFEST.encode())
    document["seeds"]["world"] = 8
    with pytest.raises(ManifestError, match="`sha256` must be"):
        parse_dataset_manifest(json.dumps(document).encode(), "m")


def test_a_damaged_manifest_is_never_read_as_another() -> None:
    data, rng = MANIFEST.encode(), np.random.default_rng(3)
    for _ in range(1000):
        try:
            read = parse_dataset_manifest(damaged(data, rng), "m")
        except ArtifactError:
            continue
        assert read == MANIFEST


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"group": 1}, "`group` must be a name, got 1"),
        ({"tags": ["a"]}, "`tags` must be a tuple of strings"),
        ({"tags": (1,)}, "`tags` must be a tuple of strings"),
        ({"seeds": {"a": True}}, "`seeds` must be integers of 64 bits by name, got 'a': True"),
        ({"seeds": {"a": 1 << 63}}, "`seeds` must be integers"),
        ({"policies": {"a": DIGEST[1:]}}, "`policies` must be SHA-256"),
        ({"notes": {"a": float("nan")}}, "`notes` must be JSON with finite numbers"),
        ({"notes": {"a": object()}}, "`notes` must be JSON"),
    ],
)
def test_info_that_is_not_json(values: dict[str, object], reason: str) -> None:
    with pytest.raises(SchemaError, match=reason):
        DatasetInfo(**values)  # type: ignore[arg-type]


def test_the_greatest_number_of_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("townlet_trajectory.dataset.info.MAX_SHARDS", 2)
    assert DatasetManifest(schema=SCHEMA, shards=(entry(0), entry(1))).num_steps == 20
    with pytest.raises(SchemaError, match="a dataset has at most 2 shards"):
        DatasetManifest(schema=SCHEMA, shards=(entry(0), entry(1), entry(2)))


def test_schemas_without_vocabulary() -> None:
    schema = TrajectorySchema(observations=SCHEMA.observations, decisions=SCHEMA.decisions, vocabulary=("x", "y", "é"))
    assert parse_dataset_manifest(DatasetManifest(schema=schema).encode(), "m").schema.vocabulary == ("x", "y", "é")
