"""Train where the number of things in sight varies and an action has two parts (needs the extra `training`)."""

import tempfile

import numpy as np

from townlet_behavior import MultiDiscrete
from townlet_runtime import Observed, SimulationSpec, Stepped
from townlet_runtime.training import TrainingConfig, train
from townlet_training import NetworkConfig, PPOConfig

GATHERERS, MOST, TICKS = [f"gatherer_{number}" for number in range(8)], 6, 25


# fmt: off
class Mushrooms:
    """Gatherers see up to six mushrooms, left (-1) or right (1), worth -1 to 1 each. Who takes gets all of one side."""

    actions = MultiDiscrete(parts={"side": ("left", "right"), "hand": ("leave", "take")})

    def __init__(self, num_worlds: int) -> None:
        self._ids = np.array(GATHERERS * num_worlds, object)
        self.spec = SimulationSpec(
            name="mushrooms", actions=self.actions, num_worlds=num_worlds, capacity=len(self._ids), episode_ticks=TICKS,
            observation_shapes={"mushrooms": (MOST, 2), "mushrooms_mask": (MOST,)},
            observation_kinds={"mushrooms": "entities"})  # a set: their order means nothing, the mask says how many

    def reset(self, *, seeds: np.ndarray) -> Observed:
        self._rngs, self._tick = [np.random.default_rng(seed) for seed in seeds], 0
        return self._observe()

    def step(self, actions: np.ndarray) -> Stepped:
        side, hand = actions.T  # an index for each part
        chosen = self._seen["mushrooms"][:, :, 0] == 2 * side[:, None] - 1  # no mushroom is at 0
        rewards = hand * (self._seen["mushrooms"][:, :, 1] * chosen).sum(axis=1)
        self._tick += 1
        over, last, observed = self._tick % TICKS == 0, self._seen, self._observe()
        return Stepped(
            rewards=rewards.astype(np.float32), truncated=np.full(len(actions), over), observed=observed,
            final_observations=last if over else {})

    def _observe(self) -> Observed:
        mask, side, worth = np.concatenate([rng.random((len(GATHERERS), 3, MOST)) for rng in self._rngs]).swapaxes(0, 1)
        there = (mask < 0.5).astype(np.float32)
        things = np.stack([np.where(side < 0.5, -1, 1), 2 * worth - 1], axis=2).astype(np.float32)
        self._seen = {"mushrooms": things * there[:, :, None], "mushrooms_mask": there}
        return Observed(slots=np.arange(len(self._ids)), agent_ids=self._ids, observations=self._seen)


config = TrainingConfig(
    seed=0, mode="ppo", baselines=("random",), total_env_steps=1_024, num_envs=8, rollout_ticks=32,
    eval_episodes=10, final_episodes=10, network=NetworkConfig(hidden_sizes=(32,)),
    ppo=PPOConfig(learning_rate=3e-3, discount=0.0))
summary = train(Mushrooms, config, tempfile.mkdtemp())
assert summary.final is not None
for name in ("random", "learned"):
    print(f"{name}: {summary.final.summaries[name].mean / TICKS:.3f} a tick")
