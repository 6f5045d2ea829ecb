"""What readers of recorded data warn of, shown as everything else that a command says."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from townlet_runtime.cli.console import Console


@contextmanager
def warnings_shown(console: Console) -> Iterator[None]:
    """Collect the warnings of the block, and show each once when it ends."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            for message in dict.fromkeys(str(one.message) for one in caught):
                console.warning(message)
