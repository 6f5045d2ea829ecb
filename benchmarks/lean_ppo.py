"""A yardstick: PPO in CartPole-v1 in one file, with the known ways to make torch fast on a CPU and nothing else.

It acts in numpy with the memory of the weights that learn, shuffles once an epoch and slices, has no distribution
objects, reads no scalar back in its loop, and steps a fused Adam. It checks nothing, says nothing of who decided, and
cannot be resumed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import pairwise

import gymnasium
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch import Tensor, nn

DISCOUNT, LAMBDA, CLIP, ENTROPY, VALUE, MAX_NORM, RATE = 0.99, 0.95, 0.2, 0.01, 0.5, 0.5, 3e-4


def mlp(inputs: int, hidden: Sequence[int], outputs: int) -> nn.Sequential:
    sizes, layers = (inputs, *hidden), list[nn.Module]()
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], outputs))


def arrays(trunk: nn.Sequential) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(one.weight.detach().numpy().T, one.bias.detach().numpy()) for one in trunk if isinstance(one, nn.Linear)]


def forward(layers: list[tuple[np.ndarray, np.ndarray]], hidden: np.ndarray) -> np.ndarray:
    for weight, bias in layers[:-1]:
        hidden = np.tanh(hidden @ weight + bias)
    return hidden @ layers[-1][0] + layers[-1][1]


class LeanLoop:
    """`update` collects and learns once, and returns the steps that were made."""

    def __init__(
        self,
        worlds: VectorEnv,
        *,
        num_ticks: int,
        hidden: Sequence[int],
        num_epochs: int,
        num_minibatches: int,
        seed: int = 0,
    ) -> None:
        torch.manual_seed(seed)
        self.rng, self.worlds, self.ticks = np.random.default_rng(seed), worlds, num_ticks
        self.epochs, self.minibatches = num_epochs, num_minibatches
        self.policy, self.critic = mlp(4, hidden, 2), mlp(4, hidden, 1)
        self.parameters = [*self.policy.parameters(), *self.critic.parameters()]
        self.adam = torch.optim.Adam(self.parameters, lr=RATE, eps=1e-5, fused=True)
        self.acting, self.judging = arrays(self.policy), arrays(self.critic)
        self.seen = worlds.reset(seed=seed)[0]

    def update(self) -> int:
        number, shape = self.worlds.num_envs, (self.ticks, self.worlds.num_envs)
        seen, actions = np.empty((*shape, 4), np.float32), np.empty(shape, np.int64)
        log_probs, rewards, over = (np.empty(shape, np.float32) for _ in range(3))
        for tick in range(self.ticks):
            seen[tick] = self.seen
            logits = forward(self.acting, self.seen)
            logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
            actions[tick] = self.rng.random(number) > np.exp(logits[:, 0])
            log_probs[tick] = logits[np.arange(number), actions[tick]]
            self.seen, rewards[tick], terminated, truncated, _ = self.worlds.step(actions[tick])
            over[tick] = terminated | truncated
        values = forward(self.judging, np.concatenate([seen, self.seen[None]]))[..., 0]
        advantages, last = np.empty(shape, np.float32), np.zeros(number, np.float32)
        for tick in reversed(range(self.ticks)):
            going_on = 1.0 - over[tick]
            delta = rewards[tick] + DISCOUNT * going_on * values[tick + 1] - values[tick]
            advantages[tick] = last = delta + DISCOUNT * LAMBDA * going_on * last
        columns = (seen.reshape(-1, 4), actions.ravel(), log_probs.ravel(), advantages.ravel())
        self.learn([torch.from_numpy(each) for each in columns], torch.from_numpy((advantages + values[:-1]).ravel()))
        return self.ticks * number

    def learn(self, columns: list[Tensor], targets: Tensor) -> None:
        for _ in range(self.epochs):
            order = torch.randperm(len(targets))
            shuffled = [column[order].chunk(self.minibatches) for column in (*columns, targets)]
            for seen, actions, old, advantages, target in zip(*shuffled, strict=True):
                log_probs = torch.log_softmax(self.policy(seen), dim=1)
                ratios = (log_probs.gather(1, actions[:, None])[:, 0] - old).exp()
                normal = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
                gain = torch.minimum(ratios * normal, ratios.clamp(1 - CLIP, 1 + CLIP) * normal).mean()
                entropy = -(log_probs.exp() * log_probs).sum(dim=1).mean()
                error = (self.critic(seen)[:, 0] - target).square().mean()
                self.adam.zero_grad(set_to_none=True)
                (VALUE * error - gain - ENTROPY * entropy).backward()
                nn.utils.clip_grad_norm_(self.parameters, MAX_NORM)
                self.adam.step()


def lean_loop(
    vectorization: str,
    *,
    num_worlds: int,
    num_ticks: int,
    hidden: Sequence[int],
    num_epochs: int,
    num_minibatches: int,
    num_updates: int,
) -> Callable[[], float]:
    """Env steps per CPU second, the first update not counted; `vectorization` is `sync` or `vector_entry_point`."""

    def run() -> float:
        with closing(gymnasium.make_vec("CartPole-v1", num_worlds, vectorization_mode=vectorization)) as worlds:
            loop = LeanLoop(
                worlds, num_ticks=num_ticks, hidden=hidden, num_epochs=num_epochs, num_minibatches=num_minibatches
            )
            loop.update()
            start = time.process_time()
            steps = sum(loop.update() for _ in range(num_updates))
            return steps / (time.process_time() - start)

    return run
