"""Actions of several parts and of numbers: documents and digests by hand, read as written, none made of nonsense."""

import hashlib
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from strategies import any_actions

from townlet_trajectory import Box, MultiDiscrete, SchemaError
from townlet_trajectory.data.actions import ArrayActions, actions_document, outside, parse_actions
from townlet_trajectory.errors import CaptureError
from townlet_trajectory.storage.json import Fields, canonical_json, parse_object

PARTS = MultiDiscrete(parts={"move": ("stay", "north", "south"), "hand": ("open", "closed")})
NUMBERS = Box(names=("steer", "throttle"), low=(-1.0, 0.0), high=(1.0, 2.5))


def test_parts_by_hand() -> None:
    document = {
        "parts": [{"name": "move", "keys": ["stay", "north", "south"]}, {"name": "hand", "keys": ["open", "closed"]}]
    }
    assert actions_document(PARTS) == document
    # printf %s '{"parts":[{"keys":["stay","north","south"],"name":"move"},{"keys":["open","closed"],"name":"hand"}]}' |
    # sha256sum
    assert PARTS.digest == "03ed238bc719eb47f4c29c57603e92b7717a21347465656f434debbd9ddda30a"
    assert (PARTS.names, PARTS.sizes, PARTS.dtype, PARTS.num_outputs) == (("move", "hand"), (3, 2), "int64", 5)


def test_numbers_by_hand() -> None:
    assert actions_document(NUMBERS) == {"names": ["steer", "throttle"], "low": [-1.0, 0.0], "high": [1.0, 2.5]}
    # printf %s '{"high":[1.0,2.5],"low":[-1.0,0.0],"names":["steer","throttle"]}' | sha256sum
    assert NUMBERS.digest == "31d4792d0891a76e4bbab7edc3eed48bfd17cf7f1f77d51100c4b985a3918518"
    assert (NUMBERS.dtype, NUMBERS.num_outputs) == ("float32", 4)


def test_whole_numbers_as_bounds_give_the_digest_of_the_same_bounds() -> None:
    assert Box(names=("x",), low=(-1,), high=(2,)).digest == Box(names=("x",), low=(-1.0,), high=(2.0,)).digest


def test_the_order_of_parts_and_numbers_is_part_of_what_they_are() -> None:
    turned = MultiDiscrete(parts=dict(reversed(PARTS.parts.items())))
    assert turned.sizes == (2, 3) and turned.digest != PARTS.digest
    assert Box(names=("throttle", "steer"), low=(-1.0, 0.0), high=(1.0, 2.5)).digest != NUMBERS.digest


@given(any_actions())
def test_a_document_read_again_is_the_same_actions(actions: ArrayActions) -> None:
    text = json.dumps(actions_document(actions)).encode()
    again = parse_actions(Fields(parse_object(text, "a.json"), "a.json"))
    assert again == actions and again.digest == actions.digest
    assert hashlib.sha256(canonical_json(actions_document(actions))).hexdigest() == actions.digest


@given(any_actions(), any_actions())
def test_digests_are_equal_where_the_actions_are(first: ArrayActions, second: ArrayActions) -> None:
    same = type(first) is type(second) and actions_document(first) == actions_document(second)
    assert (first.digest == second.digest) == same


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "`parts` must name at least one part, got none"),
        ({"": ("a", "b")}, "part `` must have a name"),
        ({"move": ("a",)}, r"part `move` must have a name and two or more different keys, got \('a',\)"),
        ({"move": ("a", "a")}, "two or more different keys"),
        ({"move": ("a", "")}, "two or more different keys"),
    ],
)
def test_parts_that_are_none(parts: dict[str, tuple[str, ...]], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        MultiDiscrete(parts=parts)


@pytest.mark.parametrize(
    ("names", "low", "high", "message"),
    [
        ((), (), (), "`names` must be different names, at least one"),
        (("x", "x"), (0.0, 0.0), (1.0, 1.0), "`names` must be different names"),
        (("",), (0.0,), (1.0,), "`names` must be different names"),
        (("x",), (0.0, 0.0), (1.0,), "`low` and `high` must have 1 numbers"),
        (("x",), (0.0,), (), "`low` and `high` must have 1 numbers"),
        (("x", "y"), (0.0, 0.0), (1.0, math.inf), "bounds of `y` must be finite, the lower one first, got 0.0 and inf"),
        (("x",), (math.nan,), (1.0,), "bounds of `x` must be finite"),
        (("x",), (1.0,), (1.0,), "bounds of `x` must be finite, the lower one first, got 1.0 and 1.0"),
        (("x",), (2.0,), (1.0,), "the lower one first"),
    ],
)
def test_numbers_that_are_none(
    names: tuple[str, ...], low: tuple[float, ...], high: tuple[float, ...], message: str
) -> None:
    with pytest.raises(SchemaError, match=message):
        Box(names=names, low=low, high=high)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "`names` must be a list of strings"),
        ({"parts": [3]}, "`parts` must be a list of objects"),
        ({"parts": [{"keys": ["a", "b"]}]}, "`name` must be a string"),
        ({"parts": [{"name": "move", "keys": [1, 2]}]}, "`keys` must be a list of strings"),
        ({"names": ["x"], "low": [0.0, 0.0], "high": [1.0]}, "`low` must be a list of 1 numbers"),
        ({"names": ["x"], "low": [0.0]}, "`high` must be a list of 1 numbers"),
        ({"names": ["x"], "low": [True], "high": [1.0]}, r"`low\[0\]` must be a finite number"),
    ],
)
def test_documents_that_are_none(document: dict[str, Any], message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        parse_actions(Fields(document, "a.json"))


def test_a_document_of_parts_with_one_name_twice_is_refused() -> None:
    part: dict[str, Any] = {"name": "move", "keys": ["a", "b"]}
    with pytest.raises(SchemaError, match=r"`parts` must have different names, got \['move', 'move'\]"):
        parse_actions(Fields({"parts": [part, part]}, "a.json"))


def test_actions_that_are_none_by_hand() -> None:
    rows = np.array([[0, 0], [2, 1], [3, 0], [0, 2], [-1, 0], [0, -1]])
    assert outside(PARTS, rows).tolist() == [False, False, True, True, True, True]
    numbers = np.array([[-1, 0], [1, 2.5], [1.001, 0], [0, -0.001], [np.nan, 0], [0, np.inf]], np.float32)
    assert outside(NUMBERS, numbers).tolist() == [False, False, True, True, True, True]
    # The float32 next to 0.1 is above it, and next to -0.1 below.
    tenth = Box(names=("x",), low=(-0.1,), high=(0.1,))
    assert not outside(tenth, np.array([[-0.1], [0.1]], np.float32)).any()
