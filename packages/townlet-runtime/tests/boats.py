"""Boats on ponds: actions of each kind, an image, things whose number varies, and a state that only a critic sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import (
    BatchController,
    Box,
    Guardrail,
    IdleController,
    MultiDiscrete,
    SavedState,
    StatelessController,
    Verdicts,
)
from townlet_runtime import Observed, SimulationSpec, Stepped
from townlet_runtime.simulation.interface import ActionArray, Observations
from townlet_runtime.simulation.saved_state import saved_array

Kind = Literal["numbers", "parts"]
BOATS, TICKS, SIDE = 3, 8, 4
NEAR = 0.15
NUMBERS = Box(names=("east", "north"), low=(-0.5, -0.25), high=(0.5, 0.5))
PARTS = MultiDiscrete(parts={"east": ("rest", "west", "east"), "north": ("rest", "north")})
STEPS = np.array([0.0, -0.25, 0.25])
"""Of the values of part `east`; of part `north` the first and the last."""


class Boats:
    """Three boats on each pond [-1, 1]², each with a buoy of its own: who is near it is home, and gone.

    A boat sees where its buoy is, the boats that are there, and the pond as a picture. A pond begins anew after eight
    ticks, or when all boats are home.

    Args:
        kind: of the actions.
        num_worlds: ponds.
        masked: whether parts that would lead ashore are illegal.
    """

    def __init__(self, kind: Kind = "numbers", num_worlds: int = 2, *, masked: bool = False) -> None:
        self.kind, self.masked = kind, masked
        self.spec = SimulationSpec(
            name="boats",
            actions=NUMBERS if kind == "numbers" else PARTS,
            observation_shapes={
                "features": (2,),
                "boats": (BOATS - 1, 2),
                "boats_mask": (BOATS - 1,),
                "pond": (1, SIDE, SIDE),
            },
            critic_shapes={"state": (BOATS * 3,)},
            observation_kinds={"boats": "entities", "pond": "image"},
            feature_names=("buoy_east", "buoy_north"),
            num_worlds=num_worlds,
            capacity=BOATS * num_worlds,
            episode_ticks=TICKS,
            event_names=("home",),
            reward_terms=("nearer",),
        )
        self._arrays: dict[str, NDArray[Any]] = {}

    @property
    def behaviors(self) -> tuple[str, ...]:
        return ("scripted", "idle")

    def scripted(self, name: str) -> BatchController:
        return IdleController(wait=self.spec.action_spec.wait) if name == "idle" else Helmsman(self.kind)

    def guardrails(self) -> Sequence[Guardrail]:
        return (NoFullSpeed(self.kind),)

    def reset(self, *, seeds: NDArray[np.int64]) -> Observed:
        slots, worlds = self.spec.capacity, self.spec.num_worlds
        self._arrays = {
            "seeds": seeds.copy(),
            "episode": np.full(worlds, -1),
            "age": np.zeros(worlds, np.int64),
            "there": np.zeros(slots, np.bool_),
            "place": np.zeros((slots, 2)),
            "buoy": np.zeros((slots, 2)),
        }
        self._begin(range(worlds))
        return self._observed()

    def step(self, actions: ActionArray) -> Stepped:
        arrays, rows = self._arrays, np.flatnonzero(self._arrays["there"])
        assert actions.shape == (len(rows), 2)
        assert actions.dtype == (np.float32 if self.kind == "numbers" else np.int64)
        before = self._distance()[rows]
        steps = actions if self.kind == "numbers" else STEPS[actions * [1, 2]]
        arrays["place"][rows] = np.clip(arrays["place"][rows] + steps, -1, 1)
        nearer, home = before - self._distance()[rows], self._distance()[rows] < NEAR
        arrays["age"] += 1
        pond = rows // BOATS
        late = ~home & (arrays["age"][pond] == TICKS)
        over = home | late
        final = self._observations(rows[over])
        arrays["there"][rows[over]] = False
        self._begin(np.flatnonzero(~arrays["there"].reshape(-1, BOATS).any(axis=1)).tolist())
        return Stepped(
            rewards=nearer.astype(np.float32) + home,
            terminated=home,
            truncated=late,
            final_rows=np.flatnonzero(over),
            final_observations=final,
            events=np.bincount(pond[home], minlength=self.spec.num_worlds)[:, None],
            reward_terms={"nearer": nearer},
            observed=self._observed(),
        )

    def save_state(self) -> SavedState:
        return {name: array.copy() for name, array in self._arrays.items()}

    def restore(self, state: SavedState) -> Observed:
        self._arrays = {
            name: saved_array(state, name, dtype=array.dtype.type, shape=array.shape)
            for name, array in self._arrays.items()
        }
        return self._observed()

    def _begin(self, ponds: Sequence[int]) -> None:
        for pond in ponds:
            self._arrays["episode"][pond] += 1
            self._arrays["age"][pond] = 0
            generator = np.random.default_rng([self._arrays["seeds"][pond], self._arrays["episode"][pond]])
            own = slice(BOATS * pond, BOATS * (pond + 1))
            self._arrays["there"][own] = True
            self._arrays["place"][own], self._arrays["buoy"][own] = generator.uniform(-0.8, 0.8, (2, BOATS, 2))

    def _distance(self) -> NDArray[np.float64]:
        distance: NDArray[np.float64] = np.abs(self._arrays["place"] - self._arrays["buoy"]).max(axis=1)
        return distance

    def _observed(self) -> Observed:
        slots = np.flatnonzero(self._arrays["there"])
        worlds = slots // BOATS
        return Observed(
            slots=slots,
            agent_ids=np.array([f"boat_{slot % BOATS}" for slot in slots.tolist()], object),
            observations=self._observations(slots),
            episodes=self._arrays["episode"][worlds] * self.spec.num_worlds + worlds,
            action_mask=self._mask(slots) if self.masked else None,
        )

    def _mask(self, slots: NDArray[np.int64]) -> NDArray[np.bool_]:
        east, north = self._arrays["place"][slots].T
        legal = np.ones((len(slots), 5), np.bool_)
        legal[:, 1], legal[:, 2], legal[:, 4] = east > -0.75, east < 0.75, north < 0.75
        return legal

    def _observations(self, slots: NDArray[np.int64]) -> Observations:
        place, buoy, there = (self._arrays[name] for name in ("place", "buoy", "there"))
        seen = {name: np.zeros((len(slots), *shape), np.float32) for name, shape in self.spec.seen_shapes.items()}
        for row, slot in enumerate(slots.tolist()):
            pond = np.arange(slot // BOATS * BOATS, slot // BOATS * BOATS + BOATS)
            others = pond[(pond != slot) & there[pond]]
            seen["features"][row] = buoy[slot] - place[slot]
            seen["boats"][row, : len(others)] = place[others] - place[slot]
            seen["boats_mask"][row, : len(others)] = 1.0
            cells = ((place[pond] + 1) * (SIDE / 2 - 1e-6)).astype(int)
            seen["pond"][row, 0, cells[:, 0], cells[:, 1]] = 1.0
            seen["state"][row] = np.column_stack([place[pond], there[pond]]).ravel()
        return seen


class Helmsman(StatelessController):
    """Steers for the buoy; says nothing where it is south of the boat and there is no way there but east and west."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def propose(self, view: Observed) -> ActionArray:
        way = view.observations["features"]
        if self._kind == "numbers":
            low, high = NUMBERS.bounds
            numbers: NDArray[np.float32] = np.clip(way, low, high)
            numbers[way[:, 1] < -0.5] = np.nan
            return numbers
        east = np.where(np.abs(way[:, 0]) < 0.125, 0, np.where(way[:, 0] < 0, 1, 2))
        parts = np.column_stack([east, way[:, 1] > 0.125]).astype(np.int64)
        parts[way[:, 1] < -0.5] = -1
        return parts


class NoFullSpeed:
    """Vetoes steps to the north at full speed near the northern shore. A `Guardrail`."""

    reasons = ("shore",)

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def review(self, view: Observed, actions: ActionArray) -> Verdicts:
        fast = actions[:, 1] > 0.4 if self._kind == "numbers" else actions[:, 1] == 1
        own = view.slots % BOATS
        north = view.observations["state"].reshape(-1, BOATS, 3)[np.arange(len(own)), own, 1]
        vetoed = fast & (north > 0.7)
        replacement = np.where(vetoed[:, None] & np.array([False, True]), actions.dtype.type(0), actions)
        return Verdicts(vetoed=vetoed, replacement=replacement, reason=np.zeros(len(own), np.int8))

    def settled(self, view: Any, decisions: Any) -> None:
        """Nothing follows."""
