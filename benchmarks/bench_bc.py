"""How fast cloning is, beside `imitation` and a lean loop: samples per second of CPU time.

16,384 samples in batches of 256; 548 numbers, one tanh trunk of 256 and 256 units, 12 actions, one thread. Ours checks
the labels and judges the clone after each epoch on a sixteenth as many rows; both are timed. The limit is the matrix
products of its passes, forward and backward. `imitation` needs an older Gymnasium: where `uv` is there, it runs in an
environment of its own. Medians of `ROUNDS` rounds of `NUM_EPOCHS` epochs, taken in turns.
"""

# /// script
# dependencies = []
# ///

from __future__ import annotations

import argparse
import time
from functools import partial

import numpy as np
import torch
from torch import nn
from turns import dense_products, in_turns, report, script_rate, scripts_run

from townlet_training.learning.bc import BCLearner
from townlet_training.learning.config import BCConfig
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.config import NetworkConfig
from townlet_trajectory import ArraySpec, TrajectoryBatch, TrajectorySchema

NUM_INPUTS, NUM_ACTIONS, HIDDEN = 548, 12, 256
NUM_SAMPLES, BATCH_SIZE, NUM_EPOCHS = 16_384, 256, 3
NUM_BATCHES = NUM_EPOCHS * NUM_SAMPLES // BATCH_SIZE
ROUNDS = 5


def labelled(num_rows: int, seed: int) -> TrajectoryBatch:
    """Random observations and labels of one agent."""
    rng = np.random.default_rng(seed)
    seen = rng.random((num_rows, NUM_INPUTS), np.float32)
    return TrajectoryBatch(
        schema=TrajectorySchema(
            observations={"seen": ArraySpec("float32", (NUM_INPUTS,))},
            decisions={"action": ArraySpec("int64")},
            vocabulary=tuple(f"action_{index}" for index in range(NUM_ACTIONS)),
        ),
        offsets=np.array([0, num_rows]),
        observations={"seen": seen},
        final_observations={"seen": seen[:1]},
        columns={"action": rng.integers(NUM_ACTIONS, size=num_rows)},
        rewards=np.zeros(num_rows, np.float32),
        ticks=np.arange(num_rows),
        terminated=np.ones(1, np.bool_),
        truncated=np.zeros(1, np.bool_),
        agent_ids=np.array(["agent"], object),
        worlds=np.zeros(1, np.int64),
        episodes=np.zeros(1, np.int64),
    )


def townlet(train: TrajectoryBatch, held_out: TrajectoryBatch) -> float:
    generator = torch.Generator().manual_seed(0)
    network = ActorCritic(
        {"seen": (NUM_INPUTS,)}, NUM_ACTIONS, NetworkConfig(hidden_sizes=(HIDDEN, HIDDEN)), generator=generator
    )
    learner = BCLearner(network, config=BCConfig(batch_size=BATCH_SIZE, num_epochs=NUM_EPOCHS), generator=generator)
    start = time.process_time()
    learner.fit(train, held_out)
    return NUM_SAMPLES * NUM_EPOCHS / (time.process_time() - start)


def lean_loop(seen: torch.Tensor, actions: torch.Tensor) -> float:
    """The same epochs in torch, with a fused Adam, one shuffle an epoch and slices."""
    layers = [nn.Linear(NUM_INPUTS, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, HIDDEN), nn.Tanh()]
    policy = nn.Sequential(*layers, nn.Linear(HIDDEN, NUM_ACTIONS))
    adam = torch.optim.Adam(policy.parameters(), lr=1e-3, fused=True)
    start = time.process_time()
    for _ in range(NUM_EPOCHS):
        order = torch.randperm(NUM_SAMPLES)
        for rows, labels in zip(seen[order].split(BATCH_SIZE), actions[order].split(BATCH_SIZE), strict=True):
            adam.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(policy(rows), labels).backward()
            adam.step()
    return NUM_SAMPLES * NUM_EPOCHS / (time.process_time() - start)


def products() -> float:
    begun = time.process_time()
    dense_products(((NUM_INPUTS, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, NUM_ACTIONS)), BATCH_SIZE, NUM_BATCHES)
    return NUM_SAMPLES * NUM_EPOCHS / (time.process_time() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    train, held_out = labelled(NUM_SAMPLES, 0), labelled(NUM_SAMPLES // 16, 1)
    seen, actions = (torch.tensor(each) for each in (train.observations["seen"], train.columns["action"]))
    timed = {
        "townlet": partial(townlet, train, held_out),
        "lean loop": partial(lean_loop, seen, actions),
        "products": products,
    }
    if scripts_run():
        sizes = (NUM_INPUTS, NUM_ACTIONS, HIDDEN, NUM_SAMPLES, BATCH_SIZE, NUM_EPOCHS)
        timed["imitation"] = partial(script_rate, "imitation_bc.py", *sizes)
    report("bc", in_turns(timed, rounds=rounds), unit="samples_per_s", peer="imitation", limit="products")


if __name__ == "__main__":
    main()
