"""Tune settings with Optuna: trials that fall behind are ended early (needs `optuna` and the extra `training`).

Trials are judged by the episodes that choose checkpoints, so that the final ones stay unseen. What wins is the best of
several looks at the same episodes: train it, and the settings that it is to replace, with seeds of their own, and let
`townlet compare` say whether it is better.
"""

import tempfile
from pathlib import Path

import optuna

from townlet_runtime.testing import Corridor, CorridorConfig
from townlet_runtime.training import Progress, TrainingConfig, train
from townlet_training import NetworkConfig, PPOConfig

NUM_TRIALS = 4


def world(num_worlds: int) -> Corridor:
    return Corridor(CorridorConfig(), num_worlds=num_worlds)


def run_trial(study: optuna.Study, run_dir: Path) -> None:
    """Ask for settings, train with them as long as they are promising, and tell how far they came."""
    trial = study.ask()
    ppo = PPOConfig(learning_rate=trial.suggest_float("learning_rate", 1e-5, 1e-2, log=True))
    network = NetworkConfig(hidden_sizes=(trial.suggest_categorical("width", [4, 16]),))
    config = TrainingConfig(
        mode="ppo", seed=trial.number, total_env_steps=1_200, num_envs=4, rollout_ticks=32, baselines=("random",),
        eval_every=2, eval_episodes=10, final_episodes=10, network=network, ppo=ppo,
    )  # fmt: skip
    seen: list[float] = []

    def report(progress: Progress) -> None:
        # It is called after updates too, with the return of the last evaluation.
        if progress.last_return is not None and progress.last_return not in seen:
            seen.append(progress.last_return)
            trial.report(progress.last_return, progress.env_steps)

    summary = train(world, config, run_dir, on_progress=report, stop=trial.should_prune)
    if summary.interrupted:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    else:
        study.tell(trial, summary.history[-1].return_mean)
    print(f"trial {trial.number}: {'pruned' if summary.interrupted else 'complete'}, {trial.params}")


optuna.logging.set_verbosity(optuna.logging.WARNING)
pruner = optuna.pruners.MedianPruner(n_startup_trials=1)
study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0), pruner=pruner)
with tempfile.TemporaryDirectory() as folder:
    for number in range(NUM_TRIALS):
        run_trial(study, Path(folder, str(number)))
print(f"best: return {study.best_value:.2f} with {study.best_params}")
