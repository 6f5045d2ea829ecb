"""The explanation of one decision as a record: seen, proposed, decided and why, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from townlet_trajectory.data.actions import ArrayActions, MultiDiscrete
from townlet_trajectory.data.schema import TrajectorySchema
from townlet_trajectory.storage.json import JsonValue


@dataclass(frozen=True, kw_only=True)
class StepNames:
    """What the codes of decisions mean; empty where that is not known."""

    vocabulary: tuple[str, ...]
    """Keys of the actions; empty where they are arrays."""
    proposers: tuple[str, ...] = ()
    veto_reasons: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ()
    """Of the columns of the observation `features`."""
    reward_terms: tuple[str, ...] = ()
    actions: ArrayActions | None = None
    """Actions of several parts, or numbers."""

    @property
    def choices(self) -> tuple[str, ...]:
        """Columns of a mask and of log-probabilities: keys of the actions, or `PART=KEY` of each value of each part."""
        if isinstance(self.actions, MultiDiscrete):
            return tuple(f"{part}={key}" for part, keys in self.actions.parts.items() for key in keys)
        return self.vocabulary

    @classmethod
    def of(cls, schema: TrajectorySchema) -> StepNames:
        """The names that a record knows."""
        return cls(
            vocabulary=schema.vocabulary,
            proposers=schema.proposers,
            veto_reasons=schema.veto_reasons,
            feature_names=schema.feature_names,
            reward_terms=schema.reward_terms,
            actions=schema.actions,
        )


class Decider(StrEnum):
    """Who or which rule made the choice of a step, before guardrails judged it."""

    SCRIPT = "script"
    POLICY = "policy"
    COMMITMENT = "commitment"
    ONLY_ACTION = "only_action"
    POSSESSOR = "possessor"
    OUTSIDE = "outside"
    """Of a record that another program made."""
    UNKNOWN = "unknown"
    """The record does not say."""


@dataclass(frozen=True, kw_only=True)
class SeenNumber:
    """One number that the agent saw."""

    name: str
    """Of the feature; `NAME[3]` of an observation whose columns have no names."""
    value: float
    mean: float | None = None
    """Over all steps of the agent in the record; None where there are no other steps."""
    deviations: float | None = None
    """(value - mean) / standard deviation over the same steps; 0 where the number never changes."""


@dataclass(frozen=True, kw_only=True)
class SeenArray:
    """An observation that is too large to list: a map, a picture."""

    name: str
    shape: tuple[int, ...]
    nonzero: int
    """Of its numbers."""


@dataclass(frozen=True, kw_only=True)
class OptionInForce:
    """The option that was held when the decision was made."""

    action: str
    ticks_left: int
    """This one included."""
    since: int | None
    """Tick of the choice that began it; None where the record does not reach back to it."""
    proposer: str | None
    """Who proposed that choice, where it was of the script's side; None where that is not known."""


@dataclass(frozen=True, kw_only=True)
class LikelyAction:
    """An action and its probability under a policy."""

    action: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class PolicyAnswer:
    """The answer of a policy to what was seen, computed now."""

    top_actions: tuple[LikelyAction, ...]
    """The most probable ones, at most five, most probable first; none where actions are numbers."""
    chosen_log_prob: float
    """log π of the chosen action; of numbers a density."""
    agrees: bool | None
    """Whether that is the recorded log-probability; None where none was recorded."""


@dataclass(frozen=True, kw_only=True)
class StepExplanation:
    """One decision of one agent, in words and numbers. A field is None where the record does not have it.

    Examples:
        >>> import numpy as np
        >>> from townlet_trajectory.audit.explain import RecordedStep, explain_step
        >>> from townlet_trajectory.audit.explanation import StepNames
        >>> names = StepNames(vocabulary=("wait", "eat"), feature_names=("hunger",))
        >>> columns = {"action": np.array(1), "source": np.array(0, np.int8), "ratio": np.array(0, np.float32)}
        >>> seen = {"features": np.array([0.9], np.float32)}
        >>> step = RecordedStep(agent_id="ann", tick=7, observations=seen, columns=columns)
        >>> explained = explain_step(names, step)
        >>> explained.action, explained.why
        ('eat', ('The choice is that of the script: the policy has no share of the decisions (ratio 0).',))
    """

    agent_id: str
    world: int
    episode: int | None
    tick: int
    # What it saw
    numbers: tuple[SeenNumber, ...]
    """The most telling first: by the distance from the agent's own mean, else by column."""
    arrays: tuple[SeenArray, ...]
    legal_actions: tuple[str, ...] | None
    illegal_actions: tuple[str, ...] | None
    num_actions: int
    """Of the vocabulary; of several parts the values of all, of numbers 0."""
    # What was proposed
    option: OptionInForce | None
    expert_action: str | None
    """Proposed on the script's side."""
    proposer: str | None
    """Who proposed it."""
    proposal_age: int | None
    """Ticks since the proposer saw what it proposed from."""
    drawn_action: str | None
    """Drawn by the blend, also where an option was held or the agent possessed."""
    policy_probability: float | None
    """Of the chosen action under the policy that acted; None where nothing was drawn, and of numbers."""
    behavior_probability: float | None
    """Of the chosen action under the blend; None likewise."""
    value: float | None
    """The policy's estimate of the rewards to come."""
    answer: PolicyAnswer | None
    """Of a policy that was asked again."""
    # Difficulty
    ratio: float | None
    temperature: float | None
    observation_age: int | None
    # Who decided
    decider: Decider
    chosen_action: str | None
    kind: str | None
    source: str | None
    possessed: bool
    demonstrated: bool
    veto_reason: str | None
    """Name of the reason; its code where the record has no names; None: no veto."""
    why: tuple[str, ...]
    """In sentences."""
    # What came
    action: str
    """Executed."""
    reward: float | None
    """None: not known yet."""
    reward_terms: Mapping[str, float]
    end: str | None
    """`terminated`, `truncated`, or `cut` where the record stops at this step; None: the trajectory goes on."""
    episode_label: str | None
    """What a person said of the whole episode: `success`, `failure`, `discard`; None: nothing."""
    actions_are: Literal["keys", "parts", "numbers"] = "keys"
    """What an action is made of: of parts `num_actions` counts the values of all, and numbers have no probabilities."""

    def document(self) -> dict[str, JsonValue]:
        """As JSON, under keys that stay: `docs/how-to/explain.md` has the list."""
        return {
            "agent_id": self.agent_id,
            "world": self.world,
            "episode": self.episode,
            "tick": self.tick,
            "saw": {
                "numbers": [_document(one) for one in self.numbers],
                "arrays": [{**_document(one), "shape": [*one.shape]} for one in self.arrays],
                "legal_actions": None if self.legal_actions is None else [*self.legal_actions],
                "illegal_actions": None if self.illegal_actions is None else [*self.illegal_actions],
                "num_actions": self.num_actions,
            },
            "option": None if self.option is None else _document(self.option),
            "proposed": {
                "expert_action": self.expert_action,
                "proposer": self.proposer,
                "proposal_age": self.proposal_age,
                "drawn_action": self.drawn_action,
                "policy_probability": self.policy_probability,
                "behavior_probability": self.behavior_probability,
                "value": self.value,
                "policy": None if self.answer is None else _answer_document(self.answer),
            },
            "difficulty": {
                "ratio": self.ratio,
                "temperature": self.temperature,
                "observation_age": self.observation_age,
            },
            "decided": {
                "by": str(self.decider),
                "chosen_action": self.chosen_action,
                "action": self.action,
                "kind": self.kind,
                "source": self.source,
                "possessed": self.possessed,
                "demonstrated": self.demonstrated,
                "veto_reason": self.veto_reason,
                "why": [*self.why],
            },
            "came": {
                "reward": self.reward,
                "reward_terms": {**self.reward_terms},
                "end": self.end,
                "episode_label": self.episode_label,
            },
        }


class TickMark(StrEnum):
    """Why a step is worth a look."""

    VETO = "veto"
    """A guardrail replaced the choice."""
    TAKEOVER = "takeover"
    """Possession began or ended."""
    POSSESSED = "possessed"
    PROPOSER = "proposer"
    """The proposal at a free decision was another's than the script's: of a slow mind, or of a schedule."""
    SOURCE = "source"
    """Another source than at the step before."""
    HELD = "held"
    """An option was held."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """Consecutive steps at which the same was done for the same reason."""

    first_tick: int
    last_tick: int
    action: str
    """Executed."""
    chosen_action: str | None
    """Another than `action` where it was vetoed; None where the record does not have it."""
    decider: Decider
    source: str | None
    proposer: str | None
    """Of the choice, or of the one that began the option, where it was of the script's side."""
    veto_reason: str | None
    demonstrated: bool
    reward: float
    """Sum over the steps."""
    marks: tuple[TickMark, ...]
    """Of any of its steps."""

    def document(self) -> dict[str, JsonValue]:
        """As JSON."""
        return {**vars(self), "decider": str(self.decider), "marks": [str(mark) for mark in self.marks]}


def _document(record: SeenNumber | SeenArray | OptionInForce | LikelyAction) -> dict[str, JsonValue]:
    return {**vars(record)}


def _answer_document(answer: PolicyAnswer) -> dict[str, JsonValue]:
    return {
        "top_actions": [_document(one) for one in answer.top_actions],
        "chosen_log_prob": answer.chosen_log_prob,
        "agrees": answer.agrees,
    }
