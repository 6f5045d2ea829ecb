"""What a page may ask for, and what is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_runtime.live.messages import MAX_BYTES, id_in, read_message
from townlet_runtime.sockets.fields import MessageError


def test_a_message_has_its_fields() -> None:
    message = read_message('{"type": "step", "id": 7, "ticks": 3}')
    assert (message.kind, message.id, message["ticks"]) == ("step", 7, 3)


@pytest.mark.parametrize("action", ["wait", ["left", "take"], [0.5, -1]])
def test_an_action_is_a_key_or_a_list(action: object) -> None:
    assert read_message(json.dumps({"type": "feed", "id": 0, "agent": "ann", "action": action}))["action"] == action


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "JSON"),
        ("[]", "an object"),
        ("{}", "type"),
        ('{"type": "fly", "id": 1}', "type"),
        ('{"type": ["play"], "id": 1}', "type"),
        ('{"type": "play"}', "whole number"),
        ('{"type": "play", "id": true}', "whole number"),
        ('{"type": "play", "id": -1}', "whole number"),
        ('{"type": "play", "id": 1, "more": 2}', "`play`: expected the fields none"),
        ('{"type": "step", "id": 1}', "`step`: expected the fields ticks"),
        ('{"type": "step", "id": 1, "ticks": 0}', "`step`, `ticks`: expected a whole number from 1 to 1000"),
        ('{"type": "step", "id": 1, "ticks": 1.0}', "whole number"),
        ('{"type": "ratio", "id": 1, "value": NaN}', "finite numbers, got NaN"),
        ('{"type": "ratio", "id": 1, "value": 1e999}', "expected a number"),
        ('{"type": "ratio", "id": 1, "value": 1' + "0" * 400 + "}", "from 0 to 1"),
        ('{"type": "ratio", "id": 1, "value": true}', "expected a number"),
        ('{"type": "ratio", "id": 1, "value": 1.5}', "from 0 to 1"),
        ('{"type": "label", "id": 1, "agent": null, "value": "great"}', "success, failure, discard, none"),
        ('{"type": "acquire", "id": 1, "agent": ""}', "1 to 256 characters"),
        ('{"type": "feed", "id": 1, "agent": "a", "action": []}', "key of an action"),
        ('{"type": "feed", "id": 1, "agent": "a", "action": ["left", 1]}', "expected a number"),
        ('{"type": "play", "id": 1, "id": ' + "[" * 2000 + "}", "JSON"),
        (json.dumps({"type": "acquire", "id": 1, "agent": "a" * MAX_BYTES}), "at most 4096 bytes"),
    ],
)
def test_anything_else_is_refused(text: str, says: str) -> None:
    with pytest.raises(MessageError, match=says):
        read_message(text)


@given(st.text(max_size=300) | st.binary(max_size=300))
def test_nothing_but_a_message_error_comes_of_noise(noise: str | bytes) -> None:
    id_in(noise)
    with pytest.raises(MessageError):
        read_message(noise)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    )
)
def test_no_value_of_a_field_breaks_it(value: object) -> None:
    for kind, field in (("step", "ticks"), ("ratio", "value"), ("acquire", "agent"), ("reset", "seed")):
        try:
            message = read_message(json.dumps({"type": kind, "id": 1, field: value}))
        except MessageError:
            continue
        assert message.fields == {field: value}


def test_the_id_of_a_refused_message_is_found() -> None:
    assert id_in('{"type": "fly", "id": 3}') == 3
    assert id_in('{"id": true}') is None
    assert id_in("nothing") is None
