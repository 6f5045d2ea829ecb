"""Lanes to walk along, and the same with one more action, one more feature and one more observation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import (
    ActionVocabulary,
    BatchController,
    Guardrail,
    IdleController,
    SavedState,
    StatelessController,
    View,
)
from townlet_runtime import Observed, SimulationSpec, Stepped
from townlet_runtime.simulation.saved_state import saved_array, saved_number

CELLS, TICKS = 9, 24


@dataclass(eq=False)
class Lanes:
    """One walker in each of W lanes. The last cell pays 1 and leads back to the first; ice makes a step fail."""

    num_worlds: int = 1
    wide: bool = False

    def __post_init__(self) -> None:
        keys = ("wait", "leap", "left", "right") if self.wide else ("wait", "left", "right")
        names = ("ice", "tick", "here") if self.wide else ("tick", "here")
        shapes: dict[str, tuple[int, ...]] = {"features": (len(names),), "cell": (CELLS,)}
        self._keys = keys
        self.spec = SimulationSpec(
            name="wide_lanes" if self.wide else "lanes",
            vocabulary=ActionVocabulary(keys=keys, kinds=("wait", *["move"] * (len(keys) - 1))),
            observation_shapes=shapes | ({"beat": (2,)} if self.wide else {}),
            feature_names=names,
            num_worlds=self.num_worlds,
            capacity=self.num_worlds,
            episode_ticks=TICKS,
            option_ticks={"wait": 0, "move": 0},
        )
        self._cell = np.zeros(self.num_worlds, np.int64)
        self._seeds = np.zeros(self.num_worlds, np.int64)
        self._tick = self._episode = 0

    @property
    def behaviors(self) -> tuple[str, ...]:
        return ("scripted", "idle")

    def reset(self, *, seeds: NDArray[np.int64]) -> Observed:
        self._seeds, self._episode = seeds.copy(), 0
        self._begin()
        return self._observe()

    def step(self, actions: NDArray[np.int64]) -> Stepped:
        moves = np.array([{"wait": 0, "left": -1, "right": 1, "leap": 2}[self._keys[action]] for action in actions])
        self._cell = np.maximum(self._cell + moves * ~self._ice[self._tick], 0)
        arrived = self._cell >= CELLS - 1
        self._cell[arrived] = 0
        self._tick += 1
        over = self._tick == TICKS
        final = self._observations() if over else None
        if over:
            self._episode += 1
            self._begin()
        rows = np.arange(self.num_worlds if over else 0)
        return Stepped(
            rewards=arrived.astype(np.float32),
            truncated=np.full(self.num_worlds, over),
            final_rows=rows,
            final_observations=final or {name: array[:0] for name, array in self._observations().items()},
            observed=self._observe(),
        )

    def scripted(self, name: str) -> BatchController:
        return IdleController(wait=0) if name == "idle" else _Dawdler(self, self._keys.index("right"))

    def guardrails(self) -> Sequence[Guardrail]:
        return ()

    def close(self) -> None:
        """Nothing is held."""

    def save_state(self) -> SavedState:
        numbers = {"tick": self._tick, "episode": self._episode}
        arrays = {"cell": self._cell.copy(), "seeds": self._seeds.copy()}
        return arrays | {name: np.array(number, np.int64) for name, number in numbers.items()}

    def restore(self, state: SavedState) -> Observed:
        self._seeds = saved_array(state, "seeds", dtype=np.int64, shape=(self.num_worlds,))
        self._episode = saved_number(state, "episode")
        self._begin()
        self._cell = saved_array(state, "cell", dtype=np.int64, shape=(self.num_worlds,)).copy()
        self._tick = saved_number(state, "tick")
        return self._observe()

    @property
    def tick(self) -> int:
        return self._tick

    def _begin(self) -> None:
        draws = [np.random.default_rng([seed, self._episode]).random(TICKS + 1) for seed in self._seeds.tolist()]
        self._ice = np.stack(draws, axis=1) < 0.1
        self._cell = np.zeros(self.num_worlds, np.int64)
        self._tick = 0

    def _observations(self) -> dict[str, NDArray[np.float32]]:
        own = {
            "tick": np.full(self.num_worlds, self._tick / TICKS),
            "here": self._cell / CELLS,
            "ice": self._ice[self._tick],
        }
        features = np.stack([own[name] for name in self.spec.feature_names], axis=1).astype(np.float32)
        beat = np.tile(np.eye(2, dtype=np.float32)[self._tick % 2], (self.num_worlds, 1))
        seen = {"features": features, "cell": np.eye(CELLS, dtype=np.float32)[self._cell]}
        return seen | ({"beat": beat} if self.wide else {})

    def _observe(self) -> Observed:
        worlds = np.arange(self.num_worlds)
        return Observed(
            slots=worlds,
            agent_ids=np.full(self.num_worlds, "walker", object),
            worlds=worlds,
            episodes=worlds + self._episode * self.num_worlds,
            observations=self._observations(),
            action_mask=self._mask(),
        )

    def _mask(self) -> NDArray[np.bool_]:
        mask = np.ones((self.num_worlds, len(self._keys)), np.bool_)
        mask[:, self._keys.index("left")] = self._cell > 0
        if self.wide:
            mask[:, self._keys.index("leap")] = self._cell < CELLS - 3
        return mask


@dataclass(frozen=True, eq=False)
class _Dawdler(StatelessController):
    """Steps right on every second tick."""

    lanes: Lanes
    right: int

    def propose(self, view: View) -> NDArray[np.int64]:
        return np.full(len(view.slots), self.right if self.lanes.tick % 2 == 0 else 0)


class WideLanes(Lanes):
    """`Lanes` with one more of each."""

    def __init__(self, num_worlds: int = 1) -> None:
        super().__init__(num_worlds, wide=True)
