"""Profiles of Hypothesis, one torch thread, as the tests compare bytes, and what has to come first in a process."""

import os
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.register_profile("thorough", deadline=None, max_examples=500, stateful_step_count=50)
settings.load_profile("ci" if os.environ.get("CI") else "default")

torch.set_num_threads(1)

FORKING = "test_resume.py"
"""Trains in children of its process: torch refuses that once the process has exported a network, or has threads of
autograd from anything else."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let it be the first file of its process."""
    items.sort(key=lambda item: item.path.name != FORKING)
