"""Datasets behind URLs, in a store in memory that fails where it is told to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import known_implementations
from strategies import assert_same_batch
from test_shard_parts import batch_of, break_off

from townlet_trajectory import ArtifactError, EpisodeLabel, read_shards, write_shards
from townlet_trajectory.audit.dataset import audit_dataset
from townlet_trajectory.audit.report import Severity
from townlet_trajectory.dataset.filter import TrajectoryFilter
from townlet_trajectory.errors import MissingExtraError
from townlet_trajectory.formats.convert import convert
from townlet_trajectory.formats.label import label_dataset
from townlet_trajectory.formats.open import format_of, open_dataset
from townlet_trajectory.formats.shards.reader import open_shards
from townlet_trajectory.storage.folders import folder_of
from townlet_trajectory.storage.remote import _groups

SECRET = "https://ann:s3cret@nowhere.invalid/town?token=abcdef"


class FaultyStore(MemoryFileSystem):
    """A store whose `at`-th operation fails: it alone (`once`), it and all after it (`gone`), or once it is done and
    its answer is lost (`lost`)."""

    protocol = "faulty"
    store: ClassVar[dict[str, object]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    at: ClassVar[int] = 0
    how: ClassVar[str] = ""
    count: ClassVar[int] = 0

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.replace("faulty://", "memory://", 1))

    @classmethod
    def fails(cls) -> bool:
        cls.count += 1
        return cls.count == cls.at or (cls.how == "gone" and cls.count > cls.at > 0)


def _failing(name: str) -> object:
    def call(self: FaultyStore, *args: object, **options: object) -> object:
        fails = FaultyStore.fails()
        if fails and FaultyStore.how != "lost":
            raise ConnectionError(f"{SECRET}: reset by ann")
        answer = getattr(super(FaultyStore, self), name)(*args, **options)
        if fails:
            raise ConnectionError("the answer is lost")
        return answer

    return call


for _name in ("cat_file", "pipe_file", "ls", "info", "rm_file"):
    setattr(FaultyStore, _name, _failing(_name))


@pytest.fixture(autouse=True)
def _stores() -> Iterator[None]:
    fsspec.register_implementation("faulty", FaultyStore, clobber=True)
    yield
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    heal(empty=True)


def heal(*, empty: bool = False) -> None:
    FaultyStore.at = FaultyStore.count = 0
    if empty:
        FaultyStore.store.clear()
        FaultyStore.pseudo_dirs[:] = [""]


def break_at(at: int, how: str) -> None:
    FaultyStore.at, FaultyStore.how, FaultyStore.count = at, how, 0


def test_a_dataset_of_one_writer() -> None:
    write_shards("memory://town", batch_of(1), rows_per_shard=4)
    assert format_of("memory://town") == "shards"
    assert_same_batch(read_shards("memory://town"), batch_of(1))
    with open_dataset("memory://town") as opened:
        assert opened.source.decision_column(1, "action").tolist() == batch_of(1).columns["action"][3:].tolist()
    with pytest.raises(ArtifactError, match=r"memory://town: write: holds a dataset already"):
        write_shards("memory://town", batch_of(1))
    with pytest.raises(ArtifactError, match="a dataset of a single writer"):
        write_shards("memory://town", batch_of(1), writer="a")


def test_parts_are_the_same_dataset_as_in_a_directory(tmp_path: object) -> None:
    for place in ("memory://town", str(tmp_path)):
        for name, seed in (("b", 2), ("a", 1)):
            write_shards(place, batch_of(seed), rows_per_shard=4, writer=name)
    assert open_shards("memory://town").fingerprint == open_shards(str(tmp_path)).fingerprint
    assert_same_batch(read_shards("memory://town"), read_shards(str(tmp_path)))
    with pytest.raises(ArtifactError, match=r"memory://town/parts/a: write: `a` is taken, it is complete"):
        write_shards("memory://town", batch_of(3), writer="a")
    with pytest.raises(ArtifactError, match="a dataset in parts"):
        write_shards("memory://town", batch_of(3))


def test_what_is_read_is_bounded_and_compared() -> None:
    write_shards("memory://town", batch_of(1), rows_per_shard=4)
    store = fsspec.filesystem("memory")
    steps = store.cat_file("/town/steps-000001.arrow")
    for damaged, problem in (
        (steps + b"x", rf"at most {len(steps)} bytes are read"),
        (steps[:-1], rf"expected {len(steps)} bytes, got {len(steps) - 1}"),
        (steps[:-9] + bytes([steps[-9] ^ 1]) + steps[-8:], "expected SHA-256"),
    ):
        store.pipe_file("/town/steps-000001.arrow", damaged)
        with pytest.raises(ArtifactError, match=rf"^memory://town/steps-000001.arrow: \w+: {problem}"):
            read_shards("memory://town")
    store.rm_file("/town/steps-000001.arrow")
    with pytest.raises(ArtifactError, match=r"^memory://town/steps-000001.arrow: read: no such file"):
        read_shards("memory://town")
    with pytest.raises(ArtifactError, match="at most 4 bytes"):
        folder_of("memory://town").read("manifest.json", max_bytes=4, origin="here")


def test_an_audit_names_what_is_not_listed() -> None:
    write_shards("memory://town", batch_of(1), writer="a")
    with pytest.raises(RuntimeError):
        break_off("memory://town", "b")
    assert open_shards("memory://town").unfinished == ()
    fsspec.filesystem("memory").pipe_file("memory://town/parts/c/begun.json", b"{}")
    fsspec.filesystem("memory").pipe_file("memory://town/parts/a/mine", b"{}")
    with pytest.warns(UserWarning, match="1 of its parts have no manifest and are not read: c;"):
        found = [(f.severity, f.code, f.entry) for f in audit_dataset("memory://town").findings]
    assert (Severity.WARN, "unfinished-part", "parts/c") in found
    assert (Severity.FAIL, "unlisted-file", "parts/a/mine") in found


def test_other_forms_are_files_of_this_machine(tmp_path: object) -> None:
    write_shards("memory://town", batch_of(1))
    convert("memory://town", f"{tmp_path}/town.npz", to="npz")
    convert(f"{tmp_path}/town.npz", "memory://again", to="shards")
    assert_same_batch(read_shards("memory://again"), batch_of(1))
    with pytest.raises(ArtifactError, match=r"memory://town.npz: open: `npz` is written to this machine"):
        convert("memory://town", "memory://town.npz", to="npz")
    with pytest.raises(ArtifactError, match="labels are changed in place on this machine"):
        label_dataset("memory://town", EpisodeLabel.SUCCESS, TrajectoryFilter(min_length=1))


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ArtifactError, match=r"^memory://nothing: open: expected manifest.json or complete parts"):
        open_shards("memory://nothing")
    with pytest.raises(ArtifactError, match=r"Protocol not known: nosuch"):
        open_shards("nosuch://town")


def test_a_store_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"class": "no_such_module.Store", "err": "Please install nostorefs to access No Store"}
    monkeypatch.setitem(known_implementations, "nostore", known)
    with pytest.raises(MissingExtraError, match="what opens `nostore` is not installed: Please install nostorefs"):
        open_shards("nostore://town")


def test_a_failure_is_shown_without_secrets() -> None:
    break_at(1, "once")
    with pytest.raises(ArtifactError) as caught:
        open_shards("faulty://town")
    assert str(caught.value).startswith("faulty://town/manifest.json: open: ConnectionError: https://nowhere.invalid/")
    assert "s3cret" not in str(caught.value) and "abcdef" not in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


def outcomes(how: str, writer: str | None) -> tuple[int, set[str | None], set[bool]]:
    """Let every operation of a write fail, one after the other; return how many there are, the digests that a reader
    finds afterwards, and whether the write said that it was done where the new state is there."""
    digests: set[str | None] = set()
    silent: set[bool] = set()
    for at in range(1, 200):
        heal(empty=True)
        if writer is not None:
            write_shards("faulty://town", batch_of(1), rows_per_shard=4, writer="a")
        old = digest()
        break_at(at, how)
        said = False
        try:
            write_shards("faulty://town", batch_of(2), rows_per_shard=4, writer=writer)
            said = True
        except ArtifactError:
            pass
        reached = FaultyStore.count >= at
        heal()
        found = digest()
        digests.add(found)
        if said:
            assert found != old
        silent.add(found != old and not said)
        if not reached:
            return at - 1, digests, silent
    raise AssertionError("the write does not end")


def digest() -> str | None:
    """Of what is there, read whole; None where there is no dataset."""
    try:
        source = open_shards("faulty://town")
    except ArtifactError as error:
        if "expected manifest.json" not in error.reason:
            raise
        return None
    source.verify()
    assert len(read_shards("faulty://town")) == len(source.table)
    return source.fingerprint


@pytest.mark.parametrize("writer", ["b", None])
@pytest.mark.parametrize("how", ["once", "gone", "lost"])
def test_a_failure_of_any_operation_leaves_the_old_state_or_the_new_one(how: str, writer: str | None) -> None:
    heal(empty=True)
    if writer is not None:
        write_shards("faulty://town", batch_of(1), rows_per_shard=4, writer="a")
    old = digest()
    write_shards("faulty://town", batch_of(2), rows_per_shard=4, writer=writer)
    new = digest()
    count, digests, silent = outcomes(how, writer)
    # A claim, two shards of two files, a manifest, and the questions before them.
    assert count >= 6
    assert digests == {old, new}
    # Only an answer that was lost lets a writer fail whose manifest is there.
    assert (True in silent) == (how == "lost")


def test_files_are_asked_for_in_groups() -> None:
    sizes = {f"a{n}": 10 << 20 for n in range(8)} | {"large": 1 << 30, "small": 1}
    groups = [*_groups(sizes, at_once=16)]
    assert [len(group) for group in groups] == [6, 2, 1, 1]
    assert [len(group) for group in _groups(dict.fromkeys(map(str, range(40)), 1), at_once=16)] == [16, 16, 8]
