"""Where a learner computes."""

from __future__ import annotations

import pytest
import torch
from acting import acted_kind
from kinds import KINDS, network_of
from strategies import LENGTHS, make_network, weights_of

from townlet_training.errors import ConfigError, NonFiniteError
from townlet_training.learning import bc, ppo
from townlet_training.learning.bc import BCLearner
from townlet_training.learning.config import BCConfig, PPOConfig
from townlet_training.learning.device import Placement, device_named
from townlet_training.learning.ppo import PPOLearner

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU of NVIDIA, and torch built for it")


def test_the_cpu_is_there_and_is_the_network_itself() -> None:
    assert device_named("cpu") == torch.device("cpu")
    network = make_network()
    placement = Placement(network, torch.device("cpu"))
    assert placement.learning is network
    with placement.up_to_date() as learning:
        assert learning is network


@pytest.mark.parametrize(
    ("cuda", "mps", "best"), [(True, True, "cuda"), (False, True, "mps"), (True, False, "cuda"), (False, False, "cpu")]
)
def test_auto_is_the_first_that_there_is(cuda: bool, mps: bool, best: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert device_named("auto").type == best
    there = [kind for kind, is_there in (("cuda", cuda), ("mps", mps), ("cpu", True)) if is_there]
    for kind in ("cuda", "mps"):
        if kind in there:
            assert device_named(kind).type == kind  # type: ignore[arg-type]  # one of the names
            continue
        with pytest.raises(
            ConfigError, match=f"`device` must be one of {', '.join(there)}, which are there, got {kind}"
        ):
            device_named(kind)  # type: ignore[arg-type]  # one of the names


ANOTHER = torch.device("cpu", 0)
"""The CPU by another name, on which a copy learns."""


def test_a_copy_begins_with_the_acting_weights_and_hands_them_back_after_an_error_too() -> None:
    acting = make_network()
    placement = Placement(acting, ANOTHER)
    with torch.no_grad():
        next(acting.parameters()).fill_(7.0)
        acting.set_value_scale(3.0)

    def learn() -> None:
        with placement.up_to_date() as learning:
            assert learning is not acting and weights_of(learning) == weights_of(acting)
            assert learning.value_scale.item() == 3.0
            with torch.no_grad():
                next(learning.parameters()).fill_(9.0)
            assert next(acting.parameters())[0, 0].item() == 7.0
            raise NonFiniteError("loss", "on purpose")

    with pytest.raises(NonFiniteError, match="on purpose"):
        learn()
    assert next(acting.parameters())[0, 0].item() == 9.0


@pytest.mark.parametrize("kind", ["plain", "parts", "clipped", "gru", "seeing_shared"])
def test_a_learner_on_a_copy_learns_what_one_on_the_network_learns_to_the_bit(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> list[list[bytes]]:
        network, states = network_of(kind), []
        learner = PPOLearner(network, config=PPOConfig(), generator=torch.Generator().manual_seed(0))
        cloner = BCLearner(network, config=BCConfig(num_epochs=2), generator=torch.Generator().manual_seed(1))
        for seed in range(3):
            batch = acted_kind(network, kind, lengths=LENGTHS, seed=seed)
            learner.update(batch)
            states.append(weights_of(network))
        cloner.fit(batch, batch)
        return [*states, weights_of(network)]

    expected = run()
    for module in (ppo, bc):
        monkeypatch.setattr(module, "device_named", lambda name: ANOTHER)
    assert run() == expected


@needs_cuda
@pytest.mark.parametrize("kind", KINDS)
def test_a_gpu_learns_what_the_cpu_learns_up_to_rounding(kind: str) -> None:
    results = []
    for device in ("cpu", "cuda"):
        network = network_of(kind)
        learner = PPOLearner(
            network,
            config=PPOConfig(sequence_length=4),
            generator=torch.Generator().manual_seed(0),
            device=device,  # type: ignore[arg-type]  # one of the names
        )
        updates = [learner.update(acted_kind(network, kind, lengths=LENGTHS, seed=seed)) for seed in range(2)]
        assert all(weight.device.type == "cpu" for weight in network.parameters())
        assert all(tensor.device.type == "cpu" for tensor in learner.state_dict().values())
        learner.load_state_dict(learner.state_dict())
        updates.append(learner.update(acted_kind(network, kind, lengths=LENGTHS, seed=2)))
        results.append([update.total_loss for update in updates])
    assert results[0] == pytest.approx(results[1], rel=1e-2, abs=1e-3)
