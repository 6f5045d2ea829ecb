"""A specification as plain entries, which a run notes and a later command compares with the world's own."""

from __future__ import annotations

from collections.abc import Mapping

from townlet_runtime.simulation.interface import SimulationSpec
from townlet_runtime.simulation.recorded import recorded_actions
from townlet_trajectory.data.actions import actions_document
from townlet_trajectory.storage.json import JsonValue

_MAX_SHOWN = 200
"""Characters of a value that an error shows."""


def spec_entries(spec: SimulationSpec) -> dict[str, JsonValue]:
    """Return name, actions, kinds, observations, features and options of a specification, as JSON has them.

    Array actions, observations of a critic and kinds of observations are there in worlds that have them. The number of
    worlds, their capacity and the length of an episode are left out: a policy does not see them.

    Examples:
        >>> from townlet_runtime.simulation.spec_entries import spec_entries
        >>> from townlet_runtime.testing import Corridor
        >>> spec_entries(Corridor(num_worlds=1).spec) == spec_entries(Corridor(num_worlds=8).spec)
        True
    """
    kinds, actions = spec.vocabulary.kinds, recorded_actions(spec)
    entries: dict[str, JsonValue] = {
        "name": spec.name,
        "actions": [*spec.vocabulary.keys],
        "kinds": [*kinds],
        "observations": {name: [*shape] for name, shape in spec.observation_shapes.items()},
        "feature_names": [*spec.feature_names],
        "option_ticks": {kind: spec.option_ticks.get(kind, 0) for kind in sorted(set(kinds))},
    }
    if actions is not None:
        entries["array_actions"] = actions_document(actions)
    if spec.critic_shapes:
        entries["critic_observations"] = {name: [*shape] for name, shape in spec.critic_shapes.items()}
    if spec.observation_kinds:
        entries["observation_kinds"] = {**spec.observation_kinds}
    return entries


def spec_differences(noted: Mapping[str, JsonValue], spec: SimulationSpec) -> list[str]:
    """Name the entries of a noted specification that `spec` states differently.

    Args:
        noted: as `spec_entries` returned it.
        spec: of the world now.

    Returns:
        One phrase for each entry, with both values; none where nothing differs.
    """
    now = spec_entries(spec)
    return [
        f"`{name}` was {_shown(noted.get(name))}, is {_shown(now.get(name))}"
        for name in sorted(noted.keys() | now.keys())
        if (name in noted, noted.get(name)) != (name in now, now.get(name))
    ]


def _shown(value: JsonValue) -> str:
    text = str(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
