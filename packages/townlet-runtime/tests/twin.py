"""What the runtime must do, agent by agent, with dictionaries and plain loops."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from strategies import LinearPolicy

from townlet_behavior import BridgeConfig, Kind, Purpose, Source, uniforms
from townlet_runtime.simulation.interface import Observed
from townlet_runtime.testing import Corridor
from townlet_trajectory.evaluation.interfaces import training_seeds

Who = tuple[int, str, int]
"""World, agent id, episode."""


@dataclass
class Life:
    """One agent's trajectory."""

    features: list[NDArray[np.float32]] = field(default_factory=list)
    rows: list[dict[str, float]] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    ticks: list[int] = field(default_factory=list)
    terminated: bool = False
    truncated: bool = False


@dataclass
class Commitment:
    action: int
    until: int
    source: int


class Twin:
    """Runs a corridor of its own from the same seeds."""

    def __init__(
        self, corridor: Corridor, policy: LinearPolicy | None, config: BridgeConfig, *, seed: int, greedy: bool
    ) -> None:
        self.corridor = corridor
        self.policy = policy
        self.config = config
        self.seed = seed
        self.greedy = greedy
        self.spec = corridor.spec
        self.commitments: dict[Who, Commitment] = {}
        self.lives: dict[Who, Life] = defaultdict(Life)

    def run(self, *, world_seed: int, ticks: int) -> dict[Who, Life]:
        observed = self.corridor.reset(seeds=training_seeds(world_seed, self.corridor.num_worlds))
        for tick in range(ticks):
            people = self.people(observed)
            actions = [self.decide(observed, row, who, tick) for row, who in enumerate(people)]
            stepped = self.corridor.step(np.array(actions, np.int64))
            for row, who in enumerate(people):
                life = self.lives[who]
                life.rewards.append(float(stepped.rewards[row]))
                life.terminated, life.truncated = bool(stepped.terminated[row]), bool(stepped.truncated[row])
            for end, row in enumerate(stepped.final_rows.tolist()):
                who = people[row]
                features = stepped.final_observations["features"][end].copy()
                done = bool(stepped.final_option_done[end])
                self.show(features, self.held(who, tick + 1, done, None), tick + 1)
                self.lives[who].features.append(features)
                self.commitments.pop(who, None)
            observed = stepped.observed
        for row, who in enumerate(self.people(observed)):
            if self.lives[who].rows:
                self.lives[who].features.append(self.see(observed, row, who, ticks)[0])
        return {who: life for who, life in self.lives.items() if life.rows}

    def people(self, observed: Observed) -> list[Who]:
        return list(zip(observed.worlds.tolist(), observed.agent_ids.tolist(), observed.episodes.tolist(), strict=True))

    def held(self, who: Who, tick: int, done: bool, mask: NDArray[np.bool_] | None) -> Commitment | None:
        commitment = self.commitments.get(who)
        if commitment is None or done or tick >= commitment.until:
            return None
        if mask is not None and not mask[commitment.action]:
            return None
        return commitment

    def show(self, features: NDArray[np.float32], held: Commitment | None, tick: int) -> None:
        columns = self.spec.commitment_columns
        if held is not None and columns is not None:
            features[columns.start + held.action] = 1.0
            features[columns.start + len(self.spec.vocabulary)] = (held.until - tick) / columns.max_ticks

    def see(
        self, observed: Observed, row: int, who: Who, tick: int
    ) -> tuple[NDArray[np.float32], Commitment | None, NDArray[np.bool_] | None]:
        mask = None if observed.action_mask is None else observed.action_mask[row]
        held = self.held(who, tick, bool(observed.option_done[row]), mask)
        features = observed.observations["features"][row].copy()
        features[3:] = 0.0
        self.show(features, held, tick)
        return features, held, mask

    def decide(self, observed: Observed, row: int, who: Who, tick: int) -> int:
        features, held, mask = self.see(observed, row, who, tick)
        if held is None:
            self.commitments.pop(who, None)
        expert = 3 if features[1] >= 1.0 else 2
        chosen, value = expert, 0.0
        source, kind = int(Source.SCRIPTED), int(Kind.FOREIGN)
        policy_log_prob = behavior_log_prob = 0.0
        ratio = self.config.ratio
        if self.policy is not None:
            log_probs, values = self.policy.act(
                {"features": features[None], "map": observed.observations["map"][row : row + 1]},
                None if mask is None else mask[None],
            )
            value = float(values[0])
            learned = self.draw(log_probs[0], observed.keys[row : row + 1], tick)
            coin = uniforms(self.seed, Purpose.BLEND, observed.keys[row : row + 1], tick)[0]
            if coin < ratio:
                chosen, source = learned, Source.LEARNED
            if ratio >= self.config.min_ratio and not self.greedy and held is None:
                kind = Kind.DECISION
                policy_log_prob = float(log_probs[0, chosen])
                mixture = ratio * math.exp(policy_log_prob) + (1 - ratio) * (chosen == expert)
                behavior_log_prob = math.log(mixture)
        if held is not None:
            chosen, source, kind = held.action, held.source, Kind.FORCED
        if held is None:
            length = self.spec.option_ticks[self.spec.vocabulary.kinds[chosen]]
            self.commitments[who] = Commitment(chosen, tick + length, source)
        life = self.lives[who]
        life.features.append(features)
        life.ticks.append(tick)
        life.rows.append(
            {
                "action": chosen,
                "chosen_action": chosen,
                "kind": kind,
                "source": source,
                "expert_action": expert,
                "policy_log_prob": policy_log_prob,
                "behavior_log_prob": behavior_log_prob,
                "value": value,
                "ratio": ratio,
                "held_action": -1 if held is None else held.action,
                "ticks_left": 0 if held is None else held.until - tick,
            }
        )
        return chosen

    def draw(self, log_probs: NDArray[np.float32], key: NDArray[np.uint64], tick: int) -> int:
        probabilities = [math.exp(x) for x in log_probs.tolist()]
        if self.greedy:
            return probabilities.index(max(probabilities))
        threshold = uniforms(self.seed, Purpose.POLICY, key, tick)[0] * sum(probabilities)
        total = 0.0
        for action, probability in enumerate(probabilities):
            total += probability
            if total > threshold:
                return action
        raise AssertionError("the threshold is below the total")
