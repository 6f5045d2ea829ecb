"""The trainer is imported without looking for garbage, which is looked for again afterwards."""

import subprocess
import sys


def said_by(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert not done.stderr
    return done.stdout.strip()


def test_an_import_looks_for_no_garbage() -> None:
    # A hundred thousand lists stand for the objects of torch.
    code = "import gc\n"
    code += "import townlet_runtime.cli.start as start\n"
    code += "seen = []\n"
    code += "start.import_module = lambda name: seen.extend([name, gc.isenabled(), [[] for _ in range(10**5)] and 0])\n"
    code += "before = gc.get_stats()\n"
    code += "start.import_trainer()\n"
    code += "print(*seen[:2], before == gc.get_stats(), gc.isenabled(), gc.get_freeze_count() > 1000)"
    assert said_by(code) == "townlet_runtime.training False True True True"


def test_garbage_is_looked_for_after_an_import_that_fails() -> None:
    code = "import gc, sys\n"
    code += "from townlet_runtime.cli.start import import_trainer\n"
    code += "from townlet_runtime.errors import MissingExtraError\n"
    code += "sys.modules['torch'] = None\n"
    code += "try:\n    import_trainer()\n"
    code += "except MissingExtraError as error:\n    print(error, gc.isenabled())"
    assert said_by(code) == "training needs `torch`: install 'townlet-runtime[training]' True"
