"""A run may begin with the policy of another one, which is read whole and fits, or is refused by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adapting import NEW, OLD, adapted, trained
from corridor import SPEC, CorridorCollector, CorridorEvaluator, network
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from strategies import spread_out

from townlet_training.config import ONE_GROUP, AnnealConfig, GatesConfig, TrainingConfig
from townlet_training.errors import CheckpointError, ConfigError, NonFiniteError, ShapeError, TrainingError
from townlet_training.learning.config import BCConfig, PPOConfig
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.config import NetworkConfig
from townlet_training.network.spec import PolicySpec
from townlet_training.network.weights import weights_digest, weights_of, weights_sha256
from townlet_training.run import result as result_module
from townlet_training.run.checkpoint import read_checkpoint
from townlet_training.run.initial import InitialPolicy, initial_of_run
from townlet_training.run.orchestrator import TrainingOrchestrator
from townlet_trajectory.evaluation.interfaces import EpisodeScores
from townlet_trajectory.evaluation.promotion import PromotionConfig
from townlet_trajectory.evaluation.results import ExportedPolicy, RunSummary

CONFIG = TrainingConfig(
    seed=7,
    mode="ppo",
    total_env_steps=4 * 24 * 4,
    num_envs=4,
    rollout_ticks=24,
    eval_every=1,
    eval_episodes=10,
    final_episodes=10,
    baselines=("scripted", "idle"),
    network=NetworkConfig(hidden_sizes=(4,)),
    ppo=PPOConfig(learning_rate=1e-3, num_minibatches=2, num_epochs=1),
    bc=BCConfig(num_epochs=2),
    anneal=AnnealConfig(clone_ticks=24, warmup_updates=1, blend_fraction=0.5),
    gates=GatesConfig(clone_accuracy=0.1, kept_fraction=0.5, num_resamples=100),
    promotion=PromotionConfig(num_episodes=10, num_resamples=100),
)


@pytest.fixture(autouse=True)
def without_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write nothing where a policy would be exported: that costs more than the run."""

    def noted(network: ActorCritic, path: Path, *, spec: PolicySpec, seed: int) -> ExportedPolicy:
        return ExportedPolicy(path=path, weights_sha256=weights_sha256(network), file_sha256="0" * 64)

    monkeypatch.setattr(result_module, "export_policy", noted)


def initial(of: ActorCritic) -> InitialPolicy:
    return InitialPolicy(specs={ONE_GROUP: SPEC}, network=of.config, weights=weights_of(of))


def run(
    run_dir: Path, config: TrainingConfig, begin: ActorCritic | None, evaluator: CorridorEvaluator | None = None
) -> RunSummary:
    run_dir.mkdir()
    return TrainingOrchestrator(
        config,
        CorridorCollector(4, seed=config.seed),
        evaluator or CorridorEvaluator(),
        specs={ONE_GROUP: SPEC},
        run_dir=run_dir,
        initial=None if begin is None else weights_of(begin),
    ).run()


def walker() -> ActorCritic:
    """Its policy steps right wherever it may."""
    begin = spread_out(network(3, (4,)))
    with torch.no_grad():
        begin.policy.linear_layers()[-1].bias.copy_(torch.tensor([0.0, 0.0, 30.0]))
        begin.observation_mean.fill_(0.25)
        begin.observation_std.fill_(0.5)
    begin.set_value_scale(7.0)
    return begin


@pytest.mark.parametrize("mode", ["ppo", "anneal", "bc"])
def test_a_run_begins_with_its_weights_and_keeps_its_statistics(tmp_path: Path, mode: str) -> None:
    begin = walker()
    config = replace(CONFIG, mode="ppo" if mode == "ppo" else "anneal" if mode == "anneal" else "bc")
    summary = run(tmp_path / "run", config, begin)
    assert summary.failure is None
    first = summary.history[0]
    if mode != "bc":  # judged before anything was learned: right on every tick but where it slips
        assert first.return_mean > 4.0 and first.env_steps == 4 * 24
    ended = read_checkpoint(summary.checkpoint).weights
    for name in ("observation_mean", "observation_std", "value_scale"):
        assert torch.equal(ended[name], begin.state_dict()[name])
    assert summary.weights_sha256 == weights_digest(ended)


def test_the_anneal_takes_it_for_the_clone(tmp_path: Path) -> None:
    summary = run(tmp_path / "run", replace(CONFIG, mode="anneal", total_env_steps=4 * 24 * 6), walker())
    assert summary.clone is not None and not summary.clone.results
    assert summary.clone.evaluation == summary.history[0]
    assert [record.stage for record in summary.history[:2]] == ["warmup", "anneal"]
    assert [gate.name for gate in summary.gates] == [f"kept_score_{96 * (3 + number)}" for number in range(4)]
    assert summary.final is not None and summary.final.clone is not None
    assert summary.final.clone.mean > 4.0
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["stage"] for line in lines] == ["warmup", "anneal", "anneal", "ppo", "ppo"]


class Later(CorridorEvaluator):
    """Finds that every policy but the one that it saw first earns nothing."""

    first: str | None = None

    def evaluate(self, actors: Mapping[str, Any], *, seeds: NDArray[np.int64], sample: bool) -> EpisodeScores:
        scores = super().evaluate(actors, seeds=seeds, sample=sample)
        digest = weights_sha256(actors[ONE_GROUP])
        self.first = self.first or digest
        return scores if digest == self.first else replace(scores, returns=(0.0,) * len(seeds))


def test_a_policy_that_loses_what_the_initial_one_had_fails_the_gate(tmp_path: Path) -> None:
    anneal = replace(CONFIG.anneal, max_retries=0)
    config = replace(CONFIG, mode="anneal", total_env_steps=4 * 24 * 6, anneal=anneal)
    summary = run(tmp_path / "run", config, walker(), Later())
    assert summary.failure is not None and summary.failure.startswith("kept_score_288: mean -")
    assert summary.clone is not None and summary.clone.evaluation.return_mean > 4.0
    # What it ends with is the last good one: the warm-up moved the critic alone.
    ended = read_checkpoint(summary.checkpoint).weights
    policy = {name: tensor for name, tensor in walker().state_dict().items() if name.startswith("policy")}
    assert all(torch.equal(ended[name], tensor) for name, tensor in policy.items())


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match="the weights are not those of this network"):
        run(tmp_path / "run", CONFIG, network(3, (5,)))


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    new, spec = adapted(trained(OLD, NetworkConfig(hidden_sizes=(8,))), OLD, NEW)
    written = InitialPolicy(specs={"a": spec, "b": OLD}, network=new.config, weights=weights_of(new))
    written.write(tmp_path / "initial")
    found = InitialPolicy.read(tmp_path / "initial")
    assert (found.specs, found.network, found.sha256) == (written.specs, written.network, written.sha256)
    assert weights_digest(found.weights) == weights_digest(written.weights)
    one = replace(found, specs={"a": spec}).networks()["a"]
    assert_array_equal(one.policy.added_outputs["1"].weight.detach(), new.policy.added_outputs["1"].weight.detach())
    with pytest.raises(CheckpointError, match="missing"):
        InitialPolicy.read(tmp_path / "missing")


def test_a_policy_in_one_piece_is_unpacked_as_it_was_packed() -> None:
    begin = walker()
    packed = InitialPolicy.of({ONE_GROUP: begin}, {ONE_GROUP: SPEC}).packed()
    unpacked = InitialPolicy.unpacked(packed)
    assert unpacked.specs == {ONE_GROUP: SPEC} and unpacked.network == begin.config
    (again,) = unpacked.networks().values()
    assert weights_sha256(again) == weights_sha256(begin)
    # Equal weights are equal bytes: they are known by their digest.
    assert packed == initial(walker()).packed() != initial(network()).packed()


@pytest.mark.parametrize("cut", [0, 7, 8, 100, -1])
def test_a_piece_that_was_cut_is_refused(cut: int) -> None:
    with pytest.raises(CheckpointError, match="a message"):
        InitialPolicy.unpacked(initial(walker()).packed()[:cut])


def test_numbers_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    own = network(0, (4,))
    with torch.no_grad():
        own.policy.linear_layers()[0].bias[0] = torch.nan
    with pytest.raises(NonFiniteError, match="initial policy"):
        initial(own).write(tmp_path / "initial")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["weights.safetensors", "initial.json", "manifest.json"])
def test_a_damaged_one_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "initial"
    initial(network()).write(path)
    data = bytearray((path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (path / name).write_bytes(bytes(data))
    with pytest.raises(CheckpointError):
        InitialPolicy.read(path)


def test_the_policy_of_a_run_is_the_one_that_it_ended_with(tmp_path: Path) -> None:
    summary = run(tmp_path / "run", CONFIG, None)
    found = initial_of_run(tmp_path / "run")
    assert found.sha256 == summary.weights_sha256
    assert (found.specs, found.network) == ({ONE_GROUP: SPEC}, CONFIG.network)
    with pytest.raises(TrainingError, match="holds no checkpoint, so no weights to begin with"):
        initial_of_run(tmp_path)


@pytest.mark.parametrize(
    ("world", "message"),
    [
        (replace(OLD, vocabulary=("wait", "eat", "walk")), r"the actions \['wait', 'walk', 'eat'\], the world \['wait"),
        (replace(OLD, observation_shapes={"features": (3,), "map": (2, 2, 3)}), r"`map` \(2, 2, 2\), the world \(2, 2"),
        (
            replace(OLD, observation_shapes=dict(OLD.observation_shapes) | {"age": (1,)}),
            r"`age` absent, the world \(1,\)",
        ),
        (
            replace(OLD, feature_names=("hunger", "held", "wealth")),
            "`wealth` in column 1 of `features`, the world `held`",
        ),
        (
            replace(OLD, commitment=("features", 2, 9)),
            r"the option in force in None, the world in \('features', 2, 9\)",
        ),
    ],
)
def test_another_world_is_refused_by_what_differs(world: PolicySpec, message: str) -> None:
    own = trained(OLD, NetworkConfig(hidden_sizes=(4,)))
    policy = InitialPolicy(specs={"agents": OLD}, network=own.config, weights=weights_of(own))
    with pytest.raises(ConfigError, match=message) as refused:
        policy.fitting({"agents": world})
    assert str(refused.value).endswith("`townlet policy adapt` adds observations and actions to a policy")


def test_a_fitting_world_gets_the_blocks() -> None:
    new, spec = adapted(trained(OLD, NetworkConfig(hidden_sizes=(4,))), OLD, NEW)
    policy = InitialPolicy(specs={"agents": spec}, network=new.config, weights=weights_of(new))
    assert policy.fitting({"agents": replace(NEW, world="later")}) == {"agents": replace(spec, world="later")}
    assert policy.fitting({"agents": replace(NEW, feature_names=())})["agents"].wiring == spec.wiring
    with pytest.raises(ConfigError, match="the policy has the agent groups agents, the world cats"):
        policy.fitting({"cats": NEW})
