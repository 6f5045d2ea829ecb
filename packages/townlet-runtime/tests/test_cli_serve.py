"""`townlet serve` as it is typed: an address, a client, a signal, and what cannot be served."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from finished_run import write_finished_run
from served_policies import file_of, names, seen

from townlet_behavior import Purpose, draw_keys, uniforms
from townlet_runtime import OnnxPolicy, PolicyClient, sample_actions
from townlet_runtime.cli import main
from townlet_runtime.serving.messages import schema_text

TOKEN = "0123456789abcdefghijklmnopqrstuv_-"


class Typed:
    """A command that serves."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said = ""
        assert process.stderr is not None
        for line in process.stderr:
            self.said += line
            if found := re.search(r"ws://\S+", line):
                self.address = found.group(0)
                return
        raise AssertionError(self.said)

    def end(self, number: int) -> tuple[int, str]:
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20.0)
        self.said += err
        return self.process.returncode, out


@contextmanager
def serve(*arguments: str | Path) -> Iterator[Typed]:
    command = [sys.executable, "-m", "townlet_runtime", "serve", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield Typed(process)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_is_served_until_a_signal_comes(number: int, tmp_path: Path) -> None:
    run = write_finished_run(tmp_path / "run")
    policy = OnnxPolicy.load(run / "policy.onnx")
    with serve(run, "--seed", "3", "--json") as typed:
        with PolicyClient(typed.address) as client:
            (group,) = client.policies.values()
            assert (group.world, group.digest) == (policy.card.world, policy.digest)
            observations = seen(2, shapes=policy.observation_shapes)
            answer = client.act(observations, agents=names(2), tick=4)
        keys = np.array([draw_keys(3, agent) for agent in names(2)], np.uint64)
        expected = sample_actions(policy.act(observations, None)[0], uniforms(3, Purpose.POLICY, keys, 4))
        np.testing.assert_array_equal(answer.actions, expected)
        code, out = typed.end(number)
        assert (code, json.loads(out)) == (128 + number, {"questions": 1, "agents": 2, "refused": 0})
        assert typed.said.count("\n") == 1, typed.said


def test_a_file_is_served_as_the_options_say(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    options = ("--greedy", "--max-agents", "3", "--idle-timeout", "30", "--token-file", tmp_path / "token")
    with serve(file_of("plain", tmp_path), *options, "--host", "0.0.0.0") as typed:
        assert TOKEN not in typed.said
        assert "0.0.0.0 can be reached from other machines: who has the address can ask the policy" in typed.said
        with PolicyClient(typed.address, token=TOKEN) as client:
            assert (client.greedy, client.max_agents) == (True, 3)
        assert typed.end(signal.SIGINT) == (130, "0 questions about 0 agents answered, 0 refused\n")


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--schema"]) == 0
    assert capsys.readouterr().out == schema_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "expected POLICY, or --schema"),
        (["none.onnx"], "none.onnx: expected a readable policy file"),
        (["plain.onnx", "--token-file", "none"], "--token-file: none: "),
        (["plain.onnx", "--token-file", "short"], "expected 32 to 128 of A-Z a-z 0-9 - _, got another secret"),
        (["plain.onnx", "--allow-origin", "http://a/b"], "--allow-origin: expected http://HOST:PORT without a path"),
        (["plain.onnx", "--host", "300.1.1.1"], "expected an address to listen at, got 300.1.1.1 port 0"),
        (["plain.onnx", "--max-agents", "0"], "--max-agents"),
        (["plain.onnx", "--idle-timeout", "nan"], "--idle-timeout"),
    ],
)
def test_what_cannot_be_served_is_refused(
    arguments: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    file_of("plain", tmp_path)
    Path("short").write_text("secret")
    assert main(["serve", *arguments]) == 2
    assert says in capsys.readouterr().err
