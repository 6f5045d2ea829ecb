"""`examples/daily_bread.yaml` is what it says: a chain that the script goes through, and that chance does not."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np

from townlet_runtime.config import bridge_config, load_config, script_config, town_config
from townlet_runtime.core.evaluator import Evaluator
from townlet_runtime.simulation.one_group import OneGroup
from townlet_runtime.town.actions import TABLE
from townlet_runtime.town.objects import OBJECT_TYPES
from townlet_runtime.town.town import Town
from townlet_trajectory.evaluation.interfaces import EpisodeScores

FILE = Path(__file__).resolve().parent.parent / "examples" / "daily_bread.yaml"
LOADED = load_config(FILE, [])
CONFIG = town_config(LOADED.config)
MOST_AT_FIRST = 1.6
"""Money that an agent arrives with, at most."""
NUM_EPISODES = 40


def town(num_worlds: int) -> Town:
    return Town(CONFIG, num_worlds=num_worlds, script=script_config(LOADED.config))


@cache
def scores(name: str) -> EpisodeScores:
    """Of a behavior without weights, in episodes of their own."""
    evaluator = Evaluator(
        lambda num_worlds: OneGroup(town(num_worlds)),
        config=bridge_config(LOADED.config, ratio=1.0),
        seed=0,
        num_worlds=NUM_EPISODES,
    )
    return evaluator.baseline(name, seeds=np.arange(NUM_EPISODES) + 5_000)


def test_every_key_has_an_effect() -> None:
    assert LOADED.warning is None


def test_ingredients_cost_most_of_a_shift() -> None:
    (job,) = CONFIG.jobs
    ticks = (CONFIG.affordances["stove"].cost - MOST_AT_FIRST) / job.wage_rate
    # (7.2 - 1.6) / 0.05 = 112 of the 180 ticks of a shift for the richest, (7.2 - 0.8) / 0.05 = 128 for the poorest
    assert 111 < ticks < 128 < job.end_tick - job.start_tick == 180
    # nothing on the way is rewarded: neither wages nor punctuality, and there is no food that nobody baked
    rewards = CONFIG.rewards
    assert (rewards.wage_rate, rewards.punctuality_bonus, rewards.late_tick_penalty, CONFIG.fridge_stock) == (
        0,
        0,
        0,
        0,
    )


def test_the_script_earns_and_chance_does_not() -> None:
    script, chance, idle = scores("scripted"), scores("random"), scores("idle")
    # measured in 50 to 1,000 episodes: 4.23, 2.98 and 1.78, with deviations of 0.78, 0.58 and 0.54 of an episode: the
    # limits are five deviations of a mean of 40 away
    assert script.mean > 3.6
    assert chance.mean < 3.45
    assert idle.mean < 2.25
    assert np.mean(script.events["meal_events"]) > 2
    # in none of 1,000 episodes of chance was anything baked
    assert np.count_nonzero(chance.events["cook_events"]) <= 3
    assert sum(idle.events["cook_events"]) == 0


def test_the_bed_is_what_chance_finds() -> None:
    slept = {name: np.mean(scores(name).events["sleep_complete_events"]) for name in ("random", "scripted")}
    # measured: 26.3 an episode against 5.2
    assert slept["random"] > 3 * slept["scripted"]


def test_the_steps_come_in_their_order() -> None:
    """Of the script: nothing is bought before it has worked, baked before it is bought, or eaten before it is baked."""
    world = town(1)
    seen = world.reset(seeds=np.array([6]))
    script = world.scripted("scripted")
    stoves = np.flatnonzero(world.place.local_type == OBJECT_TYPES.index("stove"))
    happened: dict[str, list[float]] = {name: [] for name in (*world.spec.event_names, "bought")}
    for _ in range(CONFIG.episode_ticks - 1):
        stock = world.state.stock[stoves].sum()
        stepped = world.step(script.propose(seen))
        seen = stepped.observed
        for name, count in zip(world.spec.event_names, stepped.events[0], strict=True):
            happened[name].append(count)
        happened["bought"].append(max(0, stock - world.state.stock[stoves].sum()))
    worked, bought, baked, ate = (
        np.cumsum(happened[name]) for name in ("worked_ticks", "bought", "cook_events", "meal_events")
    )
    assert ate[-1] >= 2
    assert (ate <= baked).all()
    assert (baked <= bought).all()
    # two agents begin with at most 1.6 each, and each needs 7.2
    assert (bought * 7.2 <= 2 * MOST_AT_FIRST + worked * 0.05 + 1e-9).all()
    first_bought, first_baked = int((bought > 0).argmax()), int((baked > 0).argmax())
    assert worked[first_bought] >= 112
    assert first_baked - first_bought == CONFIG.affordances["stove"].duration - 1


def test_a_stove_is_no_choice_for_the_poor() -> None:
    world = town(1)
    seen = world.reset(seeds=np.array([0]))
    stoves = [TABLE.index(f"request:stove:{way}") for way in ("first", "nearest", "least_busy")]
    assert not seen.action_mask[:, stoves].any()
    world.state.wallet[:] = CONFIG.affordances["stove"].cost
    assert world.restore(world.save_state()).action_mask[:, stoves].all()


def test_a_run_of_it_begins_and_ends(townlet: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
    settings = "training.num_envs=2 training.rollout_ticks=64 training.eval_episodes=10 training.final_episodes=10 "
    settings += "promotion.num_episodes=10 network.hidden_sizes=[8] town.episode_ticks=100"
    said = [word for setting in settings.split() for word in ("--set", setting)]
    done = townlet("train", FILE, "--mode", "ppo", "--total-steps", 400, "--run-dir", tmp_path / "run", "-q", *said)
    assert done.returncode in (0, 1), done.stderr  # 1: it has not become better than the script
    assert (tmp_path / "run" / "report.html").exists()
