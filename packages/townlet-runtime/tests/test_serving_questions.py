"""Messages that a served policy does not answer: each is refused by its kind, in one sentence, with its id."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_schemas import faults
from onnx_files import card
from served_policies import KEYS, SCHEMA, SHAPES, Conversation, names, policy_of, question, seen

from townlet_runtime.policy.file import parse_card
from townlet_runtime.policy.onnx import FilePolicy
from townlet_runtime.serving import messages, questions
from townlet_runtime.serving.messages import KINDS, MAX_TEXT_BYTES, QuestionError, binary_message, text_message
from townlet_runtime.serving.questions import Question, read_message
from townlet_runtime.sockets.fields import MAX_TEXT
from townlet_trajectory import ACTION_MASK

CARD = parse_card(json.dumps(card()), Path("policy.onnx"))
CARDS = {"agents": CARD}


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> FilePolicy:
    return policy_of("plain", tmp_path_factory.mktemp("policy"))


def asked(rows: int = 2, **more: Any) -> dict[str, Any]:
    observations = {name: array.tolist() for name, array in seen(rows).items()}
    return {**question(names(rows)), "observations": observations, **more}


def features(change: Callable[[list[Any]], Any]) -> dict[str, Any]:
    content = asked()
    rows = content["observations"]["features"]
    content["observations"]["features"] = change(rows) or rows
    return content


def with_value(value: Any) -> dict[str, Any]:
    return features(lambda rows: [[*rows[0][:7], value], rows[1]])


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in asked().items() if key != name}


MASK = [[True] * 4] * 2
HOSTILE: list[tuple[object, str, str]] = [
    ("", "message", "expected JSON"),
    ("nonsense", "message", "expected JSON"),
    ("[1]", "message", "expected an object"),
    ("[" * 100_000, "message", "expected JSON"),
    ('{"a":' * 50_000, "message", "expected JSON"),
    ({}, "message", "`id`: expected a whole number"),
    ({"type": "act", "id": -1}, "message", "`id`"),
    ({"type": "act", "id": True}, "message", "`id`"),
    ({"type": "act", "id": 2**53}, "message", "`id`"),
    ({"type": "fly", "id": 5}, "message", "a `type` that is known"),
    ({"type": ["act"], "id": 5}, "message", "a `type` that is known"),
    ({"type": "hello", "id": 5}, "message", "`hello`: expected the fields"),
    ({"type": "hello", "id": 5, "townlet": 2}, "version", "version 1, got 2"),
    ({"type": "hello", "id": 5, "townlet": True}, "version", "version 1, got True"),
    ({"type": "hello", "id": 5, "townlet": "x" * 9999}, "version", "version 1, got 'xxx"),
    (without("tick"), "message", "`act`: expected the fields"),
    (asked(more=1), "message", "`act`: expected the fields"),
    (asked(group=1), "message", "`group`: expected a text"),
    (asked(group="dogs"), "group", "a group among agents, got 'dogs'"),
    (asked(tick=1.5), "message", "`tick`: expected a whole number"),
    (asked(tick=-1), "message", "`tick`"),
    (asked(log_probs="yes"), "message", "`log_probs`: expected true or false"),
    (asked(agents="ab"), "message", "`agents`: expected a list"),
    (asked(agents=["a", 1]), "message", "`agents`: expected a text"),
    (asked(agents=["a", ""]), "message", "`agents`: expected a text of 1"),
    (asked(agents=["a", "b" * 257]), "message", "1 to 256 characters"),
    (asked(agents=["a", "a"]), "repeated", "each agent once, got 'a' again"),
    (asked(begin=["agent_1", "agent_1"]), "repeated", "`begin`: expected each agent once"),
    (asked(begin=["agent_9"]), "agents", "`begin`: expected some of `agents`, got 'agent_9' too"),
    (asked(end=[f"x{n}" for n in range(11)]), "agents", "`end`: expected at most 10 agents, got 11"),
    (asked(11), "agents", "`agents`: expected at most 10 agents, got 11"),
    (asked(agents=["a"]), "shape", "`features`: expected [1, 8], got [2, 8]"),
    (asked(observations=[]), "message", "`observations`: expected an obj"),
    (asked(observations={"features": [[0.0] * 8] * 2}), "shape", "expected features, map, got features"),
    (asked(observations={"features": 0, "map": 0, "x": 0}), "shape", "expected features, map, got features, map, x"),
    (features(lambda rows: [rows[0], rows[1][:7]]), "shape", "expected [2, 8], got rows of different shapes"),
    (features(lambda rows: rows[0]), "shape", "`features`: expected [2, 8], got [8]"),
    (features(lambda rows: [rows]), "shape", "`features`: expected [2, 8], got [1, 2, 8]"),
    (features(lambda rows: {"a": rows}), "shape", "`features`: expected [2, 8], got []"),
    (with_value([0.0]), "shape", "`features`: expected [2, 8]"),
    (with_value("1.5"), "dtype", "`features`: expected numbers, got str"),
    (with_value(None), "dtype", "expected numbers, got NoneType"),
    (with_value(True), "dtype", "expected numbers, got bool"),
    (with_value({}), "dtype", "expected numbers, got dict"),
    (with_value(1e39), "finite", "`features`: expected finite float32 numbers, row 0 has another"),
    (with_value(10**400), "finite", "`features`: expected numbers that float32 can hold"),
    (json.dumps(with_value(float("nan"))), "finite", "expected finite numbers, got NaN"),
    (json.dumps(with_value(float("inf"))), "finite", "expected finite numbers, got Infinity"),
    (json.dumps(with_value(0)).replace("0]", "1e999]", 1), "finite", "`features`: expected finite"),
    (asked(action_mask=MASK[:1]), "shape", "`action_mask`: expected [2, 4], got [1, 4]"),
    (asked(action_mask=[[1] * 4] * 2), "dtype", "`action_mask`: expected true or false"),
    (asked(action_mask=[[False] * 4] * 2), "mask", "a legal action for 'agent_0', got none"),
    (text_message({**asked(), "pad": "x" * MAX_TEXT_BYTES}), "size", f"at most {MAX_TEXT_BYTES} bytes"),
]


@pytest.mark.parametrize(("sent", "kind", "says"), HOSTILE, ids=range(len(HOSTILE)))
def test_a_text_is_refused_by_its_kind(sent: object, kind: str, says: str, policy: FilePolicy) -> None:
    talk = Conversation({"agents": policy}, max_agents=10, greets="hello" not in str(sent)[:30])
    refused = talk.say(sent if isinstance(sent, str) else text_message(sent))  # type: ignore[arg-type]
    assert refused["type"] == "error", refused
    assert (refused["kind"], talk.reply.refused, talk.reply.closes) == (kind, True, kind == "version")
    assert says in refused["error"] and "\n" not in refused["error"] and len(refused["error"]) < 400
    unread = any(words in says for words in ("`id`", "JSON", "expected an object", "finite numbers, got"))
    assert refused["id"] == (None if unread else 5)


def packed(content: dict[str, Any], *arrays: np.ndarray[Any, Any]) -> bytes:
    return binary_message({**question(names(2)), "observations": ["features", "map"], **content}, arrays)


FEATURES, MAP = (array for array in seen(2).values())
BINARY: list[tuple[bytes, str, str]] = [
    (b"", "message", "the length of the JSON"),
    (b"abc", "message", "the length of the JSON"),
    (struct.pack("<I", 2**32 - 4), "message", "the length of the JSON"),
    (struct.pack("<I", 3) + b"{} ", "message", "the length of the JSON"),
    (struct.pack("<I", 4) + b"{ ", "message", "the length of the JSON"),
    (struct.pack("<I", 4) + b"\xff\xfe\x00\x01", "message", "expected JSON"),
    (struct.pack("<I", MAX_TEXT_BYTES + 4) + b" " * (MAX_TEXT_BYTES + 4), "size", "JSON of at most"),
    (packed({}, FEATURES), "shape", "expected 112 bytes of arrays for 2 agents, got 64"),
    (packed({}, FEATURES, MAP, MAP), "shape", "expected 112 bytes of arrays for 2 agents, got 160"),
    (packed({}, FEATURES.astype(np.float64), MAP), "shape", "expected 112 bytes"),
    (packed({"action_mask": True}, FEATURES, MAP), "shape", "expected 120 bytes"),
    (packed({"action_mask": [True]}, FEATURES, MAP), "message", "`action_mask`: expected whether it follows"),
    (packed({"action_mask": True}, FEATURES, MAP, np.full((2, 4), 2, np.uint8)), "dtype", "0 or 1, got 2"),
    (packed({"action_mask": True}, FEATURES, MAP, np.zeros((2, 4), np.uint8)), "mask", "for 'agent_0', got none"),
    (packed({"observations": {"features": 1}}, FEATURES, MAP), "message", "the names of the arrays"),
    (packed({"observations": ["features", "features"]}, FEATURES, FEATURES), "shape", "expected features, map"),
    (packed({"observations": ["features"]}, FEATURES), "shape", "expected features, map"),
    (packed({}, FEATURES * np.float32(np.nan), MAP), "finite", "`features`: expected finite float32 numbers, row 0"),
    (packed({}, FEATURES, MAP * np.float32(np.inf)), "finite", "`map`: expected finite float32 numbers"),
    (packed({"agents": ["a", "a"]}, FEATURES, MAP), "repeated", "each agent once"),
    (packed({"group": "dogs"}), "group", "got 'dogs'"),
    (binary_message({"type": "hello", "id": 5, "townlet": 1}, []), "message", "a `type` that is known"),
]


@pytest.mark.parametrize(("sent", "kind", "says"), BINARY, ids=range(len(BINARY)))
def test_bytes_are_refused_by_their_kind(sent: bytes, kind: str, says: str, policy: FilePolicy) -> None:
    refused = Conversation({"agents": policy}, max_agents=10).say(sent)
    assert refused["type"] == "error", refused
    assert refused["kind"] == kind and says in refused["error"]
    assert refused["id"] == (None if b'"id"' not in sent else 5)


def test_no_question_comes_before_hello_and_hello_comes_once(policy: FilePolicy) -> None:
    talk = Conversation({"agents": policy}, greets=False)
    assert "expected `hello` before" in talk.act(seen(1), ["a"])["error"]
    assert talk.say(text_message({"type": "hello", "id": 1, "townlet": 1}))["type"] == "hello"
    again = talk.say(text_message({"type": "hello", "id": 2, "townlet": 1}))
    assert (again["id"], again["error"]) == (2, "expected one `hello`, got another")
    assert "actions" in talk.act(seen(1), ["a"])


def test_the_id_of_what_is_too_large_is_found_at_its_beginning(policy: FilePolicy) -> None:
    talk = Conversation({"agents": policy})
    large = json.dumps({"type": "act", "id": 77, "pad": "x" * MAX_TEXT_BYTES})
    assert talk.say(large)["id"] == 77
    assert talk.say(json.dumps({"pad": "x" * MAX_TEXT_BYTES, "id": 77}))["id"] is None


def test_the_kinds_and_fields_of_the_schema_are_those_of_the_code() -> None:
    parts = SCHEMA["$defs"]
    assert tuple(parts["error"]["properties"]["kind"]["enum"]) == KINDS
    assert parts["hello"]["properties"]["townlet"]["const"] == messages.VERSION
    assert parts["name"]["maxLength"] == MAX_TEXT
    needed = {"type", "id", "agents", "observations", *questions.NEEDED}
    for name in ("act", "binary_act"):
        assert set(parts[name]["required"]) == needed
        assert set(parts[name]["properties"]) == needed | {ACTION_MASK, "begin", "end", *questions.OPTIONAL}


def test_the_schema_refuses_what_the_code_refuses_of_fields_and_types() -> None:
    assert faults(asked(), SCHEMA, SCHEMA) == []
    by_values = {"version", "agents", "repeated", "group", "shape", "finite", "mask", "size"}
    for sent, kind, _ in HOSTILE:
        if isinstance(sent, dict) and kind not in by_values:
            assert faults(sent, SCHEMA["$defs"]["say_hello" if sent.get("type") == "hello" else "act"], SCHEMA), sent


@given(
    rows=st.integers(0, 5),
    masked=st.booleans(),
    log_probs=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_both_forms_say_the_same(rows: int, masked: bool, log_probs: bool, seed: int, data: st.DataObject) -> None:
    observations = seen(rows, seed=seed)
    agents = data.draw(st.lists(st.text(min_size=1, max_size=9), min_size=rows, max_size=rows, unique=True))
    content = {**question(agents), "log_probs": log_probs}
    mask = np.random.default_rng(seed).random((rows, len(KEYS))) < 0.5 if masked else None
    nested = {**content, "observations": {name: array.tolist() for name, array in observations.items()}}
    if mask is not None:
        nested["action_mask"] = mask.tolist()
    order = data.draw(st.permutations([*SHAPES]))
    arrays = [observations[name] for name in order] + ([] if mask is None else [mask.astype(np.uint8)])
    packed_ = binary_message({**content, "observations": order, "action_mask": masked}, arrays)
    one, other = (read_message(sent, CARDS, max_agents=5) for sent in (text_message(nested), packed_))
    assert isinstance(one, Question) and isinstance(other, Question)
    assert (one.agents, one.log_probs, one.binary, other.binary) == (tuple(agents), log_probs, False, True)
    for name in SHAPES:
        np.testing.assert_array_equal(one.observations[name], observations[name])
        np.testing.assert_array_equal(other.observations[name], observations[name])
    if mask is not None:
        np.testing.assert_array_equal(one.action_mask, mask)
        np.testing.assert_array_equal(other.action_mask, mask)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*asked(), "x"]), inner, max_size=8),
    max_leaves=12,
)


@given(
    st.text(max_size=50)
    | st.binary(max_size=50)
    | _JSON.map(json.dumps)
    | st.dictionaries(st.sampled_from([*asked(), "action_mask", "begin", "end"]), _JSON, max_size=9).map(
        lambda change: json.dumps(asked() | change)
    )
)
def test_what_is_no_message_is_one_error(sent: str | bytes) -> None:
    def refusal() -> QuestionError | None:
        try:
            read_message(sent, CARDS, max_agents=5)
        except QuestionError as error:
            return error
        return None

    error = refusal()
    assert error is None or (error.kind in KINDS and "\n" not in str(error))
