"""Datasets that Minari made itself, damaged files, and files that mean harm."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import gymnasium
import h5py
import minari
import numpy as np
import pytest
from minari.data_collector import EpisodeBuffer
from strategies import SCHEMA, assert_same_batch, damaged, make_trajectory

from townlet_trajectory import ArraySpec, ArtifactError, Box, Kind, MultiDiscrete, Source, TrajectoryBatch
from townlet_trajectory.dataset.info import document_digest
from townlet_trajectory.formats.minari.reader import MinariReader, from_minari
from townlet_trajectory.formats.minari.spaces import SECTION
from townlet_trajectory.formats.minari.writer import to_minari

spaces = gymnasium.spaces


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return tmp_path


def create(dataset_id: str, buffers: list[EpisodeBuffer], **options: object) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Minari, about authors and links that are not given
        minari.create_dataset_from_buffers(dataset_id, buffers, **options)


def cart_pole(seeds: tuple[int, ...]) -> list[EpisodeBuffer]:
    env = gymnasium.make("CartPole-v1", max_episode_steps=12)
    buffers = []
    for seed in seeds:
        env.action_space.seed(seed)
        first, _ = env.reset(seed=seed)
        episode = EpisodeBuffer(seed=seed, observations=[first], actions=[])
        done = False
        while not done:
            episode.actions.append(env.action_space.sample())
            observation, reward, terminated, truncated, _ = env.step(episode.actions[-1])
            done = terminated or truncated
            episode.observations.append(observation)
            for values, value in (
                (episode.rewards, reward),
                (episode.terminations, terminated),
                (episode.truncations, truncated),
            ):
                values.append(value)
        buffers.append(episode)
    return buffers


def steps(num_steps: int, observations: object, actions: object, **changes: object) -> EpisodeBuffer:
    flags = [False] * (num_steps - 1)
    arguments = {"terminations": [*flags, True], "truncations": [*flags, False], "rewards": [1.5] * num_steps}
    return EpisodeBuffer(observations=observations, actions=actions, **(arguments | changes))


def test_cart_pole(root: Path) -> None:
    buffers = cart_pole((1, 2, 3, 4))
    create("cartpole/random-v0", buffers, env="CartPole-v1")
    batch = from_minari(root / "cartpole" / "random-v0")
    schema = batch.schema
    assert schema.observations == {"observation": ArraySpec("float32", (4,))}
    assert schema.vocabulary == ("action_0", "action_1")
    assert schema.decisions == {
        "action": ArraySpec("int64"),
        "kind": ArraySpec("int8"),
        "source": ArraySpec("int8"),
        "demonstrated": ArraySpec("bool"),
        "expert_action": ArraySpec("int64"),
    }
    assert (len(batch), batch.episodes.tolist(), set(batch.agent_ids)) == (4, [0, 1, 2, 3], {"agent"})
    for index, buffer in enumerate(buffers):
        trajectory = batch.trajectory(index)
        np.testing.assert_array_equal(trajectory.observations["observation"], buffer.observations, strict=True)
        assert trajectory.columns["action"].tolist() == buffer.actions
        assert trajectory.rewards.tolist() == buffer.rewards
        assert trajectory.ticks.tolist() == list(range(len(buffer)))
        assert (trajectory.terminated, trajectory.truncated) == (buffer.terminations[-1], buffer.truncations[-1])
        assert set(trajectory.columns["kind"]) == {Kind.FOREIGN} and set(trajectory.columns["source"]) == {
            Source.EXTERNAL
        }
        assert trajectory.columns["demonstrated"].all() and set(trajectory.columns["expert_action"]) == {-1}


def test_a_dict_of_everything_that_a_column_can_hold(root: Path) -> None:
    observation_space = spaces.Dict(
        {
            "action_mask": spaces.Box(0, 1, (3,), np.int8),
            "body": spaces.Dict({"speed": spaces.Box(-1, 1, (2,), np.float64), "gear": spaces.Discrete(4, start=2)}),
            "lamps": spaces.MultiBinary((2, 2)),
            "2 keys": spaces.MultiDiscrete([3, 4]),
            "pair": spaces.Tuple((spaces.Box(-1, 1, (), np.float32), spaces.Discrete(2))),
        }
    )
    observations = {
        "action_mask": np.array([[1, 0, 1], [1, 1, 1], [0, 1, 0]], np.int8),
        "body": {"speed": np.arange(6.0).reshape(3, 2), "gear": np.array([2, 5, 3])},
        "lamps": np.arange(12).reshape(3, 2, 2).astype(np.int8) % 2,
        "2 keys": np.array([[0, 1], [2, 3], [1, 1]]),
        "pair": (np.array([0.5, 1.5, 2.5], np.float32), np.array([0, 1, 1])),
    }
    create(
        "zoo-v1",
        [steps(2, observations, np.array([7, 5]))],
        observation_space=observation_space,
        action_space=spaces.Discrete(3, start=5),
    )
    batch = from_minari(root / "zoo-v1")
    assert batch.schema.observations == {
        "action_mask": ArraySpec("bool", (3,)),
        "body_speed": ArraySpec("float64", (2,)),
        "body_gear": ArraySpec("int64"),
        "lamps": ArraySpec("bool", (2, 2)),
        "observation_2_keys": ArraySpec("int64", (2,)),
        "pair_0": ArraySpec("float32"),
        "pair_1": ArraySpec("int64"),
    }
    seen = batch.trajectory(0).observations
    assert seen["action_mask"].tolist() == [[True, False, True], [True, True, True], [False, True, False]]
    assert seen["body_speed"].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert seen["body_gear"].tolist() == [2, 5, 3]
    assert seen["lamps"].tolist() == observations["lamps"].astype(bool).tolist()
    assert seen["observation_2_keys"].tolist() == [[0, 1], [2, 3], [1, 1]]
    assert (seen["pair_0"].tolist(), seen["pair_1"].tolist()) == ([0.5, 1.5, 2.5], [0, 1, 1])
    assert batch.columns["action"].tolist() == [2, 0]
    assert batch.rewards.tolist() == [1.5, 1.5]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_continuous_actions(dtype: type[np.floating], root: Path) -> None:
    create(
        "arm-v0",
        [steps(2, np.zeros((3, 1), np.float32), np.array([[0.5, -1], [0.1, 0]], dtype))],
        observation_space=spaces.Box(-1, 1, (1,), np.float32),
        action_space=spaces.Box(np.array([-1, -1], dtype), np.array([1, 0.1], dtype), (2,), dtype),
    )
    batch = from_minari(root / "arm-v0")
    assert batch.schema.vocabulary == ()
    # Bounds as float32 has them, and the names of Gymnasium's spaces here.
    assert batch.schema.actions == Box(names=("0", "1"), low=(-1.0, -1.0), high=(1.0, float(np.float32(0.1))))
    assert batch.schema.decisions["action"] == ArraySpec("float32", (2,))
    assert batch.columns["action"].tolist() == np.array([[0.5, -1], [0.1, 0]], np.float32).tolist()
    # Nobody proposed anything.
    assert batch.columns["proposer"].tolist() == [-1, -1] and batch.columns["demonstrated"].all()
    np.testing.assert_array_equal(batch.columns["expert_action"], np.zeros((2, 2), np.float32), strict=True)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-np.inf, np.inf, (2,), np.float32),
        spaces.Box(np.array([-1, 1], np.float32), np.array([1, 1], np.float32)),
        spaces.Box(-1, 1, (1, 2), np.float32),
        spaces.Box(-5, 5, (2,), np.int64),
    ],
    ids=str,
)
def test_boxes_that_no_gaussian_acts_in_stay_columns(space: spaces.Box, root: Path) -> None:
    actions = np.ones((2, *space.shape), space.dtype)
    create(
        "arm-v0",
        [steps(2, np.zeros((3, 1), np.float32), actions)],
        observation_space=spaces.Box(-1, 1, (1,), np.float32),
        action_space=space,
    )
    batch = from_minari(root / "arm-v0")
    assert batch.schema.actions is None and batch.schema.vocabulary == ()
    assert batch.schema.decisions["action"] == ArraySpec(str(space.dtype), space.shape)
    assert "expert_action" not in batch.schema.decisions


@pytest.mark.parametrize(
    ("space", "written", "sizes", "expected"),
    [
        (spaces.MultiDiscrete([3, 2]), [[2, 0], [0, 1]], (3, 2), [[2, 0], [0, 1]]),
        (spaces.MultiDiscrete([3, 2], start=[1, -1]), [[3, -1], [1, 0]], (3, 2), [[2, 0], [0, 1]]),
        (spaces.MultiBinary(2), [[1, 0], [0, 1]], (2, 2), [[1, 0], [0, 1]]),
    ],
)
def test_actions_of_several_parts(
    space: spaces.Space[object],
    written: list[list[int]],
    sizes: tuple[int, ...],
    expected: list[list[int]],
    root: Path,
) -> None:
    create(
        "hand-v0",
        [steps(2, np.zeros((3, 1), np.float32), np.array(written, space.dtype))],
        observation_space=spaces.Box(-1, 1, (1,), np.float32),
        action_space=space,
    )
    batch = from_minari(root / "hand-v0")
    assert isinstance(batch.schema.actions, MultiDiscrete)
    assert batch.schema.actions.parts == {str(part): tuple(map(str, range(n))) for part, n in enumerate(sizes)}
    np.testing.assert_array_equal(batch.columns["action"], np.array(expected), strict=True)
    np.testing.assert_array_equal(batch.columns["expert_action"], np.full((2, 2), -1), strict=True)


def test_parts_that_are_none_stay_columns_and_indices_outside_are_refused(root: Path) -> None:
    for name, space, action in (("single", spaces.MultiDiscrete([1, 2]), [0, 1]), ("two", BITS, [[0, 1], [1, 0]])):
        create(
            f"{name}-v0",
            [steps(1, np.zeros((2, 1), np.float32), np.array([action], space.dtype))],
            observation_space=spaces.Box(-1, 1, (1,), np.float32),
            action_space=space,
        )
        assert from_minari(root / f"{name}-v0").schema.actions is None
    create(
        "hand-v0",
        [steps(1, np.zeros((2, 1), np.float32), np.array([[0, 1]]))],
        observation_space=spaces.Box(-1, 1, (1,), np.float32),
        action_space=spaces.MultiDiscrete([2, 2]),
    )
    with h5py.File(root / "hand-v0" / "data" / "main_data.hdf5", "r+") as file:
        file["episode_0/actions"][...] = [[0, 2]]
    with pytest.raises(ArtifactError, match=r"actions must be in \[\[0, 0\], \[2, 2\]\), got 0 ... 2"):
        from_minari(root / "hand-v0")


BITS = spaces.MultiBinary((2, 2))


def test_the_source_of_a_foreign_dataset(root: Path) -> None:
    create("cartpole-v0", cart_pole((1, 2)), env="CartPole-v1")
    with MinariReader(root / "cartpole-v0") as reader, MinariReader(root / "cartpole-v0") as again:
        assert reader.fingerprint == again.fingerprint
        assert reader.encoded_bytes.sum() == reader.table.lengths.sum() * (16 + 8 + 1 + 1 + 1 + 8 + 4 + 8)
        np.testing.assert_array_equal(reader.decision_column(0, "kind"), reader.load_block(0).columns["kind"])


BOX = spaces.Box(-1, 1, (1,), np.float32)
SEEN = np.zeros((3, 1), np.float32)


@pytest.mark.parametrize(
    ("buffer", "observation_space", "action_space", "reason"),
    [
        (steps(2, SEEN, ["a", "b"]), BOX, spaces.Text(3), "a space of type 'Text' is not read"),
        (steps(2, SEEN, [0, 3]), BOX, spaces.Discrete(3), r"episode_0/actions: actions must be in \[0, 3\), got 0"),
        (steps(2, SEEN, [0.5, 1]), BOX, spaces.Discrete(3), "episode_0/actions: expected int64, got float64"),
        (steps(2, SEEN[:2], [0, 1]), BOX, spaces.Discrete(3), r"episode_0/observations: check: expected \(3, 1\)"),
        (steps(2, SEEN, [0, 1, 2]), BOX, spaces.Discrete(3), r"episode_0/actions: check: expected \(2,\), got \(3,\)"),
        (steps(2, SEEN * np.nan, [0, 1]), BOX, spaces.Discrete(3), "`observation` must be finite, got nan"),
        (
            steps(2, SEEN, [0, 1], rewards=[1, 1e300]),
            BOX,
            spaces.Discrete(3),
            "episode_0/rewards: values of float64 do not fit into float32",
        ),
        (
            steps(2, SEEN, [0, 1], terminations=[True, True]),
            BOX,
            spaces.Discrete(3),
            "episode_0/terminations: true before the last step",
        ),
        (
            steps(2, np.array([[300], [0], [0]]), [0, 1]),
            spaces.Box(-9, 9, (1,), np.int8),
            spaces.Discrete(3),
            "values of int64 do not fit into int8",
        ),
        (
            steps(2, {"a.b": SEEN, "a_b": SEEN}, [0, 1]),
            spaces.Dict({"a.b": BOX, "a_b": BOX}),
            spaces.Discrete(3),
            "would both be called `a_b`",
        ),
        (
            steps(2, {"action": SEEN}, [0, 1]),
            spaces.Dict({"action": BOX}),
            spaces.Discrete(3),
            r"both observation and decision: \['action'\]",
        ),
        (
            steps(2, np.zeros((3, 32, 32, 3), np.uint8), [0, 1]),
            spaces.Box(0, 255, (32, 32, 3), np.uint8),
            spaces.Discrete(3),
            r"\['observation'\] are kept as JPEG",
        ),
    ],
)
def test_what_cannot_be_a_batch(
    buffer: EpisodeBuffer, observation_space: spaces.Space, action_space: spaces.Space, reason: str, root: Path
) -> None:
    create("odd-v0", [buffer], observation_space=observation_space, action_space=action_space)
    with pytest.raises(ArtifactError, match=reason):
        from_minari(root / "odd-v0")


def test_images_that_are_no_jpeg(root: Path) -> None:
    seen = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    space = spaces.Box(0, 255, (32, 32, 3), np.uint8)
    create(
        "seen-v0",
        [steps(2, seen, [0, 1])],
        observation_space=space,
        action_space=spaces.Discrete(2),
        jpeg_encoding=False,
    )
    np.testing.assert_array_equal(from_minari(root / "seen-v0").trajectory(0).observations["observation"], seen)


def simple(root: Path) -> Path:
    create("plain-v0", [steps(2, SEEN, np.array([0, 1]))], observation_space=BOX, action_space=spaces.Discrete(2))
    return root / "plain-v0" / "data"


def as_link(file: h5py.File) -> None:
    file["episode_0/observations"] = h5py.SoftLink("/episode_0/rewards")


def as_external_link(file: h5py.File) -> None:
    file["episode_0/observations"] = h5py.ExternalLink("/etc/passwd", "/")


def in_another_file(file: h5py.File) -> None:
    file.create_dataset("episode_0/observations", (3, 1), np.float32, external=[("/etc/passwd", 0, 12)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((3, 1), np.float32)
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (3, 1))
    file["episode_0"].create_virtual_dataset("observations", layout)


def as_objects(file: h5py.File) -> None:
    file.create_dataset("episode_0/observations", (3, 1), h5py.string_dtype())


def as_group(file: h5py.File) -> None:
    file.create_group("episode_0/observations")


def as_records(file: h5py.File) -> None:
    file.create_dataset("episode_0/observations", (3, 1), np.dtype([("a", np.float32)]))


def by_a_filter_of_elsewhere(file: h5py.File) -> None:
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((3, 1))
    properties.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple((3, 1))
    h5py.h5d.create(file["episode_0"].id, b"observations", h5py.h5t.IEEE_F32LE, space, properties)


@pytest.mark.parametrize(
    ("replace", "reason"),
    [
        (as_link, "'observations' is a link"),
        (as_external_link, "'observations' is a link"),
        (in_another_file, "kept in other files"),
        (virtual, "kept in other files"),
        (as_objects, "dtype must be one of"),
        (as_records, "dtype must be one of"),
        (as_group, "expected an array"),
        (by_a_filter_of_elsewhere, "by a filter that HDF5 does not bring along"),
    ],
)
def test_nothing_outside_of_the_file_is_followed(replace: Callable[[h5py.File], None], reason: str, root: Path) -> None:
    data = simple(root)
    with h5py.File(data / "main_data.hdf5", "a") as file:
        del file["episode_0/observations"]
        replace(file)
    with pytest.raises(ArtifactError, match=reason):
        from_minari(data.parent)


def test_a_length_that_lies_allocates_nothing(root: Path) -> None:
    data = simple(root)
    with h5py.File(data / "main_data.hdf5", "a") as file:
        for name, shape in (("observations", (10**12 + 1, 1)), ("actions", (10**12,)), ("rewards", (10**12,))):
            del file[f"episode_0/{name}"]
            file.create_dataset(f"episode_0/{name}", shape, np.float32, chunks=(1024, *shape[1:]))
    with pytest.raises(ArtifactError, match="bytes declare"):
        from_minari(data.parent)


def test_one_episode_may_be_too_long(root: Path) -> None:
    with pytest.raises(ArtifactError, match="an episode of 2 steps takes more than 20 bytes"):
        MinariReader(simple(root).parent, max_episode_bytes=20)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"data_format": "arrow"}, "`data_format` must be hdf5, got 'arrow'"),
        ({"data_format": None}, "`data_format` must be a string"),
        ({"total_episodes": 2}, "expected 2 episodes, got 1"),
        ({"total_episodes": -1}, "expected -1 episodes, got 1"),
        ({"observation_space": None}, "`observation_space` must be a string"),
        ({"observation_space": "[]"}, "a space must be an object"),
        ({"observation_space": "{"}, "not JSON"),
        ({"observation_space": "{}"}, "`type` must be a string"),
        ({"observation_space": '{"type": "Tuple", "subspaces": [3]}'}, "a space must be an object, got 3"),
        ({"observation_space": '{"type": "Tuple", "subspaces": 3}'}, "a space of type 'Tuple' is not read"),
        ({"observation_space": '{"type": "Dict", "subspaces": {}}'}, "must name at least one column"),
        ({"observation_space": '{"type": "Box", "dtype": "object", "shape": [1]}'}, "`dtype` must be one of"),
        (
            {"observation_space": '{"type": "Box", "dtype": "int8", "shape": [1000000, 1000000]}'},
            "at most 7 axes and 1073741824 bytes",
        ),
        (
            {"observation_space": '{"type": "Box", "dtype": "int8", "shape": [1,1,1,1,1,1,1,1,1]}'},
            "at most 7 axes and 1073741824 bytes",
        ),
        ({"action_space": '{"type": "Discrete", "n": 1000000000000, "start": 0}'}, r"`n` must be in \[1, 1048576\]"),
        ({"action_space": "[" * 100_000}, "JSON may be nested 64 deep"),
        ({SECTION: 3}, "`townlet` must be an object"),
        ({SECTION: {"schema_version": 2}}, "schema_version 2 is not 1"),
        ({SECTION: {"schema_version": 1, "sha256": "0"}}, "`townlet`: expected SHA-256 '0'"),
    ],
)
def test_bad_metadata(changes: dict[str, object], reason: str, root: Path) -> None:
    path = simple(root) / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changes))
    with pytest.raises(ArtifactError, match=reason):
        from_minari(path.parent.parent)


def test_a_module_that_an_environment_names_is_not_imported(root: Path) -> None:
    path = simple(root) / "metadata.json"
    metadata = json.loads(path.read_bytes())
    del metadata["observation_space"]
    metadata["env_spec"] = json.dumps({"id": "X-v0", "entry_point": "this:that"})
    path.write_text(json.dumps(metadata))
    with pytest.raises(ArtifactError, match="`observation_space` must be a string"):
        from_minari(path.parent.parent)


def test_links_to_other_files_are_not_followed(root: Path) -> None:
    data = simple(root)
    (data / "main_data.hdf5").rename(root / "elsewhere.hdf5")
    (data / "main_data.hdf5").symlink_to(root / "elsewhere.hdf5")
    with pytest.raises(ArtifactError, match="main_data.hdf5: open"):
        from_minari(data.parent)


def own(root: Path) -> tuple[Path, TrajectoryBatch]:
    batch = TrajectoryBatch.from_trajectories([make_trajectory(1, 3, terminated=True), make_trajectory(2, 2)])
    return to_minari(batch, "own-v0", root=root) / "data", batch


@pytest.mark.parametrize("name", ["main_data.hdf5", "metadata.json"])
def test_damaged_files_of_ours_are_never_loaded_as_something_else(name: str, root: Path) -> None:
    data, batch = own(root)
    content, rng = (data / name).read_bytes(), np.random.default_rng(5)
    for _ in range(300):
        (data / name).write_bytes(damaged(content, rng))
        try:
            restored = from_minari(data.parent)
        except ArtifactError:
            continue
        assert_same_batch(restored, batch)


def test_damaged_files_of_others_give_one_kind_of_error(root: Path) -> None:
    path = simple(root) / "main_data.hdf5"
    content, rng = path.read_bytes(), np.random.default_rng(6)
    for _ in range(300):
        path.write_bytes(damaged(content, rng))
        try:
            from_minari(root / "plain-v0")
        except ArtifactError:
            continue


def resealed(data: Path, change: Callable[[dict[str, object]], None]) -> None:
    """As somebody would who changes a dataset of ours on purpose."""
    metadata = json.loads((data / "metadata.json").read_bytes())
    change(metadata[SECTION])
    metadata[SECTION]["sha256"] = document_digest(metadata[SECTION])
    (data / "metadata.json").write_text(json.dumps(metadata))


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("num_trajectories", 3, "expected 3 episodes, got 2"),
        ("vocabulary_digest", "x", "`vocabulary_digest` must be"),
        ("schema", {"observations": {}, "decisions": {}, "vocabulary": []}, "must name at least one column"),
        ("file", {"sha256": "0", "size": 1}, "verify: expected 1 bytes"),
        ("info", {}, "`seeds` must be an object"),
    ],
)
def test_a_section_that_contradicts_its_file(key: str, value: object, reason: str, root: Path) -> None:
    data, _ = own(root)
    resealed(data, lambda section: section.update({key: value}))
    with pytest.raises(ArtifactError, match=reason):
        from_minari(data.parent)


def test_a_column_of_another_dtype_is_not_converted_where_it_is_ours(root: Path) -> None:
    data, _ = own(root)
    specs = {name: {"dtype": spec.dtype, "shape": [*spec.shape]} for name, spec in SCHEMA.decisions.items()}
    resealed(
        data,
        lambda section: section["schema"]["decisions"].update(specs | {"value": {"dtype": "float64", "shape": []}}),
    )
    with pytest.raises(ArtifactError, match="episode_0/infos/value: expected float64, got float32"):
        from_minari(data.parent)
