"""A policy acts in Node as it does here; skipped where there is no Node, or its npm package is not installed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from townlet_runtime import ModelParts, SealSpec, seal
from townlet_trajectory import Box, MultiDiscrete
from townlet_trajectory.evaluation.golden_vectors import read_vectors, vectors_path

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "javascript"
NODE = shutil.which("node")
PACKAGE = "onnxruntime-node"

pytestmark = [
    pytest.mark.skipif(NODE is None, reason="no Node.js on this machine"),
    pytest.mark.skipif(
        not (EXAMPLE / "node_modules" / PACKAGE).is_dir(),
        reason=f"the npm package {PACKAGE} is not installed: npm install --prefix examples/javascript",
    ),
]


def act(*arguments: Path) -> subprocess.CompletedProcess[str]:
    command = [str(NODE), str(EXAMPLE / "act.mjs"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_largest_difference_is_within_the_tolerance(exported: Path) -> None:
    done = act(exported / "policy.onnx")
    assert done.returncode == 0, done.stderr
    (largest,) = re.findall(r"largest difference (\S+), allowed 0.00001\n", done.stdout)
    assert 0.0 <= float(largest) <= 1e-5
    actions, *_ = re.findall(r"most probable actions of 16 agents: ([\d ]+)\n", done.stdout)
    assert len(set(actions.split())) > 1


def test_a_recurrent_policy_acts_there_too(tmp_path: Path) -> None:
    class Cell(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.memory, self.actor = nn.GRUCell(4, 6), nn.Linear(6, 3)

        def forward(self, seen: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            after = self.memory(seen, state)
            return self.actor(after), after

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Cell(),
            (torch.zeros(2, 4), torch.zeros(2, 6)),
            tmp_path / "gru.onnx",
            input_names=["seen", "h"],
            output_names=["logits", "next"],
            dynamic_axes={"seen": {0: "n"}, "h": {0: "n"}},
            dynamo=False,
        )
    parts = ModelParts(output="logits", states={"h": "next"})
    spec = SealSpec(vocabulary=("wait", "left", "right"))
    made = seal(tmp_path / "gru.onnx", tmp_path / "p.onnx", spec=spec, parts=parts)
    done = act(made.path)
    assert done.returncode == 0, done.stderr
    vectors = json.loads(made.vectors.read_bytes())
    vectors["state_in"]["numbers"][0] += 1.0
    made.vectors.write_text(json.dumps(vectors))
    assert act(made.path).returncode == 1


PARTS = MultiDiscrete(parts={"move": ("stay", "north", "south"), "hand": ("open", "closed")})
NUMBERS = Box(names=("steer", "throttle"), low=(-1.0, 0.0), high=(1.0, 2.5))


@pytest.mark.parametrize(
    ("actions", "distribution", "kind"),
    [(PARTS, "", "logits"), (NUMBERS, "clipped", "gaussian"), (NUMBERS, "squashed", "gaussian")],
)
def test_parts_and_numbers_act_there_too(
    actions: MultiDiscrete | Box, distribution: str, kind: Literal["logits", "gaussian"], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            nn.Linear(4, actions.num_outputs),
            (torch.zeros(2, 4),),
            tmp_path / "linear.onnx",
            input_names=["seen"],
            output_names=["said"],
            dynamic_axes={"seen": {0: "n"}},
            dynamo=False,
        )
    spec = SealSpec(vocabulary=(), actions=actions, distribution=distribution)
    made = seal(tmp_path / "linear.onnx", tmp_path / "p.onnx", spec=spec, parts=ModelParts(output_kind=kind))
    done = act(made.path)
    assert done.returncode == 0, done.stderr
    vectors = read_vectors(made.vectors)
    params = vectors.outputs.params.astype(np.float64)
    if isinstance(actions, MultiDiscrete):
        expected = np.stack([params[:, :3].argmax(1), params[:, 3:].argmax(1)], axis=1)
    else:
        low, high = np.array(actions.low), np.array(actions.high)
        squashed = low + (high - low) * (np.tanh(params[:, :2]) + 1.0) / 2.0
        expected = squashed if distribution == "squashed" else np.clip(params[:, :2], low, high)
    (said,) = re.findall(r"most probable actions of 16 agents: (.+)\n", done.stdout)
    found = [[float(one) for one in agent.split(",")] for agent in said.split(" ")]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_breach_a_damaged_file_and_other_vectors_are_told(exported: Path, tmp_path: Path) -> None:
    policy = shutil.copy(exported / "policy.onnx", tmp_path)
    content = json.loads(vectors_path(exported / "policy.onnx").read_bytes())
    vectors = tmp_path / "changed.json"
    content["values"]["numbers"][3] += 0.01
    vectors.write_text(json.dumps(content))
    assert act(policy, vectors).returncode == 1
    vectors.write_text(json.dumps(content | {"policy_sha256": "0" * 64}))
    assert "the vectors are of another policy" in act(policy, vectors).stderr
    data = bytearray(Path(policy).read_bytes())
    data[len(data) // 2] ^= 1
    Path(policy).write_bytes(data)
    assert "the policy file is damaged" in act(policy, vectors).stderr
