"""`townlet train`: what is to be trained, decided and checked before anything slow is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from townlet_runtime.cli.console import Console
from townlet_runtime.cli.exits import CommandError
from townlet_runtime.cli.resume import finished_run, require_no_contradiction, show_finished
from townlet_runtime.cli.worlds import Worlds, load, option, seed_of, world_options
from townlet_runtime.config import Config, Override, training_mode
from townlet_runtime.report import require_report_extra
from townlet_runtime.runs.directory import CONFIG, default_run_dir, require_free
from townlet_trajectory.evaluation.results import Mode

SCRIPTED = "scripted"


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """The options of `townlet train`; None where one was not given."""

    config: Path | None
    env: str | None
    controller: str | None
    mode: str | None
    total_steps: int | None
    num_envs: int | None
    seed: int | None
    run_dir: Path | None
    resume: Path | None
    eval_every: int | None
    threads: int
    preset: str | None
    settings: Sequence[str]

    def overrides(self) -> list[Override]:
        """What the options of their own name say of the config."""
        return [
            *world_options(self.env, self.controller),
            *option("training.source", self.mode, "--mode"),
            *option("training.total_env_steps", self.total_steps, "--total-steps"),
            *option("training.num_envs", self.num_envs, "--num-envs"),
            *option("training.eval_every", self.eval_every, "--eval-every"),
            *option("seed", self.seed, "--seed"),
            *option("preset", self.preset, "--preset"),
        ]


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """What the config and the options come to, as far as it can be said without the trainer."""

    config: Config
    mode: Mode
    seed: int
    worlds: Worlds
    behaviors: tuple[str, ...]
    """Of the worlds."""
    run_dir: Path
    resume: bool
    """Whether a run in `run_dir` is gone on with."""
    threads: int


def train_policy(options: TrainOptions, console: Console) -> int:
    """Train, write the run directory, print what came of it, and return the exit code."""
    console.mute_ticks()
    if options.resume is not None:
        require_no_contradiction(
            options.resume,
            config=options.config,
            run_dir=options.run_dir,
            settings=options.settings,
            overrides=options.overrides(),
        )
        finished = finished_run(options.resume)
        if finished is not None:
            return show_finished(finished, console)
    plan = _plan(options, console)
    # Not before everything that can be refused without it was: the trainer takes seconds to import.
    from townlet_runtime.cli.training import train

    # The report comes last; whoever cannot have it must not wait for the whole run to hear so. After the trainer,
    # whose extra brings what the report needs.
    require_report_extra()
    return train(plan, console)


def _plan(options: TrainOptions, console: Console) -> TrainPlan:
    path = options.config if options.resume is None else options.resume / CONFIG
    config = load(path, options.settings, options.overrides(), console).config
    worlds = Worlds.of(config, options.controller)
    # Built once for nothing but its refusals, and what it says of itself.
    behaviors = worlds.make(1).behaviors
    mode = _mode(config, worlds, behaviors)
    seed = seed_of(config) if options.seed is None else options.seed
    run_dir = options.resume or options.run_dir or default_run_dir(now=datetime.now(), mode=mode, seed=seed)
    if options.resume is None:
        require_free(run_dir)
    return TrainPlan(
        config=config,
        mode=mode,
        seed=seed,
        worlds=worlds,
        behaviors=behaviors,
        run_dir=run_dir,
        resume=options.resume is not None,
        threads=options.threads,
    )


def _mode(config: Config, worlds: Worlds, behaviors: Sequence[str]) -> Mode:
    """What is trained; PPO alone where nothing is said and there is no script to begin with."""
    mode = training_mode(config)
    if SCRIPTED in behaviors:
        return mode
    if "source" not in config.training:
        return "ppo"
    if mode != "ppo":
        raise CommandError(
            f"mode {mode} begins with a script, and `{worlds.environment}` has none: name one with --controller, "
            "or train with --mode ppo"
        )
    return mode
