"""Profiles of Hypothesis, and one torch thread: the tests compare bytes."""

import os
import sys
from pathlib import Path

import torch
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.register_profile("thorough", deadline=None, max_examples=500, stateful_step_count=50)
settings.load_profile("ci" if os.environ.get("CI") else "default")

torch.set_num_threads(1)
