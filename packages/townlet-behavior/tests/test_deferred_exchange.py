"""Questions go out and answers come in as the log says, whenever the process was killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deferred_story import Sights, Story, answer_some, configs, repeated
from hypothesis import given, settings
from hypothesis import strategies as st
from minds import CAPACITY, Hand, Life, Seen, controller_of, never
from strategies import EAT, NORTH, Script, through_a_file, view_of

from townlet_behavior import (
    AnswerLog,
    AnswerLogError,
    BehaviorError,
    Budget,
    DeferredConfig,
    SavedState,
    StateError,
)
from townlet_behavior.deferred.log import encode

HERE = Path(__file__).parent
NO_CACHE = DeferredConfig(cache_entries=0)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def lines_of_whole(path: Path) -> list[dict[str, Any]]:
    data = path.read_bytes()
    return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]


def lived(
    path: Path,
    config: DeferredConfig,
    sights: Sights,
    ticks: int,
    *,
    chance: int,
    saved: SavedState | None = None,
    save_at: int = -1,
) -> tuple[Story, SavedState]:
    """A live life, which repeats first what its log holds; and its state before one of its ticks."""
    hand, rng, fallback = Hand(), np.random.default_rng(chance), Script(*[NORTH] * CAPACITY)
    controller = controller_of(hand, config, log=AnswerLog(path), describe=sights, fallback=fallback)
    story = Story(config, sights, controller)
    state: SavedState = {}
    if saved is not None:
        story.life.bridge.restore(saved)
        story.life.tick = sights.tick
    for tick in range(ticks):
        if tick == save_at:
            state = through_a_file(story.life.bridge.save_state())
        answer_some(hand, rng, 0.5)
        story.step()
        story.leave()
    controller.close()
    return story, state


@settings(max_examples=60)
@given(configs, st.integers(0, 2**32), st.integers(0, 19), st.floats(0.0, 1.0), st.booleans())
def test_a_run_that_was_killed_at_any_byte_goes_on_and_is_repeated_as_a_whole(
    config: DeferredConfig, seed: int, save_at: int, cut: float, from_state: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        first, state = lived(path, config, Sights(seed, 3), 20, chance=seed, save_at=save_at)
        whole = path.read_bytes()
        begun, saved = (save_at, state) if from_state else (0, None)
        kept = int(state["controller/answers/log/position"][0]) if from_state else 0
        path.write_bytes(whole[: kept + int(cut * (len(whole) - kept))])
        known = lines_of_whole(path)
        resumed, _ = lived(path, config, Sights(seed, 3, begun), 30 - begun, chance=seed + 1, saved=saved)
        # what was decided before the last line that was left is decided again
        last = max((line["tick"] for line in known[1:]), default=0)
        same = max(last - begun, 0)
        assert resumed.actions[:same] == first.actions[begun : begun + same]
        assert lines_of(path)[: len(known)] == known
        again = repeated(config, Sights(seed, 3, begun), AnswerLog.read(path), 30 - begun, saved)
        assert (again.actions, again.proposers) == (resumed.actions, resumed.proposers)
        assert again.controller.counts == resumed.controller.counts


def eat_all(path: Path, ticks: int = 6, config: DeferredConfig = NO_CACHE) -> list[list[int]]:
    """A run in which every question is answered by eating, at the next tick."""
    hand = Hand()
    with controller_of(hand, config, log=AnswerLog(path)) as controller:
        life, actions = Life(controller), []
        for _ in range(ticks):
            actions += life.actions(1)
            hand.answer_all("eat", tokens=3, note="hungry")
    return actions


def test_the_log_names_agent_ticks_and_what_was_asked(tmp_path: Path) -> None:
    eat_all(tmp_path / "log", 3)
    header, asked, *answered = lines_of(tmp_path / "log")[:6]
    assert header["format"] == "townlet-answers" and header["settings"] == NO_CACHE.document()
    assert (asked["event"], asked["tick"], asked["call"]) == ("asked", 0, 0)
    shown = [question["shown"] for question in asked["questions"]]
    assert answered[1] == {
        **{"event": "answered", "tick": 1, "asked": 0, "call": 0, "question": 1, "slot": 1, "world": 0},
        **{"agent": "agent 1", "shown": shown[1], "action": "eat", "failure": None},
        **{"tokens": 3, "cost": 0.0, "note": "hungry"},
    }


def test_a_log_is_repeated_without_a_mind_and_before_one(tmp_path: Path) -> None:
    path = tmp_path / "log"
    actions = eat_all(path)
    whole = path.read_bytes()
    assert Life(controller_of(None, NO_CACHE, log=AnswerLog.read(path))).actions(6) == actions
    with controller_of(never, NO_CACHE, log=AnswerLog(path)) as controller:
        assert Life(controller).actions(6) == actions
    assert path.read_bytes() == whole


def test_a_repeated_run_that_goes_further_is_told_where_the_log_ends(tmp_path: Path) -> None:
    actions = eat_all(tmp_path / "log")
    life = Life(controller_of(None, NO_CACHE, log=AnswerLog.read(tmp_path / "log")))
    assert life.actions(6) == actions
    life.step()  # nothing is asked while the last questions are open
    life.controller.forget(np.arange(CAPACITY))
    with pytest.raises(
        AnswerLogError, match="tick 7: .*log: agent 'agent 0': nothing happened at this tick, where the"
    ):
        life.step()


def test_what_is_shown_otherwise_than_then_is_an_error_that_names_agent_and_tick(tmp_path: Path) -> None:
    seen, path = Seen(), tmp_path / "log"
    life = Life(controller_of(Hand(), NO_CACHE, log=AnswerLog(path), describe=seen))
    life.step()
    life.controller.close()
    seen.shown = "something else"
    again = Life(controller_of(None, NO_CACHE, log=AnswerLog.read(path), describe=seen))
    with pytest.raises(AnswerLogError, match=r"^tick 0: .*log:2: agent 'agent 0': expected `shown` to be ") as caught:
        again.step()
    assert (caught.value.tick, caught.value.line) == (0, 2)


def changed(path: Path, event: str, **change: Any) -> Path:
    """Change the first line of an event, as a hand would."""
    lines = lines_of(path)
    first = next(line for line in lines if line.get("event") == event)
    first.update(change)
    path.write_bytes(b"".join(encode(line) + b"\n" for line in lines))
    return path


@pytest.mark.parametrize(
    ("event", "change", "problem"),
    [
        ("answered", {"action": "fly"}, "no action has the key 'fly'"),
        ("answered", {"call": 9}, "no such question of call 9 waits for an answer"),
        ("answered", {"question": 4}, "no such question of call 0 waits for an answer"),
        ("answered", {"question": 1}, "the answer is not that of the question of tick 0"),
        ("answered", {"slot": 3}, "the answer is not that of the question of tick 0"),
        ("answered", {"asked": 1}, "the answer is not that of the question of tick 0"),
        ("answered", {"shown": "0" * 64}, "the answer is not that of the question of tick 0"),
        ("answered", {"tick": 0}, "log:3: expected a line of tick 1 or later: the log is not of this run"),
        ("asked", {"call": 1}, "expected `call` to be 1 as it was then, got 0"),
        ("asked", {"tick": 1}, "expected `tick` to be 1 as it was then, got 0"),
        ("asked", {"questions": []}, r"expected `questions` to be \[\] as it was then, got "),
    ],
)
def test_a_log_that_was_changed_is_refused(tmp_path: Path, event: str, change: dict[str, Any], problem: str) -> None:
    eat_all(tmp_path / "log")
    path = changed(tmp_path / "log", event, **change)
    life = Life(controller_of(None, NO_CACHE, log=AnswerLog.read(path)))
    with pytest.raises(AnswerLogError, match=problem):
        life.actions(6)


def test_an_answer_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log"
    eat_all(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], lines[2], *lines[3:]]))
    with pytest.raises(AnswerLogError, match="log:4: agent 'agent 0': answered a second time"):
        Life(controller_of(None, NO_CACHE, log=AnswerLog.read(path))).actions(6)


def test_a_log_of_another_run_is_refused_at_once(tmp_path: Path) -> None:
    eat_all(tmp_path / "log")
    with pytest.raises(AnswerLogError, match="`settings` must be"):
        controller_of(None, DeferredConfig(cache_entries=0, every_ticks=2), log=AnswerLog.read(tmp_path / "log"))
    with pytest.raises(AnswerLogError, match="`capacity` must be 5, got 4"):
        controller_of(None, NO_CACHE, log=AnswerLog.read(tmp_path / "log"), capacity=5)


def test_a_restored_run_goes_on_from_its_place_in_the_log(tmp_path: Path) -> None:
    hand = Hand()
    life = Life(controller_of(hand, NO_CACHE, log=AnswerLog(tmp_path / "log")))
    life.step()
    hand.answer_all("eat")
    state = through_a_file(life.bridge.save_state())
    then = life.actions(1)
    again = Life(controller_of(None, NO_CACHE, log=AnswerLog.read(tmp_path / "log")))
    again.bridge.restore(state)
    assert again.actions(1) == then == [[EAT] * 4]
    sent = sorted(hand.sent)
    life.bridge.restore(state)  # the same one, too: what it asked since then is repeated, not asked
    assert life.actions(1) == then
    assert sorted(hand.sent) == sent


def test_an_answer_to_a_question_from_before_a_restore_is_dropped() -> None:
    hand = Hand()
    life = Life(controller_of(hand, NO_CACHE))
    state = life.bridge.save_state()
    life.step()
    life.bridge.restore(state)
    hand.answer_all("eat")
    life.step()  # asks again, as call 0 of another generation
    assert life.controller.counts.answered == 0
    hand.answer_all("eat")
    life.step()
    assert life.controller.counts.answered == 4


def test_without_a_log_a_restored_run_has_lost_what_was_under_way() -> None:
    config = DeferredConfig(cache_entries=0, run_budget=Budget(calls=6))
    hand, life = Hand(), Life(controller_of(Hand(), config))
    life.step()
    again = Life(controller_of(hand, config))
    again.bridge.restore(through_a_file(life.bridge.save_state()))
    again.step()
    counts = again.controller.counts
    assert (counts.lost, counts.asked, len(hand.sent[1])) == (4, 6, 2)  # the budget was charged for the four


@pytest.mark.parametrize("logged", [True, False])
def test_a_state_with_a_log_and_one_without_are_not_the_same(tmp_path: Path, logged: bool) -> None:
    one = controller_of(Hand(), log=AnswerLog(tmp_path / "one") if logged else None)
    other = controller_of(Hand(), log=None if logged else AnswerLog(tmp_path / "other"))
    with pytest.raises(StateError, match=f"`is_logged` must be {not logged}, got {logged}"):
        other.restore(one.save_state())


def test_a_state_that_knows_more_than_the_log_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log"
    life = Life(controller_of(Hand(), log=AnswerLog(path)))
    life.step()
    state = life.controller.save_state()
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    other = controller_of(Hand(), log=AnswerLog(path))
    before = other.save_state()
    with pytest.raises(AnswerLogError, match=r"expected at least \d+ bytes, which were there, got \d+"):
        other.restore(state)
    assert all(np.array_equal(before[name], array) for name, array in other.save_state().items())


def test_a_state_of_another_config_is_refused() -> None:
    state = controller_of(Hand(), DeferredConfig(every_ticks=2)).save_state()
    with pytest.raises(StateError, match='saved `header` must be {.*"every_ticks":1,'):
        controller_of(Hand()).restore(state)


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from minds import *
from strategies import *
import numpy as np
hand = Hand()
life = Life(controller_of(hand, DeferredConfig(cache_entries=0), log=AnswerLog(sys.argv[1])))
for tick in range(1000):
    if tick == 5:
        np.savez(sys.argv[1] + ".npz", **life.bridge.save_state())
    print(*life.step().action.tolist(), flush=True)
    if tick == 12:
        os.kill(os.getpid(), signal.SIGKILL)
    hand.answer_all("eat" if tick % 3 else "north")
"""


def test_a_killed_process_is_taken_up_from_its_state_and_its_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    command = [sys.executable, "-c", KILLED, str(path), str(HERE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    printed = [[int(word) for word in line.split()] for line in done.stdout.splitlines()]
    assert len(printed) == 13 and {tuple(row) for row in printed} == {(0,) * 4, (EAT,) * 4, (NORTH,) * 4}
    hand = Hand()
    life = Life(controller_of(hand, NO_CACHE, log=AnswerLog(path)))
    with np.load(f"{path}.npz") as arrays:
        life.bridge.restore(dict(arrays))
    assert life.actions(8) == printed[5:]
    assert hand.sent == {}  # without one call
    life.step()
    assert life.controller.counts.lost == 4 and len(hand.sent) == 1
    resumed = [line for line in lines_of(path) if line.get("event") == "resumed"]
    assert resumed == [{"event": "resumed", "tick": 13, "asking": False}]
    again = Life(controller_of(None, NO_CACHE, log=AnswerLog.read(path)))
    assert again.actions(14)[:13] == printed
    assert again.controller.counts == life.controller.counts


def test_of_a_call_whose_answers_were_half_written_the_others_are_lost(tmp_path: Path) -> None:
    path = tmp_path / "log"
    eat_all(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4]) + lines[4][:9])  # two of the four answers of tick 1
    life = Life(controller_of(Hand(), NO_CACHE, log=AnswerLog(path)))
    assert life.actions(2) == [[0, 0, 0, 0], [EAT, EAT, 0, 0]]
    counts = life.controller.counts
    assert (counts.answered, counts.lost, counts.asked) == (2, 2, 8)
    again = Life(controller_of(None, NO_CACHE, log=AnswerLog.read(path)))
    assert again.actions(2) == [[0, 0, 0, 0], [EAT, EAT, 0, 0]]
    assert again.controller.counts == counts


def test_a_log_that_cannot_be_written_stops_the_tick_and_loses_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand, log = Hand(), AnswerLog(tmp_path / "log")
    life = Life(controller_of(hand, NO_CACHE, log=log))
    life.step()
    hand.answer_all("eat")
    with monkeypatch.context() as patch:
        patch.setattr(log, "append", lambda records: (_ for _ in ()).throw(AnswerLogError("log", "full")))
        with pytest.raises(AnswerLogError, match="full"):
            life.step()
    assert life.step().action.tolist() == [EAT] * 4


def test_after_closing_it_can_be_saved_and_asks_nobody(tmp_path: Path) -> None:
    life = Life(controller_of(Hand(), log=AnswerLog(tmp_path / "log")))
    life.step()
    life.controller.close()
    life.controller.close()
    state = life.controller.save_state()
    with pytest.raises(BehaviorError, match="the controller is closed"):
        life.controller.propose(view_of(*range(CAPACITY)))
    again = controller_of(Hand(), log=AnswerLog(tmp_path / "log"))
    again.restore(through_a_file(state))
