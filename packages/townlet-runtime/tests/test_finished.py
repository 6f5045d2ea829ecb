import hashlib
from pathlib import Path

import pytest
from report_samples import copy_run, edit

from townlet_runtime.errors import PolicyFileError, RunDirectoryError
from townlet_runtime.runs.directory import file_sha256
from townlet_runtime.runs.finished import read_run


def test_what_is_no_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"found no summary.json"):
        read_run(tmp_path)


def finished(path: Path, **changes: object) -> Path:
    """The sample run with a policy file and `changes` to its summary."""
    copy_run(path)
    (path / "policy.onnx").write_bytes(b"a policy")
    edit(path / "summary.json", lambda summary: summary.update(changes))
    return path


def test_a_finished_run_is_read_and_its_policy_checked(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"a policy").hexdigest()
    run = read_run(finished(tmp_path / "run", policy_sha256=digest))
    assert list(run.policies) == ["agents"]
    policy = run.policies["agents"]
    assert run.summary.policy_sha256 == file_sha256(policy) == digest
    assert (run.config.name, policy.name) == ("config.yaml", "policy.onnx")


def test_every_group_has_a_policy_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "run"
    digests = {group: hashlib.sha256(group.encode()).hexdigest() for group in ("speaker", "listener")}
    copy_run(path)
    edit(path / "summary.json", lambda summary: summary.update(policy_sha256=None, policies_sha256=digests))
    for group in digests:
        (path / f"policy-{group}.onnx").write_bytes(group.encode())
    run = read_run(path)
    assert {group: file.name for group, file in run.policies.items()} == {
        "speaker": "policy-speaker.onnx",
        "listener": "policy-listener.onnx",
    }
    (path / "policy-listener.onnx").write_bytes(b"another")
    with pytest.raises(PolicyFileError, match=r"policy-listener.onnx: expected the policy"):
        read_run(path)


def test_a_run_without_a_policy_or_with_another_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="ended without a policy"):
        read_run(finished(tmp_path / "none", policy_sha256=None))
    with pytest.raises(PolicyFileError, match=rf"policy.onnx: expected the policy {'0' * 64} of summary.json"):
        read_run(finished(tmp_path / "other", policy_sha256="0" * 64))
