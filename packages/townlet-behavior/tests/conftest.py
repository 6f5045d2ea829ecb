"""Hypothesis profiles, and the folder of shared test code on the path."""

import os
import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.register_profile("thorough", max_examples=500, stateful_step_count=50, deadline=None)
settings.load_profile("ci" if "CI" in os.environ else "default")
