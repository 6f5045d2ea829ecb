"""What another process is told of an update: everything that it needs, so that it remembers nothing of the one before.

A message is JSON and tensors, as safetensors: nothing is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

import safetensors.torch
import torch
from torch import Tensor

from townlet_training.learning.batch import LearnerBatch, PolicyRows
from townlet_training.learning.config import PPOConfig
from townlet_training.learning.ppo import UpdatePlan
from townlet_training.network.memory import Fragments

if TYPE_CHECKING:
    from townlet_training.learning.loss import Objective
    from townlet_training.learning.optimizer import Optimizer

_BATCH, _POLICY, _FRAGMENTS, _WEIGHTS, _MOMENTS = "batch/", "policy/", "fragments/", "weights/", "moments/"
_GENERATOR = "generator"
_ROWS = ("inputs", "scaled_values", "scaled_targets", "is_valued")
_FACTS = ("is_shared", "num_decisions", "truncated_share", "mean_entropy", "extremes")
_ON_CPU = frozenset({f"{_BATCH}is_valued", f"{_POLICY}position", f"{_FRAGMENTS}offsets", _GENERATOR})
"""Indices, and what is read there."""


class Update(NamedTuple):
    """One update, as another process makes it too."""

    group: str
    plan: UpdatePlan
    batch: LearnerBatch
    weights: Mapping[str, Tensor]
    moments: Mapping[str, Tensor]
    """State of the optimizer."""
    generator: Tensor
    """State of the generator of the minibatches."""


def packed(
    group: str, objective: Objective, plan: UpdatePlan, optimizer: Optimizer, generator: torch.Generator
) -> tuple[bytes, bytes]:
    """Turn an update that is about to be made into two blocks, which `unpacked` reads.

    Args:
        group: that learns.
        objective: of the update.
        plan: of the update.
        optimizer: whose moments the steps begin with.
        generator: of the minibatches.
    """
    batch = objective.batch
    tensors = {f"{_BATCH}{name}": getattr(batch, name) for name in _ROWS}
    tensors |= {f"{_POLICY}{name}": rows for name, rows in batch.policy._asdict().items() if rows is not None}
    if batch.fragments is not None:
        tensors |= {f"{_FRAGMENTS}{name}": part for name, part in batch.fragments._asdict().items()}
    tensors |= {f"{_WEIGHTS}{name}": weight for name, weight in objective.network.state_dict().items()}
    tensors |= {f"{_MOMENTS}{name}": moment for name, moment in optimizer.state_dict().items()}
    tensors[_GENERATOR] = generator.get_state()
    said = {
        "group": group,
        "plan": {**asdict(plan), "config": asdict(plan.config)},
        "facts": {name: getattr(batch, name) for name in _FACTS},
    }
    # Copies: safetensors refuses views of the same memory.
    whole = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    return json.dumps(said).encode(), safetensors.torch.save(whole)


def unpacked(said: bytes, block: bytes, device: torch.device) -> Update:
    """Read what `packed` wrote.

    Args:
        said: the first block.
        block: the second one.
        device: where the tensors go that a network reads.
    """
    message: dict[str, Any] = json.loads(said)
    # Where torch begins its memory: products round otherwise elsewhere.
    tensors = {
        name: tensor.to("cpu" if name in _ON_CPU else device, copy=True)
        for name, tensor in safetensors.torch.load(block).items()
    }

    def named(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}

    plan, policy, fragments = message["plan"], named(_POLICY), named(_FRAGMENTS)
    rows: dict[str, Any] = {**named(_BATCH), **message["facts"]}
    return Update(
        group=message["group"],
        plan=UpdatePlan(**{**plan, "config": PPOConfig(**plan["config"]), "rates": tuple(plan["rates"])}),
        batch=LearnerBatch(
            **rows,
            policy=PolicyRows(action_mask=policy.pop("action_mask", None), **policy),
            fragments=Fragments(**fragments) if fragments else None,
            explained_variance=None,
            reward_advantage_corr=None,
        ),
        weights=named(_WEIGHTS),
        moments=named(_MOMENTS),
        generator=tensors[_GENERATOR],
    )
