"""A function as another process finds it: by its module and its name there.

Python's own `multiprocessing` (method `spawn`) finds functions so, and runs the main module of a programme again, under
the name `__mp_main__`, for those that are defined in it.
"""

from __future__ import annotations

import importlib
import os
import runpy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from townlet_runtime.errors import SimulationError

_MAIN, _AGAIN = "__main__", "__mp_main__"
_running_again: list[str] = []
"""The main module that this process runs again at the moment."""


@dataclass(frozen=True, kw_only=True)
class Importable:
    """Where another process of the same surroundings finds a function."""

    module: str
    name: str
    """Qualified, within the module."""
    main_file: str | None = None
    """Of a function of a programme's main module, the file of the programme, or None where it was run by name."""
    main_module: str | None = None
    """Likewise the module that was run by name (`python -m`)."""

    @classmethod
    def of(cls, function: Callable[..., object], *, label: str) -> Importable:
        """Say where a function or a class is.

        Args:
            function: of a module; or of the main one, if that is a file or was run with `-m`.
            label: the argument that it was given as, for errors.

        Raises:
            SimulationError: if no other process can find it: a lambda, a function within a function, an object, or one
                that a console or a notebook has defined.
        """
        module, name = (getattr(function, part, None) for part in ("__module__", "__qualname__"))
        owner = getattr(function, "__self__", None)
        if isinstance(owner, type) and isinstance(name, str):  # a class method, perhaps of a class above
            module, name = owner.__module__, f"{owner.__qualname__}.{name.rpartition('.')[2]}"
        if not isinstance(module, str) or not isinstance(name, str):
            raise _unfindable(
                label, f"an object of the class {type(function).__qualname__}: write a function around it"
            )
        found = cls(module=module, name=name)
        if any(not part.isidentifier() for part in name.split(".")):
            raise _unfindable(label, f"{name} of `{module}`")
        try:
            known = found._named_in(sys.modules[module] if module == _MAIN else importlib.import_module(module))
        except (ImportError, AttributeError) as error:
            raise _unfindable(label, f"{name}, which `{module}` does not have") from error
        if known != function:  # a method of a class is made anew whenever it is asked for
            raise _unfindable(label, f"{name}, which is another one in `{module}`")
        return found._of_main(label) if module == _MAIN else found

    def _of_main(self, label: str) -> Importable:
        main = sys.modules[_MAIN]
        spec, file = main.__spec__, getattr(main, "__file__", None)
        if spec is not None and not spec.name.endswith(_MAIN):
            return replace(self, main_module=spec.name)
        if spec is not None or file is None or not os.path.isfile(file):
            raise _unfindable(label, f"{self.name} of a main module that is no file")
        return replace(self, main_file=os.path.abspath(file))

    def imported(self) -> Any:
        """Return the function, in the process that was told of it."""
        if self.module != _MAIN:
            return self._named_in(importlib.import_module(self.module))
        return self._named_in(_main_again(self.main_module, self.main_file))

    def _named_in(self, module: ModuleType) -> Any:
        found: Any = module
        for part in self.name.split("."):
            found = getattr(found, part)
        return found


def _unfindable(label: str, got: str) -> SimulationError:
    return SimulationError(
        f"{label} must be a function or class of a module, which other processes can import, got {got}"
    )


def _main_again(module: str | None, file: str | None) -> ModuleType:
    """Run the main module of another process in this one, but for what it guards by its name."""
    again = ModuleType(_AGAIN)
    with _noted(module or file or _MAIN):
        if module is not None:
            content = runpy.run_module(module, run_name=_AGAIN, alter_sys=True)
        else:
            assert file is not None, "a main module is a file, or has a name"
            content = runpy.run_path(file, run_name=_AGAIN)
    vars(again).update(content)
    sys.modules[_MAIN] = sys.modules[_AGAIN] = again
    return again


@contextmanager
def _noted(name: str) -> Iterator[None]:
    _running_again.append(name)
    try:
        yield
    finally:
        _running_again.pop()


def require_guarded(what: str) -> None:
    """Refuse to begin what a main module does not guard, where it is run again for one of its functions.

    Args:
        what: is called, for the error.

    Raises:
        SimulationError: names the module.
    """
    if _running_again:
        raise SimulationError(
            f"{what} was called by {_running_again[-1]} when a worker imported it: put the call below "
            'if __name__ == "__main__"'
        )
