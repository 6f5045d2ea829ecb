"""How the rows of a batch are dealt out to gradient steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from townlet_training.learning.fragments import picked
from townlet_training.network.memory import Fragments

if TYPE_CHECKING:
    from townlet_training.learning.batch import LearnerBatch, PolicyRows


class Minibatch(NamedTuple):
    """A share of a batch: some rows for the critic, and decisions for the policy."""

    rows: Tensor
    """[m] int64, in `LearnerBatch.inputs`."""
    decided: Tensor
    """[p] int64, in `decisions`."""
    decisions: PolicyRows
    """All those of the batch."""
    places: Tensor | None = None
    """[p] int64, of the decisions among `rows`; None: they have rows of their own."""
    valued: Tensor | None = None
    """[v] int64, among `rows`: those that the critic learns from; None: all."""
    fragments: Fragments | None = None
    """The stretches that `rows` are, for a memory."""
    share_of: Minibatch | None = None
    """The minibatch that this is a part of; None: it is a whole one."""

    @property
    def whole(self) -> Minibatch:
        """What the means of the loss are over: those of the shares are summands of them."""
        return self if self.share_of is None else self.share_of

    @property
    def policy(self) -> PolicyRows:
        """The p decisions, gathered."""
        return self.decisions.take(self.decided)

    @property
    def num_valued(self) -> int:
        """Rows that the critic learns from."""
        return len(self.rows if self.valued is None else self.valued)

    def share(self, number: int, count: int) -> Minibatch:
        """Return one of `count` parts of a whole minibatch, of about equal size, counted from 0; one may be empty."""
        fragments = self.fragments
        rows = _part(len(self.rows), number, count)
        if fragments is not None:
            one = _part(len(fragments.states), number, count)
            offsets = fragments.offsets[one.start : one.stop + 1]
            rows = slice(int(offsets[0]), int(offsets[-1]))
            fragments = Fragments(offsets - offsets[0], fragments.states[one])
        if self.places is None:
            decided, places = _part(len(self.decided), number, count), None
        else:
            decided = _within(self.places, rows)
            places = self.places[decided] - rows.start
        return Minibatch(
            rows=self.rows[rows],
            decided=self.decided[decided],
            decisions=self.decisions,
            places=places,
            valued=None if self.valued is None else self.valued[_within(self.valued, rows)] - rows.start,
            fragments=fragments,
            share_of=self,
        )


def minibatches(
    batch: LearnerBatch, *, num_minibatches: int, num_epochs: int, generator: torch.Generator
) -> Iterator[Minibatch]:
    """Cut `batch` into `num_minibatches` parts, in a new order in every pass.

    Where critic and policy share no weight, rows and decisions are each cut into equal parts; the decisions are in the
    order of the rows, so that both parts are the same rows where every row is a decision. Else a part is some rows and
    the decisions among them; with a memory, some fragments.

    Args:
        batch: of rows to learn from, and P decisions.
        num_minibatches: at most the rows; with a memory, the fragments.
        num_epochs: passes.
        generator: of the orders.
    """
    num_rows, num_policy = len(batch.inputs), len(batch.policy.position)
    policy_index = torch.full((num_rows,), -1)
    policy_index[batch.policy.position] = torch.arange(num_policy)
    units = batch.units
    for _ in range(num_epochs):
        order = torch.randperm(len(units), generator=generator)
        if batch.is_shared:
            for part in range(num_minibatches):
                yield _together(batch, units[order[_part(len(units), part, num_minibatches)]], policy_index)
            continue
        policy_order = policy_index[order]
        if num_policy < num_rows:
            policy_order = policy_order[policy_order >= 0]
        for part in range(num_minibatches):
            rows = order[_part(num_rows, part, num_minibatches)]
            yield Minibatch(rows, policy_order[_part(num_policy, part, num_minibatches)], batch.policy)


def _part(num_units: int, part: int, num_parts: int) -> slice:
    return slice(num_units * part // num_parts, num_units * (part + 1) // num_parts)


def _within(places: Tensor, rows: slice) -> slice:
    """Which of the ascending `places` are in `rows`."""
    first, stop = torch.searchsorted(places, torch.tensor([rows.start, rows.stop])).tolist()
    return slice(first, stop)


def _together(batch: LearnerBatch, units: Tensor, policy_index: Tensor) -> Minibatch:
    """Return the rows, or fragments, `units` and the decisions among them."""
    rows, valued, fragments = units, None, None
    if batch.fragments is not None:
        rows, offsets = picked(batch.fragments.offsets, units)
        valued = batch.is_valued[rows].nonzero().squeeze(1)
        fragments = Fragments(offsets, batch.fragments.states[units])
    decided = policy_index[rows]
    places = (decided >= 0).nonzero().squeeze(1)
    return Minibatch(
        rows=rows,
        decided=decided[places],
        decisions=batch.policy,
        places=places,
        valued=valued,
        fragments=fragments,
    )
