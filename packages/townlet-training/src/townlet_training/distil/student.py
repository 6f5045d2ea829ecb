"""The student of a distillation: the labels it has so far, and the network that is fitted to them anew."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from townlet_training.distil.agreement import log_probs_at
from townlet_training.distil.config import DistilConfig
from townlet_training.distil.selection import cells, choose, disagreement, margin_uncertainty
from townlet_training.errors import EmptyBatchError
from townlet_training.learning.bc import BCLearner
from townlet_training.learning.config import BCConfig
from townlet_training.learning.rows import encode_rows
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.weights import set_weights, weights_of
from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.data.pieces import keep_steps
from townlet_trajectory.evaluation.interfaces import derive_seed
from townlet_trajectory.evaluation.results import CloneResult

TEACHER = "teacher"
"""The proposer of every label."""


class Student:
    """A network that is fitted to all labels of the rounds so far, every time from the same fresh weights.

    A network that goes on from the weights of the round before generalizes less well (Ash & Adams 2020,
    arXiv:1910.08475); and so the weights follow from labels and seed alone.

    Attributes:
        network: as it was fitted last.
        labels: by round; each answered row is a step with the teacher's answer as `expert_action`.
    """

    def __init__(self, network: ActorCritic, config: DistilConfig, bc: BCConfig, *, seed: int) -> None:
        """Take over `network`, whose normalization is fitted.

        Args:
            network: with fresh weights.
            config: of the distillation.
            bc: of each fit; labels are those of the teacher, within the masks.
            seed: of the order of labels, and of the choice of states.
        """
        self.network = network
        self.labels: list[TrajectoryBatch] = []
        self._fresh = weights_of(network)
        self._config, self._seed = config, seed
        self._bc = replace(bc, labels="proposed", use_masks=True, input_noise=config.input_noise)

    def chosen(self, batch: TrajectoryBatch, rows: NDArray[np.int64], *, number: int) -> NDArray[np.int64]:
        """Choose the rows of a round that the teacher is asked about.

        Args:
            batch: states that were met in the round.
            rows: [L]; its decisions.
            number: of the round, from 1; in the first one the student knows nothing, and any decision is as good.

        Returns:
            Rows among `rows`, ascending; as many as a round has questions, unless there are fewer different states.
        """
        config, count = self._config, self._config.labels_per_round
        rng = np.random.default_rng(derive_seed(self._seed, "distil/choice", number))
        if config.strategy == "uniform":
            return np.sort(rng.permutation(rows)[:count])
        if number == 1:
            scores = np.ones(len(rows))
        else:
            log_probs = log_probs_at(self.network, batch, rows)
            proposed = np.asarray(batch.columns["expert_action"][rows], np.int64)
            scores = (
                margin_uncertainty(log_probs) if config.strategy == "uncertain" else disagreement(log_probs, proposed)
            )
        digests = self._cells(batch, rows)
        fresh = np.flatnonzero(~np.isin(digests, self._asked()))
        trajectories = batch.trajectory_of_row[rows[fresh]]
        episodes = np.unique(np.column_stack((batch.worlds, batch.episodes)), axis=0, return_inverse=True)[1]
        taken = choose(
            scores[fresh],
            digests[fresh],
            episodes[trajectories],
            count=count,
            most_per_episode=math.ceil(config.most_per_episode * count),
            sharpness=config.sharpness,
            rng=rng,
        )
        return rows[fresh[taken]]

    def fit(self, *, number: int) -> CloneResult:
        """Fit the network to all labels.

        Args:
            number: of the round, from 1.

        Returns:
            The loss of each pass; accuracies are those on the labels themselves.

        Raises:
            EmptyBatchError: if there is no label.
            NonFiniteError: if a number that is not finite comes up.
        """
        whole = TrajectoryBatch.concatenate(self.labels)
        if not whole.num_steps:
            raise EmptyBatchError("the teacher gave no legal answer to learn from")
        set_weights(self.network, self._fresh)
        steps_of_pass = math.ceil(whole.num_steps / self._bc.batch_size)
        num_epochs = max(self._bc.num_epochs, math.ceil(self._config.num_steps / steps_of_pass))
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "distil/fit", number))
        learner = BCLearner(self.network, config=replace(self._bc, num_epochs=num_epochs), generator=generator)
        return learner.fit(whole, whole)

    def _asked(self) -> NDArray[np.str_]:
        """The digests of all states that were asked about."""
        parts: Sequence[NDArray[np.str_]] = [
            self._cells(batch, np.arange(batch.num_steps)) for batch in self.labels if batch.num_steps
        ]
        return np.concatenate(parts) if parts else np.empty(0, "U32")

    def _cells(self, batch: TrajectoryBatch, rows: NDArray[np.int64]) -> NDArray[np.str_]:
        return cells(encode_rows(self.network, batch.observations, rows).numpy(), grain=self._config.grain)


def labelled(batch: TrajectoryBatch, rows: NDArray[np.int64], actions: NDArray[np.int64]) -> TrajectoryBatch:
    """Keep the rows of a batch that a teacher answered for, with the answers as `expert_action`.

    Args:
        batch: of any rows.
        rows: [L]; that the teacher was asked about.
        actions: [L]; its answers, -1 for none.

    Returns:
        Pieces of the trajectories: the rows with an answer, whose proposer is `TEACHER`. None counts as demonstrated.
    """
    answers = np.full(batch.num_steps, -1, np.int64)
    answers[rows] = actions
    columns = {
        **batch.columns,
        "expert_action": answers,
        "proposer": np.zeros(batch.num_steps, np.int8),
        "proposal_age": np.zeros(batch.num_steps, np.int32),
        "demonstrated": np.zeros(batch.num_steps, np.bool_),
    }
    taught = replace(batch, schema=replace(batch.schema, proposers=(TEACHER,)), columns=columns)
    return keep_steps(taught, answers >= 0)
