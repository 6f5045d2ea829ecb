"""From every format to every other and back, nothing lost; what a format cannot hold is named."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import FEATURE_NAMES, SCHEMA, VOCABULARY, assert_same_batch, batches_of, make_trajectory

from townlet_trajectory import ArraySpec, ArtifactError, CaptureError, SchemaError, TrajectoryBatch, TrajectorySchema
from townlet_trajectory.data.pieces import canonical, joined, split_every
from townlet_trajectory.dataset.info import DatasetInfo
from townlet_trajectory.dataset.source import BatchSource
from townlet_trajectory.formats.batch_file import load_batch, save_batch
from townlet_trajectory.formats.captures.directory import CaptureForm, CaptureInfo, form_of, read_captures
from townlet_trajectory.formats.captures.sample import CaptureLayout
from townlet_trajectory.formats.convert import convert
from townlet_trajectory.formats.open import FORMATS, format_of, open_dataset
from townlet_trajectory.formats.shards.reader import ShardReader
from townlet_trajectory.formats.shards.writer import write_shards

DATA = Path(__file__).parent / "data"
LAYOUT = CaptureLayout(feature_names=FEATURE_NAMES, map_channels=("self", "agents"), action_texts=VOCABULARY)
METADATA = CaptureInfo(
    config_path="town.yaml",
    config_id=None,
    scenario_name="night",
    scenario_description=None,
    ticks=20,
    seed=7,
    policy_hash=None,
    capture_timestamp="2026-01-01T00:00:00Z",
)
FORM = CaptureForm(layout=LAYOUT, info=METADATA, final_values=lambda batch: np.arange(len(batch), dtype=np.float32))
INFO = DatasetInfo(group="villagers", tags=("night",), seeds={"town": 7}, notes={"weather": "rain"})
NAMES: dict[str, str] = {"captures": "capture", "npz": "batch.npz", "shards": "shards", "minari": "town-v0"}


def make_batch() -> TrajectoryBatch:
    return TrajectoryBatch.from_trajectories(
        [
            make_trajectory(1, 3, first_tick=5, terminated=True),
            make_trajectory(2, 2, first_tick=9),
            make_trajectory(3, 4, agent_id="bob", truncated=True),
        ]
    )


def same(path: Path, expected: TrajectoryBatch) -> None:
    with open_dataset(path) as opened:
        source = opened.source
        blocks = [source.load_block(block) for block in range(len(source.block_offsets) - 1)]
    assert_same_batch(canonical(TrajectoryBatch.concatenate(blocks)), canonical(joined(expected)))


@pytest.mark.parametrize("through", FORMATS)
@pytest.mark.parametrize("to", FORMATS)
def test_from_every_format_to_every_other(through: str, to: str, tmp_path: Path) -> None:
    batch = make_batch()
    first = tmp_path / "first" / NAMES[through]
    done = convert(batch, first, to=through, capture=FORM, info=INFO)
    assert (done.target, done.num_trajectories, done.num_steps) == (first, 3, 9)
    assert format_of(first) == through
    second = tmp_path / "second" / NAMES[to]
    convert(first, second, to=to, capture=FORM)
    assert format_of(second) == to
    same(second, batch)


@settings(max_examples=10)
@given(batches_of(SCHEMA))
def test_a_round_through_all_formats_is_the_identity(
    tmp_path_factory: pytest.TempPathFactory, batch: TrajectoryBatch
) -> None:
    folder = tmp_path_factory.mktemp("round")
    source: Path | TrajectoryBatch = batch
    for to in FORMATS:
        convert(source, folder / NAMES[to], to=to, capture=FORM)
        source = folder / NAMES[to]
    convert(source, folder / "last.npz", to="npz")
    expected = TrajectoryBatch.concatenate([joined(batch)])
    assert_same_batch(canonical(load_batch(folder / "last.npz")), canonical(expected))


def test_pieces_that_shards_cut_are_put_together(tmp_path: Path) -> None:
    batch = TrajectoryBatch.from_trajectories([make_trajectory(1, 40, terminated=True), make_trajectory(2, 3, world=1)])
    write_shards(tmp_path / "shards", split_every(batch, 7), rows_per_shard=7)
    assert len(ShardReader(tmp_path / "shards").table) == 7
    done = convert(tmp_path / "shards", tmp_path / "town-v0", to="minari")
    assert (done.num_trajectories, done.num_steps) == (2, 43)
    same(tmp_path / "town-v0", batch)


def test_what_is_known_of_a_dataset_goes_with_it(tmp_path: Path) -> None:
    batch = make_batch()
    assert convert(batch, tmp_path / "a", to="shards", info=INFO).left_out == ()
    assert convert(tmp_path / "a", tmp_path / "a-v0", to="minari").left_out == ()
    with open_dataset(tmp_path / "a-v0") as opened:
        assert opened.info == INFO
        assert opened.source.table.tags[0] == {"night"}
    left_out = ("group", "tags", "seeds", "notes")
    assert convert(tmp_path / "a-v0", tmp_path / "a.npz", to="npz").left_out == left_out
    assert convert(tmp_path / "a-v0", tmp_path / "c", to="captures", capture=FORM).left_out == left_out
    assert convert(tmp_path / "a.npz", tmp_path / "b.npz", to="npz").left_out == ()


def test_a_capture_becomes_a_capture_again(tmp_path: Path) -> None:
    batch = TrajectoryBatch.from_trajectories(
        [make_trajectory(1, 3, terminated=True), make_trajectory(2, 2, agent_id="bob", terminated=True)]
    )
    first = replace(FORM, final_values=None).write(tmp_path / "first", batch)
    convert(first, tmp_path / "shards", to="shards")
    with open_dataset(tmp_path / "shards") as opened:
        assert form_of(opened.info, "x").layout == LAYOUT
        assert opened.info.seeds == {"seed": 7}
    assert convert(tmp_path / "shards", tmp_path / "again", to="captures").left_out == ("seeds",)
    for name in ("manifest.json", "metrics.json", "alice_001.npz", "alice_001.json", "bob_002.npz", "bob_002.json"):
        again = tmp_path / "again" / f"rollout_sample_{name}"
        assert again.read_bytes() == (tmp_path / "first" / f"rollout_sample_{name}").read_bytes(), name


@pytest.mark.filterwarnings("ignore::townlet_trajectory.formats.captures.directory.UnnamedActionsWarning")
def test_a_capture_of_the_original(tmp_path: Path) -> None:
    manifest = tmp_path / "alice.json"
    manifest.write_text('["kitchen_capture/rollout_sample_alice_001.npz"]')
    done = convert(manifest, tmp_path / "kitchen-v0", to="minari", data_root=DATA)
    assert (done.num_trajectories, done.num_steps) == (1, 39)
    sample = read_captures(manifest, data_root=DATA).samples[0]
    with open_dataset(tmp_path / "kitchen-v0") as opened:
        batch = opened.source.load_block(0)
        assert batch.schema.vocabulary == ("action_0",)
        np.testing.assert_array_equal(batch.observations["map"], sample.map[:-1])
        np.testing.assert_array_equal(batch.columns["action"], sample.actions[1:])
    with pytest.raises(CaptureError, match="column `behavior_log_prob` must be"):
        convert(
            manifest,
            tmp_path / "again",
            to="captures",
            capture=replace(FORM, layout=replace(LAYOUT, feature_names=sample.feature_names, action_texts=("wait",))),
            data_root=DATA,
        )
    with pytest.raises(CaptureError, match="`ticks` must be an integer"):
        convert(manifest, tmp_path / "again", to="captures", data_root=DATA)


def without(name: str) -> TrajectoryBatch:
    decisions = {column: spec for column, spec in SCHEMA.decisions.items() if column != name}
    schema = TrajectorySchema(observations=SCHEMA.observations, decisions=decisions, vocabulary=VOCABULARY)
    batch = make_batch()
    return replace(batch, schema=schema, columns={column: batch.columns[column] for column in decisions})


def with_column(name: str) -> TrajectoryBatch:
    batch = make_batch()
    schema = replace(SCHEMA, decisions={**SCHEMA.decisions, name: ArraySpec("int8")})
    return replace(batch, schema=schema, columns={**batch.columns, name: np.zeros(batch.num_steps, np.int8)})


@pytest.mark.parametrize(
    ("batch", "to", "form", "reason"),
    [
        (without("action"), "minari", FORM, "needs the decision column `action`"),
        (without("action"), "captures", FORM, "the column `action` must be"),
        (without("value"), "captures", FORM, "the column `value` must be"),
        (with_column("reward"), "shards", FORM, "reward"),
        (make_batch(), "captures", None, "names of features, channels and actions are not known: no note 'capture'"),
        (make_batch(), "captures", replace(FORM, final_values=None), "2 of 3 trajectories have not terminated"),
        (make_batch(), "arrow", FORM, "`to` must be one of"),
    ],
)
def test_what_a_format_cannot_hold_is_named(
    batch: TrajectoryBatch, to: str, form: CaptureForm | None, reason: str, tmp_path: Path
) -> None:
    with pytest.raises((SchemaError, CaptureError), match=reason):
        convert(batch, tmp_path / "target-v0", to=to, capture=form)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", FORMATS)
def test_a_target_that_exists_is_not_touched(to: str, tmp_path: Path) -> None:
    target = tmp_path / NAMES[to]
    target.write_text("mine")
    with pytest.raises(ArtifactError, match="exists already"):
        convert(make_batch(), target, to=to, capture=FORM)
    assert target.read_text() == "mine"


@pytest.mark.parametrize("to", FORMATS)
def test_a_source_that_fails_leaves_nothing(to: str, tmp_path: Path) -> None:
    class Broken(BatchSource):
        def load_block(self, block: int) -> TrajectoryBatch:
            if block:
                raise ArtifactError("x", "read", "broken")
            return super().load_block(block)

    with pytest.raises(ArtifactError, match="x: read: broken"):
        convert(Broken(make_batch(), rows_per_block=3), tmp_path / NAMES[to], to=to, capture=FORM)
    assert list(tmp_path.iterdir()) == []


def test_what_is_collected_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("townlet_trajectory.formats.convert.MAX_NPZ_BYTES", 100)
    with pytest.raises(ArtifactError, match="more than 100 bytes are written to shards or Minari alone"):
        convert(make_batch(), tmp_path / "x.npz", to="npz")


def test_paths_of_no_format(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    for path in (tmp_path, tmp_path / "notes.txt", tmp_path / "missing"):
        with pytest.raises(ArtifactError, match=r"open: expected a batch \(\*.npz\)"):
            format_of(path)
    FORM.write(tmp_path / "two", make_batch())
    replace(FORM, prefix="other").write(tmp_path / "two", make_batch())
    with (
        pytest.raises(ArtifactError, match="a folder of several captures: name the manifest, one of"),
        open_dataset(tmp_path / "two"),
    ):
        pass


def test_a_yaml_manifest_is_a_capture(tmp_path: Path) -> None:
    FORM.write(tmp_path, make_batch())
    (tmp_path / "some.yaml").write_text("- rollout_sample_alice_002.npz\n- sample: missing.npz\n  accepted: false\n")
    assert format_of(tmp_path / "some.yaml") == "captures"
    with open_dataset(tmp_path / "some.yaml") as opened:
        assert opened.source.table.agent_ids.tolist() == ["alice"]


def test_an_empty_batch(tmp_path: Path) -> None:
    save_batch(tmp_path / "empty.npz", TrajectoryBatch.empty(SCHEMA))
    for to in ("npz", "shards", "minari"):
        done = convert(tmp_path / "empty.npz", tmp_path / f"{to}-v0", to=to)
        assert (done.num_trajectories, done.num_steps) == (0, 0)


def test_formats_are_imported_when_they_are_used() -> None:
    extras = "{'yaml', 'pyarrow', 'h5py', 'minari'}"
    code = f"import sys, townlet_trajectory.formats.convert; print(sorted({extras} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
