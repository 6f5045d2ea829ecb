"""Small policies of every kind, served in this process, and each message held to the schema."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from foreign_models import FLOAT, model_of, node, saved
from json_schemas import faults
from numpy.typing import NDArray
from onnx_files import ElmanNetwork, card, policy_file

from townlet_runtime.policy.foreign import ModelParts
from townlet_runtime.policy.onnx import FilePolicy, load_policy
from townlet_runtime.policy.seal import seal
from townlet_runtime.policy.seal_spec import SealSpec
from townlet_runtime.serving.messages import binary_message, schema_text, split_message, text_message
from townlet_runtime.serving.served import Served
from townlet_runtime.serving.session import Session
from townlet_trajectory import Box, MultiDiscrete
from townlet_trajectory.data.actions import ArrayActions

SCHEMA = json.loads(schema_text())
SHAPES = {"features": (8,), "map": (1, 1, 6)}
KEYS = ("wait", "left", "right", "rest")
ELMAN = ElmanNetwork(8, 4, seed=3)
PARTS = MultiDiscrete(parts={"move": ("stay", "north", "south"), "hand": ("open", "closed")})
NUMBERS = Box(names=("steer", "throttle"), low=(-1.0, 0.0), high=(1.0, 2.5))
_RNG = np.random.default_rng(7)
WEIGHTS, VALUES = _RNG.normal(size=(8, 4)).astype(np.float32), _RNG.normal(size=8).astype(np.float32)
Name = Literal["plain", "recurrent", "parts", "clipped", "squashed"]


def file_of(name: Name, folder: Path) -> Path:
    """The file of a policy of a kind."""
    path = folder / f"{name}.onnx"
    if name == "plain":
        path.write_bytes(policy_file(WEIGHTS, VALUES, card()))
    elif name == "recurrent":
        path.write_bytes(ELMAN.file(card(shapes=SHAPES, state_size=3), SHAPES))
    elif name == "parts":
        _seal(path, PARTS, "", "logits")
    else:
        _seal(path, NUMBERS, name, "gaussian")
    return path


def _seal(path: Path, actions: ArrayActions, distribution: str, kind: Literal["logits", "gaussian"]) -> None:
    count = actions.num_outputs
    weights = np.random.default_rng(count).normal(size=(8, count)).astype(np.float32)
    model = model_of(
        [node("MatMul", ["features", "W"], ["said"])],
        {"features": (FLOAT, ["N", 8])},
        {"said": (FLOAT, ["N", count])},
        {"W": weights},
    )
    spec = SealSpec(vocabulary=(), actions=actions, distribution=distribution)
    seal(saved(model, path.parent), path, spec=spec, parts=ModelParts(output_kind=kind))


def policy_of(name: Name, folder: Path) -> FilePolicy:
    return load_policy(file_of(name, folder))


def seen(rows: int, *, seed: int = 0, shapes: Mapping[str, tuple[int, ...]] = SHAPES) -> dict[str, NDArray[np.float32]]:
    """Observations of so many agents."""
    generator = np.random.default_rng(seed)
    return {name: generator.normal(size=(rows, *shape)).astype(np.float32) for name, shape in shapes.items()}


def names(rows: int) -> list[str]:
    return [f"agent_{row}" for row in range(rows)]


def require_valid(content: object) -> None:
    """Hold the JSON of a message to the schema."""
    assert faults(content, SCHEMA, SCHEMA) == []


class Conversation:
    """One connection without a socket."""

    def __init__(self, policies: Mapping[str, FilePolicy], *, greets: bool = True, **how: Any) -> None:
        self.session = Session(Served(policies, **how), idle_s=60.0)
        self.hello: dict[str, Any] = {}
        if greets:
            self.hello = self.say(text_message({"type": "hello", "id": 0, "townlet": 1}))

    def say(self, sent: str | bytes) -> dict[str, Any]:
        """The JSON of the reply, which the schema describes."""
        self.reply = self.session.answer(sent)
        content, self.rows = split_message(self.reply.message)
        require_valid(content)
        return content

    def act(self, observations: Mapping[str, NDArray[Any]], agents: Sequence[str], **more: Any) -> dict[str, Any]:
        """Ask as text."""
        content = {**question(agents, more), "observations": {name: one.tolist() for name, one in observations.items()}}
        if isinstance(content.get("action_mask"), np.ndarray):
            content["action_mask"] = content["action_mask"].tolist()
        require_valid(content)
        return self.say(text_message(content))

    def act_binary(
        self, observations: Mapping[str, NDArray[Any]], agents: Sequence[str], **more: Any
    ) -> tuple[dict[str, Any], bytes]:
        """Ask in the binary form; the JSON of the answer, and the bytes behind it."""
        content = {**question(agents, more), "observations": [*observations]}
        arrays = [*observations.values()]
        if isinstance(mask := content.get("action_mask"), np.ndarray):
            content["action_mask"] = True
            arrays.append(mask.astype(np.uint8))
        require_valid(content)
        answer = self.say(binary_message(content, arrays))
        return answer, b"" if self.rows is None else bytes(self.rows)


def question(agents: Sequence[str], more: Mapping[str, Any] = {}) -> dict[str, Any]:
    """The fields of a question beside what is seen."""
    return {"type": "act", "id": 5, "group": "agents", "tick": 3, "agents": [*agents], **more}
