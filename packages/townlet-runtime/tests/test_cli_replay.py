"""What one replay sample holds: lines, JSON, telemetry beside it, and damaged samples."""

import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
from classic_files import write_originals

from townlet_runtime.cli import main

QUEUE = Path(__file__).parent / "data" / "scenarios" / "queue_conflict.yaml"


@cache
def recorded() -> tuple[Path, Path]:
    """A capture of a scenario, and the telemetry of the same run."""
    folder = Path(mkdtemp())
    telemetry = folder / "t.jsonl"
    options = ["--ticks", "30", "--record", str(folder / "cap"), "--telemetry-path", str(telemetry), "-q"]
    assert main(["run", str(QUEUE), *options]) == 0
    return folder / "cap" / "rollout_sample_ben_002.npz", telemetry


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(["replay", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def test_metadata_and_named_features_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    sample, _ = recorded()
    lines = shown(capsys, str(sample))
    assert lines[:5] == [
        "Observation metadata:",
        "  variant: hybrid",
        "  map_shape: (4, 11, 11)",
        "  map_channels: ['self', 'agents', 'objects', 'reservations']",
        "  social_context:",
    ]
    assert lines[5] == "    configured_slots: 0"
    assert lines[-2:] == ["  rivalry_max: 0.000", "  rivalry_avoid_count: 0.000"]
    with np.load(sample) as arrays:
        hunger = arrays["features"][
            0, json.loads(sample.with_suffix(".json").read_text())["feature_names"].index("need_hunger")
        ]
    assert f"  need_hunger: {hunger:.3f}" in lines


def test_json_holds_everything(capsys: pytest.CaptureFixture[str]) -> None:
    sample, _ = recorded()
    assert main(["replay", str(sample), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["valid"], found["timesteps"], found["telemetry"]) == (True, 30, None)
    assert found["metadata"] == json.loads(sample.with_suffix(".json").read_text())
    assert list(found["features"]) == found["metadata"]["feature_names"]


def test_files_of_the_original_and_another_description(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = write_originals(tmp_path / "idle").with_name("anna.npz")
    assert shown(capsys, str(sample), "--validate") == ["Sample validation successful."]
    moved = tmp_path / "elsewhere.json"
    sample.with_suffix(".json").rename(moved)
    assert shown(capsys, str(sample), "--meta", str(moved), "--validate") == ["Sample validation successful."]
    assert main(["replay", str(sample)]) == 2
    assert "anna.json" in capsys.readouterr().err


def test_telemetry_tells_what_the_agent_got(capsys: pytest.CaptureFixture[str]) -> None:
    sample, telemetry = recorded()
    assert main(["replay", str(sample), "--telemetry", str(telemetry), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    told = found["telemetry"]
    assert (told["records"], told["agent_records"]) == (30, 30)
    assert told["reward_sum"] == pytest.approx(found["metadata"]["metrics"]["reward_sum"], abs=1e-5)
    lines = shown(capsys, str(sample), "--telemetry", str(telemetry), "--validate")
    assert lines[:3] == ["Sample validation successful.", "Telemetry:", "  records: 30"]


def test_one_object_or_an_array_is_telemetry_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample, telemetry = recorded()
    records = [json.loads(line) for line in telemetry.read_text().splitlines()[:2]]
    for number, document in enumerate((records[0], records), start=1):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(document))
        assert f"  records: {number}" in shown(capsys, str(sample), "--telemetry", str(path))
    strange = tmp_path / "strange.json"
    strange.write_text(json.dumps({"tick": 1, "reward_breakdown": {"zed": {"total": 0.0}}}))
    assert main(["replay", str(sample), "--telemetry", str(strange)]) == 2
    assert "tells nothing of `ben`" in capsys.readouterr().err


def test_a_damaged_sample_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = write_originals(tmp_path / "idle").with_name("bert.npz")
    with np.load(sample) as arrays:
        good = dict(arrays)
    for name, wrong, problem in (
        ("rewards", np.full(30, np.nan, np.float32), "`rewards` must be finite"),
        ("actions", np.zeros(29, np.int64), "`actions` must be"),
        ("features", np.zeros((30, 2), np.float32), "`features` must be"),
    ):
        np.savez(sample, **{**good, name: wrong})
        assert main(["replay", str(sample), "--validate"]) == 2
        out, err = capsys.readouterr()
        assert out == "" and str(sample) in err and problem in err
    sample.write_bytes(b"no archive")
    assert main(["replay", str(sample), "--validate"]) == 2
    assert main(["replay", str(tmp_path / "no.npz")]) == 2
    assert main(["replay"]) == 2
