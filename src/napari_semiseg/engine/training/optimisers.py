"""Move the weights of the trained networks."""

from __future__ import annotations

from inspect import unwrap
from typing import TYPE_CHECKING

import torch
from torch import optim
from torch.optim import Optimizer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor, nn

    from napari_semiseg.core.plan import Plan

MOMENTUM = 0.9
WEIGHT_DECAY = 3e-5
RATES = {"students": 1.0, "matrices": 1.0, "vectors": 2.0}
"""Learning rate of each kind of weights over that of the plan."""
MEMORY = 0.95
"""Momentum of the steps that are made orthogonal."""
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the odd polynomial of degree 5 that takes singular values near 1, and how often it
is applied (Jordan et al., 2024)."""
ITERATIONS = 5
TURNED_ANEW = 4
"""Steps between two looks at what makes a matrix orthogonal, which changes slowly."""


class _Uncompiled(Optimizer):
    """An optimiser that does not load the compiler of PyTorch.

    Nothing here is compiled; but methods that PyTorch keeps out of what it compiles
    load the compiler when they are called, which takes as long as loading PyTorch.
    """

    add_param_group = unwrap(Optimizer.add_param_group)
    load_state_dict = unwrap(Optimizer.load_state_dict)
    state_dict = unwrap(Optimizer.state_dict)
    zero_grad = unwrap(Optimizer.zero_grad)


class SGD(_Uncompiled, optim.SGD):
    """Stochastic gradient descent with momentum."""

    step = torch.no_grad()(unwrap(optim.SGD.step))


class Adam(_Uncompiled, optim.Adam):
    """For critics."""

    step = torch.no_grad()(unwrap(optim.Adam.step))


class Muon(_Uncompiled):
    """Momentum that is made orthogonal before it moves a matrix of weights.

    K. Jordan et al. Muon: an optimizer for hidden layers in neural networks. 2024. All
    directions in which a layer may change are then as long, also those that few crops
    ask for. A kernel (F, G, z, y, x) counts as a matrix (F, G z y x).

    Departures: what turns the momentum is found from its Gram matrix, which is small,
    at every fourth step; each step is as long as that of an orthogonal matrix.

    Parameters
    ----------
    weights : sequence of Parameter
        Of two or more dimensions.
    lr : float
        Length of a step over that of an orthogonal matrix.
    dtype : torch.dtype
        In which large matrices are multiplied.
    """

    def __init__(
        self,
        weights: Sequence[nn.Parameter],
        lr: float,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(weights, {"lr": lr})
        self._dtype = dtype

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move all weights that have a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, weight.grad, group["lr"])

    def _move(self, weight: nn.Parameter, gradient: Tensor, rate: float) -> None:
        state = self.state[weight]
        if not state:
            state["momentum"], state["age"] = torch.zeros_like(weight), 0
        momentum = state["momentum"].lerp_(gradient, 1 - MEMORY)
        # With the channels last, as the kernels lie in memory, nothing is copied.
        lookahead = gradient.lerp(momentum, MEMORY).movedim(1, -1)
        matrix = lookahead.reshape(len(lookahead), -1).to(self._dtype)
        tall = matrix.shape[0] > matrix.shape[1]
        if tall:
            matrix = matrix.T
        if state["age"] % TURNED_ANEW == 0:
            state["turn"] = turn_to_orthogonal(matrix)
        state["age"] += 1
        step = (state["turn"].to(self._dtype) @ matrix).float()
        step *= len(step) ** 0.5 / step.norm().clamp_min(1e-12)
        if tall:
            step = step.T
        weight.add_(step.reshape(lookahead.shape).movedim(-1, 1), alpha=-rate)


def turn_to_orthogonal(matrix: Tensor) -> Tensor:
    """Find (R, R) by which a matrix (R, C), R <= C, becomes about orthogonal.

    The Newton-Schulz iteration of Jordan et al. (2024), X <- (a + b A + c A^2) X with
    A = X X^T, carried out for the factor Q of X = Q X_0 alone.
    """
    gram = (matrix @ matrix.T).float()
    gram /= gram.trace().clamp_min(1e-30)
    first, second, third = COEFFICIENTS
    turn = torch.eye(len(gram), device=gram.device)
    for _ in range(ITERATIONS):
        now = turn @ gram @ turn
        turn = first * turn + (second * now + third * now @ now) @ turn
        turn = 0.5 * (turn + turn.T)  # rounding must not add up
    return turn


def optimisers(plan: Plan, weights: Sequence[nn.Parameter]) -> dict[str, Optimizer]:
    """Make what moves the weights of the students, by the kind of weights.

    `set_rate` gives each its learning rate before a step.
    """
    rate = plan.learning_rate

    def sgd(some: Sequence[nn.Parameter]) -> SGD:
        return SGD(
            some,
            lr=rate,
            momentum=MOMENTUM,
            nesterov=True,
            weight_decay=WEIGHT_DECAY,
        )

    if plan.optimiser == "sgd":
        return {"students": sgd(weights)}
    matrices = [weight for weight in weights if weight.ndim > 1]
    vectors = [weight for weight in weights if weight.ndim == 1]
    dtype = torch.bfloat16 if plan.precision == "bf16" else torch.float32
    made: dict[str, Optimizer] = {"matrices": Muon(matrices, rate, dtype)}
    return made | ({"vectors": sgd(vectors)} if vectors else {})


def set_rate(made: Mapping[str, Optimizer], rate: float) -> None:
    """Set the learning rate of a step."""
    for name, optimiser in made.items():
        for group in optimiser.param_groups:
            group["lr"] = rate * RATES[name]
