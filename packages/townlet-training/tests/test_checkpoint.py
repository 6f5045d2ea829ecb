"""What was saved is what is loaded, or nothing is."""

import errno
import os
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from corridor import SPEC, CorridorCollector, scores
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from townlet_training.config import ONE_GROUP, TrainingConfig
from townlet_training.errors import CheckpointError, NonFiniteError, ShapeError
from townlet_training.network.config import NetworkConfig
from townlet_training.network.weights import weights_digest
from townlet_training.planning import PlannedUpdate
from townlet_training.run.agent_groups import GroupLearners
from townlet_training.run.checkpoint import (
    Checkpoint,
    CheckpointStore,
    decode_worlds,
    encode_state,
    encode_worlds,
    parse_state,
    read_checkpoint,
)
from townlet_training.run.state import ClonedScript, EvaluatorState, LogMark, RunHistory, TrainingState
from townlet_trajectory import ArtifactError
from townlet_trajectory.evaluation.gates import GateResult, Verdict
from townlet_trajectory.evaluation.interfaces import Collected
from townlet_trajectory.evaluation.results import CloneEpoch, CloneRecord, CloneResult, EvaluationRecord
from townlet_trajectory.storage.manifest import manifest_of

FILES = "weights.safetensors optimizer.safetensors state.json worlds.json worlds.npz manifest.json".split()
SPECS = {ONE_GROUP: SPEC}
HERE = Path("checkpoint")
PLANNED = PlannedUpdate(
    stage="ppo", ratio=1.0, kickstart_coef=0.0, learning_rate=3e-3, clip_range=0.2, entropy_coef=0.01, gae_lambda=0.95
)


def learners(seed: int = 0, hidden_sizes: tuple[int, ...] = (8,)) -> GroupLearners:
    config = TrainingConfig(seed=seed, total_env_steps=1, network=NetworkConfig(hidden_sizes=hidden_sizes))
    return GroupLearners(config, SPECS)


def checkpoint_of(own: GroupLearners, env_steps: int = 100) -> Checkpoint:
    weights = own.weights()
    return Checkpoint(
        state=TrainingState(
            config=TrainingConfig(seed=1, total_env_steps=1000),
            specs=SPECS,
            notes={"controller": "heuristic"},
            stage="ppo",
            ratio=0.25,
            update_index=3,
            num_updates=4,
            env_steps=env_steps,
            agent_steps=200,
            attempt=1,
            transitions={ONE_GROUP: 50},
            history=RunHistory(prepared=True, good=100),
            log=LogMark(size=12, sha256="0" * 64),
            elapsed=3.25,
            timings={"ppo": 1.5},
            weights_sha256=weights_digest(weights),
        ),
        weights=weights,
        learner=own.state(),
        worlds={"cell": np.arange(4), "name": np.array(["left", "right"])},
    )


def collected(own: GroupLearners, seed: int = 0, num_ticks: int = 12) -> Collected:
    return CorridorCollector(4, seed=seed).collect(own.networks, num_ticks=num_ticks, ratio=1.0)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    own = learners()
    own.learn(collected(own), PLANNED, number=1)
    return checkpoint_of(own)


def same(first: Checkpoint, second: Checkpoint) -> bool:
    if first.worlds is None or second.worlds is None:
        return first.worlds is second.worlds
    return (
        first.state == second.state
        and first.worlds.keys() == second.worlds.keys()
        and all(np.array_equal(first.worlds[name], second.worlds[name]) for name in first.worlds)
        and all(
            weights_digest(mine) == weights_digest(theirs)
            for mine, theirs in ((first.weights, second.weights), (first.learner, second.learner))
        )
    )


def test_save_then_load_is_the_identity(tmp_path: Path, checkpoint: Checkpoint) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", keep_last=3)
    path = store.save(checkpoint)
    assert path.name == "step-000000100"
    assert sorted(file.name for file in path.iterdir()) == [
        "manifest.json",
        "optimizer.safetensors",
        "state.json",
        "weights.safetensors",
        "worlds.json",
        "worlds.npz",
    ]
    assert same(store.load(100), checkpoint)


def test_a_restored_learner_goes_on_bit_for_bit(tmp_path: Path) -> None:
    own = learners()
    own.learn(collected(own), PLANNED, number=1)
    store = CheckpointStore(tmp_path / "checkpoints", keep_last=1)
    store.save(checkpoint_of(own))
    more = collected(own, seed=1)
    own.learn(more, PLANNED, number=1)

    other = learners(seed=9)
    loaded = store.load(100)
    other.restore(loaded.weights, loaded.learner)
    other.learn(more, PLANNED, number=1)
    assert other.sha256() == own.sha256()
    assert weights_digest(other.state()) == weights_digest(own.state())


def test_another_network_is_refused(checkpoint: Checkpoint) -> None:
    own = learners(hidden_sizes=(9,))
    before = own.sha256()
    with pytest.raises(ShapeError, match="not those of this network"):
        own.restore(checkpoint.weights, checkpoint.learner)
    assert own.sha256() == before


def test_the_newest_and_the_protected_stay(tmp_path: Path, checkpoint: Checkpoint) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", keep_last=2)
    for env_steps in (100, 200, 300, 400, 500):
        state = replace(checkpoint.state, env_steps=env_steps)
        store.save(replace(checkpoint, state=state), protected=frozenset({200}))
    assert store.steps() == (200, 400, 500)
    assert sorted(entry.name for entry in (tmp_path / "checkpoints").iterdir()) == [
        "step-000000200",
        "step-000000400",
        "step-000000500",
    ]


def at(checkpoint: Checkpoint, env_steps: int) -> Checkpoint:
    return replace(checkpoint, state=replace(checkpoint.state, env_steps=env_steps))


def test_there_is_no_newest_where_there_is_none(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", keep_last=1)
    assert store.newest() is None
    (tmp_path / "checkpoints" / "step-1").mkdir(parents=True)
    (tmp_path / "checkpoints" / "notes").touch()
    assert store.newest() is None


def test_an_interim_checkpoint_goes_with_the_next(tmp_path: Path, checkpoint: Checkpoint) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", keep_last=1)
    first = store.save_interim(at(checkpoint, 0))
    assert store.newest() == first
    assert store.steps() == ()
    second = store.save_interim(at(checkpoint, 100))
    assert (store.newest(), first.exists(), second.name) == (second, False, "step-000000100-interim-2")
    regular = store.save(at(checkpoint, 100))
    assert (store.newest(), second.exists()) == (regular, False)
    third = store.save_interim(at(checkpoint, 150))
    # An interim one makes no other go.
    assert (store.newest(), store.steps()) == (third, (100,))
    assert same(read_checkpoint(third), at(checkpoint, 150))


def test_of_the_same_steps_the_interim_one_is_older(tmp_path: Path, checkpoint: Checkpoint) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", keep_last=1)
    interim = store.save_interim(checkpoint)
    aside = interim.rename(tmp_path / "aside")
    regular = store.save(checkpoint)
    aside.rename(interim)
    assert store.newest() == regular
    later = store.save_interim(at(checkpoint, 10))
    # Left behind by a process that was killed: the later one of two is the one to go on from.
    store.save_interim(at(checkpoint, 101)).rename(interim)
    assert store.newest() == regular
    assert not later.exists()


def test_pruning_keeps_the_newest_and_the_protected(tmp_path: Path, checkpoint: Checkpoint) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", keep_last=9)
    for env_steps in (100, 200, 300, 400):
        store.save(at(checkpoint, env_steps))
    CheckpointStore(tmp_path / "checkpoints", keep_last=1).prune(protected=frozenset({200}))
    assert store.steps() == (200, 400)


def test_worlds_are_there_or_not(tmp_path: Path, checkpoint: Checkpoint) -> None:
    path = CheckpointStore(tmp_path, keep_last=1).save(replace(checkpoint, worlds=None))
    assert read_checkpoint(path).worlds is None
    assert not (path / "worlds.npz").exists()


def test_a_checkpoint_is_never_overwritten(tmp_path: Path, checkpoint: Checkpoint) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", keep_last=2)
    store.save(checkpoint)
    with pytest.raises(CheckpointError, match="exists already"):
        store.save(replace(checkpoint, state=replace(checkpoint.state, ratio=0.5)))
    assert same(store.load(100), checkpoint)


def test_numbers_that_are_not_finite_are_not_saved(tmp_path: Path, checkpoint: Checkpoint) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", keep_last=2)
    broken = {**checkpoint.weights, "value_scale": torch.tensor(float("nan"))}
    with pytest.raises(NonFiniteError, match="checkpoint: tensor `value_scale`"):
        store.save(replace(checkpoint, weights=broken))
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file_is_refused(tmp_path: Path, checkpoint: Checkpoint, file: str) -> None:
    path = CheckpointStore(tmp_path, keep_last=1).save(checkpoint)
    data = (path / file).read_bytes()
    rng = random.Random(file)
    for case in range(90):
        broken = bytearray(data)
        if case % 3 == 2:
            del broken[rng.randrange(len(broken)) :]
        else:
            for _ in range(rng.randint(1, 16)):
                broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
        (path / file).write_bytes(broken)
        try:
            loaded = read_checkpoint(path)
        except CheckpointError:
            continue
        assert same(loaded, checkpoint)


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_or_a_link_is_refused(tmp_path: Path, checkpoint: Checkpoint, file: str) -> None:
    path = CheckpointStore(tmp_path / "checkpoints", keep_last=1).save(checkpoint)
    shutil.move(path / file, tmp_path / file)
    with pytest.raises(CheckpointError) as missing:
        read_checkpoint(path)
    assert missing.value.path.name in (file, path.name)
    (path / file).symlink_to(tmp_path / file)
    with pytest.raises(CheckpointError):
        read_checkpoint(path)


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        read_checkpoint(tmp_path / "nowhere")


def resealed(path: Path, **contents: bytes) -> None:
    """Replace files of a checkpoint and write a manifest that fits: no digest of a file gives this away."""
    names = dict(zip("weights optimizer state types worlds".split(), FILES, strict=False))
    files = {name: (path / name).read_bytes() for name in names.values()}
    files |= {names[key]: data for key, data in contents.items() if key in names}
    files |= {key: data for key, data in contents.items() if key not in names}
    for name, data in files.items():
        (path / name).write_bytes(data)
    (path / "manifest.json").write_bytes(manifest_of(files).encode())


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        ({"weights": b"\x80\x04pickle"}, "weights.safetensors: parse"),
        ({"weights": (2**60).to_bytes(8, "little") + b"{}"}, "weights.safetensors: parse"),
        ({"optimizer": b""}, "optimizer.safetensors: parse"),
        ({"state": b"[]"}, "expected a JSON object"),
        ({"state": b"[" * 10**5}, "nested"),
        ({"state": b'{"schema_version": 1}'}, "`schema_version` must be 4, got 1"),
        ({"state": b'{"schema_version": 4}'}, "state.json: parse: config: Field required"),
        ({"state": b'{"config": NaN}'}, "NaN is not a number"),
        ({"worlds": b"PK"}, "worlds.npz: parse: not a zip archive"),
        ({"types": b'{"cell": "int64"}'}, r"unknown \['name.npy'\]"),
        ({"types": b'{"cell": "int32", "name": "text"}'}, "`cell` must be int32, got int64"),
        ({"types": b'{"cell": "text", "name": "text"}'}, "`cell` must be text, got int64"),
        ({"types": b'{"cell": [], "name": "text"}'}, "`cell` must be \\[\\], got int64"),
        ({"extra": b"?"}, "expected .*weights.safetensors"),
    ],
)
def test_a_forged_checkpoint_is_refused(
    tmp_path: Path, checkpoint: Checkpoint, contents: dict[str, bytes], reason: str
) -> None:
    path = CheckpointStore(tmp_path, keep_last=1).save(checkpoint)
    resealed(path, **contents)
    with pytest.raises(CheckpointError, match=reason):
        read_checkpoint(path)


def test_weights_of_another_checkpoint_are_refused(tmp_path: Path, checkpoint: Checkpoint) -> None:
    other = checkpoint_of(learners(seed=4), env_steps=7)
    store = CheckpointStore(tmp_path, keep_last=2)
    path, foreign = store.save(checkpoint), store.save(other)
    resealed(path, weights=(foreign / "weights.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="not those of `weights_sha256`"):
        read_checkpoint(path)


@pytest.mark.parametrize("call", ["open", "write", "fsync", "mkdir", "rename"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_a_failing_disk_keeps_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: Checkpoint, call: str, number: int
) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", keep_last=1)
    store.save(checkpoint)
    real, calls = getattr(os, call), [0]

    def failing(*args, **kwargs):
        calls[0] += 1
        # The second call is in the middle of the save; there is a single rename.
        if calls[0] == (1 if call == "rename" else 2):
            raise OSError(number, os.strerror(number))
        return real(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(os, call, failing)
        with pytest.raises(CheckpointError):
            store.save(replace(checkpoint, state=replace(checkpoint.state, env_steps=200)))
    assert same(store.load(100), checkpoint)
    assert [entry.name for entry in (tmp_path / "checkpoints").iterdir()] == ["step-000000100"]


def test_killed_at_any_moment_a_reader_sees_the_old_or_the_new(tmp_path: Path, checkpoint: Checkpoint) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", keep_last=1)
    store.save(checkpoint)
    newer = replace(checkpoint, state=replace(checkpoint.state, env_steps=200))
    seen = set()
    for moment in range(80):
        child = os.fork()
        if child == 0:
            _die_at(moment)
            store.save(newer)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        steps = store.steps()
        assert steps, "no checkpoint is left"
        for env_steps in steps:
            assert same(store.load(env_steps), newer if env_steps == 200 else checkpoint)
        seen.add(steps)
        if os.waitstatus_to_exitcode(status) == 0:
            break
        if 200 in steps:
            shutil.rmtree(tmp_path / "checkpoints")
            store.save(checkpoint)
    else:
        pytest.fail("the save never finished")
    assert seen == {(100,), (100, 200), (200,)}


def _die_at(moment: int) -> None:
    """Make this process end at its `moment`-th call to the file system, without cleaning up."""
    left = [moment]
    for name in ("mkdir", "open", "write", "fsync", "rename", "unlink", "rmdir"):
        real = getattr(os, name)

        def dying(*args, real=real, **kwargs):
            if left[0] == 0:
                os._exit(9)
            left[0] -= 1
            return real(*args, **kwargs)

        setattr(os, name, dying)


GATE = GateResult(name="kept_score_96", verdict=Verdict.FAILED, detail="mean -0.1")
EVALUATION = EvaluationRecord(
    env_steps=96,
    agent_steps=192,
    stage="anneal",
    ratio=0.1 + 0.2,
    attempt=1,
    return_mean=1 / 3,
    return_ci=(-1e-17, 2.0),
    normalized=None,
    baselines={"scripted": 5.0, "idle": -0.0},
    gate=GATE,
)
CLONE = CloneResult(
    epochs=(CloneEpoch(epoch=1, loss=0.7, held_out_accuracy=0.5), CloneEpoch(epoch=2, loss=0.3, held_out_accuracy=1.0)),
    best_epoch=2,
    accuracy=0.75,
    num_labels=10,
    num_held_out=4,
    num_forbidden=0,
    episode_accuracies=(0.5, 1.0),
)
STATE = TrainingState(
    config=TrainingConfig(seed=1, total_env_steps=1000, baselines=("scripted", "random")),
    specs=SPECS,
    notes={"controller": "heuristic"},
    stage="anneal",
    transitions={ONE_GROUP: 7},
    num_left_out=3,
    cloned={
        ONE_GROUP: ClonedScript(
            num_trajectories=2,
            num_steps=9,
            reward_sum=0.1,
            events_per_env_step={"meals": 0.1},
            accuracy=0.97,
            threshold=0.9,
            passed=True,
        )
    },
    history=RunHistory(
        prepared=True,
        good=96,
        best=replace(EVALUATION, env_steps=64, gate=None),
        clone=CloneRecord(results={"agents": CLONE}, gate=GATE, evaluation=replace(EVALUATION, env_steps=32)),
        evaluations=(EVALUATION, EVALUATION),
        failure=GATE,
    ),
    evaluator=EvaluatorState(selection={"clone": scores([1 / 3, 2.0])}),
    elapsed=1.25,
    timings={"clone": 0.5},
)


def test_a_state_survives_its_file() -> None:
    data = encode_state(STATE)
    assert parse_state(data, HERE) == STATE
    assert encode_state(parse_state(data, HERE)) == data


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((b'"num_left_out":3', b'"num_left_out":"3"'), "num_left_out: Input should be a valid integer"),
        ((b'"num_left_out":3', b'"num_left_out":-3'), "`num_left_out` is a count and must be at least 0"),
        ((b'"transitions":{"agents":7}', b'"transitions":{}'), r"`transitions` must be of \['agents'\], got \[\]"),
        ((b'"num_left_out":3', b'"surplus":3'), "surplus: Unexpected keyword argument"),
        ((b'"notes":{"controller":"heuristic"},', b""), "notes: Field required"),
        ((b'"good":96', b'"good":null'), "history.good: Input should be a valid integer"),
        ((b'"verdict":"failed"', b'"verdict":"fine"'), "verdict: Input should be 'passed', 'failed' or"),
        ((b'"seed":1', b'"seed":-1'), "config.seed: Input should be greater than or equal to 0"),
        ((b'"stage":"anneal"', b'"stage":"lunch"'), "stage: Input should be 'clone', 'warmup', 'anneal' or 'ppo'"),
        ((b'"elapsed":1.25', b'"elapsed":NaN'), "NaN is not a number"),
        ((b'"elapsed":1.25', b'"elapsed":1.25, "elapsed":2.0'), "repeated keys"),
        ((b'"elapsed":1.25', b'"elapsed":1.25, "more":2.0'), "more: Unexpected keyword argument"),
    ],
)
def test_a_state_of_other_types_is_refused(change: tuple[bytes, bytes], reason: str) -> None:
    data = encode_state(STATE)
    assert change[0] in data
    with pytest.raises(CheckpointError, match=f"checkpoint.*{reason}"):
        parse_state(data.replace(change[0], change[1], 1), HERE)


def test_a_state_with_a_number_that_is_not_finite_is_not_written() -> None:
    with pytest.raises(NonFiniteError, match="checkpoint: state: Out of range float values"):
        encode_state(replace(STATE, elapsed=float("inf")))


NUMBERS = st.sampled_from("bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 >f8 >i4".split()).map(
    np.dtype
)
ARRAYS = st.one_of(NUMBERS, st.integers(1, 5).map(lambda width: np.dtype(f"<U{width}"))).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,3}(/[a-z0-9]{1,3}){0,2}", fullmatch=True), ARRAYS, max_size=4))
def test_what_was_saved_is_what_is_read(state: dict[str, np.ndarray]) -> None:
    read = decode_worlds(encode_worlds(state), HERE)
    assert read.keys() == state.keys()
    for name, array in state.items():
        assert read[name].dtype == array.dtype.newbyteorder("=")
        assert read[name].shape == array.shape
        # Bytes: NaN is NaN, and -0.0 is not 0.0.
        assert read[name].tobytes() == array.astype(array.dtype.newbyteorder("=")).tobytes()


def test_equal_states_are_equal_files() -> None:
    state = {"seeds": np.arange(3), "ids": np.array([["walker", "ä"]]), "tick": np.array(7)}
    assert encode_worlds(state) == encode_worlds({name: array.copy() for name, array in state.items()})


@pytest.mark.parametrize("array", [np.array([{}]), np.array([b"x"]), np.array([1j]), np.zeros(1, "M8[s]")])
def test_anything_else_is_refused_by_name(array: np.ndarray) -> None:
    with pytest.raises(ShapeError, match="the state `rng` of the worlds must be numbers, bools or text"):
        encode_worlds({"rng": array})


def test_numbers_that_are_no_characters_are_refused() -> None:
    files = encode_worlds({"ids": np.array([[0x110000]], np.uint32)})
    with pytest.raises(ArtifactError, match="not the characters of text"):
        decode_worlds({**files, "worlds.json": b'{"ids": "text"}'}, HERE)
    files = encode_worlds({"ids": np.array(65, np.uint32)})
    with pytest.raises(ArtifactError, match="not the characters of text"):
        decode_worlds({**files, "worlds.json": b'{"ids": "text"}'}, HERE)
