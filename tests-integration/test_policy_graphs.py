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
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network.eval(),
            (example,),
            input_names=["seen"],
            output_names=["log_probs"],
            dynamic_shapes=({0: torch.export.Dim("agents", min=1)},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    model = read_model(program.model_proto.SerializeToString(), tmp_path / "policy.onnx")
    inputs = declared_inputs(model)
    assert inputs == {"seen": (1, (-1, *example.shape[1:]))}
    assert check_graph(model, inputs, tmp_path / "policy.onnx") == {"log_probs": (1, (MAX_BATCH, 4))}
