"""Text from a file as it may be shown on a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """`text` with everything that is no printable character (line feeds, escapes, lone surrogates) as `\\u` and hex."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else f"\\u{ord(character):04x}" for character in text)
