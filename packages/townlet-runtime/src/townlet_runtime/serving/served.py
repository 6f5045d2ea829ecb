"""What is served: the policy of each group, made ready once for all connections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import ActionVocabulary, Box, MultiDiscrete, draw_keys
from townlet_behavior.forms import ActionForm, form_of
from townlet_runtime.policy.onnx import FilePolicy
from townlet_runtime.serving.messages import MAX_BYTES, MAX_TEXT_BYTES, VERSION
from townlet_runtime.simulation.interface import CommitmentColumns, SimulationSpec
from townlet_trajectory import MultiDiscrete as RecordedParts
from townlet_trajectory.data.actions import actions_document
from townlet_trajectory.evaluation.policy_card import PolicyCard

MAX_AGENTS = 2**16
"""The most agents of one question that can be asked for."""
DEFAULT_AGENTS = 1024
REMEMBERED = 4
"""Agents that a connection may be remembered by, as a multiple of those of one question."""
MAX_MEMORY_BYTES = 64 * 2**20
"""Of the recurrent state of one connection and group."""
MAX_KEYS = 2**16
"""Agents whose keys of draws are kept, for all connections."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ServedGroup:
    """A group of agents with its policy."""

    policy: FilePolicy
    """Without its critic, which nobody asks."""
    spec: SimulationSpec
    form: ActionForm

    @classmethod
    def of(cls, policy: FilePolicy, *, max_agents: int) -> ServedGroup:
        """Make a policy ready.

        Args:
            policy: read from its file.
            max_agents: of one question.

        Raises:
            SimulationError: if its label describes no agents that there can be.
        """
        card = policy.card
        room = MAX_MEMORY_BYTES // (4 * card.state_size) if card.state_size else max_agents
        spec = spec_of(card, capacity=max(1, min(REMEMBERED * max_agents, room)))
        return cls(policy=policy.without_values(), spec=spec, form=form_of(spec.action_spec))

    def document(self) -> dict[str, Any]:
        """What `hello` says of it, in the words of the label of a policy file."""
        card = self.policy.card
        shown = self.spec.commitment_columns
        return {
            "policy": self.policy.digest,
            "world": card.world,
            "vocabulary": [*card.vocabulary],
            "actions": None if card.actions is None else actions_document(card.actions),
            "observations": {name: [*shape] for name, shape in card.observation_shapes.items()},
            "feature_names": [*card.feature_names],
            "commitment": None
            if shown is None
            else {"observation": shown.observation, "start": shown.start, "max_ticks": shown.max_ticks},
            "state_size": card.state_size,
        }


class Served:
    """The policies of all groups, and how they act.

    Args:
        policies: by group.
        seed: of all draws.
        greedy: take the most probable action instead.
        max_agents: of one question.

    Raises:
        SimulationError: as `ServedGroup.of`.
    """

    def __init__(
        self,
        policies: Mapping[str, FilePolicy],
        *,
        seed: int = 0,
        greedy: bool = False,
        max_agents: int = DEFAULT_AGENTS,
    ) -> None:
        self.groups = {group: ServedGroup.of(each, max_agents=max_agents) for group, each in policies.items()}
        self.cards = {group: each.policy.card for group, each in self.groups.items()}
        self.seed, self.greedy, self.max_agents = seed, greedy, max_agents
        self._key = lru_cache(MAX_KEYS)(lambda agent: draw_keys(seed, agent))

    def keys(self, agents: tuple[str, ...]) -> NDArray[np.uint64]:
        """Keys of the draws of N agents [N]: `draw_keys` of the seed and the id."""
        return np.array([self._key(agent) for agent in agents], np.uint64)

    def document(self, idle_s: float) -> dict[str, Any]:
        """What `hello` says.

        Args:
            idle_s: after which a silent connection is closed.
        """
        return {
            "townlet": VERSION,
            "seed": self.seed,
            "greedy": self.greedy,
            "groups": {group: each.document() for group, each in self.groups.items()},
            "limits": {
                "agents": self.max_agents,
                "bytes": MAX_BYTES,
                "text_bytes": MAX_TEXT_BYTES,
                "idle_s": idle_s,
            },
        }


def spec_of(card: PolicyCard, *, capacity: int) -> SimulationSpec:
    """Return the spec of agents that a policy was made for, as far as its label says.

    Args:
        card: the label.
        capacity: agents that there may be at a time.
    """
    keys, actions = card.vocabulary, card.actions
    vocabulary = ActionVocabulary(keys=keys, kinds=keys) if keys else ActionVocabulary.none()
    parts: MultiDiscrete | Box | None = None
    if isinstance(actions, RecordedParts):
        parts = MultiDiscrete(parts=actions.parts)
    elif actions is not None:
        parts = Box(names=actions.names, low=actions.low, high=actions.high)
    columns = None
    if card.commitment is not None:
        observation, start, max_ticks = card.commitment
        columns = CommitmentColumns(observation=observation, start=start, max_ticks=max_ticks)
    return SimulationSpec(
        name=card.world,
        vocabulary=vocabulary,
        actions=parts,
        observation_shapes=card.observation_shapes,
        feature_names=card.feature_names,
        commitment_columns=columns,
        num_worlds=1,
        capacity=capacity,
        episode_ticks=1,
    )
