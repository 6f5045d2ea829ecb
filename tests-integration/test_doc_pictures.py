"""Pictures of the documents are there, are small, stand alone, and say in words what they show."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("packages/*/README.md")])
PICTURES = sorted([*(ROOT / "docs").rglob("*.svg"), *(ROOT / "docs").rglob("*.png")])
MAX_BYTES = 150_000
LINK = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
SHOWN = [(page, words, target) for page in PAGES for words, target in LINK.findall(page.read_text(encoding="utf-8"))]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def test_every_picture_is_shown_somewhere_and_every_link_leads_to_one() -> None:
    targets = {(page.parent / target).resolve() for page, _, target in SHOWN}
    assert {name(picture) for picture in PICTURES} == {name(target) for target in targets}


def test_each_has_words_for_those_who_do_not_see_it() -> None:
    assert [(name(page), target) for page, words, target in SHOWN if len(words.split()) < 6] == []


@pytest.mark.parametrize("picture", PICTURES, ids=name)
def test_it_is_small_and_stands_alone(picture: Path) -> None:
    content = picture.read_bytes()
    assert len(content) <= MAX_BYTES
    if picture.suffix == ".png":
        assert content.startswith(b"\x89PNG\r\n")
        return
    root = ET.fromstring(content)
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert root.get("viewBox") and not tags & {"script", "image", "foreignObject"}
    addresses = [value for element in root.iter() for key, value in element.attrib.items() if key.endswith("href")]
    assert [address for address in addresses if not address.startswith("#")] == []
