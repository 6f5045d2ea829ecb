"""`townlet play`: a person at the keys of a pipe or a terminal, what is recorded, and what is learned from that."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from finished_run import town_policy
from garden import Garden

from townlet_runtime.cli import main
from townlet_trajectory import EpisodeLabel, Kind, Source, TrajectoryBatch
from townlet_trajectory.audit.dataset import audit_dataset
from townlet_trajectory.formats.batch_file import load_batch

TOWN = ("--set", "town.agents=4", "--seed", "1")
Play = Callable[..., dict[str, object]]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Play:
    """Types keys; gives what `--json` prints."""
    monkeypatch.chdir(tmp_path)

    def typed(keys: str, *arguments: str, code: int = 0) -> dict[str, object]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(keys))
        assert main(["play", "--json", *arguments]) == code
        found: dict[str, object] = json.loads(capsys.readouterr().out)
        return found

    return typed


def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], keys: str, *arguments: str) -> list[str]:
    """The screens, one after the other."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(keys))
    assert main(["play", *arguments]) == 0
    return capsys.readouterr().out.split("\n\n")


def recorded(name: str) -> TrajectoryBatch:
    return load_batch(Path(name) / "agents.npz")


def test_a_tick_for_each_action_and_one_agent_is_demonstrated(play: Play) -> None:
    found = play("ww.\x1b[C wq.....", *TOWN, "--record", "npz:shown")
    assert (found["ticks"], found["acted"]) == (6, 4)
    batch = recorded("shown")
    assert batch.num_steps == 4 * 6
    mine = batch.agent_ids[batch.trajectory_of_row] == "agent_01"
    by_me = batch.columns["demonstrated"][mine]
    assert by_me.tolist() == [True, True, False, True, False, True]
    assert (batch.columns["possessed"][mine] == by_me).all()
    assert (batch.columns["kind"][mine][by_me] == Kind.FOREIGN).all()
    assert (batch.columns["source"][mine][by_me] == Source.EXTERNAL).all()
    assert not batch.columns["demonstrated"][~mine].any()
    keys = batch.schema.vocabulary
    did = [keys[action] for action in batch.columns["action"][mine][by_me].tolist()]
    assert did == ["wait", "wait", "move:east", "wait"]
    assert found["reward_while_acting"] == pytest.approx(float(batch.rewards[mine][by_me].sum()), rel=1e-5)


def test_the_others_live_as_they_do_without_anybody(play: Play) -> None:
    play("." * 12, *TOWN, "--record", "npz:alone")
    batch = recorded("alone")
    assert not batch.columns["possessed"].any()
    assert (batch.columns["action"] == batch.columns["expert_action"])[batch.columns["kind"] == Kind.DECISION].all()


def test_actions_are_named_and_illegal_ones_cost_no_tick(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    screens = shown(monkeypatch, capsys, ":move:west\nx:fly\n?q", *TOWN)
    text = "\n".join(screens)
    assert "release: it has no object to leave" in text
    assert "no action: fly" in text
    assert "no key: ?" in text
    assert "did     move:west (you)   reward" in text
    assert "(it has no object to leave) x release" in text
    assert text.rstrip().endswith(re.findall(r"You acted in 1 of 1 ticks, for a reward of \S+", text)[0])


def test_what_is_seen_at_a_tick(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    first = shown(monkeypatch, capsys, "q", *TOWN, "--agent", "agent_02")
    text = "\n".join(first)
    assert text.startswith("town, tick 0: you play agent_02 (2 of 4)\ntick    0  agents 4")
    assert text.count("@") == 1
    assert re.search(r"^is at +[\d.]+, [\d.]+   hunger [\d.]+ %", text, re.MULTILINE)
    assert re.search(r"^sees +need_hunger [\d.]+", text, re.MULTILINE)
    assert re.search(r"^script +would \S+", text, re.MULTILINE)
    assert "policy" not in text.split("\nw wait")[0].split("script  would")[1].splitlines()[0]
    assert max(map(len, text.splitlines())) <= 90


def test_with_a_policy_both_sides_are_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "policy.onnx"
    path.write_bytes(town_policy())
    text = "\n".join(shown(monkeypatch, capsys, "..q", "--policy", str(path), "--ratio", "0.25", "--seed", "1"))
    assert re.search(r"^policy +would \S+   \S+ [\d.]+ %", text, re.MULTILINE)
    assert "its share is 25 %" in text
    assert re.search(r"^script +would", text, re.MULTILINE)


def test_the_next_agent_is_played_too(play: Play) -> None:
    play("wnwnnnw", *TOWN, "--record", "npz:shown")
    batch = recorded("shown")
    acting = batch.agent_ids[batch.trajectory_of_row][batch.columns["demonstrated"]]
    assert sorted(acting.tolist()) == ["agent_01", "agent_01", "agent_02"]


def test_labels_are_recorded_and_undone_ticks_are_not(play: Play) -> None:
    found = play("1w1mww3bwnw2", *TOWN, "--record", "npz:shown")
    assert (found["ticks"], found["acted"]) == (3, 3)
    batch = recorded("shown")
    assert batch.num_steps == 4 * 3
    labels = dict(zip(batch.agent_ids.tolist(), batch.episode_labels.tolist(), strict=True))
    assert labels["agent_01"] == EpisodeLabel.SUCCESS  # and the discard of what was undone is gone
    assert labels["agent_02"] == EpisodeLabel.FAILURE
    assert audit_dataset(Path("shown") / "agents.npz").failures == 0


def test_what_cannot_be_done_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(shown(monkeypatch, capsys, "1bmq", *TOWN))
    assert "nothing is recorded here that could be labelled; see --record" in text
    assert "no state was kept to go back to" in text
    assert "kept: b comes back to here" in text


def test_the_ticks_and_the_recording_have_an_end(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    assert play("." * 50, *TOWN, "--ticks", "7")["ticks"] == 7
    monkeypatch.setattr("townlet_runtime.cli.running.play.MAX_ROWS", 4 * 5)
    found = play("." * 50, *TOWN, "--record", "npz:full", code=1)
    assert found["ticks"] == 5
    assert recorded("full").num_steps == 4 * 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--agent", "nobody"), "--agent nobody: nobody of this name is there, only agent_01, agent_02"),
        (("--ratio", "0.5"), "--ratio: a ratio above 0 needs a policy"),
        (("--ticks", "0"), "from 1 to"),
    ],
)
def test_refusals(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["play", *words]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("form", ["", "npz:"])
def test_what_was_shown_is_learned_by_the_command_that_is_told(
    form: str, play: Play, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("townlet_training")
    keys = "wg\x1b[C.s\x1b[Bwr" * 6
    found = play(keys, *TOWN, "--set", "town.episode_ticks=20", "--record", f"{form}shown")
    (command,) = found["learn"]  # type: ignore[misc]  # a list
    words = shlex.split(command)
    assert words[:2] == ["townlet", "train"]
    assert words[words.index("--data") + 1] == ("shown" if not form else str(Path("shown") / "agents.npz"))
    few = "bc.num_epochs=1 training.eval_episodes=10 training.final_episodes=10 gates.num_resamples=100".split()
    few += ["promotion.num_episodes=10", "promotion.num_resamples=100", "bc.demonstrated=true"]
    small = [word for one in few for word in ("--set", one)]
    code = main([*words[1:], *small, "--run-dir", "learned", "--threads", "1", "-q"])
    assert code in (0, 1), capsys.readouterr().err  # one epoch may not pass the gates
    clone = json.loads(Path("learned/cloning.json").read_text())
    assert "agents" in json.dumps(clone)
    assert Path("learned/policy.onnx").stat().st_size > 0


def test_nothing_is_to_be_learned_where_nobody_acted(play: Play) -> None:
    found = play("..", *TOWN, "--record", "shown")
    assert found["learn"] == []
    assert found["recorded"] == ["shown/rollout_sample_manifest.json"]


def test_the_command_names_the_world_as_it_was_named(play: Play, tmp_path: Path) -> None:
    pytest.importorskip("gymnasium")
    (tmp_path / "lake.yaml").write_text("environment: {name: 'gymnasium:FrozenLake-v1'}\n")
    settings = ("--set", "environment.settings.is_slippery=false", "--record", "cold")
    found = play("asd", "lake.yaml", *settings)
    assert found["learn"] == [
        "townlet train lake.yaml --set environment.settings.is_slippery=false --mode bc --data cold/agents.npz"
    ]


def test_a_world_that_renders_text_is_seen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    pytest.importorskip("gymnasium")
    text = "\n".join(shown(monkeypatch, capsys, "s", "--env", "gymnasium:FrozenLake-v1", "--seed", "1"))
    assert "SFFF\nFHFH\nFFFH\nHFFG" in text
    assert "\x1b" not in text
    assert re.search(r"^chance +would \d", text, re.MULTILINE)
    assert not [one for one in recwarn if "render" in str(one.message)]


def hostile(num_worlds: int) -> Garden:
    """A garden whose gardeners have names that move the cursor."""
    ids = ["ann\x1b[2J\x07", "bob\n\u202e"] * num_worlds
    return Garden(num_worlds, bend_view=lambda answer: {**answer, "agent_ids": ids})


def test_foreign_text_is_never_raw(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(shown(monkeypatch, capsys, "nd.1:\x1b[2J\n", "--env", "test_cli_play:hostile"))
    assert "ann\\u001b[2J\\u0007" in text
    assert "bob\\n\\u202e" in text or "bob\\u000a\\u202e" in text
    assert not set("\x1b\x07\u202e") & set(text)


def test_an_agent_that_is_away_is_waited_for(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gymnasium")
    # CartPole's own vector form shows nobody at the tick that begins the next episode.
    found = play("s" * 40, "--env", "gymnasium:CartPole-v1", "--seed", "1", "--record", "cart")
    assert 0 < found["acted"] < 40  # type: ignore[operator]  # a number
    batch = recorded("cart")
    assert np.asarray(batch.columns["demonstrated"]).sum() == found["acted"]


@pytest.mark.skipif(sys.platform == "win32", reason="has no pseudo-terminals")
def test_keys_of_a_terminal(tmp_path: Path) -> None:
    import pty
    import select

    command = [sys.executable, "-m", "townlet_runtime", "play", *TOWN, "--record", "npz:shown"]
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(tmp_path)
        os.environ.update(TERM="xterm", COLUMNS="100", LINES="60")
        os.execv(sys.executable, command)
    seen = b""

    def until(text: bytes, *, after: int = 0) -> None:
        nonlocal seen
        ends = time.monotonic() + 60.0
        while text not in seen[after:]:
            assert time.monotonic() < ends, seen[-2000:]
            if select.select([terminal], [], [], 0.2)[0]:
                seen += os.read(terminal, 65536)

    until(b"q: end")
    for keys, said in ((b"w", b"tick 1:"), (b"\x1b[C", b"tick 2:"), (b":", b":"), (b"move:west\n", b"tick 3:")):
        begun = len(seen)
        os.write(terminal, keys)
        until(said, after=begun)
    until(b"\x1b[2m", after=0)  # what is not legal is pale
    os.write(terminal, b"\x03")
    with suppress(OSError):  # Linux says that the other end is gone by an error
        while os.read(terminal, 65536):
            pass
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    batch = load_batch(tmp_path / "shown" / "agents.npz")
    keys_of = batch.schema.vocabulary
    did = batch.columns["action"][batch.columns["demonstrated"]].tolist()
    assert [keys_of[action] for action in did] == ["wait", "move:east", "move:west"]
