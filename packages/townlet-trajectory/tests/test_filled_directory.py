"""A directory that somebody else fills appears whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from townlet_trajectory import ArtifactError
from townlet_trajectory.storage.filled_directory import filled_directory


def test_it_appears_when_the_block_ends(tmp_path: Path) -> None:
    with filled_directory(tmp_path / "new") as folder:
        (folder / "below").mkdir()
        (folder / "below" / "a").write_text("x")
        assert not (tmp_path / "new").exists()
    assert (tmp_path / "new" / "below" / "a").read_text() == "x"
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, ArtifactError("x", "read", "y")])
def test_nothing_is_left_after_an_exception(error: BaseException | type[BaseException], tmp_path: Path) -> None:
    kind = error if isinstance(error, type) else type(error)

    def fail(folder: Path) -> None:
        (folder / "a").write_text("x")
        raise error

    with pytest.raises(kind), filled_directory(tmp_path / "new") as folder:
        fail(folder)
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "new").symlink_to("nowhere")
    with pytest.raises(ArtifactError, match="new: write: exists already"), filled_directory(tmp_path / "new"):
        pytest.fail("the block must not run")
    assert (tmp_path / "new").is_symlink()


def test_what_came_into_being_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    def interfere() -> None:
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "theirs").write_text("x")

    with pytest.raises(ArtifactError, match="new: write: "), filled_directory(tmp_path / "new"):
        interfere()
    assert (tmp_path / "new" / "theirs").read_text() == "x"
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("call", ["mkdir", "fsync", "rename"])
def test_errors_of_the_system(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(ArtifactError, match="new: write: No space left on device"), filled_directory(tmp_path / "new"):
        pass
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_everything_is_synced_before_it_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    sync, rename = os.fsync, os.rename

    def noted_sync(descriptor: int) -> None:
        calls.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name if os.path.isdir("/proc/self/fd") else "?")
        sync(descriptor)

    def noted_rename(old: str, new: str) -> None:
        calls.append("rename")
        rename(old, new)

    with filled_directory(tmp_path / "new") as folder:
        (folder / "below").mkdir()
        (folder / "below" / "a").write_text("x")
        (folder / "b").write_text("x")
        monkeypatch.setattr(os, "fsync", noted_sync)
        monkeypatch.setattr(os, "rename", noted_rename)
    assert len(calls) == 6
    assert calls.index("rename") == 4
    if "?" not in calls:
        assert calls == ["a", "below", "b", folder.name, "rename", tmp_path.name]
