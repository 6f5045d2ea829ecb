"""Lessons beside a watched world: their process, its end in whatever way, and the policy that takes over or not."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from test_live_serve import Page
from test_live_stage import stage_of, until

from townlet_runtime.errors import SimulationError
from townlet_runtime.live.desk import Desk
from townlet_runtime.live.hub import Hub
from townlet_runtime.live.serve import served
from townlet_runtime.live.stage import Stage
from townlet_runtime.live.teaching.background import Background
from townlet_runtime.live.teaching.teacher import School, Teacher
from townlet_runtime.simulation.interface import AGENTS
from townlet_runtime.testing import Corridor

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="asks for processes by signals")

SAYS = """
import json, sys, time
order = json.loads(sys.stdin.readline())
print("a world prints something", flush=True)
print(json.dumps({"line": order["method"], "progress": 0.5}), flush=True)
"""
WAITS = SAYS + "time.sleep(600)\n"
FAILS = SAYS + "print('first', file=sys.stderr)\nprint('there is no label', file=sys.stderr)\nsys.exit(2)\n"
"""Processes in the place of that of a lesson."""


@contextmanager
def taught(folder: Path, program: str) -> Iterator[tuple[Page, Teacher, Stage]]:
    """A paused corridor with a page, and lessons that `program` learns."""
    stage = stage_of(Corridor(num_worlds=1), speed=1000.0, records=True)
    school = School(folder=folder, command=(sys.executable, "-c", program), order={}, group=AGENTS, policy=None)
    teacher, ends = Teacher(stage, school), threading.Event()
    desk = Desk(stage, has_policy=False, teacher=teacher, recorded_at=str(folder))
    thread = threading.Thread(target=stage.run, args=(ends.is_set,))
    with served(Hub(stage, desk), host="127.0.0.1", port=0) as address:
        thread.start()
        try:
            yield Page(address), teacher, stage
        finally:
            teacher.close()
            ends.set()
            thread.join(10.0)


def show(page: Page, stage: Stage, *, steps: int = 12) -> None:
    """Hold whoever is there, and walk to the left."""
    while stage.shown.steps < steps:
        agent = str(stage.runtimes[AGENTS].observed.agent_ids[0])  # type: ignore[union-attr]
        page.ask("acquire", agent=agent)
        page.ask("feed", agent=agent, action="wait")
        before = stage.shown.steps
        page.ask("step", ticks=1)
        until(lambda before=before: stage.shown.steps > before)  # type: ignore[misc]  # bound now


def phase(page: Page) -> Any:
    return page.last["state"]["teach"]["phase"]


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A process that ended and was not waited for is no longer there.
    return subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout[:1] not in "Z"


def test_what_was_shown_is_counted_and_too_little_is_no_lesson(tmp_path: Path) -> None:
    with taught(tmp_path, WAITS) as (page, _, stage):
        assert page.last["hello"]["can"]["teach"] and page.last["hello"]["can"]["swap"]
        assert "got 0" in page.ask("teach", method="bc")["error"]
        show(page, stage, steps=3)
        page.until(lambda: page.last.get("state", {}).get("recording") is not None)
        page.until(
            lambda: page.last["state"]["recording"] == {"path": str(tmp_path), "episodes": 1, "demonstrated_steps": 3}
        )
        assert phase(page) == "idle"
        assert "got 3" in page.ask("teach", method="bc")["error"]
        assert not list(tmp_path.iterdir())


def test_a_lesson_is_told_of_and_stopped_while_the_world_goes_on(tmp_path: Path) -> None:
    with taught(tmp_path, WAITS) as (page, teacher, stage):
        show(page, stage)
        assert page.ask("teach", method="dagger")["ok"]
        page.until(lambda: page.last["state"]["teach"]["progress"] == 0.5)
        lesson = page.last["state"]["teach"]
        assert (lesson["phase"], lesson["line"], lesson["steps"]) == ("training", "dagger", 12)
        assert (tmp_path / "lesson-1" / "shown.npz").is_file()
        assert "is being learned" in page.ask("teach", method="bc")["error"]
        assert "none" in page.ask("swap", digest="d", approve=True)["error"]
        before = stage.history.tick
        page.ask("play")
        until(lambda: stage.history.tick > before + 20)
        pid = teacher._background.pid  # type: ignore[union-attr]
        assert page.ask("teach_stop")["ok"]
        assert not is_there(pid)
        page.until(lambda: phase(page) == "idle")
        assert "no lesson" in page.ask("teach_stop")["error"]
        assert page.ask("teach", method="bc")["ok"]
        assert (tmp_path / "lesson-2").is_dir()


def test_a_lesson_that_fails_says_why_and_the_world_goes_on(tmp_path: Path) -> None:
    with taught(tmp_path, FAILS) as (page, _, stage):
        show(page, stage)
        assert page.ask("teach", method="bc")["ok"]
        page.until(lambda: phase(page) == "failed")
        assert page.last["state"]["teach"]["line"] == "there is no label"
        assert page.ask("step", ticks=1)["ok"]
        assert page.ask("teach", method="bc")["ok"]


def test_a_process_that_is_killed_from_outside_is_a_lesson_that_failed(tmp_path: Path) -> None:
    with taught(tmp_path, WAITS) as (page, teacher, stage):
        show(page, stage)
        assert page.ask("teach", method="bc")["ok"]
        page.until(lambda: page.last["state"]["teach"]["progress"] == 0.5)
        os.kill(teacher._background.pid, 9)  # type: ignore[union-attr]
        page.until(lambda: phase(page) == "failed")
        assert "exit code -9" in page.last["state"]["teach"]["line"]


def test_the_end_of_the_server_ends_the_lesson(tmp_path: Path) -> None:
    with taught(tmp_path, WAITS) as (page, teacher, stage):
        show(page, stage)
        assert page.ask("teach", method="bc")["ok"]
        pid = teacher._background.pid  # type: ignore[union-attr]
    assert not is_there(pid)
    with pytest.raises(SimulationError):
        teacher.begin("bc")


def test_what_the_process_began_ends_with_it(tmp_path: Path) -> None:
    program = (
        "import json, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(json.dumps({'child': child.pid}), flush=True)\n"
        "child.wait()\n"
    )
    told: list[Mapping[str, Any]] = []
    ended: list[tuple[int, str]] = []
    one = Background(
        (sys.executable, "-c", program),
        {},
        log=tmp_path / "log",
        on_message=told.append,
        on_end=lambda code, line: ended.append((code, line)),
    )
    until(lambda: len(told) == 1)
    one.stop()
    one.stop()
    until(lambda: not is_there(told[0]["child"]))
    assert not is_there(one.pid) and ended == []


def test_the_order_s_stream_ends_with_who_gave_it(tmp_path: Path) -> None:
    """The real process of a lesson ends where the one with the world is gone, however that ended."""
    begun = subprocess.Popen(
        [sys.executable, "-P", "-m", "townlet_runtime.cli.teaching.process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert begun.stdin is not None
    begun.stdin.write(b'{"folder": "' + str(tmp_path).encode() + b'"')
    begun.stdin.close()  # before the order is whole
    assert begun.wait(60.0) != 0


READY = """
import json, sys
order = json.loads(sys.stdin.readline())
print(json.dumps({"phase": "ready", "digest": "d" * 64, "release": "r", "incumbent": "scripted", "allowed": False,
                  "verdict": "HOLD: not shown to be better"}), flush=True)
"""


def test_what_is_decided_before_the_process_has_ended_stays_decided(tmp_path: Path) -> None:
    with taught(tmp_path, READY + "import time\ntime.sleep(2.0)\n") as (page, teacher, stage):
        show(page, stage)
        assert page.ask("teach", method="bc")["ok"]
        page.until(lambda: phase(page) == "ready")
        assert page.ask("swap", digest="d" * 64, approve=False)["ok"]
        until(lambda: teacher._background is None)
        page.until(lambda: phase(page) == "idle")
        assert teacher.state()["phase"] == "idle"


def test_the_next_lesson_waits_for_no_process_that_has_said_what_came_of_it(tmp_path: Path) -> None:
    with taught(tmp_path, READY + "import time\ntime.sleep(600)\n") as (page, teacher, stage):
        show(page, stage)
        assert page.ask("teach", method="bc")["ok"]
        page.until(lambda: phase(page) == "ready")
        first = teacher._background
        assert first is not None and is_there(first.pid)
        assert page.ask("teach", method="dagger")["ok"]
        assert not is_there(first.pid) and teacher._background is not first
        page.until(lambda: page.last["state"]["teach"]["method"] == "dagger" and phase(page) == "ready")


def test_what_the_registry_holds_back_does_not_act_and_a_wrong_digest_is_refused(tmp_path: Path) -> None:
    with taught(tmp_path, READY) as (page, _, stage):
        show(page, stage)
        assert page.ask("teach", method="bc")["ok"]
        page.until(lambda: phase(page) == "ready")
        wrong = page.ask("swap", digest="e" * 64, approve=True)["error"]
        assert "d" * 64 in wrong and "e" * 64 in wrong
        assert "does not let it act: HOLD" in page.ask("swap", digest="d" * 64, approve=True)["error"]
        assert stage.runtimes[AGENTS].active_policy_hash() is None
        assert page.ask("swap", digest="d" * 64, approve=False)["ok"]
        page.until(lambda: phase(page) == "idle")
        assert "turned down by p1" in page.last["state"]["teach"]["line"]
        assert "none" in page.ask("swap", digest="d" * 64, approve=False)["error"]
