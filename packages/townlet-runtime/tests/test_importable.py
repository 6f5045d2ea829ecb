"""Where another process finds a function."""

import os
import subprocess
import sys
from json import JSONDecoder
from pathlib import Path

import pytest

from townlet_runtime.adapters.importable import Importable, require_guarded
from townlet_runtime.errors import SimulationError
from townlet_runtime.runs.begun import BegunFile
from townlet_runtime.testing import Corridor


@pytest.mark.parametrize("function", [Corridor, JSONDecoder.decode, BegunFile.read])
def test_a_function_is_found_again(function: object) -> None:
    found = Importable.of(function, label="it")
    assert (found.main_file, found.main_module) == (None, None)
    assert found.imported() == function


def test_one_that_has_the_name_of_another_is_refused() -> None:
    def changed() -> None: ...

    changed.__module__, changed.__qualname__ = Corridor.__module__, "Corridor"
    with pytest.raises(SimulationError, match="it must be a function .* got Corridor, which is another one in"):
        Importable.of(changed, label="it")
    changed.__qualname__ = "Corridors"
    with pytest.raises(SimulationError, match="got Corridors, which `townlet_runtime.* does not have"):
        Importable.of(changed, label="it")


PROGRAMME = """
import json
from dataclasses import asdict
from townlet_runtime.adapters.importable import Importable, require_guarded


class Maker:
    @classmethod
    def of(cls, number):
        return number + 1


GUARD
    require_guarded("`it`")
    print(json.dumps(asdict(Importable.of(Maker.of, label="it"))))
"""
GUARDED, UNGUARDED = (PROGRAMME.replace("GUARD\n", guard) for guard in ('if __name__ == "__main__":\n', "if True:\n"))
OTHER = """
import json
import sys
from townlet_runtime.adapters.importable import Importable

if __name__ == "__main__":
    made = Importable(**json.loads(sys.argv[1])).imported()
    print(made(4), made.__module__)
"""


def run(folder: Path, *command: str) -> tuple[str, str]:
    """What a programme prints, and the last line of its errors."""
    # As programmes are run: their folder is where modules are found.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False, cwd=folder, env=env)
    return done.stdout.strip(), (done.stderr.strip().splitlines() or [""])[-1]


@pytest.mark.parametrize("command", [["programme.py"], ["-m", "inner.programme"]])
def test_a_function_of_a_main_module_is_found_where_that_runs_again(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    for name, text in (("programme.py", GUARDED), ("inner/programme.py", GUARDED), ("other.py", OTHER)):
        (tmp_path / name).write_text(text)
    told, _ = run(tmp_path, *command)
    assert run(tmp_path, "other.py", told) == ("5 __mp_main__", "")


def test_a_main_module_that_guards_nothing_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "programme.py").write_text(UNGUARDED)
    (tmp_path / "other.py").write_text(OTHER)
    told, _ = run(tmp_path, "programme.py")
    out, error = run(tmp_path, "other.py", told)
    assert out == ""
    assert error.endswith('programme.py when a worker imported it: put the call below if __name__ == "__main__"')


def test_one_that_only_a_console_knows_is_refused(tmp_path: Path) -> None:
    out, error = run(tmp_path, "-c", GUARDED)
    assert out == ""
    assert error.endswith("which other processes can import, got Maker.of of a main module that is no file")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__main__.py").write_text(GUARDED)
    assert run(tmp_path, "-m", "package") == (out, error)


def test_nothing_is_refused_where_no_main_module_runs_again() -> None:
    require_guarded("`train`")
