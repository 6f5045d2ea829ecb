"""Train a policy on a world of your own: a `Simulation`, one call, a policy file (needs the extra `training`)."""

import tempfile

import numpy as np

from townlet_behavior import ActionVocabulary, BatchController, IdleController, draw_keys
from townlet_runtime import Observed, SimulationSpec, Stepped
from townlet_runtime.training import TrainingConfig, train
from townlet_training import AnnealConfig, BCConfig, NetworkConfig, PPOConfig, PromotionConfig

PICKERS, TICKS = [f"picker_{number}" for number in range(8)], 40


# fmt: off
class Orchard:
    """Pickers see how much fruit hangs left and right of them; they earn what hangs on the side they pick from."""

    actions = ActionVocabulary(keys=("left", "right", "rest"), kinds=("pick", "pick", "wait"), wait=2)
    behaviors = ("scripted",)

    def __init__(self, num_worlds: int) -> None:
        self._ids = np.array(PICKERS * num_worlds, object)
        self._worlds, self._nobody = np.arange(len(self._ids)) // len(PICKERS), np.zeros(len(self._ids), np.bool_)
        self.spec = SimulationSpec(
            name="orchard", vocabulary=self.actions, observation_shapes={"fruit": (2,)}, num_worlds=num_worlds,
            capacity=len(self._ids), episode_ticks=TICKS, option_ticks={"pick": 0, "wait": 0})

    def reset(self, *, seeds: np.ndarray) -> Observed:
        self._rng = np.random.default_rng(seeds)
        self._keys = np.array([draw_keys(int(seed), picker) for seed in seeds for picker in PICKERS], np.uint64)
        return self._observe()

    def step(self, actions: np.ndarray) -> Stepped:
        worth = np.column_stack([self._fruit, self._nobody])  # a rest earns 0
        return Stepped(
            rewards=worth[np.arange(len(actions)), actions].astype(np.float32), terminated=self._nobody,
            truncated=self._nobody, events=np.empty((self.spec.num_worlds, 0)), final_rows=self._worlds[:0],
            final_option_done=self._nobody[:0], final_observations={"fruit": self._fruit[:0]}, observed=self._observe())

    def scripted(self, name: str) -> BatchController: return IdleController(wait=0)  # always left
    def guardrails(self) -> tuple[()]: return ()
    def save_state(self) -> None: return None  # so a run in it cannot be resumed
    def close(self) -> None: ...
    def _observe(self) -> Observed:
        self._fruit = self._rng.random((len(self._ids), 2), np.float32)
        return Observed(
            slots=np.arange(len(self._ids)), keys=self._keys, agent_ids=self._ids, worlds=self._worlds,
            episodes=self._worlds * 0, observations={"fruit": self._fruit}, action_mask=None, option_done=self._nobody)


config = TrainingConfig(
    seed=0, total_env_steps=6_000, num_envs=8, rollout_ticks=32, eval_episodes=10, bc=BCConfig(num_epochs=2),
    network=NetworkConfig(hidden_sizes=(32,)), ppo=PPOConfig(learning_rate=3e-3, discount=0.0), final_episodes=10,
    anneal=AnnealConfig(clone_ticks=80, warmup_updates=1), promotion=PromotionConfig(num_episodes=10))
summary = train(Orchard, config, tempfile.mkdtemp())
for name in ("scripted", "learned"):
    print(f"{name} alone: {summary.final.summaries[name].mean / TICKS:.3f} a tick")
