"""A served policy as its clients find it: real sockets, several at once, those who go, and those who must not come."""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from served_policies import KEYS, NUMBERS, PARTS, SHAPES, names, policy_of, question, require_valid, seen
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from townlet_behavior import Box, Purpose, draw_keys, uniforms
from townlet_runtime import PolicyClient
from townlet_runtime.errors import (
    ConfigError,
    QuestionRefusedError,
    ServerGoneError,
    ServerTimeoutError,
    ServingError,
)
from townlet_runtime.policy.drawing import log_prob_of_numbers, sample_actions
from townlet_runtime.policy.onnx import FilePolicy, OnnxPolicy
from townlet_runtime.serving import app
from townlet_runtime.serving.messages import MAX_BYTES, text_message
from townlet_runtime.serving.serve import Serving, serving
from townlet_runtime.serving.served import Served

SEED = 5
FEATURES = {"features": (8,)}
HELLO = text_message({"type": "hello", "id": 0, "townlet": 1})


@contextmanager
def serve(
    policies: Mapping[str, FilePolicy], *, idle_s: float = 60.0, origins: tuple[str, ...] = (), **how: Any
) -> Iterator[Serving]:
    with serving(Served(policies, **{"seed": SEED, **how}), idle_s=idle_s, origins=origins) as found:
        yield found


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FilePolicy]:
    folder = tmp_path_factory.mktemp("policies")
    return {name: policy_of(name, folder) for name in ("plain", "recurrent", "parts", "clipped")}  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def service(policies: dict[str, FilePolicy]) -> Iterator[Serving]:
    with serve(policies) as found:
        yield found


@contextmanager
def raw(service: Serving, *, greets: bool = True, **how: Any) -> Iterator[ClientConnection]:
    with connect(service.address, compression=None, **how) as opened:
        if greets:
            opened.send(HELLO)
            require_valid(json.loads(opened.recv(timeout=10.0)))
        yield opened


def closed_with(opened: ClientConnection, *, seconds: float = 10.0) -> int | None:
    """The code that a connection ends with; what comes before is passed over."""

    def takes_all() -> None:
        while True:
            opened.recv(timeout=seconds)

    with pytest.raises(ConnectionClosed) as ended:
        takes_all()
    return None if ended.value.rcvd is None else ended.value.rcvd.code


def asked(rows: int = 2, **more: Any) -> str:
    observations = {name: array.tolist() for name, array in seen(rows).items()}
    return text_message({**question(names(rows)), "group": "plain", "observations": observations, **more})


def test_arrays_go_in_and_come_out_as_they_would_here(service: Serving, policies: dict[str, FilePolicy]) -> None:
    policy = policies["plain"]
    assert isinstance(policy, OnnxPolicy)
    keys = np.array([draw_keys(SEED, agent) for agent in names(50)], np.uint64)
    with PolicyClient(service.address) as client:
        assert (client.seed, client.greedy, client.max_agents) == (SEED, False, 1024)
        assert client.policies["plain"].digest == policy.digest
        for tick in range(20):
            observations = seen(50, seed=tick)
            answer = client.act(observations, agents=names(50), tick=tick, group="plain", log_probs=True)
            log_probs, _ = policy.act(observations, None)
            expected = sample_actions(log_probs, uniforms(SEED, Purpose.POLICY, keys, tick))
            np.testing.assert_array_equal(answer.actions, expected)
            assert answer.actions.dtype == np.int64
            np.testing.assert_array_equal(answer.log_probs, log_probs[np.arange(50), expected])
            assert answer.names() == [KEYS[index] for index in expected]


def test_masks_parts_and_numbers_too(service: Serving, policies: dict[str, FilePolicy]) -> None:
    mask = np.tile([False, True, False, False], (3, 1))
    with PolicyClient(service.address) as client:
        answer = client.act(seen(3), agents=names(3), tick=1, group="plain", action_mask=mask)
        assert (answer.names(), answer.log_probs) == (["left"] * 3, None)
        seen_here = seen(3, shapes=FEATURES)
        parts = client.act(seen_here, agents=names(3), tick=1, group="parts")
        assert parts.actions.shape == (3, 2) and parts.names()[0][0] in PARTS.parts["move"]
        numbers = client.act(seen_here, agents=names(3), tick=1, group="clipped", log_probs=True)
        assert numbers.drawn is not None
        box = Box(names=NUMBERS.names, low=NUMBERS.low, high=NUMBERS.high)
        np.testing.assert_array_equal(numbers.actions, np.clip(numbers.drawn, *box.bounds))
        params = policies["clipped"].act(seen_here, None)[0]  # type: ignore[call-arg]
        likely = log_prob_of_numbers(params, numbers.drawn, box=box, distribution="clipped")
        np.testing.assert_array_equal(numbers.log_probs, likely)
        with pytest.raises(ServingError, match="expected actions with names, got numbers"):
            numbers.names()
        nobody = {name: np.zeros((0, *shape)) for name, shape in SHAPES.items()}
        assert client.act(nobody, agents=[], tick=2, group="plain").actions.shape == (0,)


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        ({"group": "dogs"}, "group", "among plain, recurrent, parts, clipped, got 'dogs'"),
        ({"observations": {"features": np.zeros((2, 8))}}, "shape", r"\['features', 'map'\], got \['features'\]"),
        ({"observations": {**seen(2), "features": np.zeros((2, 7))}}, "shape", r"expected \[2, 8\], got \[2, 7\]"),
        ({"observations": {**seen(2), "features": np.full((2, 8), "a")}}, "dtype", "expected numbers, got <U1"),
        ({"observations": {**seen(2), "features": np.full((2, 8), 1e39)}}, "finite", "row 0 has another"),
        ({"action_mask": np.ones((2, 4))}, "dtype", "expected bool, got float64"),
        ({"action_mask": np.ones((2, 3), np.bool_)}, "shape", r"expected \[2, 4\], got \[2, 3\]"),
        ({"action_mask": np.zeros((2, 4), np.bool_)}, "mask", "a legal action for 'agent_0'"),
        ({"agents": ["a", "a"]}, "repeated", "each agent once"),
        ({"tick": -1}, "message", "`tick`"),
        ({"observations": seen(1025), "agents": names(1025)}, "agents", "at most 1024 agents, got 1025"),
    ],
)
def test_a_wrong_question_is_an_error_with_its_kind(
    change: dict[str, Any], kind: str, says: str, service: Serving
) -> None:
    good: dict[str, Any] = {"observations": seen(2), "agents": names(2), "tick": 1, "group": "plain"}
    with PolicyClient(service.address) as client:
        with pytest.raises(QuestionRefusedError, match=says) as refused:
            client.act(**{**good, **change})
        assert refused.value.kind == kind
        assert len(client.act(**good).actions) == 2  # the connection goes on


def test_several_clients_are_answered_at_once_and_alike(service: Serving) -> None:
    def lives(number: int) -> list[list[int]]:
        with PolicyClient(service.address) as client:
            return [
                client.act(seen(9, seed=tick), agents=names(9), tick=tick, group=group).actions.tolist()
                for tick in range(25)
                for group in ("plain", "recurrent")
            ]

    with ThreadPoolExecutor(6) as pool:
        lived = [*pool.map(lives, range(6))]
    assert all(each == lived[0] for each in lived) and len(set(map(str, lived[0]))) > 20


def test_memory_ends_with_the_connection(service: Serving) -> None:
    def likely(client: PolicyClient, tick: int) -> list[float]:
        answer = client.act(seen(2), agents=names(2), tick=tick, group="recurrent", log_probs=True)
        assert answer.log_probs is not None
        return [*answer.actions.tolist(), *answer.log_probs.tolist()]

    with PolicyClient(service.address) as client:
        first = likely(client, 0)
        assert likely(client, 0) != first
        with PolicyClient(service.address) as other:
            assert likely(other, 0) == first
    with PolicyClient(service.address) as again:
        assert likely(again, 0) == first


def test_questions_wait_for_each_other_in_order(service: Serving) -> None:
    with raw(service) as opened:
        for number in range(200):
            opened.send(asked(id=number, tick=number))
        answers = [json.loads(opened.recv(timeout=10.0)) for _ in range(200)]
    assert [each["id"] for each in answers] == [*range(200)]


def test_a_client_that_goes_in_the_middle_of_a_message_is_forgotten(service: Serving) -> None:
    for _ in range(app.MAX_CLIENTS + 5):
        parts = urlsplit(service.address)
        with raw(service) as opened:
            # the head of a binary message of a million bytes, masked with zeros, of which few come
            opened.socket.sendall(struct.pack("!BBQ4x", 0x82, 0x80 | 127, 1_000_000) + b"x" * 100)
            opened.socket.shutdown(socket.SHUT_RDWR)
        assert parts.hostname == "127.0.0.1"
    ends = time.monotonic() + 10.0
    while True:
        try:
            with PolicyClient(service.address) as client:
                assert len(client.act(seen(1), agents=["a"], tick=0, group="plain").actions) == 1
            break
        except ServerGoneError:
            assert time.monotonic() < ends


def test_no_more_clients_come_in_than_there_may_be(policies: dict[str, FilePolicy], monkeypatch: Any) -> None:
    monkeypatch.setattr(app, "MAX_CLIENTS", 1)
    with serve(policies) as service, PolicyClient(service.address):
        with pytest.raises(ServerGoneError, match="1013, 1 clients are here already"):
            PolicyClient(service.address)


@pytest.mark.parametrize("address", ["{url}", "{url}?token=wrong", "{url}?token="])
def test_nobody_comes_in_without_the_token(address: str, service: Serving) -> None:
    with pytest.raises(ServerGoneError, match="1008, the address lacks the token"):
        PolicyClient(address.format(url=service.url))
    PolicyClient(service.url, token=service.token).close()


def test_pages_of_elsewhere_come_in_where_they_are_named_alone(policies: dict[str, FilePolicy]) -> None:
    with serve(policies, origins=("http://localhost:8000",)) as service:
        own = f"http://{urlsplit(service.url).netloc}"
        for origin in (own, "http://localhost:8000"):
            with raw(service, origin=origin):
                pass
        for origin in ("http://evil.example", "null", "http://localhost:8001"):
            with pytest.raises(InvalidStatus), raw(service, origin=origin):
                pass
        with pytest.raises(InvalidStatus), raw(service, additional_headers={"Host": "evil.example"}):
            pass


def test_who_sends_nonsense_is_sent_away_and_others_are_answered(service: Serving) -> None:
    with raw(service) as opened, PolicyClient(service.address) as client:
        for _ in range(app.MAX_REFUSED):
            opened.send("nonsense")
        assert closed_with(opened) == 1008
        assert len(client.act(seen(1), agents=["a"], tick=0, group="plain").actions) == 1


def test_another_version_ends_the_connection(service: Serving) -> None:
    with raw(service, greets=False) as opened:
        opened.send(text_message({"type": "hello", "id": 3, "townlet": 2}))
        refused = json.loads(opened.recv(timeout=10.0))
        assert (refused["id"], refused["kind"]) == (3, "version")
        assert closed_with(opened) == 1008


def test_a_message_beyond_all_bounds_ends_the_connection(service: Serving) -> None:
    with raw(service) as opened:
        opened.socket.sendall(struct.pack("!BBQ4x", 0x82, 0x80 | 127, MAX_BYTES + 1))
        assert closed_with(opened) == 1009
    with PolicyClient(service.address) as client, pytest.raises(QuestionRefusedError, match="at most"):
        client.act(seen(2), agents=["a" * MAX_BYTES, "b"], tick=0, group="plain")


def test_a_silent_connection_is_closed(policies: dict[str, FilePolicy]) -> None:
    with serve(policies, idle_s=0.3) as service:
        with raw(service) as opened:
            assert closed_with(opened) == 1001
        client = PolicyClient(service.address)
        time.sleep(0.8)
        with pytest.raises(ServerGoneError, match=r"the connection has ended \(1001, nothing came for 0.3 s\)"):
            client.act(seen(1), agents=["a"], tick=0, group="plain")
        client.close()


def test_a_client_that_reads_nothing_holds_nobody_up_and_is_sent_away(
    policies: dict[str, FilePolicy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "SEND_S", 0.3)
    monkeypatch.setattr("townlet_runtime.serving.serve.STALLED_S", 1.0)
    with (
        serve(policies) as service,
        PolicyClient(service.address, timeout_s=5.0) as client,
        raw(service, max_queue=1, close_timeout=0.1) as slow,
    ):
        many, ended = asked(1000, log_probs=True), threading.Event()

        def sends() -> None:
            try:
                for _ in range(2000):
                    slow.send(many)
            except (ConnectionClosed, OSError):
                ended.set()

        thread = threading.Thread(target=sends, daemon=True)
        thread.start()
        answered, gives_up = 0, time.monotonic() + 20.0
        while not ended.wait(0.02) and time.monotonic() < gives_up:
            answered += len(client.act(seen(1), agents=["a"], tick=0, group="plain").actions)
        assert answered > 10
        # Where the system cannot say that nobody takes anything, only the questions of the slow one wait.
        assert ended.is_set() == (sys.platform == "linux")


def test_acting_does_not_hold_the_loop_of_the_server(
    policies: dict[str, FilePolicy], monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()
    acts = OnnxPolicy.act

    def waits(self: OnnxPolicy, observations: Any, action_mask: Any) -> Any:
        if len(observations["features"]) == 7:
            assert goes_on.wait(20.0)
        return acts(self, observations, action_mask)

    monkeypatch.setattr(OnnxPolicy, "act", waits)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    with serve(policies) as service, PolicyClient(service.address) as long, PolicyClient(service.address) as quick:
        with pytest.raises(ServerTimeoutError, match=r"no answer in 0.2 s"):
            long.act(seen(7), agents=names(7), tick=0, group="plain", timeout_s=0.2)
        assert len(quick.act(seen(1), agents=["a"], tick=0, group="plain").actions) == 1
        goes_on.set()
        # The answer that came too late is passed over.
        assert len(long.act(seen(2), agents=names(2), tick=1, group="plain").actions) == 2


def test_the_end_of_the_server_is_told(policies: dict[str, FilePolicy]) -> None:
    with serve(policies) as service:
        client = PolicyClient(service.address)
        address = service.address
    with pytest.raises(ServerGoneError, match="the connection has ended"):
        client.act(seen(1), agents=["a"], tick=0, group="plain")
    with pytest.raises(ServerGoneError, match="nobody serves a policy there"):
        PolicyClient(address)
    with pytest.raises(ServerGoneError, match="nobody serves a policy there"):
        PolicyClient("http://127.0.0.1:1")


def test_an_address_that_is_taken_is_an_error(service: Serving, policies: dict[str, FilePolicy]) -> None:
    port = urlsplit(service.address).port
    assert port is not None
    with pytest.raises(ConfigError, match=f"127.0.0.1 port {port}"), serving(Served(policies), port=port):
        pass


def test_what_was_answered_is_counted(policies: dict[str, FilePolicy]) -> None:
    with serve(policies) as service, PolicyClient(service.address) as client:
        for rows in (3, 4):
            client.act(seen(rows), agents=names(rows), tick=0, group="plain")
        with pytest.raises(QuestionRefusedError):
            client.act(seen(2), agents=["a", "a"], tick=0, group="plain")
        tally = service.tally
        assert (tally.questions, tally.agents, tally.refused) == (2, 7, 1)
