"""An installed package with entry points, as `importlib.metadata` finds it: the metadata of one, in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def install(folder: Path, entry_points: Mapping[str, Mapping[str, str]], *, name: str = "mine") -> None:
    """Write the metadata of a package into `folder`, which is on the path of modules.

    Args:
        folder: holds the package's modules too.
        entry_points: values (`module:name`) by group and name.
        name: of the package.
    """
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    sections = (
        "\n".join([f"[{group}]", *(f"{key} = {entries[key]}" for key in entries)])
        for group, entries in entry_points.items()
    )
    (info / "entry_points.txt").write_text("\n\n".join(sections) + "\n")
