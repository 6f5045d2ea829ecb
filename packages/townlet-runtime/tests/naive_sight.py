"""What an agent of the twin sees, feature by feature and cell by cell."""

from __future__ import annotations

import math

import numpy as np
from naive_town import NaiveTown

WAYS = ("first", "nearest", "least_busy")


def features(town: NaiveTown, slot: int, *, arrival_buffer: int, episode_ticks: int) -> dict[str, float]:
    """By name, without the columns of the option in force."""
    agent, config = town.agents[slot], town.config
    day, day_tick = config.ticks_per_day, town.tick % config.ticks_per_day
    seen = dict(zip(("need_hunger", "need_hygiene", "need_energy"), agent.needs, strict=True))
    seen["wallet"] = min(agent.wallet / 2.0, 3.0)
    seen["lateness_counter"] = agent.late / 50.0
    seen.update(_job(town, slot, arrival_buffer))
    seen["time_sin"], seen["time_cos"] = math.sin(2 * math.pi * day_tick / day), math.cos(2 * math.pi * day_tick / day)
    seen["episode_progress"] = town.tick / episode_ticks
    seen.update(_others(town, slot))
    phases = {"in_queue": "line", "reservation_active": "turn", "using_object": "using"}
    seen.update({name: float(agent.phase == phase) for name, phase in phases.items()})
    seen["use_remaining"] = agent.remaining / 30.0
    for name, kind in (("meals_in_town", "fridge"), ("ingredients_in_town", "stove")):
        seen[name] = sum(item.stock for item in town.objects if item.spec.type == kind) / 20.0
    for kind in town.kinds:
        for way in WAYS:
            seen.update({f"{what}_{kind}_{way}": v for what, v in _choice(town, slot, kind, way).items()})
    return seen


def _job(town: NaiveTown, slot: int, arrival_buffer: int) -> dict[str, float]:
    agent, day = town.agents[slot], town.config.ticks_per_day
    job, day_tick = agent.job, town.tick % day
    names = ("on_shift", "has_job", "shift_starts_in", "shift_ends_in", "shift_pre", "at_workplace")
    if job is None:
        return {**dict.fromkeys(names, 0.0), "workplace_distance": 1.0}
    on = job.start_tick <= day_tick < job.end_tick
    steps = abs(agent.x - job.location[0]) + abs(agent.y - job.location[1])
    return {
        "on_shift": float(on),
        "has_job": 1.0,
        "shift_starts_in": max(job.start_tick - day_tick, 0) / day,
        "shift_ends_in": (job.end_tick - day_tick) / day if on else 0.0,
        "shift_pre": float(0 < job.start_tick - day_tick <= arrival_buffer),
        "at_workplace": float(steps == 0),
        "workplace_distance": steps / sum(town.config.grid_size),
    }


def _others(town: NaiveTown, slot: int) -> dict[str, float]:
    agent, minds = town.agents[slot], town.minds
    rivals = minds.rivals[slot]
    cooldown = max(agent.chat_ready_at - town.tick, 0)
    return {
        "extroversion": agent.extroversion,
        "can_chat": float(town.legal(slot, "chat")),
        "chat_cooldown": cooldown / max(1, town.config.social.chat_cooldown_ticks),
        "chat_score": max(town.chat_score(slot), -1.0),
        "rivalry_max": max((minds.rivalry(slot, other) for other in rivals), default=0.0),
        "rivalry_avoid_count": float(sum(minds.avoids(slot, other) for other in rivals)),
        "rival_here": float(town.rival_here(slot)),
    }


def _choice(town: NaiveTown, slot: int, kind: str, way: str) -> dict[str, float]:
    agent = town.agents[slot]
    index = town.choice(agent, kind, way)
    if index is None:
        return {"usable": 0.0, "distance": 1.0, "busy": 0.0, "cooldown": 0.0}
    return {
        "usable": 1.0,
        "distance": town.steps(agent, index) / sum(town.config.grid_size),
        "busy": town.load(index) / 4.0,
        "cooldown": float(agent.cooldowns.get(index, 0) > town.tick),
    }


def window(town: NaiveTown, slot: int) -> np.ndarray:
    """[4, side, side]: itself, other agents, objects, agents at objects."""
    side, agent = town.config.local_window, town.agents[slot]
    seen = np.zeros((4, side, side))
    seen[0, side // 2, side // 2] = 1.0
    for row in range(side):
        for column in range(side):
            cell = (agent.x + column - side // 2, agent.y + row - side // 2)
            seen[1, row, column] = sum(o.cell == cell for s, o in town.agents.items() if s != slot) / 4.0
            for index, item in enumerate(town.objects):
                if item.spec.position == cell:
                    seen[2, row, column] = (town.kinds.index(item.spec.type) + 1) / 4.0
                    seen[3, row, column] = town.load(index) / 4.0
    return seen
