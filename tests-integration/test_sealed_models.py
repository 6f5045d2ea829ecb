"""Models as torch exports them, and stable-baselines3's as its users do, become policies."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from townlet_behavior import BridgeConfig
from townlet_runtime import (
    Environment,
    Evaluator,
    ModelParts,
    OnnxPolicy,
    RecurrentOnnxPolicy,
    SealSpec,
    check_vectors,
    seal,
)
from townlet_runtime.errors import PolicyFileError
from townlet_trajectory.evaluation.interfaces import final_seeds

KEYS = ("wait", "left", "right")
EXPORTS = [(True, True), (False, True), (False, False)]
"""By the newer exporter or the older one; for any number of agents or one."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.getLogger("torch.onnx").setLevel(level)


class Recurrent(nn.Module):
    """Two layers of LSTM over one step, whose two states go in and out, with the layers first."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = nn.LSTM(4, 6, num_layers=2)
        self.actor, self.critic = nn.Linear(6, 3), nn.Linear(6, 1)

    def forward(self, seen: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        after, (h, c) = self.memory(seen[None], (h, c))
        return torch.softmax(self.actor(after[0]), -1), self.critic(after[0]), h, c


@pytest.fixture
def recurrent_policy(tmp_path: Path) -> tuple[Path, Recurrent]:
    torch.manual_seed(1)
    network = Recurrent().eval()
    state = torch.zeros(2, 1, 6)
    torch.onnx.export(
        network,
        (torch.zeros(1, 4), state, state),
        tmp_path / "lstm.onnx",
        input_names=["seen", "h", "c"],
        output_names=["probs", "value", "hn", "cn"],
        dynamic_axes={"seen": {0: "n"}, "h": {1: "n"}, "c": {1: "n"}},
        dynamo=False,
    )
    parts = ModelParts(output="probs", output_kind="probs", values="value", states={"h": "hn", "c": "cn"})
    made = seal(tmp_path / "lstm.onnx", tmp_path / "policy.onnx", spec=SealSpec(vocabulary=KEYS), parts=parts)
    return made.path, network


def test_a_recurrent_network_is_sealed_and_acts_as_torch_does(recurrent_policy: tuple[Path, Recurrent]) -> None:
    path, network = recurrent_policy
    policy = RecurrentOnnxPolicy.load(path)
    assert policy.state_size == 2 * 2 * 6 and check_vectors(path).passed
    rng = np.random.default_rng(2)
    state = np.zeros((9, 24), np.float32)
    h = c = torch.zeros(2, 9, 6)
    for _ in range(5):
        seen = rng.normal(size=(9, 4)).astype(np.float32)
        log_probs, values, state = policy.act({"seen": seen}, None, state)
        with torch.no_grad():
            probs, expected_values, h, c = network(torch.from_numpy(seen), h, c)
        np.testing.assert_allclose(np.exp(log_probs), probs.numpy(), rtol=1e-4, atol=1e-6)
        assert values is not None
        np.testing.assert_allclose(values, expected_values[:, 0].numpy(), rtol=1e-4, atol=1e-5)


def convolutional(folder: Path, *, dynamo: bool, dynamic: bool) -> tuple[Path, nn.Module]:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 16), nn.Tanh(), nn.Linear(16, 3))
    axes = {"dynamic_shapes": ({0: torch.export.Dim("n")},)} if dynamo else {"dynamic_axes": {"map": {0: "n"}}}
    path = folder / "cnn.onnx"
    torch.onnx.export(
        network.eval(),
        (torch.zeros(2 if dynamic else 1, 2, 5, 5),),
        path,
        input_names=["map"],
        output_names=["logits"],
        dynamo=dynamo,
        **(axes if dynamic else {}),
    )
    return path, network


@pytest.mark.parametrize(("dynamo", "dynamic"), EXPORTS)
def test_a_convolutional_network_is_sealed_from_both_exporters(dynamo: bool, dynamic: bool, tmp_path: Path) -> None:
    path, network = convolutional(tmp_path, dynamo=dynamo, dynamic=dynamic)
    made = seal(path, tmp_path / "policy.onnx", spec=SealSpec(vocabulary=KEYS))
    seen = np.random.default_rng(3).normal(size=(7, 2, 5, 5)).astype(np.float32)
    log_probs, values = OnnxPolicy.load(made.path).act({"map": seen}, None)
    with torch.no_grad():
        expected = torch.log_softmax(network(torch.from_numpy(seen)), -1).numpy()
    np.testing.assert_allclose(log_probs, expected, rtol=1e-4, atol=1e-5)
    assert values is None


def test_a_graph_that_the_exporter_fixed_to_one_agent_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path, _ = convolutional(tmp_path, dynamo=True, dynamic=False)
    with pytest.raises(PolicyFileError, match=r"got \[1, 3\]; it was exported for one agent: export it"):
        seal(path, tmp_path / "policy.onnx", spec=SealSpec(vocabulary=KEYS))


def test_ppo_of_stable_baselines3_acts_here_as_it_does_there(tmp_path: Path, townlet) -> None:
    """The recipe is "Exporting models" of its documentation; torch 2.9 and later need `dynamo=False` for it."""
    sb3 = pytest.importorskip("stable_baselines3", reason="stable-baselines3 is not installed")
    pytest.importorskip("gymnasium", reason="gymnasium is not installed")

    class OnnxableSB3Policy(nn.Module):
        def __init__(self, policy: nn.Module) -> None:
            super().__init__()
            self.policy = policy

        def forward(self, observation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return self.policy(observation, deterministic=True)

    model = sb3.PPO("MlpPolicy", "CartPole-v1", seed=0, n_steps=512, batch_size=128, device="cpu")
    model.learn(10_000)
    torch.onnx.export(
        OnnxableSB3Policy(model.policy),
        torch.randn(1, *model.observation_space.shape),
        tmp_path / "my_ppo_model.onnx",
        opset_version=17,
        input_names=["input"],
        output_names=["actions", "values", "log_prob"],
        dynamo=False,
    )
    name, sealed = "gymnasium:CartPole-v1", tmp_path / "policy.onnx"
    outputs = ["--actions", "/policy/action_net/Gemm_output_0", "--output-kind", "logits", "--values", "values"]
    done = townlet("policy", "seal", tmp_path / "my_ppo_model.onnx", "--output", sealed, "--env", name, *outputs)
    assert done.returncode == 0, done.stderr
    assert townlet("policy", "check", sealed).returncode == 0
    done = townlet("run", "--env", name, "--policy", sealed, "--ticks", 300, "--json")
    assert done.returncode == 0, done.stderr
    sources = json.loads(done.stdout)["sources"]
    assert sources["learned"] == sum(sources.values()) > 290

    policy = OnnxPolicy.load(sealed)
    seen = np.random.default_rng(4).normal(scale=0.3, size=(200, 4)).astype(np.float32)
    log_probs, values = policy.act({"observation": seen}, None)
    np.testing.assert_array_equal(log_probs.argmax(axis=1), model.predict(seen, deterministic=True)[0])
    distribution = model.policy.get_distribution(torch.from_numpy(seen)).distribution
    np.testing.assert_allclose(log_probs, distribution.logits.detach().numpy(), rtol=1e-4, atol=1e-5)
    theirs = model.policy.predict_values(torch.from_numpy(seen)).detach().numpy()[:, 0]
    np.testing.assert_allclose(values, theirs, rtol=1e-4, atol=1e-4)

    evaluator = Evaluator(Environment(name=name), config=BridgeConfig(), seed=0, num_worlds=4)
    returns = evaluator.evaluate({"agents": policy}, seeds=final_seeds(20), sample=False).returns
    chance = evaluator.baseline("random", seeds=final_seeds(20)).returns
    assert np.mean(returns) > 5 * np.mean(chance)
