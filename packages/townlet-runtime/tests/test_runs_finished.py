"""A finished run is what its manifest says, byte for byte, or it is refused by the name of the file."""

import hashlib
import os
import random
import shutil
import time
from pathlib import Path

import pytest
from report_samples import copy_run, edit, finish, leave_the_world

from townlet_runtime.errors import RunDirectoryError, TownletError
from townlet_runtime.runs.directory import MANIFEST, REPORT, file_sha256
from townlet_runtime.runs.finished import read_run, write_manifest


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run with a checkpoint and a report."""
    path = copy_run(tmp_path / "run")
    checkpoint = path / "checkpoints" / "0001"
    checkpoint.mkdir(parents=True)
    (checkpoint / "weights").write_bytes(bytes(range(256)) * 8)
    (checkpoint / MANIFEST).write_text("{}")
    (path / REPORT).write_text("a page")
    finish(path)
    return path


def test_a_directory_that_is_no_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"found no manifest.json"):
        read_run(tmp_path)


def test_a_finished_run_is_read_and_its_policy_checked(run: Path) -> None:
    found = read_run(run)
    assert list(found.policies) == ["agents"]
    policy = found.policies["agents"]
    assert found.summary.policy_sha256 == file_sha256(policy) == hashlib.sha256(b"a policy").hexdigest()
    assert (found.config, policy.name, found.has_report) == (run / "config.yaml", "policy.onnx", True)


def test_a_run_without_a_world_has_no_scores(tmp_path: Path) -> None:
    path = leave_the_world(copy_run(tmp_path / "run"))
    found = finish(path)
    assert (found.evaluation, found.promotion, found.summary.env) == (None, None, None)
    assert found.cloning is not None and found.cloning.accuracy == 0.917
    (path / "cloning.json").unlink()
    write_manifest(path)
    with pytest.raises(RunDirectoryError, match=r"cloning.json: expected in the manifest.json of a finished run"):
        read_run(path)


def test_a_run_in_a_world_has_scores(tmp_path: Path) -> None:
    path = copy_run(tmp_path / "run")
    (path / "evaluation.json").unlink()
    with pytest.raises(RunDirectoryError, match=r"evaluation.json: expected in the manifest.json of a finished run"):
        finish(path)


def test_every_group_has_a_policy_of_its_own(tmp_path: Path) -> None:
    path = copy_run(tmp_path / "run")
    found = finish(path, {"speaker": b"speaker", "listener": b"listener"})
    assert {group: file.name for group, file in found.policies.items()} == {
        "speaker": "policy-speaker.onnx",
        "listener": "policy-listener.onnx",
    }
    (path / "policy-listener.onnx").write_bytes(b"another!")
    with pytest.raises(RunDirectoryError, match=r"policy-listener.onnx: expected 8 bytes with SHA-256"):
        read_run(path)
    # also where the manifest was written anew
    write_manifest(path)
    with pytest.raises(RunDirectoryError, match=r"policy-listener.onnx: expected the policy"):
        read_run(path)


def test_a_run_without_a_policy_is_refused(tmp_path: Path) -> None:
    path = copy_run(tmp_path / "run")
    with pytest.raises(RunDirectoryError, match="its run ended without a policy"):
        finish(path, {})


def test_summary_and_promotion_must_say_the_same(run: Path) -> None:
    edit(run / "summary.json", lambda content: content.update(promotion="FAIL"))
    write_manifest(run)
    with pytest.raises(RunDirectoryError, match=r"summary.json: `promotion` is FAIL, that of promotion.json PROMOTE"):
        read_run(run)


def test_a_report_may_be_missing_but_not_another(run: Path) -> None:
    (run / REPORT).unlink()
    assert not read_run(run).has_report
    (run / REPORT).write_text("a lie")
    with pytest.raises(RunDirectoryError, match=r"report.html: expected 6 bytes"):
        read_run(run)


def files(run: Path) -> list[str]:
    return sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())


def test_the_manifest_lists_every_file(run: Path) -> None:
    assert files(run) == [
        "checkpoints/0001/manifest.json",
        "checkpoints/0001/weights",
        "cloning.json",
        "config.yaml",
        "evaluation.json",
        "manifest.json",
        "metrics.jsonl",
        "policy.onnx",
        "promotion.json",
        "report.html",
        "summary.json",
    ]
    for name in files(run):
        if name in (MANIFEST, REPORT):
            continue
        shutil.copytree(run, run.parent / "copy")
        (run.parent / "copy" / name).unlink()
        with pytest.raises(RunDirectoryError, match=name):
            read_run(run.parent / "copy")
        shutil.rmtree(run.parent / "copy")


def test_no_damage_is_read_as_other_values(run: Path) -> None:
    """A flipped byte anywhere, a cut anywhere, and the exchange of two files, in every file of the run."""
    draw = random.Random(0)
    before = read_run(run)
    for name in files(run):
        path = run / name
        data = path.read_bytes()
        damages = []
        for _ in range(40):
            place = draw.randrange(len(data))
            damages.append(data[:place] + bytes([data[place] ^ (1 << draw.randrange(8))]) + data[place + 1 :])
            damages.append(data[:place])
        damages += [(run / other).read_bytes() for other in files(run) if other != name]
        for damaged in damages:
            path.write_bytes(damaged)
            with pytest.raises(TownletError) as caught:
                read_run(run)
            assert Path(name).name in str(caught.value)
        path.write_bytes(data)
    assert read_run(run) == before


@pytest.mark.parametrize("name", ["config.yaml", "summary.json", "metrics.jsonl", "policy.onnx", MANIFEST])
def test_no_special_or_endless_file_is_followed(name: str, run: Path) -> None:
    for make in (
        lambda path: os.mkfifo(path),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 20 << 30),
        lambda path: path.write_bytes(b"[" * 200_000),
    ):
        (run / name).unlink()
        make(run / name)
        begun = time.monotonic()
        with pytest.raises(TownletError, match=name):
            read_run(run)
        assert time.monotonic() - begun < 5
