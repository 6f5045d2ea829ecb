"""Train a policy on a world of your own: townlet-runtime collects, townlet-training learns (needs torch)."""

import numpy as np
import torch

from townlet_behavior import ActionVocabulary, BatchController, BridgeConfig, IdleController, draw_keys
from townlet_runtime import Collector, Observed, OneGroup, SimulationSpec, Stepped
from townlet_training import ActorCritic, NetworkConfig, PPOConfig, PPOLearner

N = 64
PICKERS = np.array([f"picker_{number}" for number in range(N)], object)
NOBODY, WORLD_0 = np.zeros(N, np.bool_), np.zeros(N, np.int64)


class Orchard:
    """Pickers see how much fruit hangs left and right of them; they earn what hangs on the side they pick from."""

    actions = ActionVocabulary(keys=("left", "right", "rest"), kinds=("pick", "pick", "wait"), wait=2)
    spec = SimulationSpec(
        name="orchard", vocabulary=actions, observation_shapes={"fruit": (2,)}, feature_names=(), event_names=(),
        num_worlds=1, capacity=N, episode_ticks=99, commitment_columns=None, option_ticks={"pick": 0, "wait": 0},
    )  # fmt: skip
    behaviors = ("scripted",)

    def reset(self, *, seeds: np.ndarray) -> Observed:
        self._rng = np.random.default_rng(seeds[0])
        self._keys = np.array([draw_keys(int(seeds[0]), picker) for picker in PICKERS], np.uint64)
        return self._observe()

    def step(self, actions: np.ndarray) -> Stepped:
        return Stepped(
            rewards=np.column_stack([self._fruit, np.zeros(N, np.float32)])[np.arange(N), actions],  # a rest earns 0
            terminated=NOBODY, truncated=NOBODY, events=np.empty((1, 0)), final_rows=WORLD_0[:0],
            final_option_done=NOBODY[:0], final_observations={"fruit": self._fruit[:0]}, observed=self._observe(),
        )  # fmt: skip

    def scripted(self, name: str) -> BatchController: return IdleController(wait=0)  # always left  # fmt: skip

    def guardrails(self) -> tuple[()]: return ()  # fmt: skip

    def close(self) -> None: ...

    def _observe(self) -> Observed:
        self._fruit = self._rng.random((N, 2), np.float32)
        return Observed(
            slots=np.arange(N), keys=self._keys, agent_ids=PICKERS, worlds=WORLD_0, episodes=WORLD_0,
            observations={"fruit": self._fruit}, action_mask=None, option_done=NOBODY,
        )  # fmt: skip


generator = torch.Generator().manual_seed(0)
network = ActorCritic({"fruit": (2,)}, 3, NetworkConfig(hidden_sizes=(32,)), generator=generator)
learner = PPOLearner(network, config=PPOConfig(learning_rate=3e-3, discount=0.0), generator=generator)
collector = Collector(OneGroup(Orchard()), config=BridgeConfig(), seed=0, max_rows=32 * N)
policy = {"agents": network}
earned = collector.collect(None, num_ticks=32, ratio=0.0).batches["agents"].rewards.mean()
print(f"script alone: {earned:.3f} a tick")
for ratio in np.linspace(0.1, 1.0, 20):  # the policy takes over by degrees, and learns from the mixture
    learner.update(collector.collect(policy, num_ticks=32, ratio=float(ratio)).batches["agents"])
earned = collector.collect(policy, num_ticks=32, ratio=1.0).batches["agents"].rewards.mean()
print(f"policy alone: {earned:.3f} a tick")
