import json
from pathlib import Path

import pytest

from townlet_runtime.runs.ppo_log import PPOLog


def offsets(path: Path) -> list[int]:
    return [json.loads(line)["log_stream_offset"] for line in path.read_text().splitlines()]


def write(log: PPOLog, first: int, last: int) -> None:
    for offset in range(first, last + 1):
        log.write({"log_stream_offset": offset, "loss_total": None})


def test_lines_go_to_the_next_file_when_one_is_full(tmp_path: Path) -> None:
    path = tmp_path / "ppo.jsonl"
    write(PPOLog(path, every=1, max_lines=2), 1, 5)
    names = ["ppo.jsonl", "ppo.jsonl.1", "ppo.jsonl.2"]
    assert [offsets(tmp_path / name) for name in names] == [[1, 2], [3, 4], [5]]
    assert sorted(each.name for each in tmp_path.iterdir()) == names


def test_another_call_goes_on_in_the_newest_file(tmp_path: Path) -> None:
    path = tmp_path / "ppo.jsonl"
    write(PPOLog(path, every=1, max_lines=2), 1, 3)
    write(PPOLog(path, every=1, max_lines=2), 1, 2)
    assert [offsets(tmp_path / f"ppo.jsonl{end}") for end in ("", ".1", ".2")] == [[1, 2], [3, 1], [2]]


@pytest.mark.parametrize(("every", "expected"), [(1, [1, 2, 3, 4, 5, 6, 7]), (3, [3, 6])])
def test_every_so_many_th_line_is_written(every: int, expected: list[int], tmp_path: Path) -> None:
    write(PPOLog(tmp_path / "log", every=every, max_lines=None), 1, 7)
    assert offsets(tmp_path / "log") == expected


def test_lines_are_appended_to_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "log").write_text('{"log_stream_offset": 9}\n')
    write(PPOLog(tmp_path / "log", every=1, max_lines=None), 1, 1)
    assert offsets(tmp_path / "log") == [9, 1]


def test_without_a_path_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(PPOLog(None, every=1, max_lines=1), 1, 3)
    assert list(tmp_path.iterdir()) == []
