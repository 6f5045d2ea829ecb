"""What a page is sent: the frame of a snapshot as bytes, and everything else as JSON."""

from __future__ import annotations

import base64
import io
import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.drawing.scene import Scene
from townlet_runtime.live.history import Decider, Point
from townlet_trajectory import Box, MultiDiscrete
from townlet_trajectory.audit.explanation import StepNames

if TYPE_CHECKING:
    from townlet_runtime.live.player import Snapshot

FRAME, PICTURE = b"TLF1", b"TLP1"
_HEADER = struct.Struct("<4sIIIIIIIff")
_PAUSED = 1
_UNSAID = 0xFFFF


def scene_message(scene: Scene, version: int) -> dict[str, Any]:
    """A scene, with the number that frames refer to."""
    cells = scene.cells
    return {
        "type": "scene",
        "version": version,
        "size": [scene.width, scene.height],
        "cells": None
        if cells is None
        else {
            "rows": cells.shape[0],
            "columns": cells.shape[1],
            "codes": base64.b64encode(np.ascontiguousarray(cells).tobytes()).decode(),
            "palette": [{"name": name, "colour": colour} for name, colour in scene.palette],
        },
        "marks": [
            {"x": mark.x, "y": mark.y, "shape": mark.shape, "colour": mark.colour, "label": mark.label}
            for mark in scene.marks
        ],
        "bars": [*scene.bars],
    }


def frame_bytes(snapshot: Snapshot, *, scene_version: int, roster_version: int) -> bytes:
    """A snapshot as a frame, little endian, but for its last array, which differs from client to client.

    `TLF1`, then as uint32 tick, both versions, N agents, M marks, B levels and flags (1: paused), then as float32 ticks
    a second and ratio. Then arrays, each padded to 4 bytes: float32 x [N] and y [N], uint8 decider [N], int16 action
    [N], float32 reward [N], uint8 levels [N, B], uint16 counts [M] (65535: none). `padded` makes the last one: uint8
    [N], 0 where nobody possesses the agent, 1 where the client does, 2 where somebody else does.

    Args:
        snapshot: of N agents.
        scene_version: of the scene that it belongs to.
        roster_version: of the list of agents that its rows are.
    """
    drawing, latest = snapshot.drawing, snapshot.latest
    count, marks = len(drawing.agent_ids), len(snapshot.scene.marks)
    header = _HEADER.pack(
        FRAME,
        snapshot.tick & 0xFFFFFFFF,
        scene_version,
        roster_version,
        count,
        marks,
        drawing.levels.shape[1],
        _PAUSED if snapshot.paused else 0,
        snapshot.ticks_per_s,
        snapshot.ratio,
    )
    waiting = np.full(marks, _UNSAID, np.uint16)
    if len(drawing.counts):
        waiting = np.where(drawing.counts < 0, _UNSAID, np.clip(drawing.counts, 0, _UNSAID - 1)).astype(np.uint16)
    rows = _rows_in(latest.agent_ids, drawing.agent_ids)
    parts = (
        np.ascontiguousarray(drawing.positions[:, 0], np.float32),
        np.ascontiguousarray(drawing.positions[:, 1], np.float32),
        _of_rows(latest.deciders, rows, Decider.SCRIPT),
        _of_rows(latest.actions, rows, -1),
        _of_rows(latest.rewards, rows, 0),
        np.rint(drawing.levels * 255.0).astype(np.uint8).ravel(),
        waiting,
    )
    return b"".join([header, *map(padded, parts)])


def _rows_in(known: NDArray[np.object_], wanted: NDArray[np.object_]) -> NDArray[np.int64]:
    """Where each of `wanted` [N] is in `known`; -1: nowhere. Usually both are the same."""
    if np.array_equal(known, wanted):
        return np.arange(len(wanted))
    places = {agent_id: row for row, agent_id in enumerate(known.tolist())}
    return np.array([places.get(agent_id, -1) for agent_id in wanted.tolist()], np.int64)


def _of_rows(column: NDArray[Any], rows: NDArray[np.int64], otherwise: int) -> NDArray[Any]:
    """The values at `rows` [N], `otherwise` at -1: an agent that has just come has decided nothing."""
    found: NDArray[Any] = np.full(len(rows), otherwise, column.dtype)
    known = rows >= 0
    found[known] = column[rows[known]]
    return found


def padded(array: NDArray[Any]) -> bytes:
    """The bytes of an array of a frame, up to a whole number of four."""
    raw = array.tobytes()
    return raw + b"\0" * (-len(raw) % 4)


def picture_bytes(pixels: NDArray[np.uint8], tick: int) -> bytes:
    """Pixels [H, W, 3] as a PNG, behind its tick."""
    from PIL import Image  # of the extra, where a world renders pixels

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "PNG", compress_level=1)
    return struct.pack("<4sI", PICTURE, tick & 0xFFFFFFFF) + stream.getvalue()


def group_document(group: str, names: StepNames, *, kinds: Sequence[str] = ()) -> dict[str, Any]:
    """Return what the agents of a group can do, see and earn.

    Args:
        group: its name.
        names: of its actions, features, rewards, vetoes and proposers.
        kinds: of its actions, in the order of their keys; empty: not known.
    """
    actions = names.actions
    return {
        "name": group,
        "actions": [] if actions is not None else [*names.vocabulary],
        "kinds": [] if actions is not None else [*kinds],
        "parts": {name: [*keys] for name, keys in actions.parts.items()}
        if isinstance(actions, MultiDiscrete)
        else None,
        "box": {"names": [*actions.names], "low": [*actions.low], "high": [*actions.high]}
        if isinstance(actions, Box)
        else None,
        "features": [*names.feature_names],
        "reward_terms": [*names.reward_terms],
        "veto_reasons": [*names.veto_reasons],
        "proposers": [*names.proposers],
    }


def chart_message(points: Sequence[Point], ticks_per_s: float, reasons: Sequence[str]) -> dict[str, Any]:
    """Return points of the charts that a client has not seen.

    Args:
        points: oldest first, at least one.
        ticks_per_s: of now.
        reasons: names of the vetoes.
    """
    shares = np.array([point.deciders for point in points]) / np.maximum(
        np.array([[point.deciders.sum()] for point in points]), 1
    )
    vetoes = np.array([point.vetoes for point in points])
    return {
        "type": "chart",
        "ticks": [point.tick for point in points],
        "shares": {code.name.lower(): shares[:, code].round(4).tolist() for code in Decider},
        "mean_reward": [point.mean_reward for point in points],
        "vetoes": {reason: vetoes[:, index].tolist() for index, reason in enumerate(reasons)},
        "ticks_per_s": ticks_per_s,
    }


def finite(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document in which numbers that JSON does not know are null."""
    return {key: _finite(value) for key, value in document.items()}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
