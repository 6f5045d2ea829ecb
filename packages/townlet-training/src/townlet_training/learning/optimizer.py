"""Adam that takes no step on a number that is not finite, and whose state is a flat mapping of tensors."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from townlet_training.errors import ConfigError, NonFiniteError, ShapeError

_STATE_NAMES = ("step", "exp_avg", "exp_avg_sq")


class Optimizer:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019) over named parameters, in torch's fused kernel.

    A parameter that got no gradient in a step is left alone, its moments too.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        *,
        learning_rate: float,
        eps: float,
        max_grad_norm: float = math.inf,
        weight_decay: float = 0.0,
        apart: Collection[str] = (),
    ) -> None:
        """Begin without moments.

        Args:
            parameters: by name, as they are named in `state_dict`.
            learning_rate: above 0.
            eps: ε of Adam, the floor of the root of the second moment, above 0.
            max_grad_norm: to which a longer gradient of all parameters together is scaled down, above 0.
            weight_decay: by which, times the learning rate, a step shrinks the weights; at least 0.
            apart: names of parameters that may have a learning rate of their own; `learning_rate` until one is set.
        """
        self._parameters = dict(parameters)
        self._max_grad_norm = max_grad_norm
        common = [parameter for name, parameter in self._parameters.items() if name not in apart]
        own = [parameter for name, parameter in self._parameters.items() if name in apart]
        groups = [{"params": group, "apart": group is own} for group in (common, own) if group]
        self._adam = torch.optim.AdamW(groups, lr=learning_rate, weight_decay=weight_decay, eps=eps, fused=True)

    def set_learning_rate(self, learning_rate: float, apart: float | None = None) -> None:
        """Set the learning rate, and that of the parameters apart; None: the same.

        Raises:
            ConfigError: if a rate is not finite and above 0.
        """
        own = learning_rate if apart is None else apart
        for rate in (learning_rate, own):
            if not 0.0 < rate < math.inf:
                raise ConfigError(f"`learning_rate` must be finite and above 0, got {rate!r}")
        for group in self._adam.param_groups:
            group["lr"] = own if group["apart"] else learning_rate

    def step(self, loss: Tensor, origin: str) -> float:
        """Descend once along the gradient of `loss`, a scalar, scaled down to `max_grad_norm` where it is longer.

        `origin` describes the inputs of the loss, for the errors.

        Returns:
            The norm of the gradient before scaling.

        Raises:
            NonFiniteError: if `loss` or the norm is not finite; weights and moments are then as they were, and the
                message ends with `origin`.
        """
        value = loss.item()
        if not math.isfinite(value):
            raise NonFiniteError("loss", f"it is {value!r}; {origin}")
        self._adam.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self._parameters.values(), self._max_grad_norm).item()
        if not math.isfinite(norm):
            raise NonFiniteError("gradient", f"its norm is {norm!r}, at a loss of {value!r}; {origin}")
        self._adam.step()
        return norm

    def state_dict(self) -> dict[str, Tensor]:
        """Copy the moments and step counts to the CPU: `<parameter>.step`, `.exp_avg`, `.exp_avg_sq` of each moved."""
        return {
            f"{name}.{key}": self._adam.state[parameter][key].detach().cpu().clone()
            for name, parameter in self._parameters.items()
            if parameter in self._adam.state
            for key in _STATE_NAMES
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Replace the moments by those that `state_dict` returned; parameters that it does not name start anew.

        Raises:
            ShapeError: if `state` names something else, is incomplete, or has another shape; nothing is then changed.
        """
        loaded: dict[Tensor, dict[str, Tensor]] = {}
        for name, parameter in self._parameters.items():
            keys = {key: f"{name}.{key}" for key in _STATE_NAMES}
            if not any(full in state for full in keys.values()):
                continue
            for key, full in keys.items():
                expected = () if key == "step" else tuple(parameter.shape)
                if full not in state or tuple(state[full].shape) != expected:
                    actual = tuple(state[full].shape) if full in state else "nothing"
                    raise ShapeError(f"optimizer state `{full}` must be {expected}, got {actual}")
            loaded[parameter] = {key: state[full].clone().to(parameter.device) for key, full in keys.items()}
        if len(state) != len(loaded) * len(_STATE_NAMES):
            known = {f"{name}.{key}" for name in self._parameters for key in _STATE_NAMES}
            raise ShapeError(f"optimizer state has unknown entries: {sorted(set(state) - known)}")
        self._adam.state.clear()
        self._adam.state.update(loaded)
