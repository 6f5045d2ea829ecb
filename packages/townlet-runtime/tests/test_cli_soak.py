"""Training by turns on a record and on rollouts: the log, its cycles, and what is refused."""

import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
from classic_files import write_originals

from townlet_runtime.cli import main
from townlet_trajectory.formats.convert import convert

TOWN = "config_id: tiny\ntown: {agents: 3, episode_ticks: 40, local_window: 7}\nworld: {grid_size: [8, 8]}\n"
TRAINING = "network: {hidden_sizes: [8]}\ntraining: {num_envs: 2}\n"
CONFLICT = [
    f"conflict.{name}_{kind}_avg" for name in ("rivalry_max", "rivalry_avoid_count") for kind in ("mean", "max")
]
KEYS = set(
    "epoch updates transitions loss_policy loss_value loss_entropy loss_total clip_fraction adv_mean adv_std grad_norm "
    "kl_divergence telemetry_version lr steps adv_zero_std_batches adv_min_std clip_triggered_minibatches "
    "clip_fraction_max epoch_duration_sec data_mode cycle_id batch_entropy_mean batch_entropy_std grad_norm_max "
    "kl_divergence_max reward_advantage_corr rollout_ticks log_stream_offset queue_conflict_events "
    "queue_conflict_intensity_sum shared_meal_events late_help_events shift_takeover_events chat_success_events "
    "chat_failure_events chat_quality_mean baseline_sample_count baseline_reward_mean baseline_reward_sum "
    "baseline_reward_sum_mean baseline_log_prob_mean".split()
) | set(CONFLICT)
"""Of the original's log."""


@cache
def town() -> tuple[Path, Path]:
    """A config, and a capture of its town."""
    folder = Path(mkdtemp())
    config = folder / "town.yaml"
    config.write_text(TOWN + TRAINING)
    assert main(["capture", "rollout", str(config), "--output", str(folder / "cap"), "--ticks", "40", "-q"]) == 0
    return config, folder / "cap"


def soaked(output: Path, *more: str) -> int:
    config, capture = town()
    options = ["--baseline-dir", str(capture), "--output-dir", str(output), "--threads", "1", "--rollout-ticks", "20"]
    return main(["soak", str(config), *options, *more])


def lines(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "ppo_soak.jsonl").read_text().splitlines()]


def test_even_cycles_replay_and_odd_ones_roll_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "soak"
    assert soaked(output, "--cycles", "4") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == f"Soak run complete. Telemetry log written to {output / 'ppo_soak.jsonl'}"
    assert [line.partition(": ")[0] for line in out[:-1]] == ["PPO epoch 1"] * 4
    assert [path.name for path in output.iterdir()] == ["ppo_soak.jsonl"]
    rows = lines(output)
    assert all(row.keys() >= KEYS for row in rows)
    assert [row["data_mode"] for row in rows] == ["replay", "rollout", "replay", "rollout"]
    assert [(row["cycle_id"], row["epoch"], row["log_stream_offset"]) for row in rows] == [
        (0, 1, 1),
        (1, 1, 2),
        (2, 1, 3),
        (3, 1, 4),
    ]
    # One network goes through all cycles: steps add up.
    assert rows[3]["steps"] == sum(row["transitions"] for row in rows)
    assert [row["rollout_ticks"] for row in rows] == [0, 20, 0, 20]


def test_a_second_soak_begins_the_log_anew_and_an_odd_number_of_cycles_ends_with_the_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ppo_soak.jsonl").write_text("{}\n")
    assert soaked(tmp_path, "--cycles", "3", "--epochs", "2", "--log-frequency", "2", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["cycles"], found["updates"], found["last"]["data_mode"]) == (3, 6, "replay")
    # Two updates in a row on the same data, and every second line of the log.
    assert [(row["cycle_id"], row["data_mode"], row["epoch"]) for row in lines(tmp_path)] == [
        (0, "replay", 2),
        (1, "rollout", 2),
        (2, "replay", 2),
    ]


def test_a_record_is_read_behind_a_url(tmp_path: Path) -> None:
    pytest.importorskip("fsspec.implementations.memory")
    config, capture = town()
    for name, place in (("here", str(tmp_path / "shards")), ("url", "memory://soaked")):
        convert(capture, place, to="shards")
        options = ["--baseline-dir", place, "--output-dir", str(tmp_path / name), "--rollout-ticks", "20"]
        assert main(["soak", str(config), *options, "--cycles", "1", "--threads", "1", "-q"]) == 0
    taken = {"epoch_duration_sec": None, "wall_time_s": None}
    here, url = ({**lines(tmp_path / name)[0], **taken} for name in ("here", "url"))
    assert here == url and here["data_mode"] == "replay"


def test_a_record_of_another_world_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = write_originals(tmp_path / "idle").parent
    config, _ = town()
    options = ["--baseline-dir", str(record), "--output-dir", str(tmp_path / "soak"), "--threads", "1"]
    assert main(["soak", str(config), *options]) == 2
    assert "mode mixed learns in the world too" in capsys.readouterr().err
    assert main(["soak", str(config), "--output-dir", str(tmp_path)]) == 2
    assert "--baseline-dir" in capsys.readouterr().err
    missing = ["--baseline-dir", str(tmp_path / "no"), "--output-dir", str(tmp_path / "soak")]
    assert main(["soak", str(config), *missing]) == 2
    assert "no" in capsys.readouterr().err
