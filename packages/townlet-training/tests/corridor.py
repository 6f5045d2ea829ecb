"""A small world to train in: corridors of five cells, a script that dawdles, and a better way to learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from townlet_training.config import ONE_GROUP
from townlet_training.learning.config import PPOConfig
from townlet_training.learning.ppo import PPOLearner
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.config import NetworkConfig
from townlet_training.network.spec import PolicySpec
from townlet_training.run.metrics import CONTRACT_KEYS, OWN_KEYS, TOWN_KEYS
from townlet_trajectory import ArraySpec, Kind, Source, TrajectoryBatch, TrajectorySchema, default_decision_columns
from townlet_trajectory.evaluation.interfaces import Actor, Collected, EpisodeScores

WAIT, LEFT, RIGHT = range(3)
NUM_CELLS = 5
CLOCK = 4
HORIZON = 24
SLIP = 0.1
MIN_RATIO = 0.1

SPEC = PolicySpec(
    world="corridor",
    vocabulary=("wait", "left", "right"),
    observation_shapes={"cell": (NUM_CELLS,), "clock": (CLOCK,)},
)

TOWN_EVENTS = dict.fromkeys(
    [key for key in (*CONTRACT_KEYS, *OWN_KEYS) if key in TOWN_KEYS and key != "chat_quality_mean"], 0.0
)
"""Every event that a key of the log is made of."""


def agents(actor: Actor) -> dict[str, Actor]:
    """`actor` for the only group."""
    return {ONE_GROUP: actor}


def scores(returns: Sequence[float], first_seed: int = 2**31) -> EpisodeScores:
    return EpisodeScores.of(returns=returns, seeds=first_seed + np.arange(len(returns)))


class Corridors:
    """W corridors. Reaching the last cell earns 1 and leads back to the first; a step right slips now and then.

    World w draws from `seed + w` alone, and begins a new episode every `HORIZON` ticks.
    """

    def __init__(self, num_worlds: int, seed: int) -> None:
        self.rngs = [np.random.default_rng([seed + world]) for world in range(num_worlds)]
        self.cell = np.zeros(num_worlds, np.int64)
        self.age = 0

    def observe(self) -> dict[str, NDArray[np.float32]]:
        clock = np.full(len(self.cell), self.age % CLOCK)
        return {
            "cell": np.eye(NUM_CELLS, dtype=np.float32)[self.cell],
            "clock": np.eye(CLOCK, dtype=np.float32)[clock],
        }

    def mask(self) -> NDArray[np.bool_]:
        mask = np.ones((len(self.cell), 3), np.bool_)
        mask[:, LEFT] = self.cell > 0
        return mask

    def step(self, actions: NDArray[np.int64]) -> tuple[NDArray[np.float32], bool]:
        slips = np.array([rng.random() < SLIP for rng in self.rngs])
        moves = np.select([actions == LEFT, (actions == RIGHT) & ~slips], [-1, 1], 0)
        self.cell = self.cell + moves
        arrived = self.cell == NUM_CELLS - 1
        self.cell[arrived] = 0
        self.age += 1
        return arrived.astype(np.float32), self.age % HORIZON == 0

    def begin_episode(self) -> None:
        self.cell[:] = 0

    def save_state(self) -> dict[str, NDArray[np.generic]]:
        generators = np.stack([generator_state(rng) for rng in self.rngs])
        return {"cell": self.cell.copy(), "age": np.array(self.age), "generators": generators}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        self.cell, self.age = state["cell"].copy(), int(state["age"])
        for rng, numbers in zip(self.rngs, state["generators"], strict=True):
            set_generator_state(rng, numbers)


def generator_state(rng: np.random.Generator) -> NDArray[np.uint64]:
    """[6]: two words of PCG64's state, two of its increment, and half a word that is left over."""
    state = rng.bit_generator.state
    words = [word for number in state["state"].values() for word in divmod(number, 2**64)]
    return np.array([*words, state["has_uint32"], state["uinteger"]], np.uint64)


def set_generator_state(rng: np.random.Generator, numbers: NDArray[np.uint64]) -> None:
    """The inverse of `generator_state`."""
    high, low, more_high, more_low, left_over, half = (int(number) for number in numbers)
    rng.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": high * 2**64 + low, "inc": more_high * 2**64 + more_low},
        "has_uint32": left_over,
        "uinteger": half,
    }


def scripted(observations: dict[str, NDArray[np.float32]], every: int = 2) -> NDArray[np.int64]:
    """Right on every second (or fourth) tick of the clock, else wait."""
    clock = observations["clock"].argmax(axis=1)
    return np.where(clock % every == 0, RIGHT, WAIT)


def network(seed: int = 0, hidden_sizes: tuple[int, ...] = (8,), config: NetworkConfig | None = None) -> ActorCritic:
    """A fresh network for corridors."""
    return ActorCritic(
        SPEC.observation_shapes,
        len(SPEC.vocabulary),
        config or NetworkConfig(hidden_sizes=hidden_sizes),
        generator=torch.Generator().manual_seed(seed),
    )


def learner(of: ActorCritic, seed: int = 0) -> PPOLearner:
    """A learner of `of` with a generator of its own."""
    config = PPOConfig(learning_rate=3e-3, num_minibatches=2, num_epochs=2)
    return PPOLearner(of, config=config, generator=torch.Generator().manual_seed(seed))


def sampled(log_probs: NDArray[np.float32], uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
    return (np.exp(log_probs.astype(np.float64)).cumsum(axis=1) < uniforms[:, None]).sum(axis=1).clip(max=2)


class CorridorCollector:
    """A `Collector` over corridors that live on from one collection to the next."""

    def __init__(self, num_worlds: int, *, seed: int) -> None:
        self.worlds = Corridors(num_worlds, seed)
        self.rng = np.random.default_rng([seed, 1])
        self.tick = 0
        self.ratios: list[float] = []

    def save_state(self) -> Mapping[str, NDArray[np.generic]] | None:
        worlds = {f"worlds/{name}": array for name, array in self.worlds.save_state().items()}
        return worlds | {"generator": generator_state(self.rng), "tick": np.array(self.tick), "name": np.array("corr")}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        assert str(state["name"]) == "corr"
        self.worlds.restore({name.removeprefix("worlds/"): state[name] for name in state if name.startswith("worlds/")})
        set_generator_state(self.rng, state["generator"])
        self.tick = int(state["tick"])

    def collect(self, actors: Mapping[str, Actor] | None, *, num_ticks: int, ratio: float) -> Collected:
        actor = None if actors is None else actors[ONE_GROUP]
        self.ratios.append(ratio)
        worlds, size = self.worlds, len(self.worlds.cell)
        rows: dict[str, list[NDArray[np.generic]]] = {}
        ends: list[tuple[int, bool, dict[str, NDArray[np.float32]]]] = []
        first_tick, episode, events = self.tick, self.tick // HORIZON, 0.0
        episodes = [episode]
        for step in range(num_ticks):
            observations, mask = worlds.observe(), worlds.mask()
            columns = self._decide(actor, observations, mask, ratio)
            rewards, over = worlds.step(columns["action"])
            events += float(rewards.sum())
            for name, values in {**observations, "action_mask": mask, **columns, "rewards": rewards}.items():
                rows.setdefault(name, []).append(values)
            self.tick += 1
            if over or step == num_ticks - 1:
                ends.append((step + 1, over, worlds.observe()))
                if over:
                    worlds.begin_episode()
                    episodes.append(episodes[-1] + 1)
        batch = _batch({name: np.stack(values, axis=1) for name, values in rows.items()}, ends, episodes, first_tick)
        decisions = batch.columns["source"]
        by_source = {source.name.lower(): int((decisions == source).sum()) for source in Source}
        return Collected(
            batches={ONE_GROUP: batch},
            events=TOWN_EVENTS
            | {"meal_events": events, "queue_conflict_events": 2.0, "queue_conflict_intensity_sum": 3.0},
            decisions_by_source=by_source,
            ticks_by_source=by_source,
            vetoes=0,
            env_steps=num_ticks * size,
            agent_steps=num_ticks * size,
        )

    def _decide(
        self,
        actor: Actor | None,
        observations: dict[str, NDArray[np.float32]],
        mask: NDArray[np.bool_],
        ratio: float,
    ) -> dict[str, NDArray[np.generic]]:
        expert = scripted(observations)
        size = len(expert)
        zeros = {name: np.zeros(size, spec.numpy_dtype) for name, spec in default_decision_columns().items()}
        common = zeros | {
            "expert_action": expert,
            "held_action": np.full(size, -1),
            "ratio": np.full(size, ratio, np.float32),
        }
        if actor is None:
            foreign = np.full(size, Kind.FOREIGN, np.int8)
            return common | {"action": expert, "chosen_action": expert, "kind": foreign}
        log_probs, values = actor.act(observations, mask)
        own = sampled(log_probs, self.rng.random(size))
        learned = self.rng.random(size) < ratio
        chosen = np.where(learned, own, expert)
        policy = log_probs[np.arange(size), chosen]
        mixture = np.log(ratio * np.exp(policy.astype(np.float64)) + (1.0 - ratio) * (chosen == expert))
        return common | {
            "action": chosen,
            "chosen_action": chosen,
            "kind": np.full(size, Kind.DECISION if ratio >= MIN_RATIO else Kind.FOREIGN, np.int8),
            "source": np.where(learned, Source.LEARNED, Source.SCRIPTED).astype(np.int8),
            "behavior_log_prob": mixture.astype(np.float32),
            "policy_log_prob": policy,
            "value": values,
        }


def _batch(
    table: dict[str, NDArray[np.generic]],
    ends: list[tuple[int, bool, dict[str, NDArray[np.float32]]]],
    episodes: list[int],
    first_tick: int,
) -> TrajectoryBatch:
    """Cut columns [W, T, ...] into one trajectory per world and episode."""
    size, num_ticks = table["rewards"].shape
    lengths = np.tile(np.diff([0, *(end for end, _, _ in ends)]), size)
    flat = {name: values.reshape(size * num_ticks, *values.shape[2:]) for name, values in table.items()}
    names = default_decision_columns()
    shapes = {name: ArraySpec("float32", shape) for name, shape in SPEC.observation_shapes.items()}
    final = {
        name: np.stack([observed[name] for _, _, observed in ends], axis=1).reshape(-1, *shapes[name].shape)
        for name in shapes
    }
    agent_ids = np.empty(len(lengths), object)
    agent_ids[:] = "walker"
    return TrajectoryBatch(
        schema=TrajectorySchema(
            observations=shapes | {"action_mask": ArraySpec("bool", (3,))},
            decisions=names,
            vocabulary=SPEC.vocabulary,
        ),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        observations={name: flat[name] for name in (*shapes, "action_mask")},
        final_observations=final | {"action_mask": np.ones((len(lengths), 3), np.bool_)},
        columns={name: flat[name].astype(spec.numpy_dtype) for name, spec in names.items()},
        rewards=flat["rewards"].astype(np.float32),
        ticks=np.tile(first_tick + np.arange(num_ticks), size),
        terminated=np.zeros(len(lengths), np.bool_),
        truncated=np.tile([over for _, over, _ in ends], size),
        agent_ids=agent_ids,
        worlds=np.repeat(np.arange(size), len(ends)),
        episodes=np.tile(episodes[: len(ends)], size),
    )


class CorridorEvaluator:
    """An `Evaluator` over episodes of `HORIZON` ticks; it remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, int]] = []

    def evaluate(self, actors: Mapping[str, Actor], *, seeds: NDArray[np.int64], sample: bool) -> EpisodeScores:
        actor, first_seed, num_episodes = actors[ONE_GROUP], int(seeds[0]), len(seeds)
        self.asked.append(("policy", first_seed, num_episodes))
        rng = np.random.default_rng([first_seed, 2])

        def act(observations: dict[str, NDArray[np.float32]], mask: NDArray[np.bool_]) -> NDArray[np.int64]:
            log_probs, _ = actor.act(observations, mask)
            return sampled(log_probs, rng.random(num_episodes)) if sample else log_probs.argmax(axis=1)

        return _play(act, num_episodes, first_seed)

    def baseline(self, name: str, *, seeds: NDArray[np.int64]) -> EpisodeScores:
        first_seed, num_episodes = int(seeds[0]), len(seeds)
        self.asked.append((name, first_seed, num_episodes))
        rng = np.random.default_rng([first_seed, 3])
        behaviors = {
            "scripted": lambda observations, mask: scripted(observations),
            "nearest": lambda observations, mask: scripted(observations, every=4),
            "idle": lambda observations, mask: np.full(num_episodes, WAIT),
            "random": lambda observations, mask: (rng.random(mask.shape) * mask).argmax(axis=1),
        }
        return _play(behaviors[name], num_episodes, first_seed)


Act = Callable[[dict[str, NDArray[np.float32]], NDArray[np.bool_]], NDArray[np.int64]]


def _play(act: Act, num_episodes: int, first_seed: int) -> EpisodeScores:
    worlds, returns = Corridors(num_episodes, first_seed), np.zeros(num_episodes)
    for _ in range(HORIZON):
        rewards, _ = worlds.step(act(worlds.observe(), worlds.mask()))
        returns += rewards
    return EpisodeScores.of(
        returns=returns, events={"meal_events": returns}, seeds=first_seed + np.arange(num_episodes)
    )
