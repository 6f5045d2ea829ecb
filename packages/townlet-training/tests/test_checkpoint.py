"""What was saved is what is loaded, or nothing is."""

import errno
import os
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from corridor import SPEC, CorridorCollector, learner, network

from townlet_training.checkpoint import Checkpoint, CheckpointState, CheckpointStore, read_checkpoint, restore, take
from townlet_training.errors import CheckpointError, ConfigError, NonFiniteError, ShapeError
from townlet_training.weights import weights_digest, weights_sha256
from townlet_trajectory import TrajectoryBatch, vocabulary_digest
from townlet_trajectory.manifest import manifest_of


def state_of(digest: str, env_steps: int = 100) -> CheckpointState:
    return CheckpointState(
        mode="anneal",
        seed=1,
        stage="ppo",
        world=SPEC.world,
        vocabulary_sha256=vocabulary_digest(SPEC.vocabulary),
        update_index=3,
        num_updates=4,
        env_steps=env_steps,
        agent_steps=200,
        transitions=50,
        ratio=0.25,
        attempt=1,
        weights_sha256=digest,
    )


def collected(actor, seed: int = 0, num_ticks: int = 12) -> TrajectoryBatch:
    return CorridorCollector(4, seed=seed).collect(actor, num_ticks=num_ticks, ratio=1.0).batch


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    own = network()
    teacher = learner(own)
    teacher.update(collected(own))
    return take(own, teacher, state_of(weights_sha256(own)))


def same(first: Checkpoint, second: Checkpoint) -> bool:
    return first.state == second.state and all(
        weights_digest(mine) == weights_digest(theirs)
        for mine, theirs in ((first.weights, second.weights), (first.learner, second.learner))
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
    ]
    assert same(store.load(100), checkpoint)


def test_a_restored_learner_goes_on_bit_for_bit(tmp_path: Path) -> None:
    own = network()
    teacher = learner(own)
    teacher.update(collected(own))
    store = CheckpointStore(tmp_path / "checkpoints", keep_last=1)
    store.save(take(own, teacher, state_of(weights_sha256(own))))
    batch = collected(own, seed=1)
    teacher.update(batch)

    other = network(seed=9)
    successor = learner(other, seed=9)
    restore(store.load(100), other, successor, spec=SPEC)
    successor.update(batch)
    assert weights_sha256(other) == weights_sha256(own)
    assert weights_digest(successor.state_dict()) == weights_digest(teacher.state_dict())


def test_another_network_world_or_vocabulary_is_refused(checkpoint: Checkpoint) -> None:
    larger = network(hidden_sizes=(9,))
    with pytest.raises(ShapeError, match="not those of this network"):
        restore(checkpoint, larger, learner(larger), spec=SPEC)
    own = network(seed=5)
    before = weights_sha256(own)
    for spec in (replace(SPEC, world="town"), replace(SPEC, vocabulary=("wait", "right", "left"))):
        with pytest.raises(ConfigError, match="the checkpoint must be of"):
            restore(checkpoint, own, learner(own), spec=spec)
    assert weights_sha256(own) == before


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


@pytest.mark.parametrize("file", ["weights.safetensors", "optimizer.safetensors", "state.json", "manifest.json"])
def test_a_damaged_file_is_refused(tmp_path: Path, checkpoint: Checkpoint, file: str) -> None:
    path = CheckpointStore(tmp_path, keep_last=1).save(checkpoint)
    data = (path / file).read_bytes()
    rng = random.Random(file)
    for case in range(150):
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


@pytest.mark.parametrize("file", ["weights.safetensors", "optimizer.safetensors", "state.json", "manifest.json"])
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
    names = {"weights": "weights.safetensors", "optimizer": "optimizer.safetensors", "state": "state.json"}
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
        ({"state": b'{"schema_version": 2}'}, "`schema_version` must be 1, got 2"),
        ({"state": b'{"schema_version": 1}'}, "missing or unknown keys"),
        ({"extra": b"?"}, "expected weights.safetensors"),
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
    other = take(network(seed=4), learner(network(seed=4)), state_of(weights_sha256(network(seed=4)), env_steps=7))
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
    for moment in range(40):
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
