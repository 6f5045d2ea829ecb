"""An operation in fresh folders, one for each time that it is broken off."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from fault_operations import REFUSED, Operation
from faulty_os import temporaries
from tracing import traced

from townlet_trajectory import ArtifactError
from townlet_trajectory.storage import files


class Broken:
    """Knows what is there before the operation and after it, and which system calls lie between."""

    def __init__(self, operation: Operation, folder: Path) -> None:
        self._operation, self._folder = operation, folder
        self.log = folder / "strace.log"
        (folder / "before").mkdir()
        operation.prepare(folder / "before")
        operation.act(self.fresh("warm"))  # imports, caches: the calls of the first time only
        place = self.fresh("whole")
        self.old = operation.state(place)
        done = traced(lambda: operation.act(place), self.log)
        self.new, self.calls = operation.state(place), done.calls
        if done.kind != "done" or self.old == self.new or REFUSED in (self.old, self.new) or temporaries(place):
            raise AssertionError(f"{operation.name} does not work undisturbed: {done.kind} {done.text}")
        self.name_of_last_state = ""

    def fresh(self, name: str) -> Path:
        """A folder with what was there before."""
        return Path(shutil.copytree(self._folder / "before", self._folder / name))

    def act_in(self, place: Path) -> Callable[[], None]:
        """The operation, to be called in a child."""
        return lambda: self._operation.act(place)

    def problem(self, place: Path, *, tidy: bool) -> str:
        """What is wrong with the folder after the operation was broken off; empty if nothing is.

        Args:
            place: the folder.
            tidy: whether the writer lived and could remove its temporary files itself.
        """
        operation, state = self._operation, self._operation.state(place)
        self.name_of_last_state = "old" if state == self.old else "new" if state == self.new else "between"
        if not operation.allowed(state, self.old, self.new):
            return f"found {state}"
        if tidy and not operation.removes and temporaries(place):
            return f"left {temporaries(place)}"
        try:
            with files.DirectoryLock(place):
                if left := temporaries(place):
                    return f"the next writer left {left}"
            if operation.state(place) != self.new:
                operation.act(place)
        except ArtifactError as error:
            return f"cannot be taken up again: {error}"
        return "" if operation.state(place) == self.new else "taken up again, it comes to something else"
