"""Intents and observations of a plain world as arrays that a file can hold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import SavedState, StateError
from townlet_runtime.errors import SimulationError
from townlet_runtime.plain.codec import ActionReader, Intent, IntentCodec, World
from townlet_runtime.plain.recording import AgentObservations


def save_intents(codec: IntentCodec[World, Intent], intents: Sequence[Intent]) -> NDArray[np.str_]:
    """Return intents as the JSON of their actions.

    Raises:
        SimulationError: if the codec does not read actions, so that they could not be restored.
    """
    _reader(codec)
    return np.array([json.dumps(codec.to_action(intent)) for intent in intents], np.str_)


def restore_intents(codec: IntentCodec[World, Intent], saved: NDArray[Any]) -> list[Intent]:
    """Return the intents that `save_intents` saved.

    Raises:
        StateError: if one is not JSON.
    """
    reader = _reader(codec)
    try:
        return [reader.from_action(json.loads(text)) for text in saved.tolist()]
    except (TypeError, ValueError) as error:
        raise StateError(f"saved intents must be JSON: {error}") from error


def save_observations(observations: AgentObservations) -> SavedState:
    """Return the observations that the next decision is made from."""
    ids = sorted(observations.current)
    arrays = {f"seen_{name}": array for name, array in observations.stacked(ids).items()}
    return {"observed": np.array(ids, np.str_), **arrays}


def restore_observations(observations: AgentObservations, state: SavedState) -> None:
    """Give back what `save_observations` saved; a wrong array is a `SimulationError` that names agent and array."""
    names = [name for name in state if name.startswith("seen_")]
    observations.take(
        {
            agent_id: {name.removeprefix("seen_"): state[name][row] for name in names}
            for row, agent_id in enumerate(state["observed"].tolist())
        },
        tick=None,
    )


def _reader(codec: Any) -> ActionReader[Any]:
    if not isinstance(codec, ActionReader):
        raise SimulationError(f"{type(codec).__name__} must have `from_action` for intents to be saved and restored")
    return codec


def by_slot(slots: NDArray[Any], values: Sequence[Intent]) -> Mapping[int, Intent]:
    """Return values by their slots.

    Raises:
        StateError: if they are not as many.
    """
    if slots.shape != (len(values),):
        raise StateError(f"saved slots must be [{len(values)}], got {slots.shape}")
    return dict(zip(slots.tolist(), values, strict=True))
