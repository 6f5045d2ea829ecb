"""Nothing from a file steers a terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_trajectory.storage.printable import printable


def test_by_hand() -> None:
    assert printable("héllo wörld 世") == "héllo wörld 世"
    assert printable("a\n\x1b[2Jb\udc80") == "a\\u000a\\u001b[2Jb\\udc80"


@pytest.mark.property
@given(st.text())
def test_everything_becomes_printable(text: str) -> None:
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)
