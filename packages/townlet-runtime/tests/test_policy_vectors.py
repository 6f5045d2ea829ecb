"""A policy file is compared with its golden vectors, and another one is found out."""

import json
import math
from pathlib import Path

import pytest
from foreign_models import gru, linear, saved

from townlet_runtime.errors import PolicyFileError
from townlet_runtime.policy.foreign import ModelParts
from townlet_runtime.policy.seal import SealedPolicy, seal
from townlet_runtime.policy.seal_spec import SealSpec
from townlet_runtime.policy.vectors import VectorsCheck, check_vectors

SPEC = SealSpec(vocabulary=("wait", "left", "right"), observation_shapes={"features": (4,)})


def made(folder: Path, *, seed: int = 0) -> SealedPolicy:
    parts = ModelParts(output="logits", values="value")
    return seal(
        saved(linear(outputs=("logits", "value")), folder), folder / "p.onnx", spec=SPEC, parts=parts, seed=seed
    )


def changed(policy: SealedPolicy, name: str, by: float) -> None:
    """Move the first legal number of an output."""
    content = json.loads(policy.vectors.read_bytes())
    numbers = content[name]["numbers"]
    index = next(index for index, number in enumerate(numbers) if number is not None)
    numbers[index] += by
    policy.vectors.write_text(json.dumps(content))


def test_a_policy_passes_its_own_vectors(tmp_path: Path) -> None:
    policy = made(tmp_path)
    found = check_vectors(policy.path)
    assert (found.digest, found.rows, found.tolerance, found.passed) == (policy.digest, 16, 1e-5, True)
    assert found.differences.keys() == {"log_probs", "values"} and found.largest < 1e-6
    elsewhere = policy.vectors.rename(tmp_path / "elsewhere.json")
    assert check_vectors(policy.path, elsewhere) == found


def test_a_recurrent_policy_passes_its_own_vectors(tmp_path: Path) -> None:
    parts = ModelParts(output="logits", states={"h0": "hn"})
    policy = seal(saved(gru(), tmp_path), tmp_path / "p.onnx", spec=SPEC, parts=parts)
    found = check_vectors(policy.path)
    assert found.differences.keys() == {"log_probs", "state_out"} and found.passed
    changed(policy, "state_out", 0.01)
    assert not check_vectors(policy.path).passed


@pytest.mark.parametrize("name", ["log_probs", "values"])
def test_a_difference_beyond_the_tolerance_is_a_breach(name: str, tmp_path: Path) -> None:
    policy = made(tmp_path)
    changed(policy, name, 1e-3)
    found = check_vectors(policy.path)
    assert not found.passed and 1e-5 < found.differences[name] <= 1e-3


def test_vectors_of_another_policy_are_refused(tmp_path: Path) -> None:
    policy = made(tmp_path)
    content = json.loads(policy.vectors.read_bytes()) | {"policy_sha256": "0" * 64}
    policy.vectors.write_text(json.dumps(content))
    with pytest.raises(
        PolicyFileError, match=f"p.vectors.json: expected vectors of the policy {policy.digest}, got 000"
    ):
        check_vectors(policy.path)


def test_missing_and_unfitting_vectors_are_refused(tmp_path: Path) -> None:
    policy = made(tmp_path)
    content = json.loads(policy.vectors.read_bytes())
    content["observations"] = {"sound": content["observations"]["features"]}
    policy.vectors.write_text(json.dumps(content))
    with pytest.raises(PolicyFileError, match=r"inputs that the policy takes, got .*\['features'\], got \['sound'\]"):
        check_vectors(policy.path)
    policy.vectors.unlink()
    with pytest.raises(PolicyFileError, match=r"p.vectors.json: expected readable golden vectors, got .*No such file"):
        check_vectors(policy.path)


def test_the_largest_difference_decides() -> None:
    check = VectorsCheck(digest="", rows=1, tolerance=0.5, differences={"log_probs": 0.1, "values": 0.5})
    assert check.largest == 0.5 and check.passed
    assert not VectorsCheck(digest="", rows=1, tolerance=0.5, differences={"log_probs": math.inf}).passed
