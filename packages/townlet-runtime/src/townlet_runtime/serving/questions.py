"""Reads a question about all agents of a tick: what is wrong with it is refused by name before anything is computed.

Sizes come first: rows are looked at only where the agents are few enough, and never take more than the message does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.serving.messages import VERSION, QuestionError, id_of, id_within, split_message
from townlet_runtime.sockets.fields import MAX_WHOLE, Check, MessageError, flag, text, whole
from townlet_trajectory import ACTION_MASK
from townlet_trajectory.evaluation.policy_card import PolicyCard

Floats: TypeAlias = NDArray[np.float32]
Bools: TypeAlias = NDArray[np.bool_]

NEEDED: Mapping[str, Check] = {"group": text, "tick": whole(0, MAX_WHOLE)}
"""Fields of `act` beside `agents` and `observations`, which it must have too."""
OPTIONAL: Mapping[str, Check] = {"log_probs": flag, "names": flag}
"""Those that it may have beside `action_mask`, `begin` and `end`."""
_DEPTH = 8
"""Of nested lists that an error describes."""


@dataclass(frozen=True, kw_only=True)
class Hello:
    """What a connection begins with."""

    id: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """What N agents of a group see at a tick."""

    id: int
    group: str
    tick: int
    agents: tuple[str, ...]
    """Ids; each once."""
    observations: Mapping[str, Floats]
    """Each [N, ...], finite."""
    action_mask: Bools | None
    """[N, M]; None: every action is legal."""
    begin: tuple[str, ...] = ()
    """Of `agents`: those that remember nothing."""
    end: tuple[str, ...] = ()
    """Those that are forgotten after the answer; they need not be among `agents`."""
    log_probs: bool = False
    names: bool = True
    """Whether actions are answered by their keys."""
    binary: bool = False
    """Whether it came in the binary form, in which it is answered."""


def read_message(sent: str | bytes, cards: Mapping[str, PolicyCard], *, max_agents: int) -> Hello | Question:
    """Read and check one message.

    Args:
        sent: by a client.
        cards: of the policies, by group.
        max_agents: of one question.

    Raises:
        QuestionError: says what is wrong, with the id of the message where it has one.
    """
    own = None
    try:
        content, rows = split_message(sent)
        own = id_of(content)
        return _read(content, rows, cards, max_agents)
    except QuestionError as error:
        error.id = id_within(sent) if error.kind == "size" else own
        raise


def _read(
    content: dict[str, Any], rows: memoryview | None, cards: Mapping[str, PolicyCard], max_agents: int
) -> Hello | Question:
    own = _field(content, "id", whole(0, MAX_WHOLE))
    kind = content.get("type")
    if kind == "hello" and rows is None:
        if content.keys() != {"type", "id", "townlet"}:
            raise QuestionError("message", "`hello`: expected the fields type, id, townlet")
        if content["townlet"] is True or content["townlet"] != VERSION:
            raise QuestionError("version", f"expected messages of version {VERSION}, got {content['townlet']!r:.40}")
        return Hello(id=own)
    if kind != "act":
        raise QuestionError("message", "expected a `type` that is known: `hello`, as text, or `act`")
    needed = {"type", "id", "agents", "observations", *NEEDED}
    may = {"begin", "end", ACTION_MASK, *OPTIONAL}
    if not needed <= content.keys() <= needed | may:
        raise QuestionError(
            "message", f"`act`: expected the fields {', '.join(sorted(needed))}, and of {', '.join(sorted(may))} any"
        )
    checked = {name: _field(content, name, check) for name, check in NEEDED.items()}
    checked |= {name: _field(content, name, check) for name, check in OPTIONAL.items() if name in content}
    card = cards.get(checked["group"])
    if card is None:
        raise QuestionError("group", f"expected a group among {', '.join(cards)}, got {checked['group']!r}")
    agents = _ids(content, "agents", max_agents)
    begin, end = (_ids(content, name, max_agents) for name in ("begin", "end"))
    if strangers := set(begin) - set(agents):
        raise QuestionError("agents", f"`begin`: expected some of `agents`, got {min(strangers)!r} too")
    if rows is None:
        observations, mask = _nested(content, len(agents), card)
    else:
        observations, mask = _packed(content, rows, len(agents), card)
    return Question(
        id=own,
        agents=agents,
        observations=observations,
        action_mask=mask,
        begin=begin,
        end=end,
        binary=rows is not None,
        **checked,
    )


def _field(content: Mapping[str, Any], name: str, check: Check) -> Any:
    try:
        return check(content.get(name))
    except MessageError as error:
        raise QuestionError("message", f"`{name}`: {error}") from error


def _ids(content: Mapping[str, Any], name: str, most: int) -> tuple[str, ...]:
    """The agents of a field, each once; none where it is left out."""
    given = content.get(name, [])
    if not isinstance(given, list):
        raise QuestionError("message", f"`{name}`: expected a list of ids")
    if len(given) > most:
        raise QuestionError("agents", f"`{name}`: expected at most {most} agents, got {len(given)}")
    ids = tuple(_field({name: each}, name, text) for each in given)
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        twice = next(each for each in ids if each in seen or seen.add(each))  # type: ignore[func-returns-value]
        raise QuestionError("repeated", f"`{name}`: expected each agent once, got {twice!r} again")
    return ids


def _nested(content: Mapping[str, Any], rows: int, card: PolicyCard) -> tuple[dict[str, Floats], Bools | None]:
    """Observations and mask from nested lists."""
    given = content["observations"]
    if not isinstance(given, dict):
        raise QuestionError("message", "`observations`: expected an object of rows by name")
    _require_names(given, card)
    observations = {}
    for name, shape in card.observation_shapes.items():
        flat = _flat(given[name], (rows, *shape), name)
        if kinds := sorted({each.__name__ for each in set(map(type, flat)) - {int, float}}):
            raise QuestionError("dtype", f"`{name}`: expected numbers, got {', '.join(kinds)}")
        observations[name] = _finite(_as_floats(flat, name).reshape(rows, *shape), name)
    mask = content.get(ACTION_MASK)
    if mask is None:
        return observations, None
    _require_masked(card)
    bits = _flat(mask, (rows, card.mask_size), ACTION_MASK)
    if set(map(type, bits)) - {bool}:
        raise QuestionError("dtype", f"`{ACTION_MASK}`: expected true or false")
    return observations, np.array(bits, np.bool_).reshape(rows, card.mask_size)


def _packed(
    content: Mapping[str, Any], sent: memoryview, rows: int, card: PolicyCard
) -> tuple[dict[str, Floats], Bools | None]:
    """Observations and mask from the bytes behind the JSON: float32, then uint8."""
    names, masked = content["observations"], content.get(ACTION_MASK, False)
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        raise QuestionError("message", "`observations`: expected the names of the arrays, in their order")
    if not isinstance(masked, bool):
        raise QuestionError("message", f"`{ACTION_MASK}`: expected whether it follows")
    _require_names(names, card)
    if masked:
        _require_masked(card)
    sizes = {name: rows * math.prod(card.observation_shapes[name]) for name in names}
    expected = 4 * sum(sizes.values()) + (rows * card.mask_size if masked else 0)
    if len(sent) != expected:
        raise QuestionError("shape", f"expected {expected} bytes of arrays for {rows} agents, got {len(sent)}")
    observations, begin = {}, 0
    for name, size in sizes.items():
        array = np.frombuffer(sent, "<f4", size, begin).reshape(rows, *card.observation_shapes[name])
        observations[name], begin = _finite(array.astype(np.float32, copy=False), name), begin + 4 * size
    if not masked:
        return observations, None
    bits = np.frombuffer(sent, np.uint8, rows * card.mask_size, begin).reshape(rows, card.mask_size)
    if np.count_nonzero(bits > 1):
        raise QuestionError("dtype", f"`{ACTION_MASK}`: expected bytes of 0 or 1, got {bits.max()}")
    return observations, bits == 1


def _require_names(given: Mapping[str, Any] | list[str], card: PolicyCard) -> None:
    expected = card.observation_shapes
    if len(given) != len(expected) or set(given) != set(expected):
        shown = ", ".join(sorted(map(str, given)))[:200]
        raise QuestionError("shape", f"`observations`: expected {', '.join(sorted(expected))}, got {shown or 'none'}")


def _require_masked(card: PolicyCard) -> None:
    if not card.mask_size:
        raise QuestionError("mask", f"`{ACTION_MASK}`: actions that are numbers have none")


def _flat(value: Any, shape: tuple[int, ...], name: str) -> list[Any]:
    """The elements of nested lists of a shape, in order."""
    flat = [value]
    for size in shape:
        if not all(type(each) is list and len(each) == size for each in flat):
            raise QuestionError("shape", f"`{name}`: expected {list(shape)}, got {_described(value, shape)}")
        flat = list(chain.from_iterable(flat))
    if list in set(map(type, flat)):
        raise QuestionError("shape", f"`{name}`: expected {list(shape)}, got {_described(value, shape)}")
    return flat


def _described(value: Any, shape: tuple[int, ...]) -> str:
    """The shape of nested lists by their first elements."""
    found: list[int] = []
    while isinstance(value, list) and len(found) < _DEPTH:
        found.append(len(value))
        value = value[0] if value else None
    return "rows of different shapes" if tuple(found) == shape else str(found)


def _as_floats(flat: list[int | float], name: str) -> Floats:
    try:
        with np.errstate(over="ignore"):
            return np.array(flat, np.float64).astype(np.float32)
    except OverflowError as error:
        raise QuestionError("finite", f"`{name}`: expected numbers that float32 can hold") from error


def _finite(array: Floats, name: str) -> Floats:
    if np.count_nonzero(np.isfinite(array)) < array.size:
        row = int((~np.isfinite(array.reshape(len(array), -1))).any(axis=1).argmax())
        raise QuestionError("finite", f"`{name}`: expected finite float32 numbers, row {row} has another")
    return array
