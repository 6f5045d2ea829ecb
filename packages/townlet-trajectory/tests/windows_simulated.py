"""A program that makes this Python look like the one of Windows to our packages, and then uses them.

`fcntl`, forks, SIGHUP, descriptors of folders and the flags of POSIX are gone; only files are opened by descriptor;
`msvcrt.locking` locks. What Windows itself does is not simulated. Arguments: a folder, and the packages.
"""

from __future__ import annotations

import errno
import fcntl
import importlib
import os
import pkgutil
import shutil
import signal
import sys
import types
from pathlib import Path

GONE = (
    *("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_SYNC", "O_DSYNC", "O_NOCTTY"),
    *("fork", "forkpty", "register_at_fork", "pread", "preadv", "pwrite", "pwritev", "mkfifo", "getuid", "chown"),
    *("major", "minor", "sched_getaffinity", "supports_dir_fd"),
)
POSIX_MODULES = ("fcntl", "pwd", "grp", "resource", "termios", "posix")


def modules_of(package: str) -> list[str]:
    """All modules of a package, those of absent extras left out, and `__main__`, which would begin to run."""
    found = []
    root = importlib.import_module(package)
    for module in pkgutil.walk_packages(root.__path__, f"{package}."):
        if module.name.endswith(".__main__"):
            continue
        try:
            importlib.import_module(module.name)
        except Exception as error:
            absent = error if isinstance(error, ModuleNotFoundError) else error.__cause__
            if not isinstance(absent, ModuleNotFoundError) or str(absent.name).startswith("townlet_"):
                raise
            continue
        found.append(module.name)
    return [package, *found]


def forget_ours() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0].startswith("townlet_")]:
        del sys.modules[name]


def simulate() -> None:
    """Only what is imported after this sees Windows."""
    flock, open_file = fcntl.flock, os.open

    def locking(descriptor: int, mode: int, num_bytes: int) -> None:
        try:
            flock(descriptor, {1: fcntl.LOCK_EX | fcntl.LOCK_NB, 0: fcntl.LOCK_UN}[mode])
        except BlockingIOError as error:
            raise PermissionError(errno.EACCES, "Permission denied") from error

    def open_no_folder(path: object, flags: int, mode: int = 0o777) -> int:
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return open_file(path, flags, mode)

    sys.modules["msvcrt"] = types.ModuleType("msvcrt")
    vars(sys.modules["msvcrt"]).update(locking=locking, LK_NBLCK=1, LK_UNLCK=0)
    for name in POSIX_MODULES:
        sys.modules[name] = None  # importing it is an ImportError
    for name in GONE:
        if name in vars(os):
            delattr(os, name)
    os.O_BINARY = 0
    os.open = open_no_folder
    shutil._use_fd_functions = False
    sys.platform = "win32"
    for name in ("SIGHUP", "SIGPIPE", "SIGKILL"):
        delattr(signal, name)
        del signal.Signals._member_map_[name]


def use(folder: Path) -> list[str]:
    """Record, write and read; return what was refused, and what is in the folder at last."""
    refused: list[str] = []
    import numpy as np

    from townlet_trajectory import ArraySpec, ArtifactError, TrajectorySchema, TrajectoryService, load_batch, save_batch
    from townlet_trajectory.storage import files, manifest
    from townlet_trajectory.storage.paths import read_below, read_named

    schema = TrajectorySchema(
        observations={"x": ArraySpec("float32", (2,))}, decisions={"action": ArraySpec("int64")}, vocabulary=("a",)
    )
    recorder = TrajectoryService(schema, max_rows=8)
    one = np.zeros(1, np.int64)
    seen, left = {"x": np.ones((1, 2), np.float32)}, {"x": np.zeros((1, 2), np.float32)}
    recorder.begin_tick(0, one, seen, agent_ids=np.array(["ann"], object), worlds=one, episodes=one)
    recorder.record_decisions({"action": one})
    over, cut = np.array([True]), np.array([False])
    recorder.record_outcome(np.ones(1, np.float32), over, cut, final_rows=one, final_observations=left)
    save_batch(folder / "b.npz", recorder.collect())
    assert load_batch(folder / "b.npz")[0].rewards.tolist() == [1.0]

    files.write_bytes_atomic(folder / "f", b"a\r\nb\n\x1a")
    assert read_named(folder / "f", max_bytes=10) == b"a\r\nb\n\x1a"
    manifest.write_directory(folder / "d", {"x": b"1"})
    assert manifest.read_directory(folder / "d") == {"x": b"1"}
    with files.filled_directory(folder / "e") as filled:
        (filled / "y").write_bytes(b"2")
    assert read_below(folder, "e/y", max_bytes=1, origin=folder) == b"2"
    (folder / "log").write_bytes(b"1\n2")
    files.append_json_line(folder / "log", 3)
    assert files.read_json_lines(folder / "log") == [1, 3]
    with files.DirectoryLock(folder / "d"):
        for directory in (folder / "d", folder / "missing"):
            try:
                files.DirectoryLock(directory).__enter__()
            except ArtifactError as error:
                refused.append(error.reason)
    with files.DirectoryLock(folder / "d"):
        pass
    files.remove_directory(folder / "d")
    (folder / "link").symlink_to(folder / "f")
    (folder / "g").symlink_to(folder / "e")
    for name in ("link", "g/y", "ff:stream", "e", "none"):
        try:
            read_below(folder, name, max_bytes=10, origin=folder)
        except ArtifactError as error:
            refused.append(f"{error.stage} {error.reason}")
    try:
        files.append_line(folder / "link", "x")
    except ArtifactError as error:
        refused.append(f"{error.stage} {error.reason}")
    return [*refused, " ".join(sorted(path.name for path in folder.iterdir()))]


def use_runtime(folder: Path) -> None:
    """Claim a run directory, find it in use, and leave nothing beside it."""
    from townlet_runtime.cli.console import ENDING, end_on_signals
    from townlet_runtime.cli.threads import threads_of_run
    from townlet_runtime.errors import PolicyFileError, RunDirectoryError
    from townlet_runtime.policy.file import read_policy_bytes
    from townlet_runtime.runs.directory import new_run_directory, require_free

    with new_run_directory(folder / "runs" / "one") as claimed:
        refusal = ""
        try:
            require_free(claimed)
        except RunDirectoryError as error:
            refusal = str(error)
        assert "in use by another process" in refusal
    assert not (folder / "runs").exists()
    with new_run_directory(folder / "run") as claimed:
        (claimed / "begun.json").write_bytes(b'{"threads": 3}')
    assert threads_of_run(folder / "run") == 3
    assert read_policy_bytes(folder / "run" / "begun.json") == b'{"threads": 3}'
    try:
        read_policy_bytes(folder / "run")
    except PolicyFileError:
        pass
    else:
        raise AssertionError("a folder was read as a policy")
    assert ENDING == (signal.SIGINT, signal.SIGTERM)
    with end_on_signals():
        pass
    shutil.rmtree(folder / "run")


def main() -> None:
    folder, *packages = sys.argv[1:]
    modules = [module for package in packages for module in modules_of(package)]
    forget_ours()
    simulate()
    for module in modules:
        importlib.import_module(module)
    if "townlet_runtime" in packages:
        use_runtime(Path(folder))
    sys.stdout.write("\n".join([*use(Path(folder)), str(len(modules))]))


if __name__ == "__main__":
    main()
