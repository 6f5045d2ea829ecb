"""Train a policy on a world of your own: a `Simulation`, one call, a policy file (needs the extra `training`)."""

import tempfile

import numpy as np

from townlet_behavior import ActionVocabulary, BatchController, IdleController
from townlet_runtime import Observed, SimulationSpec, Stepped
from townlet_runtime.training import TrainingConfig, train
from townlet_training import AnnealConfig, BCConfig, NetworkConfig, PPOConfig, PromotionConfig

PICKERS, TICKS = [f"picker_{number}" for number in range(8)], 40


# fmt: off
class Orchard:
    """Pickers see how much fruit hangs left and right of them; they earn what hangs on the side they pick from."""

    actions = ActionVocabulary(keys=("left", "right", "rest"), kinds=("pick", "pick", "wait"), wait=2)

    def __init__(self, num_worlds: int) -> None:
        self._ids = np.array(PICKERS * num_worlds, object)
        self.spec = SimulationSpec(
            name="orchard", vocabulary=self.actions, observation_shapes={"fruit": (2,)}, num_worlds=num_worlds,
            capacity=len(self._ids), episode_ticks=TICKS)

    def reset(self, *, seeds: np.ndarray) -> Observed:
        self._rngs, self._tick = [np.random.default_rng(seed) for seed in seeds], 0
        return self._observe()

    def step(self, actions: np.ndarray) -> Stepped:
        worth = np.column_stack([self._fruit, np.zeros(len(actions), np.float32)])  # a rest earns 0
        self._tick += 1
        over = self._tick % TICKS == 0
        observed = self._observe()
        return Stepped(
            rewards=worth[np.arange(len(actions)), actions], truncated=np.full(len(actions), over), observed=observed,
            final_observations={"fruit": self._fruit} if over else {})

    def _observe(self) -> Observed:
        self._fruit = np.concatenate([rng.random((len(PICKERS), 2), np.float32) for rng in self._rngs])
        return Observed(slots=np.arange(len(self._ids)), agent_ids=self._ids, observations={"fruit": self._fruit})

    # Optional: a script to blend with and to clone; without it, PPO begins from scratch.
    behaviors = ("scripted",)
    def scripted(self, name: str) -> BatchController: return IdleController(wait=0)  # always left


config = TrainingConfig(
    seed=0, total_env_steps=6_000, num_envs=8, rollout_ticks=32, eval_episodes=10, bc=BCConfig(num_epochs=2),
    network=NetworkConfig(hidden_sizes=(32,)), ppo=PPOConfig(learning_rate=3e-3, discount=0.0), final_episodes=10,
    anneal=AnnealConfig(clone_ticks=80, warmup_updates=1), promotion=PromotionConfig(num_episodes=10))
summary = train(Orchard, config, tempfile.mkdtemp())
assert summary.final is not None
for name in ("scripted", "learned"):
    print(f"{name} alone: {summary.final.summaries[name].mean / TICKS:.3f} a tick")
