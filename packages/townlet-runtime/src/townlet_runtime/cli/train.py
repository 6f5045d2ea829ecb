"""`townlet train`: what is to be trained, decided and checked before anything slow is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from townlet_behavior import BridgeConfig
from townlet_runtime.cli.console import Console
from townlet_runtime.cli.worlds import Worlds, load, option, seed_of
from townlet_runtime.config import Config, Mode, bridge_config, training_mode, training_settings
from townlet_runtime.config.schema import Setting
from townlet_runtime.report import require_report_extra
from townlet_runtime.rundir import default_run_dir, require_free


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """The options of `townlet train`; None where one was not given."""

    config: Path | None
    mode: str | None
    total_steps: int | None
    num_envs: int | None
    seed: int | None
    run_dir: Path | None
    eval_every: int | None
    threads: int
    preset: str | None
    settings: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """What the config and the options come to, as far as it can be said without the trainer."""

    config: Config
    mode: Mode
    seed: int
    settings: Mapping[str, Setting]
    """What is said about training, by dotted field of the trainer's own config."""
    worlds: Worlds
    bridge: BridgeConfig
    run_dir: Path
    threads: int


def train_policy(options: TrainOptions, console: Console) -> int:
    """Train, write the run directory, print what came of it, and return the exit code."""
    console.mute_ticks()
    plan = _plan(options, console)
    # Not before everything that can be refused without it was: the trainer takes seconds to import.
    from townlet_runtime.cli.training import train

    # The report comes last; whoever cannot have it must not wait for the whole run to hear so.
    require_report_extra()
    return train(plan, console)


def _plan(options: TrainOptions, console: Console) -> TrainPlan:
    overrides = [
        *option("training.source", options.mode, "--mode"),
        *option("training.total_env_steps", options.total_steps, "--total-steps"),
        *option("training.num_envs", options.num_envs, "--num-envs"),
        *option("evaluation.every_updates", options.eval_every, "--eval-every"),
        *option("seed", options.seed, "--seed"),
        *option("preset", options.preset, "--preset"),
    ]
    config = load(options.config, options.settings, overrides, console).config
    mode = training_mode(config)
    seed = seed_of(config) if options.seed is None else options.seed
    worlds = Worlds.of(config)
    # Built once for nothing but its refusals.
    worlds(1)
    run_dir = options.run_dir or default_run_dir(now=datetime.now(), mode=mode, seed=seed)
    require_free(run_dir)
    return TrainPlan(
        config=config,
        mode=mode,
        seed=seed,
        settings=training_settings(config),
        worlds=worlds,
        bridge=bridge_config(config, ratio=0.0),
        run_dir=run_dir,
        threads=options.threads,
    )
