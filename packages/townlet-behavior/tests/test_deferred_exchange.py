"""Questions go out and answers come in as the log says, whenever the process was killed."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deferred_story import Sights, Story, answer_some, configs, repeated
from hypothesis import given, settings
from hypothesis import strategies as st
from minds import CAPACITY, Hand, controller_of
from strategies import NORTH, Script, through_a_file

from townlet_behavior import AnswerLog, DeferredConfig, SavedState

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


@pytest.mark.property
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
