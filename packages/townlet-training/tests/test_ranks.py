"""Processes that learn together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from judged_ranks import COUNT, judge
from kinds import KINDS, PLAIN, SMALL
from numpy.testing import assert_allclose
from ranked import CONFIG, acted, learner_of, ranks_of
from safetensors.torch import load_file
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from townlet_training.config import TrainingConfig
from townlet_training.errors import ConfigError, RankError
from townlet_training.learning.batch import prepare
from townlet_training.learning.config import AdvantageNormalization, PPOConfig
from townlet_training.learning.descent import Autograd, ClosedForm
from townlet_training.learning.loss import Objective
from townlet_training.learning.minibatches import Minibatch, minibatches
from townlet_training.learning.ppo import UpdatePlan, optimizer_of
from townlet_training.learning.ranks.message import packed, unpacked
from townlet_training.learning.ranks.processes import Ranks


def objective_of(kind: str, config: PPOConfig) -> Objective:
    network, batch = acted(kind)
    learnable = prepare(network, batch, discount=0.9, gae_lambda=0.8, min_ratio=0.1, sequence_length=3)
    return Objective(network, learnable, config=config, num_minibatches=3, kickstart_coef=0.3)


def dealt(objective: Objective, num_minibatches: int = 3) -> list[Minibatch]:
    generator = torch.Generator().manual_seed(0)
    return [*minibatches(objective.batch, num_minibatches=num_minibatches, num_epochs=1, generator=generator)]


class Found(NamedTuple):
    terms: Sequence[float]
    gradients: dict[str, Tensor]


def added_up(
    way: type[ClosedForm] | type[Autograd], objective: Objective, parts: Sequence[Minibatch], co: bool
) -> Found:
    """Terms and gradients of `parts`, one after the other, added up."""
    optimizer = optimizer_of(objective.network, objective.config)
    descent, terms, gradients = way(objective, optimizer), np.zeros(7), dict[str, Tensor]()
    for part in parts:
        if not len(part.rows) and not len(part.decided):
            continue
        terms += descent.evaluate(part, critic_only=co)
        for name in descent.differentiate():
            own = optimizer.gradients[name].double()
            gradients[name] = gradients[name] + own if name in gradients else own
    return Found(terms.tolist(), gradients)


def assert_same(found: Found, expected: Found) -> None:
    assert_allclose(found.terms, expected.terms, rtol=1e-4, atol=1e-5)
    assert found.gradients.keys() == expected.gradients.keys()
    for name, gradient in found.gradients.items():
        size = max(float(expected.gradients[name].abs().max()), 1e-2)
        assert_allclose(gradient.numpy(), expected.gradients[name].numpy(), atol=1e-4 * size, err_msg=name)


@pytest.mark.parametrize("way", [ClosedForm, Autograd])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("normalization", ["batch", "minibatch"])
def test_terms_and_gradients_of_shares_add_up_to_those_of_the_minibatch(
    way: type[ClosedForm] | type[Autograd], kind: str, normalization: AdvantageNormalization
) -> None:
    config = PPOConfig(entropy_coef=0.05, value_clip=0.3, normalize_advantages=normalization)
    objective = objective_of(kind, config)
    for critic_only in (False, True):
        for minibatch in dealt(objective):
            whole = added_up(way, objective, [minibatch], critic_only)
            for count in (2, 5):
                shares = [minibatch.share(number, count) for number in range(count)]
                assert_same(added_up(way, objective, shares, critic_only), whole)


@given(kind=st.sampled_from(["plain", "shared", "gru", "central"]), parts=st.integers(1, 4), count=st.integers(1, 40))
def test_shares_are_the_minibatch_cut_into_pieces(kind: str, parts: int, count: int) -> None:
    objective = objective_of(kind, CONFIG)
    for minibatch in dealt(objective, parts):
        shares = [minibatch.share(number, count) for number in range(count)]
        assert torch.equal(torch.cat([share.rows for share in shares]), minibatch.rows)
        assert torch.equal(torch.cat([share.decided for share in shares]), minibatch.decided)
        assert sum(share.num_valued for share in shares) == minibatch.num_valued
        for share in shares:
            assert share.whole is minibatch
            if share.places is not None:
                position = objective.batch.policy.position[share.decided]
                assert torch.equal(share.rows[share.places], position)
            if share.valued is not None:
                assert bool(objective.batch.is_valued[share.rows[share.valued]].all())
            if share.fragments is not None:
                share.fragments.require(len(share.rows), objective.network.state_size)
        sizes = [len(share.rows) for share in shares]
        if minibatch.fragments is None:
            assert max(sizes) - min(sizes) <= 1


def test_the_value_loss_of_shares_by_hand() -> None:
    # Three rows with errors 1, 2 and 3 on two ranks: 1/3 and (4 + 9)/3, which add up to the mean of all, 14/3.
    objective = objective_of("plain", CONFIG)
    rows = torch.arange(3)
    network, batch = objective.network, objective.batch
    with torch.no_grad():
        for weight in network.critic.parameters():
            weight.zero_()
    batch.scaled_targets[:3] = torch.tensor([1.0, 2.0, 3.0])
    minibatch = Minibatch(rows, torch.arange(0), batch.policy)
    losses = [objective.terms(minibatch.share(rank, 2), critic_only=True).value_loss.item() for rank in (0, 1)]
    assert losses == pytest.approx([1 / 3, 13 / 3], rel=1e-6)


@pytest.mark.parametrize("kind", ["plain", "parts", "clipped", "gru", "seeing_central_gru"])
def test_an_update_arrives_as_it_was_sent(kind: str) -> None:
    objective = objective_of(kind, CONFIG)
    network, generator = objective.network, torch.Generator().manual_seed(3)
    optimizer = optimizer_of(network, CONFIG)
    optimizer.step(0.0, "", [*optimizer.gradients])
    plan = UpdatePlan(
        config=CONFIG, num_minibatches=3, kickstart_coef=0.3, critic_only=False, rates=optimizer.learning_rates
    )
    arrived = unpacked(*packed("cats", objective, plan, optimizer, generator), torch.device("cpu"))
    assert arrived.group == "cats" and arrived.plan == plan
    assert torch.equal(arrived.generator, generator.get_state())
    for sent, got in ((network.state_dict(), arrived.weights), (optimizer.state_dict(), arrived.moments)):
        assert sent.keys() == got.keys() and all(torch.equal(sent[name], got[name]) for name in sent)
    sent_rows, got_rows = objective.batch.policy._asdict(), arrived.batch.policy._asdict()
    assert [name for name, rows in sent_rows.items() if rows is None] == [
        name for name, rows in got_rows.items() if rows is None
    ]
    assert all(torch.equal(rows, got_rows[name]) for name, rows in sent_rows.items() if rows is not None)
    assert (objective.batch.fragments is None) == (arrived.batch.fragments is None)
    if objective.batch.fragments is not None and arrived.batch.fragments is not None:
        assert all(map(torch.equal, objective.batch.fragments, arrived.batch.fragments))
    for name in ("inputs", "scaled_values", "scaled_targets", "is_valued"):
        assert torch.equal(getattr(objective.batch, name), getattr(arrived.batch, name))
    for name in ("is_shared", "num_decisions", "mean_entropy", "truncated_share", "extremes"):
        assert getattr(objective.batch, name) == getattr(arrived.batch, name)


def test_the_gradient_is_that_of_distributed_data_parallel(tmp_path: Path) -> None:
    kinds = ("plain", "clipped", "gru_shared")
    spawn(judge, args=(str(tmp_path), kinds), nprocs=COUNT)
    for kind in kinds:
        ours, theirs = (
            [load_file(tmp_path / f"{kind}-{who}-{rank}.safetensors") for rank in range(COUNT)]
            for who in ("ours", "theirs")
        )
        assert all(torch.equal(gradient, ours[1][name]) for name, gradient in ours[0].items())
        assert ours[0].keys() == theirs[0].keys()
        for name, expected in theirs[0].items():
            size = max(float(expected.abs().max()), 1e-2)
            assert_allclose(ours[0][name].numpy(), expected.numpy(), atol=1e-4 * size, err_msg=name)


def test_there_must_be_a_device_for_every_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match="`num_learners` must be at most 2, as there are devices of cuda, got 3"):
        Ranks(3, {"a": PLAIN}, network=SMALL, config=CONFIG, device="cuda")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(ConfigError, match="must be at most 1, as there are devices of mps, got 2"):
        Ranks(2, {"a": PLAIN}, network=SMALL, config=CONFIG, device="mps")
    with pytest.raises(ConfigError, match="`num_learners` is for modes with updates of PPO, got mode bc"):
        TrainingConfig(seed=0, mode="bc", num_learners=2)


def test_a_process_that_uses_torch_distributed_for_something_else_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    network, batch = acted("plain")
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    ranks = ranks_of(SMALL)
    learner = learner_of(network, ranks)
    with pytest.raises(RankError, match=r"`torch.distributed` is in use by this process already"):
        learner.update(batch)
