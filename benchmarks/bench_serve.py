"""A served policy: the round trip of a question about all agents of a tick, beside acting in this process.

The network, the observations and the masks are those of `bench_act.py`: 548 numbers an agent. The server is a process
of its own on this machine. `binary` is `PolicyClient`, `text` JSON by hand, `here` the forward pass and the draws.
They take turns. Wall times, JSON lines; needs two idle cores, and the extras `live` and, for the network, `training`.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from bench_act import NUM_ACTIONS, SHAPES, observed, specification
from turns import calibrate
from websockets.sync.client import connect

from townlet_behavior import Purpose, uniforms
from townlet_runtime import OnnxPolicy, PolicyClient, sample_actions
from townlet_runtime.serving.messages import MAX_TEXT_BYTES
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.config import NetworkConfig
from townlet_training.network.export.onnx_export import export_policy
from townlet_training.network.spec import PolicySpec


@contextmanager
def serve(path: Path) -> Iterator[str]:
    """Serve a policy; gives its address."""
    command = [sys.executable, "-m", "townlet_runtime", "serve", str(path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    try:
        yield next(found.group(0) for line in process.stderr if (found := re.search(r"ws://\S+", line)))
    finally:
        process.terminate()
        process.wait(30.0)


def export(path: Path) -> None:
    torch.set_num_threads(1)
    network = ActorCritic(
        SHAPES, NUM_ACTIONS, NetworkConfig(hidden_sizes=(256, 256)), generator=torch.Generator().manual_seed(1)
    )
    spec = specification(1)
    made_for = PolicySpec(world=spec.name, vocabulary=spec.vocabulary.keys, observation_shapes=SHAPES)
    export_policy(network, path, spec=made_for, seed=1)


def waits(calls: dict[str, Callable[[int], object]], *, questions: int) -> dict[str, list[float]]:
    """Seconds of each call, by contestant; they take turns, question by question."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for tick in range(-5, questions):  # the first ones are not kept
        for name, call in calls.items():
            begun = time.perf_counter()
            call(tick + 5)
            if tick >= 0:
                found[name].append(time.perf_counter() - begun)
    return found


def measure(path: Path, address: str, num_agents: int, *, questions: int) -> None:
    """Print a line for each way to ask."""
    seen, policy = observed(num_agents, np.random.default_rng(num_agents)), OnnxPolicy.load(path).without_values()
    agents, mask = seen.agent_ids.tolist(), seen.action_mask
    assert mask is not None
    rows = {name: array.tolist() for name, array in seen.observations.items()}
    fields = {"type": "act", "group": "agents", "agents": agents, "observations": rows, "action_mask": mask.tolist()}

    def here(tick: int) -> None:
        log_probs, _ = policy.act(seen.observations, mask)
        sample_actions(log_probs, uniforms(0, Purpose.POLICY, seen.keys, tick))

    with PolicyClient(address) as client, connect(address, compression=None, proxy=None, max_size=None) as socket:
        socket.send(json.dumps({"type": "hello", "id": 0, "townlet": 1}))
        socket.recv()

        def text(tick: int) -> None:
            socket.send(json.dumps({**fields, "id": tick, "tick": tick}))
            assert json.loads(socket.recv())["type"] == "actions"

        calls: dict[str, Callable[[int], object]] = {
            "here": here,
            "binary": lambda tick: client.act(seen.observations, agents=agents, tick=tick, action_mask=mask),
        }
        if len(json.dumps(fields)) < MAX_TEXT_BYTES - 100:  # else it is refused
            calls["text"] = text
        for name, found in waits(calls, questions=questions).items():
            median, late = (round(1e3 * each, 3) for each in np.quantile(found, [0.5, 0.95]).tolist())
            line = {"benchmark": "serve", "agents": num_agents, "name": name, "median_ms": median, "p95_ms": late}
            print(json.dumps(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--questions", type=int, default=300, help="of each way and number of agents")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.onnx"
        export(path)
        with serve(path) as address:
            for num_agents in arguments.agents:
                measure(path, address, num_agents, questions=arguments.questions)
    calibrate("serve")


if __name__ == "__main__":
    main()
