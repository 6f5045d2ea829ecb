"""The directory of a finished run whose policy was written by hand, for what needs a policy but no training."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from onnx_files import card, policy_file
from report_samples import SAMPLE, finish

from townlet_runtime.config import config_digest, dump_config, load_config, parse_override, town_config
from townlet_runtime.config.dump import noted
from townlet_runtime.runs.begun import BegunFile
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
    """Make `run_dir` with its config, its policy, the records of the sample run and a manifest; return it."""
    run_dir.mkdir(parents=True)
    for name in ("cloning.json", "evaluation.json", "promotion.json", "summary.json"):
        shutil.copy(SAMPLE / name, run_dir)
    (run_dir / "config.yaml").write_text(dump_config(CONFIG))
    config = load_config(run_dir / "config.yaml").config
    begun = BegunFile(schema_version=2, threads=1, config_sha256=config_digest(config), config=noted(config))
    begun.write(run_dir / "begun.json")
    finish(run_dir, {"agents": town_policy()})
    return run_dir
