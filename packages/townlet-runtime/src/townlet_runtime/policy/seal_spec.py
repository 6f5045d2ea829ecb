"""The actions and observations that a foreign model is sealed for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from townlet_runtime.errors import PolicyFileError
from townlet_runtime.policy.file import actions_in, commitment_in, shapes_in, texts_in, value_in, vocabulary_in
from townlet_runtime.policy.policy import commitment_of
from townlet_runtime.policy.wrapping import Head
from townlet_runtime.simulation.interface import SimulationSpec
from townlet_runtime.simulation.recorded import recorded_actions
from townlet_trajectory import ArtifactError, Box
from townlet_trajectory.data.actions import ArrayActions
from townlet_trajectory.evaluation.policy_card import DISTRIBUTIONS, Commitment
from townlet_trajectory.storage.json import MAX_JSON_BYTES, parse_object
from townlet_trajectory.storage.paths import read_named

_UNKNOWN_WORLD = "unknown"


@dataclass(frozen=True, kw_only=True)
class SealSpec:
    """The actions and observations that a model is sealed for.

    Examples:
        >>> from townlet_runtime import SealSpec
        >>> from townlet_runtime.testing import Corridor
        >>> SealSpec.of(Corridor().spec).vocabulary
        ('wait', 'left', 'right', 'rest')
    """

    vocabulary: tuple[str, ...]
    """Keys of the actions, in the order of the model's outputs; empty with array actions."""
    world: str = _UNKNOWN_WORLD
    """Name of the simulation."""
    observation_shapes: Mapping[str, tuple[int, ...]] | None = None
    """Per agent; None: those of the model's inputs."""
    feature_names: tuple[str, ...] = ()
    """Empty: not known; then their order is not compared with a world's."""
    commitment: Commitment | None = None
    actions: ArrayActions | None = None
    """Actions of several parts, or numbers within bounds; None: indices into `vocabulary`."""
    distribution: str = ""
    """Of numbers, `clipped` or `squashed`; `docs/policy-format.md` has both equations. Else empty."""

    @property
    def head(self) -> Head:
        """What the outputs of the model are for."""
        if isinstance(self.actions, Box):
            return self.actions
        return (len(self.vocabulary),) if self.actions is None else self.actions.sizes

    @classmethod
    def of(cls, spec: SimulationSpec, *, distribution: str = DISTRIBUTIONS[0]) -> SealSpec:
        """What a policy for this simulation must have in common with it; `distribution` is of numbers alone."""
        actions = recorded_actions(spec)
        return cls(
            vocabulary=spec.vocabulary.keys,
            actions=actions,
            distribution=distribution if isinstance(actions, Box) else "",
            world=spec.name,
            observation_shapes=spec.observation_shapes,
            feature_names=spec.feature_names,
            commitment=commitment_of(spec),
        )

    @classmethod
    def read(cls, path: Path) -> SealSpec:
        """Read a JSON file with the key `vocabulary` or `actions` and, where wanted, those of the other fields.

        Raises:
            PolicyFileError: names the file, the key, what was expected and what came.
        """
        try:
            raw = parse_object(read_named(path, max_bytes=MAX_JSON_BYTES), path)
        except ArtifactError as error:
            raise PolicyFileError(path, expected="a JSON object", got=error.reason) from error
        known = {"vocabulary", "world", "observations", "feature_names", "commitment", "actions", "distribution"}
        if unknown := sorted(raw.keys() - known):
            raise PolicyFileError(path, expected=f"the keys {sorted(known)}", got=f"{unknown}")
        given: dict[str, object] = {"world": _UNKNOWN_WORLD, "feature_names": [], "commitment": None, **raw}
        if "vocabulary" in raw and "actions" in raw:
            raise PolicyFileError(path, expected="`vocabulary` or `actions`", got="both")
        actions = actions_in(raw, path) if "actions" in raw else None
        return cls(
            vocabulary=vocabulary_in(given, path) if actions is None else (),
            actions=actions,
            distribution=_distribution_in(given, actions, path),
            world=value_in(given, "world", str, path),
            observation_shapes=shapes_in(given, path) if "observations" in raw else None,
            feature_names=texts_in(given, "feature_names", path),
            commitment=commitment_in(given, path),
        )


def _distribution_in(raw: Mapping[str, object], actions: ArrayActions | None, path: Path) -> str:
    """The one in `distribution`, of numbers `clipped` where it is not said; errors as `value_in`."""
    possible = DISTRIBUTIONS if isinstance(actions, Box) else ("",)
    stated = value_in({"distribution": possible[0], **raw}, "distribution", str, path)
    if stated not in possible:
        raise PolicyFileError(path, expected=f"one of {possible} in `distribution`", got=repr(stated)[:80])
    return stated
