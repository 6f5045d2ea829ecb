"""Observations and actions are added to a trained network without changing what it computes of the old ones.

`adapted_spec` finds by name what is new, `adapted_network` makes the network, whose new weights are all 0, and
`prior_biases` finds the biases at which the new actions have a stated mean probability.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp
from torch import Tensor

from townlet_training.errors import ConfigError, EmptyBatchError, ShapeError
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.blocks import FEATURES, PolicyBlock
from townlet_training.network.config import NetworkConfig
from townlet_training.network.spec import PolicySpec

_TOLERANCE = 1e-9
"""Of the mean probabilities."""
_BY_PLACE = frozenset({"observation_mean", "observation_std", "running_mean", "running_variance"})


def renamed(spec: PolicySpec, names: Mapping[str, str]) -> PolicySpec:
    """Return `spec` with other names of actions, observations and features.

    Args:
        spec: of a trained policy.
        names: new names by old ones.

    Raises:
        ConfigError: if an old name is none of `spec`'s, two things get the same name, or there is no vocabulary.
    """
    _require_vocabulary(spec)
    known = {*spec.vocabulary, *spec.observation_shapes, *spec.feature_names}
    if unknown := sorted(names.keys() - known):
        raise ConfigError(f"the policy has no action, observation or feature {_listed(unknown)} to be renamed")

    def new(old: Sequence[str]) -> tuple[str, ...]:
        return tuple(names.get(name, name) for name in old)

    shapes = dict(zip(new(tuple(spec.observation_shapes)), spec.observation_shapes.values(), strict=True))
    features = new(spec.feature_names)
    if len(shapes) < len(spec.observation_shapes) or len(set(features)) < len(features):
        raise ConfigError("two observations or features cannot get the same name")
    return replace(
        spec,
        vocabulary=new(spec.vocabulary),
        observation_shapes=shapes,
        feature_names=features,
        commitment=None if spec.commitment is None else (new(spec.commitment[:1])[0], *spec.commitment[1:]),
        blocks=tuple(
            PolicyBlock(observations=new(one.observations), features=new(one.features), actions=new(one.actions))
            for one in _blocks(spec)
        ),
    )


def adapted_spec(old: PolicySpec, target: PolicySpec) -> PolicySpec:
    """Return `target` with the blocks of `old`, and one more of all that is new in it.

    Everything is found by its name; where it is in the vocabulary or among the columns does not matter.

    Args:
        old: of a trained policy.
        target: of the world that it is to act in, without blocks.

    Returns:
        The spec of the adapted policy; its blocks are `old`'s where nothing is new.

    Raises:
        ConfigError: names everything that `target` lacks, or has in another shape; or actions are not of a vocabulary,
            or a critic has observations of its own.
    """
    for spec in (old, target):
        _require_vocabulary(spec)
    if old.feature_names and not target.feature_names and FEATURES in target.observation_shapes:
        target = replace(target, feature_names=_assumed(old, target))
    if target.feature_names and not old.feature_names and FEATURES in old.observation_shapes:
        old = replace(old, feature_names=_assumed(target, old))
    problems = [
        *(f"the action `{key}` is gone" for key in old.vocabulary if key not in target.vocabulary),
        *_changed_observations(old, target),
    ]
    if old.commitment is not None and target.commitment is not None and old.commitment[2] != target.commitment[2]:
        problems.append(
            f"1.0 stands for {target.commitment[2]} ticks left of an option, not {old.commitment[2]} as it did"
        )
    if problems:
        raise ConfigError(
            f"the policy cannot be adapted to `{target.world}`: {'; '.join(problems)}. Inputs and actions can be added "
            "and renamed, not taken away or changed"
        )
    new_features = tuple(name for name in target.feature_names if name not in old.feature_names)
    new_observations = [
        name
        for name in sorted(target.observation_shapes)
        if name not in old.observation_shapes or (name == FEATURES and new_features)
    ]
    added = PolicyBlock(
        observations=tuple(new_observations),
        features=new_features,
        actions=tuple(key for key in target.vocabulary if key not in old.vocabulary),
    )
    blocks = _blocks(old) if added == PolicyBlock() else (*_blocks(old), added)
    adapted = replace(target, blocks=blocks)
    return target if adapted.wiring == target.wiring else adapted


def _require_vocabulary(spec: PolicySpec) -> None:
    if spec.actions is not None or spec.critic_shapes:
        kind = "several parts or numbers" if spec.actions is not None else "a critic with observations of its own"
        raise ConfigError(
            f"a policy with {kind} cannot be adapted (`{spec.world}`): inputs and actions are added beside a vocabulary"
        )


def added_actions(old: PolicySpec, new: PolicySpec) -> tuple[str, ...]:
    """Return the keys of `new` that `old` lacks, in the order of `new`."""
    return tuple(key for key in new.vocabulary if key not in old.vocabulary)


def _blocks(spec: PolicySpec) -> tuple[PolicyBlock, ...]:
    """Return the blocks of a spec, with the only one of a plain network written out."""
    if not spec.blocks:
        names = tuple(sorted(spec.observation_shapes))
        features = spec.feature_names if FEATURES in names else ()
        return (PolicyBlock(observations=names, features=features, actions=spec.vocabulary),)
    first, *others = spec.blocks
    if FEATURES in first.observations and not first.features:
        first = replace(first, features=spec.feature_names)
    return (first, *others)


def _assumed(named: PolicySpec, unnamed: PolicySpec) -> tuple[str, ...]:
    """Names of the columns of `features` where one side does not say them: the same, if there are as many."""
    if named.observation_shapes.get(FEATURES) != unnamed.observation_shapes[FEATURES]:
        raise ConfigError(
            f"`{FEATURES}` is {unnamed.observation_shapes[FEATURES]} without names in `{unnamed.world}` and "
            f"{named.observation_shapes.get(FEATURES, 'absent')} in `{named.world}`: without the names of its columns "
            "nothing says which are new"
        )
    return named.feature_names


def _changed_observations(old: PolicySpec, target: PolicySpec) -> list[str]:
    problems = []
    for name, shape in old.observation_shapes.items():
        found = target.observation_shapes.get(name)
        if found is None:
            problems.append(f"the observation `{name}` is gone")
        elif name == FEATURES and old.feature_names:
            problems += [
                f"the feature `{each}` is gone" for each in old.feature_names if each not in target.feature_names
            ]
        elif found != shape:
            problems.append(f"the observation `{name}` is {found}, not {shape} as it was")
    return problems


def adapted_network(
    weights: Mapping[str, Tensor], *, old: PolicySpec, new: PolicySpec, config: NetworkConfig
) -> ActorCritic:
    """Build the network of `new` with the `weights` of the network of `old`; the weights of all that is new are 0.

    Its logits of old actions, and its values, are the same bits as those of the old network in each of torch, numpy and
    the exported file, for the same old inputs in the same batch and any finite new inputs. A bias of -0.0 becomes +0.0,
    because -0.0 + 0.0 is not -0.0.

    Args:
        weights: as `weights_of` the old network.
        old: spec of the old network, as it was trained.
        new: of `adapted_spec`.
        config: of both networks.

    Returns:
        A network of its own memory.

    Raises:
        ConfigError: if something is new, and the network has a memory, encoders or a shared trunk.
        ShapeError: if the weights are not those of a network of `old`.
    """
    drawn = torch.Generator().manual_seed(0)  # every weight that is drawn is overwritten
    network = ActorCritic.of(new, config, generator=drawn)
    state: dict[str, Tensor] = dict(network.state_dict())
    for name, tensor in weights.items():
        if name in _BY_PLACE:
            for new_places, old_places in zip(new.wiring.inputs, old.wiring.inputs, strict=False):
                state[name][list(new_places)] = tensor[list(old_places)]
        elif name.rpartition(".")[2] in ("columns", "order"):
            continue
        elif name not in state or state[name].shape != tensor.shape:
            raise ShapeError(f"the weights are not those of the policy: `{name}` is {tuple(tensor.shape)}")
        else:
            state[name] = tensor + 0.0 if name.endswith(".bias") else tensor.clone()
    network.load_state_dict(state)
    network.keeps_statistics = True
    return network


def log_totals(
    network: ActorCritic, observations: Mapping[str, NDArray[np.float32]], legal: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Compute log Z = log Σ_a exp z_a over the `legal` actions of each row.

    Args:
        network: of logits z.
        observations: its inputs, [N, ...].
        legal: [N, A].

    Returns:
        [N]; -inf where nothing is legal.
    """
    with torch.no_grad():
        encoded = network.encode({name: torch.from_numpy(observations[name]) for name in network.observation_shapes})
        logits = network.policy(encoded).double().numpy()
    totals: NDArray[np.float64] = logsumexp(np.where(legal, logits, -np.inf), axis=1)
    return totals


def prior_biases(
    log_totals: NDArray[np.float64], legal: NDArray[np.bool_], priors: Sequence[float]
) -> NDArray[np.float64]:
    """Find the logits b at which new actions, the same in every row, have the mean probabilities `priors`.

        mean over the rows i where k is legal of   exp b_k / (Z_i + Σ_j l_ij exp b_j)   =  p_k

    The difference of the two sides, times the number of rows where k is legal, is the gradient of a convex function of
    b, which has a minimum because Σ p < 1:

        Φ(b) = Σ_i log(Z_i + Σ_j l_ij exp b_j) - Σ_k n_k p_k b_k

    It is found in a region of trust, which need not know where it is, and then by Newton's method alone, which comes as
    near as float64 allows.

    Args:
        log_totals: [N]; log Z_i of the old actions that are legal in row i, finite.
        legal: [N, K]; l_ij, whether new action j is legal in row i; each somewhere.
        priors: [K], each above 0, their sum below 1.

    Returns:
        [K].

    Raises:
        ConfigError: if a prior or their sum is out of range.
        EmptyBatchError: if a new action is legal in no row.
        ShapeError: if shapes differ, or a total is not finite.
    """
    wanted = np.array(priors, np.float64)
    if not (wanted > 0.0).all() or not wanted.sum() < 1.0:
        raise ConfigError(f"priors must be above 0 and their sum below 1, got {list(priors)}")
    if legal.shape != (len(log_totals), len(wanted)) or not np.isfinite(log_totals).all():
        raise ShapeError(
            f"expected finite totals [N] and `legal` [N, {len(wanted)}], got {log_totals.shape} and {legal.shape}"
        )
    if not legal.any(axis=0).all():
        raise EmptyBatchError(f"new action {int(legal.any(axis=0).argmin())} is legal in none of {len(legal)} rows")
    # Exact where every row has the same total and everything is legal.
    first = np.log(wanted) - math.log1p(-wanted.sum()) + float(log_totals.mean())
    return _minimum(first, log_totals, legal, wanted)


def _minimum(
    first: NDArray[np.float64],
    log_totals: NDArray[np.float64],
    legal: NDArray[np.bool_],
    wanted: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Find where Φ is least, from `first` on; all are as in `prior_biases`."""
    from scipy.optimize import minimize  # its import takes 0.3 s, and nothing but priors needs it

    counts = legal.sum(axis=0)

    def convex(point: NDArray[np.float64]) -> float:
        return float(_all_totals(log_totals, legal, point).sum() - counts @ (wanted * point))

    def gradient(point: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(counts * (mean_probabilities(log_totals, legal, point) - wanted))

    def curvature(point: NDArray[np.float64]) -> NDArray[np.float64]:
        shares = _shares(log_totals, legal, point)
        return np.asarray(np.diag(shares.sum(axis=0)) - shares.T @ shares)

    def error(point: NDArray[np.float64]) -> float:
        return float(np.abs(mean_probabilities(log_totals, legal, point) - wanted).max())

    found = minimize(convex, first, jac=gradient, hess=curvature, method="trust-exact", options={"gtol": _TOLERANCE})
    biases: NDArray[np.float64] = found.x
    # Written so that a NaN is an error.
    while not (off := error(biases)) <= _TOLERANCE:
        further = biases - np.linalg.lstsq(curvature(biases), gradient(biases))[0]
        if not error(further) < off:
            raise ConfigError(f"found no biases for the priors {wanted.tolist()}: they are off by {off:.3g}")
        biases = further
    return biases


def _all_totals(
    log_totals: NDArray[np.float64], legal: NDArray[np.bool_], biases: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Logarithm of the weight of all legal actions, the new ones too [N]."""
    return np.asarray(np.logaddexp(log_totals, logsumexp(np.where(legal, biases, -np.inf), axis=1)))


def _shares(
    log_totals: NDArray[np.float64], legal: NDArray[np.bool_], biases: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Probabilities of the new actions [N, K]; 0 where one is not legal."""
    return np.where(legal, np.exp(biases - _all_totals(log_totals, legal, biases)[:, None]), 0.0)


def mean_probabilities(
    log_totals: NDArray[np.float64], legal: NDArray[np.bool_], biases: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Compute the left side of the equation of `prior_biases`.

    Args:
        log_totals: [N]; log Z_i of the old actions that are legal in row i, finite.
        legal: [N, K]; whether new action k is legal in row i; each somewhere.
        biases: [K]; logits of the new actions.

    Returns:
        [K]; mean probability of each new action over the rows where it is legal.
    """
    return np.asarray(_shares(log_totals, legal, biases).sum(axis=0) / legal.sum(axis=0))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
