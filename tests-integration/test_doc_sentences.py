"""Documents are written in short sentences, without the turns of phrase that a reader has to decode."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("packages/*/README.md")])
MAX_WORDS = 35
"""Of a sentence. A semicolon or a colon does not end one."""
AVOIDED = (
    "as far as that",
    "as far as it was",
    "as far as they",
    "taken up",
    "take up",
    "taking up",
    "takes up",
    "what lives",
    "whoever",
    "whatever holds",
    "nobody does",
    "in words for",
    "is to be told",
    "that led here",
    "does what is said",
    "not of this thing",
    "how a run has gone",
    "simply",
    "obviously",
    "of course",
    "just works",
    "blazing",
    "seamless",
    "powerful",
    "state-of-the-art",
    "cutting-edge",
)
"""Turns of phrase that name no subject, or that praise."""
ENDS = re.compile(r"(?<=[.!?])[\"')*_”]*\s+(?=[\"'(*_“\[`]*[A-Z0-9`])")
"""Where a sentence ends: at a mark that white space and a capital, a number or code follow."""
ABBREVIATIONS = re.compile(r"\b(e\.g|i\.e|al|eq|etc|vs|cf|approx|no|No|Fig|resp)\.")
ITEM = re.compile(r"^\s*([-*+]|\d+\.)\s+")


def without_code(text: str) -> str:
    """A page without front matter, fenced blocks, indented blocks and comments."""
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    text = re.sub(r"^( *)(`{3,}).*?^\1\2`*[ \t]*$", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    kept: list[str] = []
    for line in text.splitlines():
        indented = re.match(r"    +\S", line) is not None
        # an indented line below an item continues it; after an empty line, or another such line, it is code
        if indented and not ITEM.match(line) and (not kept or kept[-1] == "" or kept[-1] == "\f"):
            kept.append("\f")
            continue
        kept.append(line if line.strip() else "")
    return "\n".join("" if line == "\f" else line for line in kept)


def paragraphs(text: str) -> Iterator[str]:
    """Paragraphs, items of lists, headings and cells of tables, each on one line."""
    current: list[str] = []
    for line in [*without_code(text).splitlines(), ""]:
        stripped = line.strip().lstrip(">").strip()
        is_table, is_heading = stripped.startswith("|"), stripped.startswith(("#", "!!!", ":::"))
        if current and (not stripped or is_table or is_heading or ITEM.match(line)):
            yield " ".join(current)
            current = []
        if is_table:
            yield from (cell.strip() for cell in re.split(r"(?<!\\)\|", stripped) if cell.strip(" -:"))
        elif is_heading:
            yield stripped
        elif stripped:
            current.append(ITEM.sub("", stripped))


def plain(paragraph: str) -> str:
    """Text without the marks of Markdown: a link is its text, code in a line one word."""
    paragraph = re.sub(r"(`+).+?\1", "CODE", paragraph)
    paragraph = re.sub(r"!?\[([^\]]*)\](\([^)]*\)|\[[^\]]*\])", r"\1", paragraph)
    paragraph = re.sub(r"<[^>]+>|https?://\S+", " ", paragraph)
    return ABBREVIATIONS.sub(r"\1", paragraph)


def sentences(text: str) -> Iterator[str]:
    for paragraph in paragraphs(text):
        yield from ENDS.split(plain(paragraph))


def num_words(sentence: str) -> int:
    return len(re.findall(r"[^\W_][\w'’.,/-]*", sentence))


def findings(text: str) -> list[str]:
    """What is wrong with the sentences of a page."""
    found = [
        f"{num_words(sentence)} words: {sentence}" for sentence in sentences(text) if num_words(sentence) > MAX_WORDS
    ]
    prose = "\n".join(sentences(text)).lower()
    return found + [f'"{phrase}"' for phrase in AVOIDED if re.search(rf"\b{phrase}\b", prose)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_sentences_are_short_and_plain(page: Path) -> None:
    assert findings(page.read_text(encoding="utf-8")) == []


def test_long_sentences_are_found_wherever_they_stand() -> None:
    long = " ".join(["word"] * (MAX_WORDS + 1)) + "."
    for page in (long, f"- {long}", f"| a | {long} |", f"1. Short.\n2. {long}", f"Short. A{long}", f"> {long}"):
        assert len(findings(f"# Title\n\n{page}\n")) == 1, page
    halves = f"- {' '.join(['word'] * 20)}\n  {' '.join(['word'] * 20)}."
    assert len(findings(halves)) == 1  # the second line goes on with the item


def test_code_and_links_are_not_counted_as_sentences() -> None:
    words = " ".join(["word"] * 40)
    assert (
        findings(f"```text\n{words}\n```\n\n    {words}\n\n[short](https://example.org/{'a' * 400}) `{words}`\n") == []
    )
    assert num_words("Schulman et al. 2017, 3.5 % of x-y") == 7


def test_turns_of_phrase_are_found() -> None:
    assert findings("This is for whoever reads.") == ['"whoever"']
    assert findings("`whoever` is a name.") == []
