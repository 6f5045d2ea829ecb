import subprocess
import sys

import pytest

from townlet_runtime.testing import CorridorConfig

CONFIG = CorridorConfig(length=4, episode_ticks=15)

WITHOUT = """
import sys
from importlib.abc import MetaPathFinder
from types import ModuleType

class Absent(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "{absent}":
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Absent())
if "{absent}" != "torch":
    sys.modules["torch"] = ModuleType("torch")  # not asked for anything before the other one is missed
try:
    import townlet_runtime.training
except ImportError as error:
    raise SystemExit(f"expected a MissingExtraError, got {{error!r}}")
except Exception as error:
    assert type(error).__name__ == "MissingExtraError", error
    assert str(error) == "training needs `{absent}`: install 'townlet-runtime[training]'", error
else:
    raise SystemExit("expected a MissingExtraError")
"""

LIGHT = """
import sys
import {module}
heavy = {{"torch", "townlet_training"}} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize("absent", ["torch", "townlet_training"])
def test_a_missing_extra_is_named(absent: str) -> None:
    subprocess.run([sys.executable, "-c", WITHOUT.format(absent=absent)], check=True)


@pytest.mark.parametrize("module", ["core.loop", "core.rollouts", "policy.onnx", "testing"])
def test_nothing_else_imports_what_trains(module: str) -> None:
    subprocess.run([sys.executable, "-c", LIGHT.format(module=f"townlet_runtime.{module}")], check=True)


def test_the_package_itself_imports_nothing() -> None:
    code = "import sys, townlet_runtime; assert 'numpy' not in sys.modules and 'pydantic' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
