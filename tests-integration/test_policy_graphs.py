"""Networks of the kinds that learners use, as torch exports them, pass the check of a policy's graph."""

import logging
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from townlet_runtime.policy.file import MAX_BATCH
from townlet_runtime.policy.graph import check_graph, declared_inputs, read_model


class Convolutional(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3),
            nn.GroupNorm(2, 8),
            nn.SiLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 8),
            nn.LayerNorm(8),
            nn.GELU(),
            nn.Linear(8, 4),
            nn.LogSoftmax(-1),
        )


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.GRU] | type[nn.LSTM]) -> None:
        super().__init__()
        self.memory = kind(6, 8, batch_first=True)
        self.head = nn.Linear(8, 4)

    def forward(self, sequence: Tensor) -> Tensor:
        return torch.log_softmax(self.head(self.memory(sequence)[0][:, -1]), -1)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 4)

    def forward(self, entities: Tensor) -> Tensor:
        return torch.log_softmax(self.head(self.layer(entities).mean(1)), -1)


class Gaussian(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mean, self.scale = nn.Linear(6, 4), nn.Linear(6, 4)

    def forward(self, features: Tensor) -> Tensor:
        deviation = nn.functional.softplus(self.scale(features)).clamp(1e-3, 2.0)
        action = torch.tanh(self.mean(features))
        return -0.5 * ((action - self.mean(features)) / deviation) ** 2 - deviation.log()


class Cell(nn.Module):
    """One step of a gated recurrent unit, by its equations or by torch's own cell."""

    def __init__(self, *, by_equations: bool) -> None:
        super().__init__()
        self.seen, self.remembered, self.cell = nn.Linear(5, 18), nn.Linear(6, 18), nn.GRUCell(5, 6)
        self.by_equations, self.head = by_equations, nn.Linear(6, 4)

    def forward(self, seen: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        after = self._step(seen, state) if self.by_equations else self.cell(seen, state)
        return torch.log_softmax(self.head(after), -1), after

    def _step(self, seen: Tensor, state: Tensor) -> Tensor:
        parts = zip(self.seen(seen).chunk(3, -1), self.remembered(state).chunk(3, -1), strict=True)
        (reset, old_reset), (keep, old_keep), (new, old_new) = parts
        kept = torch.sigmoid(keep + old_keep)
        return (1.0 - kept) * torch.tanh(new + torch.sigmoid(reset + old_reset) * old_new) + kept * state


class Strided(nn.Sequential):
    """The convolutions of Mnih et al. 2015, with a head of means and logarithms of deviations."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(4, 32, 8, 4),
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, 2),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * 7 * 7, 4),
        )


class Masked(nn.Module):
    """Attention over the things that are there, by its equations or by torch's own function, and their mean."""

    def __init__(self, *, by_equations: bool) -> None:
        super().__init__()
        self.enter, self.mixed, self.leave = nn.Linear(5, 8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.norm, self.head, self.by_equations = nn.LayerNorm(8), nn.Linear(8, 4), by_equations

    def forward(self, things: Tensor, mask: Tensor) -> Tensor:
        entered = torch.tanh(self.enter(things))
        there = mask > 0.5
        shape = (*entered.shape[:2], 2, 4)
        query, key, value = (part.reshape(shape).transpose(1, 2) for part in self.mixed(entered).chunk(3, -1))
        if self.by_equations:
            scores = (query @ key.transpose(-1, -2) / 2.0).masked_fill(~there[:, None, None], -1e9)
            seen = torch.softmax(scores, -1) @ value
        else:
            seen = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=there[:, None, None])
        together = self.norm(entered + self.leave(seen.transpose(1, 2).flatten(2))) * there[..., None]
        return torch.log_softmax(self.head(together.sum(1) / there.sum(1, keepdim=True).clamp(min=1)), -1)


@pytest.mark.parametrize(
    ("network", "examples", "outputs"),
    [
        (Cell(by_equations=True), {"seen": (5,), "state_in": (6,)}, {"log_probs": 4, "state_out": 6}),
        (Cell(by_equations=False), {"seen": (5,), "state_in": (6,)}, {"log_probs": 4, "state_out": 6}),
        (Strided(), {"seen": (4, 84, 84)}, {"gaussian": 4}),
        (Masked(by_equations=True), {"things": (6, 5), "things_mask": (6,)}, {"log_probs": 4}),
        (Masked(by_equations=False), {"things": (6, 5), "things_mask": (6,)}, {"log_probs": 4}),
    ],
    ids=["cell", "torch's cell", "strided convolution", "masked attention", "torch's attention"],
)
def test_memories_pictures_and_sets_as_torch_exports_them_are_accepted(
    network: nn.Module, examples: dict[str, tuple[int, ...]], outputs: dict[str, int], tmp_path: Path
) -> None:
    model = read_model(exported(network, examples, list(outputs)), tmp_path / "policy.onnx")
    inputs = declared_inputs(model)
    assert inputs == {name: (1, (-1, *shape)) for name, shape in examples.items()}
    found = check_graph(model, inputs, tmp_path / "policy.onnx")
    assert found == {name: (1, (MAX_BATCH, size)) for name, size in outputs.items()}


def exported(network: nn.Module, examples: dict[str, tuple[int, ...]], outputs: list[str]) -> bytes:
    """The network as torch writes it, for any number of agents."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    agents = torch.export.Dim("agents", min=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network.eval(),
            tuple(torch.ones(2, *shape) for shape in examples.values()),
            input_names=[*examples],
            output_names=outputs,
            dynamic_shapes=tuple({0: agents} for _ in examples),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    data: bytes = program.model_proto.SerializeToString()
    return data


@pytest.mark.parametrize(
    ("network", "example"),
    [
        (Convolutional(), torch.zeros(2, 3, 11, 11)),
        (Recurrent(nn.GRU), torch.zeros(2, 5, 6)),
        (Recurrent(nn.LSTM), torch.zeros(2, 5, 6)),
        (Attention(), torch.zeros(2, 5, 8)),
        (Gaussian(), torch.zeros(2, 6)),
    ],
    ids=["convolution", "gru", "lstm", "attention", "gaussian"],
)
def test_a_network_as_torch_exports_it_is_accepted(network: nn.Module, example: Tensor, tmp_path: Path) -> None:
    model = read_model(exported(network, {"seen": tuple(example.shape[1:])}, ["log_probs"]), tmp_path / "policy.onnx")
    inputs = declared_inputs(model)
    assert inputs == {"seen": (1, (-1, *example.shape[1:]))}
    assert check_graph(model, inputs, tmp_path / "policy.onnx") == {"log_probs": (1, (MAX_BATCH, 4))}
