"""A whole lesson by the commands that there are: shown by a person, learned beside the world, compared, let act."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_live_serve import Page

from townlet_behavior import Source
from townlet_runtime.policy.onnx import OnnxPolicy
from townlet_trajectory import ACTION_MASK, PromotionRegistry
from townlet_trajectory.formats.batch_file import load_batch

pytest.importorskip("townlet_training")

RUN = Path("lessons", "lesson-1", "run")
QUICK = ("promotion.num_episodes=10", "promotion.required_passes=1", "promotion.num_resamples=200")


@contextmanager
def live(folder: Path, *arguments: str) -> Iterator[Page]:
    """Serve the signs with lessons and a recording; what is recorded is there when the block has ended."""
    settings = [part for each in QUICK for part in ("--set", each)]
    command = [sys.executable, "-m", "townlet_runtime", "live", "--env", "signs:Signs", "--port", "0"]
    command += ["--teach", "lessons", "--record", "npz:shown", "--ticks-per-second", "1000", *settings, *arguments]
    (folder / "signs.py").write_bytes((Path(__file__).parent / "signs.py").read_bytes())
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    found = next((one for line in process.stderr if (one := re.search(r"http://\S+", line))), None)
    assert found is not None, process.wait()
    page = Page(found.group(0))
    try:
        yield page
        page.close()
    finally:
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait(30.0) == 128 + signal.SIGINT, said


def show(page: Page, *, ticks: int) -> None:
    """Follow the signs of two walkers, who are free again after every episode of ten ticks."""
    page.ask("pause")
    page.ask("reset", seed=1)  # at the beginning of an episode
    for _ in range(ticks):
        for agent, action in (("walker_0", "left"), ("walker_1", "right")):
            page.ask("acquire", agent=agent)
            assert page.ask("feed", agent=agent, action=action)["ok"]
        before = page.last["state"]["recording"]["demonstrated_steps"]
        page.ask("step", ticks=1)
        page.until(lambda before=before: page.last["state"]["recording"]["demonstrated_steps"] == before + 2)


def teach(page: Page, method: str) -> dict[str, Any]:
    assert page.ask("teach", method=method)["ok"]
    page.until(lambda: page.last["state"]["teach"]["phase"] in ("ready", "failed"), seconds=240.0)
    lesson: dict[str, Any] = page.last["state"]["teach"]
    assert lesson["phase"] == "ready", lesson
    return lesson


def test_what_a_person_showed_is_learned_compared_and_acts(tmp_path: Path) -> None:
    with live(tmp_path) as page:
        page.until(lambda: "state" in page.last)
        assert page.last["hello"]["policy"] is None
        show(page, ticks=40)
        lesson = teach(page, "dagger")
        # One episode in five is held out, and two signs are learned in no time; the script waits before both.
        assert lesson["agreement"] == {"before": 0.0, "after": 1.0, "held_out_steps": 20}
        assert (lesson["steps"], lesson["episodes"]) == (80, 4)
        comparison = lesson["comparison"]
        assert (comparison["before"], comparison["after"], comparison["episodes"]) == (0.0, 10.0, 10)
        assert lesson["verdict"].startswith("PROMOTE: better than scripted") and lesson["allowed"]
        registry = PromotionRegistry(tmp_path / "lessons" / "registry")
        assert registry.state().live == "scripted"

        digest = lesson["digest"]
        assert page.ask("swap", digest=digest, approve=True)["ok"]
        page.until(lambda: page.last["state"]["policy"] == digest)
        state, said = page.last["state"], page.last["state"]["teach"]
        assert (state["ratio"], said["phase"], said["line"]) == (1.0, "idle", "acts since p1 approved")
        release = registry.state().live
        assert registry.release_files(release)["policy.onnx"] == OnnxPolicy.load(tmp_path / RUN / "policy.onnx").data
        before = page.tick
        page.ask("step", ticks=5)
        page.until(lambda: page.tick == before + 5)

        # The next lesson begins with it, is compared with it, and is stopped with all that it began.
        show(page, ticks=10)
        assert page.ask("teach", method="bc")["ok"]
        page.until(lambda: page.last["state"]["teach"]["phase"] == "training")
        assert page.ask("teach_stop")["ok"]
        page.until(lambda: page.last["state"]["teach"]["phase"] == "idle")

    batch = load_batch(next((tmp_path / "shown").glob("*.npz")))
    number, source = batch.columns["policy_number"], batch.columns["source"]
    after = batch.ticks > before
    assert not number[~after].any() and number[after].all()
    mine = after & (source == Source.LEARNED)
    signs = batch.observations["features"][mine, 0]
    right = np.where(signs < 0, 1, 2)
    # Recorded actions are drawn, and the policy is all but sure; what it thinks best is right everywhere.
    assert len(signs) > 0 and (batch.columns["action"][mine] == right).mean() > 0.75
    seen = {name: array[mine] for name, array in batch.observations.items()}
    policy = OnnxPolicy.load(tmp_path / RUN / "policy.onnx")
    best = policy.act(seen, seen.pop(ACTION_MASK, np.ones((len(signs), 3), np.bool_)))[0].argmax(axis=1)
    np.testing.assert_array_equal(best, right)


@pytest.mark.thorough
def test_a_sitting_that_begins_with_a_policy_compares_with_it(tmp_path: Path) -> None:
    with live(tmp_path) as page:
        show(page, ticks=20)
        teach(page, "bc")
    policy = str(tmp_path / RUN)
    another = tmp_path / "another"
    another.mkdir()
    with live(another, "--policy", policy) as page:
        show(page, ticks=20)
        lesson = teach(page, "dagger")
        assert lesson["agreement"]["before"] == lesson["agreement"]["after"] == 1.0
        assert lesson["comparison"]["before"] == lesson["comparison"]["after"] == 10.0
        assert lesson["verdict"].startswith("HOLD") and not lesson["allowed"]
        refused = page.ask("swap", digest=lesson["digest"], approve=True)
        assert "does not let it act" in refused["error"]
        assert not (another / "lessons" / "script").exists()


def test_a_world_of_several_groups_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "townlet_runtime", "live", "--group", "few=2", "--teach", "lessons"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "--teach" in ended.stderr and "one group of agents" in ended.stderr
