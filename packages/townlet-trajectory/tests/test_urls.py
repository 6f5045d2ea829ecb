"""Which text is a URL, and what of one is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_trajectory import ArtifactError
from townlet_trajectory.storage.urls import MAX_URL, Url, hidden_in, name_of_place, named_place, without_secrets


def test_a_text_with_a_scheme_is_a_url_and_a_path_never_is() -> None:
    assert named_place("s3://bucket/runs/town") == Url("s3://bucket/runs/town")
    assert named_place(Path("s3://bucket/runs/town")) == Path("s3:/bucket/runs/town")
    assert named_place("runs/town") == Path("runs/town")
    assert named_place("C:\\runs") == Path("C:\\runs")


def test_a_file_url_is_a_path() -> None:
    assert named_place("file:///runs/a%20town") == Path("/runs/a town")
    with pytest.raises(ArtifactError, match="a file has no host"):
        named_place("file://elsewhere/runs")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("simplecache::s3://bucket/town", "leads on"),
        ("reference://bucket/town", "leads on"),
        ("zip://town::s3://bucket/a.zip", "leads on"),
        ("s3://bucket/a/../b", "no `.` or `..`"),
        ("s3://bucket/town?versionId=7", "nor a query"),
        ("https://host/town#part", "a fragment"),
        ("s3://bucket/a\nb", "printable"),
        ("s3://" + "a" * MAX_URL, "at most 2048"),
    ],
)
def test_a_url_that_is_not_opened(text: str, problem: str) -> None:
    with pytest.raises(ArtifactError, match=problem):
        named_place(text)


def test_a_place_inside_a_url_keeps_its_query() -> None:
    url = Url("https://ann:pass@host/runs/town?token=abc")
    assert (url / "manifest.json").text == "https://ann:pass@host/runs/town/manifest.json?token=abc"
    assert str(url / "manifest.json") == "https://host/runs/town/manifest.json"
    assert (url.name, url.parent.text, name_of_place(url)) == (
        "town",
        "https://ann:pass@host/runs?token=abc",
        "town",
    )
    assert "pass" not in repr(url) and "abc" not in repr(url)


def test_a_message_of_another_library_is_shown_without_secrets() -> None:
    url = Url("https://ann:s3cret@host/town?token=abcdef")
    said = "401, url=https://ann:s3cret@host/town?token=abcdef for ann with token=abcdef, s3cret"
    assert hidden_in(said, url) == "401, url=https://host/town for ... with ..., ..."


_WORD = st.text("abcdefghijklmnopqrstuvwxyzXYZ0123456789", min_size=3, max_size=12)


@given(user=_WORD, password=_WORD, secret=_WORD, path=_WORD)
def test_what_is_shown_holds_no_secret(user: str, password: str, secret: str, path: str) -> None:
    """Whatever the secrets are, a URL is shown as the one without them."""
    typed = f"https://{user}:{password}@host.org/{path}?key={secret}"
    assert without_secrets(typed) == str(Url(typed)) == f"https://host.org/{path}"
    assert str(ArtifactError(str(Url(typed)), "read", "gone")) == f"https://host.org/{path}: read: gone"
