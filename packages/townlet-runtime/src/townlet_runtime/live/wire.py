"""What a page is sent: the frame of a snapshot as bytes, and everything else as JSON."""

from __future__ import annotations

import base64
import io
import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import ActionVocabulary
from townlet_runtime.core.runtime import BatchRuntime
from townlet_runtime.drawing.scene import Scene
from townlet_runtime.live.history import Decider, Point
from townlet_runtime.simulation.interface import SimulationSpec
from townlet_trajectory import Box, MultiDiscrete

if TYPE_CHECKING:
    from townlet_runtime.live.stage import Snapshot

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


def frame_bytes(
    snapshot: Snapshot, *, scene_version: int, roster_version: int, possessed: NDArray[np.uint8]
) -> list[bytes]:
    """A snapshot as the parts of a frame, the last of which differs from client to client; see `docs/live-wire.md`.

    Args:
        snapshot: of N agents.
        scene_version: of the scene that it belongs to.
        roster_version: of the list of agents that its rows are.
        possessed: [N]; 0 nobody, 1 the client, 2 somebody else.
    """
    drawing = snapshot.drawing
    count, marks = len(drawing.agent_ids), len(snapshot.scene.marks)
    rows = np.array([snapshot.decided.get(one, -1) for one in drawing.agent_ids.tolist()], np.int64)
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
    parts = (
        np.ascontiguousarray(drawing.positions[:, 0], np.float32),
        np.ascontiguousarray(drawing.positions[:, 1], np.float32),
        _of_rows(snapshot.columns.get("deciders"), rows, np.uint8, Decider.SCRIPT),
        _of_rows(snapshot.columns.get("actions"), rows, np.int16, -1),
        _of_rows(snapshot.columns.get("rewards"), rows, np.float32, 0),
        np.rint(drawing.levels * 255.0).astype(np.uint8).ravel(),
        waiting,
        possessed,
    )
    return [header, *(_padded(part) for part in parts)]


def _of_rows(column: NDArray[Any] | None, rows: NDArray[np.int64], dtype: type, otherwise: int) -> NDArray[Any]:
    """The values at `rows` [N], `otherwise` at -1: an agent that has just come has decided nothing."""
    found: NDArray[Any] = np.full(len(rows), otherwise, dtype)
    known = rows >= 0
    if column is not None and known.any():
        found[known] = column[rows[known]]
    return found


def _padded(array: NDArray[Any]) -> bytes:
    raw = array.tobytes()
    return raw + b"\0" * (-len(raw) % 4)


def picture_bytes(pixels: NDArray[np.uint8], tick: int) -> bytes:
    """Pixels [H, W, 3] as a PNG, behind its tick."""
    from PIL import Image  # of the extra, where a world renders pixels

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "PNG", compress_level=1)
    return struct.pack("<4sI", PICTURE, tick & 0xFFFFFFFF) + stream.getvalue()


def group_document(group: str, spec: SimulationSpec, runtime: BatchRuntime) -> dict[str, Any]:
    """Return what the agents of a group can do, see and earn.

    Args:
        group: its name.
        spec: of its agents.
        runtime: that decides for them.
    """
    actions, names = spec.action_spec, runtime.names
    return {
        "name": group,
        "actions": [*actions.keys] if isinstance(actions, ActionVocabulary) else [],
        "kinds": [*actions.kinds] if isinstance(actions, ActionVocabulary) else [],
        "parts": {name: [*keys] for name, keys in actions.parts.items()}
        if isinstance(actions, MultiDiscrete)
        else None,
        "box": {"names": [*actions.names], "low": [*actions.low], "high": [*actions.high]}
        if isinstance(actions, Box)
        else None,
        "features": [*spec.feature_names],
        "reward_terms": [*spec.reward_terms],
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
