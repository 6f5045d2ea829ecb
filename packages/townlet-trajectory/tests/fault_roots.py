"""A folder with everything in it that could lead out of it, and secrets around it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np

from townlet_trajectory import ArtifactError
from townlet_trajectory.formats.captures.directory import read_captures
from townlet_trajectory.storage.paths import read_below

SECRET = b"secret of somebody else"
GOOD = b"good"


def make_root(parent: Path) -> Path:
    """The folder `root` below `parent`; outside it are secrets, inside are ways to them."""
    root, outside = parent / "root", parent / "outside"
    (root / "a").mkdir(parents=True)
    (outside / "a").mkdir(parents=True)
    for secret in (parent / "secret", outside / "secret", outside / "a" / "secret"):
        secret.write_bytes(SECRET)
    for folder in (root, root / "a"):
        (folder / "good").write_bytes(GOOD)
        (folder / "link").symlink_to(outside / "secret")
        (folder / "folder_link").symlink_to(outside)
        (folder / "loop").symlink_to("loop")
        (folder / "hard").symlink_to("/etc/hostname")
        os.mkfifo(folder / "pipe")
    here = os.getcwd()
    os.chdir(root)  # the path of a socket has at most 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("socket")
    finally:
        os.chdir(here)
    return root


def read_as_file(root: Path, name: str) -> bytes:
    """By the one function that opens what a file names."""
    return read_below(root, name, max_bytes=1000, origin="manifest.json")


def read_as_sample(root: Path, name: str) -> bytes:
    """As the sample of a manifest, with a second root."""
    (root / "manifest.json").write_text(json.dumps([{"sample": name, "meta": name}]))
    read_captures(root / "manifest.json", data_root=root / "a")
    raise AssertionError(f"{name!r} is no sample")


WAYS: tuple[Callable[[Path, str], bytes], ...] = (read_as_file, read_as_sample)


def outcome_of(way: Callable[[Path, str], bytes], root: Path, name: str) -> str:
    """`refused` or `good`; an `AssertionError` for anything else."""
    outcome, found = "good", GOOD
    try:
        found = way(root, name)
    except ArtifactError as error:
        outcome, found = "refused", str(error).encode(errors="replace")
    assert SECRET not in found, f"{name!r}: the secret is told"
    assert outcome == "refused" or found == GOOD, f"{name!r}: read {found!r}"
    return outcome


def swapped(root: Path, number: int) -> None:
    """Let `root`/moving be a folder of the root's own, and a link out of it in turns."""
    moving, own, link = root / "moving", root / "own", root / "out"
    if not own.exists() and not link.is_symlink():
        own.mkdir()
        (own / "secret").write_bytes(GOOD)
        link.symlink_to(root.parent / "outside")
        os.rename(own, moving)
    elif number % 2:
        os.rename(moving, own)
        os.rename(link, moving)
    else:
        os.rename(moving, link)
        os.rename(own, moving)


def random_names(rng: np.random.Generator, count: int) -> list[str]:
    """Names put together from the parts that matter."""
    parts = (
        "..",
        ".",
        "/",
        "//",
        "\\",
        "a",
        "good",
        "link",
        "folder_link",
        "secret",
        "\0",
        "C:",
        " ",
        "é",
        "\ud800",
        "~",
    )
    return ["".join(rng.choice(parts, rng.integers(1, 7))) for _ in range(count)]
