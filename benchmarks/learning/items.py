"""What is learned, with which settings, and what must come of it: the items of `run.py`, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Measure = Literal["return", "normalized", "gain"]
"""Of a run, each over its final episodes: the mean return of the policy; the same where random actions have 0 and the
script has 1; the mean difference to the script in the same episodes."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """What must hold of an item's runs; a bound that is None holds of anything."""

    measure: Measure = "return"
    mean_at_least: float | None = None
    """Mean over runs."""
    mean_at_most: float | None = None
    each_at_least: float | None = None
    """Every run."""
    low_above: float | None = None
    """Lower end of Student's 95 % interval over runs."""
    kept: float | None = None
    """Share of the clone's return that every later evaluation of a run must keep."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """Runs of one way of learning in one world, which differ in their seed alone."""

    name: str
    title: str
    environment: str
    steps: int
    """World steps of a run."""
    target: Target
    mode: str = "ppo"
    settings: Mapping[str, str | int | float] = field(default_factory=dict)
    """By config key, on top of the world's preset."""
    controller: str | None = None
    """The script; None: the one that is registered for the world, if any."""
    seeds: str = "0-2"
    episodes: int = 100
    """Of the final score; none of them is looked at before."""
    demonstrations: int = 0
    """Episodes of the script that are recorded first, and cloned. 0: the run sees to it itself."""
    corrected: bool = True
    """Whether the learner is told who decided; else it takes every decision for the policy's own."""


CARTPOLE, ACROBOT, LANDER = (f"gymnasium:{name}" for name in ("CartPole-v1", "Acrobot-v1", "LunarLander-v3"))
PENDULUM, POSITIONS = "gymnasium:Pendulum-v1", "gymnasium:worlds:CartPolePositions-v0"
SPREAD = "pettingzoo:mpe2.simple_spread_v3"

_ACROBOT: dict[str, str | int | float] = {
    "network.hidden_sizes": "[64, 64]",
    "training.num_envs": 16,
    "training.rollout_ticks": 256,
    "ppo.gae_lambda": 0.94,
    "ppo.discount": 0.99,
    "ppo.num_epochs": 4,
    "ppo.minibatch_size": 64,
}
"""rl-baselines3-zoo, hyperparams/ppo.yml."""

_PENDULUM: dict[str, str | int | float] = {
    "training.num_envs": 4,
    "training.rollout_ticks": 1024,
    "ppo.learning_rate": 1e-3,
    "ppo.gae_lambda": 0.95,
    "ppo.discount": 0.9,
    "ppo.num_epochs": 10,
    "ppo.minibatch_size": 64,
}
"""rl-baselines3-zoo, hyperparams/ppo.yml, without its state-dependent exploration."""

_POSITIONS: dict[str, str | int | float] = {
    "training.num_envs": 16,
    "training.rollout_ticks": 128,
    "ppo.learning_rate": 1e-3,
    "ppo.learning_rate_schedule": "linear",
    "ppo.discount": 0.98,
    "ppo.gae_lambda": 0.95,
    "ppo.num_epochs": 4,
    "ppo.minibatch_size": 512,
}
"""Tuned here."""

_LANDER: dict[str, str | int | float] = {
    "network.value_scale": "frozen",
    "ppo.learning_rate": 1e-3,
    "ppo.num_epochs": 10,
    "anneal.blend_fraction": 0.3,
}

_NOISY_LANDER = {**_LANDER, "gates.clone_accuracy": 0.6}
"""Of a script whose decisions nobody can foresee: the best guess is right in 77 % of them."""

ITEMS = (
    Item(
        name="cartpole",
        title="CartPole, PPO from nothing",
        environment=CARTPOLE,
        steps=100_000,
        seeds="0-4",
        target=Target(mean_at_least=495.0, each_at_least=475.0),
    ),
    Item(
        name="acrobot",
        title="Acrobot, PPO from nothing",
        environment=ACROBOT,
        steps=500_000,
        settings=_ACROBOT,
        target=Target(mean_at_least=-90.0),
    ),
    Item(
        name="lander",
        title="LunarLander, anneal from its heuristic",
        environment=LANDER,
        mode="anneal",
        steps=300_000,
        settings=_LANDER,
        seeds="0-4",
        episodes=500,
        target=Target(measure="gain", low_above=0.0, kept=0.8),
    ),
    Item(
        name="noisy-lander",
        title="LunarLander, anneal from its heuristic with 30 % random actions",
        environment=LANDER,
        controller="worlds:noisy_lander",
        mode="anneal",
        steps=300_000,
        settings=_NOISY_LANDER,
        target=Target(mean_at_least=200.0),
    ),
    Item(
        name="noisy-lander-uncorrected",
        title="the same, every decision taken for the policy's own",
        environment=LANDER,
        controller="worlds:noisy_lander",
        mode="anneal",
        steps=300_000,
        settings=_NOISY_LANDER,
        corrected=False,
        target=Target(),
    ),
    Item(
        name="lander-bc",
        title="LunarLander, clone of 50 episodes of its heuristic",
        environment=LANDER,
        mode="bc",
        steps=50_000,
        demonstrations=50,
        target=Target(measure="normalized", mean_at_least=0.90),
    ),
    Item(
        name="lander-dagger",
        title="LunarLander, DAgger: 5 rounds of 10 worlds, as many labels as in 50 episodes",
        environment=LANDER,
        mode="dagger",
        steps=11_500,
        settings={"training.num_envs": 10, "dagger.rounds": 5, "dagger.ticks": 230},
        target=Target(measure="normalized", mean_at_least=0.94),
    ),
    Item(
        name="pendulum",
        title="Pendulum, PPO from nothing with a Gaussian",
        environment=PENDULUM,
        steps=300_000,
        settings=_PENDULUM,
        target=Target(mean_at_least=-250.0),
    ),
    Item(
        name="positions-gru",
        title="CartPole without velocities, PPO with a GRU",
        environment=POSITIONS,
        steps=500_000,
        settings={**_POSITIONS, "network.memory": "gru", "network.memory_size": 64},
        target=Target(mean_at_least=400.0),
    ),
    Item(
        name="positions-frames",
        title="the same with the last four observations side by side",
        environment=POSITIONS,
        steps=500_000,
        settings={**_POSITIONS, "network.memory": "frames"},
        target=Target(),
    ),
    Item(
        name="positions-without-memory",
        title="the same without memory",
        environment=POSITIONS,
        steps=500_000,
        settings=_POSITIONS,
        target=Target(mean_at_most=150.0),
    ),
    Item(
        name="spread",
        title="simple_spread, PPO from nothing",
        environment=SPREAD,
        steps=500_000,
        target=Target(mean_at_least=-19.5),
    ),
)
"""Shown by `run.py all`."""

QUICK = (
    Item(
        name="quick-cartpole",
        title="CartPole, PPO from nothing",
        environment=CARTPOLE,
        steps=40_000,
        seeds="0",
        episodes=20,
        settings={"training.eval_every": 1000, "training.eval_episodes": 16},
        target=Target(mean_at_least=200.0),
    ),
    Item(
        name="quick-lander-bc",
        title="LunarLander, clone of 10 episodes of its heuristic",
        environment=LANDER,
        mode="bc",
        steps=50_000,
        demonstrations=10,
        seeds="0",
        episodes=20,
        settings={"bc.num_epochs": 60},
        target=Target(measure="normalized", mean_at_least=0.6),
    ),
    Item(
        name="quick-spread",
        title="simple_spread, PPO from nothing",
        environment=SPREAD,
        steps=30_000,
        seeds="0",
        episodes=40,
        settings={"training.eval_every": 1000, "training.eval_episodes": 16},
        target=Target(mean_at_least=-24.0),
    ),
)
"""Shown without a name: a minute together. Their bounds are weaker, and far above what nothing learned comes to."""
