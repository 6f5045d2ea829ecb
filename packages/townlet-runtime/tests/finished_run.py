"""The directory of a finished run whose policy was written by hand, for what needs a policy but no training."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from onnx_files import card, policy_file
from report_samples import SAMPLE

from townlet_runtime.config import dump_config, load_config, parse_override, town_config
from townlet_runtime.runs.directory import file_sha256
from townlet_runtime.runs.summary import RunSummaryFile
from townlet_runtime.town import Town

CONFIG = load_config(None, [parse_override("town.agents=3")]).config


def town_policy() -> bytes:
    """A policy for the built-in town: linear in the features, with drawn weights."""
    spec = Town(town_config(CONFIG), num_worlds=1).spec
    shapes = spec.observation_shapes
    generator = np.random.default_rng(1)
    (width,) = shapes["features"]
    weights = generator.normal(size=(width, len(spec.vocabulary))).astype(np.float32)
    values = generator.normal(size=width).astype(np.float32)
    return policy_file(weights, values, card(spec.vocabulary.keys, shapes, world=spec.name), shapes=shapes)


def write_finished_run(run_dir: Path) -> Path:
    """Make `run_dir` with its config, its policy and a summary that knows the policy; return it."""
    run_dir.mkdir(parents=True)
    (run_dir / "config.yaml").write_text(dump_config(CONFIG))
    (run_dir / "policy.onnx").write_bytes(town_policy())
    digest = file_sha256(run_dir / "policy.onnx")
    summary = RunSummaryFile.read(SAMPLE / "summary.json")
    dataclasses.replace(summary, policy_sha256=digest).write(run_dir / "summary.json")
    return run_dir
