"""Labels against the actions that a policy takes without drawing, of every kind of network."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from townlet_training.errors import ConfigError
from townlet_training.learning.config import BCConfig
from townlet_training.learning.fragments import features_of, first_states
from townlet_training.learning.labels import labels_of
from townlet_training.learning.rows import encode_rows, mask_rows, params_of
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.features import Fragments
from townlet_trajectory import ACTION_MASK, StepBatch, TrajectoryBatch


def right_labels(
    network: ActorCritic, batch: TrajectoryBatch | StepBatch, config: BCConfig
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Compare the labels of `batch` with the actions that the policy takes without drawing.

    Args:
        network: whose actions are compared; one with memory goes through whole trajectories.
        batch: of states.
        config: which labels, and whether masks count.

    Returns:
        The labelled rows [L], and whether the policy takes the label [L].

    Raises:
        ConfigError: if single steps are to be judged by a network with memory.
    """
    rows, actions, _ = labels_of(config, batch)
    if network.state_size:
        if not isinstance(batch, TrajectoryBatch):
            raise ConfigError("a network with memory judges whole trajectories, got single steps")
        with torch.no_grad():
            inputs = encode_rows(network, batch.observations, np.arange(batch.num_steps))
            fragments = Fragments(torch.from_numpy(np.asarray(batch.offsets)), first_states(network, batch))
            features = features_of(network, inputs, fragments).policy[torch.from_numpy(rows)]
            legal_rows = mask_rows(network, batch.observations, rows) if config.use_masks else None
            params = params_of(network, features, legal_rows)
    else:
        mask = batch.observations.get(ACTION_MASK) if config.use_masks else None
        legal = None if mask is None else np.asarray(mask[rows], np.bool_)
        names = network.input_shapes.keys() & batch.observations.keys()
        seen = {name: np.asarray(batch.observations[name][rows], np.float32) for name in names}
        params = torch.from_numpy(network.act(seen, legal)[0])
    return rows, network.distribution.agrees(params, torch.from_numpy(actions)).numpy()
