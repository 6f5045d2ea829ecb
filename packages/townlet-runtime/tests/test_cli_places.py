"""Datasets by URL and in parts, by command: recorded, looked at, curated, cloned."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from townlet_runtime.cli import main
from townlet_runtime.cli.recording import FileTarget, parse_target
from townlet_runtime.errors import ConfigError
from townlet_trajectory.formats.shards.reader import open_shards
from townlet_trajectory.storage.urls import Url

TOWN = ("--set", "town.agents=3", "--set", "town.episode_ticks=40", "--ticks", "60")


@pytest.fixture(autouse=True)
def _empty_store() -> Iterator[None]:
    yield
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def call(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main([*words])
    out, err = capsys.readouterr()
    return code, out, err


def record(place: str, name: str, seed: int) -> None:
    assert main(["run", *TOWN, "--seed", str(seed), "--record", place, "--writer", name, "-q"]) == 0


def test_what_is_recorded_behind_a_url_or_as_a_part_is_shards() -> None:
    url = Url("s3://bucket/town")
    assert parse_target("s3://bucket/town") == FileTarget(folder=url, format="shards")
    assert parse_target("shards:s3://bucket/town") == FileTarget(folder=url, format="shards")
    assert parse_target("town", writer="a") == FileTarget(folder=Path("town"), format="shards", writer="a")
    with pytest.raises(ConfigError, match="what a URL holds is written as shards, got npz"):
        parse_target("npz:s3://bucket/town")
    with pytest.raises(ConfigError, match="--writer a: a part is written as shards, got captures"):
        parse_target("captures:town", writer="a")


@pytest.mark.parametrize("store", ["memory://recorded", "{}"])
def test_parts_are_recorded_and_looked_at(store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = store.format(tmp_path / "recorded")
    for seed in (2, 1):
        record(f"shards:{place}", f"worker-{seed}", seed)
    code, out, _ = call(capsys, "dataset", "info", f"{place}/agents", "--json")
    said = json.loads(out)
    assert (code, said["steps"], said["parts"]) == (0, 360, {"worker-1": 180, "worker-2": 180})
    assert said["sha256"] == open_shards(f"{place}/agents").fingerprint
    assert said["info"]["seeds"] == {"worker-1/world": 1, "worker-2/world": 2}
    code, out, _ = call(capsys, "dataset", "describe", f"{place}/agents", "--json")
    assert (code, json.loads(out)["num_steps"], json.loads(out)["num_worlds"]) == (0, 360, 2)
    code, out, _ = call(capsys, "dataset", "audit", f"{place}/agents", "--exit-on-failure")
    assert code == 0, out
    code, _, err = call(capsys, "run", *TOWN, "--record", f"shards:{place}", "--writer", "worker-1", "-q")
    assert code == 2 and "`worker-1` is taken, it is complete" in err


def test_a_part_that_was_broken_off_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(f"shards:{tmp_path}", "a", 1)
    (tmp_path / "agents" / "parts" / "b").mkdir()
    assert "  not finished, and not read: b\n" in call(capsys, "dataset", "info", f"{tmp_path}/agents")[1]
    err = call(capsys, "dataset", "describe", f"{tmp_path}/agents")[2]
    assert "1 of its parts have no manifest and are not read: b" in err


def test_datasets_are_written_to_urls(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *TOWN, "--record", "memory://recorded", "-q"]) == 0
    place = "memory://recorded/agents"
    for words in (
        ("convert", place, "--to", "shards", "--output", "memory://again"),
        ("filter", place, "--min-length", "2", "--output", "memory://kept"),
        ("label", place, "success", "--all", "--output", "memory://labelled"),
        ("split", place, "--fraction", "0.5", "--output", "memory://halves"),
    ):
        code, _, err = call(capsys, "dataset", *words)
        assert code == 0, err
    steps = open_shards(place).num_steps
    assert [open_shards(f"memory://{name}").num_steps for name in ("again", "labelled")] == [steps, steps]
    assert sum(open_shards(f"memory://halves/{side}").num_steps for side in ("train", "held-out")) == steps
    for words, problem in (
        (("label", place, "success", "--all"), "labels are changed in place on this machine"),
        (("convert", place, "--to", "npz", "--output", "memory://town.npz"), "`npz` is written to this machine"),
        (("split", place, "--fraction", "0.5", "--output", "memory://halves"), "train exists already"),
        (("describe", "nosuch://ann:s3cret@host/town"), "nosuch://host/town/manifest.json: open: "),
    ):
        code, _, err = call(capsys, "dataset", *words)
        assert code == 2 and problem in err and "s3cret" not in err
