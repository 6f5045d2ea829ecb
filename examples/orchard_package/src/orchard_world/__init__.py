"""An orchard whose pickers fill baskets: a world of arrays, two scripts, a rule, and sinks of steps and telemetry."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import ActionVocabulary, SavedState, StatelessGuardrail, Verdicts
from townlet_runtime import ObservationController, Observed, SimulationSpec, Stepped, TelemetryRecord
from townlet_trajectory import BatchSink, DatasetInfo, TrajectoryBatch, TrajectorySchema

ACTIONS = ActionVocabulary(keys=("rest", "left", "right", "empty"), kinds=("wait", "pick", "pick", "walk"))
REST, LEFT, RIGHT, EMPTY = range(4)
ROOM, WALK = 2.0, 0.1


class Orchard:
    """Pickers see the fruit on their left and right, and how full their basket is; what they pick into it is theirs.

    Args:
        num_worlds: orchards side by side.
        pickers: in each of them.
        ticks: of an episode.
    """

    def __init__(self, num_worlds: int, pickers: int = 4, ticks: int = 40) -> None:
        self._ids = [f"picker_{number}" for number in range(pickers)] * num_worlds
        self.spec = SimulationSpec(
            name="orchard",
            vocabulary=ACTIONS,
            observation_shapes={"sight": (3,)},
            num_worlds=num_worlds,
            capacity=len(self._ids),
            episode_ticks=ticks,
            event_names=("picked", "spilled"),
            reward_terms=("fruit", "walking"),
        )

    def reset(self, *, seeds: NDArray[np.int64]) -> Observed:
        self._seeds, self._tick, self._full = seeds.copy(), 0, np.zeros(len(self._ids))
        return self._observe()

    def step(self, actions: NDArray[np.int64]) -> Stepped:
        hanging = np.where(actions == LEFT, self._fruit[:, 0], np.where(actions == RIGHT, self._fruit[:, 1], 0.0))
        fits, walking = self._full < ROOM, np.where(actions == EMPTY, -WALK, 0.0)
        fruit, spilled = np.where(fits, hanging, 0.0), ~fits & (hanging > 0.0)
        self._full = np.where(actions == EMPTY, 0.0, self._full + fruit)
        self._tick += 1
        over = self._tick % self.spec.episode_ticks == 0
        last = self._sight()
        if over:
            self._full = np.zeros(len(self._ids))
        counts = np.stack([fruit > 0.0, spilled], axis=1).reshape(self.spec.num_worlds, -1, 2).sum(axis=1)
        return Stepped(
            rewards=(fruit + walking).astype(np.float32),
            truncated=np.full(len(self._ids), over),
            final_observations={"sight": last} if over else {},
            events=counts,
            reward_terms={"fruit": fruit.astype(np.float32), "walking": walking.astype(np.float32)},
            observed=self._observe(),
        )

    def save_state(self) -> SavedState:
        return {"seeds": self._seeds.copy(), "tick": np.array(self._tick), "full": self._full.copy()}

    def restore(self, state: SavedState) -> Observed:
        self._seeds, self._tick, self._full = state["seeds"].copy(), int(state["tick"]), state["full"].copy()
        return self._observe()

    def render(self) -> str:
        return "\n".join(f"{name}: {'#' * round(10 * full)}" for name, full in zip(self._ids, self._full, strict=True))

    def _sight(self) -> NDArray[np.float32]:
        return np.column_stack([self._fruit, self._full / ROOM]).astype(np.float32)

    def _observe(self) -> Observed:
        each = len(self._ids) // self.spec.num_worlds
        rngs = [np.random.default_rng([int(seed), self._tick]) for seed in self._seeds]
        self._fruit = np.concatenate([rng.random((each, 2)) for rng in rngs])
        ids = np.array(self._ids, np.object_)
        return Observed(slots=np.arange(len(ids)), agent_ids=ids, observations={"sight": self._sight()})


def _left_first(sight: Mapping[str, NDArray[np.float32]], agent_id: str) -> int:
    return LEFT


def _careful(sight: Mapping[str, NDArray[np.float32]], agent_id: str) -> int:
    left, _, full = sight["sight"]
    return EMPTY if full >= 1.0 else LEFT if left > 0.2 else REST


def left_first(spec: SimulationSpec) -> ObservationController:
    """Always picks on the left, full basket or not."""
    return ObservationController(_left_first)


def careful(spec: SimulationSpec) -> ObservationController:
    """Empties a full basket, and leaves the last fruit hanging."""
    return ObservationController(_careful)


class NoSpilling(StatelessGuardrail):
    """Sends a picker with a full basket to empty it."""

    reasons = ("full_basket",)

    def review(self, view: Observed, actions: NDArray[np.int64]) -> Verdicts:
        vetoed = (view.observations["sight"][:, 2] >= 1.0) & ((actions == LEFT) | (actions == RIGHT))
        return Verdicts(vetoed=vetoed, replacement=np.full_like(actions, EMPTY), reason=np.zeros(len(actions), np.int8))


def no_spilling(spec: SimulationSpec) -> NoSpilling:
    """The rule, for any group of pickers."""
    return NoSpilling()


@contextmanager
def csv_lines(target: str, *, schema: TrajectorySchema, info: DatasetInfo) -> Iterator[BatchSink]:
    """Write agent, tick, action and reward of every step as a line: `--record csv:FILE`."""
    with open(target, "w", encoding="utf-8") as stream:
        yield _Lines(stream)


class _Lines:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, batch: TrajectoryBatch) -> None:
        for index in range(len(batch)):
            one = batch.trajectory(index)
            for tick, action, reward in zip(one.ticks, one.columns["action"], one.rewards, strict=True):
                print(one.agent_id, tick, ACTIONS.keys[action], f"{reward:.3f}", sep=",", file=self._stream)


class StatsD:
    """Send telemetry to a dashboard that speaks StatsD, by UDP: `--telemetry statsd:HOST:PORT`."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._address = host, int(port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def write(self, record: TelemetryRecord) -> None:
        counts = {**record.ticks_by_source, "vetoes": sum(record.vetoes_by_reason.values())}
        lines = [f"townlet.tick:{record.tick_ms_p99:.3f}|ms", f"townlet.agents:{record.agents}|g"]
        lines += [f"townlet.{name}:{count}|c" for name, count in counts.items()]
        self._socket.sendto("\n".join(lines).encode(), self._address)

    def close(self) -> None:
        self._socket.close()
