"""Adam that takes no step on a number that is not finite, and whose state is a flat mapping of tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from townlet_training.errors import ConfigError, NonFiniteError, ShapeError
from townlet_training.network.weights import places_of

_STATE_NAMES = ("step", "exp_avg", "exp_avg_sq")
_BETA1, _BETA2 = 0.9, 0.999
_NORM_EPS = 1e-6
"""As of `torch.nn.utils.clip_grad_norm_`."""


class _Span(NamedTuple):
    """Parameters that a step treats alike, and that lie side by side in memory: one tensor to the kernel."""

    weights: Tensor
    """[n], views as the others."""
    gradient: Tensor
    exp_avg: Tensor
    exp_avg_sq: Tensor
    step: Tensor
    """Steps that were taken, a scalar."""
    is_apart: bool


class Optimizer:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2) over named parameters.

        m ← m + (1 - β₁)(g - m)        v ← β₂ v + (1 - β₂) g²        g: scaled down to `max_grad_norm` where longer
        θ ← (1 - η λ) θ - η (m / (1 - β₁ᵗ)) / (√(v / (1 - β₂ᵗ)) + ε)

    A parameter that got no gradient in a step is left alone, its moments too. Moments and gradient are each one tensor,
    and so are weights that lie side by side (`lay_side_by_side`): a step is a call of torch's fused kernel for all of
    them, which takes a fifth of the time of a call for each. `torch.optim.AdamW` computes the same.

    Attributes:
        gradients: of each parameter, by name; what `step` reads, to be written before.
        gradient: all of them in one piece, with gaps between them that are 0.
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
            parameters: by name, as they are named in `state_dict`; all on one device.
            learning_rate: above 0.
            eps: ε of Adam, the floor of the root of the second moment, above 0.
            max_grad_norm: to which a longer gradient of all parameters together is scaled down, above 0.
            weight_decay: λ, by which, times the learning rate, a step shrinks the weights; at least 0.
            apart: names of parameters that may have a learning rate of their own; `learning_rate` until one is set.
        """
        self._parameters = dict(parameters)
        self._learning_rate = self._apart_rate = learning_rate
        self._eps, self._max_grad_norm, self._weight_decay = eps, max_grad_norm, weight_decay
        self._apart = frozenset(apart) & self._parameters.keys()
        places = places_of([parameter.numel() for parameter in self._parameters.values()])
        self._places = dict(zip(self._parameters, places, strict=True))
        self._order = {name: number for number, name in enumerate(self._parameters)}
        weights = next(iter(self._parameters.values())).detach()
        self.gradient, self._exp_avg, self._exp_avg_sq = (weights.new_zeros(places[-1].stop) for _ in range(3))
        self.gradients: Mapping[str, Tensor] = self._views(self.gradient)
        self._steps = dict.fromkeys(self._parameters, 0)
        self._moved: Sequence[str] = ()
        self._spans: list[_Span] = []
        self._pieces: list[Tensor] = []

    def _views(self, flat: Tensor) -> dict[str, Tensor]:
        return {name: flat[place].view(self._parameters[name].shape) for name, place in self._places.items()}

    def set_learning_rate(self, learning_rate: float, apart: float | None = None) -> None:
        """Set the learning rate, and that of the parameters apart; None: the same.

        Raises:
            ConfigError: if a rate is not finite and above 0.
        """
        own = learning_rate if apart is None else apart
        for rate in (learning_rate, own):
            if not 0.0 < rate < math.inf:
                raise ConfigError(f"`learning_rate` must be finite and above 0, got {rate!r}")
        self._learning_rate, self._apart_rate = learning_rate, own

    @property
    def learning_rates(self) -> tuple[float, float]:
        """That of the parameters, and that of those apart."""
        return self._learning_rate, self._apart_rate

    def gradients_of(self, prefix: str) -> dict[str, Tensor]:
        """Return the `gradients` of the parameters whose names begin with `prefix`, by what follows it."""
        return {name.removeprefix(prefix): each for name, each in self.gradients.items() if name.startswith(prefix)}

    def differentiate(self, outputs: Sequence[Tensor], slopes: Sequence[Tensor] | None = None) -> Sequence[str]:
        """Write the gradient that torch finds into `gradients`.

        Args:
            outputs: a loss, or what a loss depends on.
            slopes: of the loss with respect to them; None of a loss.

        Returns:
            Names of the parameters that have one.
        """
        found = torch.autograd.grad(outputs, tuple(self._parameters.values()), slopes, allow_unused=True)
        moved = []
        for name, gradient in zip(self._parameters, found, strict=True):
            if gradient is not None:
                self.gradients[name].copy_(gradient)
                moved.append(name)
        return moved

    def step(self, loss: float, origin: str, moved: Sequence[str]) -> float:
        """Descend once along `gradients`, scaled down to `max_grad_norm` where they are longer.

        Args:
            loss: whose gradient it is.
            origin: of the loss; describes its inputs, for the errors.
            moved: names of the parameters that have a gradient.

        Returns:
            The norm of the gradient before scaling.

        Raises:
            NonFiniteError: if `loss` or the norm is not finite; weights and moments are then as they were, and the
                message ends with `origin`.
        """
        if not math.isfinite(loss):
            raise NonFiniteError("loss", f"it is {loss!r}; {origin}")
        if moved != self._moved:
            self._moved, self._spans = list(moved), list(self._alike(moved))
            self._pieces = list(self._side_by_side(moved))
        norm = math.sqrt(sum(torch.dot(each, each).item() for each in self._pieces))
        if not math.isfinite(norm):
            raise NonFiniteError("gradient", f"its norm is {norm!r}, at a loss of {loss!r}; {origin}")
        if norm > self._max_grad_norm:
            for piece in self._pieces:
                piece.mul_(self._max_grad_norm / (norm + _NORM_EPS))
        for rate, is_apart in ((self._learning_rate, False), (self._apart_rate, True)):
            if spans := [span for span in self._spans if span.is_apart == is_apart]:
                self._descend(spans, rate)
        for name in moved:
            self._steps[name] += 1
        return norm

    def _descend(self, spans: Sequence[_Span], learning_rate: float) -> None:
        for span in spans:
            span.step.add_(1.0)
        # The kernel of `torch.optim.AdamW(fused=True)`. Its caller there imports the compiler, which takes two seconds,
        # and the function `adamw` takes a twentieth of the time of a small network's step to find out that it may.
        torch._fused_adamw_(
            [span.weights for span in spans],
            [span.gradient for span in spans],
            [span.exp_avg for span in spans],
            [span.exp_avg_sq for span in spans],
            [],
            [span.step for span in spans],
            amsgrad=False,
            beta1=_BETA1,
            beta2=_BETA2,
            lr=learning_rate,
            weight_decay=self._weight_decay,
            eps=self._eps,
            maximize=False,
        )

    def _alike(self, moved: Collection[str]) -> Iterator[_Span]:
        """Cut the parameters `moved` where the next one is elsewhere in memory, or has another step count or rate."""
        for span in self._cut(moved, self._goes_on):
            place = slice(self._places[span[0]].start, self._places[span[-1]].stop)
            weights = self._parameters[span[0]].detach()
            yield _Span(
                weights=weights.as_strided((place.stop - place.start,), (1,)),
                gradient=self.gradient[place],
                exp_avg=self._exp_avg[place],
                exp_avg_sq=self._exp_avg_sq[place],
                step=weights.new_full((), self._steps[span[0]]),
                is_apart=span[0] in self._apart,
            )

    def _side_by_side(self, moved: Collection[str]) -> Iterator[Tensor]:
        """Return the gradients of the parameters `moved` in as few pieces as there are."""
        for names in self._cut(moved, self._is_next):
            yield self.gradient[self._places[names[0]].start : self._places[names[-1]].stop]

    def _cut(self, moved: Collection[str], goes_on: Callable[[str, str], bool]) -> Iterator[list[str]]:
        names = [name for name in self._parameters if name in moved]
        cuts = [0, *(i for i, pair in enumerate(pairwise(names), 1) if not goes_on(*pair)), len(names)]
        return (names[first:last] for first, last in pairwise(cuts))

    def _is_next(self, name: str, following: str) -> bool:
        return self._order[name] + 1 == self._order[following]

    def _goes_on(self, name: str, following: str) -> bool:
        one, other = self._parameters[name], self._parameters[following]
        apart = self._places[following].start - self._places[name].start
        return (
            self._is_next(name, following)
            and self._steps[name] == self._steps[following]
            and (name in self._apart) == (following in self._apart)
            and other.data_ptr() - one.data_ptr() == apart * one.itemsize
            and one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Copy the moments and step counts to the CPU: `<parameter>.step`, `.exp_avg`, `.exp_avg_sq` of each moved."""
        exp_avg, exp_avg_sq = self._views(self._exp_avg), self._views(self._exp_avg_sq)
        state: dict[str, Tensor] = {}
        for name, steps in self._steps.items():
            if steps:
                moments = (torch.tensor(float(steps)), exp_avg[name], exp_avg_sq[name])
                state |= {f"{name}.{key}": each.cpu().clone() for key, each in zip(_STATE_NAMES, moments, strict=True)}
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Replace the moments by those that `state_dict` returned; parameters that it does not name start anew.

        Raises:
            ShapeError: if `state` names something else, is incomplete, or has another shape; nothing is then changed.
        """
        loaded: dict[str, list[Tensor]] = {}
        for name, parameter in self._parameters.items():
            keys = {key: f"{name}.{key}" for key in _STATE_NAMES}
            if not any(full in state for full in keys.values()):
                continue
            for key, full in keys.items():
                expected = () if key == "step" else tuple(parameter.shape)
                if full not in state or tuple(state[full].shape) != expected:
                    actual = tuple(state[full].shape) if full in state else "nothing"
                    raise ShapeError(f"optimizer state `{full}` must be {expected}, got {actual}")
            loaded[name] = [state[full] for full in keys.values()]
        if len(state) != len(loaded) * len(_STATE_NAMES):
            known = {f"{name}.{key}" for name in self._parameters for key in _STATE_NAMES}
            raise ShapeError(f"optimizer state has unknown entries: {sorted(set(state) - known)}")
        self._steps = dict.fromkeys(self._parameters, 0)
        self._exp_avg.zero_()
        self._exp_avg_sq.zero_()
        exp_avg, exp_avg_sq = self._views(self._exp_avg), self._views(self._exp_avg_sq)
        for name, (step, first, second) in loaded.items():
            self._steps[name] = int(step)
            exp_avg[name].copy_(first)
            exp_avg_sq[name].copy_(second)
        self._moved = ()
