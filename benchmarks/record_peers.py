"""The buffers of other libraries that `bench_record` compares with; each is imported when it is made."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray
from record_ticks import NUM_ACTIONS, SAME_COLUMNS, SEEN, Tick, rows_in

from townlet_trajectory import ACTION_MASK


class StableBaselines3:
    """`DictRolloutBuffer.add`, once per tick of N environments; `reset` before a rollout, as its learners do.

    `reset` is not timed; it allocates all columns anew, and where that is fresh memory, to touch it is timed.
    """

    def __init__(self, ticks: list[Tick]) -> None:
        import torch
        from gymnasium.spaces import Box, Dict, Discrete, MultiBinary
        from stable_baselines3.common.buffers import DictRolloutBuffer

        torch.set_num_threads(1)
        seen = {name: Box(-np.inf, np.inf, spec.shape, np.float32) for name, spec in SEEN.items()}
        spaces = Dict({**seen, ACTION_MASK: MultiBinary(NUM_ACTIONS)})
        num_agents = len(ticks[0].slots)
        self._buffer = DictRolloutBuffer(len(ticks), spaces, Discrete(NUM_ACTIONS), device="cpu", n_envs=num_agents)
        self._ticks = [
            (
                tick.observations,
                tick.decisions["action"],
                tick.rewards,
                tick.terminated,
                torch.from_numpy(tick.decisions["value"]),
                torch.from_numpy(tick.decisions["behavior_log_prob"]),
            )
            for tick in ticks
        ]

    def record(self) -> None:
        for tick in self._ticks:
            self._buffer.add(*tick)

    def values(self) -> NDArray[np.float32]:
        return self._buffer.values.reshape(-1).copy()

    def clear(self) -> None:
        self._buffer.reset()


class Cpprb:
    """`ReplayBuffer.add`, once per tick of N transitions."""

    def __init__(self, ticks: list[Tick]) -> None:
        from cpprb import ReplayBuffer

        specs = {**SAME_COLUMNS.observations, **SAME_COLUMNS.decisions}
        columns = {name: {"shape": spec.shape or 1, "dtype": spec.numpy_dtype} for name, spec in specs.items()}
        columns |= {"rew": {"dtype": np.float32}, "done": {"dtype": np.bool_}}
        self._buffer = ReplayBuffer(rows_in(ticks), columns)
        self._ticks = [
            {**tick.observations, **tick.decisions, "rew": tick.rewards, "done": tick.terminated} for tick in ticks
        ]

    def record(self) -> None:
        for tick in self._ticks:
            self._buffer.add(**tick)

    def values(self) -> NDArray[np.float32]:
        return self._buffer.get_all_transitions()["value"].reshape(-1)

    def clear(self) -> None:
        self._buffer.clear()


class TorchRL:
    """`ReplayBuffer.extend` on a `LazyTensorStorage`, once per tick with a TensorDict of N rows."""

    def __init__(self, ticks: list[Tick]) -> None:
        os.environ.setdefault("RL_LOGGING_LEVEL", "WARNING")  # it would say on stdout what it allocates
        import torch
        from tensordict import TensorDict
        from torchrl.data import LazyTensorStorage, ReplayBuffer

        torch.set_num_threads(1)
        self._buffer = ReplayBuffer(storage=LazyTensorStorage(rows_in(ticks)), batch_size=1024)
        self._ticks = [
            TensorDict(
                {
                    **{name: torch.from_numpy(array) for name, array in tick.observations.items()},
                    "action": torch.from_numpy(tick.decisions["action"]),
                    "sample_log_prob": torch.from_numpy(tick.decisions["behavior_log_prob"]),
                    "state_value": torch.from_numpy(tick.decisions["value"]),
                    "next": {"reward": torch.from_numpy(tick.rewards), "done": torch.from_numpy(tick.terminated)},
                },
                batch_size=[len(tick.slots)],
            )
            for tick in ticks
        ]

    def record(self) -> None:
        for tick in self._ticks:
            self._buffer.extend(tick)

    def values(self) -> NDArray[np.float32]:
        return self._buffer[:]["state_value"].numpy().copy()

    def clear(self) -> None:
        self._buffer.empty()


class Tianshou:
    """`VectorReplayBuffer.add`, once per tick with a Batch of N environments."""

    def __init__(self, ticks: list[Tick]) -> None:
        from tianshou.data import Batch, VectorReplayBuffer

        num_agents = len(ticks[0].slots)
        self._buffer = VectorReplayBuffer(rows_in(ticks), num_agents, ignore_obs_next=True)
        self._ticks = [
            Batch(
                obs=Batch(**tick.observations),
                act=tick.decisions["action"],
                rew=tick.rewards,
                terminated=tick.terminated,
                truncated=tick.truncated,
                policy=Batch(log_prob=tick.decisions["behavior_log_prob"], value=tick.decisions["value"]),
            )
            for tick in ticks
        ]

    def record(self) -> None:
        for tick in self._ticks:
            self._buffer.add(tick)

    def values(self) -> NDArray[np.float32]:
        return np.asarray(self._buffer.policy.value, np.float32)

    def clear(self) -> None:
        self._buffer.reset()


PEERS = {"stable-baselines3": StableBaselines3, "cpprb": Cpprb, "torchrl": TorchRL, "tianshou": Tianshou}
