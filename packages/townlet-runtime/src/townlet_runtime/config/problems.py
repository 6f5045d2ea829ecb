"""What pydantic has against some content, in words for whoever wrote it."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic_core import ErrorDetails

from townlet_runtime.config.yaml_reader import Yaml


def path_of(detail: ErrorDetails, content: Yaml) -> tuple[str, ...]:
    """Where in the file an error is: its location without the names that pydantic gives to branches of unions."""
    path = []
    for part in detail["loc"]:
        if isinstance(content, dict) and part in content:
            content = content[str(part)]
        elif isinstance(content, list) and isinstance(part, int):
            content = content[part]
        elif detail["type"] != "missing":
            continue
        path.append(str(part))
    return tuple(path)


def problem_of(details: Sequence[ErrorDetails]) -> str:
    """What was expected and what came, from all errors about one key."""
    messages = [detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ") for detail in details]
    first = details[0]
    if first["type"] in ("missing", "value_error"):
        return messages[0]
    value = first["input"]
    if first["type"] == "model_type":
        messages = ["a section (`key: value` lines)"]
    misread = isinstance(value, bool) and first["type"] in ("literal_error", "string_type")
    hint = " (quote it: YAML reads on, off, yes and no as true and false)" if misread else ""
    shown = repr(value)
    shown = shown if len(shown) <= 80 else f"{shown[:80]}..."
    return f"must be {' or '.join(dict.fromkeys(messages))}, got {shown}{hint}"
