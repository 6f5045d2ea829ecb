"""What is kept of a finished run, by item, seed and the digest of the sources that it depends on."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import platform
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from items import Item

HERE = Path(__file__).resolve().parent
PACKAGES = HERE.parent.parent / "packages"
RESULTS = HERE / "results"

SOURCES = (
    "townlet-behavior/src/townlet_behavior/*.py",
    "townlet-trajectory/src/townlet_trajectory/data/*.py",
    "townlet-trajectory/src/townlet_trajectory/dataset/*.py",
    "townlet-trajectory/src/townlet_trajectory/recording/*.py",
    "townlet-trajectory/src/townlet_trajectory/evaluation/interfaces.py",
    "townlet-training/src/townlet_training/*.py",
    "townlet-training/src/townlet_training/learning/*.py",
    "townlet-training/src/townlet_training/network/*.py",
    "townlet-training/src/townlet_training/distil/*.py",
    "townlet-training/src/townlet_training/run/*.py",
    "townlet-runtime/src/townlet_runtime/adapters/**/*.py",
    "townlet-runtime/src/townlet_runtime/core/*.py",
    "townlet-runtime/src/townlet_runtime/policy/*.py",
    "townlet-runtime/src/townlet_runtime/simulation/*.py",
)
"""Of the packages: all that a figure can depend on. Commands, reports, formats and the town are not among them."""
LIBRARIES = ("gymnasium", "mpe2", "numpy", "torch")


class _WithoutProse(ast.NodeTransformer):
    """Removes docstrings; comments and layout are in no tree."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else node


def _programs() -> Iterator[str]:
    files = [path for pattern in SOURCES for path in sorted(PACKAGES.glob(pattern))]
    for path in [*files, HERE / "worlds.py"]:
        yield path.name
        yield ast.dump(_WithoutProse().visit(ast.parse(path.read_bytes())))


def sources_as_they_are() -> str:
    """Read all programs that a run may depend on, and return their digest, without their prose."""
    digest = hashlib.sha256()
    for text in _programs():
        digest.update(text.encode())
    return digest.hexdigest()


@functools.cache
def sources_sha256() -> str:
    """Digest of the programs as they were when it was first asked for."""
    return sources_as_they_are()


def digest_of(item: Item) -> str:
    """Digest of the sources and of what `item` says of a run; its title, target and seeds are not of a run."""
    said = {key: value for key, value in asdict(item).items() if key not in ("title", "target", "seeds")}
    return hashlib.sha256(f"{sources_sha256()}{json.dumps(said, sort_keys=True)}".encode()).hexdigest()[:16]


def result_of(run: Path, item: Item, seconds: float) -> dict[str, Any]:
    """Read what is kept of a finished run."""
    evaluation = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    final = evaluation["final"]
    scores = {"learned": final["learned"], **final["baselines"]}
    means = {name: float(np.mean(each["returns"])) for name, each in scores.items()}
    return {
        "digest": digest_of(item),
        "means": means,
        "evaluations": [[one["env_steps"], one["stage"], one["return_mean"]] for one in evaluation["history"]],
        "settings": {"steps": item.steps, "mode": item.mode, **item.settings},
        "weights_sha256": json.loads((run / "summary.json").read_text(encoding="utf-8"))["weights_sha256"],
        "seconds": round(seconds),
        "libraries": {name: version(name) for name in LIBRARIES},
        "machine": platform.platform(),
    }


def kept(item: Item) -> dict[str, dict[str, Any]]:
    """Return the results of an item by seed, those of other sources too."""
    path = RESULTS / f"{item.name}.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def keep(item: Item, seed: int, result: dict[str, Any]) -> None:
    """Write the result of a run, in the place of the one that was kept of its seed."""
    results = {**kept(item), str(seed): result}
    RESULTS.mkdir(exist_ok=True)
    lines = [f'"{name}": {json.dumps(results[name])}' for name in sorted(results, key=int)]
    (RESULTS / f"{item.name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
