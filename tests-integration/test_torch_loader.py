"""Views of a dataset in torch's own loader."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, default_convert

from townlet_trajectory import ArraySpec, TrajectoryBatch, TrajectorySchema
from townlet_trajectory.dataset.dataset import TrajectoryDataset
from townlet_trajectory.dataset.source import BatchSource
from townlet_trajectory.dataset.torch_loader import EpochView, StepView

NUM_STEPS = 60
SCHEMA = TrajectorySchema(
    observations={"features": ArraySpec("float32", (3,)), "action_mask": ArraySpec("bool", (2,))},
    decisions={"action": ArraySpec("int64"), "kind": ArraySpec("int8")},
    vocabulary=("wait", "eat"),
)


def make_source() -> BatchSource:
    """Twelve trajectories of five steps; the reward of a step is its number."""
    numbers = np.arange(NUM_STEPS, dtype=np.float32)
    batch = TrajectoryBatch(
        schema=SCHEMA,
        offsets=np.arange(0, NUM_STEPS + 1, 5),
        observations={
            "features": np.repeat(numbers[:, None], 3, axis=1),
            "action_mask": np.ones((NUM_STEPS, 2), np.bool_),
        },
        final_observations={
            "features": np.full((12, 3), -1, np.float32),
            "action_mask": np.ones((12, 2), np.bool_),
        },
        columns={"action": np.arange(NUM_STEPS) % 2, "kind": np.zeros(NUM_STEPS, np.int8)},
        rewards=numbers,
        ticks=np.tile(np.arange(5), 12),
        terminated=np.ones(12, np.bool_),
        truncated=np.zeros(12, np.bool_),
        agent_ids=np.array([f"agent_{n}" for n in range(12)], object),
        worlds=np.arange(12),
        episodes=np.zeros(12, np.int64),
    )
    return BatchSource(batch, rows_per_block=10)


def assert_whole(batches: list[dict[str, torch.Tensor]]) -> None:
    """Every step once, each with its own observation, as tensors."""
    rewards = torch.cat([batch["rewards"] for batch in batches])
    assert sorted(rewards.tolist()) == list(range(NUM_STEPS))
    for batch in batches:
        features = batch["observations"]["features"]
        assert features.dtype == torch.float32
        assert torch.equal(features, batch["rewards"][:, None].expand(-1, 3))
        assert torch.equal(batch["columns"]["action"], batch["rewards"].long() % 2)
        assert batch["observations"]["action_mask"].dtype == torch.bool


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loader_hands_out_the_batches_of_an_epoch(num_workers: int) -> None:
    dataset = TrajectoryDataset(make_source(), batch_size=8, seed=1, memory_budget_bytes=60_000)
    loader = DataLoader(EpochView(dataset, 2), batch_size=None, num_workers=num_workers)
    batches = list(loader)
    assert_whole(batches)
    assert [batch["steps"].tolist() for batch in batches] == [b.steps.tolist() for b in dataset.epoch(2)]


def test_a_loader_puts_steps_together_in_an_order_of_its_own() -> None:
    view = StepView(TrajectoryDataset(make_source(), batch_size=8, seed=1))
    loader = DataLoader(view, batch_size=8, shuffle=True, generator=torch.Generator().manual_seed(3))
    batches = list(loader)
    assert_whole(batches)
    assert [len(batch["rewards"]) for batch in batches] == [8] * 7 + [4]


def test_a_loader_with_a_batch_sampler_gathers_whole_batches() -> None:
    view = StepView(TrajectoryDataset(make_source(), batch_size=8, seed=1, next_observations=True))
    sampler = BatchSampler(RandomSampler(view, generator=torch.Generator().manual_seed(3)), 8, drop_last=False)
    batches = list(DataLoader(view, batch_size=None, sampler=sampler))
    assert_whole(batches)
    one_by_one = DataLoader(view, batch_size=8, shuffle=True, generator=torch.Generator().manual_seed(3))
    for batch, other in zip(batches, one_by_one, strict=True):
        assert batch.keys() == other.keys()
        assert batch["next_observations"]["features"].shape == other["next_observations"]["features"].shape


def test_trajectories_arrive_padded() -> None:
    dataset = TrajectoryDataset(make_source(), batch_size=5, seed=1, unit="trajectories")
    for batch in DataLoader(EpochView(dataset, 0), batch_size=None):
        assert batch["observations"]["features"].shape[1:] == (5, 3)
        assert batch["mask"].all()


def test_arrays_become_tensors_without_a_copy() -> None:
    arrays = EpochView(TrajectoryDataset(make_source(), batch_size=5, seed=1), 0)[0]
    tensors = default_convert(arrays)
    assert tensors["rewards"].data_ptr() == arrays["rewards"].ctypes.data
