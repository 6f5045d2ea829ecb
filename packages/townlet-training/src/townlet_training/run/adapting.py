"""A trained policy is adapted to a world with more observations and actions, group by group."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from townlet_training.errors import ConfigError, EmptyBatchError
from townlet_training.groups import join_groups, split_groups
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.adapt import (
    adapted_network,
    adapted_spec,
    added_actions,
    log_totals,
    prior_biases,
    renamed,
)
from townlet_training.network.blocks import FEATURES
from townlet_training.network.spec import PolicySpec
from townlet_training.network.weights import weights_of
from townlet_training.run.initial import InitialPolicy
from townlet_trajectory import ACTION_MASK, TrajectoryBatch

MAX_REFERENCE_ROWS = 20_000
"""More say nothing more of a mean."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class AddedAction:
    """A new action, its prior, and the mean probability that it got."""

    prior: float
    bias: float
    probability: float
    """Mean over the reference rows in which it is legal."""
    rows: int
    """So many."""


@dataclass(frozen=True, kw_only=True)
class AdaptedGroup:
    """The policy of one agent group, and what it was adapted from."""

    old: PolicySpec
    """With the names of `new`."""
    new: PolicySpec
    network: ActorCritic

    @property
    def added_actions(self) -> tuple[str, ...]:
        """Keys that were added, in the order of the vocabulary."""
        return added_actions(self.old, self.new)

    @property
    def added_observations(self) -> tuple[str, ...]:
        """Names of observations that were added, and of columns as `features[NAME]`."""
        observations = [name for name in sorted(self.new.observation_shapes) if name not in self.old.observation_shapes]
        features = [
            f"{FEATURES}[{name}]"
            for name in self.new.feature_names
            if FEATURES in self.old.observation_shapes and name not in self.old.feature_names
        ]
        return (*observations, *features)


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferenceRows:
    """Rows over which the probabilities of new actions are averaged, as the adapted policy sees them."""

    observations: Mapping[str, Floats]
    """[N, ...] by name; zeros where the rows do not show what was added, which no weight reads."""
    legal: NDArray[np.bool_]
    """[N, A]."""


def adapted_groups(
    source: InitialPolicy, targets: Mapping[str, PolicySpec], names: Mapping[str, str]
) -> dict[str, AdaptedGroup]:
    """Adapt the policies of all agent groups, whose new actions have a bias of 0 until `set_priors`.

    Args:
        source: the trained policy.
        targets: of the world that it is adapted to, by agent group.
        names: new names of actions, observations and features by old ones.

    Returns:
        The adapted policies by group.

    Raises:
        ConfigError: if the world has other groups, lacks something, or has everything the policy has and nothing more.
    """
    if source.specs.keys() != targets.keys():
        raise ConfigError(f"the policy has the agent groups {', '.join(source.specs)}, the world {', '.join(targets)}")
    groups = {}
    for group, weights in split_groups(source.weights, tuple(source.specs)).items():
        before = source.specs[group]
        old = renamed(before, names) if names else before
        new = adapted_spec(old, targets[group])
        network = adapted_network(weights, old=before, new=new, config=source.network)
        groups[group] = AdaptedGroup(old=old, new=new, network=network)
    if not names and all(each.old.wiring == each.new.wiring for each in groups.values()):
        raise ConfigError("nothing is to be adapted: the world has the observations and actions of the policy")
    return groups


def adapted_policy(source: InitialPolicy, groups: Mapping[str, AdaptedGroup]) -> InitialPolicy:
    """Return the policies of `groups` as a run begins with them."""
    return InitialPolicy(
        specs={group: each.new for group, each in groups.items()},
        network=source.network,
        weights=join_groups({group: weights_of(each.network) for group, each in groups.items()}),
    )


def reference_rows(
    batches: Iterable[TrajectoryBatch], adapted: AdaptedGroup, names: Mapping[str, str]
) -> ReferenceRows:
    """Take reference rows, at most `MAX_REFERENCE_ROWS`, with the observations of the old world or of the new one.

    An action that the rows do not know is legal wherever the agent can act at all.

    Args:
        batches: one after the other, all of one schema.
        adapted: the policy that sees them.
        names: new names by those that the rows have.

    Returns:
        The rows.

    Raises:
        ConfigError: if they lack an old observation or action.
        EmptyBatchError: if there is none.
    """
    parts, left = [], MAX_REFERENCE_ROWS
    for batch in batches:
        taken = min(left, batch.num_steps)
        if taken:
            parts.append(_rows_of(batch, taken, adapted, names))
        left -= taken
        if not left:
            break
    if not parts:
        raise EmptyBatchError("there is no reference row")
    return ReferenceRows(
        observations={
            name: np.concatenate([part.observations[name] for part in parts]) for name in parts[0].observations
        },
        legal=np.concatenate([part.legal for part in parts]),
    )


def _rows_of(batch: TrajectoryBatch, count: int, adapted: AdaptedGroup, names: Mapping[str, str]) -> ReferenceRows:
    old, new = adapted.old, adapted.new
    shown = {names.get(name, name): np.asarray(array[:count]) for name, array in batch.observations.items()}
    keys = tuple(names.get(key, key) for key in batch.schema.vocabulary)
    lacks = [name for name in old.observation_shapes if name not in shown]
    lacks += [key for key in old.vocabulary if key not in keys]
    if lacks:
        raise ConfigError(f"the reference rows lack `{lacks[0]}` of the policy; they have {', '.join((*shown, *keys))}")
    observations = {}
    for name, shape in new.observation_shapes.items():
        observations[name] = np.zeros((count, *shape), np.float32)
        if name == FEATURES and new.feature_names and name in shown:
            columns = _feature_columns(shown[name].shape[1:], old, new)
            observations[name][:, [new.feature_names.index(each) for each in columns]] = shown[name]
        elif name in shown and shown[name].shape[1:] == shape:
            observations[name][:] = shown[name]
        elif name in old.observation_shapes:
            raise ConfigError(f"the reference rows have `{name}` {shown[name].shape[1:]}, the policy {shape}")
    legal = np.ones((count, len(new.vocabulary)), np.bool_)
    if ACTION_MASK in shown:
        for index, key in enumerate(keys):
            if key in new.vocabulary:
                legal[:, new.vocabulary.index(key)] = shown[ACTION_MASK][:, index]
    return ReferenceRows(observations=observations, legal=legal)


def _feature_columns(shape: tuple[int, ...], old: PolicySpec, new: PolicySpec) -> tuple[str, ...]:
    """Names of the columns of rows, which do not say them: those of the world with as many."""
    for spec in (old, new):
        if spec.observation_shapes.get(FEATURES) == shape and spec.feature_names:
            return spec.feature_names
    raise ConfigError(
        f"the reference rows have `{FEATURES}` {shape}, the policy {old.observation_shapes.get(FEATURES, 'none')}, "
        f"its new world {new.observation_shapes.get(FEATURES, 'none')}"
    )


def set_priors(adapted: AdaptedGroup, rows: ReferenceRows, priors: Mapping[str, float]) -> dict[str, AddedAction]:
    """Set the biases of the new actions of one group, so that their mean probabilities are `priors`.

    Args:
        adapted: whose network is changed.
        rows: that the means are over; those in which no old action is legal are left out.
        priors: by key of every new action.

    Returns:
        The new actions by key, with the probabilities that the network gives them.

    Raises:
        ConfigError: if a prior is out of range.
        EmptyBatchError: if a new action is legal in no row.
    """
    keys, vocabulary, network = adapted.added_actions, adapted.new.vocabulary, adapted.network
    if not keys:
        return {}
    places = [vocabulary.index(key) for key in keys]
    before = rows.legal.copy()
    before[:, places] = False
    acts = before.any(axis=1)
    legal, seen = rows.legal[acts], {name: array[acts] for name, array in rows.observations.items()}
    for key, place in zip(keys, places, strict=True):
        if not legal[:, place].any():
            raise EmptyBatchError(f"the new action `{key}` is legal in none of {len(legal)} reference rows")
    totals = log_totals(network, seen, before[acts])
    biases = prior_biases(totals, legal[:, places], [priors[key] for key in keys])
    head = network.policy.added_actions(len(adapted.new.blocks) - 1)
    if head is None:
        raise AssertionError("unreachable: the last block has the new actions")
    with torch.no_grad():
        # In the order of the block, which is that of the vocabulary.
        head.bias.copy_(torch.from_numpy(biases))
    log_probs, _ = network.act(seen, legal)
    return {
        key: AddedAction(
            prior=priors[key],
            bias=float(np.float32(bias)),
            probability=math.fsum(np.exp(log_probs[legal[:, place], place].astype(np.float64)))
            / int(legal[:, place].sum()),
            rows=int(legal[:, place].sum()),
        )
        for key, place, bias in zip(keys, places, biases, strict=True)
    }
