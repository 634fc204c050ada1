"""A multilayer perceptron for the plane, conditioned on time."""

import math

import torch
from torch import Tensor, nn

from flowviz.networks.second_time import SecondTime, octave_rates, waves

ROWS = 512
"""Number of states whose layers and derivatives fit a core's cache."""


class MLP(nn.Module):
    """A network of `depth` hidden layers of `width` SiLU units; each layer is shifted by time.

    Time enters as `clock`, a few numbers that increase with t, chosen by the field. They are
    embedded once per call if the batch has one time, as in a solver.

    Args:
        dim: D, the dimension of x.
        width: number of units of a hidden layer.
        depth: number of hidden layers.
        clocks: C, the length of `clock`.
        octaves: position enters as x and as sin and cos of 2^k pi x / 2 for k < octaves.
        two_times: whether a second clock can be given, see `SecondTime`.
        generator: draws the weights; PyTorch's global one by default.
    """

    def __init__(
        self,
        *,
        dim: int = 2,
        width: int = 128,
        depth: int = 3,
        clocks: int = 2,
        octaves: int = 5,
        two_times: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        embedding = 64
        self.register_buffer("x_rates", octave_rates(octaves), persistent=False)
        self.register_buffer("t_rates", octave_rates(6), persistent=False)
        inputs = dim * (1 + 2 * octaves)
        self.clock = nn.Sequential(
            nn.Linear(clocks * (1 + 2 * len(self.t_rates)), embedding), nn.SiLU()
        )
        self.shift = nn.Linear(embedding, width * depth)
        self.layers = nn.ModuleList(
            nn.Linear(inputs if i == 0 else width, width) for i in range(depth)
        )
        self.head = nn.Linear(width, dim)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                bound = module.in_features**-0.5
                nn.init.uniform_(module.weight, -bound, bound, generator=generator)
                nn.init.uniform_(module.bias, -bound, bound, generator=generator)
        nn.init.zeros_(self.head.weight)  # a new field is its linear part only
        nn.init.zeros_(self.head.bias)
        if two_times:  # last, so that the other weights are those of a network without it
            self.second = SecondTime(clocks, width * depth, generator=generator)

    def forward(self, clock: Tensor, x: Tensor, *, until: Tensor | None = None) -> Tensor:
        """Maps clock (C,) or (B, C), x (B, D) and, if any, the second clock to (B, D)."""
        h = waves(x, self.x_rates)
        shifts = self.shift(self.clock(waves(clock, self.t_rates)))
        if until is not None:
            shifts = shifts + self.second(clock, until)
        for layer, shift in zip(self.layers, shifts.chunk(len(self.layers), dim=-1), strict=True):
            h = nn.functional.silu(layer(h) + shift)
        return self.head(h)

    @torch.no_grad()
    def with_diagonal(self, clock: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """The output of `forward` and the diagonal of its Jacobian by x, each (B, D).

        Derivatives are propagated forward with the values, which takes about half as long as
        automatic differentiation by one backward pass per entry.
        """
        shifts = self.shift(self.clock(waves(clock, self.t_rates)))
        rows = x.split(ROWS)
        own = shifts.split(ROWS) if clock.ndim > 1 else [shifts] * len(rows)
        # Reused by every part: allocating it anew costs as much as the arithmetic.
        room = x.new_empty(2, (x.shape[1] + 1) * len(rows[0]) * self.head.in_features)
        parts = [self._with_diagonal(*each, room) for each in zip(own, rows, strict=True)]
        values, diagonals = zip(*parts, strict=True)
        return torch.cat(values), torch.cat(diagonals)

    def _with_diagonal(self, shifts: Tensor, x: Tensor, room: Tensor) -> tuple[Tensor, Tensor]:
        first, *others = self.layers
        shift, *later = shifts.chunk(len(self.layers), dim=-1)
        rows, dim = x.shape
        size = (dim + 1, rows, self.head.in_features)
        bent, joint = (each[: math.prod(size)].view(size) for each in room)
        # Only the inputs x_d and its own waves depend on x_d.
        angles = x.T[..., None] * self.x_rates
        turned = [torch.cos(angles) * self.x_rates, -torch.sin(angles) * self.x_rates]
        by_own = torch.cat([torch.ones_like(x.T)[..., None], *turned], dim=2)
        plain, waving = first.weight.T.split([dim, 2 * dim * len(self.x_rates)])
        sines, cosines = waving.reshape(2, dim, len(self.x_rates), -1)
        weights = torch.cat([plain[:, None], sines, cosines], dim=1)
        torch.addmm(first.bias, waves(x, self.x_rates), first.weight.T, out=joint[0])
        torch.bmm(by_own, weights, out=joint[1:])
        joint[0] += shift
        for layer, shift in zip(others, later, strict=True):
            _bend(joint, bent)
            torch.mm(bent.flatten(0, 1), layer.weight.T, out=joint.flatten(0, 1))
            joint[0] += layer.bias + shift
        _bend(joint, bent)
        diagonal = (bent[1:] * self.head.weight[:, None]).sum(dim=2).T
        return self.head(bent[0]), diagonal


def _bend(joint: Tensor, out: Tensor) -> None:
    """SiLU of the first row of `joint` (1 + D, B, W), and its derivative times the others."""
    gate = torch.sigmoid(joint[0])
    torch.mul(joint[0], gate, out=out[0])
    slope = torch.addcmul(gate, out[0], gate, value=-1).add_(out[0])
    torch.mul(joint[1:], slope, out=out[1:])
