"""Hypothesis profiles, the way to this folder's own modules, and what is left out where an extra is not installed."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.register_profile("thorough", max_examples=500, stateful_step_count=50, deadline=None)
settings.load_profile("ci" if "CI" in os.environ else "default")

NEEDS: dict[str, tuple[str, ...]] = {
    "pyarrow": (
        "test_audit_shards.py",
        "test_convert.py",
        "test_dataset_classic.py",
        "test_faults_extras.py",
        "test_label_dataset.py",
        "test_parquet.py",
        "test_shard_columns.py",
        "test_remote.py",
        "test_shard_layout.py",
        "test_shard_parts.py",
        "test_shard_reader.py",
        "test_shard_shared.py",
        "test_shard_writer.py",
        "test_stores.py",
    ),
    "fsspec": ("test_remote.py", "test_stores.py"),
    "s3fs": ("test_stores.py",),
    "moto": ("test_stores.py",),
    "aiohttp": ("test_stores.py",),
    "minari": (
        "test_convert.py",
        "test_dataset_classic.py",
        "test_faults_extras.py",
        "test_label_dataset.py",
        "test_minari_hdf5.py",
        "test_minari_reader.py",
        "test_minari_writer.py",
    ),
    "scipy": ("test_across_runs.py", "test_comparisons.py", "test_cross_play.py", "test_run_sets.py"),
    "yaml": (
        "test_audit_yaml.py",
        "test_capture_source_yaml.py",
        "test_convert.py",
        "test_faults_extras.py",
        "test_yaml.py",
    ),
}
"""Modules of the extras, and the files that import what imports them."""
ABSENT = tuple(module for module in NEEDS if find_spec(module) is None)

collect_ignore = sorted({file for module in ABSENT for file in NEEDS[module]})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Nothing is left out in silence."""
    if collect_ignore:
        terminalreporter.write_line(f"without {', '.join(ABSENT)}, left out: {', '.join(collect_ignore)}")
