"""In an environment of the runtime's wheel and the two foundations, without torch: a trained policy acts.

The session `integration` exports the policy elsewhere and names its folder in `TOWNLET_EXPORTED`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from townlet_runtime.policy.onnx import OnnxPolicy

EXPORTED = Path(os.environ["TOWNLET_EXPORTED"])
POLICY = EXPORTED / "policy.onnx"


def townlet(*arguments: str | int | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "townlet_runtime", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("module", ["torch", "townlet_training", "safetensors", "onnxscript", "matplotlib"])
def test_what_only_training_needs_is_not_here(module: str) -> None:
    assert importlib.util.find_spec(module) is None


def test_log_probabilities_are_those_of_the_network() -> None:
    expected = np.load(EXPORTED / "expected.npz")
    policy = OnnxPolicy.load(POLICY)
    mask = expected["action_mask"]
    log_probs, values = policy.act({name: expected[name] for name in policy.observation_shapes}, mask)
    legal = expected["log_probs"][mask]
    assert np.all(np.abs(log_probs[mask] - legal) <= 1e-5 * (1 + np.abs(legal)))
    assert np.all(np.abs(values - expected["values"]) <= 1e-5 * (1 + np.abs(expected["values"])))
    # and the comparison means something: the policy has preferences
    assert legal.max() - legal.min() > 1.0


@pytest.mark.parametrize(("ratio", "acting"), [("1", "learned"), ("0", "scripted")])
def test_townlet_run(ratio: str, acting: str) -> None:
    done = townlet("run", "--policy", POLICY, "--ratio", ratio, "--ticks", 50, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["ticks"] == 50
    assert result["sources"][acting] == sum(result["sources"].values())
    assert np.isfinite(result["mean_reward"])


def test_townlet_run_with_a_whole_run() -> None:
    done = townlet("run", "--policy", EXPORTED / "run", "--ticks", 10, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sources"]["learned"] == 30


def test_townlet_evaluate() -> None:
    done = townlet("evaluate", EXPORTED / "run", "--episodes", 3, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found["scores"]) == {"learned", "scripted", "idle"}
    low, high = found["difference"]["ci"]
    assert low <= found["difference"]["mean"] <= high


def test_training_names_the_extra_it_needs() -> None:
    done = townlet("train", "--total-steps", 10)
    assert done.returncode == 2
    assert "townlet-runtime[training]" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_policy_is_refused(tmp_path: Path) -> None:
    data = bytearray(POLICY.read_bytes())
    data[len(data) // 2] ^= 1
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(data)
    done = townlet("run", "--policy", damaged, "--ticks", 1)
    assert done.returncode == 2
    assert "damaged.onnx" in done.stderr
    assert "Traceback" not in done.stderr
