"""A loop in JavaScript asks a served policy; skipped where there is no Node that has a WebSocket."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.numpy_helper import from_array

from townlet_runtime import ModelParts, PolicyClient, SealSpec, seal

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "serve"
NODE = shutil.which("node")


def options_of_node() -> list[str] | None:
    """What Node is started with to have a WebSocket; None: it cannot have one."""
    if NODE is None:
        return None
    has_one = "if (globalThis.WebSocket === undefined) process.exit(1)"
    for options in ([], ["--experimental-websocket"]):
        if subprocess.run([NODE, *options, "--eval", has_one], capture_output=True, check=False).returncode == 0:
            return options
    return None


OPTIONS = options_of_node()
pytestmark = pytest.mark.skipif(OPTIONS is None, reason="no Node.js with a WebSocket on this machine (20.10 or newer)")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a policy that pushes a cart to where its pole leans and turns to."""
    folder = tmp_path_factory.mktemp("pole")
    rightward = np.array([0.1, 0.3, 3.0, 1.5], np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["seen", "W"], ["logits"])],
        "pole",
        [helper.make_tensor_value_info("seen", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 2])],
        [from_array(np.stack([-rightward, rightward], axis=1), "W")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    spec = SealSpec(vocabulary=("left", "right"), world="pole")
    made = seal(folder / "model.onnx", folder / "policy.onnx", spec=spec, parts=ModelParts(output_kind="logits"))
    command = [sys.executable, "-m", "townlet_runtime", "serve", str(made.path), "--greedy"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        yield next(found.group(0) for line in process.stderr if (found := re.search(r"ws://\S+", line)))
    finally:
        process.terminate()
        process.communicate(timeout=20.0)


def node(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(NODE), *(OPTIONS or []), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=EXAMPLE, timeout=60.0)


def test_a_loop_that_owns_itself_keeps_its_poles_up(address: str) -> None:
    done = node("poles.mjs", address, "7", "300")
    assert done.returncode == 0, done.stderr
    # The linear policy holds a pole for as long as one looks; by chance it falls after some twenty ticks.
    assert done.stdout.splitlines()[1] == "0 poles fell; the others have stood for 300 to 300 ticks"


def test_both_forms_say_what_python_is_told(address: str) -> None:
    rows = np.random.default_rng(2).normal(size=(5, 4)).astype(np.float32)
    mask = np.array([[True, True]] * 4 + [[True, False]])
    agents = [f"ann {row}" for row in range(5)]
    with PolicyClient(address) as client:
        expected = client.act({"seen": rows}, agents=agents, tick=3, action_mask=mask, log_probs=True)
    assert expected.log_probs is not None
    script = f"""
        import {{ PolicyClient }} from "./policy_client.mjs";
        const client = await PolicyClient.connect({json.dumps(address)});
        const common = {{ tick: 3, agents: {json.dumps(agents)}, logProbs: true }};
        const rows = {json.dumps(rows.tolist())}, mask = {json.dumps(mask.tolist())};
        const [text, binary] = await Promise.all([
          client.act({{ ...common, observations: {{ seen: rows }}, mask }}),
          client.act({{ ...common, observations: {{ seen: Float32Array.from(rows.flat()) }}, mask: mask.flat() }}),
        ]);
        const refusals = [];
        const wrong = [[["a", "a"], [rows[0], rows[0]]], [["a"], [[1, 2, 3]]], [["a"], [[1, 2, 3, "x"]]]];
        for (const [agents, seen] of wrong)
          await client.act({{ tick: 1, agents, observations: {{ seen }} }}).catch(({{ kind }}) => refusals.push(kind));
        console.log(JSON.stringify({{ text, refusals, policy: binary.policy,
          actions: [...binary.actions], likely: [...binary.log_probs] }}));
        client.close();
        const late = client.act({{ tick: 1, agents: [], observations: {{ seen: [] }} }});
        await late.catch((error) => console.log(error.message));
    """
    done = node("--input-type=module", "--eval", script)
    assert done.returncode == 0, done.stderr
    answers, after = done.stdout.splitlines()
    found = json.loads(answers)
    assert found["text"]["actions"] == expected.names()
    assert found["actions"] == expected.actions.tolist()
    assert found["likely"] == found["text"]["log_probs"] == expected.log_probs.tolist()
    assert found["policy"] == expected.policy.digest
    assert found["refusals"] == ["repeated", "shape", "dtype"]
    assert "closed" in after


def test_nobody_comes_in_without_the_token(address: str) -> None:
    done = node("poles.mjs", address.partition("?")[0])
    assert done.returncode == 1 and "1008" in done.stderr
