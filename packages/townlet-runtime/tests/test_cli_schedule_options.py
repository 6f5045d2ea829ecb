from __future__ import annotations

from pathlib import Path

import pytest

from townlet_runtime.cli import main
from townlet_runtime.cli.training.schedule_options import PANEL, ScheduleOptions, with_schedule_options
from townlet_runtime.config import load_config, training_settings

ORIGINAL = """
--replay-sample --replay-meta --replay-manifest --capture-dir --replay-batch-size --replay-shuffle --replay-seed
--replay-drop-last --replay-streaming --bc-manifest --anneal-log-dir --anneal-exit-on-failure --train-ppo
--rollout-save-dir --rollout-ticks --rollout-auto-seed-agents --epochs --ppo-log --ppo-log-frequency
--ppo-log-max-entries --ppo-learning-rate --ppo-clip-param --ppo-value-loss-coef --ppo-entropy-coef --ppo-num-epochs
--ppo-mini-batch-size --ppo-num-mini-batches --ppo-gae-lambda --ppo-gamma --ppo-max-grad-norm --ppo-value-clip
--ppo-normalize-advantages --ppo-no-normalize-advantages
""".split()
"""Options of the original's `run_training.py`, apart from `--mode`."""


def test_every_option_of_the_original_is_in_the_help_under_its_heading(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    own, _, listed = capsys.readouterr().out.partition(f"{PANEL}:")
    assert [name for name in ORIGINAL if name not in listed.split()] == []
    assert "--run-dir" in own and "--run-dir" not in listed
    assert max(map(len, listed.splitlines())) <= 80


def test_options_reach_the_function_as_one_argument() -> None:
    @with_schedule_options("options")
    def command(*, number: int, options: ScheduleOptions) -> int:
        return number + (options.epochs or 0)

    defaults = {name: value for name, value in vars(ScheduleOptions()).items() if name != "epochs"}
    assert command(number=1, epochs=4, **defaults) == 5


@pytest.mark.parametrize(
    ("options", "section", "key", "value"),
    [
        (ScheduleOptions(epochs=7), "schedule", "epochs", 7),
        (ScheduleOptions(replay_batch_size=3), "schedule", "batch_size", 3),
        (ScheduleOptions(replay_shuffle=True), "schedule", "shuffle", True),
        (ScheduleOptions(replay_seed=5), "schedule", "shuffle_seed", 5),
        (ScheduleOptions(replay_drop_last=True), "schedule", "drop_last", True),
        (ScheduleOptions(replay_streaming=True), "schedule", "streaming", True),
        (ScheduleOptions(rollout_ticks=9), "training", "rollout_ticks", 9),
        (ScheduleOptions(rollout_auto_seed_agents=True), "training", "rollout_auto_seed_agents", True),
        (ScheduleOptions(capture_dir=Path("cap")), "training", "replay_manifest", "cap"),
        (ScheduleOptions(replay_sample=Path("s.npz")), "training", "replay_manifest", "s.npz"),
        (ScheduleOptions(bc_manifest=Path("m.json")), "training", "bc_manifest", "m.json"),
        (ScheduleOptions(ppo_learning_rate=1e-4), "ppo", "learning_rate", 1e-4),
        (ScheduleOptions(ppo_clip_param=0.3), "ppo", "clip_range", 0.3),
        (ScheduleOptions(ppo_value_loss_coef=0.1), "ppo", "value_loss_coef", 0.1),
        (ScheduleOptions(ppo_entropy_coef=0.2), "ppo", "entropy_coef", 0.2),
        (ScheduleOptions(ppo_num_epochs=2), "ppo", "num_epochs", 2),
        (ScheduleOptions(ppo_mini_batch_size=8), "ppo", "minibatch_size", 8),
        (ScheduleOptions(ppo_num_mini_batches=2), "ppo", "num_minibatches", 2),
        (ScheduleOptions(ppo_gae_lambda=0.5), "ppo", "gae_lambda", 0.5),
        (ScheduleOptions(ppo_gamma=0.7), "ppo", "discount", 0.7),
        (ScheduleOptions(ppo_max_grad_norm=1.5), "ppo", "max_grad_norm", 1.5),
        (ScheduleOptions(ppo_value_clip=0.4), "ppo", "value_clip", 0.4),
        (ScheduleOptions(ppo_normalize_advantages=False), "ppo", "normalize_advantages", False),
    ],
)
def test_what_every_option_sets(options: ScheduleOptions, section: str, key: str, value: object) -> None:
    config = load_config(None, options.overrides()).config
    assert vars(config)[section][key] == value
    assert options.given and not ScheduleOptions().given and not ScheduleOptions().overrides()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ppo-gamma", "5"], "--ppo-gamma 5.0: `ppo.gamma`: must be less than or equal to 1"),
        (["--ppo-learning-rate", "-1"], "--ppo-learning-rate -1.0: `ppo.learning_rate`: must be greater than 0"),
        (["--epochs", "0"], "expected a whole number from 1 to"),
    ],
)
def test_overrides_are_checked_as_the_config_is(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "source", "named", "mode"),
    [
        (ScheduleOptions(rollout_ticks=9), "replay", False, "rollout"),
        (ScheduleOptions(rollout_ticks=9), "replay", True, None),
        (ScheduleOptions(rollout_ticks=9), None, False, None),
        (ScheduleOptions(capture_dir=Path("cap")), None, False, "replay"),
        (ScheduleOptions(capture_dir=Path("cap")), "mixed", False, None),
        (ScheduleOptions(), "replay", False, None),
    ],
)
def test_the_mode_that_options_mean(
    options: ScheduleOptions, source: str | None, named: bool, mode: str | None
) -> None:
    assert options.mode_of(source, named=named) == mode


def test_the_size_of_minibatches_wins_over_a_count_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("ppo: {num_mini_batches: 4}\n")
    options = ScheduleOptions(ppo_mini_batch_size=16)
    settings = training_settings(load_config(path, options.overrides()).config)
    assert (settings["ppo.minibatch_size"], settings["ppo.num_minibatches"]) == (16, None)
