"""Nothing outside the root is ever opened."""

import os
import re
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_trajectory import ArtifactError
from townlet_trajectory.storage.paths import escaped, read_below, read_named, relative_parts

BAD_NAMES = [
    "",
    "/etc/passwd",
    "..",
    "../x",
    "a/../../x",
    "a/..",
    "./a",
    "a//b",
    "a/",
    "C:/x",
    "c:x",
    "//server/share",
    "\\\\server\\share",
    "a\\..\\b",
    "a\0b",
    "a/" + "x" * 256,
    "\ud800",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError) as caught:
        relative_parts(name, "manifest.json")
    assert (str(caught.value.path), caught.value.stage) == ("manifest.json", "path")
    with pytest.raises(ArtifactError):
        read_below(tmp_path, name, max_bytes=10, origin="manifest.json")


@given(st.text(alphabet=st.sampled_from("./\\ab:\0~ "), max_size=12))
def test_what_is_accepted_stays_below(name: str) -> None:
    try:
        parts = relative_parts(name, "m")
    except ArtifactError:
        return
    assert "/".join(parts) == name
    assert os.path.normpath(f"/root/{name}") == f"/root/{name}"


def test_reads_below_folders(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_bytes(b"12345")
    assert read_below(tmp_path, "a/b/c", max_bytes=5, origin="m") == b"12345"
    with pytest.raises(ArtifactError, match="at most 4 bytes are read, got 5"):
        read_below(tmp_path, "a/b/c", max_bytes=4, origin="m")
    with pytest.raises(ArtifactError, match="No such file"):
        read_below(tmp_path, "a/x", max_bytes=4, origin="m")


def test_links_are_not_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (root / "file").symlink_to(outside / "secret")
    (root / "folder").symlink_to(outside)
    for name in ("file", "folder/secret"):
        with pytest.raises(ArtifactError) as caught:
            read_below(root, name, max_bytes=100, origin="m")
        assert caught.value.stage == "open"


def test_only_regular_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(ArtifactError):
            read_below(tmp_path, name, max_bytes=100, origin="m")


def test_a_link_that_the_user_names_is_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_named(tmp_path / "link", max_bytes=1) == b"x"
    with pytest.raises(ArtifactError, match="No such file"):
        read_named(tmp_path / "missing", max_bytes=1)


def test_a_pipe_a_device_and_a_folder_that_the_user_names_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path / "link", tmp_path, Path("/dev/zero"), Path("/dev/tty")):
        with pytest.raises(ArtifactError) as caught:
            read_named(path, max_bytes=100)
        assert caught.value.stage == "open"


def test_a_file_of_twenty_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "huge").touch()
    os.truncate(tmp_path / "huge", 20 << 30)
    tracemalloc.start()
    with pytest.raises(ArtifactError, match=f"at most 100 bytes are read, got {20 << 30}"):
        read_named(tmp_path / "huge", max_bytes=100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_escaped_by_hand() -> None:
    assert escaped("alice_1-x") == "alice_1-x"
    assert escaped("../a b") == "%2E%2E%2Fa%20b"
    assert escaped("é") == "%C3%A9"


@given(st.text(st.characters(), max_size=300))
def test_escaped_is_always_a_plain_name(agent_id: str) -> None:
    name = escaped(agent_id)
    assert re.fullmatch(r"[A-Za-z0-9_%-]{0,137}", name)


@given(st.text(max_size=40), st.text(max_size=40))
def test_different_ids_have_different_names(first: str, second: str) -> None:
    assert (escaped(first) == escaped(second)) == (first == second)
    assert escaped("x" * 200 + first) != escaped("x" * 200 + first + "y")


def test_what_is_allocated_follows_the_file_and_not_the_limit(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 100)
    tracemalloc.start()
    assert len(read_below(tmp_path, "f", max_bytes=2 << 30, origin="m")) == 100
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_an_error_of_reading_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_bytes(b"x")

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:  # pytest itself reads files later
        patch.setattr(os, "fstat", fail)
        with pytest.raises(ArtifactError) as caught:
            read_below(tmp_path, "f", max_bytes=9, origin="m")
    assert (caught.value.stage, caught.value.reason) == ("open", "Input/output error")
