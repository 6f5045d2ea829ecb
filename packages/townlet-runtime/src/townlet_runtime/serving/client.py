"""Asks a served policy from Python: arrays in, arrays out, one question at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.errors import (
    MissingExtraError,
    QuestionRefusedError,
    ServerGoneError,
    ServerTimeoutError,
    ServingError,
)
from townlet_trajectory import ACTION_MASK, ArrayActions, Box
from townlet_trajectory.data.actions import parse_actions
from townlet_trajectory.errors import TrajectoryError
from townlet_trajectory.storage.json import Fields

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

_LATE = 64
"""Answers to questions that were given up, which are passed over before one is taken for a fault."""


@dataclass(frozen=True, kw_only=True)
class ServedPolicy:
    """What a server says of the policy of a group."""

    digest: str
    """The file's SHA-256."""
    world: str
    """Name of the simulation that it was made for."""
    vocabulary: tuple[str, ...]
    """Keys of the A actions; empty with array actions."""
    actions: ArrayActions | None
    """Parts, or numbers within bounds; None: indices into the vocabulary."""
    observation_shapes: Mapping[str, tuple[int, ...]]
    """Per agent, without the leading axis."""
    feature_names: tuple[str, ...]
    """Of the columns of `features`; may be empty."""
    state_size: int
    """Numbers that it remembers of each agent; 0: none."""

    @property
    def mask_size(self) -> int:
        """Columns of an action mask; 0: there is none."""
        if self.actions is None:
            return len(self.vocabulary)
        return 0 if isinstance(self.actions, Box) else self.actions.num_outputs


@dataclass(frozen=True, kw_only=True, eq=False)
class PolicyAnswer:
    """The actions of N agents at a tick."""

    actions: NDArray[Any]
    """int64 [N], indices into the vocabulary; int64 [N, K] of parts; float32 [N, K] of numbers, within their bounds."""
    log_probs: NDArray[np.float32] | None
    """[N], of what was drawn; None: not asked for."""
    drawn: NDArray[np.float32] | None
    """[N, K]: numbers as they were drawn, which `log_probs` are of, and which may lie beyond the bounds; None: not
    numbers, or not asked for."""
    policy: ServedPolicy

    def names(self) -> list[Any]:
        """Return the keys of the actions, or lists of the keys of parts.

        Raises:
            ServingError: if they are numbers.
        """
        from townlet_runtime.serving.session import keys_of

        if isinstance(self.policy.actions, Box):
            raise ServingError("expected actions with names, got numbers")
        return keys_of(self.actions, self.policy.vocabulary, self.policy.actions)


@dataclass(kw_only=True)
class _Waiting:
    """Until when an answer is waited for."""

    seconds: float
    ends: float = field(init=False)

    def __post_init__(self) -> None:
        self.ends = time.monotonic() + self.seconds

    @property
    def left(self) -> float:
        return max(0.0, self.ends - time.monotonic())


class PolicyClient:
    """A connection to `townlet serve`. Belongs to one thread; several threads have a client each.

        with PolicyClient("ws://127.0.0.1:8401/ws?token=...") as client:
            answer = client.act({"features": features}, agents=["ann", "bob"], tick=tick)
            step(answer.actions)

    Args:
        address: as the server printed it.
        token: where the address has none.
        timeout_s: for the connection, and for each answer.

    Raises:
        MissingExtraError: if the extra `live` is not installed.
        ServerGoneError: if nobody answers there, or not to this token.
        ServerTimeoutError: if it takes longer.
        ServingError: if what answers is no server of policies of this version.
    """

    def __init__(self, address: str, *, token: str | None = None, timeout_s: float = 10.0) -> None:
        try:
            from websockets.sync.client import connect
        except ModuleNotFoundError as error:
            text = f"a client needs the extra `live`: pip install 'townlet-runtime[live]' ({error})"
            raise MissingExtraError(text) from error
        from townlet_runtime.serving.messages import MAX_BYTES, SUBPROTOCOL, VERSION, text_message

        self._timeout_s, self._number = timeout_s, 0
        self._shown = address.partition("?")[0]
        full = address if token is None else f"{address}{'&' if '?' in address else '?'}{urlencode({'token': token})}"
        with _told(self._shown, timeout_s):
            self._opened = connect(
                full,
                subprotocols=[SUBPROTOCOL],  # type: ignore[list-item]  # a new type of text
                compression=None,
                open_timeout=timeout_s,
                close_timeout=timeout_s,
                ping_interval=None,
                proxy=None,
                max_size=MAX_BYTES,
            )
            self._socket: ClientConnection = self._opened.__enter__()
        try:
            self._send(text_message({"type": "hello", "id": 0, "townlet": VERSION}), timeout_s)
            content, _ = self._answer(0, "hello", timeout_s)
            self._read_hello(content)
        except BaseException:
            self.close()
            raise

    def _read_hello(self, content: Mapping[str, Any]) -> None:
        try:
            fields = Fields(content, self._shown)
            self.seed: int = fields.integer("seed")
            self.greedy: bool = fields.flag("greedy")
            groups = fields.inside("groups")
            self.max_agents: int = fields.inside("limits").integer("agents")
            self.policies: Mapping[str, ServedPolicy] = {
                group: _policy(groups.inside(group)) for group in groups.values
            }
        except TrajectoryError as error:
            raise ServingError(f"{self._shown}: expected the `hello` of a served policy: {error}") from error

    def act(
        self,
        observations: Mapping[str, Any],
        *,
        agents: Sequence[str],
        tick: int,
        group: str = "agents",
        action_mask: Any = None,
        begin: Sequence[str] = (),
        end: Sequence[str] = (),
        log_probs: bool = False,
        timeout_s: float | None = None,
    ) -> PolicyAnswer:
        """Ask for the actions of all agents of a tick.

        Args:
            observations: by name, each [N, ...]; other numbers than float32 are cast.
            agents: N ids, each once.
            tick: of the world; draws follow from it, the id and the server's seed.
            group: of the agents.
            action_mask: bool [N, M], something legal in each row; None: every action is legal.
            begin: those of `agents` that a policy with memory remembers nothing of.
            end: those that it can forget after this tick, among `agents` or not.
            log_probs: whether to say how likely the actions were.
            timeout_s: for the answer; None: that of the client.

        Raises:
            QuestionRefusedError: if the question is wrong; says how, and has the `kind`.
            ServerTimeoutError: if there is no answer in time; it is passed over when it comes.
            ServerGoneError: if the connection has ended; what was remembered is gone with it.
        """
        from townlet_runtime.serving.messages import binary_message

        policy = self.policies.get(group)
        if policy is None:
            known = ", ".join(self.policies)
            raise QuestionRefusedError("group", f"expected a group among {known}, got {group!r}")
        arrays = _rows(observations, action_mask, len(agents), policy)
        self._number += 1
        question: dict[str, Any] = {
            "type": "act",
            "id": self._number,
            "group": group,
            "tick": int(tick),
            "agents": [*agents],
            "observations": [*policy.observation_shapes],
            ACTION_MASK: action_mask is not None,
            "begin": [*begin],
            "end": [*end],
            "log_probs": log_probs,
        }
        waits = self._timeout_s if timeout_s is None else timeout_s
        self._send(binary_message(question, arrays), waits)
        content, rows = self._answer(self._number, "actions", waits)
        return _answer(content, rows, len(agents), policy, self._shown)

    def close(self) -> None:
        """End the connection; the server forgets its agents."""
        self._opened.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _send(self, message: str | bytes, timeout_s: float) -> None:
        from townlet_runtime.serving.messages import MAX_BYTES

        if len(message) > MAX_BYTES:
            raise QuestionRefusedError("size", f"expected at most {MAX_BYTES} bytes, got {len(message)}")
        with _told(self._shown, timeout_s):
            self._socket.send(message)

    def _answer(self, number: int, kind: str, timeout_s: float) -> tuple[dict[str, Any], memoryview | None]:
        """The answer to a message; those to earlier ones are passed over."""
        from townlet_runtime.serving.messages import QuestionError, split_message

        waiting = _Waiting(seconds=timeout_s)
        for _ in range(_LATE):
            with _told(self._shown, timeout_s):
                message = self._socket.recv(timeout=waiting.left)
            try:
                content, rows = split_message(message)
            except QuestionError as error:
                raise ServingError(f"{self._shown}: expected an answer of a served policy: {error}") from error
            if content.get("type") == "error" and content.get("id") in (number, None):
                raise QuestionRefusedError(str(content.get("kind")), str(content.get("error")))
            if content.get("id") == number and content.get("type") == kind:
                return content, rows
        raise ServingError(f"{self._shown}: expected `{kind}` as the answer to {number}, got {_LATE} others")


@contextmanager
def _told(place: str, timeout_s: float) -> Iterator[None]:
    """Say by errors of ours what became of a connection."""
    from websockets.exceptions import ConnectionClosed, WebSocketException

    try:
        yield
    except TimeoutError as error:
        raise ServerTimeoutError(f"{place}: no answer in {timeout_s:g} s") from error
    except ConnectionClosed as error:
        frame = error.rcvd
        why = "" if frame is None else f" ({frame.code}{f', {frame.reason}' if frame.reason else ''})"
        raise ServerGoneError(f"{place}: the connection has ended{why}") from error
    except (OSError, WebSocketException) as error:
        raise ServerGoneError(f"{place}: nobody serves a policy there: {error}") from error


def _policy(fields: Fields) -> ServedPolicy:
    shapes = fields.inside("observations")
    return ServedPolicy(
        digest=fields.text("policy"),
        world=fields.text("world"),
        vocabulary=fields.texts("vocabulary"),
        actions=None if fields.is_null("actions") else parse_actions(fields.inside("actions")),
        observation_shapes={name: shapes.integers(name) for name in shapes.values},
        feature_names=fields.texts("feature_names"),
        state_size=fields.integer("state_size"),
    )


def _rows(observations: Mapping[str, Any], action_mask: Any, rows: int, policy: ServedPolicy) -> list[NDArray[Any]]:
    """The arrays of a question, in the order of the policy's observations; the bytes of others would be no error."""
    expected = policy.observation_shapes
    if observations.keys() != expected.keys():
        raise QuestionRefusedError("shape", f"expected the observations {sorted(expected)}, got {sorted(observations)}")
    arrays: list[NDArray[Any]] = []
    for name, shape in expected.items():
        array = np.asarray(observations[name])
        if array.dtype.kind not in "biuf":
            raise QuestionRefusedError("dtype", f"`{name}`: expected numbers, got {array.dtype}")
        if array.shape != (rows, *shape):
            raise QuestionRefusedError("shape", f"`{name}`: expected {[rows, *shape]}, got {[*array.shape]}")
        with np.errstate(over="ignore"):  # what becomes infinite is refused by the server
            arrays.append(array.astype(np.float32, copy=False))
    if action_mask is not None:
        mask = np.asarray(action_mask)
        if mask.dtype != np.bool_:
            raise QuestionRefusedError("dtype", f"`{ACTION_MASK}`: expected bool, got {mask.dtype}")
        if mask.shape != (rows, policy.mask_size):
            raise QuestionRefusedError(
                "shape", f"`{ACTION_MASK}`: expected {[rows, policy.mask_size]}, got {[*mask.shape]}"
            )
        arrays.append(mask.astype(np.uint8))
    return arrays


def _answer(
    content: Mapping[str, Any], sent: memoryview | None, rows: int, policy: ServedPolicy, place: str
) -> PolicyAnswer:
    """The arrays of an answer; their sizes follow from the question, so that no server makes them larger."""
    actions = policy.actions
    width = () if actions is None else (len(actions.names if isinstance(actions, Box) else actions.parts),)
    numbers = isinstance(actions, Box)
    has_probs, has_drawn = (content.get(name) is True for name in ("log_probs", "drawn"))
    size = math.prod((rows, *width))
    ends = [0, 4 * size, 4 * (size + rows * has_probs), 4 * (size + rows * has_probs + size * has_drawn)]
    if sent is None or len(sent) != ends[-1]:
        raise ServingError(f"{place}: expected {ends[-1]} bytes of actions, got {0 if sent is None else len(sent)}")
    found = np.frombuffer(sent, "<f4" if numbers else "<i4", size)
    probs = np.frombuffer(sent, "<f4", rows, ends[1]).astype(np.float32) if has_probs else None
    drawn = np.frombuffer(sent, "<f4", size, ends[2]).reshape(rows, *width).astype(np.float32) if has_drawn else None
    shaped = found.reshape(rows, *width).astype(np.float32 if numbers else np.int64)
    return PolicyAnswer(actions=shaped, log_probs=probs, drawn=drawn, policy=policy)
