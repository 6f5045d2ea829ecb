"""Crafted paths, as a file that was made to harm would spell them."""

from __future__ import annotations

from collections.abc import Iterator

_STEPS = ("..", ".", "", "a/..", "../..", "a/../..", "./..", "..//", "a//..", " ..", ".. ", "...", "%2e%2e", "..%2f")
_TARGETS = ("secret", "etc/passwd", "a/secret", "")
_ABSOLUTE = (
    *("/", "/secret", "//secret", "///etc/passwd", "/proc/self/environ", "/dev/zero", "/dev/stdin", "~/x", "~root/x"),
    *("C:", "C:secret", "C:/secret", "c:\\secret", "\\\\server\\share\\x", "//server/share/x", "\\\\?\\C:\\x"),
    *("file:///etc/passwd", "http://host/x", "a:b", "NUL", "CON", "aux.txt"),
)
_CHARACTERS = (
    *("\0", "a\0b", "secret\0.npz", "a\\b", "..\\secret", "a\\..\\..\\secret", "\\secret", "\ud800", "a/\udcff"),
    *("\u2024\u2024/secret", "\uff0e\uff0e/secret", "\u2215etc", "a\n/../secret", "\t", "a\r", "\u202e", "é/../x"),
)
_LONG = ("x" * 256, "a/" + "x" * 300, "x/" * 3000 + "x", "../" * 500 + "secret", "é" * 128, "." * 255, "x" * 5000)


def crafted_names() -> Iterator[str]:
    """About 200 names; each is either refused or stays below the root."""
    for step in _STEPS:
        for target in _TARGETS:
            yield f"{step}/{target}"
            yield f"a/{step}/{target}"
    yield from _ABSOLUTE
    yield from _CHARACTERS
    yield from _LONG
    for link in ("link", "folder_link", "loop", "hard"):
        for suffix in ("", "/", "/.", "/secret", "/../secret", "/a/secret"):
            yield f"{link}{suffix}"
            yield f"a/{link}{suffix}"
    yield from ("pipe", "a/pipe", "a", "a/", "socket", "a/good", "good", "a/b/../good", "good/x", "a/good/")
