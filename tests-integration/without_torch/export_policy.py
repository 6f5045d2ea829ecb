"""Where torch is: export a policy for the town, with its network's answers to real observations; and train a run."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from townlet_runtime.cli import main as townlet
from townlet_runtime.town import Town, TownConfig
from townlet_training import ActorCritic, NetworkConfig, PolicySpec, export_policy

WARM_UP_TICKS = 40
RUN = "train -q --mode bc --total-steps 120 --num-envs 2 --threads 1 --set town.agents=3 --set town.episode_ticks=40"
RUN += " --set anneal.clone_ticks=60 --set training.bc.epochs=1 --set training.anneal_accuracy_threshold=0"
RUN += " --set network.hidden_sizes=[8] --set training.eval_episodes=10 --set training.final_episodes=10"
RUN += " --set promotion.num_episodes=10 --set gates.num_resamples=200"
RUN += " --set promotion.num_resamples=200"


def main(folder: Path) -> None:
    folder.mkdir(parents=True)
    town = Town(TownConfig(), num_worlds=3)
    spec = town.spec
    generator = torch.Generator().manual_seed(5)
    network = ActorCritic(
        spec.observation_shapes, len(spec.vocabulary), NetworkConfig(hidden_sizes=(32, 32)), generator=generator
    )
    with torch.no_grad():  # a fresh policy head is almost uniform, which would hide a mix-up of inputs
        *_, head, _bias = network.policy.parameters()
        head.mul_(200.0)
    description = PolicySpec(
        world=spec.name, vocabulary=spec.vocabulary.keys, observation_shapes=dict(network.observation_shapes)
    )
    export_policy(network, folder / "policy.onnx", spec=description, seed=0)

    script = town.scripted("scripted")
    observed = town.reset(seeds=np.array([11, 12, 13]))
    for _ in range(WARM_UP_TICKS):
        observed = town.step(script.propose(observed)).observed
    assert observed.action_mask is not None
    log_probs, values = network.act(observed.observations, observed.action_mask)
    np.savez(
        folder / "expected.npz",
        action_mask=observed.action_mask,
        log_probs=log_probs,
        values=values,
        **observed.observations,
    )
    if townlet([*RUN.split(), "--run-dir", str(folder / "run")]) not in (0, 1):
        raise SystemExit("the run failed")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
